//! Reading the conditions of a step.

use std::borrow::Cow;

use wardline_event::LogSource;

use super::step::{
    Compare, Conditions, FieldCondition, ItemCondition, Names, Quantity, RuleCondition, State, ValueCondition,
};
use super::{SHAPE, regexes};
use crate::error::Fault;
use crate::language::ast::Condition;
use crate::language::condition;
use crate::language::yaml::{Kind, Node};

pub(super) fn rules(step: &Node) -> Result<Conditions<RuleCondition>, Fault> {
    read(step, "rule", &mut |node, kind| {
        Ok(Some(match kind {
            "logsource" => {
                only(node, kind, &["category", "product", "service"])?;
                RuleCondition::LogSource(log_source(node)?)
            }
            "contains_field" => {
                only(node, kind, &["field"])?;
                RuleCondition::ContainsField(text(node, kind, "field")?)
            }
            "contains_detection_item" => {
                only(node, kind, &["field", "value"])?;
                let value = SHAPE.scalar(need(node, kind, "value")?, "`value`")?.clone();
                RuleCondition::ContainsItem(text(node, kind, "field")?, value)
            }
            "processing_item_applied" => RuleCondition::Applied(applied(node, kind)?),
            "processing_state" => RuleCondition::State(state(node, kind)?),
            "is_sigma_rule" | "is_sigma_correlation_rule" => {
                only(node, kind, &[])?;
                RuleCondition::IsRule(kind == "is_sigma_rule")
            }
            "rule_attribute" => {
                only(node, kind, &["attribute", "value", "op"])?;
                let value = need(node, kind, "value")?.to_json();
                RuleCondition::Attribute(text(node, kind, "attribute")?, value, compare(node)?)
            }
            "tag" => {
                only(node, kind, &["tag"])?;
                RuleCondition::Tag(text(node, kind, "tag")?)
            }
            _ => return Ok(None),
        }))
    })
}

pub(super) fn items(step: &Node) -> Result<Conditions<ItemCondition>, Fault> {
    read(step, "detection_item", &mut |node, kind| {
        let value = match kind {
            "match_string" => {
                only(node, kind, &["cond", "pattern", "negate"])?;
                let regex = regexes::at_beginning(need(node, kind, "pattern")?)?;
                ValueCondition::Matches(regex, !SHAPE.flag_of(node, "negate")?)
            }
            "match_value" => {
                only(node, kind, &["cond", "value"])?;
                ValueCondition::Is(SHAPE.scalar(need(node, kind, "value")?, "`value`")?.clone())
            }
            "contains_wildcard" => {
                only(node, kind, &["cond"])?;
                ValueCondition::HasWildcard
            }
            "is_null" => {
                only(node, kind, &["cond"])?;
                ValueCondition::IsNull
            }
            "processing_item_applied" => return Ok(Some(ItemCondition::Applied(applied(node, kind)?))),
            "processing_state" => return Ok(Some(ItemCondition::State(state(node, kind)?))),
            _ => return Ok(None),
        };
        let quantity = match &*text(node, kind, "cond")? {
            "any" => Quantity::Any,
            "all" => Quantity::All,
            other => {
                let message = format!("`cond` cannot be `{other}`");
                return Err(SHAPE.fault(need(node, kind, "cond")?, message, "it can be: any, all"));
            }
        };
        Ok(Some(ItemCondition::Values(quantity, value)))
    })
}

pub(super) fn fields(step: &Node) -> Result<Conditions<FieldCondition>, Fault> {
    read(step, "field_name", &mut |node, kind| {
        Ok(Some(match kind {
            "include_fields" | "exclude_fields" => {
                only(node, kind, &["fields", "mode"])?;
                let names = need(node, kind, "fields")?;
                let mode = SHAPE.text_of(node, "mode")?;
                let names = match mode.as_deref() {
                    None | Some("plain") => Names::Plain(SHAPE.texts(names, "`fields`")?),
                    Some("re") => Names::Patterns(
                        crate::language::shape::Shape::items(names)
                            .iter()
                            .map(regexes::at_beginning)
                            .collect::<Result<_, _>>()?,
                    ),
                    Some(other) => {
                        let message = format!("`mode` cannot be `{other}`");
                        return Err(SHAPE.fault(need(node, kind, "mode")?, message, "it can be: plain, re"));
                    }
                };
                FieldCondition::Named(names, kind == "include_fields")
            }
            "processing_item_applied" => FieldCondition::Applied(applied(node, kind)?),
            "processing_state" => FieldCondition::State(state(node, kind)?),
            _ => return Ok(None),
        }))
    })
}

pub(super) fn log_source(node: &Node) -> Result<LogSource<'static>, Fault> {
    let term = |key: &str| Ok::<_, Fault>(SHAPE.text_of(node, key)?.map_or(Cow::Borrowed(""), Cow::Owned));
    let source =
        LogSource { product: term("product")?, category: term("category")?, service: term("service")? };
    if source == LogSource::default() {
        return Err(SHAPE.fault(
            node,
            "this names no product, category or service",
            "give at least one of the three",
        ));
    }
    Ok(source)
}

