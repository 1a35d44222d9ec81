//! The aggregations of Sigma 1: `selection | count() by User > 5`, converted to correlations where these say the same.
//!
//! Sigma 2 has correlations instead. A rule with an aggregation becomes two documents: a rule for the events, which is
//! not reported by itself, and a correlation over it that has the rule's title, id and level.

use crate::correlation::{Correlation, CorrelationCondition, CorrelationType, Operator, Threshold, Timespan};
use crate::error::{Fault, Pos, Span};
use crate::language::ast::Condition;
use crate::language::attributes::Attributes;
use crate::language::condition;
use crate::language::rule::Rule;
use wardline_event::Severity;

/// What follows the `|` of a condition, and the window that it is about.
#[derive(Clone, Debug)]
pub(crate) struct Aggregation {
    what: What,
    timespan: Timespan,
    at: Pos,
}

#[derive(Clone, Debug)]
enum What {
    /// `count(field) by group > 5`
    Metric { kind: CorrelationType, field: Option<String>, group_by: Vec<String>, threshold: Threshold },
    /// `near selection`: the selection matches another event.
    Near(Condition),
}

/// What the names of the rules end with that are made for the events, and for those near them.
const EVENTS: &str = "events";
const NEAR: &str = "near";

/// What a condition says before its `|`, and where the rest begins.
pub(crate) fn split(text: &str) -> Option<(&str, &str)> {
    text.split_once('|')
}

/// Reads an aggregation. `span` is the place of the whole condition, `timeframe` the text and place of that
/// attribute.
pub(crate) fn parse(
    text: &str,
    span: Span,
    timeframe: Option<(&str, Pos)>,
    names: &[&str],
) -> Result<Aggregation, Fault> {
    let at = span.pos();
    let Some((span_text, span_at)) = timeframe else {
        return Err(refuse(at, "without a `timeframe` it says nothing that a correlation could say"));
    };
    let timespan = Timespan::parse(span_text, span_at)?;
    let trimmed = text.trim();
    let word = trimmed.split_whitespace().next().unwrap_or_default();
    let what = if word.eq_ignore_ascii_case("near") {
        near(trimmed[word.len()..].trim(), at, names)?
    } else {
        metric(trimmed).ok_or_else(|| refuse(at, "it is not of the form `count(field) by group > 5`"))?
    };
    Ok(Aggregation { what, timespan, at })
}

fn refuse(at: Pos, why: &str) -> Fault {
    Fault::new(
        "S023",
        at,
        format!("this aggregation of Sigma 1 cannot be converted to a correlation: {why}"),
        "write the rule without it and add a correlation rule that counts its matches",
    )
}

/// Two kinds of events are near each other if one correlation sees both. Of three, the first would have to be near to
/// each of the others, which may be far from each other; and nothing can be near to an event that is not there.
fn near(text: &str, at: Pos, names: &[&str]) -> Result<What, Fault> {
    let condition = condition::parse(text, at, names)?;
    match condition {
        Condition::Selection(_) => Ok(What::Near(condition)),
        _ => Err(refuse(at, "`near` with more than one selection has no counterpart")),
    }
}

