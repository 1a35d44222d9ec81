//! The door: runs before every handler.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use axum::extract::{ConnectInfo, FromRequestParts, MatchedPath, Request, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Redirect, Response};
use wardline_policy::Deed;

use super::{COOKIE, Proof, Session, store};
use crate::error::ApiError;
use crate::kernel::Kernel;
use crate::page::{Section, Visit};

/// The only routes that answer without a session. A path that ends in `/` stands for everything below it.
pub const OPEN_ROUTES: &[(&str, &str)] = &[
    ("GET", "/signin"),
    ("GET", "/signin/"),
    ("POST", "/signin/"),
    // Style sheets and scripts: the sign-in page needs them, and they say nothing about anybody.
    ("GET", "/assets/"),
];

/// Whether a route answers without a session.
pub fn is_open(method: &str, path: &str) -> bool {
    let method = if method == "HEAD" { "GET" } else { method };
    OPEN_ROUTES.iter().any(|(m, p)| *m == method && (*p == path || (p.ends_with('/') && path.starts_with(p))))
}

/// The address behind a request.
pub(crate) fn address(request: &Request) -> IpAddr {
    request
        .extensions()
        .get::<ConnectInfo<SocketAddr>>()
        .map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |ConnectInfo(address)| address.ip())
}

/// A cookie's value.
fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|v| v.to_str().ok())
        .flat_map(|v| v.split(';'))
        .find_map(|pair| {
            let (key, value) = pair.trim().split_once('=')?;
            (key == name).then_some(value)
        })
}

/// Whether a request that changes something was made by one of our own pages. Browsers set both headers
/// themselves; a page of somebody else's cannot forge them.
fn same_origin(headers: &HeaderMap) -> bool {
    let text = |name| headers.get(name).and_then(|v: &header::HeaderValue| v.to_str().ok());
    match text(header::HeaderName::from_static("sec-fetch-site")) {
        Some(site) => site == "same-origin",
        None => match (text(header::ORIGIN), text(header::HOST)) {
            (Some(origin), Some(host)) => origin.split_once("://").is_some_and(|(_, rest)| rest == host),
            _ => false,
        },
    }
}

async fn authenticate(
    kernel: &Kernel,
    headers: &HeaderMap,
    who: IpAddr,
) -> Result<Option<Session>, ApiError> {
    let now = kernel.now();
    if let Some(value) = headers.get(header::AUTHORIZATION) {
        let secret = value.to_str().ok().and_then(|v| v.strip_prefix("Bearer "));
        let session = match secret {
            Some(secret) => store::bearer(kernel.store().read(), secret.trim(), now).await?,
            None => None,
        };
        // Others may be behind the same address (a proxy, this machine): their failures must not shut out who has a
        // token. A token is too long to be guessed, so this limit only spares the hub the work and the log.
        if session.is_none() {
            if kernel.token_limiter().refuses(who, now) {
                return Err(too_many());
            }
            kernel.token_limiter().failed(who, now);
        }
        return Ok(session);
    }
    match cookie(headers, COOKIE) {
        Some(id) => Ok(store::session(kernel.store().read(), id, now).await?),
        None => Ok(None),
    }
}

pub(crate) fn too_many() -> ApiError {
    ApiError::new(
        StatusCode::TOO_MANY_REQUESTS,
        "too_many_failures",
        "too many failed sign-ins from this address",
        "wait ten minutes, then try again",
    )
}

/// Why somebody may not do what a route does; `None` if they may. A route that is in no list is nobody's.
fn refusal(session: &Session, deed: Option<Deed>, pattern: &str) -> Option<ApiError> {
    let Some(deed) = deed else {
        tracing::error!(route = pattern, "a route is in no list of who may use it; it was refused");
        return Some(ApiError::forbidden(
            "nobody has said who may do this",
            "tell whoever runs this hub; its log has the route",
        ));
    };
    let refused = session.may(deed).err()?;
    tracing::info!(person = %session.person, deed = deed.as_str(), route = pattern, "refused: {refused}");
    Some(ApiError::forbidden(
        refused.because,
        "ask somebody whose role allows it, or whoever gives roles in your organisation",
    ))
}

