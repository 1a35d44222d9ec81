//! The table: for each file and computer a heading, then a row for each match or for each rule.

use std::fmt::Write;

use console::{Alignment, Style, Term, measure_text_width, pad_str, truncate_str};
use wardline_event::{Fields, LogRecord, Severity, Timestamp};
use wardline_sigma::RuleSet;

use super::printable::printable;

/// Longest text that a row keeps of a field, in bytes: more than the widest terminal shows.
const KEPT: usize = 400;

/// One line of the table.
pub struct Row {
    /// The rule's index.
    pub rule: usize,
    /// When, if the record says.
    pub time: Option<Timestamp>,
    /// The record's number.
    pub record_id: u64,
    /// How many matches the row stands for; the other fields are the first one's.
    pub count: u64,
    /// Where it happened; empty if the record does not say.
    pub computer: String,
    what: String,
}

impl Row {
    /// The row of one match.
    pub fn new(rule: usize, record: &LogRecord) -> Self {
        let computer = text(record, "Computer").unwrap_or_default();
        Self { rule, time: record.time, record_id: record.record_id, count: 1, computer, what: what(record) }
    }
}

fn text(record: &LogRecord, field: &str) -> Option<String> {
    let value = record.field(field)?;
    let value = match &value {
        wardline_event::Value::List(items) => {
            items.iter().filter_map(wardline_event::Value::as_text).collect::<Vec<_>>().join(" ").into()
        }
        other => other.as_text()?,
    };
    let mut end = value.len().min(KEPT);
    while !value.is_char_boundary(end) {
        end -= 1;
    }
    let value = printable(value[..end].trim());
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

/// The columns' widths.
pub struct Layout {
    width: usize,
    rule: usize,
    what: usize,
}

/// The columns of a fixed width: two blanks, level, time, record, and the blanks between.
const LEVEL: usize = 8;
const TIME: usize = 19;
const RECORD: usize = 12;

impl Layout {
    /// As wide as the terminal; 120 columns where there is none.
    pub fn of_terminal() -> Self {
        let term = Term::stdout();
        let width = if term.is_term() { usize::from(term.size().1) } else { 120 };
        Self::new(width)
    }

    /// For so many columns, within what is readable.
    pub fn new(width: usize) -> Self {
        let width = width.clamp(80, 200);
        let free = width - 2 - LEVEL - TIME - RECORD - 4;
        // A rule's title is seldom longer than 60 characters; what happened may be of any length.
        let rule = (free / 2).min(60);
        Self { width, rule, what: free - rule }
    }

    fn line(&self, cells: [&str; 5]) -> String {
        let widths = [LEVEL, TIME, self.rule, self.what, RECORD];
        let mut out = String::from("  ");
        for (text, width) in cells.into_iter().zip(widths) {
            let cut = truncate_str(text, width, "…");
            out.push_str(&pad_str(&cut, width, Alignment::Left, None));
            out.push(' ');
        }
        out.truncate(out.trim_end().len());
        out.push('\n');
        out
    }

    /// The names of the columns.
    pub fn heading(&self) -> String {
        let line = self.line(["LEVEL", "TIME (UTC)", "RULE", "WHAT", "RECORD"]);
        Style::new().dim().apply_to(line.trim_end()).to_string() + "\n"
    }

    /// A file's heading and rows.
    pub fn file(&self, file: &str, rows: &[Row], rules: &RuleSet) -> String {
        let mut out = String::new();
        let mut computer = None;
        for row in rows {
            // A file is mostly one computer's: its name stands in the heading, and again where it changes.
            if computer != Some(&row.computer) {
                computer = Some(&row.computer);
                let of =
                    if row.computer.is_empty() { String::new() } else { format!("  on {}", row.computer) };
                let name = shortened(&printable(file), self.width.saturating_sub(measure_text_width(&of)));
                let _ = writeln!(out, "\n{}{of}", Style::new().bold().apply_to(name));
            }
            let rule = &rules.rules()[row.rule];
            let time = row.time.map(|t| t.to_string().replace('T', " ")).unwrap_or_default();
            let record = match row.count {
                1 => row.record_id.to_string(),
                n => format!("{} (+{})", row.record_id, n - 1),
            };
            out.push_str(&self.line([
                &style_of(rule.level).apply_to(rule.level_word()).to_string(),
                time.get(..TIME).unwrap_or(&time),
                &printable(&rule.title),
                &row.what,
                &record,
            ]));
        }
        out
    }
}

/// A level's word, cut to the column.
trait LevelWord {
    fn level_word(&self) -> &'static str;
}

impl LevelWord for wardline_sigma::Rule {
    fn level_word(&self) -> &'static str {
        if self.level == Severity::Informational { "info" } else { self.level.as_str() }
    }
}

/// A level's colour.
pub fn style_of(level: Severity) -> Style {
    match level {
        Severity::Critical => Style::new().red().bold(),
        Severity::High => Style::new().red(),
        Severity::Medium => Style::new().yellow(),
        Severity::Low => Style::new().cyan(),
        Severity::Informational => Style::new().dim(),
    }
}

/// A path that is too long loses its beginning, since its end tells more.
fn shortened(path: &str, width: usize) -> String {
    if measure_text_width(path) <= width {
        return path.to_owned();
    }
    let mut tail: Vec<char> = path.chars().rev().take(width - 1).collect();
    tail.reverse();
    let mut tail: String = tail.into_iter().collect();
    while measure_text_width(&tail) >= width {
        tail.remove(0);
    }
    format!("…{tail}")
}
