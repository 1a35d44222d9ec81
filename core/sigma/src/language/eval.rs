//! The plain evaluator: walks a rule's tree over one event. Slow, simple, and what the index is measured against;
//! also the source of explanations.

use std::borrow::Cow;

use wardline_event::{Fields, LogSource, MatchedField, Value};

use crate::language::ast::{Condition, Detection, Matcher, Node, Part, Test};
use crate::language::pattern::{fold, fold_char};
use crate::language::value::number;
use crate::limits;

/// Whether the rule matches the event, its log source left aside.
pub(crate) fn matches(detection: &Detection, event: &dyn Fields) -> bool {
    condition(&detection.condition, detection, event)
}

/// An event of any type, as the plain evaluator wants it.
pub(crate) struct Plain<'a, F: ?Sized>(pub &'a F);

impl<F: Fields + ?Sized> Fields for Plain<'_, F> {
    fn log_source(&self) -> LogSource<'_> {
        self.0.log_source()
    }

    fn field(&self, name: &str) -> Option<Value<'_>> {
        self.0.field(name)
    }

    fn each_field(&self, visit: &mut dyn FnMut(&str, Value<'_>)) {
        self.0.each_field(visit);
    }
}

fn condition(c: &Condition, detection: &Detection, event: &dyn Fields) -> bool {
    match c {
        Condition::And(parts) => parts.iter().all(|p| condition(p, detection, event)),
        Condition::Or(parts) => parts.iter().any(|p| condition(p, detection, event)),
        Condition::Not(part) => !condition(part, detection, event),
        Condition::Selection(i) => node(&detection.selections[*i].body, event),
    }
}

fn node(n: &Node, event: &dyn Fields) -> bool {
    match n {
        Node::And(parts) => parts.iter().all(|p| node(p, event)),
        Node::Or(parts) => parts.iter().any(|p| node(p, event)),
        Node::Test(test) => holds(test, event),
        // No rule set takes a rule with placeholders.
        Node::Expand(_) => false,
    }
}

pub(crate) fn holds(test: &Test, event: &dyn Fields) -> bool {
    let found = if let Some(field) = test.field() {
        field_matches(&test.matcher, event.field(field).as_ref(), event)
    } else {
        let mut found = false;
        event.each_field(&mut |_, value| found = found || value_matches(&test.matcher, &value));
        found
    };
    found != test.negated
}

fn field_matches(matcher: &Matcher, value: Option<&Value<'_>>, event: &dyn Fields) -> bool {
    match (matcher, value) {
        (Matcher::Exists(wanted), value) => value.is_some() == *wanted,
        (Matcher::Null, None) => true,
        (Matcher::FieldRef { other, part, cased }, Some(value)) => {
            event.field(other).is_some_and(|other| refers(value, &other, *part, *cased))
        }
        (matcher, Some(value)) => value_matches(matcher, value),
        (_, None) => false,
    }
}

/// Whether a value, or one value of a list, satisfies the matcher. Not for matchers that need the whole event.
pub(crate) fn value_matches(matcher: &Matcher, value: &Value<'_>) -> bool {
    match (matcher, value) {
        (matcher, Value::List(items)) => items.iter().any(|item| value_matches(matcher, item)),
        (Matcher::Null, value) => matches!(value, Value::Null),
        (Matcher::Text(pattern), value) => value.as_text().is_some_and(|text| pattern.is_match(&text)),
        (Matcher::Regex(regexp), value) => value.as_text().is_some_and(|text| regexp.is_match(&text)),
        (Matcher::Cidr(cidr), Value::Str(text)) => text.trim().parse().is_ok_and(|ip| cidr.contains(ip)),
        (Matcher::Compare(order, bound), value) => as_number(value).is_some_and(|n| order.holds(n, *bound)),
        (Matcher::Time(part, order, bound), value) => {
            part.of(value).is_some_and(|n| order.holds(n as f64, *bound))
        }
        (Matcher::Cidr(_) | Matcher::Exists(_) | Matcher::FieldRef { .. }, _) => false,
    }
}

fn as_number(value: &Value<'_>) -> Option<f64> {
    match value {
        Value::Int(n) => Some(*n as f64),
        Value::Float(n) => Some(*n),
        Value::Str(text) => number(text),
        Value::Null | Value::Bool(_) | Value::List(_) => None,
    }
}

