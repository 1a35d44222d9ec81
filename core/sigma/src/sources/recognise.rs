//! Which source a record without a channel is of: told by the fields that it has.

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

    fn hold<'v>(&self, get: &dyn Fn(&str) -> Option<Value<'v>>) -> bool {
        self.has.iter().all(|field| get(field).is_some()) && self.when.iter().all(|c| c.holds(get))
    }
}

impl Sources {
    /// What a record is whose fields are told by `get`, by the marks of the sources that are known by fields. The
    /// source that was added last is asked first.
    pub fn recognise<'v>(&self, get: &dyn Fn(&str) -> Option<Value<'v>>) -> Option<&EventKind> {
        let known = self.list.iter().rev().filter(|s| s.found_by == FoundBy::Fields);
        known.into_iter().find(|s| s.marks.hold(get)).map(|s| s.other.of(get))
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
}
