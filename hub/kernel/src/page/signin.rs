//! The pages before sign-in.

use askama::Template;
use axum::extract::{Path, Query};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Redirect, Response};
use serde::Deserialize;

use super::{Frame, Section, Theme};

/// What `GET /signin` may carry.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Asked {
    /// Set after a code was refused.
    refused: Option<String>,
    /// A code, or a whole link, that somebody pasted.
    code: Option<String>,
}

#[derive(Template)]
#[template(path = "signin.html")]
pub(super) struct SignInPage {
    pub refused: bool,
}

#[derive(Template)]
#[template(path = "signin_link.html")]
pub(super) struct LinkPage<'a> {
    pub code: &'a str,
}

/// A link's code, out of whatever was pasted: the code alone or the whole link.
fn code_in(pasted: &str) -> Option<&str> {
    let code = pasted.trim().trim_end_matches('/');
    let code = code.rsplit('/').next().unwrap_or(code);
    (!code.is_empty() && code.len() <= 128 && code.bytes().all(|b| b.is_ascii_alphanumeric())).then_some(code)
}

fn framed(headers: &HeaderMap, body: &impl Template) -> Response {
    let frame = Frame {
        title: "Sign in",
        section: Section::None,
        person: None,
        organisation: "",
        theme: Theme::of(headers),
        here: "/signin",
        notice: None,
    };
    frame.respond(StatusCode::OK, body)
}

/// `GET /signin`: how to get in.
pub(super) async fn page(Query(asked): Query<Asked>, headers: HeaderMap) -> Response {
    match asked.code.as_deref().map(code_in) {
        Some(Some(code)) => Redirect::to(&format!("/signin/{code}")).into_response(),
        Some(None) => framed(&headers, &SignInPage { refused: true }),
        None => framed(&headers, &SignInPage { refused: asked.refused.is_some() }),
    }
}

/// `GET /signin/{code}`: one button. The link itself changes nothing, so a preview of it does not use it up.
pub(super) async fn link(Path(code): Path<String>, headers: HeaderMap) -> Response {
    match code_in(&code) {
        Some(code) => framed(&headers, &LinkPage { code }),
        None => framed(&headers, &SignInPage { refused: true }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pages_say_how_to_get_in() {
        let frame = |body: &dyn Fn(&Frame) -> String| {
            let frame = Frame {
                title: "Sign in",
                section: Section::None,
                person: None,
                organisation: "",
                theme: Theme::System,
                here: "/signin",
                notice: None,
            };
            body(&frame)
        };
        let write = |name: &str, html: &str| {
            // For a look without a hub: `WARDLINE_PAGES=DIR cargo test` writes each page there.
            if let Some(folder) = std::env::var_os("WARDLINE_PAGES") {
                std::fs::write(std::path::Path::new(&folder).join(name), html).unwrap();
            }
        };
        let html = frame(&|f| f.render(&SignInPage { refused: false }).unwrap());
        assert!(
            html.contains("wardline hub link") && !html.contains("sse-connect") && !html.contains("Sign out")
        );
        write("signin.html", &html);
        let html = frame(&|f| f.render(&SignInPage { refused: true }).unwrap());
        assert!(html.contains("Your link can no longer be used") && html.contains("wardline hub link"));
        write("signin-refused.html", &html);
        let html = frame(&|f| f.render(&LinkPage { code: "abc" }).unwrap());
        assert!(html.contains("action=\"/signin/abc\""));
        write("signin-link.html", &html);
    }

    #[test]
    fn a_code_is_found_in_what_was_pasted() {
        for (pasted, code) in [
            ("abc123", Some("abc123")),
            ("  http://127.0.0.1:8700/signin/abc123/ \n", Some("abc123")),
            ("", None),
            ("http://127.0.0.1:8700/signin/../x?y", None),
            ("<script>", None),
        ] {
            assert_eq!(code_in(pasted), code, "{pasted}");
        }
    }
}
