//! A correlation's match, as reports show it.

use std::fmt::Write;
use std::sync::Arc;

use console::truncate_str;
use wardline_event::Severity;
use wardline_sigma::{Correlation, CorrelationCondition, CorrelationType};

use super::catalog::Catalog;
use super::correlate::Found;
use super::hit::Hit;
use super::text::{Page, heading, style_of, thousands};
use crate::printable::printable;

/// Events that a page lists of one match.
const EVENTS: usize = 50;

/// What reports keep of a correlation's match.
pub fn hit(catalog: &Catalog, correlation: &Correlation, found: &Found, logs: &[Arc<str>]) -> Hit {
    let group: Vec<(String, String)> = correlation
        .group_by
        .iter()
        .zip(&found.found.group)
        .map(|(name, value)| {
            (printable(name).into_owned(), printable(value.as_deref().unwrap_or("-")).into_owned())
        })
        .collect();
    let computer = computer(found, &group);
    let mut fields = group.clone();
    for (i, event) in found.events.iter().take(EVENTS).enumerate() {
        let rules: Vec<&str> = event.rules.iter().map(|rule| catalog.get(*rule).title.as_str()).collect();
        let file = logs.get(event.log).map_or("", |name| &**name);
        let text = format!(
            "{} {} {}: {} (record {} in {file})",
            event.time,
            event.computer,
            rules.join(", "),
            event.what,
            event.record_id
        );
        fields.push((format!("Event {}", i + 1), printable(&text).into_owned()));
    }
    Hit {
        rule: catalog.first_correlation + found.found.correlation as u32,
        time: Some(found.found.time),
        record_id: found.events.first().map_or(0, |e| e.record_id),
        computer: computer.into(),
        what: what(correlation, found, &group).into(),
        fields: Some(fields.into()),
    }
}

/// The computer that all events are from; empty if there are several.
fn computer(found: &Found, group: &[(String, String)]) -> String {
    if let Some((_, value)) = group.iter().find(|(name, value)| name == "Computer" && value != "-") {
        return value.clone();
    }
    let mut names = found.events.iter().map(|e| &e.computer);
    let first = names.next().map_or("", |name| name);
    if names.all(|name| **name == *first) { first.to_owned() } else { String::new() }
}

/// `5 events in 40 s: Computer=WARD-PC-7, User=r.hale`.
fn what(correlation: &Correlation, found: &Found, group: &[(String, String)]) -> String {
    let fields = match &correlation.condition {
        CorrelationCondition::Thresholds { fields, .. } => fields.join(", "),
        CorrelationCondition::Rules(_) => String::new(),
    };
    let value = found.found.value;
    let least = if found.found.capped { "at least " } else { "" };
    let mut text = match correlation.kind {
        CorrelationType::EventCount => format!("{least}{value} events"),
        CorrelationType::ValueCount => format!("{least}{value} values of {fields}"),
        CorrelationType::Temporal => format!("{value} rules"),
        CorrelationType::TemporalOrdered => format!("{value} rules in order"),
        other => format!("{} of {fields} {least}{value}", other.as_str().trim_start_matches("value_")),
    };
    let seconds = found.found.last.since(found.found.first).as_secs();
    let _ = write!(text, " in {seconds} s");
    for (i, (name, value)) in group.iter().enumerate() {
        let _ = write!(text, "{}{name}={value}", if i == 0 { ": " } else { ", " });
    }
    printable(&text).into_owned()
}

/// Matches whose events the text lists, unless all are asked for, and even then.
const LISTED: usize = 10;
const MOST: usize = 500;
/// Events of each, unless all are asked for.
const SHOWN: usize = 5;

/// What the text tells of correlations: each match with its events.
#[derive(Default)]
pub struct Incidents {
    kept: Vec<Kept>,
    seen: u64,
}

struct Kept {
    level: Severity,
    head: String,
    events: Vec<String>,
}

impl Incidents {
    /// Adds a match.
    pub fn add(&mut self, catalog: &Catalog, hit: &Hit, found: &Found, logs: &[Arc<str>]) {
        self.seen += 1;
        if self.kept.len() >= MOST {
            return;
        }
        let entry = catalog.get(hit.rule);
        let head = format!("{} {}: {}", found.found.time, printable(&entry.title), hit.what);
        let events = found.events.iter().map(|event| {
            let file = logs.get(event.log).map_or("", |name| &**name);
            let name = file.rsplit(['/', '\\']).next().unwrap_or_default();
            let text =
                format!("{} {} {} ({name} #{})", event.time, event.computer, event.what, event.record_id);
            printable(&text).into_owned()
        });
        self.kept.push(Kept { level: entry.level, head, events: events.take(EVENTS).collect() });
    }

    /// The worst first, then as they happened.
    pub fn text(&self, page: Page) -> String {
        if self.kept.is_empty() {
            return String::new();
        }
        let mut kept: Vec<&Kept> = self.kept.iter().collect();
        kept.sort_by_key(|k| std::cmp::Reverse(k.level));
        let shown = page.most(LISTED).min(kept.len());
        let mut out = if (shown as u64) < self.seen {
            let hint = if page.all { "the other forms of output hold all" } else { "-v lists all" };
            heading(&format!("Correlations and their events ({shown} of {}; {hint})", thousands(self.seen)))
        } else {
            heading("Correlations and their events")
        };
        for Kept { level, head, events } in kept.into_iter().take(shown) {
            let level = style_of(*level).apply_to(format!("{:<13}", level.as_str()));
            let _ = writeln!(out, "  {level} {}", truncate_str(head, page.width - 16, "…"));
            for event in events.iter().take(page.most(SHOWN)) {
                let _ = writeln!(out, "      {}", truncate_str(event, page.width - 6, "…"));
            }
            if events.len() > page.most(SHOWN) {
                let _ = writeln!(out, "      … and {} more", events.len() - SHOWN);
            }
        }
        out
    }
}