/// Reads a condition of a type; nothing if there is none of that type.
type ReadOne<'r, C> = &'r mut dyn FnMut(&Node, &str) -> Result<Option<C>, Fault>;

/// Reads the conditions of one kind: `one` reads one of them, or gives nothing if there is none of its type.
fn read<C>(step: &Node, prefix: &str, one: ReadOne<'_, C>) -> Result<Conditions<C>, Fault> {
    let (key, expr) = (format!("{prefix}_conditions"), format!("{prefix}_cond_expr"));
    let (op, not) = (format!("{prefix}_cond_op"), format!("{prefix}_cond_not"));
    let negated = SHAPE.flag_of(step, &not)?;
    let Some(node) = step.get(&key) else {
        for other in [&expr, &op, &not] {
            if let Some(found) = step.get(other) {
                return Err(SHAPE.fault(found, format!("`{other}` without `{key}`"), "it joins nothing"));
            }
        }
        return Ok(Conditions::none());
    };
    let mut list = Vec::new();
    let mut names = Vec::new();
    let nodes: Vec<(Option<&str>, &Node)> = match &node.kind {
        Kind::Mapping(pairs) => pairs.iter().map(|(key, value)| (Some(&*key.text), value)).collect(),
        Kind::Sequence(items) => items.iter().map(|item| (None, item)).collect(),
        Kind::Scalar(_) => return Err(SHAPE.fault(node, format!("`{key}` must be a list or a mapping"), "")),
    };
    for (name, node) in nodes {
        SHAPE.pairs(node, "a condition")?;
        let Some(kind) = node.get("type") else {
            return Err(SHAPE.fault(node, "a condition without `type`", "add one, as `type: logsource`"));
        };
        let word = SHAPE.text(kind, "`type`")?;
        let Some(condition) = one(node, &word)? else {
            let hint = "see docs/pipelines.md for those that there are";
            return Err(SHAPE.fault(kind, format!("`{key}` has no condition `{word}`"), hint));
        };
        list.push(condition);
        names.push(name.unwrap_or_default());
    }
    let all: Vec<Condition> = (0..list.len()).map(Condition::Selection).collect();
    let joined = if let Some(node) = step.get(&expr) {
        if let Some(op) = step.get(&op) {
            return Err(SHAPE.fault(
                op,
                format!("`{expr}` joins the conditions already"),
                "keep one of the two",
            ));
        }
        if names.contains(&"") {
            let hint = "write `name: {type: …}`";
            return Err(SHAPE.fault(node, format!("`{expr}` needs conditions with names"), hint));
        }
        let scalar = SHAPE.scalar(node, &format!("`{expr}`"))?;
        condition::parse(&scalar.text, scalar.span.pos(), &names)
            .map_err(|fault| Fault { code: "S080", ..fault })?
    } else {
        match SHAPE.text_of(step, &op)?.as_deref() {
            Some("or") if !all.is_empty() => Condition::Or(all),
            // None of none would be no rule at all; an empty list asks for nothing.
            None | Some("and" | "or") => Condition::And(all),
            Some(other) => {
                return Err(SHAPE.fault(node, format!("`{op}` cannot be `{other}`"), "it can be: and, or"));
            }
        }
    };
    let joined = if negated && !list.is_empty() { Condition::Not(Box::new(joined)) } else { joined };
    Ok(Conditions { list, joined })
}

fn only(node: &Node, kind: &str, own: &[&str]) -> Result<(), Fault> {
    let known: Vec<&str> = own.iter().copied().chain(["type"]).collect();
    SHAPE.only(node, &format!("the condition `{kind}`"), &known)
}

fn need<'n>(node: &'n Node, kind: &str, key: &str) -> Result<&'n Node, Fault> {
    node.get(key).ok_or_else(|| {
        SHAPE.fault(node, format!("the condition `{kind}` without `{key}`"), format!("add `{key}:`"))
    })
}

fn text(node: &Node, kind: &str, key: &str) -> Result<String, Fault> {
    SHAPE.text(need(node, kind, key)?, &format!("`{key}`"))
}

fn applied(node: &Node, kind: &str) -> Result<String, Fault> {
    only(node, kind, &["processing_item_id"])?;
    text(node, kind, "processing_item_id")
}

fn state(node: &Node, kind: &str) -> Result<State, Fault> {
    only(node, kind, &["key", "val", "op"])?;
    let compare = compare(node)?;
    if matches!(compare, Compare::In | Compare::NotIn) {
        return Err(SHAPE.fault(node, "a state is compared by eq, ne, gt, gte, lt or lte", ""));
    }
    Ok(State { key: text(node, kind, "key")?, value: need(node, kind, "val")?.to_json(), compare })
}

fn compare(node: &Node) -> Result<Compare, Fault> {
    let Some(op) = node.get("op") else { return Ok(Compare::Equal) };
    let word = SHAPE.text(op, "`op`")?;
    Compare::named(&word).ok_or_else(|| {
        SHAPE.fault(op, format!("`op` cannot be `{word}`"), "it can be: eq, ne, gt, gte, lt, lte, in, not_in")
    })
}
