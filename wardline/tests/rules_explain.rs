//! `wardline rules explain`, end to end.

#![allow(clippy::unwrap_used, reason = "a test stops where it fails")]

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

const RULE: &str = r"title: Backups deleted
id: 7d1f3c52-1b53-4d0c-9a3e-0c6f1b2d3e4f
name: backups_deleted
level: high
logsource: {product: windows, category: process_creation}
detection:
  selection_tool:
    Image|endswith: ['\vssadmin.exe', '\wmic.exe']
  selection_words:
    CommandLine|contains|all: [delete, shadow]
  filter_admin:
    User: 'backup'
  condition: all of selection_* and not 1 of filter_*
";

fn command(folder: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wardline"));
    command.args(["rules", "explain"]).args(args).current_dir(folder);
    command
}

fn explain(folder: &Path, args: &[&str]) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } = command(folder, args).output().expect("the binary starts");
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code(), text(stdout), text(stderr))
}

fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("rule.yml"), RULE).unwrap();
    folder
}

#[test]
fn what_kept_a_rule_from_matching_is_shown_selection_by_selection() {
    let folder = folder();
    let event = r#"{"Image": "C:\\Windows\\vssadmin.exe", "CommandLine": "vssadmin delete"}"#;
    let (code, out, err) = explain(folder.path(), &["rule.yml", event]);
    assert_eq!(code, Some(1), "{err}");
    assert_eq!(
        out,
        r"Backups deleted does not match the event
✓ log source: the event is product windows, category process_creation, taken for what the rule is for, since it does not say
✗ all of
  ✗ all of
    ✓ selection_tool
      ✓ one of
        ✓ Image endswith '\vssadmin.exe': the event has C:\Windows\vssadmin.exe
        … and 1 more that do not hold
    ✗ selection_words
      ✗ all of
        ✓ CommandLine contains 'delete': the event has vssadmin delete
        ✗ CommandLine contains 'shadow': the event has vssadmin delete
  ✓ not
    ✗ filter_admin
      ✗ User 'backup': the event has no such field
"
    );
}

