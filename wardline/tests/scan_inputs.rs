//! `wardline scan`: what goes in: correlations, placeholders, pipelines, standard input, packed logs.

#[path = "common/scan.rs"]
mod common;

use std::fs;
use std::io::Write;

use serde_json::Value;

use common::{command, csv, data, err, json, out, scan};

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
