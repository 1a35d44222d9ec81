//! `wardline scan`: what it writes for other programs and people, read back; filters; order; interruption.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

fn data() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data")
}

fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wardline"));
    command.arg("scan").args(args).current_dir(data()).env_remove("CLICOLOR_FORCE");
    command
}

fn scan(args: &[&str]) -> Output {
    command(args).output().expect("the binary starts")
}

fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("UTF-8")
}

fn err(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).expect("UTF-8")
}

fn json(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).expect(line)).collect()
}

/// Reads comma-separated values as RFC 4180 has them: the rows, the header first.
fn csv(text: &str) -> Vec<Vec<String>> {
    let (mut rows, mut row, mut cell, mut quoted) = (Vec::new(), Vec::new(), String::new(), false);
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '"' if quoted && chars.peek() == Some(&'"') => cell.extend(chars.next()),
            '"' => quoted = !quoted,
            ',' if !quoted => row.push(std::mem::take(&mut cell)),
            '\r' if !quoted => {
                assert_eq!(chars.next(), Some('\n'));
                row.push(std::mem::take(&mut cell));
                rows.push(std::mem::take(&mut row));
            }
            c => cell.push(c),
        }
    }
    assert!(!quoted && row.is_empty() && cell.is_empty(), "the last row ends");
    for row in &rows {
        assert_eq!(row.len(), rows[0].len(), "{row:?}");
    }
    rows
}

const LOGS: [&str; 6] =
    ["audit.log", "sysmon-linux.syslog", "events.jsonl", "events.xml", "--rules", "rules"];

