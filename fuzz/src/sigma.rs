//! Rules that somebody else wrote, and events met by them.

use wardline_event::{ByName, LogRecord, LogSource};
use wardline_sigma::{Collection, Rule, RuleError, RuleSet};

/// What stands between the rule and the event in an input of [`matching`].
const SEPARATOR: &str = "\n=== event ===\n";

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

/// The rule whose condition is fuzzed. Event `n` has the fields that the bits of `n` say.
fn rule_with_condition(condition: &str) -> Result<RuleSet, RuleError> {
    // JSON's strings are strings of YAML too.
    let condition = serde_json::Value::from(condition);
    let text = format!(
        "title: Fuzz\nlogsource: {{product: windows}}\ndetection:\n  sel_a: {{A: 1}}\n  sel_b: {{B: 1}}\n  \
         _other: {{C: 1}}\n  condition: {condition}\n"
    );
    RuleSet::compile(Rule::parse(&text, "fuzz")?).map_err(|mut errors| errors.remove(0))
}

/// A condition by itself: if it is read, so is its negation, which holds for exactly the other events; and brackets,
/// or the condition twice, change nothing.
pub fn condition(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let set = match rule_with_condition(text) {
        Ok(set) => set,
        Err(error) => {
            assert!(error.line >= 1 && error.column >= 1 && !error.to_string().is_empty(), "{error:?}");
            return;
        }
    };
    let verdicts = |set: &RuleSet| -> Vec<bool> {
        let mut scratch = set.scratch();
        let event = |n: usize| {
            let present = ["A", "B", "C"].into_iter().enumerate().filter(|(bit, _)| n >> bit & 1 == 1);
            let fields = present.map(|(_, name)| (name.to_owned(), 1.into())).collect();
            LogRecord::from_json(LogSource::new("windows", "", ""), &fields)
        };
        (0..8)
            .map(|n| {
                let mut matches = false;
                set.matches(&event(n), &mut scratch, &mut |_| matches = true);
                matches
            })
            .collect()
    };
    let plain = verdicts(&set);
    for (other, negated) in [
        (format!("not ({text})"), true),
        (format!("({text}) and ({text})"), false),
        (format!("sel_a and not sel_a or ({text})"), false),
    ] {
        let set = match rule_with_condition(&other) {
            Ok(set) => set,
            // Longer, and perhaps too long.
            Err(error) if error.code == "S002" => continue,
            Err(error) => panic!("`{text}` is read and `{other}` is not: {error}"),
        };
        let wanted: Vec<bool> = plain.iter().map(|verdict| verdict ^ negated).collect();
        assert_eq!(verdicts(&set), wanted, "`{other}`, of which the part is {plain:?}");
    }
}

/// A file and how it is formatted: that is at rest, and is read as the file was.
pub fn format(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(formatted) = wardline_sigma::format(text, "fuzz") else { return };
    let again = wardline_sigma::format(&formatted, "fuzz").map_err(|error| error.to_string());
    assert_eq!(again.as_deref(), Ok(&*formatted), "not at rest");
    let read = |text: &str| {
        let collection = Collection::parse(text, "fuzz").map_err(|error| error.code)?;
        let rules: Vec<_> = collection
            .rules
            .into_iter()
            .map(|rule| {
                let names: Vec<String> = rule.field_names().iter().map(|name| (*name).to_owned()).collect();
                (rule.id.clone(), rule.title.clone(), rule.description.clone(), rule.tags.clone(), names)
            })
            .collect();
        Ok::<_, &str>((rules, collection.correlations.len(), collection.filters.len()))
    };
    assert_eq!(read(text), read(&formatted), "formatting changed what the file says");
}
