//! The condition: `selection and not 1 of filter_*`.

use crate::error::{Fault, Pos};
use crate::language::ast::Condition;
use crate::language::words::{self, Word};
use crate::limits;

/// Reads a condition over the selections with these names. `at` is the place of the text's first character.
pub(crate) fn parse(text: &str, at: Pos, names: &[&str]) -> Result<Condition, Fault> {
    let tokens = words_of(text, at)?;
    let mut parser = Parser { tokens: &tokens, next: 0, names, terms: 0, end: words::end_of(text, at) };
    let condition = parser.or(0)?;
    match parser.peek() {
        None => Ok(condition),
        Some(token) => Err(Fault::new(
            "S040",
            token.pos,
            format!("`{}` is not expected here", token.text),
            "join two parts with `and` or `or`; close each bracket once",
        )),
    }
}

fn words_of(text: &str, at: Pos) -> Result<Vec<Word<'_>>, Fault> {
    let is_word = |c| matches!(c, '_' | '-' | '*' | '.' | '?');
    let odd = |c, pos| match c {
        '|' => aggregation(pos),
        _ => Fault::new(
            "S040",
            pos,
            format!("`{c}` cannot stand in a condition"),
            "a condition has names, `and`, `or`, `not`, `1 of`, `all of`, `them` and brackets",
        ),
    };
    let words = words::split(text, at, &is_word, &odd, &too_long)?;
    match words.iter().find(|word| word.is("near")) {
        Some(near) => Err(aggregation(near.pos)),
        None => Ok(words),
    }
}

fn aggregation(pos: Pos) -> Fault {
    Fault::new(
        "S023",
        pos,
        "aggregations (`| count() …`, `near`) are no longer part of Sigma",
        "write the rule without it and add a correlation rule that counts its matches",
    )
}

fn too_long(pos: Pos) -> Fault {
    Fault::new(
        "S002",
        pos,
        format!("the condition has more than {} terms", limits::CONDITION_TERMS),
        "name fewer selections, or join them",
    )
}

struct Parser<'a> {
    tokens: &'a [Word<'a>],
    next: usize,
    names: &'a [&'a str],
    terms: usize,
    end: Pos,
}

impl<'a> Parser<'a> {
    fn peek(&self) -> Option<&'a Word<'a>> {
        self.tokens.get(self.next)
    }

    fn take_word(&mut self, word: &str) -> bool {
        let found = self.peek().is_some_and(|t| t.is(word));
        self.next += usize::from(found);
        found
    }

    fn or(&mut self, depth: usize) -> Result<Condition, Fault> {
        let mut parts = vec![self.and(depth)?];
        while self.take_word("or") {
            parts.push(self.and(depth)?);
        }
        Ok(join(parts, Condition::Or))
    }

    fn and(&mut self, depth: usize) -> Result<Condition, Fault> {
        let mut parts = vec![self.not(depth)?];
        while self.take_word("and") {
            parts.push(self.not(depth)?);
        }
        Ok(join(parts, Condition::And))
    }

    fn not(&mut self, depth: usize) -> Result<Condition, Fault> {
        let Some(token) = self.peek() else {
            return Err(Fault::new(
                "S040",
                self.end,
                "the condition ends where a selection is expected",
                "add the name of a selection",
            ));
        };
        if depth > limits::CONDITION_DEPTH {
            return Err(Fault::new(
                "S002",
                token.pos,
                format!("the condition is nested deeper than {} levels", limits::CONDITION_DEPTH),
                "take brackets away",
            ));
        }
        self.next += 1;
        match token.text {
            "(" => {
                let inner = self.or(depth + 1)?;
                match self.peek() {
                    Some(close) if close.text == ")" => {
                        self.next += 1;
                        Ok(inner)
                    }
                    _ => Err(Fault::new("S040", token.pos, "this bracket is never closed", "add `)`")),
                }
            }
            text if text.eq_ignore_ascii_case("not") => Ok(Condition::Not(Box::new(self.not(depth + 1)?))),
            _ if self.peek().is_some_and(|t| t.is("of")) => self.of(token),
            text => self.selection(text, token.pos),
        }
    }

    fn selection(&mut self, name: &str, pos: Pos) -> Result<Condition, Fault> {
        if name == ")" || ["and", "or", "of"].iter().any(|word| name.eq_ignore_ascii_case(word)) {
            return Err(Fault::new(
                "S040",
                pos,
                format!("`{name}` where a selection is expected"),
                "add the name of a selection before it",
            ));
        }
        match self.names.iter().position(|n| *n == name) {
            Some(index) => {
                self.count(1, pos)?;
                Ok(Condition::Selection(index))
            }
            None => Err(Fault::new(
                "S041",
                pos,
                format!("the condition names `{name}`, which is not a selection of this rule"),
                format!("selections: {}", self.names.join(", ")),
            )),
        }
    }

    /// `1 of …`, `any of …`, `all of …`; the quantifier is already taken.
    fn of(&mut self, quantifier: &Word<'_>) -> Result<Condition, Fault> {
        let wrap = match quantifier.text.to_ascii_lowercase().as_str() {
            "1" | "any" => Condition::Or,
            "all" => Condition::And,
            other => {
                return Err(Fault::new(
                    "S040",
                    quantifier.pos,
                    format!("`{other} of` is not a quantifier"),
                    "Sigma has `1 of` and `all of`",
                ));
            }
        };
        self.next += 1;
        let Some(pattern) = self.peek() else {
            return Err(Fault::new(
                "S040",
                self.end,
                "`of` needs a pattern",
                "write `them` or a name with `*`",
            ));
        };
        self.next += 1;
        let them = pattern.is("them");
        let parts: Vec<Condition> = (0..self.names.len())
            .filter(|i| {
                let name = self.names[*i];
                // By convention a leading underscore takes a selection out of every group that does not name it.
                let hidden = name.starts_with('_') && !pattern.text.starts_with('_');
                if them { !hidden } else { !hidden && star_match(pattern.text, name) }
            })
            .map(Condition::Selection)
            .collect();
        if parts.is_empty() {
            return Err(Fault::new(
                "S041",
                pattern.pos,
                format!("`{}` fits no selection of this rule", pattern.text),
                format!("selections: {}", self.names.join(", ")),
            ));
        }
        self.count(parts.len(), pattern.pos)?;
        Ok(join(parts, wrap))
    }

    fn count(&mut self, terms: usize, pos: Pos) -> Result<(), Fault> {
        self.terms += terms;
        if self.terms > limits::CONDITION_TERMS { Err(too_long(pos)) } else { Ok(()) }
    }
}

/// Joins several parts; one part stays as it is.
fn join(mut parts: Vec<Condition>, wrap: fn(Vec<Condition>) -> Condition) -> Condition {
    match parts.pop() {
        Some(only) if parts.is_empty() => only,
        Some(last) => {
            parts.push(last);
            wrap(parts)
        }
        None => wrap(parts),
    }
}

/// Whether a selection's name fits a pattern whose only wildcard is `*`.
fn star_match(pattern: &str, name: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = name.strip_prefix(first) else { return false };
    let mut last = None;
    for part in parts {
        if let Some(middle) = last.replace(part) {
            match rest.find(middle) {
                Some(i) => rest = &rest[i + middle.len()..],
                None => return false,
            }
        }
    }
    last.map_or(rest.is_empty(), |last| rest.ends_with(last))
}
