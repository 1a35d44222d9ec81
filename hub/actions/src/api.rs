//! Actions in the API.
#![allow(unused_qualifications)] // utoipa's macros write paths out in full.

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use wardline_event::ActionState;
use wardline_kernel::views::{self, ActionQuery, ActionSummary};
use wardline_kernel::{ApiError, Kernel, Problem, Session};

use crate::domain::{ActionDetail, Wish};
use crate::order::{self, OrderError};
use crate::store;

/// The routes.
pub fn api() -> OpenApiRouter<Kernel> {
    OpenApiRouter::new().routes(routes!(list, create)).routes(routes!(one)).routes(routes!(cancel))
}

#[derive(Debug, Deserialize, IntoParams)]
struct Filter {
    /// Only of this device.
    device: Option<String>,
    /// Only about this process.
    process: Option<String>,
    /// `Pending`, `InProgress`, `Succeeded`, `Failed`, `TimedOut` or `Cancelled`.
    state: Option<String>,
    /// At most this many, 1 to 500; 100 if not said.
    limit: Option<u32>,
}

/// Actions, newest first.
#[utoipa::path(get, path = "/api/v1/actions", tag = "actions", params(Filter),
    responses((status = 200, body = Vec<ActionSummary>), (status = 400, body = Problem),
              (status = 401, body = Problem)))]
async fn list(
    State(kernel): State<Kernel>,
    session: Session,
    Query(filter): Query<Filter>,
) -> Result<Json<Vec<ActionSummary>>, ApiError> {
    if let Some(text) = &filter.state {
        ActionState::parse(text).ok_or_else(|| {
            ApiError::invalid(
                format!("`{text}` is not a state of an action"),
                "use Pending, InProgress, Succeeded, Failed, TimedOut or Cancelled",
            )
        })?;
    }
    let query = ActionQuery {
        device: filter.device,
        process_key: filter.process,
        state: filter.state,
        after: None,
        limit: filter.limit.unwrap_or(100),
    };
    Ok(Json(views::actions(kernel.store().read(), &session.scope, &query).await?))
}

/// One action with its history.
#[utoipa::path(get, path = "/api/v1/actions/{id}", tag = "actions", params(("id" = String, Path)),
    responses((status = 200, body = ActionDetail), (status = 401, body = Problem),
              (status = 404, body = Problem)))]
async fn one(
    State(kernel): State<Kernel>,
    session: Session,
    Path(id): Path<String>,
) -> Result<Json<ActionDetail>, ApiError> {
    let action = store::detail(kernel.store().read(), &session.scope, &id).await?;
    action.map(Json).ok_or_else(|| ApiError::not_found("action", &id))
}

/// An order to a device.
#[derive(Debug, Deserialize, ToSchema)]
pub struct NewOrder {
    /// The device.
    pub device: String,
    /// What it is to do.
    #[serde(flatten)]
    pub wish: Wish,
    /// Why.
    pub reason: String,
}

/// An order that was given.
#[derive(Debug, Serialize, ToSchema)]
pub struct Ordered {
    /// The action's id; its state is at `/api/v1/actions/{id}`.
    pub id: String,
}

/// Orders a device to kill a process, to contain itself or a process, to end that, or to move a file into quarantine.
#[utoipa::path(post, path = "/api/v1/actions", tag = "actions", request_body = NewOrder,
    responses((status = 201, body = Ordered), (status = 400, body = Problem), (status = 401, body = Problem),
              (status = 404, body = Problem), (status = 409, body = Problem)))]
async fn create(
    State(kernel): State<Kernel>,
    session: Session,
    Json(order): Json<NewOrder>,
) -> Result<(StatusCode, Json<Ordered>), ApiError> {
    let id =
        order::order(&kernel, &session.scope, &session.person, &order.device, &order.wish, &order.reason)
            .await?;
    Ok((StatusCode::CREATED, Json(Ordered { id })))
}

/// Takes back an action that its device has not begun.
#[utoipa::path(post, path = "/api/v1/actions/{id}/cancel", tag = "actions", params(("id" = String, Path)),
    responses((status = 204), (status = 401, body = Problem), (status = 404, body = Problem),
              (status = 409, body = Problem)))]
async fn cancel(
    State(kernel): State<Kernel>,
    session: Session,
    Path(id): Path<String>,
) -> Result<StatusCode, ApiError> {
    order::cancel(&kernel, &session.scope, &session.person, &id).await?;
    Ok(StatusCode::NO_CONTENT)
}

impl From<OrderError> for ApiError {
    fn from(error: OrderError) -> Self {
        let detail = error.to_string();
        match error {
            OrderError::NoDevice(id) => Self::not_found("device", &id),
            OrderError::NoAction(id) => Self::not_found("action", &id),
            OrderError::Revoked => Self::conflict(detail, "enrol the device again first"),
            OrderError::Nonsense(_) => Self::invalid(detail, "correct the order and give it again"),
            OrderError::Prohibited(_) => {
                Self::invalid(detail, "change the order, or the device's policy, and say why")
            }
            OrderError::TooLate(_) => Self::conflict(
                detail,
                "a containment that has begun is ended by ordering `release` or `lift`; a kill cannot be undone",
            ),
            OrderError::Reason(error) => error.into(),
            OrderError::Store(error) => error.into(),
        }
    }
}
