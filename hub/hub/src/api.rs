//! The hub's own part of the API: its state and its description.
#![allow(unused_qualifications)] // utoipa's macros write paths out in full.

use std::sync::Arc;

use axum::extract::State;
use axum::{Extension, Json};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa::openapi::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use wardline_kernel::events::EventCounts;
use wardline_kernel::views::{self, Presence};
use wardline_kernel::{ApiError, Kernel, Problem, Session};

use crate::stats::{AgentStats, Counters};

/// What the handlers need beside the kernel.
#[derive(Clone)]
pub(crate) struct Shared {
    pub counters: Arc<Counters>,
    pub openapi: Arc<OpenApi>,
    pub started_ms: i64,
}

pub(crate) fn api() -> OpenApiRouter<Kernel> {
    OpenApiRouter::new().routes(routes!(status)).routes(routes!(description))
}

/// How many there are of something.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Count {
    /// Of what.
    pub state: String,
    /// How many.
    pub count: i64,
}

/// The hub's state.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Status {
    /// The hub's version.
    pub version: String,
    /// The newest version of the conversation with agents that it speaks.
    pub protocol: u32,
    /// The organisation.
    pub organisation: String,
    /// When the hub started.
    pub started_ms: i64,
    /// The hub's clock.
    pub now_ms: i64,
    /// Devices by whether they can be heard.
    pub devices: Vec<Count>,
    /// Events stored.
    pub events: EventCounts,
    /// Findings by what people made of them.
    pub findings: Vec<Count>,
    /// Actions by state.
    pub actions: Vec<Count>,
    /// The agent port, since the hub started.
    pub agents: AgentStats,
}

fn counts(pairs: Vec<(String, i64)>) -> Vec<Count> {
    pairs.into_iter().map(|(state, count)| Count { state, count }).collect()
}

/// Counts and versions.
#[utoipa::path(get, path = "/api/v1/status", tag = "hub",
    responses((status = 200, body = Status), (status = 401, body = Problem)))]
async fn status(
    State(kernel): State<Kernel>,
    session: Session,
    Extension(shared): Extension<Shared>,
) -> Result<Json<Status>, ApiError> {
    let (pool, scope, now) = (kernel.store().read(), &session.scope, kernel.now());
    let known = views::device_counts(pool, scope, now).await?;
    let devices = [
        (Presence::Live, known.live),
        (Presence::Silent, known.silent),
        (Presence::NeverConnected, known.never_connected),
        (Presence::Revoked, known.revoked),
    ]
    .map(|(presence, count)| Count { state: presence.as_str().to_owned(), count });
    Ok(Json(Status {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        protocol: wardline_wire::PROTOCOL,
        organisation: session.organisation.clone(),
        started_ms: shared.started_ms,
        now_ms: now.0,
        devices: devices.to_vec(),
        events: kernel.events().counts(scope, None).await?,
        findings: counts(wardline_incidents::counts(pool, scope).await?),
        actions: counts(wardline_actions::counts(pool, scope).await?),
        agents: shared.counters.read(),
    }))
}

/// This description, as OpenAPI 3.1.
#[utoipa::path(get, path = "/api/v1/openapi.json", tag = "hub",
    responses((status = 200, body = Object), (status = 401, body = Problem)))]
async fn description(_: Session, Extension(shared): Extension<Shared>) -> Json<OpenApi> {
    Json((*shared.openapi).clone())
}
