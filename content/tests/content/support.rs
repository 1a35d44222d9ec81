//! What the tests share: the rules compiled, the cases read.

use std::borrow::Cow;

use serde_json::{Map, Value};
use wardline_event::{LogRecord, LogSource};
use wardline_sigma::{Rule, RuleSet, Scratch};

/// All rules, compiled together; index = position of the file in `wardline_content::rules()`.
pub fn compiled() -> RuleSet {
    let mut all = Vec::new();
    let mut faults = Vec::new();
    for file in wardline_content::rules() {
        match Rule::parse(file.text, file.path) {
            Ok(mut rules) if rules.len() == 1 => all.append(&mut rules),
            Ok(rules) => faults.push(format!("{}: {} rules in one file", file.path, rules.len())),
            Err(e) => faults.push(format!("{}: {e}", file.path)),
        }
    }
    assert!(faults.is_empty(), "rules that cannot be read:\n{}", faults.join("\n"));
    RuleSet::compile(all).unwrap_or_else(|faults| {
        panic!("{}", faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
    })
}

/// True if the rule stops processes by itself.
pub fn kills(rule: &Rule) -> bool {
    rule.extra.get("wardline").and_then(|w| w.get("response")).and_then(Value::as_str) == Some("kill")
}

/// One line of a test file.
pub struct Case {
    pub expect_match: bool,
    pub why: String,
    pub fields: Map<String, Value>,
}

/// Reads a test file; panics with the place of a malformed line.
pub fn cases(path: &str, text: &str) -> Vec<Case> {
    text.lines()
        .enumerate()
        .map(|(i, line)| {
            let at = format!("{path}, test line {}", i + 1);
            let mut json: Map<String, Value> =
                serde_json::from_str(line).unwrap_or_else(|e| panic!("{at}: {e}"));
            let expect_match = match json.get("expect").and_then(Value::as_str) {
                Some("match") => true,
                Some("no match") => false,
                other => panic!("{at}: `expect` is {other:?}, neither `match` nor `no match`"),
            };
            let why = json.get("why").and_then(Value::as_str).unwrap_or_default().to_owned();
            assert!(!why.is_empty(), "{at}: `why` is missing");
            let Some(Value::Object(fields)) = json.remove("event") else {
                panic!("{at}: `event` is missing");
            };
            Case { expect_match, why, fields }
        })
        .collect()
}

/// The indices of the rules that fire.
pub fn firing(
    set: &RuleSet,
    scratch: &mut Scratch,
    source: LogSource<'static>,
    fields: &Map<String, Value>,
) -> Vec<usize> {
    let record = LogRecord::from_json(source, fields);
    let mut hits = Vec::new();
    set.matches(&record, scratch, &mut |index| hits.push(index));
    hits
}

/// A log source with a category.
pub fn source(product: &'static str, category: &str) -> LogSource<'static> {
    LogSource {
        product: Cow::Borrowed(product),
        category: Cow::Owned(category.to_owned()),
        service: Cow::Borrowed(""),
    }
}
