//! `wardline demo`: needs no root, adds up, and leaves nothing behind.
#![allow(clippy::unwrap_used)] // Helpers of tests, which clippy takes for code.

mod common;

use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use serde_json::Value;

use common::{WARDLINE, folder, said};

#[test]
fn the_demonstration_works_without_root_and_adds_up() {
    let dir = folder("demo-home");
    let (home, program) = (dir.path().join("home"), dir.path().join("wardline"));
    std::fs::create_dir(&home).unwrap();
    // A stranger may not look into the folder that the binary was built in.
    std::fs::copy(WARDLINE, &program).unwrap();
    for (path, mode) in [(dir.path(), 0o755), (&home, 0o777), (&program, 0o755)] {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    }
    let mut command = Command::new("timeout");
    command.arg("120");
    if rustix::process::geteuid().is_root() {
        command.args(["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--no-new-privs"]);
    }
    command.arg(&program).args(["demo", "--exit", "--json", "--http", "127.0.0.1:0", "--pace-ms", "0"]);
    command.env("HOME", &home).env("TMPDIR", &home).env_remove("XDG_DATA_HOME").current_dir(&home);
    let said = said(&mut command);
    let summary: Value = serde_json::from_str(said.succeeds()).expect("one JSON object and nothing else");

    assert_eq!(summary["simulated"], true);
    let events = &summary["events"];
    let number = |name: &str| events[name].as_u64().unwrap();
    assert_eq!(events["accounted_for"], true, "{events}");
    assert_eq!(number("dropped"), 0, "{events}");
    assert_eq!(number("produced"), number("stored") + number("kept_local"), "{events}");
    // Three processes at the start and three of ordinary work on each of twelve devices, before the attack.
    assert!(number("stored") > 72, "{events}");

    let findings = &summary["findings"];
    // Killed: the shell on ward 7's second PC, the shadow copies' end on the file server, the shell on the archive.
    assert_eq!(findings["killed"], 3, "{findings}");
    assert_eq!(findings["withheld (clinical device)"], 1, "{findings}");
    assert!(findings["would have killed (monitor mode)"].as_u64().unwrap() >= 1, "{findings}");
    assert!(findings["failed"].is_null(), "{findings}");

    let actions = summary["actions"].as_array().unwrap();
    let mut kinds: Vec<&str> = actions.iter().map(|a| a["kind"].as_str().unwrap()).collect();
    kinds.sort_unstable();
    assert_eq!(kinds, ["isolate", "kill_process"], "{actions:?}");
    assert!(actions.iter().all(|a| a["state"] == "Succeeded" && a["count"] == 1), "{actions:?}");
    assert!(summary["attack_steps"]["prevented"].as_u64().unwrap() >= 6, "{summary}");

    let left: Vec<_> = std::fs::read_dir(&home).unwrap().map(|e| e.unwrap().path()).collect();
    assert!(left.is_empty(), "left behind: {left:?}");
}
