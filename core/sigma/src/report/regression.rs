//! Regression tests of rules in SigmaHQ's format: recorded events and how often a rule must match them.
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
    /// How many of the events the rule must match.
    pub match_count: u64,
    /// The line of the test.
    pub line: usize,
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
        for rule in list(root, "rule_metadata")? {
            let id = required(rule, "id")?;
            out.rules.push(TestedRule { id, title: self::text(rule, "title")? });
        }
        for test in list(root, "regression_tests_info")? {
            out.tests.push(read_test(test)?);
        }
    }
    Ok(out)
}

fn read_test(test: &Node) -> Result<RegressionTest, Fault> {
    let count = test.get("match_count").ok_or_else(|| missing(test, "match_count"))?;
    let number = match &count.kind {
        Kind::Scalar(s) => match s.typed() {
            Typed::Int(n) => u64::try_from(n).ok(),
            _ => None,
        },
        _ => None,
    };
    let match_count = number.ok_or_else(|| {
        let hint = "write how many events the rule matches, 0 or more";
        Fault::new("S011", count.pos, "`match_count` is not a whole number", hint)
    })?;
    Ok(RegressionTest {
        name: text(test, "name")?,
        format: text(test, "type")?,
        provider: text(test, "provider")?,
        path: required(test, "path")?,
        match_count,
        line: test.pos.line,
    })
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
        assert_eq!((&*test.path, test.match_count, test.line), ("regression_data/a.evtx", 2, 7));
        assert_eq!(
            RegressionTests::parse("rule_metadata: [{id: a}]\nregression_tests_info:\n", "").unwrap().tests,
            []
        );
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
                "regression_tests_info:\n- {path: a}",
                "i:2:3: S010 the rule has no `match_count`; add `match_count:`",
            ),
        ] {
            assert_eq!(RegressionTests::parse(text, "i").unwrap_err().to_string(), wanted);
        }
    }
}
