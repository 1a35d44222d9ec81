//! What the references of correlations stand for.

use std::collections::{BTreeSet, HashMap};

use crate::correlation::rule::Correlation;
use crate::language::rule::Rule;
use crate::limits;

/// What a reference stands for.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Target {
    Rule(usize),
    Correlation(usize),
}

/// By id (in lower case) or name.
pub(crate) fn names<'a>(of: impl Iterator<Item = [&'a str; 2]>) -> HashMap<String, Vec<usize>> {
    let mut out: HashMap<String, Vec<usize>> = HashMap::new();
    for (index, [id, name]) in of.enumerate() {
        if !id.is_empty() {
            out.entry(id.to_ascii_lowercase()).or_default().push(index);
        }
        if !name.is_empty() && !name.eq_ignore_ascii_case(id) {
            out.entry(name.to_owned()).or_default().push(index);
        }
    }
    out
}

/// For each reference what it stands for, or the first one that stands for nothing.
pub(crate) fn resolve(
    correlation: &Correlation,
    rules: &HashMap<String, Vec<usize>>,
    correlations: &HashMap<String, Vec<usize>>,
) -> Result<Vec<Vec<Target>>, String> {
    let find = |names: &HashMap<String, Vec<usize>>, reference: &str| {
        names
            .get(reference)
            .or_else(|| names.get(&reference.to_ascii_lowercase()))
            .cloned()
            .unwrap_or_default()
    };
    correlation
        .rules
        .iter()
        .map(|reference| {
            let mut targets: Vec<Target> = find(rules, reference).into_iter().map(Target::Rule).collect();
            if targets.is_empty() {
                targets = find(correlations, reference).into_iter().map(Target::Correlation).collect();
            }
            if targets.is_empty() { Err(reference.clone()) } else { Ok(targets) }
        })
        .collect()
}

/// For each correlation the indices of the rules that it refers to, be it through other correlations.
pub(crate) fn rules_under(rules: &[Rule], correlations: &[Correlation]) -> Vec<BTreeSet<usize>> {
    let rule_names = names(rules.iter().map(|rule| [rule.id.as_str(), rule.name.as_str()]));
    let own = names(correlations.iter().map(|c| [c.attributes.id.as_str(), c.attributes.name.as_str()]));
    let mut out: Vec<BTreeSet<usize>> = vec![BTreeSet::new(); correlations.len()];
    let mut over: Vec<(usize, usize)> = Vec::new();
    for (index, correlation) in correlations.iter().enumerate() {
        // One with a reference to nothing will be left out.
        for target in resolve(correlation, &rule_names, &own).into_iter().flatten().flatten() {
            match target {
                Target::Rule(rule) => {
                    out[index].insert(rule);
                }
                Target::Correlation(inner) if inner != index => over.push((index, inner)),
                Target::Correlation(_) => {}
            }
        }
    }
    for _ in 1..limits::CORRELATION_CHAIN {
        for (outer, inner) in &over {
            let more = out[*inner].clone();
            out[*outer].extend(more);
        }
    }
    out
}

/// How many correlations stand in the longest chain that ends in each; `None` for those that are in a circle or over
/// one.
pub(crate) fn depths(resolved: &[Result<Vec<Vec<Target>>, String>]) -> Vec<Option<usize>> {
    let mut over: Vec<Vec<usize>> = vec![Vec::new(); resolved.len()];
    let mut waits_for = vec![0_usize; resolved.len()];
    for (index, targets) in resolved.iter().enumerate() {
        for target in targets.iter().flatten().flatten() {
            if let Target::Correlation(inner) = target {
                over[*inner].push(index);
                waits_for[index] += 1;
            }
        }
    }
    let mut depths = vec![None; resolved.len()];
    let mut deepest = vec![1_usize; resolved.len()];
    let mut ready: Vec<usize> = (0..resolved.len()).filter(|index| waits_for[*index] == 0).collect();
    while let Some(index) = ready.pop() {
        depths[index] = Some(deepest[index]);
        for outer in &over[index] {
            deepest[*outer] = deepest[*outer].max(deepest[index] + 1);
            waits_for[*outer] -= 1;
            if waits_for[*outer] == 0 {
                ready.push(*outer);
            }
        }
    }
    depths
}
