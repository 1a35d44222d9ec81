//! Dark or light: the system's choice unless the person made another, kept in a cookie.

use axum::Form;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;

/// What the person chose.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Theme {
    /// As the system says.
    #[default]
    System,
    /// Light always.
    Light,
    /// Dark always.
    Dark,
}

const COOKIE: &str = "wardline_theme";

impl Theme {
    /// The choice that a request carries.
    pub fn of(headers: &HeaderMap) -> Self {
        headers
            .get_all(header::COOKIE)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(';'))
            .find_map(|pair| pair.trim().strip_prefix(COOKIE)?.strip_prefix('='))
            .map_or(Self::System, Self::parse)
    }

    fn parse(word: &str) -> Self {
        match word {
            "light" => Self::Light,
            "dark" => Self::Dark,
            _ => Self::System,
        }
    }

    /// The value of the page's `data-theme`.
    pub fn word(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::Light => "light",
            Self::Dark => "dark",
        }
    }

    /// What the button shows.
    pub fn title(self) -> &'static str {
        match self {
            Self::System => "Auto",
            Self::Light => "Light",
            Self::Dark => "Dark",
        }
    }

    /// What the button leads to.
    #[must_use]
    pub fn next(self) -> Self {
        match self {
            Self::System => Self::Dark,
            Self::Dark => Self::Light,
            Self::Light => Self::System,
        }
    }
}

/// The form behind the button.
#[derive(Debug, Deserialize)]
pub struct Choice {
    theme: String,
    back: String,
}

/// Answers `POST /theme`: keeps the choice for a year and goes back to where the button was pressed.
pub async fn choose(Form(choice): Form<Choice>) -> Response {
    let word = Theme::parse(&choice.theme).word();
    let cookie = format!("{COOKIE}={word}; Path=/; Max-Age=31536000; SameSite=Lax; HttpOnly");
    let back = if is_local(&choice.back) { choice.back } else { "/".to_owned() };
    (StatusCode::SEE_OTHER, [(header::LOCATION, back), (header::SET_COOKIE, cookie)]).into_response()
}

/// Whether an address stays on this hub: a path, and nothing that a browser would read as another host.
pub(super) fn is_local(address: &str) -> bool {
    address.starts_with('/')
        && !address.starts_with("//")
        && address.bytes().all(|b| b.is_ascii_graphic() && b != b'\\')
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    #[test]
    fn the_choice_is_read_from_its_cookie() {
        let theme = |cookie| {
            let mut headers = HeaderMap::new();
            headers.insert(header::COOKIE, HeaderValue::from_static(cookie));
            Theme::of(&headers)
        };
        assert_eq!(theme("a=b; wardline_theme=dark"), Theme::Dark);
        assert_eq!(theme("wardline_theme=\"><script>"), Theme::System);
        assert_eq!(theme("xwardline_theme=dark"), Theme::System);
        assert_eq!(Theme::of(&HeaderMap::new()), Theme::System);
    }

    #[tokio::test]
    async fn the_way_back_never_leaves_the_hub() {
        for (back, location) in [
            ("/findings?severity=high", "/findings?severity=high"),
            ("//evil.example/", "/"),
            ("/\\evil.example/", "/"),
            ("https://evil.example/", "/"),
            ("/a\r\nSet-Cookie: x=y", "/"),
        ] {
            let choice = Choice { theme: "dark".into(), back: back.into() };
            let response = choose(Form(choice)).await;
            assert_eq!(response.headers()[header::LOCATION], location, "{back}");
        }
    }
}
