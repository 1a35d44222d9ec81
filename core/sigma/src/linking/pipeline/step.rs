//! The steps of a pipeline: a transformation, and the conditions under which it is applied.

use std::collections::BTreeMap;

use regex::Regex;
use serde_json::Value as Json;
use wardline_event::LogSource;

use crate::error::Pos;
use crate::language::ast::Condition;
use crate::language::yaml::{Node, Scalar};

/// One step.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    /// The name by which other steps ask whether it was applied.
    pub id: Option<String>,
    /// Of which rules.
    pub rules: Conditions<RuleCondition>,
    /// Of which detection items, by their values.
    pub items: Conditions<ItemCondition>,
    /// Of which detection items and field lists, by the name of the field.
    pub fields: Conditions<FieldCondition>,
    pub what: Transformation,
    /// Where it stands in the pipeline's file.
    pub pos: Pos,
}

/// Conditions and how they are joined.
#[derive(Clone, Debug)]
pub(crate) struct Conditions<C> {
    pub list: Vec<C>,
    /// Over places in `list`.
    pub joined: Condition,
}

impl Step {
    /// Whether it asks what the rule's detection holds, which a correlation has not.
    pub fn asks_for_detection(&self) -> bool {
        let of_detection = |c: &RuleCondition| {
            matches!(c, RuleCondition::ContainsField(_) | RuleCondition::ContainsItem(..))
        };
        self.rules.list.iter().any(of_detection)
    }
}

impl<C> Conditions<C> {
    /// No condition: it always holds.
    pub fn none() -> Self {
        Self { list: Vec::new(), joined: Condition::And(Vec::new()) }
    }

    /// All of these.
    pub fn all(list: Vec<C>) -> Self {
        let joined = Condition::And((0..list.len()).map(Condition::Selection).collect());
        Self { list, joined }
    }

    pub fn hold(&self, test: &mut dyn FnMut(&C) -> bool) -> bool {
        fn eval(joined: &Condition, test: &mut dyn FnMut(usize) -> bool) -> bool {
            match joined {
                Condition::And(parts) => parts.iter().all(|part| eval(part, test)),
                Condition::Or(parts) => parts.iter().any(|part| eval(part, test)),
                Condition::Not(part) => !eval(part, test),
                Condition::Selection(at) => test(*at),
            }
        }
        eval(&self.joined, &mut |at| self.list.get(at).is_some_and(&mut *test))
    }
}

