//! `wardline rules test`, end to end: a repository in SigmaHQ's layout, made by the test.

#![allow(clippy::unwrap_used, reason = "a test stops where it fails")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::{Value, json};

fn run(folder: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_wardline"))
        .args(["rules", "test"])
        .args(args)
        .current_dir(folder)
        .output()
        .expect("the binary starts")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

const WHOAMI: &str = "11111111-1111-4111-8111-111111111111";
const LINUX: &str = "22222222-2222-4222-8222-222222222222";
const BROKEN: &str = "33333333-3333-4333-8333-333333333333";
const NOWHERE: &str = "44444444-4444-4444-8444-444444444444";

fn rule(id: &str, title: &str, product: &str, condition: &str) -> String {
    format!(
        "title: {title}\nid: {id}\nlevel: low\nlogsource: {{product: {product}, category: process_creation}}\n\
         detection:\n  selection:\n    Image|endswith: 'whoami.exe'\n  condition: {condition}\n"
    )
}

fn info(id: &str, path: &str, count: u64) -> String {
    format!(
        "id: 99999999-9999-4999-8999-999999999999\ndescription: N/A\ndate: 2026-01-31\nauthor: Somebody\n\
         rule_metadata:\n    - id: {id}\n      title: Whatever\nregression_tests_info:\n    - name: Positive Detection \
         Test\n      type: json\n      provider: Microsoft-Windows-Sysmon\n      match_count: {count}\n      path: {path}\n"
    )
}

fn sysmon(image: &str) -> String {
    let system = json!({
        "Channel": "Microsoft-Windows-Sysmon/Operational", "EventID": 1, "Computer": "PC-7",
        "Provider": {"#attributes": {"Name": "Microsoft-Windows-Sysmon"}}, "EventRecordID": 1,
    });
    json!({"Event": {"System": system, "EventData": {"Image": image, "CommandLine": "x"}}}).to_string()
}

fn put(root: &Path, path: &str, text: &str) -> PathBuf {
    let path = root.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, text).unwrap();
    path
}

/// Of three processes two are whoami.
fn repository() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    put(root, "rules/windows/whoami.yml", &rule(WHOAMI, "Whoami", "windows", "selection"));
    put(root, "rules-threat-hunting/linux.yml", &rule(LINUX, "Whoami on Linux", "linux", "selection"));
    put(root, "rules/broken.yml", &rule(BROKEN, "Broken", "windows", "selectoin"));
    let events = [r"C:\Windows\System32\whoami.exe", r"C:\a.exe", r"D:\WHOAMI.exe"].map(sysmon).join("\n");
    put(root, "regression_data/rules/windows/whoami/data.json", &events);
    let data = "regression_data/rules/windows/whoami/data.json";
    put(root, "regression_data/rules/windows/whoami/info.yml", &info(WHOAMI, data, 2));
    folder
}

#[test]
fn a_test_that_comes_out_as_expected_passes_from_wherever_it_is_run() {
    let folder = repository();
    let root = folder.path();
    let whoami = root.join("regression_data/rules/windows/whoami");
    for (at, args) in [
        (root, vec!["regression_data"]),
        (root, vec!["."]),
        (whoami.as_path(), vec!["."]),
        (whoami.as_path(), vec!["info.yml"]),
        (Path::new("/"), vec![whoami.to_str().unwrap()]),
    ] {
        let output = run(at, &args);
        let out = text(&output.stdout);
        assert_eq!(output.status.code(), Some(0), "{args:?}: {out}{}", text(&output.stderr));
        assert!(out.contains("ok            2      2  Whoami "), "{out}");
        assert!(out.ends_with("1 file: 1 as expected, 0 not, 0 could not be run\n"), "{out}");
    }
    // The recording lies beside the info.yml, and the rules elsewhere.
    let elsewhere = tempfile::tempdir().unwrap();
    put(elsewhere.path(), "info.yml", &info(WHOAMI, "regression_data/moved/data.json", 2));
    fs::copy(whoami.join("data.json"), elsewhere.path().join("data.json")).unwrap();
    let rules = root.join("rules/windows");
    let output = run(elsewhere.path(), &[".", "--rules", rules.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stdout));
}

