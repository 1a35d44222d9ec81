//! One match: what reports keep of a record.

use std::borrow::Cow;

use wardline_event::{Fields, LogRecord, Timestamp, Value};

use crate::printable::printable;

/// Longest text that is kept of a field, in bytes: more than the widest terminal shows.
const KEPT: usize = 400;

/// A record that a rule matched.
#[derive(Debug)]
pub struct Hit {
    /// The rule's index in the catalog.
    pub rule: u32,
    /// When, if the record says.
    pub time: Option<Timestamp>,
    /// The record's number.
    pub record_id: u64,
    /// Where it happened; empty if the record does not say.
    pub computer: Box<str>,
    /// What happened, in one line.
    pub what: Box<str>,
    /// The record's fields as names and values, where a report shows them.
    pub fields: Option<Box<[(String, String)]>>,
}

impl Hit {
    /// The match of a rule.
    pub fn new(rule: u32, record: &LogRecord) -> Self {
        Self {
            rule,
            time: record.time,
            record_id: record.record_id,
            computer: computer(record).into(),
            what: what(record).into(),
            fields: None,
        }
    }
}

/// Fields that name the computer, in the order in which they are looked for.
const COMPUTERS: &[&str] = &["Computer", "Hostname", "host.name", "host.hostname", "hostname", "node"];

/// The computer that a record is from; empty if it does not say.
pub fn computer(record: &LogRecord) -> String {
    COMPUTERS.iter().find_map(|name| text(record, name)).unwrap_or_default()
}

/// A value as one text: a list's items with blanks between.
pub fn plain<'a>(value: &'a Value<'a>) -> Cow<'a, str> {
    match value {
        Value::List(items) => items.iter().map(plain).collect::<Vec<_>>().join(" ").into(),
        other => other.as_text().unwrap_or_default(),
    }
}

/// The beginning of a text, at most so many bytes.
pub fn beginning(text: &str, bytes: usize) -> &str {
    &text[..text.floor_char_boundary(bytes)]
}

fn text(record: &LogRecord, field: &str) -> Option<String> {
    let value = record.field(field)?;
    let value = plain(&value);
    let value = printable(beginning(&value, KEPT).trim());
    (!matches!(&*value, "" | "-")).then(|| value.into_owned())
}

/// Who acts, in the order in which the fields are looked for.
const ACTORS: &[&str] = &["Image", "SourceImage", "ProcessName", "NewProcessName", "exe"];

/// What is acted on, the most telling first.
const OBJECTS: &[&str] = &[
    "TargetImage",
    "TargetObject",
    "TargetFilename",
    "ImageLoaded",
    "PipeName",
    "QueryName",
    "DestinationHostname",
    "DestinationIp",
    "ScriptBlockText",
    "Payload",
    "ServiceFileName",
    "ImagePath",
    "TaskName",
    "Threat Name",
    "RelativeTargetName",
    "ShareName",
    "ObjectName",
    "Query",
    "Destination",
    "cmd",
    "proctitle",
    "Data",
    "TargetUserName",
    "SubjectUserName",
    "name",
    "message",
];

/// What happened, in one line: a command line, or who did something to what.
fn what(record: &LogRecord) -> String {
    let category = record.source.category.as_ref();
    if matches!(category, "process_creation" | "process_termination")
        && let Some(line) = text(record, "CommandLine").or_else(|| text(record, "Image"))
    {
        return line;
    }
    let actor = ACTORS.iter().find_map(|f| text(record, f)).map(|path| {
        let name = path.rsplit(['\\', '/']).next().unwrap_or_default();
        name.to_owned()
    });
    let object = OBJECTS.iter().find_map(|f| text(record, f));
    match (actor, object) {
        (Some(actor), Some(object)) => format!("{actor} → {object}"),
        (Some(one), None) | (None, Some(one)) => one,
        (None, None) => text(record, "EventID").map_or_else(String::new, |id| format!("event {id}")),
    }
}

/// The fields that a report shows of a record: the first so many, each cut, some 4 KiB altogether.
pub fn shown_fields(record: &LogRecord) -> Box<[(String, String)]> {
    const FIELDS: usize = 60;
    const NAME: usize = 100;
    const VALUE: usize = 600;
    const TOGETHER: usize = 4096;
    let (mut out, mut bytes) = (Vec::new(), 0);
    record.each_field(&mut |name, value| {
        let value = plain(&value);
        if out.len() >= FIELDS || bytes >= TOGETHER || matches!(&*value, "" | "-") {
            return;
        }
        let cut = beginning(&value, VALUE);
        bytes += cut.len();
        let mut shown = printable(cut).into_owned();
        if cut.len() < value.len() {
            shown.push('…');
        }
        out.push((printable(beginning(name, NAME)).into_owned(), shown));
    });
    out.into()
}
