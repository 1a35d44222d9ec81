//! What the reports say of each rule: its title, level, tags, where to read more.

use std::collections::{BTreeSet, HashMap};
use std::sync::OnceLock;

use wardline_event::Severity;
use wardline_sigma::{Attributes, Correlations, RuleSet};

use super::filter::RuleFilter;

/// A rule or correlation as reports show it.
pub struct Entry {
    /// Its UUID; empty if it has none.
    pub id: String,
    /// Its title.
    pub title: String,
    /// How bad a match is.
    pub level: Severity,
    /// Its tags as written.
    pub tags: Vec<String>,
    /// ATT&CK techniques among the tags: `T1059.001`.
    pub techniques: Vec<String>,
    /// ATT&CK tactics among the tags: `execution`.
    pub tactics: Vec<String>,
    /// What it means, for a person.
    pub description: String,
    /// Harmless things that look the same.
    pub false_positives: Vec<String>,
    /// Where to read more.
    pub references: Vec<String>,
    /// The file that it came from.
    pub origin: String,
    /// Its matches are wanted: the filters let it pass and it is not silent.
    pub reported: bool,
}

/// All rules, by the index that matches carry. An entry is made when it is first asked for: most rules match nothing.
#[derive(Default)]
pub struct Catalog {
    rules: RuleSet,
    correlations: Correlations,
    /// Of the rules in the rule set's order, and then of the correlations.
    entries: Box<[OnceLock<Entry>]>,
    /// Which of them are reported.
    reported: Vec<bool>,
    /// The index of the first correlation.
    pub first_correlation: u32,
    /// The tactics of techniques (`T1059`, not its sub-techniques), as far as the rules show them.
    tactics: OnceLock<HashMap<String, BTreeSet<String>>>,
}

impl Catalog {
    /// The rules of a set and then the correlations over them, those that `filter` drops marked so.
    pub fn new(rules: &RuleSet, correlations: &Correlations, filter: &RuleFilter) -> Self {
        // A filter that wants all is not asked: the rules would have to be taken from the cache for it.
        let all = filter.wants_all();
        let wants = |a: &Attributes| filter.wants(&a.id, &a.title, a.level, &a.tags);
        let of_rules = rules.rules().iter().enumerate();
        let mut reported: Vec<bool> =
            of_rules.map(|(i, rule)| !correlations.is_silent(i) && (all || wants(rule))).collect();
        reported.extend(correlations.correlations().iter().map(|c| wants(&c.attributes)));
        Self {
            entries: reported.iter().map(|_| OnceLock::new()).collect(),
            reported,
            first_correlation: rules.rules().len() as u32,
            rules: rules.clone(),
            correlations: correlations.clone(),
            tactics: OnceLock::new(),
        }
    }

    fn tactics(&self) -> &HashMap<String, BTreeSet<String>> {
        self.tactics.get_or_init(|| {
            let mut tactics: HashMap<String, BTreeSet<String>> = HashMap::new();
            for entry in (0..self.len() as u32).map(|rule| self.get(rule)) {
                let Some(first) = entry.techniques.first().map(|t| parent(t)) else { continue };
                if entry.techniques.iter().all(|t| parent(t) == first) {
                    tactics.entry(first.to_owned()).or_default().extend(entry.tactics.iter().cloned());
                }
            }
            tactics
        })
    }

    /// Under which of a rule's tactics one of its techniques counts.
    ///
    /// A rule's tags do not say which technique serves which tactic. Rules that name one technique alone do, so the
    /// others are read in their light; a technique that no rule names alone counts under all tactics of its rule.
    pub fn tactics_of<'a>(&self, entry: &'a Entry, technique: &str) -> Vec<&'a str> {
        let known = self.tactics().get(parent(technique));
        let fits = |tactic: &&String| known.is_some_and(|known| known.contains(*tactic));
        let found: Vec<&str> = entry.tactics.iter().filter(fits).map(String::as_str).collect();
        if found.is_empty() { entry.tactics.iter().map(String::as_str).collect() } else { found }
    }

    /// The entry of a match.
    pub fn get(&self, rule: u32) -> &Entry {
        let index = rule as usize;
        self.entries[index].get_or_init(|| {
            let attributes = match rule.checked_sub(self.first_correlation) {
                None => &*self.rules.rules()[index].attributes,
                Some(correlation) => &self.correlations.correlations()[correlation as usize].attributes,
            };
            entry(attributes, self.reported[index])
        })
    }

    /// How many rules and correlations there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// How many are reported.
    pub fn reported(&self) -> usize {
        self.reported.iter().filter(|reported| **reported).count()
    }
}

/// `T1059` of `T1059.001`.
fn parent(technique: &str) -> &str {
    technique.split('.').next().unwrap_or(technique)
}

fn entry(rule: &Attributes, reported: bool) -> Entry {
    Entry {
        id: rule.id.clone(),
        title: rule.title.clone(),
        level: rule.level,
        tags: rule.tags.clone(),
        techniques: rule.techniques().into_iter().map(|t| t.0).collect(),
        tactics: tactics(&rule.tags),
        description: rule.description.clone(),
        false_positives: rule.false_positives.clone(),
        references: rule.references.clone(),
        origin: rule.origin.clone(),
        reported,
    }
}

/// Tactics of ATT&CK for Enterprise in the order of an attack, under the names of its versions so far; what the
/// specification's tags may name.
pub const TACTICS: &[&str] = &[
    "reconnaissance",
    "resource-development",
    "initial-access",
    "execution",
    "persistence",
    "privilege-escalation",
    "defense-evasion",
    "stealth",
    "defense-impairment",
    "credential-access",
    "discovery",
    "lateral-movement",
    "collection",
    "command-and-control",
    "exfiltration",
    "impact",
];

fn tactics(tags: &[String]) -> Vec<String> {
    let mut out: Vec<String> = Vec::new();
    for tag in tags {
        // Older rules write `attack.defense_evasion`.
        let tag = tag.to_ascii_lowercase().replace('_', "-");
        if let Some(tactic) = tag.strip_prefix("attack.")
            && TACTICS.contains(&tactic)
            && !out.iter().any(|t| t == tactic)
        {
            out.push(tactic.to_owned());
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use wardline_sigma::Rule;

    #[test]
    fn rules_with_one_technique_say_which_tactics_it_serves() {
        let rule = |n: usize, tags: &str| {
            format!(
                "title: Rule {n}\nid: 1c7a4f0e-3f30-4f43-9d2b-0f3fd6f600{n:02}\nlogsource: {{product: windows}}\n\
                 tags: [{tags}]\ndetection:\n  a:\n    EventID: 1\n  condition: a\n"
            )
        };
        let texts = [
            rule(1, "attack.execution, attack.t1059.001"),
            rule(2, "attack.persistence, attack.privilege-escalation, attack.t1547"),
            rule(3, "attack.execution, attack.persistence, attack.t1059.003, attack.t1547.001, attack.t1999"),
        ];
        let rules = texts.iter().flat_map(|t| Rule::parse(t, "test").unwrap()).collect();
        let catalog =
            Catalog::new(&RuleSet::compile_lossy(rules).0, &Correlations::default(), &RuleFilter::default());
        let of = |technique| catalog.tactics_of(catalog.get(2), technique);
        assert_eq!(of("T1059.003"), ["execution"]);
        assert_eq!(of("T1547.001"), ["persistence"]);
        assert_eq!(of("T1999"), ["execution", "persistence"]);
    }
}
