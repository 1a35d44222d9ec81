//! The console's pages about actions, and where its order forms are sent.

pub mod list;
pub mod look;
mod rights;
#[cfg(test)]
mod samples;

use axum::Router;
use axum::extract::{Form, Path, Query};
use axum::response::Response;
use axum::routing::{get, post};
use serde::Deserialize;
use wardline_kernel::page::{Section, Visit};
use wardline_kernel::views::{self, ActionQuery};
use wardline_kernel::{ApiError, Kernel, csv};
use wardline_policy::Deed;

use self::list::{Filter, ListPage};
use self::look::{LookPage, OrderForm};
use crate::agree::agree;
use crate::order::{self, OrderError};
use crate::person::Person;
use crate::survey;

/// Actions on one page of the list.
const PER_PAGE: u32 = 50;
/// Orders that wait for approval and are shown above the list.
const MOST_WAITING: u32 = 200;

/// The pages.
pub fn console() -> Router<Kernel> {
    Router::new()
        .route("/actions", get(list).post(give))
        .route("/actions.csv", get(export))
        .route("/actions/new", get(choose))
        .route("/actions/{id}/cancel", post(cancel))
        .route("/actions/{id}/approve", post(approve))
        .route("/actions/{id}/refuse", post(refuse))
        .route("/actions/{id}/undo", post(undo))
        .merge(rights::console())
}

async fn list(visit: Visit, Query(filter): Query<Filter>) -> Response {
    let result = read_list(&visit, filter).await.map(|page| visit.page(Section::Actions, "Actions", &page));
    visit.answer(Section::Actions, result)
}

async fn read_list(visit: &Visit, filter: Filter) -> Result<ListPage, ApiError> {
    let (pool, scope) = (visit.kernel.store().read(), &visit.session.scope);
    let query = filter.query(PER_PAGE);
    let actions = views::actions(pool, scope, &query).await?;
    let full = actions.len() == PER_PAGE as usize;
    let waiting = if filter.after.is_empty() {
        let query = ActionQuery { waiting: true, limit: MOST_WAITING, ..ActionQuery::default() };
        views::actions(pool, scope, &query).await?
    } else {
        Vec::new()
    };
    let mut page = ListPage::of(&actions, filter, full, visit.now);
    page.put_waiting(&waiting, &visit.session.person, visit.now);
    page.may_approve = visit.session.may(Deed::Approve).is_ok();
    page.may_cancel = visit.session.may(Deed::CancelOrder).is_ok();
    Ok(page)
}

async fn export(visit: Visit, Query(filter): Query<Filter>) -> Response {
    let header = [
        "id",
        "device",
        "name",
        "kind",
        "target",
        "state",
        "reason",
        "requested_by",
        "basis",
        "needs",
        "approved_by",
        "detail",
        "created_ms",
        "expires_ms",
        "updated_ms",
    ];
    csv::download("attachment; filename=\"actions.csv\"", &header, move |sender| async move {
        let mut query = filter.query(500);
        query.after = None;
        loop {
            let pool = visit.kernel.store().read();
            let actions = views::actions(pool, &visit.session.scope, &query).await?;
            let mut text = String::new();
            for a in &actions {
                let needs: Vec<&str> = a.needs.iter().map(|need| need.of.whose()).collect();
                let times = [a.created_ms, a.expires_ms, a.updated_ms].map(|ms| ms.to_string());
                csv::write(
                    &mut text,
                    &[
                        &a.id,
                        &a.device,
                        &a.hostname,
                        &a.kind,
                        &a.target,
                        &a.state,
                        &a.reason,
                        &a.requested_by,
                        &a.basis,
                        &needs.join("; "),
                        &a.approved_by,
                        &a.detail,
                        &times[0],
                        &times[1],
                        &times[2],
                    ],
                );
            }
            let gone = sender.send(Ok(text)).await.is_err();
            match actions.last() {
                Some(last) if !gone && actions.len() == 500 => {
                    query.after = Some((last.created_ms, last.id.clone()));
                }
                _ => return Ok(()),
            }
        }
    })
}

