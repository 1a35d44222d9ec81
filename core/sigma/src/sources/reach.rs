//! Which events rules can see, and which fields these have.

use std::collections::BTreeSet;

use wardline_event::LogSource;

use super::kind::{EventKind, FieldNames};
use super::{FoundBy, Sources};
use crate::suggest;

/// A kind of event that rules of a log source are asked about.
#[derive(Clone, Copy, Debug)]
pub struct Reached<'s> {
    /// The kind of event; where an event's own fields decide what it is, the case.
    pub kind: &'s EventKind,
    /// How its records are known.
    pub found_by: FoundBy,
}

/// A field that a rule names and that none of the events has which it can see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownField {
    /// The name in the rule.
    pub name: String,
    /// The field that was probably meant.
    pub suggestion: Option<String>,
}

impl Sources {
    /// The kinds of events that rules for `rules` can ever see. Empty if no source has any.
    pub fn events_for<'s>(&'s self, rules: &LogSource<'_>) -> Vec<Reached<'s>> {
        let mut found = Vec::new();
        for source in &self.list {
            for kind in source.kinds() {
                let cases = kind.cases().filter(|case| case.is_seen_by(rules));
                let reached = |kind| Reached { kind, found_by: source.found_by };
                if kind.is_seen_by(rules) {
                    // Cases that are seen as well add nothing to the kind.
                    found.push(reached(kind));
                } else {
                    found.extend(cases.map(reached));
                }
            }
        }
        found
    }

    /// The fields of all events that rules for `rules` can ever see.
    pub fn fields_of(&self, rules: &LogSource<'_>) -> FieldNames {
        let mut fields = FieldNames::default();
        for reached in self.events_for(rules) {
            fields.add(&reached.kind.fields);
            for case in reached.kind.cases() {
                fields.add(&case.fields);
            }
        }
        fields
    }

    /// Those of a rule's fields that no event has which the rule can see. None if it can see no event: then all of
    /// them would be.
    pub fn unknown_fields<'n>(
        &self,
        rules: &LogSource<'_>,
        names: impl IntoIterator<Item = &'n str>,
    ) -> Vec<UnknownField> {
        let fields = self.fields_of(rules);
        if fields.open || fields.names.is_empty() {
            return Vec::new();
        }
        let mut seen = BTreeSet::new();
        names
            .into_iter()
            .filter(|name| !fields.has(name) && seen.insert((*name).to_owned()))
            .map(|name| UnknownField {
                name: name.to_owned(),
                suggestion: suggest::nearest(name, fields.names.iter().map(String::as_str))
                    .map(str::to_owned),
            })
            .collect()
    }
}
