//! The words of conditions, of rules and of correlations.

use crate::error::{Fault, Pos};
use crate::limits;

/// A word or a bracket, and where it stands.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Word<'a> {
    pub text: &'a str,
    pub pos: Pos,
}

impl Word<'_> {
    /// Whether it is this word of the language, which is written in any case.
    pub fn is(&self, word: &str) -> bool {
        self.text.eq_ignore_ascii_case(word)
    }
}

/// Takes a condition apart. `at` is the place of its first character; `is_word` says what words are made of beside
/// letters and digits, `odd` what to say of any other character but a bracket, `too_many` of a condition that is too long.
pub(crate) fn split<'a>(
    text: &'a str,
    at: Pos,
    is_word: &dyn Fn(char) -> bool,
    odd: &dyn Fn(char, Pos) -> Fault,
    too_many: &dyn Fn(Pos) -> Fault,
) -> Result<Vec<Word<'a>>, Fault> {
    let is_word = |c: char| c.is_alphanumeric() || is_word(c);
    let mut words = Vec::new();
    let mut chars = text.char_indices().enumerate().peekable();
    while let Some((column, (start, c))) = chars.next() {
        let pos = Pos { line: at.line, column: at.column + column };
        if c.is_whitespace() {
            continue;
        }
        let mut end = start + c.len_utf8();
        if is_word(c) {
            while let Some((_, (i, c))) = chars.next_if(|(_, (_, c))| is_word(*c)) {
                end = i + c.len_utf8();
            }
        } else if c != '(' && c != ')' {
            return Err(odd(c, pos));
        }
        words.push(Word { text: &text[start..end], pos });
        if words.len() > limits::CONDITION_TERMS {
            return Err(too_many(pos));
        }
    }
    Ok(words)
}

/// The place behind a condition.
pub(crate) fn end_of(text: &str, at: Pos) -> Pos {
    Pos { line: at.line, column: at.column + text.chars().count() }
}
