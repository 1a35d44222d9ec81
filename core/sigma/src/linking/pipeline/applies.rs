//! Whether a step is applied.

use serde_json::Value as Json;

use super::run::Run;
use super::step::{
    Compare, FieldCondition, ItemCondition, Names, Quantity, RuleCondition, State, Step, ValueCondition,
};
use super::text;
use super::tree::{Leaf, Tree, Value};
use crate::language::attributes::Attributes;
use crate::language::pattern::{Token, tokens};
use crate::language::yaml::{Scalar, Typed};
use wardline_event::LogSource;

/// A rule as its conditions see it.
pub(super) struct Subject<'r> {
    pub attributes: &'r Attributes,
    /// One; for a correlation, those of the rules that it refers to.
    pub log_sources: &'r [LogSource<'static>],
    /// None for a correlation.
    pub selections: &'r [(String, Option<Tree>)],
    pub is_rule: bool,
}

impl RuleCondition {
    pub fn holds(&self, subject: &Subject<'_>, run: &Run<'_>) -> bool {
        let any = |is: &dyn Fn(&Leaf) -> bool| {
            subject.selections.iter().filter_map(|(_, tree)| tree.as_ref()).any(|tree| tree.any(is))
        };
        match self {
            Self::LogSource(wanted) => {
                let same = |wanted: &str, own: &str| wanted.is_empty() || wanted == own;
                subject.log_sources.iter().any(|own| {
                    same(&wanted.product, &own.product)
                        && same(&wanted.category, &own.category)
                        && same(&wanted.service, &own.service)
                })
            }
            Self::ContainsField(name) => any(&|leaf| leaf.field.as_deref() == Some(name)),
            Self::ContainsItem(name, value) => any(&|leaf| {
                leaf.field.as_deref() == Some(name) && leaf.values.iter().any(|own| leaf.is_same(own, value))
            }),
            Self::Applied(id) => run.applied.contains(id),
            Self::State(state) => state.holds(run),
            Self::IsRule(wanted) => *wanted == subject.is_rule,
            Self::Attribute(name, wanted, compare) => attribute(subject.attributes, name, wanted)
                .is_some_and(|(own, wanted)| compare.holds(&own, &wanted)),
            Self::Tag(tag) => subject.attributes.tags.contains(tag),
        }
    }
}

/// An attribute and what it is compared with, both as something that has an order.
fn attribute(attributes: &Attributes, name: &str, wanted: &Json) -> Option<(Json, Json)> {
    const STATUSES: [&str; 5] = ["unsupported", "deprecated", "experimental", "test", "stable"];
    const LEVELS: [&str; 5] = ["informational", "low", "medium", "high", "critical"];
    let place =
        |words: &[&str], word: &str| words.iter().position(|w| w.eq_ignore_ascii_case(word)).map(Json::from);
    let text = |own: &str| Some((Json::from(own), wanted.clone()));
    let list = |own: &[String]| Some((Json::from(own), wanted.clone()));
    match name {
        "level" => Some((
            place(&LEVELS, attributes.level.as_str())?,
            place(&LEVELS, wanted.as_str().unwrap_or_default())?,
        )),
        "status" => Some((
            place(&STATUSES, &attributes.status)?,
            place(&STATUSES, wanted.as_str().unwrap_or_default())?,
        )),
        "title" => text(&attributes.title),
        "id" => text(&attributes.id),
        "name" => text(&attributes.name),
        "description" => text(&attributes.description),
        "author" => text(&attributes.author),
        "license" => text(&attributes.license),
        "taxonomy" => text(&attributes.taxonomy),
        // Years, months and days in this order are in the order of time.
        "date" => text(&attributes.date.replace('/', "-")),
        "modified" => text(&attributes.modified.replace('/', "-")),
        "tags" => list(&attributes.tags),
        "references" => list(&attributes.references),
        "fields" => list(&attributes.fields),
        "falsepositives" => list(&attributes.false_positives),
        "scope" => list(&attributes.scope),
        _ => Some((attributes.extra.get(name)?.clone(), wanted.clone())),
    }
}

