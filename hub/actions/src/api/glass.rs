//! Break-glass in the API.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde::Deserialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use wardline_kernel::{ApiError, Kernel, Problem, Session};

use super::consents::Made;
use crate::glass::{self, Glass, NewGlass};
use crate::person::Person;
use crate::store;

pub(super) fn api() -> OpenApiRouter<Kernel> {
    OpenApiRouter::new().routes(routes!(list, begin)).routes(routes!(end)).routes(routes!(review))
}

/// Who broke the glass within your organisation, and who looked into it; those first into which nobody has.
#[utoipa::path(get, path = "/api/v1/break-glass", tag = "actions",
    responses((status = 200, body = Vec<Glass>), (status = 401, body = Problem)))]
async fn list(State(kernel): State<Kernel>, session: Session) -> Result<Json<Vec<Glass>>, ApiError> {
    Ok(Json(store::glass::list(kernel.store().read(), &session.scope).await?))
}

/// Acts at once where others would have to agree, for a time. Everybody is told, and somebody else looks into it.
#[utoipa::path(post, path = "/api/v1/break-glass", tag = "actions", request_body = NewGlass,
    responses((status = 201, body = Made), (status = 400, body = Problem), (status = 401, body = Problem),
              (status = 403, body = Problem), (status = 404, body = Problem)))]
async fn begin(
    State(kernel): State<Kernel>,
    session: Session,
    Json(wish): Json<NewGlass>,
) -> Result<(StatusCode, Json<Made>), ApiError> {
    let person = Person::of(&kernel, &session).await?;
    let id = glass::break_it(&kernel, &person, &wish).await?;
    Ok((StatusCode::CREATED, Json(Made { id })))
}

/// Ends it before its time.
#[utoipa::path(post, path = "/api/v1/break-glass/{id}/end", tag = "actions", params(("id" = String, Path)),
    responses((status = 204), (status = 401, body = Problem), (status = 404, body = Problem)))]
async fn end(
    State(kernel): State<Kernel>,
    session: Session,
    Path(id): Path<String>,
) -> Result<StatusCode, ApiError> {
    glass::end(&kernel, &Person::of(&kernel, &session).await?, &id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// What somebody found who looked into it.
#[derive(Debug, Deserialize, ToSchema)]
pub struct Review {
    /// In words that others can read later.
    pub review: String,
}

/// Notes what somebody found who looked into it. Whoever broke the glass cannot.
#[utoipa::path(post, path = "/api/v1/break-glass/{id}/review", tag = "actions", params(("id" = String, Path)),
    request_body = Review,
    responses((status = 204), (status = 400, body = Problem), (status = 401, body = Problem),
              (status = 403, body = Problem), (status = 404, body = Problem)))]
async fn review(
    State(kernel): State<Kernel>,
    session: Session,
    Path(id): Path<String>,
    Json(found): Json<Review>,
) -> Result<StatusCode, ApiError> {
    glass::review(&kernel, &Person::of(&kernel, &session).await?, &id, &found.review).await?;
    Ok(StatusCode::NO_CONTENT)
}
