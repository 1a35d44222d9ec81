//! Actions in the API.
#![allow(unused_qualifications)] // utoipa's macros write paths out in full.

mod consents;
mod glass;

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

use crate::agree::agree;
use crate::domain::{ActionDetail, Wish};
use crate::order::{self, OrderError, Ordered};
use crate::person::Person;
use crate::store;
use crate::survey::{self, Preview};

/// The routes.
pub fn api() -> OpenApiRouter<Kernel> {
    OpenApiRouter::new()
        .routes(routes!(list, create))
        .routes(routes!(look))
        .routes(routes!(one))
        .routes(routes!(cancel))
        .routes(routes!(approve))
        .routes(routes!(refuse))
        .routes(routes!(undo))
        .merge(consents::api())
        .merge(glass::api())
}

#[derive(Debug, Deserialize, IntoParams)]
struct Filter {
    /// Only of this device.
    device: Option<String>,
    /// Only about this process.
    process: Option<String>,
    /// `Pending`, `InProgress`, `Succeeded`, `Failed`, `TimedOut` or `Cancelled`.
    state: Option<String>,
    /// Only those that wait for somebody's approval.
    #[serde(default)]
    waiting: bool,
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
        waiting: filter.waiting,
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

/// An order to one device or to several.
#[derive(Debug, Deserialize, ToSchema)]
pub struct NewOrder {
    /// The device.
    #[serde(default)]
    pub device: Option<String>,
    /// Several devices, at most 200: all are ordered or none.
    #[serde(default)]
    pub devices: Vec<String>,
    /// What it is to do.
    #[serde(flatten)]
    pub wish: Wish,
    /// Why.
    #[serde(default)]
    pub reason: String,
    /// `seen` of a preview: order only what it has shown.
    #[serde(default)]
    pub seen: Option<String>,
}

impl NewOrder {
    fn named(&self) -> Vec<String> {
        self.device.iter().chain(&self.devices).cloned().collect()
    }
}

/// Orders that were given.
#[derive(Debug, Serialize, ToSchema)]
pub struct Given {
    /// The first action's id; its state is at `/api/v1/actions/{id}`.
    pub id: String,
    /// One action for each device, with whose agreement it waits for.
    pub orders: Vec<Ordered>,
}

impl Given {
    fn of(orders: Vec<Ordered>) -> Self {
        Self { id: orders.first().map_or_else(String::new, |first| first.id.clone()), orders }
    }
}

/// Orders devices to kill a process, to contain themselves or a process, to end that, or to move a file into quarantine.
/// What the policies want others to agree to waits for their approval: `needs` says whose, and no device is asked before.
#[utoipa::path(post, path = "/api/v1/actions", tag = "actions", request_body = NewOrder,
    responses((status = 201, body = Given), (status = 400, body = Problem), (status = 401, body = Problem),
              (status = 404, body = Problem), (status = 409, body = Problem)))]
async fn create(
    State(kernel): State<Kernel>,
    session: Session,
    Json(wish): Json<NewOrder>,
) -> Result<(StatusCode, Json<Given>), ApiError> {
    let person = Person::of(&kernel, &session).await?;
    let orders =
        order::order(&kernel, &person, &wish.named(), &wish.wish, &wish.reason, wish.seen.as_deref()).await?;
    Ok((StatusCode::CREATED, Json(Given::of(orders))))
}

/// Says what an order would do and whose agreement it would need, and gives none.
#[utoipa::path(post, path = "/api/v1/actions/preview", tag = "actions", request_body = NewOrder,
    responses((status = 200, body = Preview), (status = 400, body = Problem), (status = 401, body = Problem),
              (status = 404, body = Problem), (status = 409, body = Problem)))]
async fn look(
    State(kernel): State<Kernel>,
    session: Session,
    Json(wish): Json<NewOrder>,
) -> Result<Json<Preview>, ApiError> {
    let person = Person::of(&kernel, &session).await?;
    Ok(Json(survey::preview(&kernel, &person, &wish.named(), &wish.wish, &wish.reason).await?))
}

/// An answer to somebody else's order.
#[derive(Debug, Default, Deserialize, ToSchema)]
pub struct Answer {
    /// Why; refusing needs one.
    #[serde(default)]
    pub reason: String,
    /// Also to what was ordered with it.
    #[serde(default)]
    pub together: bool,
}

/// Agrees to what somebody else ordered. Once nobody's agreement is missing, the command is signed and sent.
#[utoipa::path(post, path = "/api/v1/actions/{id}/approve", tag = "actions", params(("id" = String, Path)),
    request_body = Answer,
    responses((status = 200, body = Given), (status = 400, body = Problem), (status = 401, body = Problem),
              (status = 403, body = Problem), (status = 404, body = Problem), (status = 409, body = Problem)))]
async fn approve(
    State(kernel): State<Kernel>,
    session: Session,
    Path(id): Path<String>,
    Json(answer): Json<Answer>,
) -> Result<Json<Given>, ApiError> {
    let person = Person::of(&kernel, &session).await?;
    let orders = agree(&kernel, &person, &id, answer.together, true, &answer.reason).await?;
    Ok(Json(Given::of(orders)))
}

/// Refuses what somebody else ordered. It is over then.
#[utoipa::path(post, path = "/api/v1/actions/{id}/refuse", tag = "actions", params(("id" = String, Path)),
    request_body = Answer,
    responses((status = 204), (status = 400, body = Problem), (status = 401, body = Problem),
              (status = 403, body = Problem), (status = 404, body = Problem), (status = 409, body = Problem)))]
async fn refuse(
    State(kernel): State<Kernel>,
    session: Session,
    Path(id): Path<String>,
    Json(answer): Json<Answer>,
) -> Result<StatusCode, ApiError> {
    let person = Person::of(&kernel, &session).await?;
    agree(&kernel, &person, &id, answer.together, false, &answer.reason).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Undoes what an action did, by an order of its own; or takes it back, if its device has not begun: then there is none.
#[utoipa::path(post, path = "/api/v1/actions/{id}/undo", tag = "actions", params(("id" = String, Path)),
    request_body = Answer,
    responses((status = 200, body = Given), (status = 400, body = Problem), (status = 401, body = Problem),
              (status = 404, body = Problem), (status = 409, body = Problem)))]
async fn undo(
    State(kernel): State<Kernel>,
    session: Session,
    Path(id): Path<String>,
    Json(answer): Json<Answer>,
) -> Result<Json<Given>, ApiError> {
    let person = Person::of(&kernel, &session).await?;
    let order = order::undo(&kernel, &person, &id, &answer.reason).await?;
    Ok(Json(Given::of(order.into_iter().collect())))
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
            OrderError::Refused(_) => Self::forbidden(detail, "ask somebody whose role allows it"),
            OrderError::Changed => Self::conflict(detail, "look at it again, and order what you see then"),
            OrderError::NoUndo => Self::conflict(
                detail,
                "a kill cannot be undone; a file is given back once the device has confirmed where it is",
            ),
            OrderError::NotWaiting => {
                Self::conflict(detail, "look at its history: it was approved, refused or has expired")
            }
            OrderError::OwnRequest => Self::forbidden(detail, "ask somebody else whose role may approve"),
            OrderError::Program => Self::forbidden(detail, "sign in to the console and approve it there"),
            OrderError::OtherAgreement(_) => Self::forbidden(detail, "ask one of those whom it names"),
            OrderError::Reason(error) => error.into(),
            OrderError::Store(error) => error.into(),
        }
    }
}
