//! Field access under Sigma's names: the one interface between events and rules.

use std::borrow::Cow;
use std::sync::Arc;

/// One field's value, borrowed from the event where it can be.
#[derive(Clone, Debug, PartialEq)]
pub enum Value<'a> {
    /// The field is there and holds nothing (JSON `null`).
    Null,
    /// True or false.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// Any other number.
    Float(f64),
    /// Text.
    Str(Cow<'a, str>),
    /// Several values; a rule matches if one of them does.
    List(Vec<Value<'a>>),
}

impl<'a> Value<'a> {
    /// Text without a copy.
    pub fn str(text: &'a str) -> Self {
        Self::Str(Cow::Borrowed(text))
    }

    /// The value as a rule compares it with text: `true`, `42`, the text itself. `None` for null and lists.
    pub fn as_text(&self) -> Option<Cow<'_, str>> {
        match self {
            Self::Null | Self::List(_) => None,
            Self::Bool(b) => Some(Cow::Borrowed(if *b { "true" } else { "false" })),
            Self::Int(n) => Some(Cow::Owned(n.to_string())),
            Self::Float(n) => Some(Cow::Owned(n.to_string())),
            Self::Str(s) => Some(Cow::Borrowed(s)),
        }
    }
}

impl<'a> From<&'a str> for Value<'a> {
    fn from(text: &'a str) -> Self {
        Self::str(text)
    }
}

impl From<String> for Value<'_> {
    fn from(text: String) -> Self {
        Self::Str(Cow::Owned(text))
    }
}

/// Where an event came from, in Sigma's three terms. An empty string means "not said".
///
/// A rule's `logsource` matches if each of its own terms equals the event's. An event that belongs to a
/// category has it here (`process_creation`), whatever tool wrote it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct LogSource<'a> {
    /// `windows`, `linux`, …
    pub product: Cow<'a, str>,
    /// `process_creation`, `file_event`, `network_connection`, `registry_set`, …
    pub category: Cow<'a, str>,
    /// `security`, `sysmon`, `auditd`, `powershell`, …
    pub service: Cow<'a, str>,
}

impl<'a> LogSource<'a> {
    /// A log source of three borrowed terms; `""` where a term is not said.
    pub fn new(product: &'a str, category: &'a str, service: &'a str) -> Self {
        Self {
            product: Cow::Borrowed(product),
            category: Cow::Borrowed(category),
            service: Cow::Borrowed(service),
        }
    }
}

/// The names of a record's fields, in their order. Each name stands there once.
///
/// Records of one kind share one layout, so that whoever looks for fields by name looks once for each kind and not
/// once for each record. Two layouts are the same if they are the same allocation ([`Arc::ptr_eq`]).
#[derive(Debug, PartialEq, Eq, Default)]
pub struct Layout {
    names: Box<[Box<str>]>,
}

impl Layout {
    /// A layout of these names, of which no two may be equal.
    pub fn new(names: impl IntoIterator<Item = impl Into<Box<str>>>) -> Self {
        Self { names: names.into_iter().map(Into::into).collect() }
    }

    /// The names, in order.
    pub fn names(&self) -> &[Box<str>] {
        &self.names
    }

    /// Where a name stands.
    pub fn position(&self, name: &str) -> Option<usize> {
        self.names.iter().position(|n| **n == *name)
    }
}

/// Anything a rule can be matched against.
pub trait Fields {
    /// Where the event came from.
    fn log_source(&self) -> LogSource<'_>;

    /// The value of a field under its Sigma name; `None` if the event has no such field.
    ///
    /// Cheap to call: the engine asks for a field once or twice per event, and only for fields that some rule for this
    /// log source names.
    fn field(&self, name: &str) -> Option<Value<'_>>;

    /// Calls `visit` with every field. Keyword rules search them all; `scan` prints them.
    fn each_field(&self, visit: &mut dyn FnMut(&str, Value<'_>));

    /// Categories that the event belongs to besides the one in [`Fields::log_source`]: a `registry_set` is also a
    /// `registry_event`.
    fn also(&self) -> &'static [&'static str] {
        &[]
    }

    /// The names of all fields, if the event keeps its fields as a list whose names other events share.
    ///
    /// With a layout, [`Fields::at`] gives for each position what [`Fields::field`] gives for the name there, and
    /// there is no field that the layout does not name.
    fn layout(&self) -> Option<&Arc<Layout>> {
        None
    }

    /// The value at a position of the layout; `None` without a layout or past its end.
    fn at(&self, _position: usize) -> Option<Value<'_>> {
        None
    }

    /// One text with the text of every field in it, if the event keeps such a text: what it does not hold, no field that
    /// is text holds. Numbers need not be in it, and other things may be.
    fn all_text(&self) -> Option<&str> {
        None
    }
}

/// An event that answers only when it is asked for a field by name. Layouts make matching faster and must change no
/// verdict; with this, tests ask for both.
pub struct ByName<'a>(pub &'a dyn Fields);

impl Fields for ByName<'_> {
    fn log_source(&self) -> LogSource<'_> {
        self.0.log_source()
    }

    fn field(&self, name: &str) -> Option<Value<'_>> {
        self.0.field(name)
    }

    fn each_field(&self, visit: &mut dyn FnMut(&str, Value<'_>)) {
        self.0.each_field(visit);
    }

    fn also(&self) -> &'static [&'static str] {
        self.0.also()
    }
}