fn with(rest: &[&'static str]) -> Vec<&'static str> {
    LOGS.iter().chain(rest).copied().collect()
}

/// A log whose every text is out to harm who reads it, and a rule that takes all of it.
fn hostile() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder to write to");
    let texts = [
        "=cmd|' /C calc'!A0",
        "</script><script>document.title='owned'</script>",
        "\"><img src=x onerror=alert(1)>",
        "a\u{1b}[2J\u{9b}31m\u{202e}b\u{2028}c\r\nd,e\"f",
        "' onmouseover='alert(1)",
    ];
    let mut log = String::new();
    for text in texts {
        let event = serde_json::json!({
            "EventID": 1, "Channel": "Microsoft-Windows-Sysmon/Operational", "Computer": text, "CommandLine": text,
            "Image": text, "UtcTime": "2024-11-03 09:00:00.000", text: text,
        });
        log.push_str(&event.to_string());
        log.push('\n');
    }
    fs::write(folder.path().join("a.jsonl"), log).expect("a folder to write to");
    let rule = "title: =Any</title><script>x()</script>\nid: 1c7a4f0e-3f30-4f43-9d2b-0f3fd6f600aa\nlevel: high\n\
        description: </style><script>y()</script>\nreferences: ['javascript:z()', 'https://example.org/\"onload=\"']\n\
        tags: [attack.t1059, '</code><script>']\nlogsource:\n  product: windows\ndetection:\n  any:\n    EventID: 1\n  condition: any\n";
    fs::write(folder.path().join("rule.yml"), rule).expect("a folder to write to");
    folder
}

fn scan_hostile(folder: &Path, rest: &[&str]) -> Output {
    let mut args = vec!["a.jsonl", "--rules", "rule.yml"];
    args.extend(rest);
    let mut command = command(&args);
    command.current_dir(folder).output().expect("the binary starts")
}

#[test]
fn csv_holds_the_same_matches_as_json() {
    let rows = csv(&out(&scan(&with(&["--csv", "-q"]))));
    assert_eq!(
        rows[0].join(" "),
        "time level computer rule_title rule_id tags channel event_id record_id file what event"
    );
    let matches = json(&out(&scan(&with(&["--json", "-q"]))));
    assert_eq!(rows.len(), 1 + matches.len());
    for (row, found) in rows[1..].iter().zip(&matches) {
        let tags: Vec<&str> = found["tags"].as_array().unwrap().iter().map(|t| t.as_str().unwrap()).collect();
        assert_eq!(row[0], found["time"].as_str().unwrap_or_default());
        assert_eq!(row[1], found["level"].as_str().unwrap());
        assert_eq!(row[2], found["computer"].as_str().unwrap_or_default());
        assert_eq!(row[3], found["rule_title"].as_str().unwrap());
        assert_eq!(row[4], found["rule_id"].as_str().unwrap());
        assert_eq!(row[5], tags.join(" "));
        assert_eq!(row[8], found["record_id"].to_string());
        assert_eq!(row[9], found["file"].as_str().unwrap());
        assert_eq!(serde_json::from_str::<Value>(&row[11]).unwrap(), found["event"]);
    }
}

#[test]
fn timesketch_gets_what_it_asks_for() {
    let matches = json(&out(&scan(&with(&["--json", "-q"]))));
    let lines = json(&out(&scan(&with(&["--timesketch", "-q"]))));
    let rows = csv(&out(&scan(&with(&["--timesketch=csv", "-q"]))));
    assert_eq!(rows[0][..3].join(","), "message,datetime,timestamp_desc");
    assert_eq!((lines.len(), rows.len()), (matches.len(), matches.len() + 1));
    for ((line, row), found) in lines.iter().zip(&rows[1..]).zip(&matches) {
        let time = found["time"].as_str().unwrap();
        assert_eq!(line["datetime"].as_str().unwrap(), time.replace('Z', "+00:00"));
        assert_eq!(line["timestamp_desc"], "Event Recorded");
        assert!(line["message"].as_str().unwrap().contains(found["rule_title"].as_str().unwrap()));
        assert_eq!(line["tag"], found["tags"]);
        for (i, name) in rows[0].iter().enumerate().take(4) {
            let text = line[name].as_str().map_or(line[name].to_string(), str::to_owned);
            // A message begins with its level in brackets, so no cell begins like a formula.
            assert_eq!(row[i], text, "{name}");
        }
        // One type for each name: all fields of events are text.
        for (name, value) in line.as_object().unwrap() {
            assert!(
                value.is_string() || ["timestamp", "record_id", "tag"].contains(&name.as_str()),
                "{name}: {value}"
            );
            assert!(!name.contains('.') && !name.starts_with('_'), "{name}");
        }
    }
    // Without a time there is no place on a timeline.
    let folder = tempfile::tempdir().unwrap();
    fs::write(
        folder.path().join("a.jsonl"),
        r#"{"EventID":13,"Channel":"Microsoft-Windows-Sysmon/Operational"}"#,
    )
    .unwrap();
    let log = folder.path().join("a.jsonl");
    let output = scan(&[log.to_str().unwrap(), "--rules", "rules/sysmon-seen.yml", "--timesketch", "-q"]);
    assert_eq!(out(&output), "");
    assert!(err(&output).contains("1 match without a time left out"), "{}", err(&output));
}

#[test]
fn hostile_cells_are_no_formulas_and_no_markup() {
    let folder = hostile();
    for form in ["--csv", "--timesketch=csv"] {
        for cell in csv(&out(&scan_hostile(folder.path(), &[form, "-q"]))).concat() {
            assert!(!cell.starts_with(['=', '+', '-', '@', '\t']), "{cell}");
            assert!(!cell.contains(|c: char| c.is_control() || c == '\u{202e}'), "{cell:?}");
        }
    }
    let output = scan_hostile(folder.path(), &["--html", "page.html", "-q"]);
    assert_eq!(output.status.code(), Some(0), "{}", err(&output));
    let page = fs::read_to_string(folder.path().join("page.html")).unwrap();
    assert_eq!(page.matches("<script").count(), 1, "only the page's own");
    assert_eq!(page.matches("</style").count(), 1);
    assert!(!page.contains("<img") && !page.contains("\u{202e}") && !page.contains('\u{1b}'));
    assert!(!page.contains("href=\"javascript:"), "a rule's reference is no link to run");
    assert!(page.contains("=cmd|&#39; /C calc&#39;!A0"), "what was there is shown as text");
}

/// What the page's policy allows are its own style and script, by their hashes.
#[test]
fn the_page_needs_nobody_else_and_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("page.html");
    scan(&with(&["-q", "--html"]).into_iter().chain([file.to_str().unwrap()]).collect::<Vec<_>>());
    let page = fs::read_to_string(&file).unwrap();
    let policy = page.split("content=\"default-src 'none'; ").nth(1).unwrap().split('"').next().unwrap();
    assert!(policy.starts_with("style-src 'sha256-") && policy.contains("; script-src 'sha256-"), "{policy}");
    for asks in ["src=", "url(", "<link", "@import", "http-equiv=\"refresh", " style=", " onclick="] {
        assert!(!page.contains(asks), "{asks}");
    }
    for part in ["Shadow Copies Removed", "WARD-PC-7", "attack.t1490", "vssadmin.exe delete shadows"] {
        assert!(page.contains(part), "{part}");
    }
}