#[test]
fn of_a_log_the_record_that_matches_is_explained() {
    let folder = folder();
    let log = concat!(
        r#"{"EventID":1,"Channel":"Microsoft-Windows-Sysmon/Operational","Image":"C:\\a.exe","CommandLine":"a"}"#,
        "\n",
        r#"{"EventID":1,"Channel":"Microsoft-Windows-Sysmon/Operational","Image":"C:\\WMIC.exe","CommandLine":"shadowcopy DELETE"}"#,
        "\n",
        r#"{"EventID":3,"Channel":"Microsoft-Windows-Sysmon/Operational","Image":"C:\\WMIC.exe","CommandLine":"shadowcopy DELETE"}"#,
        "\n",
    );
    fs::write(folder.path().join("log.jsonl"), log).unwrap();
    let (code, out, err) = explain(folder.path(), &["rule.yml", "log.jsonl", "--json"]);
    assert_eq!(code, Some(0), "{err}");
    let found: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(
        (&found["record"], &found["records"], &found["matches"]),
        (&2.into(), &3.into(), &true.into())
    );
    assert_eq!(found["condition"]["holds"], true);
    let tool = &found["condition"]["all_of"][0]["all_of"][0];
    assert_eq!(tool["selection"], "selection_tool");
    assert_eq!(tool["body"]["one_of"][1]["value"], r"C:\WMIC.exe");
    assert_eq!(tool["body"]["one_of"][1]["holds"], true);

    // The third would match if it were a process creation.
    let (code, out, _) = explain(folder.path(), &["rule.yml", "log.jsonl", "--record", "3"]);
    assert_eq!(code, Some(1));
    assert!(out.starts_with("Backups deleted does not match record 3 of 3\n✗ log source: the event is product windows, category network_connection"), "{out}");
    assert!(
        out.contains("\n    the rule is for product windows, category process_creation\n✓ all of\n"),
        "{out}"
    );
    assert_eq!(explain(folder.path(), &["rule.yml", "log.jsonl", "--record", "4"]).0, Some(2));

    // From standard input.
    let mut child = command(folder.path(), &["rule.yml", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(log.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stdout));
}

#[test]
fn without_an_event_it_tells_what_the_rule_can_see() {
    let folder = folder();
    fs::write(
        folder.path().join("many.yml"),
        "title: Many\nid: 7d1f3c52-1b53-4d0c-9a3e-0c6f1b2d3e50\ncorrelation:\n  type: event_count\n  rules: [backups_deleted]\n  \
         group-by: [Computer]\n  timespan: 5m\n  condition: {gte: 3}\n",
    )
    .unwrap();
    let (code, out, err) = explain(folder.path(), &["backups", "--rules", "."]);
    assert_eq!(code, Some(0), "{err}");
    assert!(out.starts_with("Backups deleted\nfor product windows, category process_creation\n"), "{out}");
    assert!(out.contains("event 4688") && out.contains("sysmon, event 1:"), "{out}");
    assert!(out.contains("\nFields that it reads:\n  CommandLine\n  Image\n  User\n"), "{out}");
    assert!(
        out.contains("\nCost: low: ") && out.ends_with("\nCorrelations that count it:\n  Many\n"),
        "{out}"
    );

    fs::write(folder.path().join("nowhere.yml"), RULE.replace("process_creation", "process_creatoin"))
        .unwrap();
    let (code, out, _) = explain(folder.path(), &["nowhere.yml"]);
    assert_eq!(code, Some(0));
    assert!(out.contains("none: no known source writes events of this log source"), "{out}");
    assert_eq!(explain(folder.path(), &["no such rule", "--rules", "."]).0, Some(2));
}

const LOGINS: &str = r"title: Failed login
name: failed_login
id: 7d1f3c52-1b53-4d0c-9a3e-0c6f1b2d3e01
level: low
logsource: {product: windows, service: security}
detection:
  selection: {EventID: 4625}
  condition: selection
---
title: Login
name: login
id: 7d1f3c52-1b53-4d0c-9a3e-0c6f1b2d3e02
level: low
logsource: {product: windows, service: security}
detection:
  selection: {EventID: 4624, LogonType: 3}
  condition: selection
---
title: Many failed logins
name: many
id: 7d1f3c52-1b53-4d0c-9a3e-0c6f1b2d3e03
correlation:
  type: event_count
  rules: failed_login
  group-by: [Computer]
  timespan: 5m
  condition: {gte: 3}
---
title: A guessed password
id: 7d1f3c52-1b53-4d0c-9a3e-0c6f1b2d3e04
level: high
correlation:
  type: temporal_ordered
  rules: [many, login]
  group-by: [Computer]
  timespan: 10m
";

const AGGREGATION: &str = r"title: Many failed logins, as Sigma 1 says it
id: 7d1f3c52-1b53-4d0c-9a3e-0c6f1b2d3e05
level: high
logsource: {product: windows, service: security}
detection:
  selection: {EventID: 4625}
  timeframe: 5m
  condition: selection | count() by Computer > 3
";

/// A record of the Security log, so many seconds after ten o'clock.
fn security(number: u64, second: u64, id: u64, computer: &str, logon_type: u64) -> String {
    let time = format!("2024-11-03T10:{:02}:{:02}.000Z", second / 60, second % 60);
    serde_json::json!({"Event": {
        "System": {
            "Channel": "Security", "EventID": id, "Computer": computer, "EventRecordID": number,
            "TimeCreated": {"#attributes": {"SystemTime": time}},
        },
        "EventData": {"LogonType": logon_type},
    }})
    .to_string()
}

fn logins() -> tempfile::TempDir {
    let folder = folder();
    fs::write(folder.path().join("logins.yml"), LOGINS).unwrap();
    fs::write(folder.path().join("old.yml"), AGGREGATION).unwrap();
    let one: Vec<String> = (0..4).map(|n| security(n + 1, n * 20, 4625, "PC-1", 3)).collect();
    let two = [
        security(5, 100, 4625, "PC-2", 3),
        security(6, 120, 4625, "PC-2", 3),
        security(7, 200, 4624, "PC-2", 2),
        security(8, 260, 4624, "PC-1", 3),
    ];
    fs::write(folder.path().join("one.jsonl"), one.join("\n")).unwrap();
    fs::write(folder.path().join("two.jsonl"), two.join("\n")).unwrap();
    folder
}

#[test]
fn of_a_correlation_the_records_the_groups_and_the_count_are_told() {
    let folder = logins();
    let (code, out, err) = explain(folder.path(), &["logins.yml", "one.jsonl", "two.jsonl"]);
    assert_eq!(code, Some(0), "{err}");
    assert_eq!(
        out,
        "A guessed password matches
temporal_ordered ≥ 2 of many, login within 10m, by Computer

Rules that it counts, in 8 records:
✓ Failed login: 6 records: 1-6
✓ Login: 1 record: 8

What came of it, where that was nearest to the condition:
✓ Computer PC-1: 2 of 2 in order: Many failed logins, Login
    from 2024-11-03 10:00:00 to 2024-11-03 10:04:20, records 1-4, 8

It counts Many failed logins: event_count ≥ 3 within 5m, by Computer
✓ Computer PC-1: 3, asked for ≥ 3
    from 2024-11-03 10:00:00 to 2024-11-03 10:00:40, records 1-3
✗ Computer PC-2: 2, asked for ≥ 3
    from 2024-11-03 10:01:40 to 2024-11-03 10:02:00, records 5, 6
"
    );
    // The file may lie among the rules, and is loaded once.
    fs::write(folder.path().join("named.yml"), LOGINS.replace("id: 7d1f", "x-id: ")).unwrap();
    let again = explain(folder.path(), &["./named.yml", "one.jsonl", "two.jsonl", "--rules", "named.yml"]);
    assert_eq!((again.0, &again.1), (Some(0), &out), "{}", again.2);
    // The order of the logs makes no difference, that of the times does.
    let (code, out, _) =
        explain(folder.path(), &["guessed", "two.jsonl", "one.jsonl", "--rules", "logins.yml", "--json"]);
    assert_eq!(code, Some(0));
    let found: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((&found["type"], &found["matches"]), (&"temporal_ordered".into(), &true.into()));
    assert_eq!(found["groups"][0]["records"], serde_json::json!([5, 6, 7, 8, 4]));
    assert_eq!(found["groups"][0]["group"], serde_json::json!({"Computer": "PC-1"}));
    assert_eq!(found["rules"][0]["records"], serde_json::json!([1, 2, 5, 6, 7, 8]));
}

#[test]
fn what_keeps_a_correlation_from_matching_is_told() {
    let folder = logins();
    let (code, out, _) = explain(folder.path(), &["logins.yml", "two.jsonl"]);
    assert_eq!(code, Some(1), "{out}");
    assert!(out.starts_with("A guessed password does not match\n"), "{out}");
    assert!(out.contains("\n✗ Computer PC-2: 2, asked for ≥ 3\n"), "{out}");
    // Of a rule that matches nothing the nearest record is explained, as the documentation shows.
    let other = security(5, 100, 4624, "PC-1", 2);
    let (_, out, _) = explain(folder.path(), &["logins.yml", "one.jsonl", &other]);
    let documented =
        include_str!("../../docs/rules.md").split_once("guessed-password.yml Security.evtx\n").unwrap().1;
    assert_eq!(out, documented.split_once("```").unwrap().0);
    let (_, out, _) = explain(folder.path(), &["logins.yml", "one.jsonl"]);
    assert!(out.contains("\n✗ Login: none\n    nearest: it does not match record 1 of 4\n"), "{out}");
    assert!(out.contains("\n        ✗ EventID 4624: the event has 4625\n"), "{out}");
    assert!(out.contains("\n✗ Computer PC-1: 1 of 2 in order: Many failed logins\n"), "{out}");
}

#[test]
fn an_aggregation_of_sigma_1_tells_its_count() {
    let folder = logins();
    let (code, out, err) = explain(folder.path(), &["old.yml", "one.jsonl", "two.jsonl"]);
    assert_eq!(code, Some(0), "{err}");
    assert!(
        out.starts_with(
            "Many failed logins, as Sigma 1 says it matches\nevent_count > 3 within 5m, by Computer\n"
        ),
        "{out}"
    );
    assert!(out.contains("\n✓ the events of its condition: 6 records: 1-6\n"), "{out}");
    assert!(out.contains("\n✓ Computer PC-1: 4, asked for > 3\n"), "{out}");
    assert!(out.contains("\n✗ Computer PC-2: 2, asked for > 3\n"), "{out}");
    let (code, out, _) = explain(folder.path(), &["sigma 1 says", "--rules", "old.yml"]);
    assert_eq!(code, Some(0));
    assert!(
        out.contains("\nEvents that it can see:\n  windows-security, event 4625: Logon failed ("),
        "{out}"
    );
    assert!(
        out.contains("\n  (the other ")
            && out.contains(" of its log source have another EventID than it asks for)\n"),
        "{out}"
    );

    let list = Command::new(env!("CARGO_BIN_EXE_wardline"))
        .args(["rules", "list", "--rules", "old.yml", "--rules", "logins.yml"])
        .current_dir(folder.path())
        .output()
        .unwrap();
    let out = String::from_utf8(list.stdout).unwrap();
    let lines: Vec<&str> = out.lines().collect();
    assert_eq!(lines.len(), 6, "{out}");
    assert!(
        lines.contains(&"high          windows  record  event_count: Many failed logins, as Sigma 1 says it"),
        "{out}"
    );
    assert!(lines.contains(&"low           windows  record  event_count: Many failed logins"), "{out}");
    assert_eq!(lines[5], "5 rules");
}

#[test]
fn placeholders_pipelines_and_sources_are_those_of_a_scan() {
    let folder = tempfile::tempdir().unwrap();
    let put = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
    put(
        "door.yml",
        "title: Door of an administrator\nid: 7d1f3c52-1b53-4d0c-9a3e-0c6f1b2d3e06\nlevel: low\ndate: 2026-01-31\n\
         logsource: {product: badge, service: doors}\n\
         detection:\n  selection:\n    Holder|expand: '%admins%'\n  condition: selection\n",
    );
    put("values.yml", "admins: [alice, bob]\n");
    put("names.yml", "pipeline: names\nsteps:\n  - rename: {Holder: holder}\n");
    put(
        "badge.yml",
        "source: badge-reader\ntitle: Badge reader\nproduct: badge\nservice: doors\nhas: [device_vendor, door]\n\
         fields: [device_vendor, door, holder]\n",
    );
    put("log.jsonl", r#"{"device_vendor": "Acme", "door": 7, "holder": "bob"}"#);
    let options = ["--placeholders", "values.yml", "--pipeline", "names.yml", "--sources", "badge.yml"];
    let rules = |command: &[&str], with: usize| {
        let output = Command::new(env!("CARGO_BIN_EXE_wardline"))
            .args(command)
            .args(&options[..with])
            .current_dir(folder.path())
            .output()
            .unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code(), text(&output.stdout), text(&output.stderr))
    };
    let (code, out, err) = rules(&["rules", "explain", "door.yml", "log.jsonl"], 6);
    assert_eq!(code, Some(0), "{err}");
    assert!(out.contains("✓ log source: the event is product badge, service doors\n"), "{out}");
    assert!(out.contains("✓ holder expand 'bob': the event has bob\n"), "{out}");
    assert!(rules(&["rules", "explain", "door.yml", "log.jsonl"], 0).2.contains("S033"));
    let (code, out, _) = rules(&["scan", "log.jsonl", "--rules", "door.yml", "--json"], 6);
    assert_eq!((code, out.lines().count()), (Some(0), 1), "{out}");
    // Without the sources nobody knows what the record is.
    assert_eq!(rules(&["scan", "log.jsonl", "--rules", "door.yml", "--json"], 4).1, "");
    let (code, out, err) = rules(&["rules", "lint", "door.yml", "--deny", "notes"], 6);
    assert_eq!(code, Some(1), "{err}");
    assert!(out.contains("[S150]") && !out.contains("[S151]") && !out.contains("[S033]"), "{out}");
    let (code, out, _) = rules(&["rules", "list", "--rules", "door.yml"], 6);
    assert_eq!(code, Some(0), "{out}");
    assert_eq!(
        rules(&["rules", "list", "--rules", "door.yml"], 0).0,
        Some(1),
        "the placeholder has no value"
    );
    put(
        "info.yml",
        "rule_metadata:\n  - id: 7d1f3c52-1b53-4d0c-9a3e-0c6f1b2d3e06\nregression_tests_info:\n  \
         - {name: Bob, type: json, match_count: 1, path: log.jsonl}\n",
    );
    let (code, out, err) = rules(&["rules", "test", "info.yml", "--rules", "door.yml"], 6);
    assert_eq!(code, Some(0), "{out}{err}");
    // A record that does not say what it is counts for the rule; one that lacks the placeholder's value cannot.
    assert_eq!(rules(&["rules", "test", "info.yml", "--rules", "door.yml"], 4).0, Some(0));
    assert_eq!(rules(&["rules", "test", "info.yml", "--rules", "door.yml"], 0).0, Some(1));
    put("badge.yml", "source: badge-reader\nproduct: badge\nchanels: [x]\n");
    let (code, _, err) = rules(&["rules", "list"], 6);
    assert_eq!(code, Some(2));
    assert!(err.contains("badge.yml:3:1: S070"), "{err}");
}
