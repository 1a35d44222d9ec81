//! The main street, end to end: the built binary, the real kernel, real TLS, a real database.
//!
//! These tests need root. The processes that look like attacks are the tests' own; they only sleep.
#![allow(clippy::unwrap_used)] // Helpers of tests, which clippy takes for code.

mod common;

use std::net::TcpListener;

use rustix::process::Signal;
use serde_json::{Value, json};

use common::process::{Known, SHELL_RULE, SHELL_WORDS, Tree};
use common::up::Up;
use common::{alone, folder, is_root, until};

/// The near misses that the rule's own tests name, as a shell's command lines.
fn near_misses() -> Vec<String> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../content/rules/linux/shell-over-dev-tcp.tests.jsonl");
    let text = std::fs::read_to_string(path).unwrap();
    let cases = text.lines().map(|l| serde_json::from_str::<Value>(l).unwrap());
    let near = cases.filter(|c| c["expect"] == "no match" && c["event"]["Image"] == "/usr/bin/bash");
    near.map(|c| c["event"]["CommandLine"].as_str().unwrap().to_owned()).collect()
}

/// Everything that one finding shows: list, detail, tree, timeline, page.
fn check_finding(hub: &common::http::Client, finding: &Value, tree: &Tree, marker: &str) {
    assert_eq!(finding["disposition"], "stopped", "{finding}");
    assert_eq!(finding["severity"], "critical");
    assert_eq!(finding["simulated"], false);
    assert!(finding["image"].as_str().unwrap().ends_with("/bash"), "{finding}");
    let id = finding["id"].as_str().unwrap();

    let ocsf = &hub.get(&format!("/api/v1/findings/{id}"))["ocsf"];
    let action = &ocsf["unmapped"]["action"];
    assert_eq!(action["disposition"], "stopped");
    assert_eq!(action["by"], "rule Shell wired to the network through /dev/tcp");
    let detail = action["detail"].as_str().unwrap();
    for pid in [tree.pid(), tree.sleep.pid] {
        assert!(detail.contains(&format!("(pid {pid})")), "{pid} in {detail}");
    }
    assert!(detail.starts_with("killed 2 processes"), "{detail}");
    assert_eq!(ocsf["evidences"][0]["process"]["pid"], tree.pid());

    let nodes = until("the tree shows both ends", || {
        let nodes = hub.get(&format!("/api/v1/findings/{id}/tree"));
        let nodes = nodes.as_array().unwrap();
        let own = [("subject", tree.pid()), ("descendant", tree.sleep.pid)];
        let found =
            own.map(|(role, pid)| nodes.iter().find(|n| n["pid"] == pid && n["role"] == role).cloned());
        found.iter().all(|n| n.as_ref().is_some_and(|n| n["ended_ms"].is_i64())).then_some(found)
    });
    let [Some(subject), Some(child)] = nodes else { unreachable!() };
    assert_eq!(child["parent"], subject["key"]);
    assert_eq!(child["command_line"], "sleep 300");
    assert!(subject["command_line"].as_str().unwrap().contains(marker));

    let timeline = hub.get(&format!("/api/v1/findings/{id}/timeline"));
    let exit_of = |pid: u32| {
        let exits = timeline.as_array().unwrap().iter().filter(|e| e["body"]["activity_id"] == 2);
        exits.filter(|e| e["body"]["process"]["pid"] == pid).map(|e| e["body"]["exit_code"].clone()).next()
    };
    // As wait(2) gives it: ended by signal 9.
    assert_eq!([exit_of(tree.pid()), exit_of(tree.sleep.pid)], [Some(json!(9)), Some(json!(9))]);

    let page = hub.send("GET", &format!("/findings/{id}"), None);
    assert_eq!(page.status, 200);
    for words in ["Shell wired to the network through /dev/tcp", marker, &tree.pid().to_string()] {
        assert!(page.body.contains(words), "`{words}` is not on the finding's page");
    }
}

/// Waits for a heartbeat later than a finding whose account adds up, and for the hub to have stored all that it names.
fn check_accounting(hub: &common::http::Client, finding: &Value) {
    let account = until("produced = stored + kept + lost", || {
        let device = hub.device();
        let number = |name: &str| device["accounting"][name].as_i64();
        // A heartbeat in the middle of a burst has counted a part of it; the next one tells all.
        let whole = device["heartbeat_ms"].as_i64()? > finding["time_ms"].as_i64()?
            && number("produced")? == number("spooled")? + number("kept_local")? + number("kernel_lost")?;
        whole.then_some(device)
    });
    let number = |name: &str| account["accounting"][name].as_i64().unwrap();
    for lost in ["kernel_lost", "decode_lost", "spool_dropped"] {
        assert_eq!(number(lost), 0, "{account}");
    }
    until("all of it is stored", || {
        (hub.get("/api/v1/status")["events"]["stored"].as_i64()? >= number("spooled")).then_some(())
    });
    let later = hub.device();
    assert_eq!((&later["missing"], &later["unreadable"], &later["lost"]), (&json!(0), &json!(0), &json!(0)));
}

