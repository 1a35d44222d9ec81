//! One match as one JSON object.

use serde::Serialize;
use serde_json::{Map, Value};

use super::{Incident, Match};
use crate::printable::printable_json;

#[derive(Serialize)]
struct Line<'a> {
    rule_id: &'a str,
    rule_title: &'a str,
    level: &'static str,
    tags: &'a [String],
    /// Null if the record does not say.
    computer: Option<&'a str>,
    /// Null for a correlation.
    file: Option<&'a str>,
    /// Null for a correlation.
    record_id: Option<u64>,
    /// RFC 3339 in UTC; null if the record does not say.
    time: Option<String>,
    /// The record's fields, for a rule.
    #[serde(skip_serializing_if = "Option::is_none")]
    event: Option<Map<String, Value>>,
    /// What led to the match, for a correlation.
    #[serde(skip_serializing_if = "Option::is_none")]
    correlation: Option<Value>,
}

pub fn write(out: &mut String, found: &Match<'_>) {
    let line = Line {
        rule_id: &found.rule.id,
        rule_title: &found.rule.title,
        level: found.rule.level.as_str(),
        tags: &found.rule.tags,
        computer: Some(&*found.hit.computer).filter(|name| !name.is_empty()),
        file: Some(found.file),
        record_id: Some(found.hit.record_id),
        time: found.hit.time.map(|t| t.to_string()),
        event: Some(found.event()),
        correlation: None,
    };
    push(out, &line);
}

pub fn write_incident(out: &mut String, incident: &Incident<'_>) {
    let line = Line {
        rule_id: &incident.rule.id,
        rule_title: &incident.rule.title,
        level: incident.rule.level.as_str(),
        tags: &incident.rule.tags,
        computer: Some(&*incident.hit.computer).filter(|name| !name.is_empty()),
        file: None,
        record_id: None,
        time: incident.hit.time.map(|t| t.to_string()),
        event: None,
        correlation: Some(incident.details()),
    };
    push(out, &line);
}

/// Appends a value as JSON and a line end.
pub fn push(out: &mut String, value: &impl Serialize) {
    let json = serde_json::to_string(value).expect("text, numbers and maps with text keys are always JSON");
    out.push_str(&printable_json(json));
    out.push('\n');
}
