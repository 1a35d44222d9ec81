//! Why a rule matches an event or not, in full: every part of the condition with its outcome.

use wardline_event::Fields;

use crate::compiled::ruleset::covers;
use crate::language::ast::{Condition, Detection, Matcher, Node, Test};
use crate::language::eval;
use crate::language::pattern::Token;
use crate::language::rule::Rule;

/// What a rule makes of an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// The event is of a log source that the rule is for. If not, the rule never sees it, whatever the rest says.
    pub sees: bool,
    /// The condition.
    pub condition: Step,
}

impl Explanation {
    /// Whether the rule matches.
    pub fn matches(&self) -> bool {
        self.sees && self.condition.holds()
    }
}

/// A part of a condition or selection, and whether it holds for the event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// All parts must hold.
    And(bool, Vec<Step>),
    /// One part is enough.
    Or(bool, Vec<Step>),
    /// The part must not hold.
    Not(bool, Box<Step>),
    /// A selection by its name.
    Selection(bool, String, Box<Step>),
    /// A test of one field, or of all fields.
    Test(Outcome),
}

/// A test and what came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Whether it holds.
    pub holds: bool,
    /// The field; empty for a keyword, which is looked for in all of them.
    pub field: String,
    /// What the rule asks for: `endswith '/nc'`.
    pub asked: String,
    /// The event's value, at most 1,000 characters; `None` if the event has no such field. Of a keyword, the value
    /// in which it was found.
    pub value: Option<String>,
}

impl Step {
    /// Whether it holds.
    pub fn holds(&self) -> bool {
        match self {
            Self::And(holds, _) | Self::Or(holds, _) | Self::Not(holds, _) | Self::Selection(holds, _, _) => {
                *holds
            }
            Self::Test(outcome) => outcome.holds,
        }
    }
}

impl Rule {
    /// What the rule makes of an event, for both outcomes. Slow: every test is made.
    pub fn explanation(&self, event: &dyn Fields) -> Explanation {
        let source = event.log_source();
        let sees = covers(&self.log_source, &source, event.also());
        Explanation { sees, condition: condition(&self.detection.condition, &self.detection, event) }
    }
}

fn condition(c: &Condition, detection: &Detection, event: &dyn Fields) -> Step {
    match c {
        Condition::And(parts) => all(parts.iter().map(|p| condition(p, detection, event)).collect()),
        Condition::Or(parts) => any(parts.iter().map(|p| condition(p, detection, event)).collect()),
        Condition::Not(part) => {
            let part = condition(part, detection, event);
            Step::Not(!part.holds(), Box::new(part))
        }
        Condition::Selection(i) => {
            let selection = &detection.selections[*i];
            let body = node(&selection.body, event);
            Step::Selection(body.holds(), selection.name.clone(), Box::new(body))
        }
    }
}

fn node(n: &Node, event: &dyn Fields) -> Step {
    match n {
        Node::And(parts) => all(parts.iter().map(|p| node(p, event)).collect()),
        Node::Or(parts) => any(parts.iter().map(|p| node(p, event)).collect()),
        Node::Test(test) => Step::Test(outcome(test, event)),
        Node::Expand(expand) => Step::Test(Outcome {
            holds: false,
            field: expand.item.field().unwrap_or_default().to_owned(),
            asked: format!("expand '{}', which has no value", expand.text),
            value: None,
        }),
    }
}

fn outcome(test: &Test, event: &dyn Fields) -> Outcome {
    let field = test.field().unwrap_or_default().to_owned();
    let holds = eval::holds(test, event);
    let there = if field.is_empty() { holds } else { event.field(&field).is_some() };
    Outcome { holds, asked: test.written(), value: there.then(|| eval::shown_value(test, event)), field }
}

/// A part alone stays as it is, and spellings of one value are one test.
fn all(parts: Vec<Step>) -> Step {
    let holds = parts.iter().all(Step::holds);
    only(parts).unwrap_or_else(|parts| Step::And(holds, parts))
}

fn any(parts: Vec<Step>) -> Step {
    let holds = parts.iter().any(Step::holds);
    only(spellings(parts)).unwrap_or_else(|parts| Step::Or(holds, parts))
}

fn only(mut parts: Vec<Step>) -> Result<Step, Vec<Step>> {
    if parts.len() == 1 { Ok(parts.swap_remove(0)) } else { Err(parts) }
}

/// Of several tests that are written alike (Base64 offsets), the first, or the one that holds.
fn spellings(parts: Vec<Step>) -> Vec<Step> {
    let mut out: Vec<Step> = Vec::with_capacity(parts.len());
    for part in parts {
        match (out.last_mut(), &part) {
            (Some(Step::Test(last)), Step::Test(next))
                if last.field == next.field && last.asked == next.asked =>
            {
                if next.holds && !last.holds {
                    *last = next.clone();
                }
            }
            _ => out.push(part),
        }
    }
    out
}

/// What it costs to look for a rule's matches.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Cost {
    /// Every match holds some text, and the rule is looked at only if that text is seen: costs next to nothing.
    OnText,
    /// Some match need not hold any text, so the rule is looked at for every event of its log source.
    EveryEvent,
    /// As before, and regular expressions without a text of their own are run for it.
    EveryEventWithRegex,
}

impl Rule {
    /// What it costs to look for the rule's matches.
    pub fn cost(&self) -> Cost {
        let detection = &self.detection;
        if needs_text(&detection.condition, detection) {
            Cost::OnText
        } else if detection.selections.iter().any(|s| has_bare_regex(&s.body)) {
            Cost::EveryEventWithRegex
        } else {
            Cost::EveryEvent
        }
    }
}

/// Whether the condition can only be true if some text was seen.
fn needs_text(c: &Condition, detection: &Detection) -> bool {
    match c {
        Condition::And(parts) => parts.iter().any(|p| needs_text(p, detection)),
        Condition::Or(parts) => parts.iter().all(|p| needs_text(p, detection)),
        Condition::Not(_) => false,
        Condition::Selection(i) => node_needs_text(&detection.selections[*i].body),
    }
}

fn node_needs_text(n: &Node) -> bool {
    match n {
        Node::And(parts) => parts.iter().any(node_needs_text),
        Node::Or(parts) => parts.iter().all(node_needs_text),
        Node::Test(test) if test.negated => false,
        Node::Test(test) => match &test.matcher {
            Matcher::Text(pattern) => pattern.tokens.iter().any(|t| matches!(t, Token::Lit(_))),
            Matcher::Regex(regexp) => !regexp.required.any.is_empty(),
            _ => false,
        },
        Node::Expand(_) => false,
    }
}

fn has_bare_regex(n: &Node) -> bool {
    match n {
        Node::And(parts) | Node::Or(parts) => parts.iter().any(has_bare_regex),
        Node::Test(test) => matches!(&test.matcher, Matcher::Regex(regexp) if regexp.required.any.is_empty()),
        Node::Expand(_) => false,
    }
}
