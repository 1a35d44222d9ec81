//! Why a correlation matches records or not: which of them its rules matched, and what that came to in each group.

use std::collections::BTreeMap;
use std::fmt::Write;

use console::Style;
use serde_json::{Map, Value, json};
use wardline_sigma::{Correlation, CorrelationCondition, CorrelationType, Linked, Look, Rule};

use super::rule::Nearest;
use super::{Reader, sight, tree};
use crate::printable::printable;
use crate::rules::correlated::{Correlated, Outcome, Records, runs};
use crate::scan::counted;

/// Groups that are shown.
const GROUPS: usize = 10;
/// Runs of records that are shown in one line.
const RUNS: usize = 12;

/// What was found out.
struct Found<'a> {
    of: &'a Correlated,
    /// The correlation that was asked for.
    index: usize,
    records: u64,
    matched: BTreeMap<usize, Vec<u64>>,
    untimed: u64,
    assumed: u64,
    /// For each rule that no record matched, the one that came nearest.
    nearest: Vec<Option<Nearest>>,
    looks: Vec<Look>,
}

/// Whether the correlation matches, and the explanation.
pub fn explain(linked: &Linked, index: usize, reader: &Reader<'_>) -> Result<(bool, String), String> {
    let at = &linked.correlations.correlations()[index];
    let same = |c: &Correlation| {
        let (a, b) = (&c.attributes, &at.attributes);
        (&a.id, &a.origin, a.line) == (&b.id, &b.origin, b.line)
    };
    let of = Correlated::of(linked.rules.rules(), &linked.correlations, same);
    let index = of.correlations.correlations().iter().position(same).ok_or("the correlation is gone")?;
    let rules = of.rules.rules();
    let mut records = Records::new(&of);
    let mut nearest: Vec<Option<Nearest>> = Vec::new();
    nearest.resize_with(rules.len(), || None);
    let count = reader.each(&mut |number, record| {
        records.add(number, record, true);
        for (at, rule) in rules.iter().enumerate() {
            if records.matched.contains_key(&at) {
                nearest[at] = None;
            } else {
                Nearest::take(&mut nearest[at], rule, record, number);
            }
        }
    })?;
    let Outcome { looks, .. } = records.correlate();
    let Records { matched, untimed, assumed, .. } = records;
    let found = Found { of: &of, index, records: count, matched, untimed, assumed, nearest, looks };
    let matches = found.looks.iter().any(|look| look.correlation == index && look.holds);
    Ok((matches, if reader.args.json { found.json(matches).to_string() } else { found.text(matches) }))
}

