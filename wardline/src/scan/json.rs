//! One match as one line of JSON.

use serde::Serialize;
use serde_json::{Map, Value};
use wardline_event::LogRecord;
use wardline_sigma::Rule;

use crate::printable::printable_json;

#[derive(Serialize)]
struct Match<'a> {
    rule_id: &'a str,
    rule_title: &'a str,
    level: &'static str,
    file: &'a str,
    record_id: u64,
    /// RFC 3339 in UTC; null if the record does not say.
    time: Option<String>,
    event: Map<String, Value>,
}

/// The line, without its end.
pub fn line(rule: &Rule, file: &str, record: &LogRecord) -> String {
    let found = Match {
        rule_id: &rule.id,
        rule_title: &rule.title,
        level: rule.level.as_str(),
        file,
        record_id: record.record_id,
        time: record.time.map(|t| t.to_string()),
        event: record.to_json(),
    };
    printable_json(
        serde_json::to_string(&found).expect("text, numbers and maps with text keys are always JSON"),
    )
}
