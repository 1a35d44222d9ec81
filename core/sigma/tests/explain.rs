//! Explanations name what contributed to a match, and nothing else.

#![allow(clippy::unwrap_used, reason = "a test stops where it fails")]

use serde_json::{Value as Json, json};
use wardline_event::{LogRecord, LogSource};
use wardline_sigma::{Rule, RuleSet};

const RULE: &str = r"
title: t
logsource: {product: windows}
detection:
  selection_img:
    Image|endswith: ['\cmd.exe', '\powershell.exe']
  selection_cmd:
    CommandLine|contains: [' -enc ', 'IEX', 'hidden']
    Ports: [80, 443]
  words: [mimikatz]
  filter:
    User: [SYSTEM, null]
  condition: (1 of selection_* or words) and not filter
";

/// Reasons as `selection|field|pattern|value`.
fn reasons(rule: &str, event: Json) -> Vec<String> {
    let Json::Object(fields) = event else { unreachable!("an object") };
    let event = LogRecord::from_json(LogSource::new("windows", "", ""), &fields);
    let set = RuleSet::compile(Rule::parse(rule, "explain").unwrap()).unwrap();
    let mut matched = false;
    set.matches(&event, &mut set.scratch(), &mut |_| matched = true);
    let reasons = set.explain(0, &event);
    assert!(matched || reasons.is_empty(), "reasons without a match: {reasons:?}");
    reasons.into_iter().map(|r| [r.selection, r.field, r.pattern, r.value].join("|")).collect()
}

#[test]
fn only_what_contributed_is_named() {
    let event =
        json!({"Image": r"C:\CMD.exe", "CommandLine": "x -enc y hidden", "User": "alice", "Ports": 8080});
    // selection_cmd has two values that are there, but the port keeps it from contributing.
    assert_eq!(reasons(RULE, event), [r"selection_img|Image|endswith '\cmd.exe'|C:\CMD.exe"]);
}

#[test]
fn every_true_branch_of_an_or_is_named() {
    let event = json!({
        "Image": r"C:\cmd.exe", "CommandLine": "IEX hidden", "User": "alice", "Ports": [1, 443], "Note": "MIMIKATZ!"
    });
    assert_eq!(
        reasons(RULE, event),
        [
            r"selection_img|Image|endswith '\cmd.exe'|C:\cmd.exe",
            "selection_cmd|CommandLine|contains 'IEX'|IEX hidden",
            "selection_cmd|CommandLine|contains 'hidden'|IEX hidden",
            "selection_cmd|Ports|443|443",
            "words||'mimikatz'|MIMIKATZ!",
        ]
    );
}

#[test]
fn no_match_has_no_reasons() {
    assert!(reasons(RULE, json!({"Image": r"C:\cmd.exe", "User": "system"})).is_empty());
    assert!(reasons(RULE, json!({"Image": r"C:\cmd.exe"})).is_empty(), "a missing user is filtered as null");
    assert!(reasons(RULE, json!({"User": "alice"})).is_empty());
}

#[test]
fn what_is_absent_is_not_shown_and_double_negation_is_seen_through() {
    let rule = |condition: &str| {
        format!(
            "title: t\nlogsource: {{product: windows}}\ndetection:\n  a: {{A: x}}\n  b: {{B: y}}\n  condition: {condition}\n"
        )
    };
    assert!(reasons(&rule("not a"), json!({"A": "z"})).is_empty());
    assert_eq!(reasons(&rule("not (not a or b)"), json!({"A": "x"})), ["a|A|'x'|x"]);
    assert_eq!(reasons(&rule("a or not b"), json!({"A": "x"})), ["a|A|'x'|x"]);
}

#[test]
fn long_values_are_cut_and_encodings_are_one_reason() {
    let rule = "title: t\nlogsource: {product: windows}\ndetection:\n  s: {A|base64offset|contains: 'http://'}\n  condition: s\n";
    // The text at two offsets, so that two spellings of one value are there.
    let value = format!("aHR0cDovL aHR0cHMAAhodHRwOi8v {}", "é".repeat(2000));
    let found = reasons(rule, json!({ "A": value }));
    assert_eq!(found.len(), 1);
    assert!(found[0].starts_with("s|A|base64offset|contains 'http://'|aHR0"));
    assert_eq!(found[0].rsplit('|').next().unwrap().chars().count(), 1000);
}

#[test]
fn attributes_are_read_as_written() {
    let text = "title: T\nid: x-1\nstatus: test\nlevel: high\nauthor: A\nlogsource: {service: s}\ntags: [attack.t1059.001, attack.T1486, attack.execution, attack.t1059.001, cve.2021-1]\nfalsepositives: None known\nreferences: [r1, r2]\nwardline: {respond: kill, after: 3}\ndetection: {s: {A: x}, condition: s}\n";
    let two = format!("# first\n{text}---\n# second\n{}", text.replace("x-1", "x-2"));
    let rules = Rule::parse(&two, "two.yml").unwrap();
    assert_eq!(rules.len(), 2);
    let rule = &rules[1];
    assert_eq!((rule.id.as_str(), rule.line), ("x-2", 15));
    assert_eq!(rule.log_source, LogSource::new("", "", "s"));
    assert_eq!(rule.techniques().iter().map(|t| t.0.as_str()).collect::<Vec<_>>(), ["T1059.001", "T1486"]);
    assert_eq!(rule.false_positives, ["None known"]);
    assert_eq!(rule.extra["wardline"], json!({"respond": "kill", "after": 3}));
    assert_eq!(rule.source, format!("# second\n{}", text.replace("x-1", "x-2")));
    assert_eq!(rules[0].source, format!("# first\n{text}"));
    assert_eq!(Rule::parse(text, "one.yml").unwrap()[0].source, text);
}
