//! The extended condition of temporal correlations: `rule_a and not (rule_b or rule_c)`.

use crate::error::{Fault, Pos};
use crate::language::words::{self, Word};
use crate::limits;

/// A condition over the rules that a correlation refers to, by their position among them.
#[derive(Clone, PartialEq, Debug)]
pub(crate) enum Expression {
    Rule(usize),
    Not(Box<Expression>),
    And(Vec<Expression>),
    Or(Vec<Expression>),
}

/// One way to meet an expression: these rules must be there (a bit each), those must not.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub(crate) struct Way {
    pub there: u64,
    pub absent: u64,
}

impl Expression {
    /// Whether it holds if the rules of this mask were seen.
    pub fn holds(&self, seen: u64) -> bool {
        match self {
            Self::Rule(index) => seen & (1 << index) != 0,
            Self::Not(inner) => !inner.holds(seen),
            Self::And(parts) => parts.iter().all(|p| p.holds(seen)),
            Self::Or(parts) => parts.iter().any(|p| p.holds(seen)),
        }
    }

    /// How many rules would have to come, or to stay away, for it to hold. Of more ways than are looked at, 1.
    pub fn missing(&self, seen: u64) -> f64 {
        if self.holds(seen) {
            return 0.0;
        }
        let ways = self.ways(limits::ORDERED_WAYS).unwrap_or_default();
        let missing = |way: &Way| (way.there & !seen).count_ones() + (way.absent & seen).count_ones();
        ways.iter().map(missing).min().map_or(1.0, f64::from)
    }

    /// Every way to meet it; `None` if there are more than `most`. Contradictions are left out.
    pub fn ways(&self, most: usize) -> Option<Vec<Way>> {
        self.expand(false, most)
    }

    fn expand(&self, negated: bool, most: usize) -> Option<Vec<Way>> {
        let mut ways = match (self, negated) {
            (Self::Rule(i), false) => vec![Way { there: 1 << i, absent: 0 }],
            (Self::Rule(i), true) => vec![Way { there: 0, absent: 1 << i }],
            (Self::Not(inner), _) => inner.expand(!negated, most)?,
            (Self::Or(parts), false) | (Self::And(parts), true) => {
                let mut ways = Vec::new();
                for part in parts {
                    ways.extend(part.expand(negated, most)?);
                }
                ways
            }
            (Self::And(parts), false) | (Self::Or(parts), true) => {
                let mut ways = vec![Way::default()];
                for part in parts {
                    let more = part.expand(negated, most)?;
                    ways = ways
                        .iter()
                        .flat_map(|a| {
                            more.iter().map(|b| Way { there: a.there | b.there, absent: a.absent | b.absent })
                        })
                        .filter(|way| way.there & way.absent == 0)
                        .collect();
                    ways.sort_unstable_by_key(|w| (w.there, w.absent));
                    ways.dedup();
                    if ways.len() > most {
                        return None;
                    }
                }
                ways
            }
        };
        ways.sort_unstable_by_key(|w| (w.there, w.absent));
        ways.dedup();
        (ways.len() <= most).then_some(ways)
    }
}

/// Reads a condition. Each rule that it names is looked up by `position`, which gives its place among the rules.
pub(crate) fn parse(
    text: &str,
    at: Pos,
    position: &mut dyn FnMut(&str, Pos) -> Result<usize, Fault>,
) -> Result<Expression, Fault> {
    let tokens = words_of(text, at)?;
    let mut parser = Parser { tokens: &tokens, next: 0, end: words::end_of(text, at), position };
    let expression = parser.or(0)?;
    match parser.tokens.get(parser.next) {
        None => Ok(expression),
        Some(Word { text: word, pos }) => Err(Fault::new(
            "S040",
            *pos,
            format!("`{word}` is not expected here"),
            "join two parts with `and` or `or`; close each bracket once",
        )),
    }
}

fn words_of(text: &str, at: Pos) -> Result<Vec<Word<'_>>, Fault> {
    let is_word = |c| matches!(c, '_' | '-' | '.');
    let odd = |c, pos| {
        Fault::new(
            "S040",
            pos,
            format!("`{c}` cannot stand in a correlation's condition"),
            "it has names of rules, `and`, `or`, `not` and brackets",
        )
    };
    let too_many = |pos| {
        let message = format!("the condition has more than {} words", limits::CONDITION_TERMS);
        Fault::new("S002", pos, message, "chain several correlations")
    };
    words::split(text, at, &is_word, &odd, &too_many)
}

