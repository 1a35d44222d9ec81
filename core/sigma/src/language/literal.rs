//! What every match of a regular expression has: texts of which it holds one, and a length. A value without them is
//! ruled out before the expression runs.

use regex_syntax::hir::{Class, Hir, HirKind};

use crate::language::pattern::fold_char;

/// So many texts may stand for one expression; more would take longer to look for than the expression itself.
const MOST: usize = 16;
/// Longer texts rule out no more.
const LONGEST: usize = 32;
/// A class with more characters than this, all spellings counted, is not taken apart.
const SPELLINGS: usize = 16;

/// What every match of an expression has.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub(crate) struct Required {
    /// Folded texts of which one is in every (folded) text that the expression matches; empty if none are known.
    pub any: Vec<String>,
    /// Bytes of the shortest match.
    pub length: usize,
}

/// What is in every text that the expression matches.
pub(crate) fn required(hir: &Hir) -> Required {
    let length = hir.properties().minimum_len().unwrap_or(0);
    Required { any: Parts::of(hir).best.unwrap_or_default(), length }
}

/// What is known of the matches of a part of an expression.
#[derive(Default)]
struct Parts {
    /// All texts that the part matches, if they are few.
    exact: Option<Vec<String>>,
    /// Texts of which one is in every match.
    best: Option<Vec<String>>,
}

impl Parts {
    fn exact(texts: Vec<String>) -> Self {
        Self { best: Some(texts.clone()).filter(|texts| worth(texts).is_some()), exact: Some(texts) }
    }

    fn of(hir: &Hir) -> Self {
        match hir.kind() {
            HirKind::Empty | HirKind::Look(_) => Self::exact(vec![String::new()]),
            HirKind::Literal(literal) => match str::from_utf8(&literal.0) {
                Ok(text) => Self::exact(vec![text.chars().map(fold_char).collect()]),
                Err(_) => Self::default(),
            },
            HirKind::Class(class) => letters(class).map(Self::exact).unwrap_or_default(),
            HirKind::Repetition(repetition) if repetition.min >= 1 => {
                let once = Self::of(&repetition.sub);
                let only = repetition.min == 1 && repetition.max == Some(1);
                Self { exact: once.exact.filter(|_| only), best: once.best }
            }
            HirKind::Repetition(_) => Self::default(),
            HirKind::Capture(capture) => Self::of(&capture.sub),
            HirKind::Alternation(branches) => {
                Self::one_of(&branches.iter().map(Self::of).collect::<Vec<_>>())
            }
            HirKind::Concat(parts) => Self::all_of(parts),
        }
    }

    fn one_of(branches: &[Self]) -> Self {
        let union = |texts: fn(&Self) -> Option<&Vec<String>>| {
            let all: Option<Vec<&Vec<String>>> = branches.iter().map(texts).collect();
            Some(all?.into_iter().flatten().cloned().collect::<Vec<_>>()).filter(|all| all.len() <= MOST)
        };
        match union(|branch| branch.exact.as_ref()) {
            Some(exact) => Self::exact(exact),
            None => Self { exact: None, best: union(|branch| branch.best.as_ref()) },
        }
    }

    /// Follows the parts as long as the texts that end where the next part begins are few.
    fn all_of(parts: &[Hir]) -> Self {
        let mut found = Self::default();
        // The texts that end here, and whether they are all of the match so far.
        let (mut run, mut whole) = (vec![String::new()], true);
        for part in parts {
            // What comes before a repetition touches its first round, what comes after touches its last.
            let (part, ends_run) = match part.kind() {
                HirKind::Repetition(repetition)
                    if repetition.min >= 1 && (repetition.min, repetition.max) != (1, Some(1)) =>
                {
                    (Self::of(&repetition.sub), true)
                }
                _ => (Self::of(part), false),
            };
            found.take(part.best);
            let joined = part.exact.as_deref().and_then(|texts| join(&run, texts));
            if ends_run || joined.is_none() {
                whole = false;
            }
            found.take(Some(run));
            match joined {
                Some(joined) if !ends_run => run = joined,
                joined => {
                    found.take(joined);
                    run = part.exact.unwrap_or_else(|| vec![String::new()]);
                }
            }
        }
        found.exact = Some(run.clone()).filter(|_| whole);
        found.take(Some(run));
        found
    }

    /// Keeps the better of two choices.
    fn take(&mut self, other: Option<Vec<String>>) {
        let Some(other) = other else { return };
        let of_best = self.best.as_deref().and_then(worth);
        if worth(&other).is_some_and(|worth| of_best.is_none_or(|best| worth > best)) {
            self.best = Some(other);
        }
    }
}

