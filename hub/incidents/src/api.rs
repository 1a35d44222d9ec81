//! Findings in the API.
#![allow(unused_qualifications)] // utoipa's macros write paths out in full.

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use wardline_event::{Severity, ocsf};
use wardline_kernel::views::{self, FindingQuery, FindingSummary};
use wardline_kernel::{ApiError, Kernel, Problem, Session, StoredEvent};

use crate::domain::{FindingState, ProcessNode};
use crate::store::{self, FindingRecord};
use crate::story::{self, ChangeError};

/// The routes.
pub fn api() -> OpenApiRouter<Kernel> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(one))
        .routes(routes!(tree))
        .routes(routes!(timeline))
        .routes(routes!(set_state))
}

#[derive(Debug, Deserialize, IntoParams)]
struct Filter {
    /// Only of this device.
    device: Option<String>,
    /// Only of this severity or worse: `informational`, `low`, `medium`, `high`, `critical`.
    severity: Option<String>,
    /// `new`, `acknowledged` or `closed`.
    state: Option<String>,
    /// Only simulated (`true`) or only real (`false`) ones.
    simulated: Option<bool>,
    /// `next` of the page before.
    after: Option<String>,
    /// At most this many, 1 to 500; 100 if not said.
    limit: Option<u32>,
}

/// A page of findings, newest first.
#[derive(Debug, Serialize, ToSchema)]
pub struct FindingPage {
    /// The findings.
    pub findings: Vec<FindingSummary>,
    /// Send as `after` for the next page; absent on the last.
    pub next: Option<String>,
}

/// Reads a place in the list, `TIME_MS-ID`.
pub fn read_place(text: &str) -> Option<(i64, String)> {
    let (time, id) = text.split_once('-')?;
    let hex = id.len() == 32 && id.bytes().all(|b| b.is_ascii_hexdigit());
    hex.then_some((time.parse().ok()?, id.to_owned()))
}

/// Findings, newest first.
#[utoipa::path(get, path = "/api/v1/findings", tag = "findings", params(Filter),
    responses((status = 200, body = FindingPage), (status = 400, body = Problem), (status = 401, body = Problem)))]
async fn list(
    State(kernel): State<Kernel>,
    session: Session,
    Query(filter): Query<Filter>,
) -> Result<Json<FindingPage>, ApiError> {
    let invalid = |what: &str, text: &str, allowed: &str| {
        ApiError::invalid(format!("`{text}` is not a {what}"), format!("use {allowed}"))
    };
    let at_least = filter.severity.map(|text| {
        Severity::parse(&text)
            .map(Severity::ocsf_id)
            .ok_or_else(|| invalid("severity", &text, "informational, low, medium, high or critical"))
    });
    if let Some(text) = &filter.state {
        FindingState::parse(text).ok_or_else(|| invalid("state", text, "new, acknowledged or closed"))?;
    }
    let after = filter.after.map(|text| {
        read_place(&text).ok_or_else(|| invalid("place in the list", &text, "`next` of the page before"))
    });
    let limit = filter.limit.unwrap_or(100).clamp(1, 500);
    let query = FindingQuery {
        device: filter.device,
        at_least: at_least.transpose()?,
        state: filter.state,
        simulated: filter.simulated,
        after: after.transpose()?,
        limit,
    };
    let findings = views::findings(kernel.store().read(), &session.scope, &query).await?;
    let full = findings.len() == limit as usize;
    let next = findings.last().filter(|_| full).map(|last| format!("{}-{}", last.time_ms, last.id));
    Ok(Json(FindingPage { findings, next }))
}

/// One finding.
#[derive(Debug, Serialize, ToSchema)]
pub struct FindingDetail {
    /// Its id.
    pub id: String,
    /// The device it was made on.
    pub device: String,
    /// From the exercise range.
    pub simulated: bool,
    /// When the hub stored it.
    pub received_ms: i64,
    /// What a person made of it.
    pub state: FindingState,
    /// Who did last.
    pub state_by: Option<String>,
    /// When.
    pub state_ms: Option<i64>,
    /// Why.
    pub state_reason: Option<String>,
    /// OCSF Detection Finding, with the event as evidence.
    #[schema(value_type = Object)]
    pub ocsf: Value,
}

