//! Regression tests of rules in SigmaHQ's format: recorded events and how often a rule must match them.
//!
//! A newer form of it says `rules` for `rule_metadata` and `test_cases` for `regression_tests_info`, and may give
//! `pipelines` and `filters` for all tests at once.
//!
//! ```yaml
//! rule_metadata:
//!     - id: 5bed80b6-b3e8-428e-a3ae-d3c757589e41
//!       title: RDP over Reverse SSH Tunnel WFP
//! regression_tests_info:
//!     - name: Positive Detection Test
//!       type: evtx
//!       provider: Microsoft-Windows-Security-Auditing
//!       match_count: 1
//!       path: regression_data/rules/…/5bed80b6-b3e8-428e-a3ae-d3c757589e41.evtx
//! ```

use crate::error::{Fault, RuleError};
use crate::language::attributes::{missing, scalar, text};
use crate::language::yaml::{self, Kind, Node, Typed};

/// What an `info.yml` says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RegressionTests {
    /// The rules that are tested, each with every test.
    pub rules: Vec<TestedRule>,
    /// The tests; none if there are none yet.
    pub tests: Vec<RegressionTest>,
}

/// A rule that is tested.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TestedRule {
    /// Its id.
    pub id: String,
    /// Its title when the test was written.
    pub title: String,
}

/// Recorded events, and what a rule makes of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegressionTest {
    /// What the test is called.
    pub name: String,
    /// The format of the recording: `evtx`, `json`, …
    pub format: String,
    /// The provider that wrote the events; empty if it is not said.
    pub provider: String,
    /// Where the recording lies, relative to the folder of the whole repository.
    pub path: String,
    /// How many of the events the rule must match at least; at least one if it is not said.
    pub match_count: Option<u64>,
    /// Pipelines for rules of which the recording has other names of fields; relative like `path`.
    pub pipelines: Vec<String>,
    /// Filters that are put into the rules; relative like `path`.
    pub filters: Vec<String>,
    /// The line of the test.
    pub line: usize,
}

impl RegressionTest {
    /// Whether so many matches are as many as the test asks for: no fewer, and none if it asks for none. More are what
    /// SigmaHQ only warns of.
    pub const fn accepts(&self, matches: u64) -> bool {
        match self.match_count {
            None => matches > 0,
            Some(0) => matches == 0,
            Some(least) => matches >= least,
        }
    }
}

impl RegressionTests {
    /// Reads an `info.yml`. `origin` names the file in messages.
    ///
    /// # Errors
    /// The first fault, with its place.
    pub fn parse(text: &str, origin: &str) -> Result<Self, RuleError> {
        read(text).map_err(|fault| fault.at(origin))
    }
}

fn read(text: &str) -> Result<RegressionTests, Fault> {
    let mut out = RegressionTests::default();
    for document in yaml::parse(text.strip_prefix('\u{feff}').unwrap_or(text))? {
        let root = &document.root;
        if !matches!(root.kind, Kind::Mapping(_)) {
            let hint = "give `rule_metadata` and `regression_tests_info`";
            return Err(Fault::new("S003", root.pos, "a test of rules is a mapping", hint));
        }
        for rule in either(root, "rule_metadata", "rules")? {
            let id = required(rule, "id")?;
            out.rules.push(TestedRule { id, title: self::text(rule, "title")? });
        }
        let (pipelines, filters) = (texts(root, "pipelines")?, texts(root, "filters")?);
        for test in either(root, "regression_tests_info", "test_cases")? {
            let mut test = read_test(test)?;
            // What a test says itself goes first.
            if test.pipelines.is_empty() {
                test.pipelines.clone_from(&pipelines);
            }
            if test.filters.is_empty() {
                test.filters.clone_from(&filters);
            }
            out.tests.push(test);
        }
    }
    Ok(out)
}

fn read_test(test: &Node) -> Result<RegressionTest, Fault> {
    let match_count = test.get("match_count").map(count).transpose()?.flatten();
    Ok(RegressionTest {
        name: text(test, "name")?,
        format: text(test, "type")?,
        provider: text(test, "provider")?,
        path: required(test, "path")?,
        match_count,
        pipelines: texts(test, "pipelines")?,
        filters: texts(test, "filters")?,
        line: test.pos.line,
    })
}

/// A number of matches; none if it is null.
fn count(node: &Node) -> Result<Option<u64>, Fault> {
    let number = match &node.kind {
        Kind::Scalar(s) => match s.typed() {
            Typed::Null => return Ok(None),
            Typed::Int(n) => u64::try_from(n).ok(),
            _ => None,
        },
        _ => None,
    };
    let Some(number) = number else {
        let hint = "write how many events the rule matches, 0 or more";
        return Err(Fault::new("S011", node.pos, "`match_count` is not a whole number", hint));
    };
    Ok(Some(number))
}

