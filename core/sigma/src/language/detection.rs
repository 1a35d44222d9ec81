//! The `detection` attribute: selections and condition.

use crate::error::{Fault, Pos};
use crate::language::aggregation::{self, Aggregation};
use crate::language::ast::{Condition, Detection, Item, Node, Selection};
use crate::language::condition;
use crate::language::modifiers::FieldKey;
use crate::language::yaml::{self, Kind, Scalar, Typed};
use crate::limits;

/// Reads a rule's `detection`, and the aggregation of Sigma 1 with which its condition ends.
pub(crate) fn read(node: &yaml::Node) -> Result<(Detection, Option<Aggregation>), Fault> {
    // Without an aggregation, `timeframe` says nothing.
    let selections = read_selections(node, "detection", RESERVED)?;
    let (condition, aggregation) = read_end(node, &names(&selections))?;
    Ok((Detection { selections, condition }, aggregation))
}

/// Attributes of a rule's `detection` that are no selections.
const RESERVED: &[&str] = &["condition", "timeframe"];
/// The same of a filter's `filter`.
const RESERVED_IN_FILTER: &[&str] = &["condition", "rules"];

/// Reads what a rule's `detection` says of its selections.
fn read_end(node: &yaml::Node, names: &[&str]) -> Result<(Condition, Option<Aggregation>), Fault> {
    let condition = condition_of(node, "detection")?;
    if let Kind::Scalar(scalar) = &condition.kind
        && let Some((events, rest)) = aggregation::split(&scalar.text)
    {
        let timeframe = match node.get("timeframe").map(|node| (&node.kind, node.pos)) {
            Some((Kind::Scalar(text), at)) => Some((text.text.as_str(), at)),
            _ => None,
        };
        let condition = condition::parse(events, scalar.span.pos(), names)?;
        let aggregation = aggregation::parse(rest, scalar.span, timeframe, names)?;
        return Ok((condition, Some(aggregation)));
    }
    Ok((read_condition(condition, names)?, None))
}

/// The faults of a rule's `detection`: of each item the first, and of the condition, so that none follows from another.
pub(crate) fn faults(node: &yaml::Node) -> Vec<Fault> {
    all_faults(node, RESERVED, &|names| read_end(node, names).err())
}

/// The faults of a filter's `filter` in the same way.
pub(crate) fn filter_faults(node: &yaml::Node) -> Vec<Fault> {
    let condition =
        |names: &[&str]| condition_of(node, "filter").and_then(|c| read_condition(c, names)).err();
    all_faults(node, RESERVED_IN_FILTER, &condition)
}

fn all_faults(
    node: &yaml::Node,
    reserved: &[&str],
    condition: &dyn Fn(&[&str]) -> Option<Fault>,
) -> Vec<Fault> {
    // What is no mapping, or has no selection, is all there is to say.
    let Kind::Mapping(pairs) = &node.kind else { return Vec::new() };
    let selections: Vec<_> = pairs.iter().filter(|(key, _)| !reserved.contains(&key.text.as_str())).collect();
    if selections.is_empty() {
        return Vec::new();
    }
    let mut out = Vec::new();
    for (_, body) in &selections {
        selection_faults(body, &mut out);
    }
    // Also of selections that cannot be read the names are known.
    let names: Vec<&str> = selections.iter().map(|(key, _)| key.text.as_str()).collect();
    out.extend(condition(&names));
    out
}

fn selection_faults(node: &yaml::Node, out: &mut Vec<Fault>) {
    let alone = |kind: Kind| yaml::Node { pos: node.pos, kind };
    match &node.kind {
        Kind::Mapping(pairs) if pairs.len() > 1 => {
            for pair in pairs {
                out.extend(selection(&alone(Kind::Mapping(vec![pair.clone()]))).err());
            }
        }
        Kind::Sequence(items) if items.len() > 1 => items.iter().for_each(|item| selection_faults(item, out)),
        _ => out.extend(selection(node).err()),
    }
}

/// Reads a filter's `filter`.
pub(crate) fn read_filter(node: &yaml::Node) -> Result<Detection, Fault> {
    let selections = read_selections(node, "filter", RESERVED_IN_FILTER)?;
    let condition = read_condition(condition_of(node, "filter")?, &names(&selections))?;
    Ok(Detection { selections, condition })
}

/// Reads one selection.
pub(crate) fn selection(node: &yaml::Node) -> Result<Node, Fault> {
    Reader { values: 0, regexes: 0 }.selection(node)
}

fn names(selections: &[Selection]) -> Vec<&str> {
    selections.iter().map(|s| s.name.as_str()).collect()
}

fn condition_of<'n>(node: &'n yaml::Node, what: &str) -> Result<&'n yaml::Node, Fault> {
    node.get("condition").ok_or_else(|| {
        Fault::new("S010", node.pos, format!("`{what}` has no `condition`"), "add `condition: selection`")
    })
}