fn chromium() -> Option<PathBuf> {
    let found =
        ["/usr/bin/chromium", "/usr/bin/chromium-browser"].iter().map(PathBuf::from).find(|p| p.exists());
    if found.is_none() {
        println!("skipped: no Chromium");
    }
    found
}

#[test]
fn the_page_works_in_a_browser_whatever_the_log_holds() {
    let Some(chromium) = chromium() else { return };
    let folder = hostile();
    scan_hostile(folder.path(), &["--html", "page.html", "-q"]);
    let dom = Command::new(chromium)
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--dump-dom"])
        .arg(format!("--user-data-dir={}", folder.path().join("profile").display()))
        .arg(format!("file://{}", folder.path().join("page.html").display()))
        .output()
        .expect("Chromium starts");
    let dom = String::from_utf8_lossy(&dom.stdout);
    // The script ran, so its hash is the policy's; nothing else did.
    assert!(dom.contains("5 of 5 findings, 5 of 5 matches shown"), "{dom}");
    assert!(dom.contains("<title>5 matches – Wardline scan</title>"), "{dom}");
}

#[test]
fn one_thread_finds_what_two_find_in_the_same_order() {
    let folder = tempfile::tempdir().unwrap();
    for n in 0..30 {
        let mut log = String::new();
        for line in 0..(n * 7) % 23 {
            let event = serde_json::json!({
                "EventID": 13, "Channel": "Microsoft-Windows-Sysmon/Operational", "Computer": format!("PC-{}", line % 5),
                "UtcTime": format!("2024-11-{:02} 09:00:{line:02}.000", 1 + n % 28), "Image": format!("{n}-{line}.exe"),
            });
            log.push_str(&event.to_string());
            log.push('\n');
        }
        fs::write(folder.path().join(format!("{n:02}.jsonl")), log).unwrap();
    }
    let path = folder.path().to_str().unwrap();
    for form in [&["-v"][..], &["--json"], &["--csv"], &["--timesketch"]] {
        let run = |threads| {
            let rest = ["--rules", "rules/sysmon-seen.yml", "--threads", threads, path];
            let text = out(&scan(&[form, &rest].concat()));
            text.lines().filter(|l| !l.starts_with("Time ")).map(str::to_owned).collect::<Vec<_>>()
        };
        let (one, two) = (run("1"), run("2"));
        assert!(one.len() > 20, "{one:?}");
        assert_eq!(one, two, "{form:?}");
    }
}

