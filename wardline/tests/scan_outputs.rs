//! `wardline scan`: what it writes for other programs and people, read back; filters; order; interruption.

#[path = "common/scan.rs"]
mod common;

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use common::{command, csv, data, err, json, out, scan};

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
