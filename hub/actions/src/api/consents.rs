//! Standing consent in the API.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use wardline_kernel::{ApiError, Kernel, Problem, Session};

use crate::consent::{self, Consent, NewConsent};
use crate::person::Person;
use crate::store;

pub(super) fn api() -> OpenApiRouter<Kernel> {
    OpenApiRouter::new().routes(routes!(list, give)).routes(routes!(revoke))
}

/// Standing consents that organisations within yours gave; those that hold first.
#[utoipa::path(get, path = "/api/v1/consents", tag = "actions",
    responses((status = 200, body = Vec<Consent>), (status = 401, body = Problem)))]
async fn list(State(kernel): State<Kernel>, session: Session) -> Result<Json<Vec<Consent>>, ApiError> {
    Ok(Json(store::consents::list(kernel.store().read(), &session.scope, kernel.now()).await?))
}

/// What was made.
#[derive(Debug, Serialize, ToSchema)]
pub struct Made {
    /// Its id.
    pub id: String,
}

/// Allows an organisation above to do certain things to certain devices without asking.
#[utoipa::path(post, path = "/api/v1/consents", tag = "actions", request_body = NewConsent,
    responses((status = 201, body = Made), (status = 400, body = Problem), (status = 401, body = Problem),
              (status = 403, body = Problem), (status = 404, body = Problem)))]
async fn give(
    State(kernel): State<Kernel>,
    session: Session,
    Json(wish): Json<NewConsent>,
) -> Result<(StatusCode, Json<Made>), ApiError> {
    let person = Person::of(&kernel, &session).await?;
    let id = consent::give(&kernel, &person, &wish).await?;
    Ok((StatusCode::CREATED, Json(Made { id })))
}

/// Takes a standing consent back.
#[utoipa::path(delete, path = "/api/v1/consents/{id}", tag = "actions", params(("id" = String, Path)),
    responses((status = 204), (status = 401, body = Problem), (status = 403, body = Problem),
              (status = 404, body = Problem)))]
async fn revoke(
    State(kernel): State<Kernel>,
    session: Session,
    Path(id): Path<String>,
) -> Result<StatusCode, ApiError> {
    consent::revoke(&kernel, &Person::of(&kernel, &session).await?, &id).await?;
    Ok(StatusCode::NO_CONTENT)
}