/// The page on which chosen devices are looked at before they are ordered.
async fn choose(visit: Visit, Query(pairs): Query<Vec<(String, String)>>) -> Response {
    let form = OrderForm::of(pairs);
    let result = look(&visit, form).await.map(|page| visit.page(Section::Actions, "Contain devices", &page));
    visit.answer(Section::Actions, result)
}

async fn look(visit: &Visit, form: OrderForm) -> Result<LookPage, ApiError> {
    let person = Person::of(&visit.kernel, &visit.session).await?;
    let wish = form.wish()?;
    let preview = survey::preview(&visit.kernel, &person, &form.devices, &wish, &form.reason).await?;
    Ok(LookPage::of(form, &wish, preview))
}

async fn give(visit: Visit, Form(pairs): Form<Vec<(String, String)>>) -> Response {
    let form = OrderForm::of(pairs);
    let result = async {
        let (wish, person) = (form.wish()?, Person::of(&visit.kernel, &visit.session).await?);
        let undoes = wish.order().undoes();
        if form.seen.is_empty() && !undoes {
            // What one button on one device's page does is said beside it. What reaches further is shown first.
            let preview = survey::preview(&visit.kernel, &person, &form.devices, &wish, &form.reason).await?;
            let possible = preview.effects.iter().all(|effect| effect.refused.is_empty());
            if preview.is_remarkable() && possible {
                let page = LookPage::of(form, &wish, preview);
                return Ok(visit.page(Section::Actions, "Before it is ordered", &page));
            }
        }
        let seen = Some(form.seen.as_str()).filter(|seen| !seen.is_empty());
        match order::order(&visit.kernel, &person, &form.devices, &wish, &form.reason, seen).await {
            Ok(ordered) => {
                let waits = ordered.iter().any(|one| !one.needs.is_empty());
                let back = if waits || form.back.is_empty() { "/actions" } else { &form.back };
                Ok(visit.done(back, if waits { "asked" } else { "ordered" }))
            }
            Err(OrderError::Changed) => {
                let mut page = look(&visit, OrderForm { seen: String::new(), ..form }).await?;
                page.changed = true;
                Ok(visit.page(Section::Actions, "Before it is ordered", &page))
            }
            Err(error) => Err(error.into()),
        }
    };
    visit.answer(Section::Actions, result.await)
}

/// What the small forms of an action send.
#[derive(Debug, Deserialize)]
struct Small {
    #[serde(default)]
    back: String,
    #[serde(default)]
    reason: String,
    #[serde(default)]
    together: String,
}

async fn cancel(visit: Visit, Path(id): Path<String>, Form(form): Form<Small>) -> Response {
    let result = async {
        order::cancel(&visit.kernel, &visit.session.scope, &visit.session.person, &id).await?;
        Ok(visit.done(&form.back, "cancelled"))
    };
    visit.answer(Section::Actions, result.await)
}

async fn answer(visit: Visit, id: String, form: Small, agreed: bool) -> Response {
    let result = async {
        let person = Person::of(&visit.kernel, &visit.session).await?;
        agree(&visit.kernel, &person, &id, form.together == "yes", agreed, &form.reason).await?;
        Ok(visit.done("/actions", if agreed { "approved" } else { "refused" }))
    };
    visit.answer(Section::Actions, result.await)
}

async fn approve(visit: Visit, Path(id): Path<String>, Form(form): Form<Small>) -> Response {
    answer(visit, id, form, true).await
}

async fn refuse(visit: Visit, Path(id): Path<String>, Form(form): Form<Small>) -> Response {
    answer(visit, id, form, false).await
}

async fn undo(visit: Visit, Path(id): Path<String>, Form(form): Form<Small>) -> Response {
    let result = async {
        let person = Person::of(&visit.kernel, &visit.session).await?;
        let word = match order::undo(&visit.kernel, &person, &id, &form.reason).await? {
            Some(ordered) if !ordered.needs.is_empty() => "asked",
            Some(_) => "undone",
            None => "cancelled",
        };
        Ok(visit.done(if form.back.is_empty() { "/actions" } else { &form.back }, word))
    };
    visit.answer(Section::Actions, result.await)
}
