//! What rules make of a recording.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use wardline_event::LogSource;
use wardline_sense::log::Workspace;
use wardline_sigma::sources::Sources;

use super::rules::{Rules, Tested};
use crate::rules::correlated::Records;
use crate::rules::events;

/// What the rules of a test make of its recording.
#[derive(Default)]
pub struct Counts {
    /// How many records there are.
    pub records: u64,
    /// Records that each detection rule matched.
    pub matches: HashMap<usize, u64>,
    /// Matches of each correlation, and the records without a time that it did not count.
    pub correlated: HashMap<usize, (u64, u64)>,
    /// Events that a rule would match if it were for their log source, and the first one's.
    pub elsewhere: HashMap<usize, (u64, LogSource<'static>)>,
    /// The first thing that could not be read.
    pub fault: Option<String>,
}

impl Counts {
    /// Reads a recording and counts what the named rules find in it.
    pub fn of(path: &Path, rules: &Rules, sources: &Arc<Sources>, named: &[Tested]) -> Self {
        let mut counts = Self::default();
        let mut scratch = rules.set.scratch();
        let mut workspace = Workspace::new(Arc::clone(sources));
        let mut correlated: Vec<(usize, Records<'_>)> = named
            .iter()
            .filter_map(|tested| match tested {
                Tested::Correlation(place) => Some((*place, Records::new(&rules.correlations[*place].1))),
                Tested::Rule(_) => None,
            })
            .collect();
        events::of_file(path, &mut workspace, &mut |item| match item {
            Ok(record) => {
                counts.records += 1;
                let number = counts.records;
                let matched = events::matched(&rules.set, record, &mut scratch);
                for tested in named {
                    let Tested::Rule(rule) = *tested else { continue };
                    if matched.contains(&rule) {
                        *counts.matches.entry(rule).or_default() += 1;
                    } else if rules.set.rules()[rule].explanation(&*record).condition.holds() {
                        counts.elsewhere.entry(rule).or_insert_with(|| (0, record.source.clone())).0 += 1;
                    }
                }
                for (_, records) in &mut correlated {
                    records.add(number, record, false);
                }
            }
            Err(e) => {
                counts.fault.get_or_insert_with(|| e.to_string());
            }
        });
        for (place, mut records) in correlated {
            let matches = records.correlate().matches.len() as u64;
            counts.correlated.insert(place, (matches, records.untimed));
        }
        counts
    }
}
