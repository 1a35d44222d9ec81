//! `--stats`: where the records came from, which rules were for them, where the time went.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::{Duration, Instant};

use wardline_event::LogSource;

use super::text::{Page, counted, heading, thousands};
use super::totals::Totals;
use crate::printable::printable;
use crate::rules::load::Loaded;

/// Lines of one list unless all are asked for.
const LISTED: usize = 20;

/// How long each step took.
pub struct Clock {
    began: Instant,
    last: Instant,
    laps: Vec<(&'static str, Duration)>,
}

impl Clock {
    /// Begins the first step.
    pub fn start() -> Self {
        let now = Instant::now();
        Self { began: now, last: now, laps: Vec::new() }
    }

    /// Ends a step.
    pub fn lap(&mut self, what: &'static str) {
        let now = Instant::now();
        self.laps.push((what, now - self.last));
        self.last = now;
    }

    /// All steps so far.
    pub fn total(&self) -> Duration {
        self.began.elapsed()
    }
}

/// The lists.
pub fn text(page: Page, clock: &Clock, totals: &Totals, loaded: &Loaded) -> String {
    let mut out = heading("Time by step");
    for (what, took) in &clock.laps {
        let _ = writeln!(out, "{:>9.3} s  {what}", took.as_secs_f64());
    }
    let mut rules: BTreeMap<LogSource<'_>, u64> = BTreeMap::new();
    for rule in loaded.rules.rules() {
        *rules.entry(rule.log_source.clone()).or_default() += 1;
    }
    let sources: Vec<_> = totals.sources.iter().map(|(source, n)| (source, *n)).collect();
    out += &list(page, "Records by log source (product/category/service)", sources, "record");
    let rules: Vec<_> = rules.iter().map(|(source, n)| (source, *n)).collect();
    out += &list(page, "Rules by log source", rules, "rule");
    out
}

fn list(page: Page, title: &str, mut lines: Vec<(&LogSource<'_>, u64)>, noun: &str) -> String {
    lines.sort_by(|(a, m), (b, n)| n.cmp(m).then(a.cmp(b)));
    let shown = page.most(LISTED);
    let mut out = heading(title);
    for (source, n) in lines.iter().take(shown) {
        let name = format!("{}/{}/{}", source.product, source.category, source.service);
        let name = if name == "//" { "(not told by the record)".to_owned() } else { name };
        let _ = writeln!(out, "{:>11}  {}", thousands(*n), printable(&name));
    }
    if let Some(rest) = lines.get(shown..).filter(|rest| !rest.is_empty()) {
        let n = rest.iter().map(|(_, n)| n).sum();
        let _ = writeln!(
            out,
            "  … {} of {} more; -v lists all",
            counted(n, noun),
            counted(rest.len() as u64, "source")
        );
    }
    out
}
