//! Collects findings.

use super::{Diagnostic, table};
use crate::error::{Fault, Pos, RuleError};
use crate::language::yaml::{Key, Kind, Node, Scalar};

/// A place and how many characters it is long.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span {
    pub pos: Pos,
    pub width: usize,
}

impl Span {
    pub fn of_key(key: &Key) -> Self {
        let quotes = 2 * (key.span.pos().column - key.pos.column);
        // A key may be empty, and still be pointed at.
        Self { pos: key.pos, width: (key.text.chars().count() + quotes).max(1) }
    }

    /// The part of a key that begins after `chars` characters.
    pub fn in_key(key: &Key, chars: usize, width: usize) -> Self {
        let pos = Pos { line: key.pos.line, column: key.span.pos().column + chars };
        Self { pos, width: width.max(1) }
    }

    pub fn of_node(node: &Node) -> Self {
        match &node.kind {
            Kind::Scalar(scalar) => Self::of_scalar(node.pos, scalar),
            _ => Self { pos: node.pos, width: 1 },
        }
    }

    fn of_scalar(pos: Pos, scalar: &Scalar) -> Self {
        let quotes = 2 * (scalar.span.pos().column.saturating_sub(pos.column));
        // A block scalar's text stands in other lines than its sign.
        let width = if scalar.plain || quotes > 0 { scalar.text.chars().count() + quotes } else { 1 };
        Self { pos, width: width.max(1) }
    }
}

/// Faults of one document that are told.
const FAULTS: usize = 100;

pub(super) struct Report<'a> {
    origin: &'a str,
    pub out: Vec<Diagnostic>,
}

impl<'a> Report<'a> {
    pub fn new(origin: &'a str) -> Self {
        Self { origin, out: Vec::new() }
    }

    /// Adds a finding of the lint with this code.
    pub fn add(&mut self, code: &'static str, at: Span, message: impl Into<String>, help: impl Into<String>) {
        let level = table::level_of(code);
        self.out.push(Diagnostic {
            code,
            level,
            origin: self.origin.to_owned(),
            line: at.pos.line,
            column: at.pos.column,
            width: at.width,
            message: shortened(message.into()),
            help: shortened(help.into()),
        });
    }

    /// Adds the faults of a document: that for which it is refused, and those that do not follow from another.
    pub fn faults(&mut self, text: &str, first: Fault, mut all: Vec<Fault>) {
        if !all.contains(&first) {
            all.insert(0, first);
        }
        for fault in all.into_iter().take(FAULTS) {
            self.error(text, fault.at(self.origin));
        }
    }

    pub fn error(&mut self, text: &str, error: RuleError) {
        self.out.push(Diagnostic::of_error(error, text));
    }
}

/// A message may quote a value of the rule, which may be very long.
fn shortened(text: String) -> String {
    const SHOWN: usize = 400;
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

/// How many characters the word at a place is long: a quoted text to its closing quote, else letters, digits and
/// what may stand in names.
pub(super) fn word_width(text: &str, line: usize, column: usize) -> usize {
    let Some(line) = text.lines().nth(line.saturating_sub(1)) else { return 1 };
    let mut rest = line.chars().skip(column.saturating_sub(1));
    let Some(first) = rest.next() else { return 1 };
    if matches!(first, '\'' | '"') {
        return 1 + rest.position(|c| c == first).map_or(0, |end| end + 1);
    }
    let in_word = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | '*' | '?' | '%');
    1 + if in_word(first) { rest.take_while(|c| in_word(*c)).count() } else { 0 }
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_long_value_is_not_told_in_full() {
        assert_eq!(super::shortened("é".repeat(400)), "é".repeat(400));
        assert_eq!(super::shortened("é".repeat(401)), format!("{}…", "é".repeat(400)));
    }
}
