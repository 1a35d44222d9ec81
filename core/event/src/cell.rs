//! One value of a flat record, as a place in the record's text or list.

use serde_json::{Number, Value as Json};

use crate::fields::Value;

/// A value of a [`crate::LogRecord`] that is being filled.
///
/// Texts and lists are places in the record, so a cell means nothing in another record, or after this one was filled
/// again. A cell can be given to several fields.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Cell {
    /// JSON's `null`.
    Null,
    /// True or false.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A whole number too large for [`Cell::Int`].
    Unsigned(u64),
    /// Any other number.
    Float(f64),
    /// Text.
    Text(Span),
    /// Several values.
    List(Span),
    /// An object, as JSON text.
    Object(Span),
}

/// A part of the record's text (in bytes) or list.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Span {
    from: u32,
    to: u32,
}

impl Span {
    /// What lies beyond 4 GiB cannot be reached, and is left out.
    fn new(from: usize, to: usize) -> Self {
        match (u32::try_from(from), u32::try_from(to)) {
            (Ok(from), Ok(to)) => Self { from, to },
            _ => Self { from: 0, to: 0 },
        }
    }

    fn of(self, text: &str) -> &str {
        text.get(self.from as usize..self.to as usize).unwrap_or_default()
    }

    fn items(self, all: &[Cell]) -> &[Cell] {
        all.get(self.from as usize..self.to as usize).unwrap_or_default()
    }
}

impl Cell {
    pub(crate) fn text(from: usize, to: usize) -> Self {
        Self::Text(Span::new(from, to))
    }

    pub(crate) fn list(from: usize, to: usize) -> Self {
        Self::List(Span::new(from, to))
    }

    pub(crate) fn object(from: usize, to: usize) -> Self {
        Self::Object(Span::new(from, to))
    }

    pub(crate) fn as_text(self, text: &str) -> Option<&str> {
        match self {
            Self::Text(span) => Some(span.of(text)),
            _ => None,
        }
    }

    pub(crate) fn items(self, items: &[Self]) -> &[Self] {
        match self {
            Self::List(span) => span.items(items),
            _ => &[],
        }
    }

    /// A part of a text; nothing changes if it is none, or the part is not within it.
    pub(crate) fn part(self, range: std::ops::Range<usize>) -> Self {
        match self {
            Self::Text(span) if range.start <= range.end && range.end <= (span.to - span.from) as usize => {
                Self::Text(Span { from: span.from + range.start as u32, to: span.from + range.end as u32 })
            }
            other => other,
        }
    }

    #[inline]
    pub(crate) fn value<'a>(self, text: &'a str, items: &'a [Self]) -> Value<'a> {
        match self {
            Self::Null => Value::Null,
            Self::Bool(b) => Value::Bool(b),
            Self::Int(n) => Value::Int(n),
            // Too large for a whole number, and a float would be another one.
            Self::Unsigned(n) => Value::from(n.to_string()),
            Self::Float(n) => Value::Float(n),
            Self::Text(span) => Value::str(span.of(text)),
            Self::List(span) => Value::List(span.items(items).iter().map(|i| i.value(text, items)).collect()),
            Self::Object(span) => {
                let json = span.of(text);
                // As it was written, it may hold blanks.
                serde_json::from_str::<Json>(json)
                    .map_or_else(|_| Value::str(json), |parsed| Value::from(parsed.to_string()))
            }
        }
    }

    pub(crate) fn to_json(self, text: &str, items: &[Self]) -> Json {
        match self {
            Self::Null => Json::Null,
            Self::Bool(b) => b.into(),
            Self::Int(n) => n.into(),
            Self::Unsigned(n) => n.into(),
            Self::Float(n) => Number::from_f64(n).map_or(Json::Null, Json::Number),
            Self::Text(span) => span.of(text).into(),
            Self::List(span) => span.items(items).iter().map(|i| i.to_json(text, items)).collect(),
            Self::Object(span) => {
                serde_json::from_str(span.of(text)).unwrap_or_else(|_| span.of(text).into())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_is_small() {
        assert_eq!(size_of::<Cell>(), 16);
    }
}
