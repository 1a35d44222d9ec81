//! Golden cases: `golden/NAME.rule.yml` against each line of `golden/NAME.events.jsonl`. `golden/NAME.expected` has a
//! line for each event: `match` or `no match`; where the file holds several rules, `match: ` and the titles of those
//! that match. `golden/NAME.placeholders.yml`, if there, gives values to placeholders. An event's log source stands under `_logsource`; without one it is that of the first rule.

#![allow(clippy::unwrap_used, reason = "a test stops where it fails")]

mod cases;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use cases::{cases, constructs, golden, options};
use wardline_sigma::Collection;

#[test]
fn every_golden_case_comes_out_as_written() {
    let rules = cases("golden", ".rule.yml");
    assert!(rules.len() >= 140, "only {} cases", rules.len());
    let wrong: Vec<String> = rules.iter().flat_map(|path| golden(path)).collect();
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

/// `constructs.txt` says which cases show which construct of the specification; `examples/constructs.rs` prints it.
#[test]
fn every_construct_of_the_specification_is_right() {
    let constructs = constructs::constructs();
    assert!(constructs.len() >= 90, "only {} constructs", constructs.len());
    let wrong: Vec<String> = constructs.iter().flat_map(constructs::Construct::wrong).collect();
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
    let names: BTreeSet<&str> = constructs.iter().map(|construct| construct.name.as_str()).collect();
    assert_eq!(names.len(), constructs.len(), "each has a name of its own");
    let shown: BTreeSet<&str> = constructs.iter().flat_map(|c| &c.cases).map(String::as_str).collect();
    let of_correlations = cases("correlation", ".rules.yml");
    let name =
        |path: &Path| path.file_name().unwrap().to_str().unwrap().split('.').next().unwrap().to_owned();
    let there: BTreeSet<String> = cases("golden", ".rule.yml")
        .iter()
        .map(|path| name(path))
        .chain(of_correlations.iter().map(|path| format!("correlation/{}", name(path))))
        .collect();
    let there: BTreeSet<&str> = there.iter().map(String::as_str).collect();
    assert_eq!(shown, there, "each case belongs to a construct, and is there");
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
