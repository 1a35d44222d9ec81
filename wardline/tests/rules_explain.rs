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