#[test]
fn whatever_keeps_a_test_from_passing_is_told_and_fails() {
    let folder = repository();
    let root = folder.path();
    let data = "regression_data/rules/windows/whoami/data.json";
    put(root, "regression_data/b/info.yml", &info(WHOAMI, data, 3));
    put(root, "regression_data/c/info.yml", &info(LINUX, data, 2));
    put(root, "regression_data/d/info.yml", &info(BROKEN, data, 1));
    put(root, "regression_data/e/info.yml", &info(NOWHERE, data, 1));
    put(root, "regression_data/f/info.yml", &info(WHOAMI, "regression_data/f/lost.evtx", 1));
    put(root, "regression_data/g/info.yml", "rule_metadata: oops\n");
    put(root, "regression_data/h/info.yml", &info(WHOAMI, "regression_data/h/text.raw", 1));
    put(root, "regression_data/h/text.raw", "no log at all\n");
    let output = run(root, &["regression_data", "--json"]);
    assert_eq!(output.status.code(), Some(1));
    let lines: Vec<Value> = text(&output.stdout).lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    let wanted = [
        (json!(2), Some(3), "3 records in the recording"),
        (
            json!(0),
            Some(2),
            "2 match but for their log source: windows/process_creation/sysmon, the rule is for linux/process_creation/-",
        ),
        (json!(null), Some(1), "S041"),
        (json!(null), Some(1), "no rule has the id 44444444"),
        (json!(null), Some(1), "lost.evtx is not there"),
        (json!(null), None, "`rule_metadata` must be a list"),
        (json!(null), Some(1), "text.raw"),
    ];
    assert_eq!(lines.len(), wanted.len() + 1, "{lines:#?}");
    for (line, (got, expected, why)) in lines.iter().zip(&wanted) {
        assert_eq!((&line["got"], &line["expected"]), (got, &json!(expected)), "{line}");
        assert!(line["why"].as_str().unwrap().contains(why), "{why}: {line}");
        assert_eq!(line["passed"], false);
    }
    assert_eq!(lines[7]["passed"], true);
    let total = text(&output.stderr);
    assert!(total.ends_with("8 files: 1 as expected, 2 not, 5 could not be run\n"), "{total}");
    assert_eq!(run(&root.join("rules"), &["."]).status.code(), Some(2), "no test there");
}

/// The count is the least that is expected, as in SigmaHQ's own runner: more is told and passes, unless `--exact`.
#[test]
fn a_count_is_a_minimum_and_may_be_left_out() {
    let folder = repository();
    let root = folder.path();
    let data = "regression_data/rules/windows/whoami/data.json";
    let without = |text: &str| text.replace("      match_count: 9\n", "");
    fs::remove_file(root.join("regression_data/rules/windows/whoami/info.yml")).unwrap();
    put(root, "regression_data/a/info.yml", &info(WHOAMI, data, 1));
    put(root, "regression_data/b/info.yml", &without(&info(WHOAMI, data, 9)));
    put(root, "regression_data/c/info.yml", &info(WHOAMI, data, 0));
    put(root, "regression_data/d/none.json", &sysmon("b.exe"));
    put(root, "regression_data/d/info.yml", &info(WHOAMI, "regression_data/d/none.json", 0));
    put(root, "regression_data/e/info.yml", &without(&info(WHOAMI, "regression_data/d/none.json", 9)));
    put(root, "regression_data/f/info.yml", "rule_metadata: [{id: x}]\n# regression_tests_info: later\n");
    let results = |args: &[&str]| -> (Option<i32>, Vec<Value>, String) {
        let output = run(root, args);
        let lines = text(&output.stdout).lines().map(|l| serde_json::from_str(l).unwrap()).collect();
        (output.status.code(), lines, text(&output.stderr))
    };
    let passed = |lines: &[Value]| lines.iter().map(|l| l["passed"] == true).collect::<Vec<_>>();
    let (code, lines, total) = results(&["regression_data", "--json"]);
    assert_eq!((code, passed(&lines)), (Some(1), vec![true, true, false, true, false]), "{lines:#?}");
    assert_eq!((&lines[0]["expected"], &lines[0]["got"]), (&json!(1), &json!(2)));
    assert!(lines[0]["why"].as_str().unwrap().contains("more match than the test says"), "{}", lines[0]);
    assert_eq!((&lines[1]["expected"], &lines[1]["why"]), (&json!(null), &json!("")));
    assert!(
        total.ends_with(
            "6 files: 3 as expected, 2 not, 0 could not be run; 1 with more matches than expected; 1 file without a test\n"
        ),
        "{total}"
    );
    let (code, lines, _) = results(&["regression_data", "--json", "--exact"]);
    assert_eq!((code, passed(&lines)), (Some(1), vec![false, true, false, true, false]), "{lines:#?}");
    // A test of which only its minimum is passed is no failure.
    let output = run(root, &["regression_data/a", "regression_data/b"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stdout));
    assert!(text(&output.stdout).contains("ok          ≥ 1      2  Whoami "), "{}", text(&output.stdout));
}

