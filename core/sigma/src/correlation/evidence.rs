//! The events behind a match.

use std::sync::Arc;

use crate::limits;

/// What an entry of a window came from: an event, or a match of another correlation with its events.
#[derive(Clone, Debug)]
pub(crate) enum Origin {
    Event(u64),
    Match(Arc<Evidence>),
}

/// The events that led to a match.
#[derive(Debug, Default)]
pub(crate) struct Evidence {
    pub first: i64,
    pub last: i64,
    /// The last ones, oldest first, each once.
    pub events: Vec<u64>,
}

/// Gathers events, oldest first.
pub(crate) fn gather<'a>(mut entries: impl DoubleEndedIterator<Item = (i64, &'a Origin)>) -> Evidence {
    let mut out = Evidence { first: i64::MAX, last: i64::MIN, events: Vec::new() };
    // One event is in neighbouring entries at most, but the matches of other correlations may share events.
    let mut shared = false;
    let mut take = |(time, origin): (i64, &Origin), out: &mut Evidence| {
        shared |= matches!(origin, Origin::Match(_));
        let (first, last, events) = match origin {
            Origin::Event(event) => (time, time, std::slice::from_ref(event)),
            Origin::Match(inner) => (inner.first, inner.last, inner.events.as_slice()),
        };
        (out.first, out.last) = (out.first.min(first), out.last.max(last));
        for event in events.iter().rev() {
            let known = out.events.last() == Some(event) || shared && out.events.contains(event);
            if !known && out.events.len() < limits::MATCH_EVENTS {
                out.events.push(*event);
            }
        }
    };
    while out.events.len() < limits::MATCH_EVENTS
        && let Some(entry) = entries.next_back()
    {
        take(entry, &mut out);
    }
    // Of those that are not named only the oldest matters, since the match began with it.
    if let Some(oldest) = entries.next() {
        take(oldest, &mut out);
    }
    if out.first > out.last {
        (out.first, out.last) = (0, 0);
    }
    out.events.reverse();
    out
}
