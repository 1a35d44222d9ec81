//! The console's pages about findings.

pub mod list;
pub mod page;
#[cfg(test)]
mod samples;
pub mod timeline;
pub mod tree;

use axum::extract::{Form, Path, Query};
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;
use wardline_event::{Event, Severity, Timestamp, ocsf};
use wardline_kernel::page::{Section, Visit, action_row};
use wardline_kernel::views::{self, ActionQuery, DeviceQuery, FindingQuery};
use wardline_kernel::{ApiError, Kernel};

use self::list::{Filter, ListPage};
use self::page::{FindingPage, Handling, Parts};
use crate::api::read_place;
use crate::domain::FindingState;
use crate::store::{self, FindingRecord};
use crate::story;

/// Findings on one page of the list.
const PER_PAGE: u32 = 50;

/// The most devices that the filter offers to choose from.
const MOST_DEVICES: u32 = 100;

/// The most actions shown beside a finding.
const MOST_ACTIONS: u32 = 5;

/// The pages.
pub fn console() -> Router<Kernel> {
    Router::new()
        .route("/", get(async |_: Visit| Redirect::to("/findings")))
        .route("/findings", get(list))
        .route("/findings/{id}", get(one))
        .route("/findings/{id}/evidence.json", get(evidence))
        .route("/findings/{id}/state", post(set_state))
}

async fn list(visit: Visit, Query(filter): Query<Filter>) -> Response {
    let result = read_list(&visit, filter).await.map(|page| visit.page(Section::Findings, "Findings", &page));
    visit.answer(Section::Findings, result)
}

async fn read_list(visit: &Visit, filter: Filter) -> Result<ListPage, ApiError> {
    let (pool, scope) = (visit.kernel.store().read(), &visit.session.scope);
    let some = |text: &String| Some(text.clone()).filter(|text| !text.is_empty());
    let query = FindingQuery {
        device: some(&filter.device),
        at_least: Severity::parse(&filter.severity).map(Severity::ocsf_id),
        state: FindingState::parse(&filter.state).map(|state| state.as_str().to_owned()),
        simulated: match filter.simulated.as_str() {
            "yes" => Some(true),
            "no" => Some(false),
            _ => None,
        },
        after: read_place(&filter.after),
        limit: PER_PAGE,
    };
    let findings = views::findings(pool, scope, &query).await?;
    let all = DeviceQuery { limit: MOST_DEVICES, ..DeviceQuery::default() };
    let mut known = views::devices(pool, scope, &all, visit.now).await?;
    if known.next.is_some() {
        // Nobody chooses from a list of thousands: on a device's page, one link leads to its findings.
        known.devices =
            views::device_by_id(pool, scope, &filter.device, visit.now).await?.into_iter().collect();
    }
    let full = findings.len() == PER_PAGE as usize;
    let older = findings.last().filter(|_| full).map(|last| format!("{}-{}", last.time_ms, last.id));
    Ok(ListPage::of(&findings, &known.devices, filter, older, visit.now))
}

async fn load(visit: &Visit, id: &str) -> Result<FindingRecord, ApiError> {
    let record = store::record(visit.kernel.store().read(), &visit.session.scope, id).await?;
    record.ok_or_else(|| ApiError::not_found("finding", id))
}

async fn one(visit: Visit, Path(id): Path<String>) -> Response {
    let result =
        read_one(&visit, &id).await.map(|(title, page)| visit.page(Section::Findings, &title, &page));
    visit.answer(Section::Findings, result)
}

async fn read_one(visit: &Visit, id: &str) -> Result<(String, FindingPage), ApiError> {
    let (kernel, scope) = (&visit.kernel, &visit.session.scope);
    let pool = kernel.store().read();
    let mut record = load(visit, id).await?;
    let device = views::device_by_id(pool, scope, &record.device, visit.now).await?;
    let tree = story::tree(kernel, scope, &record).await?;
    let stored = story::timeline(kernel, scope, &record, &tree).await?;
    let events: Vec<Event> = stored.iter().filter_map(|e| ocsf::event_from_json(&e.body).ok()).collect();
    let about =
        ActionQuery { device: Some(record.device.clone()), limit: MOST_ACTIONS, ..ActionQuery::default() };
    // What was ordered before it happened says nothing about it.
    let actions = views::actions(pool, scope, &about).await?;
    let since = record.finding.time.0.min(record.received_ms);
    let actions =
        actions.iter().filter(|a| a.created_ms >= since).map(|a| action_row(a, visit.now)).collect();
    name_device(&mut record, device.as_ref().map(|d| d.hostname.as_str()));
    let page = FindingPage::of(Parts {
        finding: &record.finding,
        device_id: &record.device,
        device: device.as_ref(),
        tree: &tree,
        events: &events,
        handling: Handling {
            state: record.state.as_str().to_owned(),
            by: record.state_by.clone().unwrap_or_default(),
            at: record.state_ms.map(Timestamp),
            reason: record.state_reason.clone().unwrap_or_default(),
        },
        actions,
        received: Some(Timestamp(record.received_ms)),
        evidence: format!("{:#}", record.ocsf),
        now: visit.now,
    });
    Ok((record.finding.rule.title, page))
}

/// Writes into the evidence which device it came from, as the hub knows it.
fn name_device(record: &mut FindingRecord, hostname: Option<&str>) {
    if let (Some(hostname), Ok(id)) = (hostname, record.device.parse()) {
        ocsf::set_device(&mut record.ocsf, id, hostname);
    }
}

async fn evidence(visit: Visit, Path(id): Path<String>) -> Response {
    let result = async {
        let mut record = load(&visit, &id).await?;
        let pool = visit.kernel.store().read();
        let device = views::device_by_id(pool, &visit.session.scope, &record.device, visit.now).await?;
        name_device(&mut record, device.as_ref().map(|d| d.hostname.as_str()));
        let mut response = Json(record.ocsf).into_response();
        response.headers_mut().insert(header::CONTENT_DISPOSITION, HeaderValue::from_static("attachment"));
        Ok(response)
    };
    visit.answer(Section::Findings, result.await)
}

/// What the forms for a finding's state send.
#[derive(Debug, Deserialize)]
struct NewState {
    state: String,
    #[serde(default)]
    reason: String,
}

async fn set_state(visit: Visit, Path(id): Path<String>, Form(wish): Form<NewState>) -> Response {
    let result = async {
        let next = FindingState::parse(&wish.state)
            .ok_or_else(|| ApiError::invalid("the form named no state", "reload the page and try again"))?;
        story::set_state(&visit.kernel, &visit.session.scope, &visit.session.person, &id, next, &wish.reason)
            .await?;
        Ok(visit.done(&format!("/findings/{id}"), next.as_str()))
    };
    visit.answer(Section::Findings, result.await)
}
