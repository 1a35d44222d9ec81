//! What correlations need to know of an event, taken out of it, so that the event itself need not be kept.

use std::borrow::Cow;
use std::hash::{DefaultHasher, Hash, Hasher};

use wardline_event::{Timestamp, Value};

use crate::limits;

/// An event that matched rules of correlations: which rules, when, and the values that the correlations compare.
///
/// Made by [`Correlations::capture`](super::Correlations::capture), on any thread; fed to a
/// [`CorrelationState`](super::CorrelationState) later, in the order of time. It means something only to states of
/// the same [`Correlations`](super::Correlations).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Hit {
    pub(crate) time: i64,
    pub(crate) reference: u64,
    /// Ascending indices of rules, only those that feed a correlation.
    pub(crate) rules: Box<[u32]>,
    pub(crate) values: Values,
}

impl Hit {
    /// The event's time.
    pub fn time(&self) -> Timestamp {
        Timestamp(self.time)
    }

    /// The caller's number for the event.
    pub fn reference(&self) -> u64 {
        self.reference
    }

    /// Bytes that it takes in memory, about.
    pub(crate) fn bytes(&self) -> usize {
        size_of::<Self>()
            + self.rules.len() * 4
            + self.values.iter().map(|(_, v)| 32 + v.bytes()).sum::<usize>()
    }
}

/// The farthest time from 1970 that is told apart, in milliseconds, so that no sum of times overflows.
pub(crate) const FARTHEST: i64 = i64::MAX / 4;

/// Values by field number, ascending. A field that is missing or null is not among them.
pub(crate) type Values = Box<[(u32, Captured)]>;

/// The value of a field as text.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Captured {
    One(Box<str>),
    /// A list; it may be empty.
    Many(Box<[Box<str>]>),
}

impl Captured {
    /// Takes a value; `None` for null. Of a list what is null is left out.
    pub fn take(value: &Value<'_>) -> Option<Self> {
        match value {
            Value::List(items) => {
                let items = items.iter().filter(|item| !matches!(item, Value::Null));
                let items = items.take(limits::CAPTURED_VALUES);
                Some(Self::Many(items.map(|item| shortened(&flat(item))).collect()))
            }
            value => value.as_text().map(|text| Self::One(shortened(&text))),
        }
    }

    /// Each value.
    pub fn each(&self) -> &[Box<str>] {
        match self {
            Self::One(text) => std::slice::from_ref(text),
            Self::Many(items) => items,
        }
    }

    pub fn bytes(&self) -> usize {
        self.each().iter().map(|text| 16 + text.len()).sum()
    }
}

/// The text of an element of a list; lists in lists are joined.
fn flat<'a>(value: &'a Value<'_>) -> Cow<'a, str> {
    match value {
        Value::List(items) => Cow::Owned(items.iter().map(flat).collect::<Vec<_>>().join(", ")),
        value => value.as_text().unwrap_or_default(),
    }
}

/// The text itself, or of a very long one its beginning and a hash of all of it.
fn shortened(text: &str) -> Box<str> {
    match text.char_indices().nth(limits::CAPTURED_CHARS) {
        None => text.into(),
        Some((cut, _)) => {
            // The hasher's keys are fixed, so that the same text is cut to the same everywhere.
            let mut hasher = DefaultHasher::new();
            text.hash(&mut hasher);
            format!("{}… ({} bytes, {:016x})", &text[..cut], text.len(), hasher.finish()).into()
        }
    }
}

/// The value of a field among captured ones.
pub(crate) fn find(values: &[(u32, Captured)], field: u32) -> Option<&Captured> {
    values.binary_search_by_key(&field, |(id, _)| *id).ok().map(|i| &values[i].1)
}

