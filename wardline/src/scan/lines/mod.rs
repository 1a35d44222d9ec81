//! Matches for other programs: one line each.

mod csv;
mod json;
mod timesketch;

use serde_json::{Map, Value};
use wardline_event::{Fields, LogRecord};

use super::catalog::Entry;
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

    /// True if only matches with a time can be written.
    pub fn needs_time(self) -> bool {
        matches!(self, Self::TimesketchJsonl | Self::TimesketchCsv)
    }
}