/// What a rule must be.
#[derive(Clone, Debug)]
pub(crate) enum RuleCondition {
    /// Its log source says at least this.
    LogSource(LogSource<'static>),
    ContainsField(String),
    ContainsItem(String, Scalar),
    /// A step with this id was applied to it.
    Applied(String),
    State(State),
    /// It is a detection rule (`true`), or a correlation.
    IsRule(bool),
    Attribute(String, Json, Compare),
    Tag(String),
}

/// What a detection item's values must be.
#[derive(Clone, Debug)]
pub(crate) enum ItemCondition {
    /// One of its values, or all of them.
    Values(Quantity, ValueCondition),
    Applied(String),
    State(State),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Quantity {
    Any,
    All,
}

#[derive(Clone, Debug)]
pub(crate) enum ValueCondition {
    /// Text that the expression matches from its beginning on, or does not.
    Matches(Regex, bool),
    Is(Scalar),
    HasWildcard,
    IsNull,
}

/// What a field's name must be.
#[derive(Clone, Debug)]
pub(crate) enum FieldCondition {
    /// One of these, or none of them.
    Named(Names, bool),
    Applied(String),
    State(State),
}

#[derive(Clone, Debug)]
pub(crate) enum Names {
    Plain(Vec<String>),
    /// Matched from the beginning on.
    Patterns(Vec<Regex>),
}

/// A value that an earlier step set, and what it must be.
#[derive(Clone, Debug)]
pub(crate) struct State {
    pub key: String,
    pub value: Json,
    pub compare: Compare,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Compare {
    Equal,
    NotEqual,
    Greater,
    GreaterOrEqual,
    Less,
    LessOrEqual,
    /// Member of a list.
    In,
    NotIn,
}

/// What is done.
#[derive(Clone, Debug)]
pub(crate) enum Transformation {
    /// Field names for others; `None` stands for keywords.
    Rename(BTreeMap<Option<String>, Vec<String>>),
    /// Beginnings of field names, the first that fits.
    RenamePrefix(Vec<(String, Vec<String>)>),
    AddPrefix(String),
    AddSuffix(String),
    Drop,
    Hashes(Hashes),
    Placeholders(Placeholders),
    AddCondition(AddedCondition),
    ChangeLogSource(LogSource<'static>),
    AddFields(Vec<String>),
    RemoveFields(Vec<String>),
    SetFields(Vec<String>),
    Replace(Replace),
    /// Whole values for others.
    MapText(BTreeMap<String, Vec<String>>),
    SetValue(Scalar),
    ToText,
    ToNumber,
    Case(Case),
    SetState(String, Json),
    SetAttribute(String, Json),
    FailRule(String),
    FailItem(String),
    FailUnmapped,
    Nest(Vec<Step>),
}

/// `hashes_fields`: one field for each hash instead of one that holds them all.
#[derive(Clone, Debug)]
pub(crate) struct Hashes {
    pub valid: Vec<String>,
    pub prefix: String,
    pub drop_algorithm: bool,
    pub fields: Vec<String>,
}

/// Which placeholders get values, and which.
#[derive(Clone, Debug)]
pub(crate) struct Placeholders {
    pub include: Option<Vec<String>>,
    pub exclude: Vec<String>,
    pub by: Filling,
}

#[derive(Clone, Debug)]
pub(crate) enum Filling {
    Wildcard,
    /// The pipelines' variables.
    Variables,
    /// These.
    Given(BTreeMap<String, Vec<String>>),
}

/// A selection that every condition also asks for. That it can be read was checked.
#[derive(Clone, Debug)]
pub(crate) struct AddedCondition {
    pub name: String,
    pub selection: Node,
    /// `$category`, `$product` and `$service` in its values stand for those of the rule.
    pub template: bool,
    pub negated: bool,
}

#[derive(Clone, Debug)]
pub(crate) struct Replace {
    pub regex: Regex,
    pub replacement: Vec<Replacement>,
    /// Only in the text between wildcards.
    pub skip_special: bool,
    /// Wildcards in the replaced text are wildcards.
    pub interpret_special: bool,
}

/// A piece of what is put in the place of a match.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Replacement {
    Text(String),
    Group(usize),
    Named(String),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Case {
    Lower,
    Upper,
}

impl Compare {
    /// Whether it holds for two JSON values. Values of different types are unequal and in no order.
    pub fn holds(self, value: &Json, wanted: &Json) -> bool {
        use std::cmp::Ordering;
        let order = match (value, wanted) {
            (Json::Number(a), Json::Number(b)) => a.as_f64().partial_cmp(&b.as_f64()),
            (Json::String(a), Json::String(b)) => Some(a.cmp(b)),
            (a, b) if a == b => Some(Ordering::Equal),
            _ => None,
        };
        let inside = || value.as_array().is_some_and(|items| items.contains(wanted));
        match self {
            Self::Equal => order == Some(Ordering::Equal),
            Self::NotEqual => order != Some(Ordering::Equal),
            Self::Greater => order == Some(Ordering::Greater),
            Self::GreaterOrEqual => matches!(order, Some(Ordering::Greater | Ordering::Equal)),
            Self::Less => order == Some(Ordering::Less),
            Self::LessOrEqual => matches!(order, Some(Ordering::Less | Ordering::Equal)),
            Self::In => inside(),
            Self::NotIn => !inside(),
        }
    }
}
