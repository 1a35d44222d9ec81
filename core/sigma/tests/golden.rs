//! Golden cases: `golden/NAME.rule.yml` against each line of `golden/NAME.events.jsonl`. `golden/NAME.expected` has a
//! line for each event: `match` or `no match`; where the file holds several rules, `match: ` and the titles of those
//! that match. `golden/NAME.placeholders.yml`, if there, gives values to placeholders. An event's log source stands under `_logsource`; without one it is that of the first rule.

#![allow(clippy::unwrap_used, reason = "a test stops where it fails")]

mod cases;

use std::fs;
use std::path::Path;

use cases::{cases, event};
use wardline_sigma::{Collection, LinkOptions, Linked, Placeholders};

/// The values of `NAME.placeholders.yml`, if there is one.
fn options(base: &str) -> LinkOptions {
    let mut options = LinkOptions::default();
    if let Ok(text) = fs::read_to_string(format!("{base}.placeholders.yml")) {
        options.placeholders = Placeholders::parse(&text, base).unwrap_or_else(|e| panic!("{e}"));
    }
    options
}

#[test]
fn every_golden_case_comes_out_as_written() {
    let rules = cases("golden", ".rule.yml");
    assert!(rules.len() >= 40, "only {} cases", rules.len());
    let mut wrong = Vec::new();
    for path in rules {
        let base = path.to_str().unwrap().strip_suffix(".rule.yml").unwrap();
        let name = Path::new(base).file_name().unwrap().to_str().unwrap();
        let read = |ending: &str| {
            fs::read_to_string(format!("{base}{ending}")).unwrap_or_else(|e| panic!("{name}: {e}"))
        };
        let collection = Collection::parse(&read(".rule.yml"), name).unwrap_or_else(|e| panic!("{e}"));
        let Linked { rules: set, faults, .. } = collection.link(&options(base));
        assert_eq!(faults, [], "{name}");
        let mut scratch = set.scratch();
        let (events, expected) = (read(".events.jsonl"), read(".expected"));
        let (events, expected): (Vec<&str>, Vec<&str>) =
            (events.lines().collect(), expected.lines().collect());
        assert_eq!(events.len(), expected.len(), "{name}: one line of .expected for each event");
        let shown = |outcome: &str| expected.iter().any(|line| line.starts_with(outcome));
        assert!(shown("match") && shown("no match"), "{name}: shows both outcomes");
        for (i, (line, expected)) in events.iter().zip(&expected).enumerate() {
            let event = event(line, &set.rules()[0].log_source);
            let mut matched = Vec::new();
            set.matches(&event, &mut scratch, &mut |rule| matched.push(set.rules()[rule].title.as_str()));
            let got = match matched[..] {
                [] => "no match".to_owned(),
                _ if set.rules().len() == 1 => "match".to_owned(),
                _ => format!("match: {}", matched.join(", ")),
            };
            if got != *expected {
                wrong.push(format!("{name}, event {}: {got}, expected {expected}: {line}", i + 1));
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

/// `errors/NAME.rule.yml` is a broken rule, `errors/NAME.expected` the message that a person gets.
#[test]
fn every_broken_rule_says_what_is_wrong() {
    let rules = cases("errors", ".rule.yml");
    assert!(rules.len() >= 25, "only {} cases", rules.len());
    let mut wrong = Vec::new();
    for path in rules {
        let base = path.to_str().unwrap().strip_suffix(".rule.yml").unwrap();
        let name = Path::new(base).file_name().unwrap().to_str().unwrap();
        let expected = fs::read_to_string(format!("{base}.expected")).unwrap_or_default();
        let joined = |faults: Vec<_>| faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
        let got = match Collection::parse(&fs::read_to_string(&path).unwrap(), &format!("{name}.yml")) {
            Err(error) => error.to_string(),
            Ok(collection) => joined(collection.link(&options(base)).faults),
        };
        assert!(!got.is_empty(), "{name}: no error");
        if got != expected.trim_end() {
            wrong.push(format!("{got}\n  expected: {}", expected.trim_end()));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}