async fn load(kernel: &Kernel, session: &Session, id: &str) -> Result<FindingRecord, ApiError> {
    let record = store::record(kernel.store().read(), &session.scope, id).await?;
    record.ok_or_else(|| ApiError::not_found("finding", id))
}

/// One finding, with its OCSF JSON.
#[utoipa::path(get, path = "/api/v1/findings/{id}", tag = "findings", params(("id" = String, Path)),
    responses((status = 200, body = FindingDetail), (status = 401, body = Problem),
              (status = 404, body = Problem)))]
async fn one(
    State(kernel): State<Kernel>,
    session: Session,
    Path(id): Path<String>,
) -> Result<Json<FindingDetail>, ApiError> {
    let mut record = load(&kernel, &session, &id).await?;
    let device =
        views::device_by_id(kernel.store().read(), &session.scope, &record.device, kernel.now()).await?;
    if let (Some(device), Ok(id)) = (device, record.device.parse()) {
        ocsf::set_device(&mut record.ocsf, id, &device.hostname);
    }
    Ok(Json(FindingDetail {
        id: record.id,
        device: record.device,
        simulated: record.simulated,
        received_ms: record.received_ms,
        state: record.state,
        state_by: record.state_by,
        state_ms: record.state_ms,
        state_reason: record.state_reason,
        ocsf: record.ocsf,
    }))
}

/// The process tree around a finding, depth first.
#[utoipa::path(get, path = "/api/v1/findings/{id}/tree", tag = "findings", params(("id" = String, Path)),
    responses((status = 200, body = Vec<ProcessNode>), (status = 401, body = Problem),
              (status = 404, body = Problem)))]
async fn tree(
    State(kernel): State<Kernel>,
    session: Session,
    Path(id): Path<String>,
) -> Result<Json<Vec<ProcessNode>>, ApiError> {
    let record = load(&kernel, &session, &id).await?;
    Ok(Json(story::tree(&kernel, &session.scope, &record).await?))
}

/// What the finding's process and its descendants did, oldest first.
#[utoipa::path(get, path = "/api/v1/findings/{id}/timeline", tag = "findings", params(("id" = String, Path)),
    responses((status = 200, body = Vec<StoredEvent>), (status = 401, body = Problem),
              (status = 404, body = Problem)))]
async fn timeline(
    State(kernel): State<Kernel>,
    session: Session,
    Path(id): Path<String>,
) -> Result<Json<Vec<StoredEvent>>, ApiError> {
    let record = load(&kernel, &session, &id).await?;
    let tree = story::tree(&kernel, &session.scope, &record).await?;
    Ok(Json(story::timeline(&kernel, &session.scope, &record, &tree).await?))
}

/// Another state for a finding.
#[derive(Debug, Deserialize, ToSchema)]
pub struct NewState {
    /// `acknowledged` or `closed`.
    pub state: FindingState,
    /// Why; needed for closing.
    #[serde(default)]
    pub reason: String,
}

/// Acknowledges, closes or reopens a finding.
#[utoipa::path(post, path = "/api/v1/findings/{id}/state", tag = "findings", params(("id" = String, Path)),
    request_body = NewState,
    responses((status = 204), (status = 400, body = Problem), (status = 401, body = Problem),
              (status = 404, body = Problem), (status = 409, body = Problem)))]
async fn set_state(
    State(kernel): State<Kernel>,
    session: Session,
    Path(id): Path<String>,
    Json(wish): Json<NewState>,
) -> Result<StatusCode, ApiError> {
    story::set_state(&kernel, &session.scope, &session.person, &id, wish.state, &wish.reason).await?;
    Ok(StatusCode::NO_CONTENT)
}

impl From<ChangeError> for ApiError {
    fn from(error: ChangeError) -> Self {
        match error {
            ChangeError::NoFinding(id) => Self::not_found("finding", &id),
            ChangeError::Forbidden { .. } => {
                Self::conflict(error.to_string(), "read the finding again; somebody may have changed it")
            }
            ChangeError::NoReason => Self::invalid(error.to_string(), "say in `reason` why it is closed"),
            ChangeError::Reason(error) => error.into(),
            ChangeError::Store(error) => error.into(),
        }
    }
}
