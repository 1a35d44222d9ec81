//! Which rules an event can match at all, told from one field.
//!
//! Most rules for a Windows channel ask for an `EventID`, most rules for a cloud's audit log for one `eventName`.
//! For each value that rules name, the rules are compiled once more with the tests of that field worked out, so that
//! rules which cannot match such an event are not there, nor are the fields and literals that only they look for.

use std::collections::{BTreeMap, HashMap, HashSet};

use wardline_event::Value;

use crate::ast::{Condition, Detection, Matcher, Node};
use crate::pattern::{fold_into, whole};

/// What is known of the discriminating field while rules are compiled.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Known<'a> {
    pub field: &'a str,
    /// Its only value as folded text, or `None` if that is one which no rule names.
    pub value: Option<&'a str>,
}

impl Known<'_> {
    /// Whether the condition holds, if that is known.
    pub fn condition(&self, condition: &Condition, detection: &Detection) -> Option<bool> {
        match condition {
            Condition::And(parts) => all(parts.iter().map(|part| self.condition(part, detection))),
            Condition::Or(parts) => any(parts.iter().map(|part| self.condition(part, detection))),
            Condition::Not(part) => self.condition(part, detection).map(|holds| !holds),
            Condition::Selection(i) => self.node(&detection.selections[*i].body),
        }
    }

    /// Whether the tests hold, if that is known.
    pub fn node(&self, node: &Node) -> Option<bool> {
        match node {
            Node::And(parts) => all(parts.iter().map(|part| self.node(part))),
            Node::Or(parts) => any(parts.iter().map(|part| self.node(part))),
            Node::Test(test) if test.field() == Some(self.field) => {
                let literal = literal(&test.matcher)?;
                Some((self.value == Some(literal)) != test.negated)
            }
            Node::Test(_) | Node::Expand(_) => None,
        }
    }
}

/// Whether all parts hold: false as soon as one is known to be false, true only if all are known to be true.
fn all(mut parts: impl Iterator<Item = Option<bool>>) -> Option<bool> {
    let mut outcome = Some(true);
    parts
        .find_map(|part| {
            if part.is_none() {
                outcome = None;
            }
            part.filter(|holds| !holds)
        })
        .or(outcome)
}

fn any(parts: impl Iterator<Item = Option<bool>>) -> Option<bool> {
    all(parts.map(|part| part.map(|holds| !holds))).map(|holds| !holds)
}

/// The text that a matcher compares the whole value with.
fn literal(matcher: &Matcher) -> Option<&str> {
    match matcher {
        Matcher::Text(pattern) if !pattern.cased => whole(&pattern.tokens),
        _ => None,
    }
}

/// The field that tells most about which rules can match.
#[derive(Debug)]
pub(crate) struct Discriminator {
    pub field: Box<str>,
    /// One value of each outcome from [`NAMED`] on. Values that the same tests ask for have one outcome.
    examples: Vec<Box<str>>,
    outcomes: HashMap<Box<str>, u32>,
    /// The same for values that are whole numbers, sorted.
    numbers: Vec<(i64, u32)>,
}

/// Nothing is known of the field: it is missing, null or a list.
pub(crate) const UNKNOWN: u32 = 0;
/// The field has a value that no rule names.
const OTHER: u32 = 1;
/// The first outcome of values that rules name.
const NAMED: u32 = 2;

