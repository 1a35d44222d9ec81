//! The console's pages about devices.

pub mod list;
pub mod page;
#[cfg(test)]
mod samples;

use axum::Router;
use axum::extract::{Form, Path, Query};
use axum::response::Response;
use axum::routing::{get, post};
use serde::Deserialize;
use wardline_kernel::page::{Section, Visit, action_row};
use wardline_kernel::views::{self, ActionQuery, DevicePlace, FindingQuery};
use wardline_kernel::{ApiError, Kernel, OrganisationId, Reach, Scope, csv, tree};
use wardline_policy::Mode;

use self::list::{Filter, ListPage};
use self::page::DevicePage;
use crate::policy::{self, Change};
use crate::whereabouts::{self, Whereabouts};
use crate::{place, store};

/// Devices on one page of the list.
const PER_PAGE: u32 = 50;

/// Findings and actions on a device's page.
const MOST_FINDINGS: u32 = 10;
const MOST_ACTIONS: u32 = 5;

/// The pages.
pub fn console() -> Router<Kernel> {
    Router::new()
        .route("/devices", get(list))
        .route("/devices/{id}", get(one))
        .route("/devices.csv", get(export))
        .route("/devices/{id}/mode", post(set_mode))
        .route("/devices/{id}/organisation", post(set_organisation))
        .route("/devices/{id}/whereabouts", post(set_whereabouts))
}

async fn list(visit: Visit, Query(filter): Query<Filter>) -> Response {
    let result = read_list(&visit, filter).await.map(|page| visit.page(Section::Devices, "Devices", &page));
    visit.answer(Section::Devices, result)
}

/// The scope of a list: the session's, or an organisation within it, with its name.
async fn narrowed(visit: &Visit, filter: &Filter) -> Result<(Scope, String), ApiError> {
    let (pool, scope) = (visit.kernel.store().read(), &visit.session.scope);
    if filter.organisation.is_empty() {
        return Ok((scope.clone(), String::new()));
    }
    let no_such = || ApiError::not_found("organisation", &filter.organisation);
    let organisation = tree::organisation(pool, scope, &filter.organisation).await?.ok_or_else(no_such)?;
    let scope = tree::within(pool, scope, &organisation.id).await?.ok_or_else(no_such)?;
    Ok((scope, organisation.name))
}

async fn read_list(visit: &Visit, filter: Filter) -> Result<ListPage, ApiError> {
    let pool = visit.kernel.store().read();
    let (scope, of_organisation) = narrowed(visit, &filter).await?;
    let page = views::devices(pool, &scope, &filter.query(PER_PAGE), visit.now).await?;
    let counts = views::device_counts(pool, &scope, visit.now).await?;
    let many = scope.reach(pool).await? == Reach::Many;
    Ok(ListPage { of_organisation, ..ListPage::of(&page, &counts, filter, many, visit.now) })
}

async fn export(visit: Visit, Query(filter): Query<Filter>) -> Response {
    let scope = match narrowed(&visit, &filter).await {
        Ok((scope, _)) => scope,
        Err(error) => return visit.answer(Section::Devices, Err(error)),
    };
    let header = [
        "id",
        "name",
        "organisation",
        "state",
        "last_seen_ms",
        "class",
        "site",
        "ward",
        "type",
        "mode",
        "isolated_until_ms",
        "system",
    ];
    csv::download("attachment; filename=\"devices.csv\"", &header, move |sender| async move {
        let mut query = filter.query(500);
        loop {
            let page = views::devices(visit.kernel.store().read(), &scope, &query, visit.now).await?;
            let mut text = String::new();
            for d in &page.devices {
                let number = |n: Option<i64>| n.map_or_else(String::new, |n| n.to_string());
                let (seen, until) = (number(d.last_seen_ms), number(d.isolated_until_ms));
                let (state, system) = (d.presence.as_str(), d.os.as_str());
                let organisation = d.organisation_name.as_str();
                csv::write(
                    &mut text,
                    &[
                        &d.id,
                        &d.hostname,
                        organisation,
                        state,
                        &seen,
                        &d.class,
                        &d.site,
                        &d.ward,
                        &d.device_type,
                        &d.mode,
                        &until,
                        system,
                    ],
                );
            }
            let gone = sender.send(Ok(text)).await.is_err();
            match page.next {
                Some(next) if !gone => query.after = DevicePlace::parse(query.order, &next),
                _ => return Ok(()),
            }
        }
    })
}

