//! One form for every error that the API gives.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use crate::reason::ReasonTooLong;
use crate::store::StoreError;

/// What an API client gets instead of an answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Problem {
    /// A word for programs: `not_found`, `invalid`, `unauthenticated`, …
    pub error: String,
    /// What happened, to what.
    pub detail: String,
    /// What to do next.
    pub hint: String,
}

/// An error with its status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiError {
    /// The status.
    pub status: StatusCode,
    /// The body.
    pub problem: Problem,
}

impl ApiError {
    /// Any error.
    pub fn new(status: StatusCode, error: &str, detail: impl Into<String>, hint: impl Into<String>) -> Self {
        let problem = Problem { error: error.to_owned(), detail: detail.into(), hint: hint.into() };
        Self { status, problem }
    }

    /// 401: nobody is signed in.
    pub fn unauthenticated() -> Self {
        Self::new(
            StatusCode::UNAUTHORIZED,
            "unauthenticated",
            "this needs a session or an API token",
            "sign in with a one-time link (`wardline hub link` makes one) or send `Authorization: Bearer TOKEN`",
        )
    }

    /// 404: there is no such thing in this organisation.
    pub fn not_found(what: &str, id: &str) -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "not_found",
            format!("there is no {what} `{id}` in this organisation"),
            "check the id; lists are at /api/v1/devices, /api/v1/findings and /api/v1/actions",
        )
    }

    /// 400: the request makes no sense.
    pub fn invalid(detail: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid", detail, hint)
    }

    /// 409: it makes sense, and the thing is not in a state for it.
    pub fn conflict(detail: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, "conflict", detail, hint)
    }

    /// 403: a rule forbids it.
    pub fn forbidden(detail: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "forbidden", detail, hint)
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        if matches!(error, StoreError::Full) {
            return Self::new(
                StatusCode::INSUFFICIENT_STORAGE,
                "disk_full",
                error.to_string(),
                "free space in the hub's data folder, then try again",
            );
        }
        if matches!(error, StoreError::Text) {
            return Self::invalid(error.to_string(), "send it without that character");
        }
        if matches!(error, StoreError::Away(_)) {
            tracing::error!(error = &error as &dyn std::error::Error, "the database is away");
            return Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "database_away",
                error.to_string(),
                "try again in a minute; if it stays away, whoever runs the hub looks after its database server",
            );
        }
        // The chain goes to the log; a client learns only that it was not its fault.
        tracing::error!(error = &error as &dyn std::error::Error, "a request failed in the store");
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "store",
            error.to_string(),
            "try again; the hub's log has the cause",
        )
    }
}

impl From<ReasonTooLong> for ApiError {
    fn from(error: ReasonTooLong) -> Self {
        Self::invalid(error.to_string(), "say the same in fewer words; nothing was changed")
    }
}

impl From<sqlx::Error> for ApiError {
    fn from(error: sqlx::Error) -> Self {
        StoreError::from(error).into()
    }
}

impl std::fmt::Display for ApiError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}; {}", self.problem.detail, self.problem.hint)
    }
}

impl std::error::Error for ApiError {}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        (self.status, Json(self.problem)).into_response()
    }
}
