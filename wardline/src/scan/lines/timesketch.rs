//! Matches as Timesketch imports them: `message`, `datetime` and `timestamp_desc`, and what else there is.
//!
//! <https://timesketch.org/guides/user/import-from-json-csv/>

use serde_json::{Map, Value};
use wardline_event::{Fields, Timestamp};

use super::{Incident, Match, csv, json};
use crate::scan::catalog::Entry;
use crate::scan::hit::{Hit, plain};

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
const INCIDENT: &str = "wardline:sigma:correlation";

/// `2024-11-03T10:01:01.000+00:00`.
fn datetime(time: Timestamp) -> String {
    let text = time.to_string();
    text.strip_suffix('Z').map_or(text.clone(), |t| format!("{t}+00:00"))
}

fn message(rule: &Entry, hit: &Hit) -> String {
    format!("[{}] {}: {}", rule.level.as_str(), rule.title, hit.what)
}

pub fn write_csv(out: &mut String, found: &Match<'_>) {
    let record_id = found.hit.record_id.to_string();
    let place = [&*found.text("Channel"), &*found.text("EventID"), &*record_id, found.file];
    row(out, found.rule, found.hit, DATA_TYPE, place);
}

pub fn write_incident_csv(out: &mut String, incident: &Incident<'_>) {
    row(out, incident.rule, incident.hit, INCIDENT, [""; 4]);
}

fn row(
    out: &mut String,
    rule: &Entry,
    hit: &Hit,
    data_type: &str,
    [channel, event_id, record_id, file]: [&str; 4],
) {
    let Some(time) = hit.time else { return };
    csv::row(
        out,
        &[
            &message(rule, hit),
            &datetime(time),
            DESCRIPTION,
            &micros(time).to_string(),
            &rule.tags.join(","),
            data_type,
            rule.level.as_str(),
            &rule.title,
            &rule.id,
            &hit.computer,
            channel,
            event_id,
            record_id,
            file,
            &hit.what,
        ],
    );
}

/// Timesketch's `timestamp` is in microseconds.
fn micros(time: Timestamp) -> i64 {
    time.0.saturating_mul(1000)
}

/// What every line has; nothing without a time.
fn head(rule: &Entry, hit: &Hit, data_type: &str) -> Option<Map<String, Value>> {
    let time = hit.time?;
    let mut line = Map::new();
    for (name, value) in [
        ("message", message(rule, hit).into()),
        ("datetime", datetime(time).into()),
        ("timestamp_desc", DESCRIPTION.into()),
        ("timestamp", micros(time).into()),
        ("tag", rule.tags.clone().into()),
        ("data_type", data_type.into()),
        ("level", rule.level.as_str().into()),
        ("rule_title", rule.title.as_str().into()),
        ("rule_id", rule.id.as_str().into()),
        ("computer", (&*hit.computer).into()),
    ] {
        line.insert(name.to_owned(), value);
    }
    Some(line)
}

pub fn write_incident_json(out: &mut String, incident: &Incident<'_>) {
    let Some(mut line) = head(incident.rule, incident.hit, INCIDENT) else { return };
    line.insert("correlation".to_owned(), incident.details().to_string().into());
    json::push(out, &line);
}

pub fn write_json(out: &mut String, found: &Match<'_>) {
    let Some(mut line) = head(found.rule, found.hit, DATA_TYPE) else { return };
    line.insert("record_id".to_owned(), found.hit.record_id.into());
    line.insert("source_file".to_owned(), found.file.into());
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
