//! Fields that are made of others: copies under Sigma's names, numbers, words for codes, joined and split texts.

use std::borrow::Cow;

use wardline_event::Value;

/// A field, and how its value is made. All are made of the record as it was written: an order plays no part.
#[derive(Clone, Debug, PartialEq)]
pub struct Derivation {
    /// The name that rules use.
    pub to: String,
    /// What it is made of; the first of these that gives something is taken.
    pub(crate) from: Vec<Input>,
    pub(crate) change: Change,
}

/// What a field is made of.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Input {
    Field(String),
    /// Pieces of text, one after the other.
    Template(Vec<Piece>),
}

/// A piece of a template.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Piece {
    Text(String),
    Field(String),
    /// Left out if one of its fields holds nothing.
    Optional(Vec<Piece>),
}

/// What happens to the value.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Change {
    /// The value of this key in `KEY=value,KEY=value`.
    pub key: Option<String>,
    /// Words for codes.
    pub values: Vec<(String, String)>,
    /// Codes that have no word stay as they are (`true`), or give nothing.
    pub keep_others: bool,
    /// Beginnings that are replaced; the first that is there, without regard to case.
    pub prefixes: Vec<(String, String)>,
    pub number: bool,
}

/// A value that was made.
pub type Derived<'v> = Option<Value<'v>>;

impl Derivation {
    /// The field that this one is a mere copy of, if it is.
    pub fn copy_of(&self) -> Option<&str> {
        match &*self.from {
            [Input::Field(name)] if self.change == Change::default() => Some(name),
            _ => None,
        }
    }

    /// The fields that it is made of.
    pub fn inputs(&self) -> Vec<&str> {
        fn collect<'p>(pieces: &'p [Piece], out: &mut Vec<&'p str>) {
            for piece in pieces {
                match piece {
                    Piece::Text(_) => {}
                    Piece::Field(name) => out.push(name),
                    Piece::Optional(inner) => collect(inner, out),
                }
            }
        }
        let mut out = Vec::new();
        for from in &self.from {
            match from {
                Input::Field(name) => out.push(&**name),
                Input::Template(inner) => collect(inner, &mut out),
            }
        }
        out
    }

    /// The value for a record whose fields are told by `get`.
    pub fn value<'v>(&'v self, get: &dyn Fn(&str) -> Option<Value<'v>>) -> Derived<'v> {
        self.from.iter().find_map(|from| {
            let value = match from {
                Input::Field(name) => get(name)?,
                Input::Template(pieces) => {
                    let mut text = String::new();
                    fill(pieces, get, &mut text)?;
                    Value::from(text)
                }
            };
            self.change.apply(value)
        })
    }
}

/// Writes the pieces; `None` if a field that is not optional holds nothing.
fn fill<'v>(pieces: &[Piece], get: &dyn Fn(&str) -> Option<Value<'v>>, out: &mut String) -> Option<()> {
    for piece in pieces {
        match piece {
            Piece::Text(text) => out.push_str(text),
            Piece::Field(name) => {
                let value = get(name)?;
                // Windows writes a dash where it has nothing to say.
                out.push_str(&value.as_text().filter(|t| !matches!(&**t, "" | "-"))?);
            }
            Piece::Optional(inner) => {
                let from = out.len();
                if fill(inner, get, out).is_none() {
                    out.truncate(from);
                }
            }
        }
    }
    Some(())
}

impl Change {
    fn apply<'v>(&'v self, value: Value<'v>) -> Option<Value<'v>> {
        let mut value = value;
        if let Some(key) = &self.key {
            value = part(value, key)?;
        }
        if !self.values.is_empty() {
            let text = value.as_text()?;
            let word = self.values.iter().find(|(code, _)| text.eq_ignore_ascii_case(code));
            match word {
                Some((_, word)) => value = Value::str(word),
                None if self.keep_others => {}
                None => return None,
            }
        }
        if !self.prefixes.is_empty() {
            let text = value.as_text()?;
            let new = self.prefixes.iter().find_map(|(old, new)| {
                let rest = strip_prefix(&text, old)?;
                Some(format!("{new}{rest}"))
            });
            if let Some(new) = new {
                value = Value::from(new);
            }
        }
        if self.number {
            value = Value::Int(number(&value)?);
        }
        Some(value)
    }
}

fn strip_prefix<'t>(text: &'t str, prefix: &str) -> Option<&'t str> {
    let (head, rest) = text.split_at_checked(prefix.len())?;
    head.eq_ignore_ascii_case(prefix).then_some(rest)
}

/// A key's value in `SHA1=…,MD5=…`.
fn part<'v>(value: Value<'v>, key: &str) -> Option<Value<'v>> {
    let of = |text: &str| {
        let mut at = 0;
        for pair in text.split(',') {
            if let Some(rest) = strip_prefix(pair.trim_start(), key).and_then(|r| r.strip_prefix('=')) {
                let from = at + pair.len() - rest.len();
                return Some(from..from + rest.len());
            }
            at += pair.len() + 1;
        }
        None
    };
    match value {
        Value::Str(Cow::Borrowed(text)) => of(text).map(|range| Value::str(&text[range])),
        other => {
            let text = other.as_text()?;
            of(&text).map(|range| Value::from(text[range].to_owned()))
        }
    }
}

/// A whole number, as such, as decimal text or as `0x…`.
fn number(value: &Value<'_>) -> Option<i64> {
    match value {
        Value::Int(n) => Some(*n),
        Value::Str(text) => match text.trim().strip_prefix("0x") {
            Some(hex) => i64::from_str_radix(hex, 16).ok(),
            None => text.trim().parse().ok(),
        },
        _ => None,
    }
}
