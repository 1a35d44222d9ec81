//! The table: for each file and computer a heading, then a row for each match or for each rule.

use std::fmt::Write;

use console::{Alignment, Style, Term, measure_text_width, pad_str, truncate_str};
use wardline_event::{Fields, LogRecord, Severity, Timestamp};
use wardline_sigma::RuleSet;

use crate::printable::printable;

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
    time: usize,
    rule: usize,
    what: usize,
}

/// The columns of a fixed width.
const LEVEL: usize = 8;
const TIMES: usize = 5;
const RECORD: usize = 9;
/// `2024-11-03 10:01:01`, and without its seconds.
const TIME: usize = 19;
const SHORT_TIME: usize = 16;
/// Fewer columns than these call for the short time.
const NARROW: usize = 100;
/// Columns of a heading that the file's name always has.
const FILE_NAME: usize = 40;
/// Longest name of a computer that is shown whole.
const COMPUTER: usize = 30;

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
        let time = if width < NARROW { SHORT_TIME } else { TIME };
        // Two blanks before the columns, one between each.
        let free = width - 2 - LEVEL - time - TIMES - RECORD - 5;
        // A rule's title is seldom longer than 60 characters; what happened may be of any length.
        let rule = (free / 2).min(60);
        Self { width, time, rule, what: free - rule }
    }

    fn line(&self, cells: [&str; 6]) -> String {
        let widths = [LEVEL, self.time, self.rule, self.what, TIMES, RECORD];
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
        let line = self.line(["LEVEL", "TIME (UTC)", "RULE", "WHAT", "TIMES", "RECORD"]);
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
                let of = if row.computer.is_empty() {
                    String::new()
                } else {
                    format!("  on {}", truncate_str(&row.computer, COMPUTER, "…"))
                };
                let room = self.width.saturating_sub(measure_text_width(&of)).max(FILE_NAME);
                let name = shortened(&printable(file), room);
                let _ = writeln!(out, "\n{}{of}", Style::new().bold().apply_to(name));
            }
            let rule = &rules.rules()[row.rule];
            let time = row.time.map(|t| t.to_string().replace('T', " ")).unwrap_or_default();
            let times = match row.count {
                1 => String::new(),
                n @ ..=99_999 => n.to_string(),
                n @ ..=9_999_999 => format!("{}k", n / 1000),
                n => format!("{}M", n / 1_000_000),
            };
            out.push_str(&self.line([
                &style_of(rule.level).apply_to(rule.level_word()).to_string(),
                time.get(..self.time).unwrap_or(&time),
                &printable(&rule.title),
                &row.what,
                &times,
                &row.record_id.to_string(),
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

#[cfg(test)]
mod tests {
    use super::*;
    use wardline_event::LogSource;
    use wardline_sigma::Rule;

    const RULE: &str = "title: A title that is much longer than the column which it stands in, as titles are\n\
        id: 1c7a4f0e-3f30-4f43-9d2b-0f3fd6f600bb\nlevel: critical\nlogsource:\n  product: windows\n\
        detection:\n  a:\n    EventID: 1\n  condition: a\n";

    #[test]
    fn every_line_fits_the_terminal_whatever_the_record_holds() {
        let (rules, _) = RuleSet::compile_lossy(Rule::parse(RULE, "test").unwrap());
        for (computer, command) in
            [("WARD-PC-7", "a\u{1b}[31mb\r\n".repeat(90)), (&*"x".repeat(500), "病院".repeat(200))]
        {
            let mut record = LogRecord::new(LogSource::new("", "process_creation", ""));
            record.time = Some(Timestamp(1_730_628_061_123));
            record.set("Computer", computer);
            record.set("CommandLine", &*command);
            record.record_id = 123_456_789;
            let row = Row { count: 1_234_567, ..Row::new(0, &record) };
            for width in [0, 80, 99, 100, 160, 500] {
                let layout = Layout::new(width);
                let text = layout.heading()
                    + &layout.file(&"/long/path".repeat(60), std::slice::from_ref(&row), &rules);
                let lines: Vec<&str> = text.lines().collect();
                assert_eq!(lines.len(), 4, "{text}");
                assert!(lines[3].contains(" 1234k 123456789"), "{text}");
                assert!(!text.contains('\u{1b}'), "{text}");
                for line in [lines[0], lines[2], lines[3]] {
                    assert!(measure_text_width(line) <= width.clamp(80, 200), "{width}: {line}");
                }
            }
        }
    }
}