impl State {
    fn holds(&self, run: &Run<'_>) -> bool {
        run.state.get(&self.key).is_some_and(|value| self.compare.holds(value, &self.value))
    }
}

impl Step {
    /// Whether the step is for a detection item.
    pub fn is_for(&self, leaf: &Leaf, run: &Run<'_>) -> bool {
        self.items.hold(&mut |c| c.holds(leaf, run))
            && self.fields.hold(&mut |c| match c {
                FieldCondition::Applied(id) => leaf.applied.contains(id),
                other => {
                    other.holds(leaf.field.as_deref(), run)
                        || leaf.references().any(|name| other.holds(Some(name), run))
                }
            })
    }

    /// Whether the step is for a field.
    pub fn is_for_field(&self, name: Option<&str>, run: &Run<'_>) -> bool {
        self.fields.hold(&mut |c| c.holds(name, run))
    }
}

impl FieldCondition {
    fn holds(&self, name: Option<&str>, run: &Run<'_>) -> bool {
        match self {
            Self::Named(names, wanted) => name.is_some_and(|name| names.have(name)) == *wanted,
            Self::Applied(id) => name
                .and_then(|name| run.applied_to_fields.get(name))
                .is_some_and(|applied| applied.contains(id)),
            Self::State(state) => state.holds(run),
        }
    }
}

impl Names {
    fn have(&self, name: &str) -> bool {
        match self {
            Self::Plain(names) => names.iter().any(|n| n == name),
            Self::Patterns(patterns) => patterns.iter().any(|p| p.is_match(name)),
        }
    }
}

impl ItemCondition {
    fn holds(&self, leaf: &Leaf, run: &Run<'_>) -> bool {
        match self {
            Self::Values(Quantity::Any, condition) => leaf.values.iter().any(|v| condition.holds(leaf, v)),
            Self::Values(Quantity::All, condition) => leaf.values.iter().all(|v| condition.holds(leaf, v)),
            Self::Applied(id) => leaf.applied.contains(id),
            Self::State(state) => state.holds(run),
        }
    }
}

impl ValueCondition {
    fn holds(&self, leaf: &Leaf, value: &Scalar) -> bool {
        let own = leaf.value(value);
        match self {
            Self::Matches(regex, wanted) => {
                let matches = matches!(&own, Value::Text(string) if regex.is_match(&text::shown(string)));
                matches == *wanted
            }
            Self::Is(wanted) => leaf.is_same(value, wanted),
            Self::HasWildcard => {
                matches!(&own, Value::Text(s) if s.iter().any(|t| matches!(t, Token::One | Token::Many)))
            }
            Self::IsNull => own == Value::Null,
        }
    }
}

impl Leaf {
    /// The fields that its values name.
    pub fn references(&self) -> impl Iterator<Item = &str> {
        let names = self.has("fieldref").then_some(&self.values);
        names.into_iter().flatten().map(|value| value.text.as_str())
    }

    /// Whether one of its values is that of a pipeline: of the same type, and the same.
    fn is_same(&self, own: &Scalar, wanted: &Scalar) -> bool {
        match (self.value(own), wanted.typed()) {
            (Value::Text(string), Typed::Str(text)) => string == tokens(text),
            (Value::Number, Typed::Int(n)) => own.typed() == Typed::Int(n),
            (Value::Number, Typed::Float(n)) => own.typed() == Typed::Float(n),
            (Value::Bool, Typed::Bool(b)) => own.typed() == Typed::Bool(b),
            (Value::Null, Typed::Null) => true,
            _ => false,
        }
    }
}

impl Compare {
    pub fn named(word: &str) -> Option<Self> {
        Some(match word {
            "eq" => Self::Equal,
            "ne" => Self::NotEqual,
            "gt" => Self::Greater,
            "gte" => Self::GreaterOrEqual,
            "lt" => Self::Less,
            "lte" => Self::LessOrEqual,
            "in" => Self::In,
            "not_in" => Self::NotIn,
            _ => return None,
        })
    }
}