#[test]
fn filters_by_level_tag_rule_time_and_computer() {
    let found = |rest: &[&'static str]| -> BTreeSet<String> {
        let output = scan(&[&with(&["--json", "-q"])[..], rest].concat());
        json(&out(&output)).iter().map(|m| format!("{}: {}", m["computer"], m["rule_title"])).collect()
    };
    let titles = |rest: &[&'static str]| -> Vec<String> {
        found(rest).iter().map(|t| t.split(": ").nth(1).unwrap().trim_matches('"').to_owned()).collect()
    };
    assert_eq!(titles(&["--level", "critical"]).len(), 2);
    assert_eq!(
        titles(&["--tag", "attack.t1059"]),
        [
            "Shell Bound to a Network Connection",
            "Audit Record by Its Own Field Names",
            "Web Server Account Runs a Downloaded Script"
        ]
    );
    assert_eq!(
        titles(&["--tag", "attack.impact", "--exclude-tag", "attack.t1486"]),
        ["Shadow Copies Removed"]
    );
    assert_eq!(titles(&["--rule", "1C7A4F0E-3f30-4f43-9d2b-0f3fd6f60001"]), ["Shadow Copies Removed"]);
    assert_eq!(titles(&["--rule", "shadow cop"]), ["Shadow Copies Removed"]);
    let all = found(&[]);
    let without = found(&["--exclude-rule", "Run Key"]);
    assert!(without.len() < all.len() && without.iter().all(|t| !t.contains("Run Key")), "{without:?}");
    assert!(found(&["--computer", "ward-*"]).iter().all(|t| t.starts_with("\"WARD-PC-7\"")));
    assert_eq!(found(&["--computer", "ward-pc-7"]).len(), found(&["--computer", "ward-*"]).len());
    assert!(found(&["--exclude-computer", "WARD-PC-7"]).iter().all(|t| !t.starts_with("\"WARD")));
    assert_eq!(titles(&["--from", "2024-11-03T09:00:05", "--to", "2024-11-03 09:00"]).len(), 4);
    assert_eq!(found(&["--from", "2024-11-03", "--to", "2024-11-03"]), all);
    assert_eq!(found(&["--from", "2024-11-03T11:00:00+01:00", "--to", "2024-11-03"]).len(), 6);
    assert_eq!(found(&["--to", "2024-11-02"]).len(), 0);

    let output = scan(&with(&["--to", "2024-11-02"]));
    assert!(out(&output).contains("Records    12 read, 12 left out by time or computer"), "{}", out(&output));
    for (args, says) in [
        (
            &["--tag", "attack.t0000"][..],
            "no rule is left: none of 11 has what --level, --tag and --rule ask for",
        ),
        (&["--from", "soon"], "expected a date or a time"),
        (&["--json", "--csv"], "cannot be used with"),
        (&["--output", "matches.xlsx"], "matches.xlsx: its name does not say what to write"),
        (&["--threads", "0"], "0 is not in 1..=256"),
    ] {
        let output = scan(&with(args));
        assert_eq!(output.status.code(), Some(2), "{args:?}: {}", err(&output));
        assert!(err(&output).contains(says), "{args:?}: {}", err(&output));
    }
}

#[test]
fn what_is_written_beside_the_logs_is_no_log() {
    let folder = tempfile::tempdir().unwrap();
    fs::copy(data().join("events.jsonl"), folder.path().join("events.jsonl")).unwrap();
    let rules = data().join("rules");
    let run = || {
        command(&[".", "--rules", rules.to_str().unwrap(), "--output", "matches.jsonl"])
            .current_dir(folder.path())
            .output()
            .unwrap()
    };
    let first = out(&run());
    let written = fs::read_to_string(folder.path().join("matches.jsonl")).unwrap();
    assert_eq!(json(&written).len(), 5);
    assert!(first.contains("Files      1 read"), "the report goes to standard output: {first}");
    let second = out(&run());
    assert!(second.contains("Files      1 read"), "{second}");
    assert_eq!(fs::read_to_string(folder.path().join("matches.jsonl")).unwrap(), written);
    // What cannot be written is told before anything is read.
    let output = scan(&with(&["--output", "/proc/no-such-folder/a.csv"]));
    assert_eq!(output.status.code(), Some(1));
    assert!(err(&output).contains("/proc/no-such-folder/a.csv: "), "{}", err(&output));
}

#[test]
fn an_interrupted_scan_reports_what_it_found() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("a.jsonl");
    // Enough to be still at it when the signal comes.
    fs::write(
        &log,
        "{\"EventID\":13,\"Channel\":\"Microsoft-Windows-Sysmon/Operational\"}\n".repeat(2_000_000),
    )
    .unwrap();
    let mut child = command(&[log.to_str().unwrap(), "--rules", "rules/sysmon-seen.yml", "--json"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    lines.next().unwrap().unwrap();
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    let began = Instant::now();
    let mut found = 0;
    for line in lines {
        serde_json::from_str::<Value>(&line.unwrap()).expect("a whole line");
        found += 1;
    }
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130), "{}", err(&output));
    assert!(began.elapsed() < Duration::from_secs(20));
    assert!(found < 2_000_000 - 1);
    let text = err(&output);
    let matches = format!("Matches    {} by 1 rule in 1 file\n", thousands(found + 1));
    assert!(text.contains(&matches), "{matches} in {text}");
    assert!(text.contains("0 read, 1 not read or not to their end (interrupted)"), "{text}");
    assert!(text.contains("interrupted: the results are those of what was read until then"), "{text}");
}

