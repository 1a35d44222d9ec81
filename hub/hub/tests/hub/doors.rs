//! Every door of the HTTP port: closed to strangers, to other people's pages, and to guessing.

use std::path::Path;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use wardline_hub::{ACCESS, openapi};
use wardline_kernel::auth::is_open;

use crate::house::{DEADLINE, House, http};

/// The exceptions, each with its reason. The list only shrinks.
const OPEN: &[(&str, &str)] = &[
    // The sign-in page says nothing about anybody.
    ("GET", "/signin"),
    ("GET", "/signin/x"),
    // Consumes a secret code.
    ("POST", "/signin/x"),
    // Style sheets and scripts.
    ("GET", "/assets/x"),
];

/// Method and path of every call in the API's description, with something in the place of each parameter.
fn api_routes() -> Vec<(String, String)> {
    let description = serde_json::to_value(openapi()).unwrap();
    let mut routes = Vec::new();
    for (path, item) in description["paths"].as_object().unwrap() {
        for method in
            item.as_object().unwrap().keys().filter(|k| !matches!(k.as_str(), "parameters" | "summary"))
        {
            routes.push((method.to_uppercase(), filled(path)));
        }
    }
    routes
}

/// Method and path of every page of the console.
fn console_routes() -> Vec<(&'static str, &'static str)> {
    let pages = ACCESS.iter().filter(|(_, path, _)| !path.starts_with("/api/"));
    pages.map(|(method, path, _)| (*method, *path)).collect()
}

fn filled(path: &str) -> String {
    path.split('/').map(|part| if part.starts_with('{') { "x" } else { part }).collect::<Vec<_>>().join("/")
}

#[tokio::test]
async fn every_call_of_the_api_is_closed_to_strangers() {
    let house = House::open().await;
    let routes = api_routes();
    assert!(routes.len() >= 20, "{routes:?}");
    for (method, path) in routes {
        let wrong = [("authorization", "Bearer wardline_0000")];
        for headers in
            [&[][..], &[("cookie", "wardline_session=00")], if path.ends_with("/x") { &wrong } else { &[] }]
        {
            let answer = http(house.hub.http_addr(), &method, &path, headers, "{}").await;
            // After ten wrong tokens the answer is to wait.
            assert!(matches!(answer.status, 401 | 429), "{method} {path}: {}", answer.status);
            assert!(answer.json()["hint"].is_string());
        }
    }
}

#[tokio::test]
async fn every_page_of_the_console_is_closed_to_strangers() {
    let house = House::open().await;
    for (method, path) in console_routes() {
        let path = filled(path);
        let open = OPEN.contains(&(method, &path));
        assert_eq!(is_open(method, &path), open, "{method} {path}");
        if open {
            continue;
        }
        let answer =
            http(house.hub.http_addr(), method, &path, &[("sec-fetch-site", "same-origin")], "").await;
        assert_eq!((answer.status, answer.header("location")), (303, Some("/signin")), "{method} {path}");
    }
    // What does not exist is not told apart from what is closed.
    let answer = http(house.hub.http_addr(), "GET", "/nothing", &[], "").await;
    assert_eq!((answer.status, answer.header("location")), (303, Some("/signin")));
}

/// A page that is missing from its room's list would escape the test above.
#[test]
fn every_route_in_the_source_is_in_the_lists() {
    fn walk(folder: &Path, found: &mut Vec<String>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, found);
            } else if path.extension().is_some_and(|e| e == "rs") {
                let source = std::fs::read_to_string(&path).unwrap();
                let calls = source.split(".route(").skip(1);
                found.extend(calls.filter_map(|rest| {
                    rest.trim_start().strip_prefix('"')?.split('"').next().map(str::to_owned)
                }));
            }
        }
    }
    let hub = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut found = Vec::new();
    for room in std::fs::read_dir(hub).unwrap() {
        let source = room.unwrap().path().join("src");
        if source.is_dir() {
            walk(&source, &mut found);
        }
    }
    assert!(found.contains(&"/live".to_owned()));
    for path in found {
        assert!(console_routes().iter().any(|(_, p)| *p == path), "{path} is in no list of routes");
    }
}

