//! Which source a record without a channel is of: told by the fields that it has.

use std::sync::Arc;

use wardline_event::Value;

use super::kind::Condition;
use super::{EventKind, FoundBy, Source, Sources};

/// What a source's records are known by.
#[derive(Clone, Debug, Default)]
pub(crate) struct Marks {
    pub channels: Vec<String>,
    pub providers: Vec<String>,
    /// Fields that must be there.
    pub has: Vec<String>,
    /// Fields that must have certain values.
    pub when: Vec<Condition>,
    /// A reader or sensor names the source itself.
    pub reader: bool,
}

impl Marks {
    pub fn found_by(&self) -> FoundBy {
        if self.reader {
            FoundBy::Reader
        } else if !self.channels.is_empty() || !self.providers.is_empty() {
            FoundBy::Channel
        } else if !self.has.is_empty() || !self.when.is_empty() {
            FoundBy::Fields
        } else {
            FoundBy::Nothing
        }
    }

    fn may_hold(&self, has: &dyn Fn(&str) -> bool) -> bool {
        self.has.iter().chain(self.when.iter().map(|c| &c.field)).all(|field| has(field))
    }
}

impl Sources {
    /// What a record is whose fields are told by `get`, by the marks of the sources that are known by fields. The
    /// source that was added last is asked first.
    pub fn recognise<'v>(&self, get: &dyn Fn(&str) -> Option<Value<'v>>) -> Option<&EventKind> {
        let place =
            self.candidates(&|name| get(name).is_some()).into_iter().find(|at| self.is_of(*at, get))?;
        Some(self.list[place].other.of(get))
    }

    /// The places of those sources in [`Sources::iter`] that a record may be of which has such fields, in the order in
    /// which they are to be asked. For readers of many records with the same fields.
    pub fn candidates(&self, has: &dyn Fn(&str) -> bool) -> Vec<usize> {
        let known = self.list.iter().enumerate().rev();
        let fit = known.filter(|(_, s)| s.found_by == FoundBy::Fields && s.marks.may_hold(has));
        fit.map(|(at, _)| at).collect()
    }

    /// Whether a record is of the source at a place in [`Sources::iter`].
    pub fn is_of<'v>(&self, place: usize, get: &dyn Fn(&str) -> Option<Value<'v>>) -> bool {
        self.list.get(place).is_some_and(|source| source.marks.when.iter().all(|c| c.holds(get)))
    }

    /// The source of this name, for readers and sensors that know whose records they have.
    pub fn named(&self, name: &str) -> Option<&Source> {
        self.list.iter().find(|s| s.name == name)
    }
}

impl Source {
    /// What a record of this source is, if it is known that it is of this source.
    pub fn kind_of<'v>(&self, get: &dyn Fn(&str) -> Option<Value<'v>>) -> &EventKind {
        self.other.of(get)
    }

    /// What those of its events are that are not described by id.
    pub fn kind(&self) -> &Arc<EventKind> {
        &self.other
    }
}
