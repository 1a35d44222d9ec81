//! Field access under Sigma's names: the one interface between events and rules.

use std::borrow::Cow;

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

/// Anything a rule can be matched against.
pub trait Fields {
    /// Where the event came from.
    fn log_source(&self) -> LogSource<'_>;

    /// The value of a field under its Sigma name; `None` if the event has no such field.
    ///
    /// Cheap to call: the engine asks for each field at most once per event, and only for fields that some rule
    /// for this log source names.
    fn field(&self, name: &str) -> Option<Value<'_>>;

    /// Calls `visit` with every field. Keyword rules search them all; `scan` prints them.
    fn each_field(&self, visit: &mut dyn FnMut(&str, Value<'_>));
}
