//! This project's own format: a list of steps that say what becomes of the rules of a log source.

use std::collections::BTreeMap;

use wardline_event::LogSource;

use super::pysigma::{is_flat, lists, priority};
use super::step::{
    AddedCondition, Conditions, FieldCondition, Filling, Names, Placeholders, RuleCondition, Step,
    Transformation,
};
use super::{Pipeline, SHAPE, conditions};
use crate::error::Fault;
use crate::language::detection;
use crate::language::yaml::Node;

/// What a step may do, in the order in which it is done.
const DEEDS: &[&str] = &["fail", "drop", "values", "placeholders", "rename", "require", "logsource"];

pub(super) fn read(root: &Node) -> Result<Pipeline, Fault> {
    SHAPE.only(root, "a pipeline", &["pipeline", "priority", "steps"])?;
    let mut steps = Vec::new();
    if let Some(list) = root.get("steps") {
        for node in SHAPE.list(list, "`steps`")? {
            step(node, &mut steps)?;
        }
    }
    Ok(Pipeline {
        name: SHAPE.text_of(root, "pipeline")?.unwrap_or_default(),
        priority: priority(root)?,
        notices: Vec::new(),
        steps,
        vars: BTreeMap::new(),
    })
}

fn step(node: &Node, out: &mut Vec<Step>) -> Result<(), Fault> {
    let known: Vec<&str> = DEEDS.iter().copied().chain(["for"]).collect();
    SHAPE.only(node, "a step", &known)?;
    let source = match node.get("for") {
        None => None,
        Some(source) => {
            SHAPE.only(source, "`for`", &["product", "category", "service"])?;
            Some(conditions::log_source(source)?)
        }
    };
    let before = out.len();
    for deed in DEEDS {
        let Some(value) = node.get(deed) else { continue };
        match *deed {
            "fail" => out.push(new(
                source.as_ref(),
                &[],
                Transformation::FailRule(SHAPE.text(value, "`fail`")?),
                value,
            )),
            "drop" => {
                let names = SHAPE.texts(value, "`drop`")?;
                if names.is_empty() {
                    return Err(SHAPE.fault(value, "`drop` names no field", "give at least one"));
                }
                out.push(new(source.as_ref(), &names, Transformation::Drop, value));
            }
            "values" => {
                for (key, map) in SHAPE.pairs(value, "`values`")? {
                    let names = [key.text.clone()];
                    out.push(new(source.as_ref(), &names, Transformation::MapText(lists(map)?), map));
                }
            }
            "placeholders" => {
                let given = lists(value)?;
                let filling = Placeholders {
                    include: Some(given.keys().cloned().collect()),
                    exclude: Vec::new(),
                    by: Filling::Given(given),
                };
                out.push(new(source.as_ref(), &[], Transformation::Placeholders(filling), value));
            }
            "rename" => {
                let names = lists(value)?.into_iter().map(|(old, new)| (Some(old), new)).collect();
                out.push(new(source.as_ref(), &[], Transformation::Rename(names), value));
            }
            "require" => {
                if let Some((key, _)) = SHAPE.pairs(value, "`require`")?.iter().find(|(_, v)| !is_flat(v)) {
                    let message = format!("`{}` must be asked for a value or a list of values", key.text);
                    return Err(SHAPE.fault(value, message, "write it as in a selection of a rule"));
                }
                detection::selection(value)?;
                out.push(new(
                    source.as_ref(),
                    &[],
                    Transformation::AddCondition(AddedCondition {
                        name: "required".to_owned(),
                        selection: value.clone(),
                        template: false,
                        negated: false,
                    }),
                    value,
                ));
            }
            _ => {
                SHAPE.only(value, "`logsource`", &["product", "category", "service"])?;
                let new_source = conditions::log_source(value)?;
                out.push(new(source.as_ref(), &[], Transformation::ChangeLogSource(new_source), value));
            }
        }
    }
    if out.len() == before {
        let hint = format!("it may have: {}", DEEDS.join(", "));
        return Err(SHAPE.fault(node, "a step that does nothing", hint));
    }
    Ok(())
}

/// A step for rules of a log source, and of them for these fields, or all.
fn new(source: Option<&LogSource<'static>>, fields: &[String], what: Transformation, node: &Node) -> Step {
    let rules = source.map(|source| RuleCondition::LogSource(source.clone())).into_iter().collect();
    let fields = match fields {
        [] => Conditions::none(),
        names => Conditions::all(vec![FieldCondition::Named(Names::Plain(names.to_vec()), true)]),
    };
    Step { id: None, rules: Conditions::all(rules), items: Conditions::none(), fields, what, pos: node.pos }
}