/// Every `$ref` within.
fn references<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
    match value {
        Value::Object(map) => {
            found.extend(map.get("$ref").and_then(Value::as_str));
            map.values().for_each(|v| references(v, found));
        }
        Value::Array(list) => list.iter().for_each(|v| references(v, found)),
        _ => {}
    }
}

#[tokio::test]
async fn the_description_is_valid_and_served() {
    let house = House::open().await;
    let bearer = house.bearer().await;
    let served = house.call(&bearer, "GET", "/api/v1/openapi.json", "").await.json();
    assert!(served["openapi"].as_str().unwrap().starts_with("3."));
    let paths = served["paths"].as_object().unwrap();
    assert!(paths.keys().all(|p| p.starts_with("/api/v1/")), "{:?}", paths.keys());
    for needed in [
        "/api/v1/devices",
        "/api/v1/devices/{id}",
        "/api/v1/devices/{id}/mode",
        "/api/v1/findings",
        "/api/v1/findings/{id}",
        "/api/v1/findings/{id}/tree",
        "/api/v1/findings/{id}/state",
        "/api/v1/events",
        "/api/v1/actions",
        "/api/v1/actions/{id}/cancel",
        "/api/v1/audit",
        "/api/v1/audit/verify",
        "/api/v1/status",
        "/api/v1/openapi.json",
        "/api/v1/stream",
        "/api/v1/tokens/api",
        "/api/v1/tokens/enrolment",
    ] {
        assert!(paths.contains_key(needed), "{needed} is not described");
    }
    // Every reference leads somewhere, and every call says that it may be refused.
    let mut found = Vec::new();
    references(&served, &mut found);
    assert!(!found.is_empty());
    for reference in found {
        assert!(served.pointer(&reference[1..]).is_some(), "{reference} leads nowhere");
    }
    let mut ids = std::collections::BTreeSet::new();
    for (path, item) in paths {
        for call in item.as_object().unwrap().values() {
            assert!(ids.insert(call["operationId"].as_str().unwrap()), "{path}: an id that another call has");
            assert!(call["responses"].get("401").is_some(), "{path} does not say that it may answer 401");
        }
    }
    // Reads that need no parameter answer.
    for path in ["devices", "findings", "actions", "audit", "audit/verify", "status", "tokens/enrolment"] {
        let answer = house.call(&bearer, "GET", &format!("/api/v1/{path}"), "").await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.body);
    }
}

#[tokio::test]
async fn a_link_signs_in_once_and_only_from_our_own_page() {
    let house = House::open().await;
    let address = house.hub.http_addr();
    let link = house.hub.make_link().await.unwrap();
    let path = link.strip_prefix(&format!("http://{address}")).unwrap();
    let ours = ("sec-fetch-site", "same-origin");
    // Looking at the link, as a preview does, does not use it up; nor does another site's form.
    assert_eq!(http(address, "GET", path, &[], "").await.status, 200);
    assert_eq!(http(address, "POST", path, &[("sec-fetch-site", "cross-site")], "").await.status, 403);
    let answer = http(address, "POST", path, &[ours], "").await;
    let cookie = answer.header("set-cookie").unwrap();
    for part in ["HttpOnly", "SameSite=Strict", "Path=/", "Max-Age=43200"] {
        assert!(cookie.contains(part), "{cookie}");
    }
    let cookie = cookie.split(';').next().unwrap().to_owned();
    assert!(http(address, "POST", path, &[ours], "").await.header("set-cookie").is_none());

    let signed_in = ("cookie", cookie.as_str());
    let page = http(address, "GET", "/api/v1/status", &[signed_in], "").await;
    assert_eq!(page.status, 200);
    let csp = page.header("content-security-policy").unwrap();
    assert!(
        csp.contains("default-src 'self'")
            && csp.contains("frame-ancestors 'none'")
            && !csp.contains("unsafe")
    );
    assert_eq!(page.header("x-content-type-options"), Some("nosniff"));
    // The cookie alone changes nothing: the request must come from our own page.
    for headers in [&[signed_in][..], &[signed_in, ("origin", "http://evil.example")]] {
        assert_eq!(http(address, "POST", "/signout", headers, "").await.status, 403);
    }
    assert_eq!(http(address, "POST", "/signout", &[signed_in, ours], "").await.status, 303);
    assert_eq!(http(address, "GET", "/api/v1/status", &[signed_in], "").await.status, 401);
}

