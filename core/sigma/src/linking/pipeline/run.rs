//! Pipelines at work on one rule.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value as Json;

use super::applies::Subject;
use super::step::{AddedCondition, Step, Transformation};
use super::tree::{Leaf, Tree};
use crate::error::{Fault, Pos, RuleError, Span};
use crate::language::ast::{Condition, Selection};
use crate::language::attributes::Attributes;
use crate::language::detection;
use crate::language::rule::Rule;
use crate::language::yaml::{self, Kind};
use wardline_event::LogSource;

/// Steps that ask what a rule's detection holds, and were applied to it: the number of the pipeline, and where the step
/// stands in its file.
pub(crate) type AskedAndApplied = BTreeSet<(usize, usize, usize)>;

/// What steps know of those before them.
pub(super) struct Run<'p> {
    pub vars: &'p BTreeMap<String, Vec<String>>,
    pub state: BTreeMap<String, Json>,
    /// Ids of the steps that were applied to the rule.
    pub applied: BTreeSet<String>,
    /// By field, ids of the steps that gave the field its name.
    pub applied_to_fields: BTreeMap<String, BTreeSet<String>>,
    /// Fields that a step renamed, and their new names.
    pub mapped: BTreeSet<String>,
    /// The number of the pipeline that is applied now.
    pub pipeline: usize,
    /// For correlations over the rule. Of a correlation, what its rules have here.
    pub asked_and_applied: AskedAndApplied,
}

/// A rule, taken apart.
pub(super) struct Draft<'r> {
    pub attributes: &'r mut Attributes,
    pub log_source: &'r mut LogSource<'static>,
    /// `None` where nothing is left of a selection.
    pub selections: Vec<(String, Option<Tree>)>,
    /// Places and names of selections; those that steps add stand behind the rule's own.
    pub spans: Vec<Span>,
    pub condition: Condition,
}

impl<'p> Run<'p> {
    pub fn new(vars: &'p BTreeMap<String, Vec<String>>) -> Self {
        Self {
            vars,
            state: BTreeMap::new(),
            applied: BTreeSet::new(),
            applied_to_fields: BTreeMap::new(),
            mapped: BTreeSet::new(),
            pipeline: 0,
            asked_and_applied: AskedAndApplied::new(),
        }
    }

    /// The step as [`AskedAndApplied`] has it.
    pub fn place(&self, step: &Step) -> (usize, usize, usize) {
        (self.pipeline, step.pos.line, step.pos.column)
    }

