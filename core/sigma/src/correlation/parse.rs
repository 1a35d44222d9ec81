//! From YAML to a [`Correlation`].

use crate::correlation::boolean;
use crate::correlation::rule::{Alias, Correlation, CorrelationCondition, CorrelationType, RuleExpression};
use crate::correlation::threshold::{Operator, Threshold};
use crate::correlation::timespan::Timespan;
use crate::error::{Fault, Pos};
use crate::language::attributes::{Attributes, scalar, text, texts};
use crate::language::yaml::{Document, Key, Kind, Node, Scalar, Typed};
use crate::limits;

/// What a `correlation` may hold.
const KEYS: [&str; 7] = ["type", "rules", "group-by", "timespan", "aliases", "condition", "generate"];

/// Reads one document; `body` is the value of its `correlation`.
pub(crate) fn parse(document: &Document<'_>, body: &Node, origin: &str) -> Result<Correlation, Fault> {
    let attributes = Attributes::read(document, origin)?;
    let Kind::Mapping(pairs) = &body.kind else {
        return Err(Fault::new(
            "S011",
            body.pos,
            "`correlation` must be a mapping",
            "give `type`, `rules`, `timespan` and `condition`",
        ));
    };
    if let Some((key, _)) = pairs.iter().find(|(key, _)| !KEYS.contains(&key.text.as_str())) {
        return Err(unknown(key));
    }
    let kind = kind(body)?;
    let mut rules = names(body, "rules")?;
    let condition = match body.get("condition").map(|node| (node, &node.kind)) {
        Some((_, Kind::Mapping(_))) => thresholds(body)?,
        Some((_, Kind::Scalar(s))) if s.typed() != Typed::Null => {
            over_rules(s, &mut rules, body.get("rules").is_some())?
        }
        None | Some((_, Kind::Scalar(_))) if kind.is_temporal() => every_rule(rules.len()),
        None | Some((_, Kind::Scalar(_))) => return Err(missing(body, "condition")),
        Some((node, _)) => {
            return Err(Fault::new(
                "S011",
                node.pos,
                "`condition` must be a mapping",
                "for example `gte: 10`",
            ));
        }
    };
    if rules.is_empty() {
        return Err(missing(body, "rules"));
    }
    let timespan = timespan(body)?;
    let correlation = Correlation {
        attributes,
        kind,
        rules,
        group_by: names(body, "group-by")?,
        timespan,
        aliases: aliases(body)?,
        condition,
        generate: generate(body)?,
        has_level: document.root.get("level").is_some(),
        at: body.pos,
    };
    correlation.check()
}

/// The faults of each attribute of a `correlation` alone.
pub(crate) fn faults(body: &Node) -> Vec<Fault> {
    let Kind::Mapping(pairs) = &body.kind else { return Vec::new() };
    let mut out: Vec<Fault> = pairs
        .iter()
        .filter(|(key, _)| !KEYS.contains(&key.text.as_str()))
        .map(|(key, _)| unknown(key))
        .collect();
    out.extend(kind(body).err());
    out.extend(names(body, "rules").err());
    out.extend(names(body, "group-by").err());
    out.extend(timespan(body).err());
    out.extend(aliases(body).err());
    out.extend(generate(body).err());
    if body.get("condition").is_some_and(|node| matches!(node.kind, Kind::Mapping(_))) {
        out.extend(thresholds(body).err());
    }
    out
}

fn unknown(key: &Key) -> Fault {
    Fault::new(
        "S011",
        key.pos,
        format!("`{}` is no attribute of a correlation", key.text),
        format!("there are {}", KEYS.join(", ")),
    )
}

fn timespan(body: &Node) -> Result<Timespan, Fault> {
    let span = body.get("timespan").ok_or_else(|| missing(body, "timespan"))?;
    Timespan::parse(&scalar(span, "timespan")?, span.pos)
}

fn missing(body: &Node, name: &str) -> Fault {
    Fault::new("S010", body.pos, format!("the correlation has no `{name}`"), format!("add `{name}:`"))
}

fn kind(body: &Node) -> Result<CorrelationType, Fault> {
    let node = body.get("type").ok_or_else(|| missing(body, "type"))?;
    let word = scalar(node, "type")?;
    let known = CorrelationType::ALL.into_iter().find(|(w, _)| w.eq_ignore_ascii_case(&word));
    known.map(|(_, kind)| kind).ok_or_else(|| {
        let words = CorrelationType::ALL.map(|(word, _)| word).join(", ");
        Fault::new(
            "S011",
            node.pos,
            format!("`{word}` is not a type of correlation"),
            format!("types: {words}"),
        )
    })
}

/// A list of names; a single one stands for a list of it. None of them may be empty.
fn names(body: &Node, attribute: &str) -> Result<Vec<String>, Fault> {
    let names = texts(body, attribute)?;
    match body.get(attribute) {
        Some(node) if names.iter().any(|name| name.trim().is_empty()) => {
            Err(Fault::new("S011", node.pos, format!("`{attribute}` holds an empty name"), "take it away"))
        }
        _ => Ok(names),
    }
}

fn every_rule(rules: usize) -> CorrelationCondition {
    let bound = rules.max(1) as f64;
    let thresholds = vec![Threshold { operator: Operator::GreaterOrEqual, bound }];
    CorrelationCondition::Thresholds { thresholds, fields: Vec::new(), percentile: None }
}

