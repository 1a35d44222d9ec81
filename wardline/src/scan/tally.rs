//! What a scan adds up to: groups by computer and rule, counts by rule, matches over time.
//!
//! Matches come in the order of the files and of the records in them, so that the result is the same whichever
//! thread found what. All of it is bounded: a forged log may name a computer for each of a billion records.

use std::collections::{BTreeMap, HashMap};

use wardline_event::Timestamp;

use super::catalog::{Catalog, TACTICS};
use super::histogram::{Histogram, Levels};
use super::hit::Hit;

/// Groups that are kept apart; matches on further computers are added up under [`OTHER`].
const MAX_GROUPS: usize = 20_000;
/// Groups whose first record is kept with its fields.
const MAX_EXAMPLES: usize = 3_000;
/// Stands for the computers that found no place.
pub const OTHER: &str = "(further computers)";

/// The matches of one rule on one computer.
#[derive(Debug)]
pub struct Group {
    /// How many.
    pub count: u64,
    /// The earliest time, if any record says one.
    pub first: Option<Timestamp>,
    /// The latest.
    pub last: Option<Timestamp>,
    /// What happened in the earliest.
    pub what: Box<str>,
    /// The earliest's log, by its index.
    pub log: usize,
    /// Its number in the file.
    pub record_id: u64,
    /// Its fields, where a report shows them.
    pub fields: Option<Box<[(String, String)]>>,
}

/// The sums of a scan.
#[derive(Default)]
pub struct Tally {
    names: HashMap<Box<str>, u32>,
    computers: Vec<Box<str>>,
    groups: BTreeMap<(u32, u32), Group>,
    examples: usize,
    /// Matches of each rule, by its index.
    pub rules: BTreeMap<u32, u64>,
    /// Matches over time.
    pub histogram: Histogram,
    /// Matches of each level, mildest first.
    pub levels: Levels,
    /// Matches of records that say no time.
    pub untimed: u64,
    /// The earliest and latest time of a match.
    pub span: Option<(Timestamp, Timestamp)>,
}

/// A computer with its groups, worst first.
pub struct Computer<'a> {
    /// Its name; empty if the records do not say.
    pub name: &'a str,
    /// Matches of each level, mildest first.
    pub levels: Levels,
    /// The earliest and latest time.
    pub span: Option<(Timestamp, Timestamp)>,
    /// Rule and group.
    pub groups: Vec<(u32, &'a Group)>,
}

impl Tally {
    /// Adds a match in the log with this index.
    pub fn add(&mut self, catalog: &Catalog, log: usize, hit: Hit) {
        let level = catalog.get(hit.rule).level;
        *self.rules.entry(hit.rule).or_default() += 1;
        self.levels[level as usize] += 1;
        match hit.time {
            Some(time) => {
                self.histogram.add(time, level);
                self.span = Some(widened(self.span, time, time));
            }
            None => self.untimed += 1,
        }
        let mut key = (self.computer(&hit.computer), hit.rule);
        if self.groups.len() >= MAX_GROUPS && !self.groups.contains_key(&key) {
            key.0 = self.computer(OTHER);
        }
        let keeps = self.examples < MAX_EXAMPLES;
        let group = self.groups.entry(key).or_insert_with(|| Group {
            count: 0,
            first: None,
            last: None,
            what: Box::default(),
            log,
            record_id: hit.record_id,
            fields: None,
        });
        group.count += 1;
        let earlier = hit.time.is_some_and(|time| group.first.is_none_or(|first| time < first));
        if group.count == 1 || earlier {
            group.what = hit.what;
            group.log = log;
            group.record_id = hit.record_id;
            if hit.fields.is_some() && (keeps || group.fields.is_some()) {
                self.examples += usize::from(group.fields.is_none());
                group.fields = hit.fields;
            }
        }
        if let Some(time) = hit.time {
            group.first = Some(group.first.map_or(time, |first| first.min(time)));
            group.last = Some(group.last.map_or(time, |last| last.max(time)));
        }
    }

    fn computer(&mut self, name: &str) -> u32 {
        if let Some(number) = self.names.get(name) {
            return *number;
        }
        if self.computers.len() >= MAX_GROUPS && name != OTHER {
            return self.computer(OTHER);
        }
        let number = self.computers.len() as u32;
        self.computers.push(name.into());
        self.names.insert(name.into(), number);
        number
    }

