//! How every page of the console looks: its frame, its tags, its assets, and the escaper that no text can avoid.
//!
//! A capability renders its own template into a [`Frame`]; it needs an `askama.toml` that names
//! `wardline_kernel::page::Visible` as the escaper.

pub mod assets;
mod audit;
mod orders;
mod signin;
mod tags;
mod text;
mod theme;
mod visit;

use askama::Template;
use axum::Router;
use axum::http::StatusCode;
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{get, post};

use crate::kernel::Kernel;

pub use orders::{
    ActionRow, ContainForm, IsolateForm, KillForm, LiftForm, OrderedList, ReleaseForm, UndoForm, action_row,
    containment_in_words, deed_in_words,
};
pub use tags::{Tag, Tone, severity_word};
pub use text::{
    Ago, Exact, Markup, Visible, absolute, address, ago, base_name, clock_time, escaped, filters, grouped,
    short, spoken_us,
};
pub use theme::Theme;
pub use visit::Visit;

/// The parts of the console, as the navigation shows them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Section {
    /// What was detected.
    Findings,
    /// The computers.
    Devices,
    /// What people ordered.
    Actions,
    /// The tree of organisations.
    Organisations,
    /// Who did what.
    Audit,
    /// None of them: sign-in, errors.
    None,
}

/// The navigation, in order.
pub const SECTIONS: &[(Section, &str, &str)] = &[
    (Section::Findings, "Findings", "/findings"),
    (Section::Devices, "Devices", "/devices"),
    (Section::Actions, "Actions", "/actions"),
    (Section::Organisations, "Organisations", "/organisations"),
    (Section::Audit, "Audit", "/audit"),
];

/// A sentence above the page: what came of the form that was just sent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Notice {
    /// True if it failed.
    pub bad: bool,
    /// The sentence.
    pub text: String,
}

/// What stands around a page.
#[derive(Clone, Debug)]
pub struct Frame<'a> {
    /// The page's name.
    pub title: &'a str,
    /// Where it belongs.
    pub section: Section,
    /// Who is signed in.
    pub person: Option<&'a str>,
    /// For which organisation; empty before sign-in.
    pub organisation: &'a str,
    /// Dark, light, or as the system says.
    pub theme: Theme,
    /// The address of this page, to come back to.
    pub here: &'a str,
    /// What to say first.
    pub notice: Option<Notice>,
}

#[derive(Template)]
#[template(path = "layout.html")]
struct Layout<'a> {
    frame: &'a Frame<'a>,
    body: &'a str,
}

impl Frame<'_> {
    /// The whole page.
    pub fn render(&self, body: &impl Template) -> askama::Result<String> {
        Layout { frame: self, body: &body.render()? }.render()
    }

    /// The whole page as an answer with its security headers.
    pub fn respond(&self, status: StatusCode, body: &impl Template) -> Response {
        match self.render(body) {
            Ok(html) => (status, Html(html)).into_response(),
            Err(error) => {
                tracing::error!(%error, page = self.title, "a page could not be rendered");
                (StatusCode::INTERNAL_SERVER_ERROR, "This page could not be made; the hub's log says why.\n")
                    .into_response()
            }
        }
    }
}

/// The kernel's own pages: assets, theme, sign-in, audit log.
pub fn console() -> Router<Kernel> {
    Router::new()
        .route("/assets/{name}", get(assets::serve))
        .route("/theme", post(theme::choose))
        .route("/signin", get(signin::page))
        .route("/signin/{code}", get(signin::link))
        .route("/audit", get(audit::page))
        .merge(crate::notices::console())
}