/// Lets a request through if its route is open, or somebody proved who they are and the policies permit it, and refuses changes that come
/// from somebody else's page.
pub async fn guard(State(kernel): State<Kernel>, mut request: Request, next: Next) -> Response {
    let path = request.uri().path().to_owned();
    let who = address(&request);
    let session = match authenticate(&kernel, request.headers(), who).await {
        Ok(session) => session,
        Err(error) => return error.into_response(),
    };
    let open = is_open(request.method().as_str(), &path);
    if session.is_none() && !open {
        return if path.starts_with("/api/") {
            ApiError::unauthenticated().into_response()
        } else {
            Redirect::to("/signin").into_response()
        };
    }
    let changes = !matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS);
    let by_cookie = session.as_ref().is_none_or(|s| s.proof == Proof::Session);
    if changes && by_cookie && !same_origin(request.headers()) {
        return ApiError::forbidden(
            "this change was not sent by one of the console's own pages",
            "reload the console and try again; programs use an API token",
        )
        .into_response();
    }
    let Some(session) = session else { return next.run(request).await };
    // Only what is routed is anybody's to do; the rest is told that there is nothing.
    let pattern = request.extensions().get::<MatchedPath>().map(|matched| matched.as_str().to_owned());
    let refused = pattern.filter(|_| !open).and_then(|pattern| {
        let deed = kernel.deed(request.method().as_str(), &pattern);
        refusal(&session, deed, &pattern)
    });
    request.extensions_mut().insert(session);
    match refused {
        None => next.run(request).await,
        Some(error) if path.starts_with("/api/") => error.into_response(),
        Some(error) => {
            let (mut parts, _) = request.into_parts();
            match Visit::from_request_parts(&mut parts, &kernel).await {
                Ok(visit) => visit.answer(Section::None, Err(error)),
                Err(to_sign_in) => to_sign_in.into_response(),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    #[test]
    fn only_the_listed_routes_are_open() {
        for (method, path, open) in [
            ("GET", "/signin", true),
            ("GET", "/signin/abc", true),
            ("POST", "/signin/abc", true),
            ("POST", "/signin", false),
            ("GET", "/assets/app.css", true),
            ("POST", "/assets/app.css", false),
            ("GET", "/assets", false),
            ("GET", "/", false),
            ("GET", "/signinx", false),
            ("GET", "/api/v1/openapi.json", false),
        ] {
            assert_eq!(is_open(method, path), open, "{method} {path}");
        }
    }

    #[test]
    fn a_change_must_come_from_our_own_page() {
        for (headers, ours) in [
            (&[("sec-fetch-site", "same-origin")][..], true),
            (
                &[
                    ("sec-fetch-site", "cross-site"),
                    ("origin", "http://127.0.0.1:8700"),
                    ("host", "127.0.0.1:8700"),
                ],
                false,
            ),
            (&[("sec-fetch-site", "none")], false),
            (&[("origin", "http://127.0.0.1:8700"), ("host", "127.0.0.1:8700")], true),
            (&[("origin", "http://127.0.0.1:9999"), ("host", "127.0.0.1:8700")], false),
            (&[("origin", "null"), ("host", "127.0.0.1:8700")], false),
            (&[("host", "127.0.0.1:8700")], false),
        ] {
            let map: HeaderMap = headers
                .iter()
                .map(|(k, v)| (header::HeaderName::from_static(k), HeaderValue::from_static(v)))
                .collect();
            assert_eq!(same_origin(&map), ours, "{headers:?}");
        }
    }

    #[test]
    fn a_cookie_is_found_among_others() {
        let mut map = HeaderMap::new();
        map.insert(header::COOKIE, HeaderValue::from_static("a=b; wardline_session=xyz; c=d"));
        assert_eq!(cookie(&map, COOKIE), Some("xyz"));
        assert_eq!(cookie(&map, "wardline"), None);
    }
}
