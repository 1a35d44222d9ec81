//! Sigma strings as values of pipelines: shown, written, and with parts replaced.

use regex::Captures;

use super::step::{Case, Replace, Replacement};
use crate::language::pattern::{Token, push_tokens, tokens};

/// The string as text in which wildcards and the characters `*` and `?` look alike.
pub(super) fn shown(string: &[Token]) -> String {
    string.iter().map(token_shown).collect()
}

fn token_shown(token: &Token) -> &str {
    match token {
        Token::Lit(text) => text,
        Token::One => "?",
        Token::Many => "*",
        // Only `windash` makes these, and what it makes is not changed by pipelines.
        Token::Dash => "-",
    }
}

/// The string as a rule writes it: reading it gives the same string.
pub(super) fn written(string: &[Token]) -> String {
    let mut out = String::new();
    for token in string {
        let Token::Lit(text) = token else {
            out.push_str(token_shown(token));
            continue;
        };
        for c in text.chars() {
            if matches!(c, '*' | '?' | '\\') {
                out.push('\\');
            }
            out.push(c);
        }
    }
    out
}

/// The string with `*` and `?` that stand for themselves after a backslash, other backslashes as they are.
pub(super) fn plain(string: &[Token]) -> String {
    units(string).iter().map(|unit| unit.plain.as_str()).collect()
}

/// A character or a wildcard, and how it looks.
struct Unit {
    plain: String,
    token: Token,
}

fn units(string: &[Token]) -> Vec<Unit> {
    let mut out = Vec::new();
    for token in string {
        match token {
            Token::Lit(text) => out.extend(text.chars().map(|c| Unit {
                plain: if matches!(c, '*' | '?') { format!("\\{c}") } else { c.to_string() },
                token: Token::Lit(c.to_string()),
            })),
            other => out.push(Unit { plain: token_shown(other).to_owned(), token: other.clone() }),
        }
    }
    out
}

/// Text that came out of a replacement: a backslash stands for itself unless it is before a wildcard.
fn replaced(text: &str) -> Vec<Token> {
    let mut escaped = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        escaped.push(c);
        if c == '\\' && !matches!(chars.peek(), Some('*' | '?')) {
            escaped.push('\\');
        }
    }
    tokens(&escaped)
}

impl Replace {
    pub fn apply(&self, string: &[Token]) -> Vec<Token> {
        if self.skip_special { self.between_wildcards(string) } else { self.anywhere(string) }
    }

    fn between_wildcards(&self, string: &[Token]) -> Vec<Token> {
        let mut out = Vec::new();
        for token in string {
            let new = match token {
                Token::Lit(text) => {
                    let text =
                        self.regex.replace_all(text, |found: &Captures<'_>| self.expand(found)).into_owned();
                    match (text.is_empty(), self.interpret_special) {
                        (true, _) => Vec::new(),
                        (false, true) => tokens(&text),
                        (false, false) => vec![Token::Lit(text)],
                    }
                }
                other => vec![other.clone()],
            };
            push_tokens(&mut out, new);
        }
        out
    }

    /// Looks for matches in the string as it looks, wildcards and all. What no match touches stays what it is.
    fn anywhere(&self, string: &[Token]) -> Vec<Token> {
        let units = units(string);
        let plain: String = units.iter().map(|u| u.plain.as_str()).collect();
        let mut out = Vec::new();
        // Text that has to be read anew: what was put in, and units of which a match took only a part.
        let mut pending = String::new();
        let flush = |pending: &mut String, out: &mut Vec<Token>| {
            push_tokens(out, replaced(pending));
            pending.clear();
        };
        let keep = |from: usize, to: usize, pending: &mut String, out: &mut Vec<Token>| {
            let mut start = 0;
            for unit in &units {
                let end = start + unit.plain.len();
                if from <= start && end <= to {
                    flush(pending, out);
                    push_tokens(out, vec![unit.token.clone()]);
                } else if start < to && from < end {
                    pending.push_str(&plain[start.max(from)..end.min(to)]);
                }
                start = end;
            }
        };
        let mut at = 0;
        for found in self.regex.captures_iter(&plain) {
            let Some(whole) = found.get(0) else { continue };
            keep(at, whole.start(), &mut pending, &mut out);
            pending.push_str(&self.expand(&found));
            at = whole.end();
        }
        keep(at, plain.len(), &mut pending, &mut out);
        flush(&mut pending, &mut out);
        out
    }

    fn expand(&self, found: &Captures<'_>) -> String {
        let mut out = String::new();
        for piece in &self.replacement {
            match piece {
                Replacement::Text(text) => out.push_str(text),
                Replacement::Group(n) => out.push_str(found.get(*n).map_or("", |m| m.as_str())),
                Replacement::Named(name) => out.push_str(found.name(name).map_or("", |m| m.as_str())),
            }
        }
        out
    }
}

impl Case {
    pub fn apply(self, string: &[Token]) -> Vec<Token> {
        let change = |text: &String| match self {
            Self::Lower => text.to_lowercase(),
            Self::Upper => text.to_uppercase(),
        };
        string
            .iter()
            .map(|token| match token {
                Token::Lit(text) => Token::Lit(change(text)),
                other => other.clone(),
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn replace(regex: &str, with: &str) -> Replace {
        let replacement = vec![Replacement::Text(with.to_owned())];
        let regex = regex::Regex::new(regex).expect("a regular expression");
        Replace { regex, replacement, skip_special: false, interpret_special: false }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_as_the_same_string(text in r"[a\\*?]{0,12}") {
            let string = tokens(&text);
            prop_assert_eq!(tokens(&written(&string)), string);
        }

        #[test]
        fn a_replacement_that_finds_nothing_changes_nothing(text in r"[a\\*?]{0,12}") {
            let string = tokens(&text);
            prop_assert_eq!(replace("z", "b").apply(&string), string);
        }
    }

    /// A string, the expression, the replacement, the string after it.
    #[test]
    fn only_what_matched_is_read_anew() {
        for (text, regex, with, want) in [
            (r"*\cmd.exe", "cmd", "x", r"*\\x.exe"),
            (r"C:\\\*", r"\\", "/", r"C://*"),
            (r"a\*b", r"\*", "x", r"a\\xb"),
            ("a*b", r"\*", "x", "axb"),
            ("a*b", "a", "*", "*b"),
            ("ab", "b", r"\*", r"a\*"),
            ("ab", "b", r"\d", r"a\\d"),
            ("", "^", "x", "x"),
        ] {
            let out = replace(regex, with).apply(&tokens(text));
            assert_eq!(written(&out), want, "{text} {regex} {with}");
        }
    }
}
