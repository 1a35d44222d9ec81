//! One kind of event: what it is, and which fields it has.

use std::collections::BTreeSet;

use wardline_event::{LogSource, Value};

use super::derive::Derivation;

/// Events of one source that are the same to rules.
#[derive(Clone, Debug, Default)]
pub struct EventKind {
    /// The name of its source.
    pub source: String,
    /// Its event ids; none for a source's other events.
    pub ids: Vec<i64>,
    /// What a person calls it; the source's title if it has none of its own.
    pub title: String,
    /// What rules call it.
    pub log_source: LogSource<'static>,
    /// Further categories of the same event.
    pub also: &'static [&'static str],
    /// Fields that are made of the record's own.
    pub derive: Vec<Derivation>,
    /// The fields that it has, those that are made among them.
    pub fields: FieldNames,
    /// The providers that write it; any if there are none.
    pub(crate) providers: Vec<String>,
    pub(crate) cases: Vec<Case>,
}

/// The kind of those events whose fields fulfil a condition.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    pub when: Vec<Condition>,
    pub kind: EventKind,
}

/// A field and the values of which it must have one, or all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Condition {
    pub field: String,
    pub values: Vec<String>,
    pub all: bool,
}

/// The names of an event's fields.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldNames {
    /// The names that are known.
    pub names: BTreeSet<String>,
    /// There may be others: the source does not say which fields its events have.
    pub open: bool,
}

impl FieldNames {
    /// Whether an event may have this field.
    pub fn may_have(&self, name: &str) -> bool {
        self.open || self.has(name)
    }

    /// Whether this field is known. Fields of a known one (`a.b` of `a`) are known too.
    pub fn has(&self, name: &str) -> bool {
        self.names.contains(name) || name.match_indices('.').any(|(dot, _)| self.names.contains(&name[..dot]))
    }

    pub(crate) fn add(&mut self, other: &Self) {
        self.names.extend(other.names.iter().cloned());
        self.open |= other.open;
    }
}

impl EventKind {
    /// Whether the record's own fields decide what it is.
    pub fn has_cases(&self) -> bool {
        !self.cases.is_empty()
    }

    /// What a record is whose fields are told by `get`: this kind, or the first case that holds.
    pub fn of<'v>(&self, get: &dyn Fn(&str) -> Option<Value<'v>>) -> &Self {
        self.case(get).map_or(self, |at| &self.cases[at].kind)
    }

    /// Which of its cases holds.
    pub fn case<'v>(&self, get: &dyn Fn(&str) -> Option<Value<'v>>) -> Option<usize> {
        self.cases.iter().position(|case| case.when.iter().all(|c| c.holds(get)))
    }

    /// The kinds that its cases are.
    pub fn cases(&self) -> impl Iterator<Item = &Self> {
        self.cases.iter().map(|case| &case.kind)
    }

    /// Whether the event may have this field.
    pub fn has_field(&self, name: &str) -> bool {
        self.fields.may_have(name)
    }

    /// The event's categories, the first of them the one in its log source.
    pub fn categories(&self) -> impl Iterator<Item = &str> {
        let own = Some(&*self.log_source.category).filter(|c| !c.is_empty());
        own.into_iter().chain(self.also.iter().copied())
    }

    /// Whether rules for this log source are asked about the event.
    pub fn is_seen_by(&self, rules: &LogSource<'_>) -> bool {
        let same = |wanted: &str, own: &str| wanted.is_empty() || wanted == own;
        same(&rules.product, &self.log_source.product)
            && same(&rules.service, &self.log_source.service)
            && (rules.category.is_empty() || self.categories().any(|c| c == rules.category))
    }

    pub(crate) fn is_from(&self, provider: &str) -> bool {
        provider.is_empty()
            || self.providers.is_empty()
            || self.providers.iter().any(|p| p.eq_ignore_ascii_case(provider))
    }
}

impl Condition {
    pub fn holds<'v>(&self, get: &dyn Fn(&str) -> Option<Value<'v>>) -> bool {
        let Some(value) = get(&self.field) else { return false };
        let is = |wanted: &String| match &value {
            Value::List(items) => items.iter().any(|item| same(item, wanted)),
            one => same(one, wanted),
        };
        if self.all { self.values.iter().all(is) } else { self.values.iter().any(is) }
    }
}

fn same(value: &Value<'_>, wanted: &str) -> bool {
    value.as_text().is_some_and(|text| text.eq_ignore_ascii_case(wanted))
}
