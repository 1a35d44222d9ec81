//! Which rules a set takes: each id once, none that lacks a value, and not more than limits allow.

use std::collections::{HashMap, HashSet};

use crate::error::RuleError;
use crate::language::rule::Rule;
use crate::limits;
use crate::linking::placeholder;

/// The rules that were taken so far.
#[derive(Default)]
pub(crate) struct Admission {
    pub rules: Vec<Rule>,
    /// The weight of each.
    pub weights: Vec<usize>,
    weight: usize,
    fields: FieldCount,
    /// The rules with an id.
    ids: HashMap<String, Vec<usize>>,
}

impl Admission {
    /// Takes a rule, or says why not.
    pub fn admit(&mut self, rule: Rule) -> Option<RuleError> {
        let fault = |code, message, hint: &str| {
            let origin = rule.origin.clone();
            Some(RuleError { code, origin, line: rule.line, column: 1, message, hint: hint.to_owned() })
        };
        let brief = rule.brief();
        let with_id = self.ids.get(&brief.id).filter(|_| !brief.id.is_empty()).into_iter().flatten();
        if let Some(first) = with_id.map(|other| &self.rules[*other]).find(|other| !share_id(other, &rule)) {
            let message = format!("the id {} belongs to another rule, in {}", rule.id, first.origin);
            return fault("S060", message, "give each rule its own UUID, or load the rule once");
        }
        if brief.expands
            && let Some(fault) = placeholder::missing(&rule)
        {
            return Some(fault);
        }
        let weight = brief.weight.saturating_add(self.weight);
        if weight > limits::SET_BYTES {
            let message =
                format!("with this rule the set looks for more than {} bytes of text", limits::SET_BYTES);
            let hint = "load fewer rules; long lists of indicators belong in an indicator feed";
            return fault("S002", message, hint);
        }
        if !self.fields.add(&rule, brief.fields, &self.rules) {
            let message = format!("with this rule the set names more than {} fields", limits::SET_FIELDS);
            return fault("S002", message, "load fewer rules");
        }
        self.weight = weight;
        self.weights.push(brief.weight);
        if !brief.id.is_empty() {
            self.ids.entry(brief.id.clone()).or_default().push(self.rules.len());
        }
        self.rules.push(rule);
        None
    }
}

/// Counts the different fields that rules name.
#[derive(Default)]
struct FieldCount {
    /// There are no more than this.
    most: usize,
    /// Their names, once `most` says too little.
    names: HashSet<String>,
}

impl FieldCount {
    /// Adds those of a rule, unless that is one too many; `kept` are the rules before it.
    fn add(&mut self, rule: &Rule, fields: usize, kept: &[Rule]) -> bool {
        self.most += fields;
        if self.most <= limits::SET_FIELDS {
            return true;
        }
        // From here on names are counted, for which rules from a cache have to be taken apart.
        let names = |rule: &Rule| rule.field_names().into_iter().map(str::to_owned).collect::<Vec<_>>();
        if self.names.is_empty() {
            self.names = kept.iter().flat_map(names).collect();
        }
        let new: Vec<String> =
            names(rule).into_iter().filter(|name| !self.names.contains(name.as_str())).collect();
        if self.names.len() + new.len() > limits::SET_FIELDS {
            return false;
        }
        self.names.extend(new);
        true
    }
}

/// Whether two rules have their id from one place: an `action: global` gives it to every rule of its collection.
fn share_id(a: &Rule, b: &Rule) -> bool {
    a.origin == b.origin && a.id_at == b.id_at && a.line != b.line
}
