//! The worst matches, one by one: as many as a page can show.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use wardline_event::{Severity, Timestamp};

use crate::scan::catalog::Catalog;
use crate::scan::hit::Hit;

/// Matches that a page shows.
pub const MOST: usize = 2_000;

/// A match that is shown.
#[derive(Debug)]
pub struct Shown {
    /// The rule's index.
    pub rule: u32,
    /// When, if the record says.
    pub time: Option<Timestamp>,
    /// Where; empty if the record does not say.
    pub computer: Box<str>,
    /// What happened.
    pub what: Box<str>,
    /// The log's index.
    pub log: usize,
    /// The record's number in it.
    pub record_id: u64,
}

/// The matches of the highest levels; among those of one level, the first that came.
#[derive(Default)]
pub struct Worst {
    /// Kept by level, then by their order; the last is the first to go.
    kept: BTreeMap<(Reverse<Severity>, u64), Shown>,
    seen: u64,
}

impl Worst {
    /// Keeps a match if it is among the worst so far.
    pub fn add(&mut self, catalog: &Catalog, log: usize, hit: &Hit) {
        self.seen += 1;
        let key = (Reverse(catalog.get(hit.rule).level), self.seen);
        if self.kept.len() >= MOST {
            match self.kept.last_entry() {
                Some(last) if *last.key() > key => last.remove(),
                _ => return,
            };
        }
        let shown = Shown {
            rule: hit.rule,
            time: hit.time,
            computer: hit.computer.clone(),
            what: hit.what.clone(),
            log,
            record_id: hit.record_id,
        };
        self.kept.insert(key, shown);
    }

    /// The matches that are shown, in the order of time.
    pub fn by_time(&self) -> Vec<&Shown> {
        let mut shown: Vec<&Shown> = self.kept.values().collect();
        shown.sort_by_key(|m| m.time);
        shown
    }

    /// True if not all are shown.
    pub fn is_cut(&self) -> bool {
        self.seen > self.kept.len() as u64
    }
}
