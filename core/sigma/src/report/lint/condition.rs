//! What the condition makes of the selections.

use super::items::Selection;
use super::report::{Report, Span};
use crate::language::ast::Condition;
use crate::language::condition::parse;
use crate::language::yaml::{Kind, Node, Typed};

/// Selections whose outcomes are tried in every combination.
const TRIED: usize = 12;

pub(super) fn check(detection: &Node, selections: &[Selection<'_>], report: &mut Report<'_>) {
    let Some(node) = detection.get("condition") else { return };
    if let Kind::Sequence(items) = &node.kind
        && items.len() > 1
    {
        let help = "join the conditions with `or`, or write a rule for each";
        report.add("S125", Span::of_node(node), "a list of conditions is no longer part of Sigma", help);
    }
    if let Kind::Mapping(pairs) = &detection.kind
        && let Some((key, _)) = pairs.iter().find(|(key, _)| key.text == "timeframe")
    {
        let help = "remove it; to count matches in a span of time write a correlation rule";
        report.add("S125", Span::of_key(key), "`timeframe` says nothing without an aggregation", help);
    }
    let names: Vec<&str> = selections.iter().map(|s| s.key.text.as_str()).collect();
    let Some(condition) = read(node, &names) else { return };
    let mut used = vec![false; names.len()];
    mark(&condition, &mut used);
    for (selection, _) in selections.iter().zip(&used).filter(|(_, used)| !**used) {
        let message = format!("the condition never looks at `{}`", selection.key.text);
        report.add("S120", Span::of_key(selection.key), message, "name it in the condition, or remove it");
    }
    outcomes(&condition, node, selections, &used, report);
}

/// The condition, if it can be read; why it cannot is a fault of the rule.
fn read(node: &Node, names: &[&str]) -> Option<Condition> {
    let one = |node: &Node| match &node.kind {
        Kind::Scalar(s) => parse(&s.text, s.span.pos(), names).ok(),
        _ => None,
    };
    match &node.kind {
        Kind::Sequence(items) => Some(Condition::Or(items.iter().map(one).collect::<Option<_>>()?)),
        _ => one(node),
    }
}

fn mark(condition: &Condition, used: &mut [bool]) {
    match condition {
        Condition::And(parts) | Condition::Or(parts) => parts.iter().for_each(|p| mark(p, used)),
        Condition::Not(part) => mark(part, used),
        Condition::Selection(i) => used[*i] = true,
    }
}

fn holds(condition: &Condition, outcome: &impl Fn(usize) -> bool) -> bool {
    match condition {
        Condition::And(parts) => parts.iter().all(|p| holds(p, outcome)),
        Condition::Or(parts) => parts.iter().any(|p| holds(p, outcome)),
        Condition::Not(part) => !holds(part, outcome),
        Condition::Selection(i) => outcome(*i),
    }
}

/// Whether the condition depends on the selections at all, taking them for independent of each other.
fn outcomes(
    condition: &Condition,
    node: &Node,
    selections: &[Selection<'_>],
    used: &[bool],
    report: &mut Report<'_>,
) {
    // Selections that are written alike come out alike.
    let bodies: Vec<_> = selections.iter().map(|s| s.body.to_json()).collect();
    let mut variables: Vec<usize> = Vec::new();
    let mut variable_of = vec![0; bodies.len()];
    for i in (0..bodies.len()).filter(|i| used[*i]) {
        let same = variables.iter().position(|v| bodies[*v] == bodies[i]);
        variable_of[i] = same.unwrap_or(variables.len());
        if let Some(same) = same {
            let message = format!(
                "`{}` asks for the same as `{}`",
                selections[i].key.text, selections[variables[same]].key.text
            );
            report.add("S124", Span::of_key(selections[i].key), message, "keep one of them");
        } else {
            variables.push(i);
        }
    }
    let at = Span::of_node(node);
    let without_any = holds(condition, &|_| false);
    if variables.len() <= TRIED {
        let mut outcomes = (0..1_u32 << variables.len())
            .map(|bits| holds(condition, &|i: usize| bits & (1 << variable_of[i]) != 0));
        let first = outcomes.next().unwrap_or_default();
        if outcomes.all(|outcome| outcome == first) {
            return if first {
                let help = "a part and its contrary are joined with `or`; remove one";
                report.add("S122", at, "the condition is true for every event", help);
            } else {
                let help = "a part and its contrary are joined with `and`; remove one";
                report.add("S121", at, "the condition can never be true", help);
            };
        }
    }
    if without_any && !asks_for_absence(selections, used) {
        let message = "the condition is true for an event that no selection matches";
        let help = "begin with a selection that says what to look for, and exclude from that";
        report.add("S123", at, message, help);
    }
}

/// Whether a selection that the condition looks at asks for a missing field: such a rule means what it does.
fn asks_for_absence(selections: &[Selection<'_>], used: &[bool]) -> bool {
    let items =
        selections.iter().zip(used).filter(|(_, used)| **used).flat_map(|(s, _)| s.groups.iter().flatten());
    items
        .flat_map(|item| item.values.iter().map(move |v| (item, v)))
        .any(|(item, value)| value.scalar.typed() == Typed::Null || item.has("exists") || item.has("neq"))
}
