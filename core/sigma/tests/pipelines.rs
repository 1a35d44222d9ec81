//! Pipelines: `pipelines/NAME.pipeline.yml` (and `NAME.pipeline2.yml`, if there) applied to `NAME.rule.yml`, which is then
//! matched against each line of `NAME.events.jsonl`; `NAME.expected` has `match` or `no match` for each. An event's log
//! source stands under `_logsource`; without one it is that of the rule before the pipelines.
//!
//! `pipeline_correlations/NAME.pipeline.yml` is applied to the correlations of `NAME.rules.yml`; `NAME.expected` has a line for
//! each with the fields that it looks at then. pySigma is asked the same (`tests/sigma_differential/pipelines.py`).

#![allow(clippy::unwrap_used, reason = "a test stops where it fails")]

mod cases;

use std::fs;
use std::path::Path;

use cases::{cases, event};
use wardline_sigma::{
    Collection, Correlation, CorrelationCondition, LinkOptions, Pipeline, Placeholders, RuleSet,
};

fn options(base: &str) -> LinkOptions {
    let mut options = LinkOptions::default();
    for ending in [".pipeline.yml", ".pipeline2.yml"] {
        let path = format!("{base}{ending}");
        if let Ok(text) = fs::read_to_string(&path) {
            options.pipelines.add(Pipeline::parse(&text, &path).unwrap_or_else(|e| panic!("{e}")));
        }
    }
    options
}

#[test]
fn rules_match_what_pipelines_make_of_them() {
    let rules = cases("pipelines", ".rule.yml");
    assert!(rules.len() >= 20, "only {} cases", rules.len());
    let mut wrong = Vec::new();
    for path in rules {
        let base = path.to_str().unwrap().strip_suffix(".rule.yml").unwrap();
        let name = Path::new(base).file_name().unwrap().to_str().unwrap();
        let read = |ending: &str| fs::read_to_string(format!("{base}{ending}")).unwrap();
        let collection = Collection::parse(&read(".rule.yml"), name).unwrap_or_else(|e| panic!("{e}"));
        let source = collection.rules[0].log_source.clone();
        let linked = collection.link(&options(base));
        assert_eq!(linked.faults, [], "{name}");
        let mut scratch = linked.rules.scratch();
        let (events, expected) = (read(".events.jsonl"), read(".expected"));
        assert_eq!(events.lines().count(), expected.lines().count(), "{name}: one line of .expected each");
        assert!(
            expected.contains("no match") && expected.lines().any(|l| l == "match"),
            "{name}: both outcomes"
        );
        for (i, (line, expected)) in events.lines().zip(expected.lines()).enumerate() {
            let mut matched = false;
            linked.rules.matches(&event(line, &source), &mut scratch, &mut |_| matched = true);
            let got = if matched { "match" } else { "no match" };
            if got != expected {
                wrong.push(format!("{name}, event {}: {got}, expected {expected}: {line}", i + 1));
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

fn fields_of(correlation: &Correlation) -> String {
    let mut parts = Vec::new();
    if !correlation.group_by.is_empty() {
        parts.push(format!("group-by {}", correlation.group_by.join(", ")));
    }
    if let CorrelationCondition::Thresholds { fields, .. } = &correlation.condition
        && !fields.is_empty()
    {
        parts.push(format!("field {}", fields.join(", ")));
    }
    for alias in &correlation.aliases {
        parts.extend(alias.fields.iter().map(|(rule, field)| format!("{} is {field} of {rule}", alias.name)));
    }
    format!("{}: {}\n", correlation.attributes.title, parts.join("; "))
}

#[test]
fn correlations_look_at_the_fields_that_pipelines_gave_their_rules() {
    let mut looked_at = 0;
    for path in cases("pipeline_correlations", ".rules.yml") {
        let base = path.to_str().unwrap().strip_suffix(".rules.yml").unwrap();
        let read = |ending: &str| fs::read_to_string(format!("{base}{ending}")).unwrap();
        let linked = Collection::parse(&read(".rules.yml"), base).unwrap().link(&options(base));
        assert_eq!(linked.faults, [], "{base}");
        let found: String = linked.correlations.correlations().iter().map(fields_of).collect();
        assert_eq!(found, read(".expected"), "{base}");
        looked_at += 1;
    }
    assert!(looked_at >= 10, "only {looked_at} cases");
}

/// A pipeline that finds nothing to change takes every rule apart and puts it together again: what the golden cases
/// expect must come out all the same.
#[test]
fn rules_that_no_step_is_for_stay_as_they_are() {
    let nothing = "
transformations:
  - {type: drop_detection_item, field_name_conditions: [{type: include_fields, fields: a field of nobody}]}
  - {type: replace_string, regex: a text of nobody, replacement: x}
";
    let mut looked_at = 0;
    for path in cases("golden", ".rule.yml") {
        let base = path.to_str().unwrap().strip_suffix(".rule.yml").unwrap();
        let read = |ending: &str| fs::read_to_string(format!("{base}{ending}"));
        let set = |pipeline: Option<&str>| {
            let mut options = LinkOptions::default();
            if let Ok(text) = read(".placeholders.yml") {
                options.placeholders = Placeholders::parse(&text, base).unwrap();
            }
            if let Some(pipeline) = pipeline {
                options.pipelines.add(Pipeline::parse(pipeline, "nothing").unwrap());
            }
            let linked = Collection::parse(&read(".rule.yml").unwrap(), base).unwrap().link(&options);
            // Encoded values cannot be searched for text, and whoever asks for that is told.
            assert!(linked.faults.iter().all(|f| f.code == "S082"), "{base}: {:?}", linked.faults);
            linked
        };
        let (plain, changed) = (set(None), set(Some(nothing)));
        if !changed.faults.is_empty() {
            continue;
        }
        looked_at += 1;
        for line in read(".events.jsonl").unwrap().lines() {
            let event = event(line, &plain.rules.rules()[0].log_source);
            let matches = |set: &RuleSet| {
                let mut found = Vec::new();
                set.matches(&event, &mut set.scratch(), &mut |rule| found.push(rule));
                found
            };
            assert_eq!(matches(&changed.rules), matches(&plain.rules), "{base}: {line}");
        }
    }
    assert!(looked_at >= 60, "only {looked_at} cases");
}
