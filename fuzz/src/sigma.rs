//! Rules that somebody else wrote, and events met by them.

use wardline_event::{Fields, LogRecord, LogSource, Value};
use wardline_sigma::{Rule, RuleSet};

/// What stands between the rule and the event in an input of [`matching`].
const SEPARATOR: &str = "\n=== event ===\n";

/// A record that is only asked for its fields by name.
struct ByName<'a>(&'a LogRecord);

impl Fields for ByName<'_> {
    fn log_source(&self) -> LogSource<'_> {
        self.0.log_source()
    }

    fn field(&self, name: &str) -> Option<Value<'_>> {
        self.0.field(name)
    }

    fn each_field(&self, visit: &mut dyn FnMut(&str, Value<'_>)) {
        self.0.each_field(visit);
    }
}

/// A rule file: read or refused with a place, and what is read can be compiled.
pub fn rule(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    match Rule::parse(text, "fuzz") {
        Ok(rules) => {
            for rule in &rules {
                assert!(rule.line >= 1 && !rule.title.is_empty());
                let _ = rule.techniques();
            }
            let (set, _) = RuleSet::compile_lossy(rules);
            for rule in set.rules() {
                set.prepare(&rule.log_source);
            }
        }
        Err(error) => {
            assert!(error.line >= 1 && !error.to_string().is_empty());
        }
    }
}

/// A rule file and an event as JSON: the compiled set and the plain evaluator behind `explain` say the same, and a
/// record's layout makes no difference.
pub fn matching(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Some((rules, event)) = text.split_once(SEPARATOR) else { return };
    let Ok(serde_json::Value::Object(fields)) = serde_json::from_str(event) else { return };
    let Ok(rules) = Rule::parse(rules, "fuzz") else { return };
    let (set, _) = RuleSet::compile_lossy(rules);
    let mut scratch = set.scratch();
    let sources: Vec<LogSource<'static>> = set.rules().iter().map(|rule| rule.log_source.clone()).collect();
    for (index, source) in sources.iter().enumerate() {
        let event = LogRecord::from_json(source.clone(), &fields);
        let mut matched = Vec::new();
        set.matches(&event, &mut scratch, &mut |rule| matched.push(rule));
        assert!(matched.is_sorted_by(|a, b| a < b), "each rule once, in order: {matched:?}");
        let reasons = set.explain(index, &event);
        let matches = matched.contains(&index);
        assert!(matches || reasons.is_empty(), "no match, and yet reasons: {reasons:?}");
        // Of a `not` there is nothing to show; every other match has a reason.
        let may_be_silent = set.rules()[index].source.to_lowercase().contains("not");
        assert!(!matches || may_be_silent || !reasons.is_empty(), "a match without a reason");
        let mut again = Vec::new();
        set.matches(&event, &mut scratch, &mut |rule| again.push(rule));
        assert_eq!(matched, again, "an event changed the next one's verdict");
        let mut by_name = Vec::new();
        set.matches(&ByName(&event), &mut scratch, &mut |rule| by_name.push(rule));
        assert_eq!(matched, by_name, "a record's layout changed the verdict");
    }
}