    /// Applies pipelines, by name and steps, to a rule.
    pub fn rule<'s>(
        &mut self,
        rule: &mut Rule,
        pipelines: impl Iterator<Item = (&'s str, &'s [Step])>,
    ) -> Result<(), RuleError> {
        let origin = rule.attributes.origin.clone();
        let at = Pos { line: rule.attributes.line, column: 1 };
        let mut draft = Draft {
            selections: rule
                .detection
                .selections
                .iter()
                .map(|s| (s.name.clone(), Some(Tree::of(&s.body))))
                .collect(),
            spans: rule.detection.selections.iter().map(|s| s.span).collect(),
            condition: rule.detection.condition.clone(),
            attributes: &mut rule.attributes,
            log_source: &mut rule.log_source,
        };
        for (number, (name, steps)) in pipelines.enumerate() {
            self.pipeline = number;
            for step in steps {
                self.step(&mut draft, step).map_err(|fault| within(fault, name, step).at(&origin))?;
            }
        }
        let Draft { selections, spans, condition, .. } = draft;
        let mut new = Vec::with_capacity(selections.len());
        // Where each selection went; one that is empty goes nowhere.
        let mut places = Vec::with_capacity(selections.len());
        for ((name, tree), span) in selections.into_iter().zip(spans) {
            let body = tree.map_or(Ok(None), Tree::into_node).map_err(|fault| {
                Fault { message: format!("after the pipelines: {}", fault.message), ..fault }.at(&origin)
            })?;
            places.push(body.is_some().then_some(new.len()));
            new.extend(body.map(|body| Selection { name, span, body }));
        }
        let Some(condition) = without_empty(condition, &places) else {
            let message = "the pipelines drop every detection item of this rule";
            return Err(
                Fault::new("S081", at, message, "narrow the conditions of `drop_detection_item`").at(&origin)
            );
        };
        rule.detection.selections = new;
        rule.detection.condition = condition;
        Ok(())
    }

    fn step(&mut self, draft: &mut Draft<'_>, step: &Step) -> Result<(), Fault> {
        let subject = Subject {
            attributes: draft.attributes,
            log_sources: std::slice::from_ref(&*draft.log_source),
            selections: &draft.selections,
            is_rule: true,
        };
        if !step.rules.hold(&mut |c| c.holds(&subject, self)) {
            return Ok(());
        }
        if step.asks_for_detection() {
            self.asked_and_applied.insert(self.place(step));
        }
        let at = Pos { line: draft.attributes.line, column: 1 };
        match &step.what {
            Transformation::AddCondition(added) => draft.add(added, step)?,
            Transformation::ChangeLogSource(new) => *draft.log_source = new.clone(),
            Transformation::FailUnmapped => self.all_mapped(draft, at)?,
            Transformation::Nest(steps) => steps.iter().try_for_each(|step| self.step(draft, step))?,
            what if self.attributes(draft.attributes, what, at)? => {}
            _ => {
                if step.what.renames() {
                    self.rename_list(draft.attributes, step);
                }
                for (_, tree) in &mut draft.selections {
                    if let Some(old) = tree.take() {
                        *tree = old.change(&mut |leaf| self.item(leaf, step))?;
                    }
                }
            }
        }
        self.applied.extend(step.id.clone());
        Ok(())
    }

    /// Applies what is about attributes and state alone; `false` if it is about something else.
    pub fn attributes(
        &mut self,
        attributes: &mut Attributes,
        what: &Transformation,
        at: Pos,
    ) -> Result<bool, Fault> {
        match what {
            Transformation::AddFields(names) => attributes.fields.extend(names.iter().cloned()),
            Transformation::RemoveFields(names) => attributes.fields.retain(|f| !names.contains(f)),
            Transformation::SetFields(names) => attributes.fields.clone_from(names),
            Transformation::SetState(key, value) => {
                self.state.insert(key.clone(), value.clone());
            }
            Transformation::SetAttribute(key, value) => {
                attributes.extra.insert(key.clone(), value.clone());
            }
            Transformation::FailRule(message) => {
                return Err(Fault::new("S081", at, format!("refused: {message}"), ""));
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Applies a step to one detection item.
    fn item(&mut self, leaf: Leaf, step: &Step) -> Result<Option<Tree>, Fault> {
        if !step.is_for(&leaf, self) {
            return Ok(Some(Tree::Leaf(leaf)));
        }
        match &step.what {
            Transformation::Drop => Ok(None),
            Transformation::FailItem(message) => {
                Err(Fault::new("S081", leaf.span.pos(), format!("refused: {message}"), ""))
            }
            Transformation::Hashes(hashes) => hashes.apply(leaf, step),
            what if what.renames() => Ok(self.rename_item(leaf, step)),
            what => self.values(leaf, what, step).map(|leaf| Some(Tree::Leaf(leaf))),
        }
    }

    fn all_mapped(&self, draft: &Draft<'_>, at: Pos) -> Result<(), Fault> {
        let mut missing = BTreeSet::new();
        for (_, tree) in &draft.selections {
            if let Some(tree) = tree {
                collect_unmapped(tree, &self.mapped, &mut missing);
            }
        }
        if missing.is_empty() {
            return Ok(());
        }
        let names = missing.into_iter().collect::<Vec<_>>().join(", ");
        Err(Fault::new(
            "S081",
            at,
            format!("refused: no step maps these fields: {names}"),
            "map them, or take `strict_field_mapping_failure` out",
        ))
    }
}

fn collect_unmapped(tree: &Tree, mapped: &BTreeSet<String>, missing: &mut BTreeSet<String>) {
    match tree {
        Tree::And(parts) | Tree::Or(parts) => parts.iter().for_each(|p| collect_unmapped(p, mapped, missing)),
        Tree::Leaf(leaf) => missing.extend(leaf.field.iter().filter(|f| !mapped.contains(*f)).cloned()),
    }
}

/// Says which pipeline and step a fault comes from.
pub(super) fn within(fault: Fault, pipeline: &str, step: &Step) -> Fault {
    Fault { message: format!("pipeline `{pipeline}`, line {}: {}", step.pos.line, fault.message), ..fault }
}

/// The condition over the selections that are left. What asks for an empty one is left out, as pySigma does; `None` if
/// nothing is left.
fn without_empty(condition: Condition, places: &[Option<usize>]) -> Option<Condition> {
    let join = |parts: Vec<Condition>| -> Vec<Condition> {
        parts.into_iter().filter_map(|part| without_empty(part, places)).collect()
    };
    match condition {
        Condition::And(parts) => Some(join(parts)).filter(|p| !p.is_empty()).map(Condition::And),
        Condition::Or(parts) => Some(join(parts)).filter(|p| !p.is_empty()).map(Condition::Or),
        Condition::Not(part) => without_empty(*part, places).map(|part| Condition::Not(Box::new(part))),
        Condition::Selection(at) => places.get(at).copied().flatten().map(Condition::Selection),
    }
}

impl Draft<'_> {
    fn add(&mut self, added: &AddedCondition, step: &Step) -> Result<(), Fault> {
        let mut selection = added.selection.clone();
        if added.template {
            fill(&mut selection, self.log_source);
        }
        // A place in the pipeline's file is none in the rule's.
        let at = Pos { line: self.attributes.line, column: 1 };
        let body = detection::selection(&selection).map_err(|fault| Fault { pos: at, ..fault })?;
        let mut tree = Tree::of(&body);
        if let Some(id) = &step.id {
            mark(&mut tree, id);
        }
        let added_at = Condition::Selection(self.selections.len());
        self.selections.push((added.name.clone(), Some(tree)));
        self.spans.push(Span::new(at, 1));
        let asked = if added.negated { Condition::Not(Box::new(added_at)) } else { added_at };
        let own = std::mem::replace(&mut self.condition, Condition::And(Vec::new()));
        self.condition = Condition::And(vec![asked, own]);
        Ok(())
    }
}

/// Notes that a step was applied.
pub(super) fn mark(tree: &mut Tree, id: &str) {
    match tree {
        Tree::And(parts) | Tree::Or(parts) => parts.iter_mut().for_each(|part| mark(part, id)),
        Tree::Leaf(leaf) => {
            leaf.applied.insert(id.to_owned());
        }
    }
}

/// Puts the terms of a log source in the place of `$product`, `$category` and `$service`.
fn fill(node: &mut yaml::Node, source: &LogSource<'_>) {
    match &mut node.kind {
        Kind::Sequence(items) => items.iter_mut().for_each(|item| fill(item, source)),
        Kind::Mapping(pairs) => pairs.iter_mut().for_each(|(_, value)| fill(value, source)),
        Kind::Scalar(scalar) => {
            for (name, term) in
                [("product", &source.product), ("category", &source.category), ("service", &source.service)]
            {
                let old = std::mem::take(&mut scalar.text);
                scalar.text = old.replace(&format!("${{{name}}}"), term).replace(&format!("${name}"), term);
            }
        }
    }
}
