//! Regular expressions: read and measured when the rule is parsed, compiled when one is first needed.

use std::fmt;
use std::sync::OnceLock;

use regex::{Regex, RegexBuilder};
use regex_syntax::ParserBuilder;
use regex_syntax::hir::{Class, Hir, HirKind};

use crate::language::literal::{self, Required};
use crate::limits;

/// A regular expression as a rule gives it. It is searched for; it need not match the whole text.
#[derive(Clone)]
pub(crate) struct Regexp {
    pub source: String,
    pub flags: Flags,
    /// What every match has.
    pub required: Required,
    compiled: OnceLock<Option<Regex>>,
}

/// The modifiers after `re`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub(crate) struct Flags {
    /// `i`
    pub case_insensitive: bool,
    /// `m`: `^` and `$` are the ends of lines.
    pub multi_line: bool,
    /// `s`: `.` is also the end of a line.
    pub dot_all: bool,
}

/// Why an expression is refused.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum RegexpFault {
    /// It needs more than [`limits::REGEX_BYTES`].
    TooBig,
    /// What is wrong with its syntax.
    Broken(String),
}

/// Nesting of groups.
pub(crate) const NEST_LIMIT: u32 = 100;

impl Regexp {
    /// Reads an expression.
    pub fn new(source: &str, flags: Flags) -> Result<Self, RegexpFault> {
        let hir = ParserBuilder::new()
            .case_insensitive(flags.case_insensitive)
            .multi_line(flags.multi_line)
            .dot_matches_new_line(flags.dot_all)
            .nest_limit(NEST_LIMIT)
            .build()
            .parse(source)
            .map_err(|error| RegexpFault::Broken(last_line(&error.to_string())))?;
        let out = Self::trusted(source.to_owned(), flags, literal::required(&hir));
        // To compile is far dearer than to read. Only an expression that may be too big is compiled to find out, and what
        // came of it is not kept: a folder of rules may hold thousands of them, of which events need none or few.
        if size(&hir) > limits::REGEX_BYTES {
            build(source, flags, limits::REGEX_BYTES).map_err(|error| match error {
                regex::Error::CompiledTooBig(_) => RegexpFault::TooBig,
                error => RegexpFault::Broken(last_line(&error.to_string())),
            })?;
        }
        Ok(out)
    }

    /// An expression that [`Regexp::new`] accepted once, with what it found then.
    pub fn trusted(source: String, flags: Flags, required: Required) -> Self {
        Self { source, flags, required, compiled: OnceLock::new() }
    }

    /// Whether the text holds a match.
    pub fn is_match(&self, text: &str) -> bool {
        // What was accepted compiles; were it not so, an expression that cannot be compiled matches nothing.
        text.len() >= self.required.length && self.compiled().is_some_and(|regex| regex.is_match(text))
    }

    fn compiled(&self) -> Option<&Regex> {
        // The measure at parse time is rough, so there is room to spare here.
        self.compiled.get_or_init(|| build(&self.source, self.flags, 8 * limits::REGEX_BYTES).ok()).as_ref()
    }
}

impl fmt::Debug for Regexp {
    /// Without what was compiled: two expressions are told apart by their text.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Regexp")
            .field("source", &self.source)
            .field("flags", &self.flags)
            .finish_non_exhaustive()
    }
}

fn build(source: &str, flags: Flags, limit: usize) -> Result<Regex, regex::Error> {
    RegexBuilder::new(source)
        .case_insensitive(flags.case_insensitive)
        .multi_line(flags.multi_line)
        .dot_matches_new_line(flags.dot_all)
        .size_limit(limit)
        .nest_limit(NEST_LIMIT)
        .build()
}

/// The library draws the expression and an arrow over several lines; its last line says what is wrong.
fn last_line(text: &str) -> String {
    let last = text.lines().last().unwrap_or_default().trim();
    last.strip_prefix("error: ").unwrap_or(last).to_owned()
}

/// About how many bytes the compiled expression takes, rather too many than too few.
fn size(hir: &Hir) -> usize {
    /// Of one state of the automaton.
    const STATE: usize = 40;
    /// States that one range of characters takes: a range of UTF-8 texts splits into several of bytes.
    const RANGE_STATES: usize = 8;
    match hir.kind() {
        HirKind::Empty | HirKind::Look(_) | HirKind::Class(Class::Bytes(_)) => STATE,
        HirKind::Literal(literal) => STATE.saturating_mul(literal.0.len()),
        HirKind::Class(Class::Unicode(class)) => match class.ranges() {
            [range] if range.end().is_ascii() => STATE,
            ranges => ranges.len().saturating_mul(STATE * RANGE_STATES),
        },
        HirKind::Repetition(repetition) => {
            let times = repetition.max.unwrap_or(repetition.min.saturating_add(1)).max(1) as usize;
            size(&repetition.sub).saturating_add(STATE).saturating_mul(times)
        }
        HirKind::Capture(capture) => size(&capture.sub).saturating_add(2 * STATE),
        HirKind::Concat(parts) | HirKind::Alternation(parts) => {
            parts.iter().map(size).fold(STATE, usize::saturating_add)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_measure_is_not_far_below_what_an_expression_takes() {
        for source in [
            "a",
            "abc|def",
            r"\w",
            r"\w{20}",
            r"[^a-z]+x",
            r"(?i)straße.{0,40}\d",
            ".*(a|b){1,300}.*",
            r"\p{Greek}{50}",
        ] {
            let hir = regex_syntax::parse(source).unwrap();
            let limit = 8 * size(&hir).max(1 << 12);
            assert!(build(source, Flags::default(), limit).is_ok(), "{source} takes more than {limit} bytes");
        }
    }

    #[test]
    fn what_is_too_big_is_refused_and_what_is_accepted_matches() {
        assert_eq!(Regexp::new("((a{100}){100}){100}", Flags::default()).unwrap_err(), RegexpFault::TooBig);
        assert!(matches!(Regexp::new("(", Flags::default()), Err(RegexpFault::Broken(_))));
        for source in [r"\w{60}x?", r"(\w\d){1,40}"] {
            let regexp = Regexp::new(source, Flags::default()).unwrap();
            assert!(regexp.is_match(&"a1".repeat(200)), "{source}");
            assert!(!regexp.is_match("-"), "{source}");
        }
    }
}
