//! One match as one JSON object.

use serde::Serialize;
use serde_json::{Map, Value};

use super::Match;
use crate::printable::printable_json;

#[derive(Serialize)]
struct Line<'a> {
    rule_id: &'a str,
    rule_title: &'a str,
    level: &'static str,
    tags: &'a [String],
    /// Null if the record does not say.
    computer: Option<&'a str>,
    file: &'a str,
    record_id: u64,
    /// RFC 3339 in UTC; null if the record does not say.
    time: Option<String>,
    event: Map<String, Value>,
}

pub fn write(out: &mut String, found: &Match<'_>) {
    let line = Line {
        rule_id: &found.rule.id,
        rule_title: &found.rule.title,
        level: found.rule.level.as_str(),
        tags: &found.rule.tags,
        computer: Some(&*found.hit.computer).filter(|name| !name.is_empty()),
        file: found.file,
        record_id: found.hit.record_id,
        time: found.hit.time.map(|t| t.to_string()),
        event: found.event(),
    };
    push(out, &line);
}

/// Appends a value as JSON and a line end.
pub fn push(out: &mut String, value: &impl Serialize) {
    let json = serde_json::to_string(value).expect("text, numbers and maps with text keys are always JSON");
    out.push_str(&printable_json(json));
    out.push('\n');
}
