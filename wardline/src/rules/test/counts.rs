//! What rules make of a recording.

use std::path::Path;
use std::sync::Arc;

use wardline_event::{LogRecord, LogSource};
use wardline_sense::log::Workspace;
use wardline_sigma::Rule;
use wardline_sigma::sources::Sources;

use super::rules::{Rules, Tested};
use crate::rules::correlated::Records;
use crate::rules::events;

/// What the rules of a test make of its recording.
#[derive(Default)]
pub struct Counts {
    /// How many records there are.
    pub records: u64,
    /// For each rule, in the order of their ids.
    pub rules: Vec<Count>,
    /// The first thing that could not be read.
    pub fault: Option<String>,
}

/// What one rule or correlation found.
#[derive(Clone, Default)]
pub struct Count {
    /// How many records a rule matched, or how often a correlation did.
    pub matches: u64,
    /// Records that would match if the rule were for their log source, and the first one's.
    pub elsewhere: Option<(u64, LogSource<'static>)>,
    /// Records that a correlation did not count, since they say no time.
    pub untimed: u64,
}

/// How the rules of a test are put together.
pub struct Together<'a> {
    /// As everywhere.
    pub plain: &'a Rules,
    /// With the pipelines that the test names, for records whose fields have other names.
    pub piped: Option<&'a Rules>,
}

impl Counts {
    /// Reads a recording and counts what the rules with these ids find in it. A record that does not say what it is is
    /// taken for what a rule is for.
    pub fn of(path: &Path, rules: &Together<'_>, sources: &Arc<Sources>, ids: &[String]) -> Self {
        let plain = rules.plain;
        let mut counts = Self { rules: vec![Count::default(); ids.len()], ..Self::default() };
        let mut scratch = plain.set.scratch();
        let mut workspace = Workspace::new(Arc::clone(sources));
        // As they are and with pipelines, whichever finds more.
        let mut correlated: Vec<(usize, Records<'_>)> = [Some(plain), rules.piped]
            .into_iter()
            .flatten()
            .flat_map(|rules| ids.iter().enumerate().filter_map(|(i, id)| Some((i, rules.correlation(id)?))))
            .map(|(i, correlation)| (i, Records::new(correlation)))
            .collect();
        let piped = |id: &str| rules.piped.and_then(|piped| piped.rule(id));
        events::of_file(path, &mut workspace, &mut |item| match item {
            Ok(record) => {
                counts.records += 1;
                let number = counts.records;
                let matched = events::matched(&plain.set, record, &mut scratch);
                for (count, id) in counts.rules.iter_mut().zip(ids) {
                    let Some(Tested::Rule(index)) = plain.tested(id) else { continue };
                    let rule = &plain.set.rules()[index];
                    if matched.contains(&index)
                        || takes(rule, record, false)
                        || piped(id).is_some_and(|rule| takes(rule, record, true))
                    {
                        count.matches += 1;
                    } else if rule.explanation(&*record).condition.holds() {
                        count.elsewhere.get_or_insert_with(|| (0, record.source.clone())).0 += 1;
                    }
                }
                for (_, records) in &mut correlated {
                    records.add(number, record, true);
                }
            }
            Err(e) => {
                counts.fault.get_or_insert_with(|| e.to_string());
            }
        });
        for (i, mut records) in correlated {
            let count = &mut counts.rules[i];
            count.matches = count.matches.max(records.correlate().matches.len() as u64);
            count.untimed = count.untimed.max(records.untimed);
        }
        counts
    }
}

/// Whether a rule matches a record that does not say what it is, or with `seen` one of its log source.
fn takes(rule: &Rule, record: &LogRecord, seen: bool) -> bool {
    if record.source != LogSource::default() && !seen {
        return false;
    }
    let explanation = rule.explanation(record);
    explanation.condition.holds() && (explanation.sees || record.source == LogSource::default())
}
