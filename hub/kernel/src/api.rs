//! The kernel's own part of the API: the audit log and the events.
#![allow(unused_qualifications)] // utoipa's macros write paths out in full.

use axum::Json;
use axum::extract::{Query, State};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::audit::{self, Broken, Entry, Place};
use crate::auth::{self, Session};
use crate::error::{ApiError, Problem};
use crate::events::{EventQuery, StoredEvent};
use crate::kernel::Kernel;
use crate::live;
use crate::views;

/// The kernel's routes under `/api/v1`.
pub fn api() -> OpenApiRouter<Kernel> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(verify))
        .routes(routes!(events))
        .merge(auth::api())
        .merge(live::api())
}

#[derive(Debug, Deserialize, IntoParams)]
struct Page {
    /// The place of the last entry of the page before: `TIME_MS-ORGANISATION-NUMBER`.
    after: Option<String>,
    /// At most this many, 1 to 500; 100 if not said.
    limit: Option<i64>,
}

/// The audit log, newest first.
#[utoipa::path(get, path = "/api/v1/audit", tag = "hub", params(Page),
    responses((status = 200, body = Vec<Entry>), (status = 400, body = Problem), (status = 401, body = Problem)))]
async fn list(
    State(kernel): State<Kernel>,
    session: Session,
    Query(page): Query<Page>,
) -> Result<Json<Vec<Entry>>, ApiError> {
    let limit = page.limit.unwrap_or(100).clamp(1, 500);
    let after = page.after.map(|text| {
        Place::parse(&text).ok_or_else(|| {
            ApiError::invalid(
                format!("`{}` is no place in the audit log", text.escape_debug()),
                "use TIME_MS-ORGANISATION-NUMBER of the last entry of the page before",
            )
        })
    });
    let after = after.transpose()?;
    Ok(Json(audit::list(kernel.store().read(), &session.scope, after.as_ref(), limit).await?))
}

/// Whether the audit log is as it was written.
#[derive(Debug, Serialize, ToSchema)]
pub struct Verification {
    /// True if every entry fits.
    pub whole: bool,
    /// How many entries were followed, if all fit.
    pub entries: Option<i64>,
    /// Where it is broken, if it is.
    pub broken: Option<Broken>,
}

/// Follows the audit log's chain from its first entry to its last.
#[utoipa::path(get, path = "/api/v1/audit/verify", tag = "hub",
    responses((status = 200, body = Verification), (status = 401, body = Problem)))]
async fn verify(State(kernel): State<Kernel>, session: Session) -> Result<Json<Verification>, ApiError> {
    Ok(Json(match audit::verify(kernel.store().read(), &session.scope).await? {
        Ok(entries) => Verification { whole: true, entries: Some(entries), broken: None },
        Err(broken) => Verification { whole: false, entries: None, broken: Some(broken) },
    }))
}

#[derive(Debug, Deserialize, IntoParams)]
struct EventParams {
    /// The device.
    device: String,
    /// Not before this time, in milliseconds since 1970 (UTC).
    from_ms: Option<i64>,
    /// Before this time.
    until_ms: Option<i64>,
    /// Only about this process.
    process: Option<String>,
    /// At most this many, 1 to 10,000; 500 if not said.
    limit: Option<u32>,
}

/// The events of a device, oldest first, as OCSF.
#[utoipa::path(get, path = "/api/v1/events", tag = "devices", params(EventParams),
    responses((status = 200, body = Vec<StoredEvent>), (status = 401, body = Problem),
              (status = 404, body = Problem)))]
async fn events(
    State(kernel): State<Kernel>,
    session: Session,
    Query(params): Query<EventParams>,
) -> Result<Json<Vec<StoredEvent>>, ApiError> {
    let device =
        views::device_by_id(kernel.store().read(), &session.scope, &params.device, kernel.now()).await?;
    let device = device.ok_or_else(|| ApiError::not_found("device", &params.device))?;
    let query = EventQuery {
        device: params.device,
        from_ms: params.from_ms,
        until_ms: params.until_ms,
        process_keys: params.process.into_iter().collect(),
        class_uid: None,
        limit: params.limit.unwrap_or(500),
    };
    let mut events = kernel.events().query(&session.scope, &query).await?;
    if let Ok(id) = device.id.parse() {
        for event in &mut events {
            wardline_event::ocsf::set_device(&mut event.body, id, &device.hostname);
        }
    }
    Ok(Json(events))
}
