//! The counts at the end of a scan.

use std::fmt::Write;
use std::time::Duration;

use super::{Page, counted, heading, levels_text, style_of, thousands};
use crate::printable::printable;
use crate::scan::catalog::Catalog;
use crate::scan::tally::Tally;
use crate::scan::totals::Totals;

/// Rules that the summary lists unless all are asked for.
const LISTED: usize = 10;

/// What a scan came to, in lines of `Name  text`.
pub fn counts(totals: &Totals, tally: &Tally, took: Duration) -> Vec<(&'static str, String)> {
    let mut lines = Vec::new();
    let mut files = format!("{} read", thousands(totals.files));
    for (n, what) in [
        (totals.files_unreadable, "unreadable"),
        (totals.files_not_logs, "passed over (no logs)"),
        (totals.files_not_read, "not read or not to their end (interrupted)"),
    ] {
        if n > 0 {
            let _ = write!(files, ", {} {what}", thousands(n));
        }
    }
    lines.push(("Files", files));
    let mut records = format!("{} read", thousands(totals.records));
    for (n, what) in [
        (totals.recovered, "of them deleted ones"),
        (totals.left_out, "left out by time or computer"),
        (totals.uncorrelated, "not correlated (they say no time)"),
        (totals.unreadable, if totals.unreadable == 1 { "place unreadable" } else { "places unreadable" }),
    ] {
        if n > 0 {
            let _ = write!(records, ", {} {what}", thousands(n));
        }
    }
    lines.push(("Records", records));
    let seconds = took.as_secs_f64().max(1e-3);
    let megabytes = totals.bytes as f64 / 1e6;
    lines.push((
        "Time",
        format!(
            "{seconds:.2} s: {megabytes:.1} MB, {:.1} MB/s, {} events/s",
            megabytes / seconds,
            thousands((totals.records as f64 / seconds) as u64)
        ),
    ));
    let mut rules = format!("{} loaded", thousands(totals.rules_loaded));
    for (n, what) in [
        (totals.rules_not_loaded, "did not load"),
        (totals.rules_unseen, "for log sources that nothing known writes"),
        (totals.rules_loaded - totals.rules_reported, "left out by filters"),
    ] {
        if n > 0 {
            let _ = write!(rules, ", {} {what}", thousands(n));
        }
    }
    lines.push(("Rules", rules));
    let by = counted(tally.rules.len() as u64, "rule");
    let files = counted(totals.files_with_matches, "file");
    lines.push(("Matches", format!("{} by {by} in {files}", thousands(tally.total()))));
    if let Some((first, last)) = tally.span {
        lines.push(("Seen", format!("from {first} to {last}")));
    }
    lines
}

/// The summary as a person reads it.
pub fn summary(totals: &Totals, tally: &Tally, took: Duration) -> String {
    let mut out = String::from("\n");
    for (name, text) in counts(totals, tally, took) {
        let _ = writeln!(out, "{name:<11}{text}");
    }
    if tally.total() > 0 {
        let _ = writeln!(out, "{:<11}{}", "Levels", levels_text(&tally.levels));
    }
    out
}

/// The rules that matched, worst first.
pub fn rules(page: Page, tally: &Tally, catalog: &Catalog) -> String {
    let rules = tally.rules_by_level(catalog);
    if rules.is_empty() {
        return String::new();
    }
    let shown = page.most(LISTED).min(rules.len());
    let mut out = if shown < rules.len() {
        heading(&format!("Worst rules ({shown} of {}; -v lists all)", rules.len()))
    } else {
        heading("Rules that matched")
    };
    for (rule, n) in rules.iter().take(shown) {
        let entry = catalog.get(*rule);
        let level = style_of(entry.level).apply_to(format!("{:<13}", entry.level.as_str()));
        let _ = writeln!(out, "{:>9}  {level} {}", thousands(*n), printable(&entry.title));
    }
    out
}
