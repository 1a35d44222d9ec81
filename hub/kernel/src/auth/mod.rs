//! Who is asking: one-time sign-in links, session cookies, API tokens. Denied unless proved.

mod guard;
mod limit;
mod routes;
pub(crate) mod store;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use serde::Serialize;
use utoipa::ToSchema;
use wardline_policy::{Authority, Deed, Refused, Role};

use crate::error::ApiError;
use crate::scope::Scope;

pub use guard::{OPEN_ROUTES, guard, is_open};
pub(crate) use limit::Limiter;
pub use routes::{api, console};
pub use store::{answerable, make_link, sign_in};

/// How long a sign-in link can be used, in milliseconds.
pub const LINK_LIFE_MS: i64 = 15 * 60 * 1000;

/// How long a session lasts, in milliseconds.
pub const SESSION_LIFE_MS: i64 = 12 * 60 * 60 * 1000;

/// The session cookie's name.
pub const COOKIE: &str = "wardline_session";

/// How somebody proved who they are.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Proof {
    /// A person with a session cookie.
    Session,
    /// A program with an API token.
    Token,
}

/// A route (method and path as it is routed) and what whoever uses it does. A route that is in no such list answers
/// nobody but strangers at its open doors.
pub type Access = (&'static str, &'static str, Deed);

/// Somebody who proved who they are. Every handler that takes one as an argument is closed to everybody else;
/// so is every other route that [`OPEN_ROUTES`] does not name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Session {
    /// Whose data they may see.
    pub scope: Scope,
    /// The name of the organisation at its top.
    pub organisation: String,
    /// What they are there and in every organisation below.
    pub role: Role,
    /// Their name, as it goes into the audit log.
    pub person: String,
    /// How they proved it.
    pub proof: Proof,
    /// Hash of the session's id, by which it is ended; the API token's id for programs.
    pub id: String,
}

impl Session {
    /// Whether the policies permit this here.
    pub fn may(&self, deed: Deed) -> Result<(), Refused> {
        Authority::built_in().decide(&self.person, &[self.role], deed, self.scope.id())
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Session {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        parts.extensions.get::<Self>().cloned().ok_or_else(ApiError::unauthenticated)
    }
}
