//! One visit to a page: who came, to where, and how the answer is framed.

use askama::Template;
use axum::extract::FromRequestParts;
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Redirect, Response};
use wardline_event::Timestamp;

use super::theme::is_local;
use super::{Frame, Notice, Section, Theme};
use crate::auth::Session;
use crate::error::ApiError;
use crate::kernel::Kernel;

/// A signed-in person's visit to a page of the console.
#[derive(Clone)]
pub struct Visit {
    /// The hub.
    pub kernel: Kernel,
    /// Who came.
    pub session: Session,
    /// The one time that the whole page goes by.
    pub now: Timestamp,
    theme: Theme,
    here: String,
}

impl FromRequestParts<Kernel> for Visit {
    type Rejection = Redirect;

    async fn from_request_parts(parts: &mut Parts, kernel: &Kernel) -> Result<Self, Redirect> {
        let session = parts.extensions.get::<Session>().cloned().ok_or_else(|| Redirect::to("/signin"))?;
        Ok(Self {
            kernel: kernel.clone(),
            session,
            now: kernel.now(),
            theme: Theme::of(&parts.headers),
            here: parts.uri.path_and_query().map_or_else(|| "/".to_owned(), ToString::to_string),
        })
    }
}

#[derive(Template)]
#[template(path = "problem.html")]
struct ProblemPage<'a> {
    title: &'a str,
    detail: &'a str,
    hint: &'a str,
    back: &'a str,
}

impl Visit {
    /// The page, in its frame.
    pub fn page(&self, section: Section, title: &str, body: &impl Template) -> Response {
        self.framed(StatusCode::OK, section, title, body)
    }

    fn framed(&self, status: StatusCode, section: Section, title: &str, body: &impl Template) -> Response {
        let frame = Frame {
            title,
            section,
            person: Some(&self.session.person),
            organisation: &self.session.organisation,
            theme: self.theme,
            here: &self.here,
            notice: self.notice(),
        };
        frame.respond(status, body)
    }

    /// What the form that led here came to: pages are reached after a form with `?done=WORD`, a word of this list.
    fn notice(&self) -> Option<Notice> {
        let word = self.here.split_once('?')?.1.split('&').find_map(|pair| pair.strip_prefix("done="))?;
        let text = match word {
            "ordered" => "Ordered. The device confirms below when it is done.",
            "cancelled" => "Taken back. The device will not be asked.",
            "acknowledged" => "Acknowledged. Others see that you are looking at it.",
            "closed" => "Closed. The reason is in the audit log.",
            "reopened" => "Opened again.",
            "moved" => "Moved. What it saw before stays with the organisation that it left.",
            "organisation" => "Saved.",
            "whereabouts" => "Saved. The limits of containment are counted by it from now on.",
            "asked" => "Asked. It waits for approval below; nothing is sent to a device before.",
            "approved" => "Approved.",
            "refused" => "Refused. Whoever asked sees your reason below.",
            "undone" => "The undoing is ordered. The device confirms below.",
            "consent" => "Saved. It holds at once.",
            "revoked" => "Taken back. It holds no longer.",
            "glass" => {
                "The glass is broken. Everybody who sees this organisation is told; your orders are marked for review."
            }
            "glass_ended" => "Ended. Orders need the usual agreement again.",
            "reviewed" => "Reviewed. Your words are in the audit log.",
            "policy" => "Changed. The device confirms its new mode below.",
            _ => return None,
        };
        Some(Notice { bad: false, text: text.to_owned() })
    }

    /// An answer, or a page that says what went wrong and what to do next.
    pub fn answer(&self, section: Section, result: Result<Response, ApiError>) -> Response {
        let error = match result {
            Ok(response) => return response,
            Err(error) => error,
        };
        let title = match error.status {
            StatusCode::NOT_FOUND => "There is no such page",
            StatusCode::FORBIDDEN => "This is not allowed",
            StatusCode::BAD_REQUEST | StatusCode::UNPROCESSABLE_ENTITY => "Something is missing",
            StatusCode::CONFLICT => "This cannot be done now",
            _ => "The hub could not do this",
        };
        let body = ProblemPage {
            title,
            detail: &sentence(&error.problem.detail),
            // The API's hint speaks of the API.
            hint: &match error.status {
                StatusCode::NOT_FOUND => "Check the address, or start from a list above.".to_owned(),
                _ => sentence(&error.problem.hint),
            },
            back: section.href(),
        };
        self.framed(error.status, section, title, &body)
    }

    /// After a form: back to `path` with a word of what was done. A path that leaves the hub leads to the start.
    pub fn done(&self, path: &str, word: &str) -> Response {
        let path = path.split('?').next().filter(|path| is_local(path)).unwrap_or("/");
        Redirect::to(&format!("{path}?done={word}")).into_response()
    }
}

/// An error's text as a sentence: first letter large, full stop at the end.
fn sentence(text: &str) -> String {
    let mut chars = text.chars();
    let Some(first) = chars.next() else { return String::new() };
    let end = if text.ends_with(['.', '!', '?']) { "" } else { "." };
    format!("{}{}{end}", first.to_uppercase(), chars.as_str())
}

impl Section {
    /// Its first page.
    pub fn href(self) -> &'static str {
        super::SECTIONS.iter().find(|(s, _, _)| *s == self).map_or("/", |(_, _, href)| href)
    }
}