    /// All matches.
    pub fn total(&self) -> u64 {
        self.levels.iter().sum()
    }

    /// The computers with their groups: most matches of the highest level first, then of the next.
    pub fn computers(&self, catalog: &Catalog) -> Vec<Computer<'_>> {
        let mut out: Vec<Computer<'_>> = Vec::new();
        let mut last = None;
        for ((computer, rule), group) in &self.groups {
            if last != Some(*computer) {
                last = Some(*computer);
                let name = &self.computers[*computer as usize];
                out.push(Computer { name, levels: Levels::default(), span: None, groups: Vec::new() });
            }
            let Some(at) = out.last_mut() else { continue };
            at.levels[catalog.get(*rule).level as usize] += group.count;
            if let (Some(first), Some(last)) = (group.first, group.last) {
                at.span = Some(widened(at.span, first, last));
            }
            at.groups.push((*rule, group));
        }
        for computer in &mut out {
            computer.groups.sort_by(|(a, one), (b, other)| {
                let (a, b) = (catalog.get(*a), catalog.get(*b));
                b.level
                    .cmp(&a.level)
                    .then(one.first.cmp(&other.first))
                    .then_with(|| a.title.cmp(&b.title))
                    .then_with(|| a.id.cmp(&b.id))
            });
        }
        out.sort_by(|a, b| b.levels.iter().rev().cmp(a.levels.iter().rev()).then(a.name.cmp(b.name)));
        out
    }

    /// Rules with their matches: worst level first, then most matches.
    pub fn rules_by_level(&self, catalog: &Catalog) -> Vec<(u32, u64)> {
        let mut rules: Vec<_> = self.rules.iter().map(|(rule, n)| (*rule, *n)).collect();
        rules.sort_by(|(a, m), (b, n)| {
            let (a, b) = (catalog.get(*a), catalog.get(*b));
            b.level.cmp(&a.level).then(n.cmp(m)).then_with(|| a.title.cmp(&b.title))
        });
        rules
    }
}

/// A span of time with another one in it.
fn widened(
    span: Option<(Timestamp, Timestamp)>,
    first: Timestamp,
    last: Timestamp,
) -> (Timestamp, Timestamp) {
    span.map_or((first, last), |(a, b)| (a.min(first), b.max(last)))
}

/// One technique under one tactic.
#[derive(Debug, PartialEq, Eq)]
pub struct Cell {
    /// `execution`; empty for a rule that names no tactic.
    pub tactic: String,
    /// `T1059.001`; empty for a rule that names no technique.
    pub technique: String,
    /// Matches.
    pub count: u64,
    /// Rules that matched.
    pub rules: u64,
}

/// ATT&CK as the rules' tags name it: tactics in the order of an attack, in each the techniques with most matches
/// first.
pub fn attack(tally: &Tally, catalog: &Catalog) -> Vec<Cell> {
    let mut cells: BTreeMap<(usize, &str, &str), (u64, u64)> = BTreeMap::new();
    for (rule, count) in &tally.rules {
        let entry = catalog.get(*rule);
        let mut add = |tactic, technique| {
            let place = TACTICS.iter().position(|t| *t == tactic).unwrap_or(usize::MAX);
            let cell = cells.entry((place, tactic, technique)).or_default();
            *cell = (cell.0 + count, cell.1 + 1);
        };
        for technique in &entry.techniques {
            let tactics = catalog.tactics_of(entry, technique);
            if tactics.is_empty() {
                add("", technique);
            }
            for tactic in tactics {
                add(tactic, technique);
            }
        }
        if entry.techniques.is_empty() {
            for tactic in &entry.tactics {
                add(tactic, "");
            }
        }
    }
    let mut out: Vec<(usize, Cell)> = cells
        .into_iter()
        .map(|((place, tactic, technique), (count, rules))| {
            (place, Cell { tactic: tactic.to_owned(), technique: technique.to_owned(), count, rules })
        })
        .collect();
    out.sort_by(|(p, a), (q, b)| p.cmp(q).then(b.count.cmp(&a.count)).then(a.technique.cmp(&b.technique)));
    out.into_iter().map(|(_, cell)| cell).collect()
}
