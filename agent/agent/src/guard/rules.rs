//! The rules in force.

use wardline_policy::Response;
use wardline_sigma::{Attributes, Collection, Correlations, LinkOptions, Rule, RuleSet};

/// A rule that this build cannot use. The others are used all the same.
#[derive(Debug, thiserror::Error)]
#[error("rule {origin}: {what}")]
pub struct RuleProblem {
    /// The rule's file.
    pub origin: String,
    /// What is wrong.
    pub what: String,
}

/// Compiled rules and correlations, and what each asks for when it fires.
pub struct Ruleset {
    pub(super) set: RuleSet,
    pub(super) correlations: Correlations,
    responses: Vec<Response>,
    correlated_responses: Vec<Response>,
}

impl Ruleset {
    /// Compiles rules given as (origin, YAML text). A rule that cannot be used is reported, never silently left out.
    pub fn load<'a>(files: impl IntoIterator<Item = (&'a str, &'a str)>) -> (Self, Vec<RuleProblem>) {
        let mut problems = Vec::new();
        let mut all = Collection::default();
        for (origin, text) in files {
            match Collection::parse(text, origin) {
                Ok(parsed) => all.extend(parsed),
                Err(e) => problems.push(RuleProblem { origin: origin.to_owned(), what: e.to_string() }),
            }
        }
        let mut usable = |rule: &Attributes| match Response::from_rule(&rule.extra) {
            Ok(_) => true,
            Err(what) => {
                problems.push(RuleProblem { origin: rule.origin.clone(), what });
                false
            }
        };
        all.rules.retain(|rule| usable(&rule.attributes));
        all.correlations.retain(|correlation| usable(&correlation.attributes));
        let linked = all.link(&LinkOptions::default());
        problems.extend(
            linked.faults.into_iter().map(|e| RuleProblem { origin: e.origin.clone(), what: e.to_string() }),
        );
        let response = |rule: &Attributes| Response::from_rule(&rule.extra).unwrap_or_default();
        let of_rule = |rule: &Rule| {
            // Its response is that of the correlation: a rule that counts must not kill on the first event.
            if rule.is_part_of_aggregation() { Response::Record } else { response(&rule.attributes) }
        };
        let responses = linked.rules.rules().iter().map(of_rule).collect();
        let correlated_responses =
            linked.correlations.correlations().iter().map(|c| response(&c.attributes)).collect();
        let rules =
            Self { set: linked.rules, correlations: linked.correlations, responses, correlated_responses };
        (rules, problems)
    }

    /// How many rules and correlations are in force.
    pub fn len(&self) -> usize {
        self.set.rules().len() + self.correlations.correlations().len()
    }

    /// True if there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What a rule asks for when it fires.
    pub(super) fn response(&self, rule: usize) -> Response {
        self.responses[rule]
    }

    /// Whether a rule asks for a kill when it fires.
    pub fn kills(&self, rule: usize) -> bool {
        self.response(rule) == Response::Kill
    }

    /// What a correlation asks for when it fires.
    pub(super) fn correlated_response(&self, correlation: usize) -> Response {
        self.correlated_responses[correlation]
    }

    /// Whether a rule only serves correlations. One that asks for a response never does: no file that is added may
    /// take it away.
    pub(super) fn is_silent(&self, rule: usize) -> bool {
        self.correlations.is_silent(rule) && self.responses[rule] == Response::Record
    }
}
