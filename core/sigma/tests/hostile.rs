//! Input made to break the engine: it answers with an error or a verdict, never with a panic or without end.

#![allow(clippy::unwrap_used, reason = "a test stops where it fails")]

use proptest::prelude::*;
use serde_json::{Map, Value as Json, json};
use wardline_event::{Fields, LogRecord, LogSource, Value};
use wardline_sigma::{Rule, RuleSet};

const RULE: &str = r"title: Whole
id: 2f1c7b52-6c5e-4c3e-9f0e-6a0f5f1f3c11
level: high
tags: [attack.t1059.001, attack.execution]
logsource: {product: windows, category: process_creation}
detection:
  selection:
    Image|endswith: ['\cmd.exe', '\powershell.exe']
    CommandLine|contains|all|windash: [' -enc ', 'a*b?c\*']
  list:
    - User|re|i: '^adm.*\d$'
    - DestinationIp|cidr: 10.0.0.0/8
    - keyword
  filter_main: {ParentImage: null, Size|gt: 5, Other|fieldref: User}
  condition: selection and 1 of list* or not (filter_main and not list)
";

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn any_text_is_a_rule_or_an_error(text in any::<String>()) {
        let _ = Rule::parse(&text, "fuzz");
    }

    #[test]
    fn any_yaml_like_text_is_a_rule_or_an_error(text in r"([-:|>&*!%@?\[\]{}#'\x22,a \n]|---|\n  )*") {
        let _ = Rule::parse(&text, "fuzz");
    }

    /// A valid rule with a piece cut out and another put in.
    #[test]
    fn a_damaged_rule_is_a_rule_or_an_error(
        from in 0..RULE.len(), length in 0..40usize, put in r"[-:|>&*!%'\x22\[\]{}#,a\\ \n()é]{0,12}",
    ) {
        let to = (from + length).min(RULE.len());
        let (Some(head), Some(tail)) = (RULE.get(..from), RULE.get(to..)) else { return Ok(()) };
        if let Ok(rules) = Rule::parse(&format!("{head}{put}{tail}"), "fuzz") {
            let (set, _) = RuleSet::compile_lossy(rules);
            let mut scratch = set.scratch();
            let event = record(json!({"Image": "c:\\cmd.exe", "CommandLine": put, "User": "adm1"}));
            set.matches(&event, &mut scratch, &mut |_| {});
        }
    }

}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn any_condition_is_read_or_refused(condition in r"(sel|other| and | or |not |1 of |all of |them|\(|\)|\*|_|é|\|)*") {
        let text = format!(
            "title: t\nlogsource: {{product: p}}\ndetection:\n  sel: {{a: b}}\n  other: {{a: c}}\n  condition: '{condition}'\n"
        );
        let _ = Rule::parse(&text, "fuzz");
    }

    #[test]
    fn any_modifiers_are_read_or_refused(key in r"F?(\|(contains|all|re|i|cidr|windash|base64|base64offset|wide|utf16|neq|gt|exists|expand|cased|fieldref|hour|week|lt|é|))*", value in any::<String>()) {
        let value = serde_json::to_string(&value).unwrap();
        let text = format!(
            "title: t\nlogsource: {{product: p}}\ndetection:\n  sel: {{'{key}': {value}}}\n  condition: sel\n"
        );
        if let Ok(rules) = Rule::parse(&text, "fuzz") {
            let (set, _) = RuleSet::compile_lossy(rules);
            let mut event = record(json!({"F": value}));
            event.source = LogSource::new("p", "", "");
            set.matches(&event, &mut set.scratch(), &mut |_| {});
        }
    }
}

fn record(fields: Json) -> LogRecord {
    let Json::Object(fields) = fields else { unreachable!("an object") };
    LogRecord::from_json(LogSource::new("windows", "process_creation", ""), &fields)
}

fn rule_of(detection: &str) -> String {
    format!("title: t\nlogsource:\n  product: windows\ndetection:\n{detection}")
}

fn code(text: &str) -> &'static str {
    Rule::parse(text, "hostile").map_or_else(|e| e.code, |_| "none")
}

fn matches(text: &str, event: &dyn Fields) -> bool {
    let set = RuleSet::compile(Rule::parse(text, "hostile").unwrap()).unwrap();
    let mut matched = false;
    set.matches(event, &mut set.scratch(), &mut |_| matched = true);
    matched
}

#[test]
fn oversized_rules_are_refused() {
    assert_eq!(
        code(&rule_of(&format!("  sel:\n    a: {}\n  condition: sel\n", "x".repeat(1 << 20)))),
        "S002"
    );
    assert_eq!(code(&rule_of(&format!("  sel:\n    a: {}\n  condition: sel\n", "x".repeat(40_000)))), "S002");
    let many: String = (0..60_000).map(|i| format!("      - x{i}\n")).collect::<Vec<_>>().concat();
    assert_eq!(code(&rule_of(&format!("  sel:\n    a:\n{many}  condition: sel\n"))), "S002");
    let regexes: String = (0..300).map(|i| format!("      - x{i}\n")).collect::<Vec<_>>().concat();
    assert_eq!(code(&rule_of(&format!("  sel:\n    a|re:\n{regexes}  condition: sel\n"))), "S002");
    let long = "sel or ".repeat(5000);
    assert_eq!(code(&rule_of(&format!("  sel:\n    a: b\n  condition: {long} sel\n"))), "S002");
    let deep = "(".repeat(500_000);
    assert_eq!(code(&rule_of(&format!("  sel:\n    a: b\n  condition: '{deep}'\n"))), "S002");
    // Either the YAML parser or our own limit stops these.
    assert!(matches!(code(&format!("title: {}", "[".repeat(900_000))), "S001" | "S002"));
    assert!(matches!(code(&format!("title: {}", "{a: ".repeat(200_000))), "S001" | "S002"));
    assert_eq!(code(&rule_of("  sel:\n    a|re: '((a{100}){100}){100}'\n  condition: sel\n")), "S002");
    assert_eq!(
        code(&rule_of(&format!("  sel:\n    a|re: '{}'\n  condition: sel\n", "(".repeat(10_000)))),
        "S032"
    );
}