/// `count(field) by a, b >= 5`
fn metric(text: &str) -> Option<What> {
    let (function, rest) = text.split_once('(')?;
    let (field, rest) = rest.split_once(')')?;
    let sign_at = rest.find(['<', '>', '=', '!'])?;
    let (group, comparison) = rest.split_at(sign_at);
    let field = Some(field.trim()).filter(|f| !f.is_empty());
    if field.is_some_and(|f| !is_field(f)) {
        return None;
    }
    let kind = match (function.trim().to_ascii_lowercase().as_str(), field) {
        ("count", None) => CorrelationType::EventCount,
        ("count", Some(_)) => CorrelationType::ValueCount,
        ("sum", Some(_)) => CorrelationType::ValueSum,
        ("avg", Some(_)) => CorrelationType::ValueAvg,
        ("min", Some(_)) => CorrelationType::ValueMin,
        ("max", Some(_)) => CorrelationType::ValueMax,
        _ => return None,
    };
    let group = group.trim();
    let mut words = group.split(|c: char| c.is_whitespace() || c == ',').filter(|word| !word.is_empty());
    let group_by: Vec<String> = match words.next() {
        None => Vec::new(),
        Some(by) if by.eq_ignore_ascii_case("by") => words.map(str::to_owned).collect(),
        Some(_) => return None,
    };
    if group.is_empty() != group_by.is_empty() || !group_by.iter().all(|f| is_field(f)) {
        return None;
    }
    let (operator, bound) = [
        (">=", Operator::GreaterOrEqual),
        ("<=", Operator::LessOrEqual),
        ("==", Operator::Equal),
        ("!=", Operator::NotEqual),
        (">", Operator::Greater),
        ("<", Operator::Less),
        ("=", Operator::Equal),
    ]
    .into_iter()
    .find_map(|(sign, operator)| Some((operator, comparison.strip_prefix(sign)?)))?;
    let bound = bound.trim();
    if !bound.bytes().all(|b| b.is_ascii_digit() || b == b'.') {
        return None;
    }
    let threshold = Threshold { operator, bound: bound.parse().ok()? };
    Some(What::Metric { kind, field: field.map(str::to_owned), group_by, threshold })
}

fn is_field(text: &str) -> bool {
    text.chars().all(|c| {
        c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | '@' | ':' | '/' | '{' | '}' | '[' | ']')
    })
}

/// Takes a rule with an aggregation apart: the rules for its events and the correlation over them.
pub(crate) fn convert(
    rule: Rule,
    aggregation: Aggregation,
    has_level: bool,
) -> Result<(Vec<Rule>, Correlation), Fault> {
    let Aggregation { what, timespan, at } = aggregation;
    let attributes = Attributes::clone(&rule.attributes);
    let mut rules = vec![part(rule, EVENTS)];
    let (kind, group_by, condition) = match what {
        What::Metric { kind, field, group_by, threshold } => {
            let condition = CorrelationCondition::Thresholds {
                thresholds: vec![threshold],
                fields: field.into_iter().collect(),
                percentile: None,
            };
            (kind, group_by, condition)
        }
        What::Near(condition) => {
            let mut other = rules[0].clone();
            other.attributes.name = part_name(&attributes, NEAR);
            other.detection.condition = condition;
            rules.push(other);
            let both = Threshold { operator: Operator::GreaterOrEqual, bound: 2.0 };
            let condition = CorrelationCondition::Thresholds {
                thresholds: vec![both],
                fields: Vec::new(),
                percentile: None,
            };
            (CorrelationType::Temporal, Vec::new(), condition)
        }
    };
    let correlation = Correlation {
        attributes,
        kind,
        rules: rules.iter().map(|rule| rule.attributes.name.clone()).collect(),
        group_by,
        timespan,
        aliases: Vec::new(),
        condition,
        generate: false,
        has_level,
        at,
    };
    Ok((rules, correlation.check()?))
}

/// The rule for events that are counted. Its id and name are the correlation's; filters find it by them all the same.
fn part(mut rule: Rule, what: &str) -> Rule {
    rule.stands_for = Some([&rule.id, &rule.name].into_iter().filter(|r| !r.is_empty()).cloned().collect());
    let attributes = &mut rule.attributes;
    attributes.name = part_name(attributes, what);
    attributes.id = String::new();
    attributes.level = Severity::Informational;
    rule
}

/// Whether a rule of this name was made of the same document as the correlation of these attributes.
pub(crate) fn is_part_of(attributes: &Attributes, name: &str) -> bool {
    [EVENTS, NEAR].iter().any(|what| name == part_name(attributes, what))
}

/// A name that no author gives to a rule.
fn part_name(attributes: &Attributes, what: &str) -> String {
    format!("{}:{} {what}", attributes.origin, attributes.line)
}
