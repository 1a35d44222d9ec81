//! Many rules, compiled for matching.

use std::collections::HashMap;

use wardline_event::{Fields, LogSource, MatchedField};

use crate::error::RuleError;
use crate::eval;
use crate::rule::Rule;

/// Rules that are matched together.
#[derive(Clone, Debug, Default)]
pub struct RuleSet {
    rules: Vec<Rule>,
}

/// What one thread needs for matching; made by [`RuleSet::scratch`] and used again for every event.
#[derive(Debug, Default)]
pub struct Scratch {}

impl RuleSet {
    /// Compiles rules.
    ///
    /// # Errors
    /// Every fault that one rule alone does not show: two rules with one id.
    pub fn compile(rules: Vec<Rule>) -> Result<Self, Vec<RuleError>> {
        let (set, faults) = Self::compile_lossy(rules);
        if faults.is_empty() { Ok(set) } else { Err(faults) }
    }

    /// Compiles the rules that can be, and reports the others, which are left out.
    pub fn compile_lossy(rules: Vec<Rule>) -> (Self, Vec<RuleError>) {
        let mut faults = Vec::new();
        let mut kept: Vec<Rule> = Vec::with_capacity(rules.len());
        let mut ids: HashMap<String, usize> = HashMap::new();
        for rule in rules {
            if let Some(first) = ids.get(&rule.id).filter(|_| !rule.id.is_empty()) {
                faults.push(RuleError {
                    code: "S060",
                    origin: rule.origin.clone(),
                    line: rule.line,
                    column: 1,
                    message: format!(
                        "the id {} belongs to another rule, in {}",
                        rule.id, kept[*first].origin
                    ),
                    hint: "give each rule its own UUID, or load the rule once".to_owned(),
                });
                continue;
            }
            ids.insert(rule.id.clone(), kept.len());
            kept.push(rule);
        }
        (Self { rules: kept }, faults)
    }

    /// The rules, in the order of the indices that [`RuleSet::matches`] gives.
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// Working memory for one thread.
    pub fn scratch(&self) -> Scratch {
        Scratch::default()
    }

    /// Calls `on_match` with the index of each rule that the event matches, in ascending order.
    pub fn matches(&self, event: &dyn Fields, scratch: &mut Scratch, on_match: &mut dyn FnMut(usize)) {
        let _ = scratch;
        let source = event.log_source();
        for (index, rule) in self.rules.iter().enumerate() {
            if covers(&rule.log_source, &source) && eval::matches(&rule.detection, event) {
                on_match(index);
            }
        }
    }

    /// Why a rule matches an event; empty if it does not.
    ///
    /// Every test that holds in a branch that made the condition true: of an `or` all true branches, since each
    /// would have been enough; under `not` nothing, since what is absent cannot be shown. The log source is not
    /// looked at.
    ///
    /// # Panics
    /// If there is no rule with this index.
    pub fn explain(&self, rule: usize, event: &dyn Fields) -> Vec<MatchedField> {
        eval::explain(&self.rules[rule].detection, event)
    }
}

/// Whether a rule for `rule` is to see events of `event`: each term that the rule gives must be the event's.
fn covers(rule: &LogSource<'_>, event: &LogSource<'_>) -> bool {
    let fits = |rule: &str, event: &str| rule.is_empty() || rule == event;
    fits(&rule.product, &event.product)
        && fits(&rule.category, &event.category)
        && fits(&rule.service, &event.service)
}
