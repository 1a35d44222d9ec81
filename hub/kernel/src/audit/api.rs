//! The audit log in the API: looked through, checked, taken away.
#![allow(unused_qualifications)] // utoipa's macros write paths out in full.

use axum::Json;
use axum::body::Body;
use axum::extract::{Query, State};
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::copy::Writer;
use super::{Act, Broken, Entry, Place, Search};
use crate::auth::Session;
use crate::error::{ApiError, Problem};
use crate::kernel::Kernel;
use crate::scope::Scope;
use crate::store::StoreError;
use wardline_event::hex;

/// The routes under `/api/v1/audit`.
pub fn api() -> OpenApiRouter<Kernel> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(verify)).routes(routes!(export))
}

#[derive(Debug, Deserialize, IntoParams)]
struct Asked {
    /// Who: a part of the name.
    actor: Option<String>,
    /// What was done, or its beginning: `device`, `device.revoked`.
    act: Option<String>,
    /// To what: the id.
    target: Option<String>,
    /// Not before this time, in milliseconds since 1970 (UTC).
    from_ms: Option<i64>,
    /// Before this time.
    until_ms: Option<i64>,
    /// The place of the last entry of the page before: `TIME_MS-ORGANISATION-NUMBER`.
    after: Option<String>,
    /// At most this many, 1 to 500; 100 if not said.
    limit: Option<i64>,
}

/// The audit log, newest first.
#[utoipa::path(get, path = "/api/v1/audit", tag = "hub", params(Asked),
    responses((status = 200, body = Vec<Entry>), (status = 400, body = Problem), (status = 401, body = Problem)))]
async fn list(
    State(kernel): State<Kernel>,
    session: Session,
    Query(asked): Query<Asked>,
) -> Result<Json<Vec<Entry>>, ApiError> {
    let limit = asked.limit.unwrap_or(100).clamp(1, 500);
    let after = asked.after.map(|text| {
        Place::parse(&text).ok_or_else(|| {
            ApiError::invalid(
                format!("`{}` is no place in the audit log", text.escape_debug()),
                "use TIME_MS-ORGANISATION-NUMBER of the last entry of the page before",
            )
        })
    });
    let search = Search {
        actor: asked.actor.unwrap_or_default(),
        act: asked.act.unwrap_or_default(),
        target: asked.target.unwrap_or_default(),
        from_ms: asked.from_ms,
        until_ms: asked.until_ms,
        after: after.transpose()?,
    };
    Ok(Json(super::list(kernel.store().read(), &session.scope, &search, limit).await?))
}

/// Whether the audit log is as it was written.
#[derive(Debug, Serialize, ToSchema)]
pub struct Verification {
    /// True if every entry and every checkpoint fits.
    pub whole: bool,
    /// How many entries were followed, if all fit.
    pub entries: Option<i64>,
    /// Where it is broken, if it is.
    pub broken: Option<Broken>,
}

/// Follows the audit log's chain from its first entry to its last, and checks the hub's signatures.
#[utoipa::path(get, path = "/api/v1/audit/verify", tag = "hub",
    responses((status = 200, body = Verification), (status = 401, body = Problem)))]
async fn verify(State(kernel): State<Kernel>, session: Session) -> Result<Json<Verification>, ApiError> {
    let key = kernel.keys().audit().key();
    Ok(Json(match super::verify(kernel.store().read(), &session.scope, Some(&key)).await? {
        Ok(entries) => Verification { whole: true, entries: Some(entries), broken: None },
        Err(broken) => Verification { whole: false, entries: None, broken: Some(broken) },
    }))
}

/// A copy of the audit log that proves itself: lines of JSON, signed, for `wardline verify audit FILE`.
#[utoipa::path(get, path = "/api/v1/audit/export", tag = "hub",
    responses((status = 200, content_type = "application/x-ndjson", body = String), (status = 401, body = Problem)))]
async fn export(State(kernel): State<Kernel>, session: Session) -> Result<Response, ApiError> {
    // The copy holds the entry about itself.
    taken(&kernel, &session.scope, &session.person).await?;
    let (sender, receiver) = mpsc::channel::<Result<String, StoreError>>(2);
    tokio::spawn(async move {
        let pieces = sender.clone();
        let written = write_copy(&kernel, &session.scope, &session.organisation, |piece| {
            let pieces = pieces.clone();
            async move { pieces.send(Ok(piece)).await.is_ok() }
        });
        if let Err(error) = written.await {
            // Breaks the transfer off, so that nobody takes a part for the whole.
            let _ = sender.send(Err(error)).await;
        }
    });
    let mut response = Body::from_stream(ReceiverStream::new(receiver)).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-ndjson"));
    let file = HeaderValue::from_static("attachment; filename=\"wardline-audit.jsonl\"");
    headers.insert(header::CONTENT_DISPOSITION, file);
    Ok(response)
}

/// Notes that somebody takes a copy away.
pub async fn taken(kernel: &Kernel, scope: &Scope, by: &str) -> Result<(), StoreError> {
    let act = Act { actor: by.to_owned(), act: "audit.exported", target: String::new(), detail: json!({}) };
    let mut tx = kernel.store().write(scope).await?;
    super::append(&mut tx, scope.root(), kernel.now(), act).await?;
    Ok(tx.commit().await?)
}

/// Writes a copy of everything within a scope, piece by piece; gives the number of entries.
pub async fn write_copy<F>(
    kernel: &Kernel,
    scope: &Scope,
    organisation: &str,
    mut write: impl FnMut(String) -> F,
) -> Result<i64, StoreError>
where
    F: Future<Output = bool>,
{
    let hub = hex(&kernel.keys().fingerprint());
    let (writer, first) = Writer::begin(kernel.keys().audit(), hub, organisation.to_owned());
    if !write(first).await {
        return Ok(0);
    }
    super::copy(kernel.store().read(), scope, writer, kernel.now(), write).await
}