#[test]
fn an_attack_is_seen_killed_and_shown() {
    if !is_root() {
        return;
    }
    let (_lock, dir) = (alone(), folder("main-street"));
    let (data, marker) = (dir.path().join("data"), format!("attack-{}", std::process::id()));
    let mut up = Up::start(&data, &[], &[]);
    assert!(up.running.said().contains("Policy: protect"), "{}", up.running.said());
    let hub = up.client();
    let second = up.stranger("second").send("POST", &up.link, None);
    assert!(second.location.ends_with("/signin?refused=1"), "a link works once: {second:?}");
    assert_eq!(up.stranger("nobody").send("GET", "/api/v1/findings", None).status, 401);

    let mut neighbours: Vec<Tree> = near_misses()
        .iter()
        .enumerate()
        .map(|(n, words)| Tree::start(dir.path(), &format!("{marker}-near-{n}"), words))
        .collect();
    assert!(!neighbours.is_empty());
    let mut attack = Tree::start(dir.path(), &format!("{marker}-it"), SHELL_WORDS);
    attack.is_killed();
    let finding = hub.finding(SHELL_RULE, &format!("{marker}-it"));
    check_finding(&hub, &finding, &attack, &marker);
    for (n, neighbour) in neighbours.iter_mut().enumerate() {
        assert!(neighbour.lives(), "near miss {n} was killed");
        assert!(hub.findings(&format!("{marker}-near-{n}"), Some(SHELL_RULE)).is_empty());
    }
    check_accounting(&hub, &finding);

    // Ctrl-C for `up` alone ends all of it.
    let (parts, agents) = (up.parts(), up.agents.clone());
    let http = up.base.trim_start_matches("http://").to_owned();
    let before = hub.device();
    assert_eq!(up.running.interrupt().code(), Some(0));
    assert!(!parts.iter().any(|p| p.lives()), "{parts:?} outlived `up`");
    for address in [&agents, &http] {
        TcpListener::bind(address).unwrap_or_else(|e| panic!("{address} is still taken: {e}"));
    }

    // A second start finds everything, and enrols nobody.
    let up = Up::start(&data, &[], &[]);
    let hub = up.client();
    let after = hub.device();
    for same in ["id", "enrolled_ms", "certificate_until_ms"] {
        assert_eq!(after[same], before[same], "{same}");
    }
    assert_eq!(hub.findings(&format!("{marker}-it"), Some(SHELL_RULE)), [finding]);
}

#[test]
fn in_monitor_mode_nothing_dies_until_a_person_says_so() {
    if !is_root() {
        return;
    }
    let (_lock, dir) = (alone(), folder("monitor"));
    let marker = format!("watched-{}", std::process::id());
    // Enrolled to protect; whoever then asks for monitor mode gets it before the agent can act.
    let mut up = Up::start(&dir.path().join("data"), &[], &[]);
    assert!(up.running.said().contains("Policy: protect"));
    assert!(up.running.interrupt().success());
    let up = Up::start(&dir.path().join("data"), &[], &["--monitor"]);
    assert!(up.running.said().contains("Policy: monitor"));
    let hub = up.client();
    let mut attack = Tree::start(dir.path(), &marker, SHELL_WORDS);
    let finding = hub.finding(SHELL_RULE, &marker);
    assert_eq!(finding["disposition"], "would_act");
    let detail = hub.get(&format!("/api/v1/findings/{}", finding["id"].as_str().unwrap()));
    let would = detail["ocsf"]["unmapped"]["action"]["detail"].as_str().unwrap();
    assert!(would.contains("would have been killed"), "{would}");
    assert!(attack.lives(), "monitor mode must not kill");

    // Orders that are refused say why, and change nothing.
    let order = |reason: &str| {
        json!({"device": finding["device"], "kind": "kill_process",
               "process_key": finding["process_key"], "reason": reason})
    };
    let refused = hub.send("POST", "/api/v1/actions", Some(&order("  ")));
    assert_eq!(refused.status, 400, "{refused:?}");
    assert!(refused.json()["detail"].as_str().unwrap().contains("needs a reason"), "{refused:?}");
    let mut elsewhere = order("a drill");
    elsewhere["device"] = json!("00000000000000000000000000000000");
    assert_eq!(hub.send("POST", "/api/v1/actions", Some(&elsewhere)).status, 404);
    assert_eq!(hub.get("/api/v1/actions"), json!([]));
    assert!(attack.lives());

    let id = hub.order(&order("a drill: this shell is ours"));
    attack.is_killed();
    let action = hub.ended(&id);
    assert_eq!(action["state"], "Succeeded", "{action}");
    let states: Vec<&str> =
        action["history"].as_array().unwrap().iter().map(|s| s["state"].as_str().unwrap()).collect();
    assert_eq!(states, ["Pending", "InProgress", "Succeeded"]);
    let detail = action["detail"].as_str().unwrap();
    assert!(detail.contains(&format!("(pid {})", attack.pid())), "{detail}");
}

#[test]
fn hub_and_agent_end_when_up_is_killed() {
    if !is_root() {
        return;
    }
    let (_lock, dir) = (alone(), folder("killed"));
    let mut up = Up::start(&dir.path().join("data"), &[], &["--monitor"]);
    let parts: Vec<Known> = up.parts();
    common::process::signal(&up.running.child, Signal::KILL);
    up.running.child.wait().unwrap();
    Up::have_ended(&parts);
}
