//! The console's style sheet, scripts and icon, carried by the binary. Their names change with their content, so
//! a browser may keep them for ever.

use axum::http::{HeaderName, HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};

/// One embedded file.
#[derive(Clone, Copy, Debug)]
pub struct Asset {
    /// Its name in the source tree: `console.css`.
    pub name: &'static str,
    /// The address that pages use.
    pub url: &'static str,
    /// Its media type.
    pub content_type: &'static str,
    /// Its content.
    pub bytes: &'static [u8],
}

mod embedded {
    use super::Asset;
    include!(concat!(env!("OUT_DIR"), "/assets.rs"));
}

pub use embedded::FILES;

/// The address of an embedded file.
///
/// # Panics
///
/// If no file of that name is embedded; every page is rendered in a test.
pub fn url(name: &str) -> &'static str {
    FILES.iter().find(|asset| asset.name == name).expect("pages name only embedded files").url
}

/// Answers `GET /assets/…`.
pub async fn serve(uri: Uri) -> Response {
    let Some(asset) = FILES.iter().find(|asset| asset.url == uri.path()) else {
        return (StatusCode::NOT_FOUND, "no such file\n").into_response();
    };
    let headers: [(HeaderName, HeaderValue); 3] = [
        (header::CONTENT_TYPE, HeaderValue::from_static(asset.content_type)),
        (header::CACHE_CONTROL, HeaderValue::from_static("public, max-age=31536000, immutable")),
        (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    ];
    (headers, asset.bytes).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_style_sheet_asks_nobody_for_anything() {
        let css = FILES.iter().find(|a| a.name == "console.css").unwrap();
        let text = std::str::from_utf8(css.bytes).unwrap();
        assert!(text.contains("--wl-page"));
        for loads in ["@import", "@font-face", "http:", "https:", "//assets"] {
            assert!(!text.contains(loads), "console.css contains {loads}");
        }
        assert!(
            text.match_indices("url(")
                .all(|(at, _)| text[at + 4..].trim_start_matches('"').starts_with("data:"))
        );
    }

    #[tokio::test]
    async fn names_carry_the_content_and_are_kept_for_ever() {
        let response = serve(url("console.css").parse().unwrap()).await;
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()[header::CACHE_CONTROL], "public, max-age=31536000, immutable");
        let response = serve("/assets/console.0000000000000000.css".parse().unwrap()).await;
        assert_eq!(response.status(), StatusCode::NOT_FOUND);
    }
}
