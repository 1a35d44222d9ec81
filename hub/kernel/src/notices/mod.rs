//! Notices: what everybody who sees an organisation is told at the top of each page, until it ends.

mod store;

use askama::Template;
use axum::Router;
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use wardline_event::Timestamp;

use crate::kernel::Kernel;
use crate::page::{Visit, filters};

pub use store::{current, end, put};

/// A notice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// The organisation whose people are told, and those above it.
    pub organisation: String,
    /// That organisation's name.
    pub organisation_name: String,
    /// The sentence.
    pub text: String,
    /// The page that tells more.
    pub href: String,
    /// When it ends, unless it is ended before.
    pub until: Timestamp,
}

#[derive(Template)]
#[template(path = "notices.html")]
struct Notices {
    notices: Vec<Told>,
}

/// `GET /notices`: the part of every page that tells them, fetched again when one is made or ends.
pub fn console() -> Router<Kernel> {
    Router::new().route("/notices", get(fragment))
}

async fn fragment(visit: Visit) -> Response {
    let told = current(visit.kernel.store().read(), &visit.session.scope, visit.now).await;
    let notices = told.unwrap_or_else(|error| {
        tracing::warn!(error = &error as &dyn std::error::Error, "could not look for notices");
        Vec::new()
    });
    match (Notices { notices }).render() {
        Ok(html) => Html(html).into_response(),
        Err(error) => {
            tracing::error!(%error, "the notices could not be rendered");
            axum::http::StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}
