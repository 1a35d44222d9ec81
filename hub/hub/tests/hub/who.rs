//! Who may use which route: every route as every role, and with the ids of another organisation.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use wardline_hub::{ACCESS, openapi};
use wardline_kernel::auth::is_open;
use wardline_policy::Role::{
    self, Administrator, Analyst, ClinicalEngineer, Inspector, OnCallManager, Responder, TrustLead,
};
use wardline_wire::proto::RecordKind;

use crate::house::{DEADLINE, House, enrol, events, finding, record};
use crate::tenancy::add;

const EVERYBODY: &[Role] = Role::ALL;
const READERS_OF_THE_LOG: &[Role] = &[Analyst, Responder, TrustLead, Inspector, Administrator];
const HANDLERS: &[Role] = &[Analyst, Responder, TrustLead, Administrator];
const ORDERERS: &[Role] = &[Responder, TrustLead, OnCallManager, Administrator];
const CANCELLERS: &[Role] = &[Responder, TrustLead, ClinicalEngineer, OnCallManager, Administrator];
const APPROVERS: &[Role] = &[TrustLead, ClinicalEngineer, OnCallManager, Administrator];
const GLASS_BREAKERS: &[Role] = &[TrustLead, OnCallManager, Administrator];
const GUARDIANS: &[Role] = &[TrustLead, ClinicalEngineer, Administrator];
const LEADS: &[Role] = &[TrustLead, Administrator];
const RUNNERS: &[Role] = &[Administrator];

/// Written by hand and not taken from the policies: what a new route must be added to.
const WHO: &[(&str, &str, &[Role])] = &[
    ("POST", "/signout", EVERYBODY),
    ("POST", "/theme", EVERYBODY),
    ("GET", "/live", EVERYBODY),
    ("GET", "/notices", EVERYBODY),
    ("GET", "/", EVERYBODY),
    ("GET", "/findings", EVERYBODY),
    ("GET", "/findings/{id}", EVERYBODY),
    ("GET", "/findings/{id}/evidence.json", EVERYBODY),
    ("POST", "/findings/{id}/state", HANDLERS),
    ("GET", "/devices", EVERYBODY),
    ("GET", "/devices.csv", EVERYBODY),
    ("GET", "/devices/{id}", EVERYBODY),
    ("POST", "/devices/{id}/mode", GUARDIANS),
    ("POST", "/devices/{id}/organisation", RUNNERS),
    ("POST", "/devices/{id}/whereabouts", GUARDIANS),
    ("GET", "/actions", EVERYBODY),
    ("POST", "/actions", ORDERERS),
    ("GET", "/actions.csv", EVERYBODY),
    ("GET", "/actions/new", ORDERERS),
    ("POST", "/actions/{id}/cancel", CANCELLERS),
    ("POST", "/actions/{id}/approve", APPROVERS),
    ("POST", "/actions/{id}/refuse", APPROVERS),
    ("POST", "/actions/{id}/undo", CANCELLERS),
    ("GET", "/consents", EVERYBODY),
    ("GET", "/consents.csv", EVERYBODY),
    ("POST", "/consents", LEADS),
    ("POST", "/consents/{id}/revoke", LEADS),
    ("GET", "/break-glass", EVERYBODY),
    ("GET", "/break-glass.csv", EVERYBODY),
    ("POST", "/break-glass", GLASS_BREAKERS),
    ("POST", "/break-glass/{id}/end", GLASS_BREAKERS),
    ("POST", "/break-glass/{id}/review", LEADS),
    ("GET", "/organisations", EVERYBODY),
    ("GET", "/organisations.csv", EVERYBODY),
    ("POST", "/organisations", RUNNERS),
    ("GET", "/organisations/{id}", EVERYBODY),
    ("POST", "/organisations/{id}", RUNNERS),
    ("POST", "/organisations/{id}/parent", RUNNERS),
    ("GET", "/audit", READERS_OF_THE_LOG),
    ("GET", "/api/v1/status", EVERYBODY),
    ("GET", "/api/v1/openapi.json", EVERYBODY),
    ("GET", "/api/v1/stream", EVERYBODY),
    ("GET", "/api/v1/events", EVERYBODY),
    ("GET", "/api/v1/findings", EVERYBODY),
    ("GET", "/api/v1/findings/{id}", EVERYBODY),
    ("GET", "/api/v1/findings/{id}/tree", EVERYBODY),
    ("GET", "/api/v1/findings/{id}/timeline", EVERYBODY),
    ("POST", "/api/v1/findings/{id}/state", HANDLERS),
    ("GET", "/api/v1/devices", EVERYBODY),
    ("GET", "/api/v1/devices/{id}", EVERYBODY),
    ("PUT", "/api/v1/devices/{id}/mode", GUARDIANS),
    ("PUT", "/api/v1/devices/{id}/canaries", GUARDIANS),
    ("PUT", "/api/v1/devices/{id}/kept", GUARDIANS),
    ("PUT", "/api/v1/devices/{id}/organisation", RUNNERS),
    ("PUT", "/api/v1/devices/{id}/whereabouts", GUARDIANS),
    ("POST", "/api/v1/devices/whereabouts", GUARDIANS),
    ("POST", "/api/v1/devices/{id}/revoke", LEADS),
    ("GET", "/api/v1/actions", EVERYBODY),
    ("POST", "/api/v1/actions", ORDERERS),
    ("GET", "/api/v1/actions/{id}", EVERYBODY),
    ("POST", "/api/v1/actions/preview", ORDERERS),
    ("POST", "/api/v1/actions/{id}/cancel", CANCELLERS),
    ("POST", "/api/v1/actions/{id}/approve", APPROVERS),
    ("POST", "/api/v1/actions/{id}/refuse", APPROVERS),
    ("POST", "/api/v1/actions/{id}/undo", CANCELLERS),
    ("GET", "/api/v1/consents", EVERYBODY),
    ("POST", "/api/v1/consents", LEADS),
    ("DELETE", "/api/v1/consents/{id}", LEADS),
    ("GET", "/api/v1/break-glass", EVERYBODY),
    ("POST", "/api/v1/break-glass", GLASS_BREAKERS),
    ("POST", "/api/v1/break-glass/{id}/end", GLASS_BREAKERS),
    ("POST", "/api/v1/break-glass/{id}/review", LEADS),
    ("GET", "/api/v1/organisations", EVERYBODY),
    ("POST", "/api/v1/organisations", RUNNERS),
    ("GET", "/api/v1/organisations/{id}", EVERYBODY),
    ("PUT", "/api/v1/organisations/{id}", RUNNERS),
    ("PUT", "/api/v1/organisations/{id}/parent", RUNNERS),
    ("GET", "/api/v1/audit", READERS_OF_THE_LOG),
    ("GET", "/api/v1/audit/verify", READERS_OF_THE_LOG),
    ("GET", "/api/v1/audit/export", READERS_OF_THE_LOG),
    ("GET", "/api/v1/tokens/enrolment", LEADS),
    ("POST", "/api/v1/tokens/enrolment", LEADS),
    ("DELETE", "/api/v1/tokens/enrolment/{id}", LEADS),
    ("GET", "/api/v1/tokens/api", RUNNERS),
    ("POST", "/api/v1/tokens/api", RUNNERS),
    ("DELETE", "/api/v1/tokens/api/{id}", RUNNERS),
];