/// The items of a list; none if it is not there or null.
fn list<'a>(root: &'a Node, name: &str) -> Result<&'a [Node], Fault> {
    match root.get(name).map(|node| (node, &node.kind)) {
        None => Ok(&[]),
        Some((_, Kind::Sequence(items))) => Ok(items),
        Some((_, Kind::Scalar(s))) if s.typed() == Typed::Null => Ok(&[]),
        Some((node, _)) => Err(Fault::new("S011", node.pos, format!("`{name}` must be a list"), "")),
    }
}

/// The items of the list of the one name or the other.
fn either<'a>(root: &'a Node, name: &str, other: &str) -> Result<impl Iterator<Item = &'a Node>, Fault> {
    Ok(list(root, name)?.iter().chain(list(root, other)?))
}

/// The texts of a list, or one text.
fn texts(root: &Node, name: &str) -> Result<Vec<String>, Fault> {
    match root.get(name).map(|node| (node, &node.kind)) {
        Some((node, Kind::Scalar(s))) if s.typed() != Typed::Null => Ok(vec![scalar(node, name)?]),
        _ => list(root, name)?.iter().map(|node| scalar(node, name)).collect(),
    }
}

fn required(node: &Node, name: &str) -> Result<String, Fault> {
    match node.get(name).map(|value| scalar(value, name)).transpose()? {
        Some(text) if !text.is_empty() => Ok(text),
        _ => Err(Fault { message: format!("the entry has no `{name}`"), ..missing(node, name) }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tests_and_rules_are_read() {
        let text = "id: x\ndate: 2026-01-01\nrule_metadata:\n- {id: a, title: A}\n- id: b\nregression_tests_info:\n\
                    - {name: One, type: evtx, provider: P, match_count: 2, path: regression_data/a.evtx}\n";
        let info = RegressionTests::parse(text, "info.yml").unwrap();
        assert_eq!(
            info.rules.iter().map(|r| (&*r.id, &*r.title)).collect::<Vec<_>>(),
            [("a", "A"), ("b", "")]
        );
        let test = &info.tests[0];
        assert_eq!((&*test.name, &*test.format, &*test.provider), ("One", "evtx", "P"));
        assert_eq!((&*test.path, test.match_count, test.line), ("regression_data/a.evtx", Some(2), 7));
        assert_eq!(
            RegressionTests::parse("rule_metadata: [{id: a}]\nregression_tests_info:\n", "").unwrap().tests,
            []
        );
    }

    #[test]
    fn the_newer_form_is_read_too() {
        let text = "pipelines: [p.yml]\nfilters: f.yml\nrules:\n- {id: a}\ntest_cases:\n- {type: json, path: a.json}\n\
                    - {type: json, path: b.json, pipelines: [q.yml, r.yml], match_count: null}\n";
        let info = RegressionTests::parse(text, "info.yml").unwrap();
        assert_eq!(info.rules[0].id, "a");
        let of = |test: &RegressionTest| (test.pipelines.join(" "), test.filters.join(" "), test.match_count);
        assert_eq!(of(&info.tests[0]), ("p.yml".to_owned(), "f.yml".to_owned(), None));
        assert_eq!(of(&info.tests[1]), ("q.yml r.yml".to_owned(), "f.yml".to_owned(), None));
    }

    #[test]
    fn more_matches_than_asked_for_are_accepted_but_where_none_are() {
        let accepted = |match_count: &str| {
            let text = format!("regression_tests_info:\n- {{path: a{match_count}}}");
            let test = RegressionTests::parse(&text, "").unwrap().tests.remove(0);
            [0, 1, 2, 3].map(|matches| test.accepts(matches))
        };
        assert_eq!(accepted(""), [false, true, true, true]);
        assert_eq!(accepted(", match_count: 0"), [true, false, false, false]);
        assert_eq!(accepted(", match_count: 2"), [false, false, true, true]);
    }

    #[test]
    fn what_is_missing_is_named_with_its_place() {
        for (text, wanted) in [
            (
                "- a",
                "i:1:1: S003 a test of rules is a mapping; give `rule_metadata` and `regression_tests_info`",
            ),
            ("rule_metadata: [{title: x}]", "i:1:17: S010 the entry has no `id`; add `id:`"),
            ("rule_metadata: x", "i:1:16: S011 `rule_metadata` must be a list"),
            (
                "regression_tests_info:\n- {path: a, match_count: many}",
                "i:2:26: S011 `match_count` is not a whole number; write how many events the rule matches, 0 or more",
            ),
            (
                "regression_tests_info:\n- {match_count: 1}",
                "i:2:3: S010 the entry has no `path`; add `path:`",
            ),
            ("pipelines: {a: b}", "i:1:12: S011 `pipelines` must be a list"),
        ] {
            assert_eq!(RegressionTests::parse(text, "i").unwrap_err().to_string(), wanted);
        }
    }
}
