//! What the reports say of each rule: its title, level, tags, where to read more.

use wardline_event::Severity;
use wardline_sigma::{Rule, RuleSet};

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

/// All rules, by the index that matches carry.
#[derive(Default)]
pub struct Catalog {
    /// The rules in the rule set's order.
    pub entries: Vec<Entry>,
}

impl Catalog {
    /// The rules of a set, those that `filter` drops marked so.
    pub fn new(rules: &RuleSet, filter: &RuleFilter) -> Self {
        Self { entries: rules.rules().iter().map(|rule| entry(rule, filter)).collect() }
    }

    /// The entry of a match.
    pub fn get(&self, rule: u32) -> &Entry {
        &self.entries[rule as usize]
    }

    /// How many are reported.
    pub fn reported(&self) -> usize {
        self.entries.iter().filter(|e| e.reported).count()
    }
}

fn entry(rule: &Rule, filter: &RuleFilter) -> Entry {
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
        reported: filter.wants(&rule.id, &rule.title, rule.level, &rule.tags),
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
