//! Signing in and out, and API tokens.
#![allow(unused_qualifications)] // utoipa's macros write paths out in full.

use axum::extract::{Path, Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::post;
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use wardline_policy::Role;

use super::guard::{address, too_many};
use super::{COOKIE, Proof, SESSION_LIFE_MS, Session, store};
use crate::error::{ApiError, Problem};
use crate::kernel::Kernel;
use crate::tree;

/// `POST /signin/{code}` and `POST /signout`. The page with the button is the console's.
pub fn console() -> Router<Kernel> {
    Router::new().route("/signin/{code}", post(sign_in)).route("/signout", post(sign_out))
}

fn with_cookie(mut response: Response, cookie: &str) -> Response {
    let value = HeaderValue::from_str(cookie).expect("a cookie of hexadecimal digits is a valid header");
    response.headers_mut().insert(header::SET_COOKIE, value);
    response
}

async fn sign_in(State(kernel): State<Kernel>, Path(code): Path<String>, request: Request) -> Response {
    let (who, now) = (address(&request), kernel.now());
    if kernel.limiter().refuses(who, now) {
        return too_many().into_response();
    }
    match store::sign_in(kernel.store(), &code, now).await {
        Ok(Some(id)) => {
            kernel.limiter().succeeded(who);
            let life_s = SESSION_LIFE_MS / 1000;
            with_cookie(
                Redirect::to("/").into_response(),
                &format!("{COOKIE}={id}; HttpOnly; SameSite=Strict; Path=/; Max-Age={life_s}"),
            )
        }
        Ok(None) => {
            kernel.limiter().failed(who, now);
            // The console's page explains what a link is and how to get a fresh one.
            Redirect::to("/signin?refused=1").into_response()
        }
        Err(error) => ApiError::from(error).into_response(),
    }
}

async fn sign_out(State(kernel): State<Kernel>, session: Session) -> Result<Response, ApiError> {
    if session.proof == Proof::Session {
        store::sign_out(kernel.store(), &session, kernel.now()).await?;
    }
    Ok(with_cookie(
        Redirect::to("/signin").into_response(),
        &format!("{COOKIE}=; HttpOnly; SameSite=Strict; Path=/; Max-Age=0"),
    ))
}

/// API tokens, under `/api/v1`.
pub fn api() -> OpenApiRouter<Kernel> {
    OpenApiRouter::new().routes(routes!(list_tokens, make_token)).routes(routes!(revoke_token))
}

/// A wish for an API token.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewApiToken {
    /// What will use it: shown in the audit log.
    pub name: String,
    /// What it may do: `inspector` reads, `analyst`, `responder`, `trust_lead`, `clinical_engineer`,
    /// `on_call_manager`, `administrator`.
    #[schema(value_type = String)]
    pub role: Role,
    /// The organisation in which, and in all below it; yours if not said.
    pub organisation: Option<String>,
    /// Days until it expires, 1 to 366.
    pub days: u16,
}

/// A fresh API token.
#[derive(Debug, Serialize, ToSchema)]
pub struct ApiToken {
    /// Its id, by which it is revoked.
    pub id: String,
    /// The secret, for `Authorization: Bearer`. Shown this once.
    pub secret: String,
}

/// An API token in a list; never its secret.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct ApiTokenSummary {
    /// By which it is revoked.
    pub id: String,
    /// The organisation in which it may do something, and in all below it.
    pub organisation: String,
    /// What it may do.
    pub role: String,
    /// What uses it.
    pub name: String,
    /// Who made it.
    pub created_by: String,
    /// When.
    pub created_ms: i64,
    /// Until when it can be used.
    pub expires_ms: i64,
    /// When it was revoked, if it was.
    pub revoked_ms: Option<i64>,
}

/// All API tokens, without their secrets.
#[utoipa::path(get, path = "/api/v1/tokens/api", tag = "access",
    responses((status = 200, body = Vec<ApiTokenSummary>), (status = 401, body = Problem)))]
async fn list_tokens(
    State(kernel): State<Kernel>,
    session: Session,
) -> Result<Json<Vec<ApiTokenSummary>>, ApiError> {
    Ok(Json(store::api_tokens(kernel.store().read(), &session.scope).await?))
}

/// Makes an API token.
#[utoipa::path(post, path = "/api/v1/tokens/api", tag = "access", request_body = NewApiToken,
    responses((status = 201, body = ApiToken), (status = 400, body = Problem), (status = 401, body = Problem),
              (status = 403, body = Problem), (status = 404, body = Problem)))]
async fn make_token(
    State(kernel): State<Kernel>,
    session: Session,
    Json(wish): Json<NewApiToken>,
) -> Result<(StatusCode, Json<ApiToken>), ApiError> {
    let name = wish.name.trim();
    if name.is_empty() || name.chars().count() > 80 || name.chars().any(char::is_control) {
        return Err(ApiError::invalid(
            "the token's name must have 1 to 80 printable characters",
            "name the program that will use it",
        ));
    }
    if !(1..=366).contains(&wish.days) {
        return Err(ApiError::invalid("a token lives 1 to 366 days", "set `days` within that"));
    }
    if session.proof == Proof::Token {
        return Err(ApiError::forbidden(
            "a token cannot make tokens",
            "sign in to the console and make the token there",
        ));
    }
    let life_ms = i64::from(wish.days) * 24 * 60 * 60 * 1000;
    let organisation = match &wish.organisation {
        None => session.scope.root().clone(),
        Some(id) => tree::find(kernel.store().read().within(&session.scope), &session.scope, id)
            .await?
            .ok_or_else(|| ApiError::not_found("organisation", id))?,
    };
    let (named, now) = ((name, wish.role), kernel.now());
    let (id, secret) =
        store::make_api_token(kernel.store(), &session, &organisation, named, life_ms, now).await?;
    Ok((StatusCode::CREATED, Json(ApiToken { id, secret })))
}

/// Revokes an API token.
#[utoipa::path(delete, path = "/api/v1/tokens/api/{id}", tag = "access", params(("id" = String, Path)),
    responses((status = 204), (status = 401, body = Problem), (status = 404, body = Problem)))]
async fn revoke_token(
    State(kernel): State<Kernel>,
    session: Session,
    Path(id): Path<String>,
) -> Result<StatusCode, ApiError> {
    if store::revoke_api_token(kernel.store(), &session, &id, kernel.now()).await? {
        Ok(StatusCode::NO_CONTENT)
    } else {
        Err(ApiError::not_found("API token", &id))
    }
}
