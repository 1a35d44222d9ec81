//! What a rule can ever see, and what it costs; what a correlation counts.

use std::fmt::Write;

use console::Style;
use serde_json::{Value, json};
use wardline_sigma::sources::{FoundBy, Reached, Sources};
use wardline_sigma::{Cost, Linked, Rule};

use super::super::kernel::{self, InKernel};
use super::{shown, source_json};
use crate::printable::printable;
use crate::scan::{counted, thousands};

/// Kinds of events that are shown.
const KINDS: usize = 20;

const fn by(found_by: FoundBy) -> &'static str {
    match found_by {
        FoundBy::Channel => "known by channel or provider",
        FoundBy::Fields => "known by its fields",
        FoundBy::Reader => "known by its reader or sensor",
        FoundBy::Nothing => "known only if you say so",
    }
}

/// The word for a cost, and what it means.
const fn cost(rule: Cost) -> (&'static str, &'static str) {
    match rule {
        Cost::OnText => ("low", "it is looked at only when one of its texts is seen"),
        Cost::EveryEvent => {
            ("medium", "it is looked at for every event of its log source, since no text must be there")
        }
        Cost::EveryEventWithRegex => (
            "high",
            "for every event of its log source, and it runs regular expressions without a text of their own",
        ),
    }
}

/// Fields that a rule reads, and whether an event that it can see may have them.
fn fields<'r>(rule: &'r Rule, sources: &Sources) -> Vec<(&'r str, bool)> {
    let known = sources.fields_of(&rule.log_source);
    rule.field_names().into_iter().map(|name| (name, known.may_have(name))).collect()
}

/// The kinds of events that a rule can match, and how many more its log source has that have another id than the rule
/// asks for.
fn reached<'s>(rule: &Rule, sources: &'s Sources) -> (Vec<Reached<'s>>, usize) {
    let all = sources.events_for(&rule.log_source);
    let may = |r: &Reached<'_>| match r.kind.ids.as_slice() {
        [] => rule.may_match_event(None),
        ids => ids.iter().any(|id| rule.may_match_event(Some(*id))),
    };
    let (seen, others): (Vec<_>, Vec<_>) = all.into_iter().partition(may);
    (seen, others.len())
}

pub fn rule_json(rule: &Rule, over: &[String], sources: &Sources) -> Value {
    let event = |r: &Reached<'_>| json!({"source": r.kind.source, "title": r.kind.title, "event_ids": r.kind.ids, "found_by": by(r.found_by)});
    let (seen, others) = reached(rule, sources);
    let field = |(name, known): (&str, bool)| json!({"name": name, "known": known});
    json!({
        "rule_id": rule.id, "rule": rule.title, "log_source": source_json(&rule.log_source),
        "events": seen.iter().map(event).collect::<Vec<_>>(), "kinds_with_other_ids": others,
        "fields": fields(rule, sources).into_iter().map(field).collect::<Vec<_>>(),
        "cost": cost(rule.cost()).0, "correlations": over,
        "kernel": kernel::of(std::slice::from_ref(rule)).get(&0).map(InKernel::json),
    })
}

pub fn rule(rule: &Rule, over: &[String], sources: &Sources) -> String {
    let mut out = format!("{}\n", Style::new().bold().apply_to(printable(&rule.title)));
    out += &sight(rule, sources);
    if !over.is_empty() {
        out += "\nCorrelations that count it:\n";
        for title in over {
            let _ = writeln!(out, "  {}", printable(title));
        }
    }
    out
}