/// The status of an answer; its body may never end.
async fn status(address: SocketAddr, method: &str, path: &str, cookie: &str, body: &str) -> u16 {
    let kind =
        if path.starts_with("/api/") { "application/json" } else { "application/x-www-form-urlencoded" };
    let request = format!(
        "{method} {path} HTTP/1.0\r\nhost: {address}\r\ncookie: {cookie}\r\nsec-fetch-site: same-origin\r\n\
         content-type: {kind}\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut line = [0; 12];
    tokio::time::timeout(DEADLINE, stream.read_exact(&mut line)).await.expect("an answer").unwrap();
    std::str::from_utf8(&line[9..]).unwrap().parse().unwrap()
}

#[test]
fn every_route_is_in_the_table_of_who_may() {
    let listed: BTreeSet<(String, String)> =
        WHO.iter().map(|(method, path, _)| ((*method).to_owned(), (*path).to_owned())).collect();
    let routed: BTreeSet<(String, String)> = ACCESS
        .iter()
        .filter(|(method, path, _)| !is_open(method, &path.replace("{code}", "x").replace("{name}", "x")))
        .map(|(method, path, _)| ((*method).to_owned(), (*path).to_owned()))
        .collect();
    assert_eq!(listed, routed);
    let description = serde_json::to_value(openapi()).unwrap();
    let mut described = BTreeSet::new();
    for (path, item) in description["paths"].as_object().unwrap() {
        for method in item
            .as_object()
            .unwrap()
            .keys()
            .filter(|k| ["get", "put", "post", "delete"].contains(&k.as_str()))
        {
            described.insert((method.to_uppercase(), path.clone()));
        }
    }
    let of_api = listed.into_iter().filter(|(_, path)| path.starts_with("/api/")).collect::<BTreeSet<_>>();
    assert_eq!(of_api, described);
}

#[tokio::test]
async fn every_route_asks_the_policies_for_every_role() {
    let house = House::open().await;
    let address = house.hub.http_addr();
    let root = house.hub.kernel().home().root().clone();
    for role in Role::ALL {
        let cookie = house.session_as(&root, *role).await;
        // Signing out ends the session: it comes last.
        let (last, rest): (Vec<_>, Vec<_>) = WHO.iter().partition(|(_, path, _)| *path == "/signout");
        for (method, path, who) in rest.into_iter().chain(last) {
            let filled = path.replace("{id}", &"0".repeat(32));
            let status = status(address, method, &filled, &cookie, "").await;
            assert_eq!(status == 403, !who.contains(role), "{method} {path} as {role:?}: {status}");
            assert!(status != 401, "{method} {path} as {role:?}");
        }
    }
}

/// Bodies that would do something if the thing were one's own; `OWN` is an organisation of who sends it.
const BODIES: &[(&str, &str, &str)] = &[
    ("POST", "/findings/{id}/state", "state=closed&reason=r"),
    ("POST", "/devices/{id}/mode", "mode=protect&reason=r"),
    ("POST", "/devices/{id}/organisation", "organisation=OWN&reason=r"),
    ("POST", "/devices/{id}/whereabouts", "site=s&reason=r"),
    ("POST", "/actions/{id}/cancel", "back=/actions"),
    ("POST", "/actions/{id}/approve", "reason=r"),
    ("POST", "/actions/{id}/refuse", "reason=r"),
    ("POST", "/actions/{id}/undo", "reason=r"),
    ("POST", "/break-glass/{id}/review", "review=r"),
    ("POST", "/api/v1/actions/{id}/approve", r#"{"reason": "r"}"#),
    ("POST", "/api/v1/actions/{id}/refuse", r#"{"reason": "r"}"#),
    ("POST", "/api/v1/actions/{id}/undo", r#"{"reason": "r"}"#),
    ("POST", "/api/v1/break-glass/{id}/review", r#"{"review": "r"}"#),
    ("POST", "/organisations/{id}", "name=Ours&kind=trust"),
    ("POST", "/organisations/{id}/parent", "parent=OWN&reason=r"),
    ("POST", "/api/v1/findings/{id}/state", r#"{"state": "closed", "reason": "r"}"#),
    ("PUT", "/api/v1/devices/{id}/mode", r#"{"mode": "protect", "reason": "r"}"#),
    ("PUT", "/api/v1/devices/{id}/canaries", r#"{"folders": ["/home/*"], "reason": "r"}"#),
    ("PUT", "/api/v1/devices/{id}/kept", r#"{"keep_flows": [], "reason": "r"}"#),
    ("PUT", "/api/v1/devices/{id}/organisation", r#"{"organisation": "OWN", "reason": "r"}"#),
    ("PUT", "/api/v1/devices/{id}/whereabouts", r#"{"site": "s", "reason": "r"}"#),
    ("POST", "/api/v1/devices/{id}/revoke", r#"{"reason": "r"}"#),
    ("PUT", "/api/v1/organisations/{id}", r#"{"name": "Ours", "kind": "trust"}"#),
    ("PUT", "/api/v1/organisations/{id}/parent", r#"{"parent": "OWN", "reason": "r"}"#),
];

/// Breaks the glass of an organisation; gives its id.
async fn break_glass(house: &House, organisation: &wardline_kernel::OrganisationId) -> String {
    let cookie = house.session_as(organisation, Administrator).await;
    let headers = [("cookie", cookie.as_str()), ("sec-fetch-site", "same-origin")];
    let body = r#"{"minutes": 60, "reason": "r"}"#;
    let made = crate::house::http(house.hub.http_addr(), "POST", "/api/v1/break-glass", &headers, body).await;
    made.json()["id"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn an_id_of_another_organisation_opens_nothing() {
    let house = House::open().await;
    let kernel = house.hub.kernel().clone();
    let home = kernel.home().root().clone();
    let (theirs, own) =
        (add(&kernel, &home, "Theirs", "RX1").await, add(&kernel, &home, "Ours", "RX2").await);
    let made =
        wardline_devices::make_token(&kernel, &theirs, "tester", &wardline_hub::TokenSpec::default()).await;
    let (token, secret) = made.unwrap();
    let device = enrol(&house.hub, &secret.secret_text(), false).await.unwrap();
    let mut line = device.connect(&house.hub).await;
    line.store(events(1, 3)).await;
    let body = wardline_event::ocsf::finding_to_json(&finding(7, 12)).to_string();
    line.store(wardline_wire::make_batch([9; 16], 4, vec![record(RecordKind::Finding, body)])).await;
    let bearer = house.bearer_of(&theirs).await;
    let order = format!(r#"{{"device": "{}", "kind": "release", "reason": "r"}}"#, device.id);
    let order = house.call(&bearer, "POST", "/api/v1/actions", &order).await.json();
    let one = |sql: &'static str| {
        let pool = kernel.store().read().clone();
        async move { sqlx::query_scalar::<_, String>(sql).fetch_one(pool.everywhere()).await.unwrap() }
    };
    let wish = format!(
        r#"{{"to": "{home}", "kinds": ["isolate"], "classes": ["workstation"], "days": 1, "reason": "r"}}"#
    );
    let consent = house.call(&bearer, "POST", "/api/v1/consents", &wish).await.json();
    let glass = break_glass(&house, &theirs).await;
    let ids = [
        ("/consents/", consent["id"].as_str().unwrap().to_owned()),
        ("/break-glass/", glass),
        ("/findings/", one("SELECT id FROM finding").await),
        ("/devices/", device.id.to_string()),
        ("/actions/", order["id"].as_str().unwrap().to_owned()),
        ("/organisations/", theirs.to_string()),
        ("/tokens/enrolment/", token),
        ("/tokens/api/", one("SELECT id FROM api_token").await),
    ];
    let owner = house.session_as(&theirs, Administrator).await;
    let stranger = house.session_as(&own, Administrator).await;
    let entries = house.count("SELECT COUNT(*) FROM audit").await;
    let address = house.hub.http_addr();
    let mut tried = 0;
    for (method, path, _) in WHO.iter().filter(|(_, path, _)| path.contains("{id}")) {
        let (_, id) = ids.iter().find(|(room, _)| path.contains(room)).expect(path);
        let body = BODIES.iter().find(|(m, p, _)| m == method && p == path).map_or("", |(_, _, body)| body);
        let filled = path.replace("{id}", id);
        let answer = status(address, method, &filled, &stranger, &body.replace("OWN", own.as_str())).await;
        assert_eq!(answer, 404, "{method} {path}");
        // It is there: whoever it belongs to reads it.
        if *method == "GET" {
            assert_eq!(status(address, method, &filled, &owner, "").await, 200, "{method} {path}");
        }
        tried += 1;
    }
    assert_eq!(tried, 41);
    assert_eq!(house.count("SELECT COUNT(*) FROM audit").await, entries);
}

#[tokio::test]
async fn a_token_may_no_more_than_it_was_made_for() {
    let house = House::open().await;
    let kernel = house.hub.kernel().clone();
    let trust = add(&kernel, kernel.home().root(), "Trust", "RX1").await;
    let lead = house.session_as(&trust, Administrator).await;
    let make = async |body: String| {
        let headers = [("cookie", lead.as_str()), ("sec-fetch-site", "same-origin")];
        crate::house::http(house.hub.http_addr(), "POST", "/api/v1/tokens/api", &headers, &body).await
    };
    // What is not asked for cannot be slipped in, and no organisation but one's own.
    for (more, status) in [
        (r#", "created_by": "ann""#.to_owned(), 422),
        (r#", "expires_ms": 9999999999999"#.to_owned(), 422),
        (format!(r#", "organisation": "{}""#, kernel.home().id()), 404),
    ] {
        let body = format!(r#"{{"name": "x", "role": "inspector", "days": 1{more}}}"#);
        let answer = make(body).await;
        assert_eq!(answer.status, status, "{more}: {}", answer.body);
    }
    assert_eq!(make(r#"{"name": "x", "days": 1}"#.into()).await.status, 422);
    let made = make(r#"{"name": "reader", "role": "inspector", "days": 1}"#.into()).await.json();
    let bearer = format!("Bearer {}", made["secret"].as_str().unwrap());
    assert_eq!(house.call(&bearer, "GET", "/api/v1/audit", "").await.status, 200);
    let refused = house.call(&bearer, "POST", "/api/v1/actions", "{}").await;
    assert_eq!(refused.status, 403);
    assert_eq!(refused.json()["detail"], "an inspector reads and changes nothing");
    let listed = house.call(&bearer, "GET", "/api/v1/organisations", "").await.json();
    assert_eq!(listed["organisations"].as_array().unwrap().len(), 1, "only its own: {listed}");
}

#[tokio::test]
async fn a_person_is_told_plainly_what_their_role_does_not_allow() {
    let house = House::open().await;
    let root = house.hub.kernel().home().root().clone();
    let cookie = house.session_as(&root, Analyst).await;
    let headers = [
        ("cookie", cookie.as_str()),
        ("sec-fetch-site", "same-origin"),
        ("content-type", "application/x-www-form-urlencoded"),
    ];
    let answer = crate::house::http(house.hub.http_addr(), "POST", "/actions", &headers, "").await;
    assert_eq!(answer.status, 403);
    for part in ["This is not allowed", "do not permit you, as analyst, to order", "Sign out"] {
        assert!(answer.body.contains(part), "the page lacks {part}");
    }
}