#[test]
fn a_set_takes_only_so_much_text() {
    // 24 bytes a value in 25 spellings each, in many rules.
    let values: Vec<String> = (0..10_000).map(|i| format!("      - ' -abcdefgh{i:06} /qrst'\n")).collect();
    let rule = rule_of(&format!("  sel:\n    a|windash:\n{}  condition: sel\n", values.concat()));
    let rules = Rule::parse(&rule, "hostile").unwrap();
    let many: Vec<Rule> = rules.iter().cycle().take(4).cloned().collect();
    let (set, errors) = RuleSet::compile_lossy(many);
    assert_eq!((set.rules().len(), errors.len()), (1, 3));
    assert!(errors.iter().all(|e| e.code == "S002"));
}

#[test]
fn many_selections_behind_selectors_are_counted() {
    let selections: String = (0..200).map(|i| format!("  sel{i}:\n    a: b\n")).collect::<Vec<_>>().concat();
    let condition = vec!["1 of them"; 30].join(" and ");
    assert_eq!(code(&rule_of(&format!("{selections}  condition: {condition}\n"))), "S002");
}

#[test]
fn many_dashes_do_not_multiply() {
    let dashes = " -a".repeat(200);
    let rule = rule_of(&format!("  sel:\n    a|windash|contains: '{dashes}'\n  condition: sel\n"));
    assert!(matches(&rule, &record(json!({"a": format!("x{}y", " /a".repeat(200))}))));
    assert!(!matches(&rule, &record(json!({"a": format!("x{}y", " /a".repeat(199))}))));
}

#[test]
fn hostile_wildcards_end() {
    let rule = rule_of(&format!("  sel:\n    a: '{}b'\n  condition: sel\n", "*a".repeat(2000)));
    assert!(!matches(&rule, &record(json!({"a": "a".repeat(20_000)}))));
    assert!(matches(&rule, &record(json!({"a": format!("{}b", "a".repeat(20_000))}))));
}

#[test]
fn hostile_events_get_a_verdict() {
    let rule = rule_of("  sel:\n    a|contains: needle\n  word:\n    - haystack\n  condition: sel or word\n");
    let mut deep = json!("a needle");
    for _ in 0..100 {
        deep = json!([deep]);
    }
    assert!(matches(&rule, &record(json!({ "a": deep }))));
    let long = format!("{}NEEDLE", "x".repeat(8 << 20));
    assert!(matches(&rule, &record(json!({ "a": long }))));
    let many: Map<String, Json> = (0..100_000).map(|i| (format!("f{i}"), json!("nothing"))).collect();
    assert!(!matches(&rule, &record(Json::Object(many.clone()))));
    let mut many = many;
    many.insert("last".into(), json!("Haystack"));
    assert!(matches(&rule, &record(Json::Object(many))));
}

/// An event that claims a new log source each time.
struct Liar(String);

impl Fields for Liar {
    fn log_source(&self) -> LogSource<'_> {
        LogSource::new("windows", &self.0, &self.0)
    }

    fn field(&self, name: &str) -> Option<Value<'_>> {
        (name == "a").then(|| Value::str("b"))
    }

    fn each_field(&self, visit: &mut dyn FnMut(&str, Value<'_>)) {
        visit("a", Value::str("b"));
    }
}

#[test]
fn invented_log_sources_find_the_same_rules() {
    let set =
        RuleSet::compile(Rule::parse(&rule_of("  sel:\n    a: b\n  condition: sel\n"), "hostile").unwrap())
            .unwrap();
    let mut scratch = set.scratch();
    for i in 0..3000 {
        let mut matched = 0;
        set.matches(&Liar(format!("source {i}")), &mut scratch, &mut |_| matched += 1);
        assert_eq!(matched, 1);
    }
}

#[test]
fn a_scratch_serves_whichever_rule_set_it_is_given() {
    let set = |value: &str| {
        let text = rule_of(&format!("  sel:\n    a: {value}\n  condition: sel\n"));
        RuleSet::compile(Rule::parse(&text, "hostile").unwrap()).unwrap()
    };
    let (b, c) = (set("b"), set("c"));
    let mut scratch = b.scratch();
    let event = record(json!({"a": "b"}));
    for _ in 0..3 {
        let mut found = Vec::new();
        b.matches(&event, &mut scratch, &mut |_| found.push("b"));
        c.matches(&event, &mut scratch, &mut |_| found.push("c"));
        assert_eq!(found, ["b"]);
    }
}