async fn one(visit: Visit, Path(id): Path<String>) -> Response {
    let result = read_one(&visit, &id).await.map(|(name, page)| visit.page(Section::Devices, &name, &page));
    visit.answer(Section::Devices, result)
}

async fn read_one(visit: &Visit, id: &str) -> Result<(String, DevicePage), ApiError> {
    let (pool, scope) = (visit.kernel.store().read(), &visit.session.scope);
    let device =
        store::detail(&visit.kernel, scope, id).await?.ok_or_else(|| ApiError::not_found("device", id))?;
    let on_it = FindingQuery { device: Some(id.to_owned()), limit: MOST_FINDINGS, ..FindingQuery::default() };
    let findings = views::findings(pool, scope, &on_it).await?;
    let of_it = ActionQuery { device: Some(id.to_owned()), limit: MOST_ACTIONS, ..ActionQuery::default() };
    let actions = views::actions(pool, scope, &of_it).await?;
    let actions = actions.iter().map(|a| action_row(a, visit.now)).collect();
    let many = scope.reach(pool).await? == Reach::Many;
    let mut page = DevicePage::of(&device, &findings, actions, visit.now);
    page.may_move = many;
    Ok((device.summary.hostname, page))
}

/// What the form for a device's organisation sends.
#[derive(Debug, Deserialize)]
struct NewPlace {
    /// An ODS code, or an organisation's id.
    organisation: String,
    #[serde(default)]
    reason: String,
}

async fn set_organisation(visit: Visit, Path(id): Path<String>, Form(wish): Form<NewPlace>) -> Response {
    let result = async {
        let (scope, named) = (&visit.session.scope, wish.organisation.trim());
        let by_code =
            tree::by_ods(visit.kernel.store().read().within(scope), scope, &named.to_ascii_uppercase())
                .await?;
        let to = by_code.as_ref().map_or(named, OrganisationId::as_str);
        place::move_device(&visit.kernel, scope, &visit.session.person, &id, to, &wish.reason).await?;
        Ok(visit.done(&format!("/devices/{id}"), "moved"))
    };
    visit.answer(Section::Devices, result.await)
}

/// What the form for a device's whereabouts sends.
#[derive(Debug, Deserialize)]
struct NewWhereabouts {
    #[serde(default)]
    site: String,
    #[serde(default)]
    ward: String,
    #[serde(default)]
    device_type: String,
    #[serde(default)]
    reason: String,
}

async fn set_whereabouts(visit: Visit, Path(id): Path<String>, Form(wish): Form<NewWhereabouts>) -> Response {
    let result = async {
        let NewWhereabouts { site, ward, device_type, reason } = wish;
        let (session, at) = (&visit.session, Whereabouts { site, ward, device_type });
        whereabouts::change(&visit.kernel, &session.scope, &session.person, &id, &at, &reason).await?;
        Ok(visit.done(&format!("/devices/{id}"), "whereabouts"))
    };
    visit.answer(Section::Devices, result.await)
}

/// What the form for a device's mode sends.
#[derive(Debug, Deserialize)]
struct NewMode {
    mode: String,
    #[serde(default)]
    reason: String,
}

async fn set_mode(visit: Visit, Path(id): Path<String>, Form(wish): Form<NewMode>) -> Response {
    let result = async {
        let mode = match wish.mode.as_str() {
            "protect" => Mode::Protect,
            "monitor" => Mode::Monitor,
            _ => return Err(ApiError::invalid("no mode was chosen", "go back and choose one")),
        };
        let change = Change { mode: Some(mode), ..Change::default() };
        policy::change(
            &visit.kernel,
            &visit.session.scope,
            &visit.session.person,
            &id,
            change,
            wish.reason.trim(),
        )
        .await?;
        Ok(visit.done(&format!("/devices/{id}"), "policy"))
    };
    visit.answer(Section::Devices, result.await)
}
