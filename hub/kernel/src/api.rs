//! The kernel's own part of the API: the audit log and the events.
#![allow(unused_qualifications)] // utoipa's macros write paths out in full.

use axum::Json;
use axum::extract::{Query, State};
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::audit;
use crate::auth::{self, Session};
use crate::error::{ApiError, Problem};
use crate::events::{EventQuery, StoredEvent};
use crate::kernel::Kernel;
use crate::live;
use crate::views;

/// The kernel's routes under `/api/v1`.
pub fn api() -> OpenApiRouter<Kernel> {
    OpenApiRouter::new()
        .routes(routes!(events))
        .merge(audit::api::api())
        .merge(auth::api())
        .merge(live::api())
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