fn thousands(n: usize) -> String {
    let digits = n.to_string();
    let groups: Vec<&str> =
        digits.as_bytes().rchunks(3).rev().map(|c| std::str::from_utf8(c).expect("digits")).collect();
    groups.join(",")
}

const LOGINS: &str = "
title: Failed login
id: 1c7a4f0e-3f30-4f43-9d2b-0f3fd6f60101
name: failed_login
level: low
logsource: {product: windows, service: security}
detection: {selection: {EventID: 4625}, condition: selection}
---
title: Login
id: 1c7a4f0e-3f30-4f43-9d2b-0f3fd6f60102
name: login
level: informational
logsource: {product: windows, service: security}
detection: {selection: {EventID: 4624}, condition: selection}
---
title: Many failed logins
id: 1c7a4f0e-3f30-4f43-9d2b-0f3fd6f60103
name: many_failed
level: medium
tags: [attack.credential-access, attack.t1110]
correlation:
  type: event_count
  rules: failed_login
  group-by: [Computer, TargetUserName]
  timespan: 5m
  condition: {gte: 3}
---
title: Password guessed
id: 1c7a4f0e-3f30-4f43-9d2b-0f3fd6f60104
level: critical
tags: [attack.credential-access, attack.t1110.001]
correlation:
  type: temporal_ordered
  rules: [many_failed, login]
  group-by: [Computer, TargetUserName]
  timespan: 10m
";

/// Three failed logins and one that succeeds, in files that come in the wrong order; and one more without a time.
fn guessed() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder to write to");
    let event = |id: u32, second: u32| {
        let event = serde_json::json!({
            "EventID": id, "Channel": "Security", "Provider_Name": "Microsoft-Windows-Security-Auditing",
            "Computer": "WARD-PC-7", "TargetUserName": "r.hale", "EventRecordID": second,
            "@timestamp": format!("2024-11-03T09:00:{second:02}.000Z"),
        });
        event.to_string() + "\n"
    };
    let timeless =
        r#"{"EventID":4625,"Channel":"Security","Computer":"WARD-PC-7","TargetUserName":"r.hale"}"#;
    for (name, text) in [
        ("1.jsonl", event(4624, 40) + timeless + "\n"),
        ("2.jsonl", event(4625, 30) + &event(4625, 10)),
        ("3.jsonl", event(4625, 20)),
        ("rule.yml", LOGINS.to_owned()),
    ] {
        fs::write(folder.path().join(name), text).expect("a file to write to");
    }
    folder
}