/// Tests are found by what rules say of them, and rules wherever they lie: beside the tests, or elsewhere in the
/// repository; ids in large letters and paths written on Windows are the same.
#[test]
fn tests_and_rules_find_each_other() {
    let folder = repository();
    let root = folder.path();
    let at = "regression_data/rules/windows/whoami/info.yml";
    let named =
        format!("{}regression_tests_path: '{at}' # ours\n", rule(WHOAMI, "Whoami", "windows", "selection"));
    put(root, "rules/windows/whoami.yml", &named);
    for folder in ["rules", "rules/windows", "rules/windows/whoami.yml"] {
        let output = run(root, &[folder]);
        assert_eq!(
            output.status.code(),
            Some(0),
            "{folder}: {}{}",
            text(&output.stdout),
            text(&output.stderr)
        );
        assert!(text(&output.stdout).contains("ok            2      2  Whoami "), "{}", text(&output.stdout));
    }
    put(
        root,
        "rules/lost.yml",
        &format!("id: {NOWHERE}\nregression_tests_path: ../regression_data/lost/info.yml\n"),
    );
    let output = run(root, &["rules"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        text(&output.stderr).contains("regression_data/lost/info.yml is not there"),
        "{}",
        text(&output.stderr)
    );

    // Everything in one folder, without a folder `rules`.
    let flat = tempfile::tempdir().unwrap();
    put(flat.path(), "whoami.yml", &rule(&WHOAMI.to_uppercase(), "Whoami", "windows", "selection"));
    put(flat.path(), "tests/a/info.yml", &info(WHOAMI, r"tests\a\data.json", 1));
    put(flat.path(), "tests/a/data.json", &sysmon("c:\\whoami.exe"));
    assert_eq!(run(flat.path(), &["."]).status.code(), Some(0));
    assert_eq!(run(flat.path(), &["tests/a"]).status.code(), Some(1), "nobody says what the repository is");
    fs::create_dir(flat.path().join(".git")).unwrap();
    assert_eq!(run(flat.path(), &["tests/a"]).status.code(), Some(0));
    // The recording is there in another format than the test says.
    put(flat.path(), "tests/a/info.yml", &info(WHOAMI, "tests/a/data.evtx", 1));
    let output = run(flat.path(), &["tests"]);
    assert!(text(&output.stdout).contains("data.evtx is not there"), "{}", text(&output.stdout));
    assert!(text(&output.stdout).contains("; data.json is"), "{}", text(&output.stdout));
}

/// JSON recordings may have names of fields and a shape of their own, which pipelines say; they need not say what they
/// are; filters are put into the rules.
#[test]
fn json_recordings_take_pipelines_and_filters() {
    let folder = repository();
    let root = folder.path();
    let ours = json!({"host": {"process": {"exe": r"C:\whoami.exe"}}, "note": "a"});
    let other = json!({"host": {"process": {"exe": r"C:\whoami.exe"}}, "note": "quiet"});
    put(root, "regression_data/a/data.json", &format!("{ours}\n{other}\n"));
    put(
        root,
        "regression_data/pipelines/names.yml",
        "name: names\npriority: 10\ntransformations:\n  - {type: field_name_mapping, mapping: {Image: host.process.exe}}\n",
    );
    put(
        root,
        "regression_data/filters/quiet.yml",
        &format!(
            "title: Quiet\nlogsource: {{product: windows, category: process_creation}}\nfilter:\n  rules: [{WHOAMI}]\n  \
             selection: {{note: quiet}}\n  condition: not selection\n"
        ),
    );
    let with = |more: &str| info(WHOAMI, "regression_data/a/data.json", 2) + more;
    let pipelines = "      pipelines: [regression_data/pipelines/names.yml]\n";
    put(root, "regression_data/a/info.yml", &with(""));
    put(root, "regression_data/b/info.yml", &with(pipelines));
    put(
        root,
        "regression_data/c/info.yml",
        &with(&format!("{pipelines}      filters: [regression_data/filters/quiet.yml]\n")),
    );
    put(root, "regression_data/d/info.yml", &with("      pipelines: [regression_data/pipelines/lost.yml]\n"));
    // Those for all tests of a file; and the older recording, whose fields have the usual names, with a pipeline that it
    // does not need.
    put(
        root,
        "regression_data/e/info.yml",
        &format!("pipelines: [regression_data/pipelines/names.yml]\n{}", with("")),
    );
    put(
        root,
        "regression_data/f/info.yml",
        &(info(WHOAMI, "regression_data/rules/windows/whoami/data.json", 2) + pipelines),
    );
    fs::remove_file(root.join("regression_data/rules/windows/whoami/info.yml")).unwrap();
    let output = run(root, &["regression_data", "--json"]);
    let lines: Vec<Value> = text(&output.stdout).lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    let got: Vec<&Value> = lines.iter().map(|l| &l["got"]).collect();
    assert_eq!(got, [&json!(0), &json!(2), &json!(1), &json!(null), &json!(2), &json!(2)], "{lines:#?}");
    assert!(lines[3]["why"].as_str().unwrap().contains("lost.yml is not there"), "{}", lines[3]);
}

/// Recorded attacks and public rules: the file is named after what it shows.
#[test]
fn recorded_attacks_pass_with_public_rules() {
    let shared = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data");
    if !shared.join("evtx").is_dir() || !shared.join("sigma/rules").is_dir() {
        println!("skipped: no shared data");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    // The id of the rule "Security Eventlog Cleared"; one event of the recording is 1102: the log was cleared once.
    let (id, name) = ("d99b79d2-0a6f-4f46-ad8b-260b6e17f982", "DE_1102_security_log_cleared.evtx");
    let recording = find(&shared.join("evtx"), name).expect("the sample");
    fs::copy(recording, folder.path().join(name)).unwrap();
    put(folder.path(), "info.yml", &info(id, name, 1));
    let rules = shared.join("sigma/rules/windows");
    let output = run(folder.path(), &[".", "--rules", rules.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(0), "{}{}", text(&output.stdout), text(&output.stderr));
}

fn find(folder: &Path, name: &str) -> Option<PathBuf> {
    fs::read_dir(folder).ok()?.flatten().find_map(|entry| {
        let path = entry.path();
        if path.is_dir() { find(&path, name) } else { path.ends_with(name).then_some(path) }
    })
}

#[test]
fn lint_names_the_rules_without_a_test() {
    let folder = repository();
    let output = Command::new(env!("CARGO_BIN_EXE_wardline"))
        .args([
            "rules",
            "lint",
            "rules/windows",
            "rules-threat-hunting",
            "--tests",
            "regression_data",
            "--json",
        ])
        .current_dir(folder.path())
        .output()
        .unwrap();
    let lines: Vec<Value> = text(&output.stdout).lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    let untested: Vec<&str> =
        lines.iter().filter(|l| l["code"] == "S161").map(|l| l["file"].as_str().unwrap()).collect();
    assert_eq!(untested, ["rules-threat-hunting/linux.yml"]);
}

const MANY: &str = "55555555-5555-4555-8555-555555555555";

/// A correlation is tested like a rule; its count is how often it matches.
#[test]
fn correlations_are_tested_with_the_rules_that_they_count() {
    let folder = repository();
    let root = folder.path();
    put(
        root,
        "rules/windows/many.yml",
        &format!(
            "title: Whoami again and again\nid: {MANY}\nlevel: high\ncorrelation:\n  type: event_count\n  \
             rules: {WHOAMI}\n  group-by: Computer\n  timespan: 1m\n  condition: {{gte: 2}}\n"
        ),
    );
    let at = |second: u64, image: &str| {
        let mut event: Value = serde_json::from_str(&sysmon(image)).unwrap();
        event["Event"]["System"]["TimeCreated"] = json!({"#attributes": {"SystemTime": format!("2024-11-03T10:{:02}:{:02}Z", second / 60, second % 60)}});
        event.to_string()
    };
    // Twice within a minute, one alone, and twice again; not in the order of time.
    let whoami = r"C:\whoami.exe";
    let events =
        [at(600, whoami), at(0, whoami), at(30, whoami), at(300, whoami), at(620, whoami), at(1, "a.exe")];
    put(root, "regression_data/many/data.json", &events.join("\n"));
    let data = "regression_data/many/data.json";
    put(root, "regression_data/many/info.yml", &info(MANY, data, 2));
    put(root, "regression_data/wrong/info.yml", &info(MANY, data, 3));
    put(root, "regression_data/untimed/info.yml", &info(MANY, "regression_data/untimed/data.json", 1));
    put(root, "regression_data/untimed/data.json", &[sysmon(whoami), sysmon(whoami)].join("\n"));
    let output =
        run(root, &["regression_data/many", "regression_data/wrong", "regression_data/untimed", "--json"]);
    let lines: Vec<Value> = text(&output.stdout).lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    assert_eq!(output.status.code(), Some(1), "{lines:#?}");
    assert_eq!(lines.len(), 3);
    let (right, wrong, untimed) = (&lines[0], &lines[1], &lines[2]);
    assert_eq!(
        (&right["got"], &right["passed"], &right["rule"]),
        (&json!(2), &json!(true), &json!("Whoami again and again"))
    );
    assert_eq!((&wrong["got"], &wrong["passed"]), (&json!(2), &json!(false)));
    assert_eq!(untimed["got"], 0);
    assert!(
        untimed["why"].as_str().unwrap().contains("2 records not correlated, since they say no time"),
        "{untimed}"
    );
    // A correlation over a rule that is not there.
    fs::remove_file(root.join("rules/windows/whoami.yml")).unwrap();
    let output = run(root, &["regression_data/many", "--json"]);
    let line: Value = serde_json::from_str(text(&output.stdout).trim()).unwrap();
    assert!(line["why"].as_str().unwrap().contains("S042"), "{line}");
}
