//! Matches for other programs: one line each.

mod csv;
mod json;
mod timesketch;

use std::sync::Arc;

use serde_json::{Map, Value, json};
use wardline_event::{Fields, LogRecord};
use wardline_sigma::Correlation;

use super::catalog::{Catalog, Entry};
use super::correlate::Found;
use super::hit::{Hit, plain};

/// What a line looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// A JSON object.
    Json,
    /// Comma-separated values under a header (RFC 4180).
    Csv,
    /// A JSON object as Timesketch imports it.
    TimesketchJsonl,
    /// Comma-separated values as Timesketch imports them.
    TimesketchCsv,
}

/// A match, as a line needs it.
pub struct Match<'a> {
    /// The rule.
    pub rule: &'a Entry,
    /// The file as the person named it.
    pub file: &'a str,
    /// What was kept of the record.
    pub hit: &'a Hit,
    /// The record.
    pub record: &'a LogRecord,
}

impl Match<'_> {
    /// The record's fields, as they stood in it.
    fn event(&self) -> Map<String, Value> {
        self.record.to_json()
    }

    /// A field as one text; empty if there is none.
    fn text(&self, field: &str) -> String {
        self.record.field(field).map(|value| plain(&value).into_owned()).unwrap_or_default()
    }
}

/// A correlation's match, as a line needs it.
pub struct Incident<'a> {
    /// The correlation's entry.
    pub rule: &'a Entry,
    /// The correlation.
    pub correlation: &'a Correlation,
    /// The match and its events.
    pub found: &'a Found,
    /// What reports keep of it.
    pub hit: &'a Hit,
    /// The rules that the events matched.
    pub catalog: &'a Catalog,
    /// The names of the logs that the events are in.
    pub logs: &'a [Arc<str>],
}

impl Incident<'_> {
    /// What is different from a rule's match.
    fn details(&self) -> Value {
        let found = &self.found.found;
        let group: Map<String, Value> = self
            .correlation
            .group_by
            .iter()
            .zip(&found.group)
            .map(|(name, value)| (name.clone(), value.clone().into()))
            .collect();
        let events: Vec<Value> = self
            .found
            .events
            .iter()
            .map(|event| {
                let rules = event.rules.iter().map(|rule| self.catalog.get(*rule));
                json!({
                    "file": self.logs.get(event.log).map(|name| &**name),
                    "record_id": event.record_id,
                    "time": event.time.to_string(),
                    "computer": Some(&*event.computer).filter(|name| !name.is_empty()),
                    "what": &*event.what,
                    "rules": rules.map(|r| if r.id.is_empty() { &*r.title } else { &*r.id }).collect::<Vec<_>>(),
                })
            })
            .collect();
        json!({
            "type": self.correlation.kind.as_str(),
            "timespan_s": self.correlation.timespan.seconds(),
            "group": group,
            "value": found.value,
            "at_least": found.capped,
            "first": found.first.to_string(),
            "last": found.last.to_string(),
            "events": events,
        })
    }
}

impl Format {
    /// What stands before the first line, with its line end.
    pub fn header(self) -> String {
        match self {
            Self::Json | Self::TimesketchJsonl => String::new(),
            Self::Csv => csv::header(csv::COLUMNS),
            Self::TimesketchCsv => csv::header(timesketch::COLUMNS),
        }
    }

    /// Appends a match with its line end. Timesketch has no place for what has no time: then nothing is written.
    pub fn write(self, out: &mut String, found: &Match<'_>) {
        match self {
            Self::Json => json::write(out, found),
            Self::Csv => csv::write(out, found),
            Self::TimesketchJsonl => timesketch::write_json(out, found),
            Self::TimesketchCsv => timesketch::write_csv(out, found),
        }
    }

    /// Appends a correlation's match with its line end.
    pub fn write_incident(self, out: &mut String, incident: &Incident<'_>) {
        match self {
            Self::Json => json::write_incident(out, incident),
            Self::Csv => csv::write_incident(out, incident),
            Self::TimesketchJsonl => timesketch::write_incident_json(out, incident),
            Self::TimesketchCsv => timesketch::write_incident_csv(out, incident),
        }
    }

    /// True if only matches with a time can be written.
    pub fn needs_time(self) -> bool {
        matches!(self, Self::TimesketchJsonl | Self::TimesketchCsv)
    }
}
