//! Matches as Timesketch imports them: `message`, `datetime` and `timestamp_desc`, and what else there is.
//!
//! <https://timesketch.org/guides/user/import-from-json-csv/>

use serde_json::{Map, Value};
use wardline_event::{Fields, Timestamp};

use super::{Match, csv, json};
use crate::scan::hit::plain;

/// The columns of the CSV form; `tag` is a list with commas, as the importer splits it.
pub const COLUMNS: &[&str] = &[
    "message",
    "datetime",
    "timestamp_desc",
    "timestamp",
    "tag",
    "data_type",
    "level",
    "rule_title",
    "rule_id",
    "computer",
    "channel",
    "event_id",
    "record_id",
    "source_file",
    "what",
];

/// What kind of time `datetime` is.
const DESCRIPTION: &str = "Event Recorded";
/// What kind of event it is, in Plaso's manner.
const DATA_TYPE: &str = "wardline:sigma:match";

/// `2024-11-03T10:01:01.000+00:00`.
fn datetime(time: Timestamp) -> String {
    let text = time.to_string();
    text.strip_suffix('Z').map_or(text.clone(), |t| format!("{t}+00:00"))
}

fn message(found: &Match<'_>) -> String {
    format!("[{}] {}: {}", found.rule.level.as_str(), found.rule.title, found.hit.what)
}

pub fn write_csv(out: &mut String, found: &Match<'_>) {
    let Some(time) = found.hit.time else { return };
    csv::row(
        out,
        &[
            &message(found),
            &datetime(time),
            DESCRIPTION,
            &micros(time).to_string(),
            &found.rule.tags.join(","),
            DATA_TYPE,
            found.rule.level.as_str(),
            &found.rule.title,
            &found.rule.id,
            &found.hit.computer,
            &found.text("Channel"),
            &found.text("EventID"),
            &found.hit.record_id.to_string(),
            found.file,
            &found.hit.what,
        ],
    );
}

/// Timesketch's `timestamp` is in microseconds.
fn micros(time: Timestamp) -> i64 {
    time.0.saturating_mul(1000)
}

pub fn write_json(out: &mut String, found: &Match<'_>) {
    let Some(time) = found.hit.time else { return };
    let mut line = Map::new();
    let mut set = |name: &str, value: Value| {
        line.insert(name.to_owned(), value);
    };
    set("message", message(found).into());
    set("datetime", datetime(time).into());
    set("timestamp_desc", DESCRIPTION.into());
    set("timestamp", micros(time).into());
    set("tag", found.rule.tags.clone().into());
    set("data_type", DATA_TYPE.into());
    set("level", found.rule.level.as_str().into());
    set("rule_title", found.rule.title.as_str().into());
    set("rule_id", found.rule.id.as_str().into());
    set("computer", (&*found.hit.computer).into());
    set("record_id", found.hit.record_id.into());
    set("source_file", found.file.into());
    found.record.each_field(&mut |name, value| {
        // The index behind Timesketch has one type for each name and takes a dot for an object: so all is text,
        // and dots are not.
        let mut name = name.replace('.', "_");
        if name.is_empty() || name.starts_with('_') || line.contains_key(&name) || RESERVED.contains(&&*name)
        {
            name.insert_str(0, "event_");
        }
        line.entry(name).or_insert_with(|| plain(&value).into_owned().into());
    });
    json::push(out, &line);
}

/// Names that Timesketch keeps for itself, besides those set above and those that begin with `_`.
const RESERVED: &[&str] = &["label", "source_short", "source_long", "timesketch_label"];
