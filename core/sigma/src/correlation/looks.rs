//! How near the groups of correlations came to a match, for people who ask why there was none.

use std::collections::HashMap;
use std::sync::Arc;

use wardline_event::Timestamp;

use crate::correlation::capture;
use crate::correlation::evidence::Evidence;

/// Groups that are kept; of the others nothing is known.
const MOST: usize = 1000;

/// What a window holds, beside what its condition asks for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reading {
    /// The count or metric; of a temporal correlation how many rules matched, of an ordered one how many in order.
    pub value: f64,
    /// The rules that matched, a bit for each; of temporal correlations only.
    pub rules: u64,
    /// How far it is from the condition; 0 if that is met.
    pub missing: f64,
}

/// What the window of a group held when it met the condition, or came nearest to that.
#[derive(Clone, PartialEq, Debug)]
pub struct Look {
    /// Index of the correlation.
    pub correlation: usize,
    /// The group's values, in the order of the correlation's `group_by`; `None` for a missing or null field. A list
    /// is joined by commas.
    pub group: Vec<Option<String>>,
    /// When the condition was looked at.
    pub time: Timestamp,
    /// When the first event was on which it rests.
    pub first: Timestamp,
    /// When the last one was.
    pub last: Timestamp,
    /// The count or metric; of a temporal correlation the number of different rules, of an ordered one the number of
    /// rules that came one after another.
    pub value: f64,
    /// Of a temporal correlation, the places in its `rules` of those that the window held.
    pub rules: Vec<usize>,
    /// Whether the condition was met.
    pub holds: bool,
    /// The references of the events, oldest first; of more than 100 the last ones.
    pub events: Vec<u64>,
    /// How far it was from the condition.
    missing: f64,
}

/// The nearest look of each group, in the order in which the groups came.
#[derive(Debug, Default)]
pub(crate) struct Looks {
    list: Vec<Look>,
    by_group: HashMap<(usize, Arc<[u8]>), usize>,
}

impl Looks {
    /// Notes a look if it is the group's nearest so far; of equally near ones the first. `evidence` is asked for then
    /// only.
    pub fn note(
        &mut self,
        correlation: usize,
        key: &Arc<[u8]>,
        time: i64,
        (reading, holds): (Reading, bool),
        evidence: impl FnOnce() -> Evidence,
    ) {
        let missing = if holds { 0.0 } else { reading.missing.max(f64::MIN_POSITIVE) };
        let place = self.by_group.get(&(correlation, Arc::clone(key))).copied();
        if place.map_or(self.list.len() >= MOST, |at| self.list[at].missing <= missing) {
            return;
        }
        let evidence = evidence();
        let text = |value: Option<capture::Captured>| value.map(|v| v.each().join(", "));
        let look = Look {
            correlation,
            group: capture::read_key(key).into_iter().map(text).collect(),
            time: Timestamp(time),
            first: Timestamp(evidence.first),
            last: Timestamp(evidence.last),
            value: reading.value,
            rules: (0..64).filter(|bit| reading.rules & (1 << bit) != 0).collect(),
            holds,
            events: evidence.events,
            missing,
        };
        match place {
            Some(at) => self.list[at] = look,
            None => {
                self.by_group.insert((correlation, Arc::clone(key)), self.list.len());
                self.list.push(look);
            }
        }
    }

    pub fn list(&self) -> &[Look] {
        &self.list
    }
}
