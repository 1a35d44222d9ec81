//! `wardline rules lint`, end to end.

#![allow(clippy::unwrap_used, reason = "a test stops where it fails")]

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

const RULE: &str = "\
title: Backups deleted
id: 7d1f3c52-1b53-4d0c-9a3e-0c6f1b2d3e4f
date: 2026-01-31
level: high
logsource: {product: windows, category: process_creation}
detection:
  selection:
    Image|endswith: '\\vssadmin.exe'
  other:
    CommandLine|contains: delete
  condition: selection
";

fn lint(folder: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_wardline"))
        .args(["rules", "lint"])
        .args(args)
        .current_dir(folder)
        .output()
        .expect("the binary starts")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A folder with a rule that raises a warning, and whatever else is given.
fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("warned.yml"), RULE).unwrap();
    for (name, text) in files {
        fs::write(folder.path().join(name), text).unwrap();
    }
    folder
}

#[test]
fn a_finding_shows_the_line_the_place_and_the_way_out() {
    let folder = folder(&[]);
    let output = lint(folder.path(), &["."]);
    assert_eq!(
        text(&output.stdout),
        "warning[S120]: the condition never looks at `other`\n --> ./warned.yml:9:3\n  |\n9 |   other:\n  |   ^^^^^\n  \
         = help: name it in the condition, or remove it\n\n"
    );
    assert_eq!(text(&output.stderr), "1 file, 1 rule: 0 errors, 1 warning, 0 notes\n");
    assert_eq!(output.status.code(), Some(0), "warnings alone do not fail");
    assert_eq!(lint(folder.path(), &[".", "--deny", "warnings"]).status.code(), Some(1));
    let allowed = lint(folder.path(), &[".", "--deny", "warnings", "--allow", "s120"]);
    assert_eq!((allowed.status.code(), text(&allowed.stdout)), (Some(0), String::new()));
    assert_eq!(lint(folder.path(), &[".", "--allow", "S999"]).status.code(), Some(2));
    let nowhere = lint(folder.path(), &["nowhere"]);
    assert_eq!(nowhere.status.code(), Some(1));
    assert!(text(&nowhere.stdout).starts_with("error[W001]: nowhere: cannot be read: "));
}

#[test]
fn errors_fail_and_are_found_across_files() {
    let broken = RULE.replace("endswith", "endswiht").replace("Backups", "Broken");
    let copy = RULE
        .replace("Backups deleted", "A copy")
        .replace("condition: selection", "condition: other or selection");
    let folder = folder(&[
        ("broken.yml", &broken),
        ("copy.yml", &copy),
        (
            "kill.yml",
            &format!(
                "{}wardline: {{response: explode}}\n",
                RULE.replace("7d1f", "7d2f").replace("level: high", "level: low").replace("vssadmin", "x")
            ),
        ),
        ("latin1.txt", "not a rule"),
    ]);
    fs::write(folder.path().join("latin1.yml"), b"title: Caf\xe9\n").unwrap();
    let output = lint(folder.path(), &[".", "--json"]);
    assert_eq!(output.status.code(), Some(1));
    let found: Vec<Value> = text(&output.stdout).lines().map(|l| serde_json::from_str(l).expect(l)).collect();
    let errors: Vec<(&str, &str, u64)> = found
        .iter()
        .filter(|f| f["level"] == "error")
        .map(|f| (f["code"].as_str().unwrap(), f["file"].as_str().unwrap(), f["line"].as_u64().unwrap()))
        .collect();
    assert_eq!(
        errors,
        [
            ("S030", "./broken.yml", 8),
            ("W002", "./kill.yml", 12),
            ("W001", "./latin1.yml", 0),
            ("S060", "./warned.yml", 1),
        ],
        "{}",
        text(&output.stdout)
    );
    let modifier = &found[0];
    assert_eq!((modifier["column"].as_u64(), modifier["end_column"].as_u64()), (Some(11), Some(19)));
}

#[test]
fn sarif_names_code_level_and_region() {
    let folder = folder(&[("with space.yml", &RULE.replace("7d1f", "7d2f").replace("vssadmin", "x"))]);
    let output = lint(folder.path(), &["with space.yml", "warned.yml", "--sarif"]);
    let log: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(log["version"], "2.1.0");
    let run = &log["runs"][0];
    let result = &run["results"][0];
    let place = &result["locations"][0]["physicalLocation"];
    assert_eq!(place["artifactLocation"]["uri"], "with%20space.yml");
    assert_eq!(place["region"], serde_json::json!({"startLine": 9, "startColumn": 3, "endColumn": 8}));
    let rule = &run["tool"]["driver"]["rules"][result["ruleIndex"].as_u64().unwrap() as usize];
    assert_eq!((&rule["id"], &result["ruleId"]), (&"S120".into(), &"S120".into()));
    assert_eq!(result["level"], "warning");
}
