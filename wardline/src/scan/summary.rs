//! The counts at the end of a scan.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use wardline_event::Severity;

use super::table::style_of;
use super::work::Stats;
use crate::printable::printable;
use crate::rules::load::Loaded;

/// Rules and techniques that the summary lists unless all are asked for.
const LISTED: usize = 10;

/// What a scan came to.
pub struct Totals {
    files: u64,
    files_unreadable: u64,
    files_not_logs: u64,
    files_with_matches: u64,
    records: u64,
    unreadable: u64,
    bytes: u64,
    /// Matches of each rule, by its index.
    matches: BTreeMap<usize, u64>,
    loaded: usize,
    not_loaded: usize,
}

impl Totals {
    /// Nothing yet; `faults` folders could not be looked into.
    pub fn new(loaded: &Loaded, faults: u64) -> Self {
        Self {
            files: 0,
            files_unreadable: faults,
            files_not_logs: 0,
            files_with_matches: 0,
            records: 0,
            unreadable: 0,
            bytes: 0,
            matches: BTreeMap::new(),
            loaded: loaded.rules.rules().len(),
            not_loaded: loaded.faults.len(),
        }
    }

    /// Adds one file's counts.
    pub fn add(&mut self, stats: &Stats) {
        if stats.not_a_log {
            self.files_not_logs += 1;
            return;
        }
        if stats.read {
            self.files += 1;
            self.bytes += stats.bytes;
            self.unreadable += stats.unreadable;
        } else {
            self.files_unreadable += 1;
        }
        self.records += stats.records;
        self.files_with_matches += u64::from(!stats.matches.is_empty());
        for (rule, n) in &stats.matches {
            *self.matches.entry(*rule).or_default() += n;
        }
    }

    /// True if every file and record could be read.
    pub fn all_was_read(&self) -> bool {
        self.files_unreadable == 0 && self.unreadable == 0
    }

    /// The summary as a person reads it.
    pub fn text(&self, loaded: &Loaded, took: Duration, all: bool) -> String {
        let mut out = String::from("\n");
        let seconds = took.as_secs_f64().max(1e-3);
        let mut line = |name: &str, text: String| {
            let _ = writeln!(out, "{name:<11}{text}");
        };
        let mut files = format!("{} read", thousands(self.files));
        if self.files_unreadable > 0 {
            let _ = write!(files, ", {} unreadable", thousands(self.files_unreadable));
        }
        if self.files_not_logs > 0 {
            let _ = write!(files, ", {} passed over (no logs)", thousands(self.files_not_logs));
        }
        line("Files", files);
        let mut records = format!("{} read", thousands(self.records));
        if self.unreadable > 0 {
            let _ = write!(records, ", {} places unreadable", thousands(self.unreadable));
        }
        line("Records", records);
        let megabytes = self.bytes as f64 / 1e6;
        line(
            "Time",
            format!(
                "{seconds:.2} s: {megabytes:.1} MB, {:.1} MB/s, {} events/s",
                megabytes / seconds,
                thousands((self.records as f64 / seconds) as u64)
            ),
        );
        let mut rules = format!("{} loaded", thousands(self.loaded as u64));
        if self.not_loaded > 0 {
            let _ = write!(rules, ", {} did not load", thousands(self.not_loaded as u64));
        }
        line("Rules", rules);
        let total: u64 = self.matches.values().sum();
        line(
            "Matches",
            format!(
                "{} by {} rules in {} files",
                thousands(total),
                thousands(self.matches.len() as u64),
                thousands(self.files_with_matches)
            ),
        );
        if total == 0 {
            return out;
        }
        let rules = loaded.rules.rules();
        let mut levels: BTreeMap<Severity, u64> = BTreeMap::new();
        let mut techniques: BTreeMap<String, u64> = BTreeMap::new();
        for (rule, n) in &self.matches {
            *levels.entry(rules[*rule].level).or_default() += n;
            for technique in rules[*rule].techniques() {
                *techniques.entry(technique.0).or_default() += n;
            }
        }
        let by_level: Vec<String> = levels
            .iter()
            .rev()
            .map(|(level, n)| format!("{} {}", style_of(*level).apply_to(level.as_str()), thousands(*n)))
            .collect();
        line("Levels", by_level.join(", "));

        let mut by_rule: Vec<_> = self.matches.iter().map(|(rule, n)| (&rules[*rule], *n)).collect();
        by_rule.sort_by(|(a, m), (b, n)| b.level.cmp(&a.level).then(n.cmp(m)).then(a.title.cmp(&b.title)));
        let shown = if all { usize::MAX } else { LISTED };
        heading(&mut out, "rules by level", by_rule.len(), shown);
        for (rule, n) in by_rule.iter().take(shown) {
            let level = style_of(rule.level).apply_to(format!("{:<13}", rule.level.as_str()));
            let _ = writeln!(out, "{:>9}  {level} {}", thousands(*n), printable(&rule.title));
        }
        let mut techniques: Vec<_> = techniques.into_iter().collect();
        techniques.sort_by(|(a, m), (b, n)| n.cmp(m).then(a.cmp(b)));
        if !techniques.is_empty() {
            heading(&mut out, "ATT&CK techniques", techniques.len(), shown);
            for (technique, n) in techniques.iter().take(shown) {
                let _ = writeln!(out, "{:>9}  {technique}", thousands(*n));
            }
        }
        out
    }
}

fn heading(out: &mut String, what: &str, total: usize, shown: usize) {
    let _ = if total > shown {
        writeln!(out, "\nMatches of {what} ({shown} of {total}; -v lists all)")
    } else {
        writeln!(out, "\nMatches of {what}")
    };
}

/// `1234567` as `1,234,567`.
pub fn thousands(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::new();
    for (i, c) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(c);
    }
    out
}
