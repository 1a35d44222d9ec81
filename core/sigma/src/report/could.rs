//! Whether a rule could ever match a kind of event, by what is known of the event's fields.

use wardline_event::Value;

use crate::language::ast::{Condition, Detection, Matcher, Node, Test};
use crate::language::eval::value_matches;
use crate::language::rule::Rule;

/// What is known of a field in a kind of event.
#[derive(Clone, Debug, PartialEq)]
pub enum Known<'a> {
    /// No event of the kind has it.
    Absent,
    /// It holds one of these, in every event.
    OneOf(Vec<Value<'a>>),
    /// It may hold anything, or be missing.
    Anything,
}

/// Whether something can come out true, and whether it can come out false.
#[derive(Clone, Copy)]
struct Outcomes {
    true_too: bool,
    false_too: bool,
}

impl Outcomes {
    const BOTH: Self = Self { true_too: true, false_too: true };

    fn only(outcome: bool) -> Self {
        Self { true_too: outcome, false_too: !outcome }
    }

    fn all(parts: impl Iterator<Item = Self>) -> Self {
        parts.fold(Self::only(true), |a, b| Self {
            true_too: a.true_too && b.true_too,
            false_too: a.false_too || b.false_too,
        })
    }

    fn any(parts: impl Iterator<Item = Self>) -> Self {
        Self::all(parts.map(Self::not)).not()
    }

    fn not(self) -> Self {
        Self { true_too: self.false_too, false_too: self.true_too }
    }
}

impl Rule {
    /// Whether the rule's detection could hold for an event of whose fields `known` tells this; its log source is left
    /// aside. Says yes where it cannot know: tests are taken to be independent of each other.
    pub fn could_match<'a>(&self, known: &dyn Fn(&str) -> Known<'a>) -> bool {
        condition(&self.detection.condition, &self.detection, known).true_too
    }
}

fn condition<'a>(c: &Condition, detection: &Detection, known: &dyn Fn(&str) -> Known<'a>) -> Outcomes {
    match c {
        Condition::And(parts) => Outcomes::all(parts.iter().map(|p| condition(p, detection, known))),
        Condition::Or(parts) => Outcomes::any(parts.iter().map(|p| condition(p, detection, known))),
        Condition::Not(part) => condition(part, detection, known).not(),
        Condition::Selection(index) => node(&detection.selections[*index].body, known),
    }
}

fn node<'a>(n: &Node, known: &dyn Fn(&str) -> Known<'a>) -> Outcomes {
    match n {
        Node::And(parts) => Outcomes::all(parts.iter().map(|p| node(p, known))),
        Node::Or(parts) => Outcomes::any(parts.iter().map(|p| node(p, known))),
        Node::Test(t) => {
            let outcomes = test(t, known);
            if t.negated { outcomes.not() } else { outcomes }
        }
        // No value of the placeholder is known.
        Node::Expand(_) => Outcomes::BOTH,
    }
}

fn test<'a>(test: &Test, known: &dyn Fn(&str) -> Known<'a>) -> Outcomes {
    // Some field may hold a keyword.
    let Some(field) = test.field() else { return Outcomes::BOTH };
    match (known(field), &test.matcher) {
        (Known::Absent, Matcher::Exists(wanted)) => Outcomes::only(!wanted),
        (Known::Absent, Matcher::Null) => Outcomes::only(true),
        (Known::Absent, _) => Outcomes::only(false),
        (Known::OneOf(_), Matcher::Exists(wanted)) => Outcomes::only(*wanted),
        (Known::OneOf(_), Matcher::FieldRef { other, .. }) if known(other) == Known::Absent => {
            Outcomes::only(false)
        }
        (Known::OneOf(_), Matcher::FieldRef { .. }) => Outcomes::BOTH,
        (Known::OneOf(values), matcher) => Outcomes {
            true_too: values.iter().any(|value| value_matches(matcher, value)),
            false_too: values.iter().any(|value| !value_matches(matcher, value)),
        },
        (Known::Anything, Matcher::FieldRef { other, .. }) if known(other) == Known::Absent => {
            Outcomes::only(false)
        }
        (Known::Anything, _) => Outcomes::BOTH,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_is_possible_if_some_event_could_match_it() {
        // The detection, and whether it could match an event with `type` A or [B, C], any `name`, and nothing else.
        let cases = [
            ("{s: {type: A, name: x}, condition: s}", true),
            ("{s: {type: C}, condition: s}", true),
            ("{s: {type: D}, condition: s}", false),
            ("{s: {type: D}, condition: not s}", true),
            // Each event has A or B, but what one test says of a field is not held against the other.
            ("{s: {type: [A, B]}, condition: not s}", true),
            ("{s: {name: x, other: y}, condition: s}", false),
            ("{s: {name: x}, t: {other: y}, condition: s and not t}", true),
            ("{s: {name: x}, t: {other: y}, condition: s or t}", true),
            ("{s: {other: null}, condition: s}", true),
            ("{s: {other|exists: true}, condition: s}", false),
            ("{s: {type|exists: false}, condition: s}", false),
            ("{s: {name|fieldref: other}, condition: s}", false),
            ("{s: {other|neq: x}, condition: s}", true),
            ("{s: [word], condition: s}", true),
            ("{s: {type: D}, t: [word], condition: s and t}", false),
        ];
        for (detection, possible) in cases {
            let text = format!("title: t\nlogsource: {{product: linux}}\ndetection: {detection}\n");
            let rule = Rule::parse(&text, "t").unwrap().pop().unwrap();
            let known = |field: &str| match field {
                "type" => {
                    Known::OneOf(vec![Value::str("A"), Value::List(vec![Value::str("B"), Value::str("C")])])
                }
                "name" => Known::Anything,
                _ => Known::Absent,
            };
            assert_eq!(rule.could_match(&known), possible, "{detection}");
        }
    }
}