/// Whether the text of `value` is (or begins, ends or holds) the text of `other`; of lists, any two of them.
pub(crate) fn refers(value: &Value<'_>, other: &Value<'_>, part: Part, cased: bool) -> bool {
    if let Value::List(items) = value {
        return items.iter().any(|item| refers(item, other, part, cased));
    }
    if let Value::List(items) = other {
        return items.iter().any(|item| refers(value, item, part, cased));
    }
    if let (Value::Int(a), Value::Int(b), Part::Whole) = (value, other, part) {
        return a == b;
    }
    let (Some(text), Some(other)) = (value.as_text(), other.as_text()) else { return false };
    if !cased {
        // Events ask this often, so nothing is folded into memory where it can be compared in place.
        let (mut all, mut wanted) = (text.chars().map(fold_char), other.chars().map(fold_char));
        return match part {
            Part::Whole => all.eq(wanted),
            Part::Start => wanted.all(|c| all.next() == Some(c)),
            Part::End => wanted.rev().all(|c| all.next_back() == Some(c)),
            Part::Anywhere => fold(&text).contains(&*fold(&other)),
        };
    }
    match part {
        Part::Whole => text == other,
        Part::Start => text.starts_with(&*other),
        Part::End => text.ends_with(&*other),
        Part::Anywhere => text.contains(&*other),
    }
}

/// Why the rule matches: every test that holds in a branch that made the condition true.
///
/// Of an `or` all true branches are named, since each would have been enough; of an `and` all. Under `not` nothing
/// is named: what is not there cannot be shown. Empty if the rule does not match.
pub(crate) fn explain(detection: &Detection, event: &dyn Fields) -> Vec<MatchedField> {
    let mut reasons = Reasons { detection, event, out: Vec::new() };
    if matches(detection, event) {
        reasons.condition(&detection.condition, true);
    }
    reasons.out
}

struct Reasons<'a> {
    detection: &'a Detection,
    event: &'a dyn Fields,
    out: Vec<MatchedField>,
}

impl Reasons<'_> {
    /// Collects the reasons why `c` came out as `outcome`, which it did.
    fn condition(&mut self, c: &Condition, outcome: bool) {
        match c {
            Condition::And(parts) | Condition::Or(parts) => {
                for part in parts {
                    if condition(part, self.detection, self.event) == outcome {
                        self.condition(part, outcome);
                    }
                }
            }
            Condition::Not(part) => self.condition(part, !outcome),
            Condition::Selection(i) if outcome => {
                let selection = &self.detection.selections[*i];
                self.node(&selection.name, &selection.body);
            }
            Condition::Selection(_) => {}
        }
    }

    fn node(&mut self, selection: &str, n: &Node) {
        match n {
            Node::And(parts) | Node::Or(parts) => {
                for part in parts.iter().filter(|part| node(part, self.event)) {
                    self.node(selection, part);
                }
            }
            Node::Test(test) => {
                let reason = MatchedField {
                    selection: selection.to_owned(),
                    field: test.field().unwrap_or_default().to_owned(),
                    pattern: test.written(),
                    value: shown_value(test, self.event),
                };
                // Several spellings of one value (Base64 offsets) are one reason.
                if !self.out.contains(&reason) {
                    self.out.push(reason);
                }
            }
            Node::Expand(_) => {}
        }
    }
}

/// The value that made the test hold, or all that the field holds where it is not a single one.
pub(crate) fn shown_value(test: &Test, event: &dyn Fields) -> String {
    let mut shown = None;
    match test.field() {
        Some(field) => shown = event.field(field).map(|value| hit(&test.matcher, &value)),
        None => event.each_field(&mut |_, value| {
            if shown.is_none() && value_matches(&test.matcher, &value) {
                shown = Some(hit(&test.matcher, &value));
            }
        }),
    }
    let text = shown.unwrap_or_default();
    match text.char_indices().nth(limits::SHOWN_CHARS) {
        Some((cut, _)) => text[..cut].to_owned(),
        None => text,
    }
}

fn hit(matcher: &Matcher, value: &Value<'_>) -> String {
    match value {
        Value::List(items) => match items.iter().find(|item| value_matches(matcher, item)) {
            Some(item) => hit(matcher, item),
            None => items.iter().map(|item| hit(matcher, item)).collect::<Vec<_>>().join(", "),
        },
        value => value.as_text().map(Cow::into_owned).unwrap_or_default(),
    }
}
