//! Bad input and bad luck: one clear message each – what, where, what to do – and nothing stored before is lost.
#![allow(clippy::unwrap_used)] // Helpers of tests, which clippy takes for code.

mod common;

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use serde_json::{Value, json};
use wardline_event::Timestamp;
use wardline_hub::{HubConfig, TokenSpec};

use common::process::{SHELL_RULE, SHELL_WORDS, Tree};
use common::up::{Hub, Running};
use common::{contents, folder, is_root, said, until, wardline};

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Enrols an agent's folder at a hub.
fn enrol(hub: &Hub, agent: &Path) {
    wardline(&["agent", "enrol", &hub.agents, &hub.token(), "--data", text(agent)]).succeeds();
}

#[test]
fn enrolment_says_what_is_wrong_with_a_token_or_a_hub() {
    let dir = folder("tokens");
    let hub = Hub::start(&dir.path().join("hub"), "127.0.0.1:0");
    let (good, agent) = (hub.token(), dir.path().join("agent"));
    let parts: Vec<&str> = good.split('.').collect();
    let [version, secret, authority] = parts[..] else { panic!("{good}") };
    let zeros = |n| "0".repeat(n);
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let unknown = format!("{version}.{}.{authority}", zeros(32));
    let elsewhere = format!("{version}.{secret}.{}", zeros(64));
    for (address, token, words) in [
        (&hub.agents, "good morning", ["this is not an enrolment token", "wardline hub token"]),
        (&hub.agents, &good[..good.len() - 1], ["this is not an enrolment token", "copy it whole"]),
        (
            &hub.agents,
            &good.replace("wardline1", "wardline2"),
            ["made by a newer hub", "update this machine's"],
        ),
        (&hub.agents, &unknown, ["this hub does not know the token", "wardline hub token"]),
        (&hub.agents, &elsewhere, ["its authority is another one", "Check the address"]),
        (&nobody, &good, ["nothing answers at", "is the hub running?"]),
    ] {
        wardline(&["agent", "enrol", address, token, "--data", text(&agent)]).refuses(&words);
        assert!(!agent.join("identity.json").exists(), "a refused enrolment must leave nothing: {token}");
    }
    wardline(&["agent", "run", "--data", text(&agent)]).refuses(&[
        "this machine is not enrolled",
        "identity.json",
        "wardline agent enrol",
    ]);

    // None of the refusals used the good one up; its own use does.
    let args = ["agent", "enrol", &hub.agents, &good, "--data", text(&agent)];
    wardline(&args).succeeds();
    let identity = fs::read(agent.join("identity.json")).unwrap();
    wardline(&args).refuses(&["the token has been used already", "wardline hub token", &hub.agents]);
    assert_eq!(fs::read(agent.join("identity.json")).unwrap(), identity, "the identity before stays");
}

#[test]
fn a_port_in_use_is_named_with_the_option_that_changes_it() {
    let dir = folder("ports");
    let (hub_dir, up_dir) = (dir.path().join("hub"), dir.path().join("up"));
    let token = Hub::start(&hub_dir, "127.0.0.1:0").token();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let port = format!("port {} on 127.0.0.1", taken.local_addr().unwrap().port());
    for (flag, other) in [("--http", "--agents"), ("--agents", "--http")] {
        for command in [vec!["hub", "run", "--data", text(&hub_dir)], vec!["up", "--data", text(&up_dir)]] {
            let mut args = command.clone();
            args.extend([flag, &address, other, "127.0.0.1:0"]);
            let said = wardline(&args);
            assert_eq!(said.code, Some(1), "{}", said.err);
            for word in [&port, "already in use", &format!("choose another port with {flag}")] {
                assert!(said.err.contains(word), "`{word}` is not in: {}", said.err);
            }
        }
    }
    // What the hub held before, it still holds.
    let hub = Hub::start(&hub_dir, "127.0.0.1:0");
    wardline(&["agent", "enrol", &hub.agents, &token, "--data", text(&dir.path().join("agent"))]).succeeds();
    wardline(&["verify", "audit", "--data", text(&hub_dir)]).succeeds();
}