/// Reads a mapping's selections; `reserved` are the keys that are none.
fn read_selections(node: &yaml::Node, what: &str, reserved: &[&str]) -> Result<Vec<Selection>, Fault> {
    let Kind::Mapping(pairs) = &node.kind else {
        return Err(Fault::new(
            "S011",
            node.pos,
            format!("`{what}` must be a mapping"),
            "give selections and a `condition`",
        ));
    };
    let mut reader = Reader { values: 0, regexes: 0 };
    let mut selections = Vec::new();
    for (key, value) in pairs {
        if !reserved.contains(&key.text.as_str()) {
            selections.push(Selection {
                name: key.text.clone(),
                span: key.span,
                body: reader.selection(value)?,
            });
        }
    }
    condition_of(node, what)?;
    if selections.is_empty() {
        return Err(Fault::new(
            "S010",
            node.pos,
            format!("`{what}` has no selection"),
            "add one besides the condition",
        ));
    }
    Ok(selections)
}

/// A condition, or a list of them of which one is enough.
fn read_condition(node: &yaml::Node, names: &[&str]) -> Result<Condition, Fault> {
    let wrong = |at, what: &str| Err(Fault::new("S011", at, what, ""));
    let scalars: Vec<&Scalar> = match &node.kind {
        Kind::Scalar(scalar) => vec![scalar],
        Kind::Sequence(items) if !items.is_empty() => {
            let mut scalars = Vec::with_capacity(items.len());
            for item in items {
                let Kind::Scalar(scalar) = &item.kind else {
                    return wrong(item.pos, "a condition must be text");
                };
                scalars.push(scalar);
            }
            scalars
        }
        _ => return wrong(node.pos, "`condition` must be text or a list of texts"),
    };
    let mut parts = Vec::with_capacity(scalars.len());
    for scalar in &scalars {
        parts.push(condition::parse(&scalar.text, scalar.span.pos(), names)?);
    }
    Ok(match parts.pop() {
        Some(only) if parts.is_empty() => only,
        last => {
            parts.extend(last);
            Condition::Or(parts)
        }
    })
}

struct Reader {
    values: usize,
    regexes: usize,
}

impl Reader {
    fn count(&mut self, key: &FieldKey, at: Pos) -> Result<(), Fault> {
        self.values += 1;
        self.regexes += usize::from(key.is_regex());
        let (limit, what) = if self.values > limits::RULE_VALUES {
            (limits::RULE_VALUES, "values")
        } else if self.regexes > limits::RULE_REGEXES {
            (limits::RULE_REGEXES, "regular expressions")
        } else {
            return Ok(());
        };
        Err(Fault::new(
            "S002",
            at,
            format!("the rule has more than {limit} {what}"),
            "split it; long lists of indicators belong in an indicator feed",
        ))
    }

    fn selection(&mut self, node: &yaml::Node) -> Result<Node, Fault> {
        match &node.kind {
            Kind::Mapping(pairs) if pairs.is_empty() => Err(empty(node.pos, "selection")),
            Kind::Mapping(pairs) => {
                let parts = pairs.iter().map(|(key, value)| {
                    let item = Item { key: key.text.clone(), span: key.span };
                    let key = FieldKey::parse(item, key.pos)?;
                    self.item(&key, value)
                });
                Ok(Node::And(parts.collect::<Result<_, _>>()?))
            }
            Kind::Sequence(items) if items.is_empty() => Err(empty(node.pos, "selection")),
            Kind::Sequence(items) => {
                let parts = items.iter().map(|item| self.selection(item));
                Ok(Node::Or(parts.collect::<Result<_, _>>()?))
            }
            Kind::Scalar(value) if value.typed() == Typed::Null => Err(empty(node.pos, "selection")),
            Kind::Scalar(value) => self.value(&FieldKey::keyword(value.span), value),
        }
    }

    fn item(&mut self, key: &FieldKey, value: &yaml::Node) -> Result<Node, Fault> {
        let items = match &value.kind {
            Kind::Scalar(value) => return self.value(key, value),
            Kind::Mapping(_) => {
                return Err(Fault::new(
                    "S003",
                    value.pos,
                    "a field's value cannot be a mapping",
                    "reach nested fields by dotted names, `a.b: value`",
                ));
            }
            Kind::Sequence(items) if items.is_empty() => return Err(empty(value.pos, "list of values")),
            Kind::Sequence(items) => items,
        };
        let mut parts = Vec::with_capacity(items.len());
        for item in items {
            match &item.kind {
                Kind::Scalar(value) => parts.push(self.value(key, value)?),
                _ => {
                    return Err(Fault::new(
                        "S003",
                        item.pos,
                        "a list of values cannot hold a list or mapping",
                        "write the values one below the other",
                    ));
                }
            }
        }
        // `neq` says that the field differs from every value.
        Ok(if key.all || key.negated { Node::And(parts) } else { Node::Or(parts) })
    }

    fn value(&mut self, key: &FieldKey, value: &Scalar) -> Result<Node, Fault> {
        self.count(key, value.span.pos())?;
        key.test(value)
    }
}

fn empty(at: Pos, what: &str) -> Fault {
    Fault::new("S003", at, format!("an empty {what} matches nothing"), "add a value or remove it")
}
