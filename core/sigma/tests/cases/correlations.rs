//! How golden cases of correlations are read and run.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::time::Duration;

use serde_json::{Map, Value as Json};
use wardline_event::{LogRecord, LogSource, Timestamp};
use wardline_sigma::{Collection, CorrelationSettings, CorrelationState, LinkOptions, Linked, Match};

/// A file of the same case.
pub fn beside(rules: &Path, ending: &str) -> String {
    let path = rules.to_str().unwrap().replace(".rules.yml", ending);
    fs::read_to_string(&path).unwrap_or_else(|e| panic!("{path}: {e}"))
}

/// Puts a case together.
pub fn link(path: &Path) -> (Result<Linked, String>, CorrelationSettings) {
    let text = fs::read_to_string(path).unwrap();
    let mut settings = CorrelationSettings::default();
    let first: Vec<&str> = text.lines().next().unwrap().split_whitespace().collect();
    if let ["#", how @ ("lateness" | "wait"), seconds] = first.as_slice() {
        settings.wait = *how == "wait";
        settings.lateness = Duration::from_secs(seconds.trim_end_matches('s').parse().unwrap());
    }
    let name = path.file_name().unwrap().to_str().unwrap();
    let linked = Collection::parse(&text, name).map(|c| c.link(&LinkOptions::default()));
    (linked.map_err(|e| e.to_string()), settings)
}

/// What comes of a case.
pub fn run(path: &Path) -> String {
    let (linked, settings) = link(path);
    let linked = linked.unwrap();
    assert_eq!(linked.faults, [], "{}", path.display());
    let (rules, correlations) = (&linked.rules, &linked.correlations);
    let mut state = CorrelationState::new(correlations.clone(), settings);
    let mut scratch = rules.scratch();
    let mut out = String::new();
    let show = |m: &Match, out: &mut String| {
        let group: Vec<&str> = m.group.iter().map(|value| value.as_deref().unwrap_or("-")).collect();
        let title = &correlations.correlations()[m.correlation].attributes.title;
        let events: Vec<String> = m.events.iter().map(ToString::to_string).collect();
        let (seconds, capped) = (m.time.0 as f64 / 1000.0, if m.capped { " or more" } else { "" });
        writeln!(
            out,
            "at {seconds}: {title} ({}) {}{capped} of {}",
            group.join(", "),
            m.value,
            events.join(" ")
        )
        .unwrap();
    };
    for (number, line) in (1..).zip(beside(path, ".events.jsonl").lines()) {
        let mut fields: Map<String, Json> =
            serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
        let seconds = fields.remove("_time").and_then(|t| t.as_f64()).unwrap();
        // Every rule of a case is for this category.
        let event = LogRecord::from_json(LogSource::new("", "test", ""), &fields);
        let mut hits = Vec::new();
        rules.matches(&event, &mut scratch, &mut |rule| hits.push(rule));
        for rule in hits.iter().filter(|rule| !correlations.is_silent(**rule)) {
            writeln!(out, "event {number}: {}", rules.rules()[*rule].title).unwrap();
        }
        let time = Timestamp((seconds * 1000.0) as i64);
        state.observe(&hits, &event, time, number, &mut |m| show(&m, &mut out));
    }
    state.finish(&mut |m| show(&m, &mut out));
    let stats = state.stats();
    if stats.late_dropped > 0 {
        writeln!(out, "late: {}", stats.late_dropped).unwrap();
    }
    assert_eq!((stats.groups, stats.bytes, stats.waiting), (0, 0, 0), "nothing is left");
    out
}