/// Log source, events, fields and cost of a rule.
fn sight(rule: &Rule, sources: &Sources) -> String {
    let (reached, others) = reached(rule, sources);
    let mut out = format!("for {}\n\nEvents that it can see:\n", shown(&rule.log_source));
    if reached.is_empty() && others > 0 {
        let n = counted(others as u64, "kind");
        let _ = writeln!(out, "  none: of {n} of its log source, none has the EventID that it asks for");
    } else if reached.is_empty() {
        out += "  none: no known source writes events of this log source, so the rule can never match;\n  \
                if you have such logs, describe them with --sources\n";
    }
    for r in reached.iter().take(KINDS) {
        let ids: Vec<String> = r.kind.ids.iter().map(ToString::to_string).collect();
        let ids = if ids.is_empty() { String::new() } else { format!(", event {}", ids.join(", ")) };
        let (source, title) = (printable(&r.kind.source), printable(&r.kind.title));
        let _ = writeln!(out, "  {source}{ids}: {title} ({})", by(r.found_by));
    }
    if reached.len() > KINDS {
        let _ = writeln!(
            out,
            "  … and {}; --json names all",
            counted((reached.len() - KINDS) as u64, "more kind")
        );
    }
    if others > 0 && !reached.is_empty() {
        let n = thousands(others as u64);
        let _ = writeln!(out, "  (the other {n} of its log source have another EventID than it asks for)");
    }
    out += "\nFields that it reads:\n";
    let fields = fields(rule, sources);
    for (field, known) in &fields {
        let note = if *known || reached.is_empty() { "" } else { "  no event that it can see has it" };
        let _ = writeln!(out, "  {}{note}", printable(field));
    }
    if fields.is_empty() {
        out += "  every field: it looks for keywords\n";
    }
    let (word, meaning) = cost(rule.cost());
    let _ = writeln!(out, "\nCost: {word}: {meaning}");
    if let Some(kernel) = kernel::of(std::slice::from_ref(rule)).get(&0) {
        let _ = writeln!(out, "\nResponse: {}", printable(&kernel.words()));
    }
    out
}

/// What a correlation asks for, in one line without its title: `event_count ≥ 10 within 5m, by Computer`.
pub fn asked(linked: &wardline_sigma::Correlations, index: usize) -> String {
    let correlation = &linked.correlations()[index];
    let mut text = format!("{} {}", correlation.kind.as_str(), correlation.asked());
    if !correlation.group_by.is_empty() {
        let _ = write!(text, ", by {}", correlation.group_by.join(", "));
    }
    printable(&text).into_owned()
}

/// What a rule is called among those that a correlation counts.
pub fn label(rule: &Rule) -> String {
    match (rule.is_part_of_aggregation(), rule.name.ends_with(" near")) {
        (false, _) => printable(&rule.title).into_owned(),
        (true, false) => "the events of its condition".to_owned(),
        (true, true) => "the events near them".to_owned(),
    }
}

pub fn correlation_json(linked: &Linked, index: usize, sources: &Sources) -> Value {
    let (rules, all) = (linked.rules.rules(), linked.correlations.correlations());
    let correlation = &all[index];
    let references = linked.correlations.references(index);
    let under = references.iter().flat_map(|r| &r.rules).map(|rule| rule_json(&rules[*rule], &[], sources));
    let inner = references.iter().flat_map(|r| &r.correlations).map(|c| &all[*c].attributes.title);
    json!({
        "rule_id": correlation.attributes.id, "rule": correlation.attributes.title,
        "type": correlation.kind.as_str(), "asked": correlation.asked(), "group_by": correlation.group_by,
        "timespan_s": correlation.timespan.seconds(),
        "rules": under.collect::<Vec<_>>(), "correlations": inner.collect::<Vec<_>>(),
    })
}

pub fn correlation(linked: &Linked, index: usize, sources: &Sources) -> String {
    let (rules, all) = (linked.rules.rules(), linked.correlations.correlations());
    let mut out = format!("{}\n", Style::new().bold().apply_to(printable(&all[index].attributes.title)));
    let _ = writeln!(out, "{}", asked(&linked.correlations, index));
    for reference in linked.correlations.references(index) {
        for rule in &reference.rules {
            let rule = &rules[*rule];
            let _ = write!(out, "\nIt counts {}\n{}", label(rule), sight(rule, sources));
        }
        for inner in &reference.correlations {
            let title = printable(&all[*inner].attributes.title);
            let _ = writeln!(out, "\nIt counts {title}: {}", asked(&linked.correlations, *inner));
        }
    }
    out
}
