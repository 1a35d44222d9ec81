//! The text that every match of a regular expression holds, so that the shared index can rule the expression out
//! before it runs.

use regex_syntax::hir::{Class, Hir, HirKind};

use crate::pattern::fold_char;

/// Shorter texts are in nearly every value and rule nothing out.
const SHORTEST: usize = 2;
/// A class with more characters than this is not one letter in its spellings.
const SPELLINGS: usize = 8;

/// The longest folded text that is in every (folded) text which the expression matches.
pub(crate) fn required(hir: &Hir) -> Option<String> {
    let mut runs = Runs::default();
    runs.walk(hir);
    runs.cut();
    Some(runs.longest).filter(|text| text.chars().count() >= SHORTEST)
}

/// Collects runs of characters that follow each other in every match.
#[derive(Default)]
struct Runs {
    current: String,
    longest: String,
}

impl Runs {
    fn walk(&mut self, hir: &Hir) {
        match hir.kind() {
            HirKind::Empty | HirKind::Look(_) => {}
            HirKind::Literal(literal) => match std::str::from_utf8(&literal.0) {
                Ok(text) => self.current.extend(text.chars().map(fold_char)),
                Err(_) => self.cut(),
            },
            HirKind::Class(class) => match one_letter(class) {
                Some(c) => self.current.push(c),
                None => self.cut(),
            },
            HirKind::Repetition(repetition) => {
                if repetition.min >= 1 {
                    // What comes before touches the first round; what comes after touches the last.
                    self.walk(&repetition.sub);
                }
                self.cut();
            }
            HirKind::Capture(capture) => self.walk(&capture.sub),
            HirKind::Concat(parts) => parts.iter().for_each(|part| self.walk(part)),
            HirKind::Alternation(_) => self.cut(),
        }
    }

    fn cut(&mut self) {
        if self.current.len() > self.longest.len() {
            self.longest = std::mem::take(&mut self.current);
        } else {
            self.current.clear();
        }
    }
}

/// The folded letter, if the class holds nothing but spellings of one.
fn one_letter(class: &Class) -> Option<char> {
    let Class::Unicode(class) = class else { return None };
    let mut letter = None;
    let mut seen = 0;
    for range in class.ranges() {
        for c in range.start()..=range.end() {
            seen += 1;
            if seen > SPELLINGS || *letter.get_or_insert(fold_char(c)) != fold_char(c) {
                return None;
            }
        }
    }
    letter
}

#[cfg(test)]
mod tests {
    use super::*;

    fn required_of(pattern: &str, case_insensitive: bool) -> Option<String> {
        let mut parser = regex_syntax::ParserBuilder::new().case_insensitive(case_insensitive).build();
        required(&parser.parse(pattern).unwrap())
    }

    #[test]
    fn the_longest_run_is_found() {
        for (pattern, wanted) in [
            ("net\\s+user", Some("user")),
            ("(?i)KERNEL32", Some("kernel32")),
            ("a(bc)+d", Some("abc")),
            ("(foo|bar)baz", Some("baz")),
            ("foo|bar", None),
            ("x?yz*", None),
            ("^\\\\pipe\\\\[a-f]{4}", Some("\\pipe\\")),
            (".{1000,}", None),
            ("[Aa][Bb]", Some("ab")),
        ] {
            assert_eq!(required_of(pattern, false).as_deref(), wanted, "{pattern}");
        }
        assert_eq!(required_of("Straße", true).as_deref(), Some("straße"));
    }
}
