//! From the documents of all files to what is matched: placeholders get their values, and filters are joined to the
//! rules that they name.

use std::collections::{BTreeSet, HashMap};

use wardline_event::LogSource;

use crate::compiled::ruleset::RuleSet;
use crate::correlation::{self, Correlations};
use crate::error::RuleError;
use crate::language::ast::Detection;
use crate::language::collection::Collection;
use crate::language::rule::Rule;
use crate::limits;
use crate::linking::filter::{Filter, FilterRules};
use crate::linking::pipeline::Pipelines;
use crate::linking::placeholder::{self, Placeholders};

/// What the documents need from outside to be used.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct LinkOptions {
    /// Values for `expand`. A rule with a placeholder that has none is left out.
    pub placeholders: Placeholders,
    /// What makes the rules fit other logs. A rule to which they cannot be applied is left out.
    pub pipelines: Pipelines,
}

/// Rules that are ready to be matched.
#[derive(Debug)]
pub struct Linked {
    /// Detection rules, compiled, with the filters in them.
    pub rules: RuleSet,
    /// Correlations over their matches.
    pub correlations: Correlations,
    /// What is wrong. The document that a fault is about is left out, unless the fault is a warning
    /// ([`RuleError::is_warning`]).
    pub faults: Vec<RuleError>,
}

impl Collection {
    /// Puts the documents together. What cannot be used is left out and reported.
    pub fn link(self, options: &LinkOptions) -> Linked {
        let Self { mut rules, mut correlations, mut filters } = self;
        let mut faults = Vec::new();
        let mut budget = limits::LINK_BYTES;
        let mut expand = |detection: &mut Detection, origin: &str, faults: &mut Vec<RuleError>| {
            let outcome = placeholder::expand(detection, &options.placeholders, &mut budget);
            outcome.map_err(|fault| faults.push(fault.at(origin))).is_ok()
        };
        if options.pipelines.is_empty() {
            filters.retain_mut(|f| expand(&mut f.detection, &f.attributes.origin, &mut faults));
            rules.retain_mut(|r| {
                !r.brief().expands || expand(&mut r.detection, &r.attributes.origin, &mut faults)
            });
            apply_filters(&filters, &mut rules, &mut faults);
        } else {
            // Pipelines change a filter as a part of the rule that it is in, and may give placeholders values.
            apply_filters(&filters, &mut rules, &mut faults);
            let under = correlation::rules_under(&rules, &correlations);
            // A pipeline may change them: its steps ask a correlation for those that its rules had before.
            let sources: Vec<LogSource<'static>> = rules.iter().map(|rule| rule.log_source.clone()).collect();
            let mut applied = Vec::with_capacity(rules.len());
            rules.retain_mut(|rule| {
                let outcome = options.pipelines.apply(rule).map_err(|error| faults.push(error));
                let kept =
                    outcome.is_ok() && expand(&mut rule.detection, &rule.attributes.origin, &mut faults);
                applied.push(outcome.unwrap_or_default());
                kept
            });
            let mut under = under.into_iter();
            correlations.retain_mut(|correlation| {
                let under = under.next().unwrap_or_default();
                let sources: BTreeSet<_> = under.iter().map(|rule| sources[*rule].clone()).collect();
                let applied = under.iter().flat_map(|rule| &applied[*rule]).copied().collect();
                let outcome = options.pipelines.apply_to_correlation(
                    correlation,
                    sources.into_iter().collect(),
                    applied,
                );
                outcome.map_err(|error| faults.push(error)).is_ok()
            });
        }
        let (rules, more) = RuleSet::compile_lossy(rules);
        faults.extend(more);
        let (correlations, more) = Correlations::link(rules.rules(), correlations);
        faults.extend(more);
        Linked { rules, correlations, faults }
    }
}

fn fault(code: &'static str, filter: &Filter, message: String, hint: &str) -> RuleError {
    RuleError {
        code,
        origin: filter.attributes.origin.clone(),
        line: filter.attributes.line,
        column: 1,
        message,
        hint: hint.to_owned(),
    }
}

fn apply_filters(filters: &[Filter], rules: &mut [Rule], faults: &mut Vec<RuleError>) {
    if filters.is_empty() {
        return;
    }
    let mut by_reference: HashMap<String, Vec<usize>> = HashMap::new();
    for (index, rule) in rules.iter().enumerate() {
        for reference in [&rule.id, &rule.name].into_iter().chain(rule.stands_for.iter().flatten()) {
            if !reference.is_empty() {
                by_reference.entry(reference.clone()).or_default().push(index);
            }
        }
    }
    let mut budget = limits::LINK_BYTES;
    for filter in filters {
        let targets = targets(filter, rules, &by_reference, faults);
        let bytes = filter.detection.bytes();
        let Some(left) = budget.checked_sub(bytes.saturating_mul(targets.len())) else {
            faults.push(fault(
                "S002",
                filter,
                format!("with this filter, filters add more than {} bytes to the rules", limits::LINK_BYTES),
                "name fewer rules, or look for fewer values",
            ));
            continue;
        };
        budget = left;
        for index in targets {
            filter.apply(&mut rules[index]);
        }
    }
}

/// The rules that a filter is to be joined to, in ascending order.
fn targets(
    filter: &Filter,
    rules: &[Rule],
    by_reference: &HashMap<String, Vec<usize>>,
    faults: &mut Vec<RuleError>,
) -> Vec<usize> {
    let FilterRules::These(references) = &filter.rules else {
        let all: Vec<usize> = (0..rules.len()).filter(|i| filter.covers(&rules[*i])).collect();
        if all.is_empty() {
            faults.push(fault(
                "S050",
                filter,
                "no loaded rule is for the log source of this filter".to_owned(),
                "check its `logsource`, or load the rules that it is for",
            ));
        }
        return all;
    };
    let mut out = Vec::new();
    for reference in references {
        let Some(found) = by_reference.get(reference) else {
            faults.push(fault(
                "S050",
                filter,
                format!("the filter names `{reference}`, which is the id or name of no loaded rule"),
                "correct it, or load the rule",
            ));
            continue;
        };
        for index in found {
            if filter.covers(&rules[*index]) {
                out.push(*index);
            } else {
                faults.push(fault(
                    "S051",
                    filter,
                    format!(
                        "the log source of this filter is not that of the rule `{}`",
                        rules[*index].title
                    ),
                    "give the filter the rule's `logsource`, or less of it",
                ));
            }
        }
    }
    out.sort_unstable();
    out.dedup();
    out
}