fn thresholds(body: &Node) -> Result<CorrelationCondition, Fault> {
    let node = body.get("condition").ok_or_else(|| missing(body, "condition"))?;
    let Kind::Mapping(pairs) = &node.kind else { return Err(missing(body, "condition")) };
    let mut thresholds = Vec::new();
    let mut percentile = None;
    for (key, value) in pairs {
        match key.text.as_str() {
            "field" => {}
            "percentile" => percentile = Some(number(value, "percentile")?),
            word => {
                let operator = Operator::parse(word).ok_or_else(|| {
                    Fault::new(
                        "S011",
                        key.pos,
                        format!("`{word}` cannot stand in a correlation's condition"),
                        "it has gt, gte, lt, lte, eq, neq, field and percentile",
                    )
                })?;
                thresholds.push(Threshold { operator, bound: number(value, word)? });
            }
        }
    }
    if thresholds.is_empty() {
        return Err(Fault::new(
            "S010",
            node.pos,
            "the condition compares with nothing",
            "add for example `gte: 10`",
        ));
    }
    Ok(CorrelationCondition::Thresholds { thresholds, fields: names(node, "field")?, percentile })
}

fn number(node: &Node, name: &str) -> Result<f64, Fault> {
    let wrong =
        || Fault::new("S011", node.pos, format!("`{name}` must be a number"), "for example `gte: 10`");
    let Kind::Scalar(scalar) = &node.kind else { return Err(wrong()) };
    match scalar.typed() {
        Typed::Int(n) => Ok(n as f64),
        Typed::Float(n) => Ok(n),
        // A quoted number is common and cannot mean anything else.
        Typed::Str(text) => match text.trim().parse::<f64>() {
            Ok(n) if n.is_finite() && text.bytes().all(|b| b.is_ascii_digit() || b"+-.eE ".contains(&b)) => {
                Ok(n)
            }
            _ => Err(wrong()),
        },
        Typed::Null | Typed::Bool(_) => Err(wrong()),
    }
}

/// An expression over rules. Without a list of rules, those that it names are the rules.
fn over_rules(text: &Scalar, rules: &mut Vec<String>, listed: bool) -> Result<CorrelationCondition, Fault> {
    let mut named = Vec::new();
    let expression = boolean::parse(&text.text, text.span.pos(), &mut |name, pos| {
        let index = match rules.iter().position(|rule| rule == name) {
            Some(index) => index,
            None if listed => {
                return Err(Fault::new(
                    "S041",
                    pos,
                    format!("the condition names `{name}`, which `rules` does not"),
                    format!("rules: {}", rules.join(", ")),
                ));
            }
            None => {
                rules.push(name.to_owned());
                rules.len() - 1
            }
        };
        // The mask of rules has a bit for each of them.
        if index >= limits::TEMPORAL_RULES {
            let message = format!("more than {} rules in one condition", limits::TEMPORAL_RULES);
            return Err(Fault::new("S002", pos, message, "chain several correlations"));
        }
        named.push(index);
        Ok(index)
    })?;
    if let Some(unused) = (0..rules.len()).find(|index| !named.contains(index)) {
        return Err(Fault::new(
            "S011",
            text.span.pos(),
            format!("the condition does not name `{}`, which `rules` does", rules[unused]),
            "take it into the condition, or out of `rules`",
        ));
    }
    Ok(CorrelationCondition::Rules(RuleExpression { text: text.text.clone(), expression }))
}

fn aliases(body: &Node) -> Result<Vec<Alias>, Fault> {
    let wrong = |pos: Pos| {
        Fault::new(
            "S011",
            pos,
            "`aliases` must give for each alias the field of each rule",
            "write `alias: {rule_name: field}`",
        )
    };
    let Some(node) = body.get("aliases") else { return Ok(Vec::new()) };
    let pairs = match &node.kind {
        Kind::Mapping(pairs) => pairs,
        Kind::Scalar(s) if s.typed() == Typed::Null => return Ok(Vec::new()),
        _ => return Err(wrong(node.pos)),
    };
    if pairs.len() > limits::GROUP_FIELDS {
        let message = format!("{} aliases, the limit is {}", pairs.len(), limits::GROUP_FIELDS);
        return Err(Fault::new("S002", node.pos, message, "define fewer"));
    }
    pairs
        .iter()
        .map(|(name, value)| {
            let Kind::Mapping(fields) = &value.kind else { return Err(wrong(value.pos)) };
            let fields = fields
                .iter()
                .map(|(rule, _)| match text(value, &rule.text)? {
                    field if field.is_empty() => Err(wrong(rule.pos)),
                    field => Ok((rule.text.clone(), field)),
                })
                .collect::<Result<_, Fault>>()?;
            Ok(Alias { name: name.text.clone(), fields })
        })
        .collect()
}

fn generate(body: &Node) -> Result<bool, Fault> {
    let Some(node) = body.get("generate") else { return Ok(false) };
    match &node.kind {
        Kind::Scalar(s) => match s.typed() {
            Typed::Bool(generate) => Ok(generate),
            Typed::Null => Ok(false),
            _ => Err(Fault::new("S011", node.pos, "`generate` must be true or false", "")),
        },
        _ => Err(Fault::new("S011", node.pos, "`generate` must be true or false", "")),
    }
}
