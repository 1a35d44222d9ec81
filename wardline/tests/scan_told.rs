//! `wardline scan`: what a person is told of what was asked, what could not be read, and which rules did not load.

#![allow(clippy::unwrap_used, reason = "a test stops where it fails")]

#[path = "common/scan.rs"]
mod common;

use std::fs;
use std::path::Path;

use common::{command, data, err, out, scan};

fn in_folder(folder: &Path, args: &[&str]) -> std::process::Output {
    command(args).current_dir(folder).output().expect("the binary starts")
}

/// A wiped log is no log without events.
#[test]
fn an_event_log_of_no_bytes_is_unreadable() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("Security.evtx"), "").unwrap();
    fs::write(folder.path().join("empty.jsonl"), "").unwrap();
    fs::write(folder.path().join("cut.evtx"), "ElfFile\0 and no more").unwrap();
    fs::write(folder.path().join("cut.zip"), "PK\u{3}\u{4} and no more").unwrap();
    let output = in_folder(folder.path(), &["."]);
    assert_eq!(output.status.code(), Some(1));
    let told = err(&output);
    assert!(
        told.contains("wardline scan: ./Security.evtx: the file: it is empty, as no event log is"),
        "{told}"
    );
    assert!(out(&output).contains("Files      1 read, 3 unreadable\n"), "{}", out(&output));
}

#[test]
fn what_is_no_file_is_refused_and_told_how_to_read_it() {
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("pipe");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status().unwrap();
    assert!(made.success());
    for (path, what) in [(pipe.to_str().unwrap(), "a named pipe"), ("/dev/zero", "a device")] {
        let output = scan(&[path]);
        assert_eq!(output.status.code(), Some(2), "{path}");
        let wanted = format!(
            "wardline scan: {path}: it is {what}, not a file or folder; to read what comes out of it: wardline scan - < {path}\n"
        );
        assert_eq!(err(&output), wanted);
    }
}

#[test]
fn tags_are_known_by_the_ids_and_names_of_attack() {
    let titles = |tag: &str| {
        let output = scan(&["events.jsonl", "--rules", "rules", "--csv", "--quiet", "--tag", tag]);
        let mut titles: Vec<String> =
            common::csv(&out(&output)).into_iter().skip(1).map(|row| row[3].clone()).collect();
        titles.sort();
        titles
    };
    let tagged = titles("attack.impact");
    assert!(!tagged.is_empty());
    for same in ["impact", "Impact", "TA0040"] {
        assert_eq!(titles(same), tagged, "{same}");
    }
    assert_eq!(titles("T1490"), titles("attack.t1490"));
    assert!(!titles("T1490").is_empty());
}

#[test]
fn rules_that_do_not_load_are_told_again_in_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log.jsonl");
    fs::write(&log, "{\"EventID\":1}\n").unwrap();
    let log = log.to_str().unwrap();
    let output = scan(&[log, "--rules", "rules", "--rules", "broken-rules", "--quiet"]);
    assert_eq!(output.status.code(), Some(0), "the others were looked for");
    let told = err(&output);
    assert!(
        told.ends_with(
            "wardline scan: 1 rule did not load, so nothing was looked for that only it finds; `wardline rules lint` tells more\n"
        ),
        "{told}"
    );
    // A warning of a filter keeps no rule from being used.
    fs::write(
        folder.path().join("filter.yml"),
        "title: F\nlogsource: {product: windows}\nfilter:\n  rules: [no_such_rule]\n  s: {User: a}\n  condition: not s\n",
    )
    .unwrap();
    let filter = folder.path().join("filter.yml");
    let output = scan(&[log, "--rules", "rules", "--rules", filter.to_str().unwrap()]);
    let told = err(&output);
    assert!(told.contains("doubtful in the rules") && told.contains("S050"), "{told}");
    assert!(!told.contains("did not load") && !out(&output).contains("did not load"), "{told}");
}

#[test]
fn the_page_says_what_was_asked_and_what_is_missing() {
    let folder = tempfile::tempdir().unwrap();
    let page = folder.path().join("report.html");
    let lost = folder.path().join("lost.evtx");
    fs::write(&lost, "").unwrap();
    let (page, lost) = (page.to_str().unwrap(), lost.to_str().unwrap());
    let options = [
        "events.jsonl",
        lost,
        "--rules",
        "rules",
        "--rules",
        "broken-rules",
        "--level",
        "low",
        "--exclude-tag",
        "T1003",
        "--from",
        "2020-01-01",
        "--computer",
        "ward-<b>*",
        "--html",
        page,
        "--quiet",
    ];
    let output = scan(&options);
    assert_eq!(output.status.code(), Some(1), "{}", err(&output));
    let text = fs::read_to_string(page).unwrap();
    let rules = fs::read_dir(data().join("rules")).unwrap().count();
    for wanted in [
        format!("<dt>Read from</dt><dd>events.jsonl, {lost}</dd>"),
        "<dt>Rules from</dt><dd>rules, broken-rules</dd>".to_owned(),
        "<dt>Level</dt><dd>low and above</dd>".to_owned(),
        "<dt>Without tags</dt><dd>T1003</dd>".to_owned(),
        "<dt>From</dt><dd>2020-01-01T00:00:00.000Z</dd>".to_owned(),
        "<dt>Computers</dt><dd>ward-&lt;b&gt;*</dd>".to_owned(),
        format!("<dt>Rules</dt><dd>{rules} loaded, 1 did not load"),
        "<h3>Could not be read (3)</h3><ul class=\"faults\"><li>events.jsonl: line 3: not JSON".to_owned(),
        format!("<li>{lost}: the file: it is empty"),
        "<h3>Rules that did not load (1)</h3><ul class=\"faults\"><li>broken-rules/unknown-modifier.yml:11:"
            .to_owned(),
    ] {
        assert!(text.contains(&wanted), "{wanted}\n{}", &text[text.find("id=\"scan\"").unwrap()..]);
    }
    // Nothing is said that was not asked.
    assert!(!text.contains("<dt>Pipelines</dt>") && !text.contains("Doubtful in the rules"));
}

#[test]
fn deleted_records_are_counted_apart() {
    let shared = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data/evtx");
    if !shared.is_dir() {
        println!("skipped: no shared data");
        return;
    }
    let shared = shared.to_str().unwrap();
    let (plain, all) = (scan(&[shared]), scan(&[shared, "--recover"]));
    assert!(!out(&plain).contains("of them deleted ones"));
    let records = out(&all).lines().find(|line| line.starts_with("Records")).unwrap().to_owned();
    assert!(records.contains(" of them deleted ones"), "{records}");
}