impl Found<'_> {
    fn correlation(&self, index: usize) -> &Correlation {
        &self.of.correlations.correlations()[index]
    }

    /// A correlation's groups: first those that match, then as they came.
    fn groups(&self, index: usize) -> Vec<&Look> {
        let mut groups: Vec<&Look> = self.looks.iter().filter(|look| look.correlation == index).collect();
        groups.sort_by_key(|look| !look.holds);
        groups
    }

    /// The correlations that are explained: the one that was asked for, then those under it.
    fn correlations(&self) -> Vec<usize> {
        let mut order = vec![self.index];
        let mut next = 0;
        while let Some(index) = order.get(next).copied() {
            for inner in self.of.correlations.references(index).iter().flat_map(|r| &r.correlations) {
                if !order.contains(inner) {
                    order.push(*inner);
                }
            }
            next += 1;
        }
        order
    }

    fn json(&self, matches: bool) -> Value {
        let correlation = self.correlation(self.index);
        let rule = |(at, rule): (usize, &Rule)| {
            let nearest = self.nearest[at].as_ref().map(|nearest| nearest.json(rule));
            json!({
                "rule_id": rule.id, "rule": rule.title, "records": self.matched.get(&at).unwrap_or(&Vec::new()),
                "nearest": nearest,
            })
        };
        let group = |look: &Look| {
            let correlation = self.correlation(look.correlation);
            let group: Map<String, Value> =
                correlation.group_by.iter().cloned().zip(look.group.iter().map(|v| json!(v))).collect();
            json!({
                "correlation": correlation.attributes.title, "group": group, "value": look.value,
                "rules": self.rules_of(look), "holds": look.holds, "first": look.first.to_string(),
                "last": look.last.to_string(), "records": look.events,
            })
        };
        let groups = self.correlations().into_iter().flat_map(|index| self.groups(index));
        json!({
            "rule_id": correlation.attributes.id, "rule": correlation.attributes.title, "matches": matches,
            "type": correlation.kind.as_str(), "asked": correlation.asked(), "group_by": correlation.group_by,
            "timespan_s": correlation.timespan.seconds(), "records": self.records,
            "records_without_time": self.untimed, "records_assumed": self.assumed,
            "rules": self.of.rules.rules().iter().enumerate().map(rule).collect::<Vec<_>>(),
            "groups": groups.map(group).collect::<Vec<_>>(),
        })
    }

    /// The titles of the rules that a window of a temporal correlation held.
    fn rules_of(&self, look: &Look) -> Vec<String> {
        let (rules, all) = (self.of.rules.rules(), self.of.correlations.correlations());
        let references = self.of.correlations.references(look.correlation);
        let name = |place: &usize| {
            let reference = references.get(*place)?;
            let rule = reference.rules.first().map(|rule| sight::label(&rules[*rule]));
            rule.or_else(|| {
                reference.correlations.first().map(|c| printable(&all[*c].attributes.title).into_owned())
            })
        };
        look.rules.iter().filter_map(name).collect()
    }

    fn text(&self, matches: bool) -> String {
        let mut out = String::new();
        let title = printable(&self.correlation(self.index).attributes.title);
        let (word, style) = if matches {
            ("matches", Style::new().green().bold())
        } else {
            ("does not match", Style::new().red().bold())
        };
        let _ = writeln!(out, "{title} {}", style.apply_to(word));
        let _ = writeln!(out, "{}", sight::asked(&self.of.correlations, self.index));
        let of_records = counted(self.records, "record");
        let _ = writeln!(out, "\nRules that it counts, in {of_records}:");
        for (at, rule) in self.of.rules.rules().iter().enumerate() {
            let numbers = self.matched.get(&at).map_or(&[][..], Vec::as_slice);
            let mark = tree::mark(!numbers.is_empty());
            let n = match numbers.len() {
                0 => "none".to_owned(),
                n => format!("{}: {}", counted(n as u64, "record"), runs(numbers, RUNS)),
            };
            let _ = writeln!(out, "{mark} {}: {n}", sight::label(rule));
            if let Some(nearest) = &self.nearest[at] {
                for line in nearest.text("nearest: it", rule, self.records).lines() {
                    let _ = writeln!(out, "    {line}");
                }
            }
        }
        if self.assumed > 0 {
            let n = counted(self.assumed, "record");
            let _ =
                writeln!(out, "  {n} taken for what the rules are for, since they do not say what they are");
        }
        if self.untimed > 0 {
            let n = counted(self.untimed, "record");
            let _ = writeln!(out, "  {n} of these not counted, since they do not say when they were written");
        }
        for index in self.correlations() {
            self.write_groups(index, &mut out);
        }
        out
    }

    fn write_groups(&self, index: usize, out: &mut String) {
        let groups = self.groups(index);
        let correlation = self.correlation(index);
        let _ = if index == self.index {
            writeln!(out, "\nWhat came of it, where that was nearest to the condition:")
        } else {
            let title = printable(&correlation.attributes.title);
            writeln!(out, "\nIt counts {title}: {}", sight::asked(&self.of.correlations, index))
        };
        if groups.is_empty() {
            out.push_str("  nothing: no record that it counts\n");
        }
        for look in groups.iter().take(GROUPS) {
            let fields = correlation.group_by.iter().zip(&look.group);
            let values =
                fields.map(|(field, value)| format!("{field} {}", value.as_deref().unwrap_or("(none)")));
            let name = printable(&values.collect::<Vec<_>>().join(", ")).into_owned();
            let name = if name.is_empty() { String::new() } else { format!("{name}: ") };
            let mark = tree::mark(look.holds);
            let _ = writeln!(out, "{mark} {name}{}", self.count(look));
            let (first, last) = (time(look.first), time(look.last));
            let span = if first == last { format!("at {first}") } else { format!("from {first} to {last}") };
            let noun = if look.events.len() == 1 { "record" } else { "records" };
            let _ = writeln!(out, "    {span}, {noun} {}", runs(&look.events, RUNS));
        }
        if groups.len() > GROUPS {
            let n = counted((groups.len() - GROUPS) as u64, "more group");
            let _ = writeln!(out, "  … {n}; --json names all");
        }
    }

    /// What a group came to, against what is asked.
    fn count(&self, look: &Look) -> String {
        let correlation = self.correlation(look.correlation);
        match &correlation.condition {
            CorrelationCondition::Thresholds { thresholds, .. } if !correlation.kind.is_temporal() => {
                let bounds: Vec<String> = thresholds.iter().map(ToString::to_string).collect();
                format!("{}, asked for {}", look.value, bounds.join(" and "))
            }
            _ => {
                let (n, there) = (correlation.rules.len(), self.rules_of(look).join(", "));
                let ordered = correlation.kind == CorrelationType::TemporalOrdered;
                format!("{} of {n}{}: {there}", look.value, if ordered { " in order" } else { "" })
            }
        }
    }
}

fn time(time: wardline_event::Timestamp) -> String {
    let text = time.to_string();
    let text = text.strip_suffix("Z").unwrap_or(&text);
    text.strip_suffix(".000").unwrap_or(text).replace('T', " ")
}