#[test]
fn folders_of_a_newer_version_are_left_as_they_are() {
    let dir = folder("newer");
    let (hub_dir, agent_dir) = (dir.path().join("hub"), dir.path().join("agent"));
    let mut hub = Hub::start(&hub_dir, "127.0.0.1:0");
    enrol(&hub, &agent_dir);
    assert_eq!(hub.running.interrupt().code(), Some(0));

    // The hub's: as if a later version had added a schema step.
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        use sqlx::Connection;
        let mut db = sqlx::SqliteConnection::connect(&format!("sqlite://{}/hub.db", text(&hub_dir))).await.unwrap();
        let step = "INSERT INTO migration (capability, version, name, digest, applied_ms) VALUES ('devices', 99, 'later', '', 0)";
        assert_eq!(sqlx::query(step).execute(&mut db).await.unwrap().rows_affected(), 1);
        sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)").execute(&mut db).await.unwrap();
        db.close().await.unwrap();
    });
    let before = contents(&hub_dir);
    wardline(&["hub", "run", "--data", text(&hub_dir), "--http", "127.0.0.1:0", "--agents", "127.0.0.1:0"])
        .refuses(&[
            "newer version of Wardline",
            text(&hub_dir),
            "`devices` tables have version 99",
            "nothing was changed",
        ]);
    let mut after = contents(&hub_dir);
    // What the database engine keeps beside an open file is no data, as long as it is empty.
    after.retain(|path, bytes| {
        before.contains_key(path) || !bytes.is_empty() && !text(path).ends_with("-shm")
    });
    assert!(after == before, "files differ: {:?} and {:?}", before.keys(), after.keys());

    // The agent's identity, then its spool.
    let identity = agent_dir.join("identity.json");
    let good = fs::read_to_string(&identity).unwrap();
    fs::write(&identity, good.replace("\"version\": 1", "\"version\": 7")).unwrap();
    let before = contents(&agent_dir);
    let run = ["agent", "run", "--data", text(&agent_dir)];
    wardline(&run).refuses(&["newer version of Wardline (format 7", text(&identity), "nothing was changed"]);
    assert!(contents(&agent_dir) == before);

    fs::write(&identity, good).unwrap();
    fs::create_dir_all(agent_dir.join("spool/findings")).unwrap();
    fs::write(agent_dir.join("spool/findings/spool.id"), "7 0123456789abcdef0123456789abcdef\n").unwrap();
    wardline(&run).refuses(&["spool/findings was written by a newer version", "update this one"]);
}

#[test]
fn damaged_files_and_folders_in_use_are_named() {
    let dir = folder("damaged");
    let agent = dir.path().join("agent");
    let hub = Hub::start(&dir.path().join("hub"), "127.0.0.1:0");
    enrol(&hub, &agent);

    wardline(&[
        "hub",
        "run",
        "--data",
        text(&hub.folder),
        "--http",
        "127.0.0.1:0",
        "--agents",
        "127.0.0.1:0",
    ])
    .refuses(&["another hub is already using", text(&hub.folder), "--data DIR"]);
    let mut first = Running::start(&[], &["agent", "run", "--data", text(&agent)]);
    first.says(&["connected to the hub"]);
    wardline(&["agent", "run", "--data", text(&agent)]).refuses(&[
        "another agent is already using",
        text(&agent),
        "--data DIR",
    ]);
    assert_eq!(first.interrupt().code(), Some(0));

    let identity = agent.join("identity.json");
    let good = fs::read(&identity).unwrap();
    fs::write(&identity, &good[..good.len() / 2]).unwrap();
    let refusal = [text(&identity), "is damaged", "restore it from a backup"];
    wardline(&["agent", "run", "--data", text(&agent)]).refuses(&refusal);
    // Nor does an enrolment throw it away.
    wardline(&["agent", "enrol", &hub.agents, &hub.token(), "--data", text(&agent)]).refuses(&refusal);
    assert_eq!(fs::read(&identity).unwrap(), good[..good.len() / 2]);
    fs::write(&identity, &good).unwrap();
    Running::start(&[], &["agent", "run", "--data", text(&agent)]).says(&["connected to the hub"]);
}

