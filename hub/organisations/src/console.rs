//! The console's pages about organisations.

pub mod pages;
#[cfg(test)]
mod samples;

use axum::Router;
use axum::extract::{Form, Path, Query as Asked};
use axum::response::Response;
use axum::routing::{get, post};
use serde::Deserialize;
use wardline_kernel::page::{Section, Visit};
use wardline_kernel::tree::{self, Facts, OrganisationKind};
use wardline_kernel::{ApiError, Kernel, OrganisationId, csv};

use self::pages::{Filter, ListPage, OnePage};
use crate::manage;
use crate::store::{self, Place, Query};

/// Organisations on one page of the list.
const PER_PAGE: u32 = 50;
/// Organisations directly below one, on its own page.
const MOST_BELOW: u32 = 20;

/// The pages.
pub fn console() -> Router<Kernel> {
    Router::new()
        .route("/organisations", get(list).post(add))
        .route("/organisations.csv", get(export))
        .route("/organisations/{id}", get(one).post(change))
        .route("/organisations/{id}/parent", post(put_under))
}

async fn list(visit: Visit, Asked(filter): Asked<Filter>) -> Response {
    let result = async {
        let (pool, scope) = (visit.kernel.store().read(), &visit.session.scope);
        let page = store::list(pool, scope, &filter.query(PER_PAGE)).await?;
        let counts = store::counts(pool, scope).await?;
        Ok(visit.page(Section::Organisations, "Organisations", &ListPage::of(page, &counts, filter)))
    };
    visit.answer(Section::Organisations, result.await)
}

async fn export(visit: Visit, Asked(filter): Asked<Filter>) -> Response {
    let header = ["id", "ods", "name", "kind", "town", "parent", "organisations_below", "devices"];
    csv::download("attachment; filename=\"organisations.csv\"", &header, move |sender| async move {
        let mut query = filter.query(500);
        loop {
            let page = store::list(visit.kernel.store().read(), &visit.session.scope, &query).await?;
            let mut text = String::new();
            for o in &page.organisations {
                let (below, devices) = (o.below.to_string(), o.devices.to_string());
                let (ods, parent) = (o.ods.as_deref().unwrap_or(""), o.parent_name.as_deref().unwrap_or(""));
                csv::write(
                    &mut text,
                    &[&o.id, ods, &o.name, o.kind.as_str(), &o.town, parent, &below, &devices],
                );
            }
            let gone = sender.send(Ok(text)).await.is_err();
            match page.next {
                Some(next) if !gone => query.after = Place::parse(&next),
                _ => return Ok(()),
            }
        }
    })
}

async fn one(visit: Visit, Path(id): Path<String>) -> Response {
    let result = read_one(&visit, &id).await.map(|page| {
        let title = page.name().to_owned();
        visit.page(Section::Organisations, &title, &page)
    });
    visit.answer(Section::Organisations, result)
}

async fn read_one(visit: &Visit, id: &str) -> Result<OnePage, ApiError> {
    let (pool, scope) = (visit.kernel.store().read(), &visit.session.scope);
    let found = tree::organisation(pool, scope, id).await?;
    let organisation = found.ok_or_else(|| ApiError::not_found("organisation", id))?;
    let path = tree::ancestors(pool, scope, id).await?;
    let of_it = Query { parent: Some(id.to_owned()), limit: MOST_BELOW, ..Query::default() };
    let below = store::list(pool, scope, &of_it).await?;
    let here = tree::within(pool, scope, id).await?.ok_or_else(|| ApiError::not_found("organisation", id))?;
    let devices = wardline_kernel::views::device_counts(pool, &here, visit.now).await?;
    let is_top = id == scope.id();
    Ok(OnePage::of(organisation, path, below, devices, is_top))
}

/// What the forms for an organisation's facts send.
#[derive(Debug, Deserialize)]
struct FactsForm {
    #[serde(default)]
    parent: String,
    name: String,
    kind: String,
    #[serde(default)]
    ods: String,
    #[serde(default)]
    town: String,
    #[serde(default)]
    postcode: String,
}

impl FactsForm {
    fn facts(self) -> Result<Facts, ApiError> {
        let kind = OrganisationKind::parse(&self.kind)
            .ok_or_else(|| ApiError::invalid("no kind was chosen", "go back and choose one"))?;
        Ok(Facts { name: self.name, kind, ods: Some(self.ods), town: self.town, postcode: self.postcode })
    }
}

async fn add(visit: Visit, Form(mut form): Form<FactsForm>) -> Response {
    let result = async {
        let parent = std::mem::take(&mut form.parent);
        let (scope, person) = (&visit.session.scope, &visit.session.person);
        let id = manage::add(&visit.kernel, scope, person, &parent, form.facts()?).await?;
        Ok(visit.done(&format!("/organisations/{id}"), "organisation"))
    };
    visit.answer(Section::Organisations, result.await)
}

async fn change(visit: Visit, Path(id): Path<String>, Form(form): Form<FactsForm>) -> Response {
    let result = async {
        let (scope, person) = (&visit.session.scope, &visit.session.person);
        manage::change(&visit.kernel, scope, person, &id, form.facts()?).await?;
        Ok(visit.done(&format!("/organisations/{id}"), "organisation"))
    };
    visit.answer(Section::Organisations, result.await)
}

/// What the form for an organisation's place sends.
#[derive(Debug, Deserialize)]
struct ParentForm {
    /// An ODS code, or an id.
    parent: String,
    #[serde(default)]
    reason: String,
}

async fn put_under(visit: Visit, Path(id): Path<String>, Form(form): Form<ParentForm>) -> Response {
    let result = async {
        let (scope, named) = (&visit.session.scope, form.parent.trim());
        let code = named.to_ascii_uppercase();
        let by_code = tree::by_ods(visit.kernel.store().read().within(scope), scope, &code).await?;
        let parent = by_code.as_ref().map_or(named, OrganisationId::as_str);
        manage::put_under(&visit.kernel, scope, &visit.session.person, &id, parent, &form.reason).await?;
        Ok(visit.done(&format!("/organisations/{id}"), "organisation"))
    };
    visit.answer(Section::Organisations, result.await)
}