#[test]
fn correlations_are_found_across_files_and_shown_with_their_events() {
    let folder = guessed();
    let run = |rest: &[&str]| {
        let args = [&["1.jsonl", "2.jsonl", "3.jsonl", "--rules", "rule.yml"], rest].concat();
        command(&args).current_dir(folder.path()).output().expect("the binary starts")
    };
    for threads in ["1", "2"] {
        let output = run(&["--json", "-q", "--threads", threads]);
        let found = json(&out(&output));
        // What a correlation counts is not told by itself.
        assert_eq!(found.len(), 1, "{}{}", out(&output), err(&output));
        let found = &found[0];
        assert_eq!(found["rule_title"], "Password guessed");
        assert_eq!(found["level"], "critical");
        assert_eq!((&found["file"], &found["record_id"]), (&Value::Null, &Value::Null));
        assert_eq!(
            (&found["computer"], &found["time"]),
            (&"WARD-PC-7".into(), &"2024-11-03T09:00:40.000Z".into())
        );
        let correlation = &found["correlation"];
        assert_eq!(correlation["type"], "temporal_ordered");
        assert_eq!(
            correlation["group"],
            serde_json::json!({"Computer": "WARD-PC-7", "TargetUserName": "r.hale"})
        );
        let events: Vec<_> =
            correlation["events"].as_array().unwrap().iter().map(|e| (&e["file"], &e["time"])).collect();
        let at = |second: u32| Value::from(format!("2024-11-03T09:00:{second}.000Z"));
        let files = ["2.jsonl", "3.jsonl", "2.jsonl", "1.jsonl"].map(Value::from);
        let times = [at(10), at(20), at(30), at(40)];
        assert_eq!(events, files.iter().zip(&times).collect::<Vec<_>>());
    }
    let text = out(&run(&[]));
    for part in [
        "WARD-PC-7  critical 1\n",
        "Correlations and their events\n",
        "2024-11-03T09:00:10.000Z WARD-PC-7",
        "1 not correlated (they say no time)",
        "  credential-access  T1110.001 1\n",
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
    assert_eq!(json(&out(&run(&["--timesketch", "-q"])))[0]["data_type"], "wardline:sigma:correlation");
    let rows = csv(&out(&run(&["--csv", "-q"])));
    assert_eq!(rows.len(), 2);
    assert_eq!(serde_json::from_str::<Value>(&rows[1][11]).unwrap()["events"].as_array().unwrap().len(), 4);
    // A filter of rules is one of what is reported, not of what is counted.
    assert_eq!(json(&out(&run(&["--json", "-q", "--tag", "attack.t1110.001"]))).len(), 1);
    assert_eq!(json(&out(&run(&["--json", "-q", "--rule", "Failed login"]))).len(), 0);
}

#[test]
fn placeholders_get_their_values_from_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let rule = "title: Administrator\nid: 1c7a4f0e-3f30-4f43-9d2b-0f3fd6f60201\nlogsource: {product: windows}\n\
        detection:\n  a: {TargetUserName|expand: '%Administrators%'}\n  condition: a\n";
    fs::write(folder.path().join("rule.yml"), rule).unwrap();
    fs::write(folder.path().join("names.yml"), "Administrators: [adm_*, root]\n").unwrap();
    fs::write(folder.path().join("wrong.yml"), "- Administrators\n").unwrap();
    let log = r#"{"EventID":4624,"Channel":"Security","TargetUserName":"ADM_hale"}"#;
    fs::write(folder.path().join("a.jsonl"), log).unwrap();
    let run = |rest: &[&str]| {
        let args = [&["a.jsonl", "--rules", "rule.yml", "--json", "-q"], rest].concat();
        command(&args).current_dir(folder.path()).output().expect("the binary starts")
    };
    assert_eq!(run(&[]).status.code(), Some(2), "the rule alone cannot be used");
    assert_eq!(json(&out(&run(&["--placeholders", "names.yml"]))).len(), 1);
    for (file, says) in
        [("wrong.yml", "wrong.yml:1:1: S003"), ("none.yml", "none.yml: cannot be read: No such file")]
    {
        let output = run(&["--placeholders", file]);
        assert_eq!(output.status.code(), Some(2));
        assert!(err(&output).contains(says), "{}", err(&output));
    }
}

#[test]
fn standard_input_gives_what_the_file_gives() {
    for log in ["audit.log", "sysmon-linux.syslog", "events.jsonl", "events.xml"] {
        let file = scan(&[log, "--rules", "rules", "--json", "-q"]);
        let piped = command(&["-", "--rules", "rules", "--json", "-q"])
            .stdin(fs::File::open(data().join(log)).unwrap())
            .output()
            .unwrap();
        assert_eq!(
            out(&piped),
            out(&file).replace(&format!("\"file\":\"{log}\""), "\"file\":\"standard input\"")
        );
        assert_eq!(err(&piped), err(&file).replace(log, "standard input"));
        assert_eq!(piped.status.code(), file.status.code());
        assert!(!out(&file).is_empty());
    }
    let twice = scan(&["-", "-"]);
    assert_eq!(twice.status.code(), Some(2));
    assert!(err(&twice).contains("standard input can be read once only"), "{}", err(&twice));
}