/// The number that a text spells: decimal, or hexadecimal after `0x`. Magnitudes past 1e290 are none, so that no sum
/// of them overflows.
pub(crate) fn number(text: &str) -> Option<f64> {
    let text = text.trim();
    if let Some(hex) = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        let plain = !hex.is_empty() && hex.bytes().all(|b| b.is_ascii_hexdigit());
        return plain.then(|| u64::from_str_radix(hex, 16).ok()).flatten().map(|n| n as f64);
    }
    // Rust also reads `inf`, `nan` and `infinity`; in a log these are words.
    let numeric = text.bytes().all(|b| b.is_ascii_digit() || b"+-.eE".contains(&b));
    let number = text.parse::<f64>().ok().filter(|n| numeric && n.abs() <= 1e290)?;
    Some(number + 0.0)
}

/// Appends the key of a group: each value marked and with its length, so that no two groups have one key.
pub(crate) fn write_key(key: &mut Vec<u8>, fields: &[u32], values: &[(u32, Captured)]) {
    let text = |text: &str, key: &mut Vec<u8>| {
        key.extend_from_slice(&(text.len() as u32).to_le_bytes());
        key.extend_from_slice(text.as_bytes());
    };
    for field in fields {
        match find(values, *field) {
            None => key.push(0),
            Some(Captured::One(one)) => {
                key.push(1);
                text(one, key);
            }
            Some(Captured::Many(items)) => {
                key.push(2);
                key.extend_from_slice(&(items.len() as u32).to_le_bytes());
                for item in items {
                    text(item, key);
                }
            }
        }
    }
}

/// Reads the values of a key back.
pub(crate) fn read_key(mut key: &[u8]) -> Vec<Option<Captured>> {
    fn length(key: &mut &[u8]) -> Option<usize> {
        let (head, rest) = key.split_first_chunk::<4>()?;
        *key = rest;
        Some(u32::from_le_bytes(*head) as usize)
    }
    fn text(key: &mut &[u8]) -> Option<Box<str>> {
        let length = length(key)?;
        let (text, rest) = key.split_at_checked(length)?;
        *key = rest;
        std::str::from_utf8(text).ok().map(Into::into)
    }
    let mut out = Vec::new();
    while let Some((mark, rest)) = key.split_first() {
        key = rest;
        out.push(match mark {
            1 => text(&mut key).map(Captured::One),
            2 => length(&mut key).map(|n| Captured::Many((0..n).map_while(|_| text(&mut key)).collect())),
            _ => None,
        });
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_told_apart_and_read_back() {
        let one = |text: &str| Some(Captured::One(text.into()));
        let many = |items: &[&str]| Some(Captured::Many(items.iter().map(|i| Box::from(*i)).collect()));
        let groups = [
            vec![None, None],
            vec![one(""), None],
            vec![one("ab"), one("")],
            vec![one("a"), one("b")],
            vec![many(&["a", "b"]), None],
            vec![many(&[]), one("é")],
        ];
        let mut keys = Vec::new();
        for group in groups {
            let values: Values = (0..).zip(group.clone()).filter_map(|(i, v)| Some((i, v?))).collect();
            let mut key = Vec::new();
            write_key(&mut key, &[0, 1], &values);
            assert_eq!(read_key(&key), group);
            assert!(!keys.contains(&key));
            keys.push(key);
        }
    }

    #[test]
    fn numbers_are_read_as_logs_write_them() {
        for (text, expected) in [("12", 12.0), (" -0.5", -0.5), ("0x1F", 31.0), ("1e3", 1000.0), ("-0", 0.0)]
        {
            assert_eq!(number(text), Some(expected), "{text}");
        }
        for text in ["", "0x", "0x-1", "inf", "NaN", "1e300", "12 MB", "1,5", "0xfffffffffffffffff"] {
            assert_eq!(number(text), None, "{text}");
        }
    }

    #[test]
    fn long_texts_stay_different() {
        let long = "x".repeat(100_000);
        let a = Captured::take(&Value::str(&long)).unwrap();
        let b = Captured::take(&Value::from(format!("{long}y"))).unwrap();
        assert!(a != b && a.bytes() < 1000);
    }
}