impl Discriminator {
    /// The field that most of the rules demand a literal of, if it is more than half of them.
    pub fn choose<'a>(rules: impl Iterator<Item = &'a Detection> + Clone) -> Option<Self> {
        let mut count = 0usize;
        let mut demands: HashMap<&str, usize> = HashMap::new();
        for detection in rules.clone() {
            count += 1;
            for field in demanded_by(&detection.condition, detection) {
                *demands.entry(field).or_default() += 1;
            }
        }
        // Of equally good fields the first by name, so that the choice is the same every time.
        let (field, demanding) =
            demands.into_iter().max_by_key(|(field, n)| (*n, std::cmp::Reverse(*field)))?;
        if demanding * 2 <= count {
            return None;
        }
        // The tests that name a value, by their number.
        let mut named: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        let mut number = 0;
        for detection in rules {
            for selection in &detection.selections {
                each_literal(&selection.body, field, &mut |literal| {
                    named.entry(literal).or_default().push(number);
                    number += 1;
                });
            }
        }
        let mut found =
            Self { field: field.into(), examples: Vec::new(), outcomes: HashMap::new(), numbers: Vec::new() };
        let mut known: HashMap<Vec<usize>, u32> = HashMap::new();
        for (value, tests) in named {
            let outcome = *known.entry(tests).or_insert_with(|| {
                found.examples.push(value.into());
                NAMED + found.examples.len() as u32 - 1
            });
            found.outcomes.insert(value.into(), outcome);
            if let Ok(number) = value.parse::<i64>()
                && number.to_string() == value
            {
                found.numbers.push((number, outcome));
            }
        }
        found.numbers.sort_unstable();
        Some(found)
    }

    /// How many outcomes there are.
    pub fn outcomes(&self) -> usize {
        NAMED as usize + self.examples.len()
    }

    /// What an outcome says of the field; `None` if that is nothing.
    pub fn known(&self, outcome: u32) -> Option<Known<'_>> {
        let value = match outcome {
            UNKNOWN => return None,
            OTHER => None,
            named => Some(&*self.examples[(named - NAMED) as usize]),
        };
        Some(Known { field: &self.field, value })
    }

    /// The outcome for a value of the field; `folded` is for working in.
    pub fn outcome(&self, value: Option<&Value<'_>>, folded: &mut String) -> u32 {
        match value {
            Some(Value::Int(number)) => match self.numbers.binary_search_by_key(number, |(n, _)| *n) {
                Ok(at) => self.numbers[at].1,
                Err(_) => OTHER,
            },
            Some(Value::Str(text)) => {
                folded.clear();
                fold_into(text, folded);
                self.outcomes.get(folded.as_str()).copied().unwrap_or(OTHER)
            }
            _ => UNKNOWN,
        }
    }
}

/// The fields of which the condition cannot hold without one of some literals.
fn demanded_by<'a>(condition: &'a Condition, detection: &'a Detection) -> HashSet<&'a str> {
    match condition {
        Condition::And(parts) => parts.iter().flat_map(|part| demanded_by(part, detection)).collect(),
        Condition::Or(parts) => common(parts.iter().map(|part| demanded_by(part, detection))),
        Condition::Not(_) => HashSet::new(),
        Condition::Selection(i) => demanded(&detection.selections[*i].body),
    }
}

fn demanded(node: &Node) -> HashSet<&str> {
    match node {
        Node::And(parts) => parts.iter().flat_map(demanded).collect(),
        Node::Or(parts) => common(parts.iter().map(demanded)),
        Node::Test(test) if !test.negated && literal(&test.matcher).is_some() => {
            test.field().into_iter().collect()
        }
        Node::Test(_) | Node::Expand(_) => HashSet::new(),
    }
}

fn common<'a>(sets: impl Iterator<Item = HashSet<&'a str>>) -> HashSet<&'a str> {
    sets.reduce(|a, b| a.intersection(&b).copied().collect()).unwrap_or_default()
}

/// Calls `visit` with the literal of each test that compares the whole of `field` with one.
fn each_literal<'a>(node: &'a Node, field: &str, visit: &mut impl FnMut(&'a str)) {
    match node {
        Node::And(parts) | Node::Or(parts) => parts.iter().for_each(|part| each_literal(part, field, visit)),
        Node::Test(test) => {
            if test.field() == Some(field)
                && let Some(literal) = literal(&test.matcher)
            {
                visit(literal);
            }
        }
        Node::Expand(_) => {}
    }
}
