//! A hub's data, by the command line: backed up while the hub runs, restored, moved to a server, examined.
#![allow(clippy::unwrap_used)] // Helpers of tests, which clippy takes for code.

mod common;
#[path = "../../tests/postgres.rs"]
mod postgres;

use std::fs;
use std::path::Path;

use serde_json::Value;

use common::up::Hub;
use common::{folder, wardline};

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn json(arguments: &[&str]) -> Value {
    let said = wardline(arguments);
    let told = said.succeeds();
    serde_json::from_str(told).unwrap_or_else(|error| panic!("{error}: {told}"))
}

#[test]
fn a_hub_is_backed_up_while_it_runs_and_moves_to_a_server() {
    let dir = folder("hub-data");
    let (one, two) = (dir.path().join("one"), dir.path().join("two"));
    let (file, secret) = (dir.path().join("hub.backup"), dir.path().join("passphrase"));
    fs::write(&secret, "a passphrase for a test\n").unwrap();
    let mut hub = Hub::start(&one, "127.0.0.1:0");
    hub.token();
    let unsaid = wardline(&["hub", "backup", text(&file), "--data", text(&one)]);
    assert!(unsaid.code == Some(2) && unsaid.err.contains("--passphrase-file"), "{}", unsaid.err);
    let made = json(&[
        "hub",
        "backup",
        text(&file),
        "--data",
        text(&one),
        "--passphrase-file",
        text(&secret),
        "--json",
    ]);
    assert!(made["rows"].as_u64().unwrap() >= 5 && made["keys"] == true, "{made}");
    wardline(&["hub", "backup", text(&file), "--data", text(&one), "--without-keys"])
        .refuses(&["exists already"]);
    let checked = json(&["hub", "restore", text(&file), "--check", "--json"]);
    assert_eq!((&checked["rows"], &checked["restored"]), (&made["rows"], &false.into()));
    wardline(&["hub", "restore", text(&file), "--data", text(&one), "--passphrase-file", text(&secret)])
        .refuses(&["already holds a hub"]);
    wardline(&["hub", "doctor", "--data", text(&one)]).succeeds();
    hub.running.interrupt();

    let url = postgres::database();
    let restored = json(&[
        "hub",
        "restore",
        text(&file),
        "--data",
        text(&two),
        "--database",
        &url,
        "--passphrase-file",
        text(&secret),
        "--json",
    ]);
    assert_eq!(restored["rows"], made["rows"]);
    // The folder remembers where its data is, and tells nobody the address.
    let report = json(&["hub", "doctor", "--data", text(&two), "--json"]);
    assert_eq!(report["state"], "good", "{report}");
    let told = report.to_string();
    assert!(told.contains("PostgreSQL") && told.contains("row-level security"), "{told}");
    wardline(&["hub", "migrate", "--dry-run", "--data", text(&two)]).succeeds();
    let mut hub = Hub::start(&two, "127.0.0.1:0");
    hub.token();
    hub.running.interrupt();
    wardline(&["verify", "audit", "--data", text(&two)]).succeeds();

    // What somebody laid open is named, with what to do.
    let seed = two.join("keys/command.seed");
    fs::set_permissions(&seed, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
    let open = wardline(&["hub", "doctor", "--data", text(&two)]);
    assert!(open.code == Some(1) && open.out.contains("command.seed"), "{}", open.out);
    assert!(open.out.contains("chmod -R go="), "{}", open.out);
    // A server that is not there is named without its password.
    wardline(&[
        "hub",
        "run",
        "--data",
        text(&dir.path().join("three")),
        "--database",
        "postgres://w:secret@127.0.0.1:1/x",
    ])
    .refuses(&["postgres://127.0.0.1:1/x", "PGPASSFILE"]);
}