#[test]
fn packed_logs_give_what_the_plain_ones_give() {
    let folder = tempfile::tempdir().unwrap();
    let logs = ["audit.log", "events.jsonl", "events.xml"];
    let mut archive = zip::ZipWriter::new(fs::File::create(folder.path().join("all.zip")).unwrap());
    for log in logs {
        let plain = fs::read(data().join(log)).unwrap();
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(&plain).unwrap();
        fs::write(folder.path().join(format!("{log}.gz")), gzip.finish().unwrap()).unwrap();
        let zstd = ruzstd::encoding::compress_to_vec(&*plain, ruzstd::encoding::CompressionLevel::Fastest);
        fs::write(folder.path().join(format!("{log}.zst")), zstd).unwrap();
        let stored =
            zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
        archive.start_file(log, stored).unwrap();
        archive.write_all(&plain).unwrap();
    }
    archive.finish().unwrap();
    let rules = data().join("rules");
    let run = |args: &[&str]| {
        let args = [args, &["--rules", rules.to_str().unwrap(), "--json", "-q"]].concat();
        let output = command(&args).current_dir(folder.path()).output().unwrap();
        let mut found = json(&out(&output));
        let files: Vec<String> =
            found.iter_mut().map(|m| m["file"].take().as_str().unwrap().to_owned()).collect();
        (found, files)
    };
    let plain = json(&out(&scan(&[&logs[..], &["--rules", "rules", "--json", "-q"]].concat())));
    let plain: Vec<Value> = plain
        .into_iter()
        .map(|mut found| {
            found["file"].take();
            found
        })
        .collect();
    assert!(plain.len() > 10);
    assert_eq!(run(&["audit.log.gz", "events.jsonl.gz", "events.xml.gz"]).0, plain);
    assert_eq!(run(&["audit.log.zst", "events.jsonl.zst", "events.xml.zst"]).0, plain);
    let (found, files) = run(&["all.zip"]);
    assert_eq!(found, plain);
    assert_eq!(
        (files.first().unwrap().as_str(), files.last().unwrap().as_str()),
        ("all.zip/audit.log", "all.zip/events.xml")
    );
    // A folder is searched for them, too; the members of an archive count as files.
    let output =
        command(&[".", "--rules", rules.to_str().unwrap()]).current_dir(folder.path()).output().unwrap();
    assert!(out(&output).contains("\nFiles      9 read\n"), "{}", out(&output));
    assert!(out(&output).contains(&format!("\nMatches    {} by", 3 * plain.len())), "{}", out(&output));
}

#[test]
fn a_pipeline_makes_rules_fit_other_names() {
    let folder = tempfile::tempdir().unwrap();
    let rule = "title: Shadow copies\nid: 1c7a4f0e-3f30-4f43-9d2b-0f3fd6f60301\n\
        logsource: {product: windows, category: process_creation}\n\
        detection:\n  a: {CommandLine|contains: shadows}\n  condition: a\n";
    fs::write(folder.path().join("rule.yml"), rule).unwrap();
    let pipeline = "pipeline: our-json\nsteps:\n  - for: {product: windows, category: process_creation}\n    \
        rename: {CommandLine: process.command_line}\n";
    fs::write(folder.path().join("our-json.yml"), pipeline).unwrap();
    fs::write(folder.path().join("a.jsonl"), r#"{"process":{"command_line":"vssadmin delete shadows"}}"#)
        .unwrap();
    let run = |rest: &[&str]| {
        let fixed =
            ["a.jsonl", "--rules", "rule.yml", "--json", "-q", "--log-source", "windows/process_creation/"];
        command(&[&fixed, rest].concat()).current_dir(folder.path()).output().expect("the binary starts")
    };
    assert_eq!(out(&run(&[])), "");
    assert_eq!(json(&out(&run(&["--pipeline", "our-json.yml"]))).len(), 1);
    let output = run(&["--pipeline", "a.jsonl"]);
    assert_eq!(output.status.code(), Some(2), "no pipeline: {}", err(&output));
    assert!(err(&output).contains("a.jsonl:1:2: S080"), "{}", err(&output));
}