#[test]
fn an_unusable_rule_is_placed() {
    let dir = folder("rules");
    let file = dir.path().join("wrong.yml");
    let rule = "title: Wrong\nid: 7a0f1f3e-54a6-4a0c-8a55-0d9f2f7d1c11\nlevel: high\n\
                logsource: {category: process_creation, product: linux}\n\
                detection:\n    selection:\n        CommandLine|contians: evil\n    condition: selection\n";
    fs::write(&file, rule).unwrap();
    fs::write(dir.path().join("right.yml"), rule.replace("contians", "contains")).unwrap();
    let said = wardline(&["rules", "lint", "--json", text(dir.path())]);
    assert_eq!(said.code, Some(1), "{}", said.err);
    let errors: Vec<Value> = said
        .out
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .filter(|finding: &Value| finding["level"] == "error")
        .collect();
    let [error] = &errors[..] else { panic!("one error: {}", said.out) };
    assert_eq!(error["line"], 7, "{error}");
    assert!(error["message"].as_str().unwrap().contains("contians"), "{error}");
}

/// Thirty-one days ago, when the hub enrolled a device.
struct LongAgo;

impl wardline_kernel::Clock for LongAgo {
    fn now(&self) -> Timestamp {
        Timestamp(wardline_kernel::SystemClock.now().0 - 31 * 24 * 3600 * 1000)
    }
}

#[test]
fn an_expired_certificate_is_told_and_a_fresh_enrolment_mends_it() {
    let dir = folder("expired");
    let (hub_dir, agent) = (dir.path().join("hub"), dir.path().join("agent"));
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let clock: Arc<dyn wardline_kernel::Clock> = Arc::new(LongAgo);
        let free = "127.0.0.1:0".parse().unwrap();
        let config = HubConfig { http: free, agents: free, clock: clock.clone(), ..HubConfig::new(&hub_dir) };
        let hub = wardline_hub::start(config).await.unwrap();
        let token = hub.make_enrolment_token(&TokenSpec::default()).await.unwrap();
        let state = wardline_agent::state::StateDir::open(&agent).unwrap();
        let (facts, address) = (wardline_agent::running::facts("1"), hub.agents_addr().to_string());
        wardline_agent::enrol::enrol(&address, &token, facts, &state, clock.now()).await.unwrap();
        hub.stop().await;
    });
    let hub = Hub::start(&hub_dir, "127.0.0.1:0");
    let run = ["agent", "run", "--data", text(&agent), "--hub", &hub.agents];
    let mut watching = Running::start(&[], &run);
    watching.says(&[
        &hub.agents,
        "refused this device's certificate: it has expired",
        "Enrol again",
        "records that wait here are kept",
    ]);
    assert!(watching.child.try_wait().unwrap().is_none(), "the agent goes on");
    assert_eq!(watching.interrupt().code(), Some(0));
    enrol(&hub, &agent);
    Running::start(&[], &run).says(&["connected to the hub"]);
}

/// The segments of an agent's telemetry spool, oldest first.
fn segments(agent: &Path) -> Vec<PathBuf> {
    let files = fs::read_dir(agent.join("spool/telemetry")).into_iter().flatten().map_while(Result::ok);
    let mut segments: Vec<PathBuf> =
        files.map(|f| f.path()).filter(|p| p.extension().is_some_and(|e| e == "seg")).collect();
    segments.sort();
    segments
}

