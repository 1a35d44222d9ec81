//! Rules that say the same as others.

use std::collections::{BTreeSet, HashMap};

use super::{Diagnostic, table};
use crate::language::ast::{Condition, Detection, Node};
use crate::language::attributes::Attributes;
use crate::language::collection::Collection;
use crate::language::rule::Rule;

/// Lints that need to see all documents together.
pub fn set(all: &Collection) -> Vec<Diagnostic> {
    let mut out = Vec::new();
    let rules = all.rules.iter().map(|r| &*r.attributes);
    let documents = rules
        .chain(all.correlations.iter().map(|c| &c.attributes))
        .chain(all.filters.iter().map(|f| &f.attributes));
    let mut ids: HashMap<&str, &Attributes> = HashMap::new();
    for document in documents.filter(|d| !d.id.is_empty()) {
        let first = *ids.entry(&document.id).or_insert(document);
        // Rules that one `action: global` gives one id are one rule to their author.
        if !std::ptr::eq(first, document)
            && (&first.origin, first.id_at) != (&document.origin, document.id_at)
        {
            out.push(finding(
                "S060",
                document,
                format!("the id {} belongs to another rule, in {}", document.id, first.origin),
                "give each rule its own UUID, or load the rule once",
            ));
        }
    }
    let mut meanings: HashMap<([String; 3], Meaning), &Attributes> = HashMap::new();
    for rule in &all.rules {
        let first = *meanings.entry(meaning(rule)).or_insert(rule);
        if !std::ptr::eq(first, &raw const *rule.attributes) && (first.id.is_empty() || first.id != rule.id) {
            out.push(finding(
                "S160",
                rule,
                format!("this rule matches the same events as `{}`, in {}", first.title, first.origin),
                "keep one; a second opinion on the same events belongs in its description",
            ));
        }
    }
    out
}

/// Which rules have no test; `is_tested` knows the ids of those that have one.
pub fn untested(all: &Collection, is_tested: &dyn Fn(&str) -> bool) -> Vec<Diagnostic> {
    let without = all.rules.iter().filter(|rule| !is_tested(&rule.id));
    let help = "record an event that it must match, and describe it in an info.yml";
    without.map(|rule| finding("S161", rule, "this rule has no regression test".to_owned(), help)).collect()
}

/// A finding about a whole document.
fn finding(code: &'static str, document: &Attributes, message: String, help: &str) -> Diagnostic {
    Diagnostic {
        code,
        level: table::level_of(code),
        origin: document.origin.clone(),
        line: document.line,
        column: 1,
        width: 1,
        message,
        help: help.to_owned(),
    }
}

/// What a detection asks for, its names, its order and repetitions left out.
#[derive(PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
enum Meaning {
    And(BTreeSet<Meaning>),
    Or(BTreeSet<Meaning>),
    Not(Box<Meaning>),
    Test(String),
}

fn meaning(rule: &Rule) -> ([String; 3], Meaning) {
    let source = &rule.log_source;
    let terms = [&source.product, &source.category, &source.service].map(|t| t.to_lowercase());
    (terms, condition(&rule.detection.condition, &rule.detection))
}

fn condition(c: &Condition, detection: &Detection) -> Meaning {
    match c {
        Condition::And(parts) => and(parts.iter().map(|p| condition(p, detection))),
        Condition::Or(parts) => or(parts.iter().map(|p| condition(p, detection))),
        Condition::Not(part) => Meaning::Not(Box::new(condition(part, detection))),
        Condition::Selection(i) => node(&detection.selections[*i].body),
    }
}

fn node(n: &Node) -> Meaning {
    match n {
        Node::And(parts) => and(parts.iter().map(node)),
        Node::Or(parts) => or(parts.iter().map(node)),
        Node::Test(test) => Meaning::Test(format!("{:?} {} {:?}", test.field(), test.negated, test.matcher)),
        Node::Expand(expand) => Meaning::Test(format!("{} {}", expand.item.key, expand.text)),
    }
}

fn and(parts: impl Iterator<Item = Meaning>) -> Meaning {
    let mut all = BTreeSet::new();
    for part in parts {
        match part {
            Meaning::And(inner) => all.extend(inner),
            part => _ = all.insert(part),
        }
    }
    only(&mut all).unwrap_or(Meaning::And(all))
}

fn or(parts: impl Iterator<Item = Meaning>) -> Meaning {
    let mut all = BTreeSet::new();
    for part in parts {
        match part {
            Meaning::Or(inner) => all.extend(inner),
            part => _ = all.insert(part),
        }
    }
    only(&mut all).unwrap_or(Meaning::Or(all))
}

fn only(parts: &mut BTreeSet<Meaning>) -> Option<Meaning> {
    if parts.len() == 1 { parts.pop_first() } else { None }
}