struct Parser<'a, 'p> {
    tokens: &'a [Word<'a>],
    next: usize,
    end: Pos,
    position: &'p mut dyn FnMut(&str, Pos) -> Result<usize, Fault>,
}

impl Parser<'_, '_> {
    fn take_word(&mut self, word: &str) -> bool {
        let found = self.tokens.get(self.next).is_some_and(|t| t.is(word));
        self.next += usize::from(found);
        found
    }

    fn or(&mut self, depth: usize) -> Result<Expression, Fault> {
        let mut parts = vec![self.and(depth)?];
        while self.take_word("or") {
            parts.push(self.and(depth)?);
        }
        Ok(if parts.len() == 1 { parts.swap_remove(0) } else { Expression::Or(parts) })
    }

    fn and(&mut self, depth: usize) -> Result<Expression, Fault> {
        let mut parts = vec![self.not(depth)?];
        while self.take_word("and") {
            parts.push(self.not(depth)?);
        }
        Ok(if parts.len() == 1 { parts.swap_remove(0) } else { Expression::And(parts) })
    }

    fn not(&mut self, depth: usize) -> Result<Expression, Fault> {
        let Some(&Word { text: word, pos }) = self.tokens.get(self.next) else {
            return Err(Fault::new(
                "S040",
                self.end,
                "the condition ends where a rule is expected",
                "name a rule",
            ));
        };
        if depth > limits::CONDITION_DEPTH {
            let message = format!("the condition is nested deeper than {} levels", limits::CONDITION_DEPTH);
            return Err(Fault::new("S002", pos, message, "take brackets away"));
        }
        self.next += 1;
        match word {
            "(" => {
                let inner = self.or(depth + 1)?;
                if self.take_word(")") {
                    Ok(inner)
                } else {
                    Err(Fault::new("S040", pos, "this bracket is never closed", "add `)`"))
                }
            }
            _ if word.eq_ignore_ascii_case("not") => Ok(Expression::Not(Box::new(self.not(depth + 1)?))),
            _ if word == ")" || ["and", "or"].iter().any(|w| word.eq_ignore_ascii_case(w)) => {
                Err(Fault::new(
                    "S040",
                    pos,
                    format!("`{word}` where a rule is expected"),
                    "name a rule before it",
                ))
            }
            _ => Ok(Expression::Rule((self.position)(word, pos)?)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Expression, &'static str> {
        let names = ["a", "b", "c"];
        let mut position = |name: &str, pos| {
            names.iter().position(|n| *n == name).ok_or_else(|| Fault::new("S041", pos, "", ""))
        };
        parse(text, Pos { line: 1, column: 1 }, &mut position).map_err(|fault| fault.code)
    }

    #[test]
    fn binds_not_before_and_before_or() {
        let seen = |text, mask| read(text).unwrap().holds(mask);
        for (mask, expected) in [(0b000, false), (0b001, true), (0b010, true), (0b110, false), (0b101, true)]
        {
            assert_eq!(seen("a or b and not c", mask), expected, "{mask:03b}");
        }
        assert!(seen("NOT (a OR b) And c", 0b100) && !seen("not (a or b) and c", 0b101));
        assert!(seen("not not a", 0b001));
        for (text, code) in [
            ("", "S040"),
            ("a b", "S040"),
            ("(a", "S040"),
            ("a and", "S040"),
            ("or a", "S040"),
            ("a & b", "S040"),
            ("d", "S041"),
        ] {
            assert_eq!(read(text), Err(code), "{text}");
        }
        assert_eq!(read(&"(".repeat(100_000)), Err("S002"));
        assert_eq!(read(&"not ".repeat(1000)), Err("S002"));
    }

    /// The ways to meet an expression and the expression itself say the same of every mask.
    #[test]
    fn ways_mean_the_same() {
        for text in [
            "a",
            "not a",
            "a and (b or not c)",
            "not (a and b) or c",
            "not (a or not (b and c))",
            "a and not a",
        ] {
            let expression = read(text).unwrap();
            let ways = expression.ways(100).unwrap();
            for seen in 0..8_u64 {
                let met = ways.iter().any(|w| w.there & !seen == 0 && w.absent & seen == 0);
                assert_eq!(met, expression.holds(seen), "{text} {seen:03b}");
            }
        }
        assert_eq!(read("(a or b) and (b or c) and (a or c)").unwrap().ways(1), None);
    }
}
