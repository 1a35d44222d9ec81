//! How golden cases are read and run.

#![allow(dead_code, reason = "each test uses a part of this")]

pub mod constructs;
pub mod correlations;

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value as Json};
use wardline_event::{LogRecord, LogSource};
use wardline_sigma::{Collection, LinkOptions, Linked, Placeholders};

/// The files in a folder of `tests` whose names have this ending, in their order.
pub fn cases(folder: &str, ending: &str) -> Vec<PathBuf> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(folder);
    let mut out: Vec<PathBuf> = fs::read_dir(&dir)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.to_str().unwrap().ends_with(ending))
        .collect();
    out.sort();
    out
}

/// Reads an event; `_logsource` is taken out of its fields.
pub fn event(line: &str, default: &LogSource<'static>) -> LogRecord {
    let mut fields: Map<String, Json> = serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
    let source = match fields.remove("_logsource") {
        None => default.clone(),
        Some(source) => {
            let term = |name: &str| source[name].as_str().unwrap_or_default().to_owned().into();
            LogSource { product: term("product"), category: term("category"), service: term("service") }
        }
    };
    LogRecord::from_json(source, &fields)
}

/// The values of `NAME.placeholders.yml`, if there is one.
pub fn options(base: &str) -> LinkOptions {
    let mut options = LinkOptions::default();
    if let Ok(text) = fs::read_to_string(format!("{base}.placeholders.yml")) {
        options.placeholders = Placeholders::parse(&text, base).unwrap_or_else(|e| panic!("{e}"));
    }
    options
}

/// What does not come out as `golden/NAME.expected` says.
pub fn golden(rules: &Path) -> Vec<String> {
    let base = rules.to_str().unwrap().strip_suffix(".rule.yml").unwrap();
    let name = Path::new(base).file_name().unwrap().to_str().unwrap();
    let read = |ending: &str| {
        fs::read_to_string(format!("{base}{ending}")).unwrap_or_else(|e| panic!("{name}: {e}"))
    };
    let collection = Collection::parse(&read(".rule.yml"), name).unwrap_or_else(|e| panic!("{e}"));
    let Linked { rules: set, faults, .. } = collection.link(&options(base));
    assert_eq!(faults, [], "{name}");
    let mut scratch = set.scratch();
    let (events, expected) = (read(".events.jsonl"), read(".expected"));
    let (events, expected): (Vec<&str>, Vec<&str>) = (events.lines().collect(), expected.lines().collect());
    assert_eq!(events.len(), expected.len(), "{name}: one line of .expected for each event");
    let shown = |outcome: &str| expected.iter().any(|line| line.starts_with(outcome));
    assert!(shown("match") && shown("no match"), "{name}: shows both outcomes");
    let mut wrong = Vec::new();
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
    wrong
}