/// How much a choice of texts rules out: long ones more, many less; `None` if that is nothing.
fn worth(texts: &[String]) -> Option<i32> {
    let shortest = texts.iter().map(String::len).min()?;
    // One letter is in nearly every value; other characters are rarer.
    let letter = |text: &String| text.chars().all(char::is_alphanumeric) || text.trim().is_empty();
    if shortest == 0 || (shortest == 1 && texts.iter().any(|text| text.len() == 1 && letter(text))) {
        return None;
    }
    Some(3 * shortest as i32 - 2 * texts.len().ilog2() as i32)
}

/// Each text of the one list before each of the other.
fn join(before: &[String], after: &[String]) -> Option<Vec<String>> {
    let longest = |texts: &[String]| texts.iter().map(String::len).max().unwrap_or(0);
    if before.len() * after.len() > MOST || longest(before) + longest(after) > LONGEST {
        return None;
    }
    Some(before.iter().flat_map(|a| after.iter().map(move |b| format!("{a}{b}"))).collect())
}

/// The folded letters of a class, if they are few.
fn letters(class: &Class) -> Option<Vec<String>> {
    let Class::Unicode(class) = class else { return None };
    let mut letters = Vec::new();
    for c in class.ranges().iter().flat_map(|range| range.start()..=range.end()).take(SPELLINGS + 1) {
        letters.push(fold_char(c));
    }
    if letters.len() > SPELLINGS {
        return None;
    }
    letters.sort_unstable();
    letters.dedup();
    Some(letters.into_iter().map(String::from).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn required_of(pattern: &str) -> Required {
        required(&regex_syntax::parse(pattern).unwrap())
    }

    #[test]
    fn the_texts_that_rule_out_most_are_found() {
        for (pattern, wanted) in [
            ("net\\s+user", &["user"][..]),
            ("(?i)KERNEL32", &["kernel32"]),
            ("a(bc)+d", &["abc"]),
            ("(foo|bar)baz", &["barbaz", "foobaz"]),
            ("(foo|bar)baz.*quxquux", &["quxquux"]),
            ("foo|bar", &["bar", "foo"]),
            ("foo|.", &[]),
            ("x?yz*", &[]),
            ("a`?b", &[]),
            ("\\w+`\\w", &["`"]),
            ("\\d\\.[ '\"]$", &[". ", ".\"", ".'"]),
            ("^\\\\pipe\\\\[a-f]{4}", &["\\pipe\\"]),
            (".{1000,}", &[]),
            ("[Aa][Bb]", &["ab"]),
        ] {
            let mut any = required_of(pattern).any;
            any.sort_unstable();
            assert_eq!(any, wanted, "{pattern}");
        }
        assert_eq!(required_of("(?i)Straße").any, ["straße"]);
        assert_eq!(required_of("\\s[a-f0-9]{64}").length, 65);
    }

    /// Expressions of a few letters, groups, classes and repetitions.
    fn expression() -> impl Strategy<Value = String> {
        let leaf = prop::sample::select(
            &["a", "b", "K", "`", "[ab]", "[^a]", ".", "ab", "^", "$", "\\b", "(?i:k)"][..],
        );
        leaf.prop_map(str::to_owned).prop_recursive(4, 24, 3, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 1..4).prop_map(|parts| parts.concat()),
                prop::collection::vec(inner.clone(), 1..4).prop_map(|parts| format!("({})", parts.join("|"))),
                (inner, prop::sample::select(&["?", "*", "+", "{2}", "{1}", "{0,1}"][..]))
                    .prop_map(|(part, times)| format!("(?:{part}){times}")),
            ]
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

        #[test]
        fn what_is_required_is_in_every_match(
            pattern in expression(),
            texts in prop::collection::vec(r"[aAbBkK\u{212a}` ]{0,8}", 1..8),
        ) {
            let regex = regex::Regex::new(&pattern).unwrap();
            let Required { any, length } = required_of(&pattern);
            for text in texts.iter().filter(|text| regex.is_match(text)) {
                let folded = crate::language::pattern::fold(text);
                prop_assert!(text.len() >= length, "{} {:?}", pattern, text);
                prop_assert!(
                    any.is_empty() || any.iter().any(|literal| folded.contains(literal.as_str())),
                    "{} {:?} {:?}", pattern, text, any
                );
            }
        }
    }
}
