//! What every answer carries and every request must keep to.

use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, FromRequestParts, Request, State};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};

use crate::auth;
use crate::error::ApiError;
use crate::kernel::Kernel;
use crate::page::{Section, Visit};

/// The most bytes that a request's body may have: forms and small JSON.
const MAX_BODY: usize = 256 << 10;

/// How long a handler may take before it begins to answer.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Only our own scripts and styles, no inline ones, no frames, nothing from elsewhere.
const CSP: &str = "default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none'; \
     form-action 'self'; frame-ancestors 'none'";

/// Puts the door, the limits and the security headers around the hub's routes.
pub fn protect(routes: Router<Kernel>, kernel: Kernel) -> Router {
    routes
        .fallback(nothing_here)
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .layer(middleware::from_fn(limit_time))
        .layer(middleware::from_fn_with_state(kernel.clone(), auth::guard))
        .layer(middleware::from_fn(headers))
        .with_state(kernel)
}

/// Programs get JSON, people a page.
async fn nothing_here(State(kernel): State<Kernel>, request: Request) -> Response {
    let path = request.uri().path();
    let error = ApiError::new(
        StatusCode::NOT_FOUND,
        "not_found",
        format!("there is nothing at {path}"),
        "the console begins at /, the API is described at /api/v1/openapi.json",
    );
    if path.starts_with("/api/") {
        return error.into_response();
    }
    let (mut parts, _) = request.into_parts();
    match Visit::from_request_parts(&mut parts, &kernel).await {
        Ok(visit) => visit.answer(Section::None, Err(error)),
        Err(to_sign_in) => to_sign_in.into_response(),
    }
}

async fn limit_time(request: Request, next: Next) -> Response {
    tokio::time::timeout(TIMEOUT, next.run(request)).await.unwrap_or_else(|_| {
        ApiError::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "too_slow",
            "the hub took longer than 30 s to answer",
            "try again; if it stays slow, look at the hub's log and disk",
        )
        .into_response()
    })
}

async fn headers(request: Request, next: Next) -> Response {
    let asset = request.uri().path().starts_with("/assets/");
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, CSP),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    // Pages show what only a signed-in person may see: no cache keeps them.
    if !asset {
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    response
}
