//! Matches as comma-separated values (RFC 4180), safe to open in a spreadsheet.

use super::{Incident, Match};
use crate::printable::{printable, printable_json};

/// The columns of `--csv`.
pub const COLUMNS: &[&str] = &[
    "time",
    "level",
    "computer",
    "rule_title",
    "rule_id",
    "tags",
    "channel",
    "event_id",
    "record_id",
    "file",
    "what",
    "event",
];

pub fn header(columns: &[&str]) -> String {
    columns.join(",") + "\r\n"
}

pub fn write(out: &mut String, found: &Match<'_>) {
    let record_id = found.hit.record_id.to_string();
    row(
        out,
        &[
            &found.hit.time.map(|t| t.to_string()).unwrap_or_default(),
            found.rule.level.as_str(),
            &found.hit.computer,
            &found.rule.title,
            &found.rule.id,
            &found.rule.tags.join(" "),
            &found.text("Channel"),
            &found.text("EventID"),
            &record_id,
            found.file,
            &found.hit.what,
            &printable_json(serde_json::Value::Object(found.event()).to_string()),
        ],
    );
}

/// The event's column holds what led to the match.
pub fn write_incident(out: &mut String, incident: &Incident<'_>) {
    row(
        out,
        &[
            &incident.hit.time.map(|t| t.to_string()).unwrap_or_default(),
            incident.rule.level.as_str(),
            &incident.hit.computer,
            &incident.rule.title,
            &incident.rule.id,
            &incident.rule.tags.join(" "),
            "",
            "",
            "",
            "",
            &incident.hit.what,
            &printable_json(incident.details().to_string()),
        ],
    );
}

/// Appends one row with its line end.
pub fn row(out: &mut String, cells: &[&str]) {
    for (i, text) in cells.iter().enumerate() {
        if i > 0 {
            out.push(',');
        }
        cell(out, text);
    }
    out.push_str("\r\n");
}

/// A spreadsheet takes a cell that begins so for a formula, full-width signs too.
fn is_formula(text: &str) -> bool {
    text.trim_start().starts_with(['=', '+', '-', '@', '＝', '＋', '－', '＠'])
}

fn cell(out: &mut String, text: &str) {
    // Nothing is left that steers a terminal, and no line end.
    let text = printable(text);
    let guard = if is_formula(&text) { "'" } else { "" };
    if guard.is_empty() && !text.contains([',', '"', ';', '\'']) && text.trim().len() == text.len() {
        out.push_str(&text);
        return;
    }
    out.push('"');
    out.push_str(guard);
    out.push_str(&text.replace('"', "\"\""));
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What a reader of RFC 4180 makes of one row.
    fn parse(row: &str) -> Vec<String> {
        let (mut cells, mut cell, mut quoted) = (Vec::new(), String::new(), false);
        let mut chars = row.strip_suffix("\r\n").unwrap().chars().peekable();
        while let Some(c) = chars.next() {
            match c {
                '"' if quoted && chars.peek() == Some(&'"') => cell.extend(chars.next()),
                '"' => quoted = !quoted,
                ',' if !quoted => cells.push(std::mem::take(&mut cell)),
                c => cell.push(c),
            }
        }
        cells.push(cell);
        cells
    }

    #[test]
    fn formulas_are_text() {
        for (text, cell) in [
            ("=cmd|' /C calc'!A0", "\"'=cmd|' /C calc'!A0\"\r\n"),
            ("\t=1+1", "\\t=1+1\r\n"),
            (" @SUM(A1)", "\"' @SUM(A1)\"\r\n"),
            ("-e", "\"'-e\"\r\n"),
            ("a,b", "\"a,b\"\r\n"),
            ("plain", "plain\r\n"),
        ] {
            let mut out = String::new();
            row(&mut out, &[text]);
            assert_eq!(out, cell);
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(cells in proptest::collection::vec("\\PC*", 1..5)) {
            let mut out = String::new();
            row(&mut out, &cells.iter().map(String::as_str).collect::<Vec<_>>());
            prop_assert_eq!(out.matches('\n').count(), 1);
            let expected: Vec<String> = cells
                .iter()
                .map(|c| if is_formula(&printable(c)) { format!("'{}", printable(c)) } else { printable(c).into_owned() })
                .collect();
            prop_assert_eq!(parse(&out), expected);
        }
    }
}