#[test]
fn a_foreign_hub_gets_nothing_and_a_damaged_spool_loses_only_the_damage() {
    if !is_root() {
        return;
    }
    let dir = folder("foreign");
    let agent = dir.path().join("agent");
    let mut ours = Hub::start(&dir.path().join("ours"), "127.0.0.1:0");
    let mut theirs = Hub::start(&dir.path().join("theirs"), "127.0.0.1:0");
    enrol(&ours, &agent);
    let run = |hub: &str| Running::start(&[], &["agent", "run", "--data", text(&agent), "--hub", hub]);

    let mut lost = run(&theirs.agents);
    let line = lost.says(&[&theirs.agents, "its authority is another one", "enrol again with a fresh token"]);
    assert!(line.contains("the device goes on protecting itself, records wait on disk"), "{line}");
    let marker = format!("kept-{}", std::process::id());
    let _attack = Tree::start(dir.path(), &marker, SHELL_WORDS);
    lost.says(&["Shell wired to the network through /dev/tcp", "(pid "]);
    until("events wait on disk", || {
        let bytes: u64 = segments(&agent).iter().map(|s| s.metadata().unwrap().len()).sum();
        (bytes > 20_000).then_some(())
    });
    assert_eq!(lost.interrupt().code(), Some(0));
    assert_eq!(theirs.client().get("/api/v1/status")["events"]["stored"], 0);

    // One byte in the middle of the telemetry is damaged while the agent is away.
    let segment = &segments(&agent)[0];
    let mut bytes = fs::read(segment).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x40;
    fs::write(segment, &bytes).unwrap();

    let mut mended = run(&ours.agents);
    let aside = segment.with_extension("corrupt");
    mended.says(&["a spool segment was damaged", text(&aside), "set the original aside"]);
    mended.says(&["connected to the hub"]);
    assert_eq!(fs::read(&aside).unwrap(), bytes, "set aside as it was");
    let hub = ours.client();
    // The findings' spool was not touched, and what lay before the damage arrives.
    hub.finding(SHELL_RULE, &marker);
    until("events arrive", || (hub.get("/api/v1/status")["events"]["stored"].as_i64()? > 0).then_some(()));
    assert_eq!(hub.device()["unreadable"], 0);
}

#[test]
fn a_full_disk_costs_only_what_is_counted() {
    if !is_root() {
        return;
    }
    let dir = folder("full");
    let (hub_dir, agent) = (dir.path().join("hub"), dir.path().join("agent"));
    let mut hub = Hub::start(&hub_dir, "127.0.0.1:0");
    let address = hub.agents.clone();
    enrol(&hub, &agent);
    assert_eq!(hub.running.interrupt().code(), Some(0));
    drop(hub);

    // A disk of 400 kB, in a mount namespace that only this agent sees.
    let spool = agent.join("spool");
    fs::create_dir_all(&spool).unwrap();
    let script = format!("mount -t tmpfs -o size=400k none '{}' && exec \"$@\"", text(&spool));
    let enter: Vec<String> =
        ["unshare", "-m", "sh", "-c", &script, "sh"].into_iter().map(str::to_owned).collect();
    let mut watching = Running::start(&enter, &["agent", "run", "--data", text(&agent)]);
    watching.says(&["nothing answers at", "records wait on disk"]);
    until("the disk is full", || {
        said(Command::new("sh").args(["-c", "for i in 1 2 3 4 5 6 7 8 9; do /bin/true; done"])).succeeds();
        watching.said().contains("a record could not be kept, and is counted").then_some(())
    });
    let line = watching.says(&["a record could not be kept"]);
    assert!(line.contains("No space left on device") && line.contains(text(&spool)), "{line}");

    // The hub returns: what was kept arrives, room is made, and the agent records as before.
    let mut hub = Hub::start(&hub_dir, &address);
    watching.says(&["connected to the hub"]);
    let client = hub.client();
    let marker = format!("after-full-{}", std::process::id());
    let mut attempt = 0;
    let finding = until("a new finding arrives", || {
        attempt += 1;
        let _attack = Tree::start(dir.path(), &format!("{marker}-{attempt}"), SHELL_WORDS);
        client.findings(&marker, Some(SHELL_RULE)).pop()
    });
    assert_eq!(finding["disposition"], "would_act", "{finding}");
    let device: Value = until("the loss is told", || {
        let device = client.device();
        (device["accounting"]["spool_dropped"].as_i64()? > 0).then_some(device)
    });
    assert_eq!(device["accounting"]["kernel_lost"], json!(0), "{device}");
    // The disk took about 400 records before it was full.
    assert!(client.get("/api/v1/status")["events"]["stored"].as_i64().unwrap() > 100, "{device}");
    until("the gap in the numbers is what was dropped", || {
        let device = client.device();
        let missing = device["missing"].as_i64()?;
        (missing > 0 && missing == device["accounting"]["spool_dropped"].as_i64()?).then_some(())
    });
    assert_eq!(watching.interrupt().code(), Some(0));
}