#[tokio::test]
async fn links_sessions_and_tokens_expire() {
    let house = House::open().await;
    let address = house.hub.http_addr();
    let ours = [("sec-fetch-site", "same-origin")];
    let link = house.hub.make_link().await.unwrap();
    let path = link.strip_prefix(&format!("http://{address}")).unwrap().to_owned();
    house.clock.advance(15 * 60 * 1000);
    assert!(http(address, "POST", &path, &ours, "").await.header("set-cookie").is_none());

    let bearer = house.bearer().await;
    assert_eq!(house.call(&bearer, "GET", "/api/v1/status", "").await.status, 200);
    // A token makes no tokens.
    let body = r#"{"name": "more", "role": "analyst", "days": 1}"#;
    assert_eq!(house.call(&bearer, "POST", "/api/v1/tokens/api", body).await.status, 403);
    house.clock.advance(24 * 60 * 60 * 1000);
    assert_eq!(house.call(&bearer, "GET", "/api/v1/status", "").await.status, 401);
}

#[tokio::test]
async fn guessing_is_slowed_down() {
    let house = House::open().await;
    let address = house.hub.http_addr();
    let ours = [("sec-fetch-site", "same-origin")];
    for i in 0..10 {
        http(address, "POST", &format!("/signin/{i}"), &ours, "").await;
    }
    let link = house.hub.make_link().await.unwrap();
    let path = link.strip_prefix(&format!("http://{address}")).unwrap();
    assert_eq!(http(address, "POST", path, &ours, "").await.status, 429);
    house.clock.advance(10 * 60 * 1000);
    assert_eq!(http(address, "POST", path, &ours, "").await.status, 303);
}

#[tokio::test]
async fn wrong_tokens_shut_out_nobody_else_behind_the_same_address() {
    let house = House::open().await;
    let bearer = house.bearer().await;
    let wrong = "Bearer wardline_0000";
    for _ in 0..10 {
        assert_eq!(house.call(wrong, "GET", "/api/v1/status", "").await.status, 401);
    }
    assert_eq!(house.call(wrong, "GET", "/api/v1/status", "").await.status, 429);
    assert_eq!(house.call(&bearer, "GET", "/api/v1/status", "").await.status, 200);
    // A good token of somebody else does not wipe the slate, and people still sign in: `bearer` does.
    assert_eq!(house.call(wrong, "GET", "/api/v1/status", "").await.status, 429);
    house.bearer().await;
    house.clock.advance(10 * 60 * 1000);
    assert_eq!(house.call(wrong, "GET", "/api/v1/status", "").await.status, 401);
}

#[tokio::test]
async fn changes_arrive_on_the_live_stream() {
    let house = House::open().await;
    let (device, bearer) = (house.device().await, house.bearer().await);
    let mut streams = Vec::new();
    for path in ["/live", "/api/v1/stream"] {
        let mut stream = TcpStream::connect(house.hub.http_addr()).await.unwrap();
        let request = format!("GET {path} HTTP/1.0\r\nhost: x\r\nauthorization: {bearer}\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        streams.push((stream, String::new()));
    }
    let mut hear = async |i: usize, what: &str| {
        let (stream, heard): &mut (TcpStream, String) = &mut streams[i];
        let mut buffer = [0; 4096];
        while !heard.contains(what) {
            let n = tokio::time::timeout(DEADLINE, stream.read(&mut buffer)).await.expect(what).unwrap();
            assert!(n > 0, "the stream ended before {what}: {heard}");
            heard.push_str(std::str::from_utf8(&buffer[..n]).unwrap());
        }
    };
    hear(0, "event: connected").await;
    hear(1, ": connected").await;
    let line = device.connect(&house.hub).await;
    hear(0, "event: devices").await;
    hear(1, "event: device_changed").await;
    drop(line);
    let body = format!(r#"{{"device": "{}", "kind": "release", "reason": "r"}}"#, device.id);
    house.call(&bearer, "POST", "/api/v1/actions", &body).await;
    hear(0, "event: actions").await;
    hear(1, "event: action_changed").await;
    // A stopping hub ends its streams.
    house.hub.stop().await;
}
