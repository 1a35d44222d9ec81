//! Which rules an event can match at all, told from one field.
//!
//! Most rules for a Windows channel ask for an `EventID`, most rules for a cloud's audit log for one `eventName`.
//! For each value that rules name, the rules are compiled once more with the tests of that field worked out, so that
//! rules which cannot match such an event are not there, nor are the fields and literals that only they look for.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use wardline_event::Value;

use crate::language::ast::{Condition, Detection, Matcher, Node};
use crate::language::pattern::{fold_into, whole};
use crate::limits;

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
    pub examples: Vec<Box<str>>,
    pub outcomes: BTreeMap<Box<str>, u32>,
    /// The same for values that are whole numbers, sorted.
    pub numbers: Vec<(i64, u32)>,
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
        let values = Named::collect(rules.clone(), field)?;
        let mut found = Self {
            field: field.into(),
            examples: Vec::new(),
            outcomes: BTreeMap::new(),
            numbers: Vec::new(),
        };
        let groups = values.groups(rules, field);
        for (values, outcome) in &groups {
            if *outcome != UNKNOWN {
                found.examples.push(values[0].into());
            }
            for value in values {
                found.outcomes.insert((*value).into(), *outcome);
                if let Ok(number) = value.parse::<i64>()
                    && number.to_string() == **value
                {
                    found.numbers.push((number, *outcome));
                }
            }
        }
        found.numbers.sort_unstable();
        Some(found)
    }

    /// Whether every value has an outcome that there is, and can be found: so it is with one that was chosen.
    pub fn is_sound(&self) -> bool {
        let outcomes = self.outcomes.values().chain(self.numbers.iter().map(|(_, outcome)| outcome));
        self.examples.len() <= limits::OUTCOMES as usize
            && outcomes.into_iter().all(|outcome| (*outcome as usize) < self.outcomes())
            && self.numbers.is_sorted()
    }

    /// How many outcomes there are.
    pub fn outcomes(&self) -> usize {
        NAMED as usize + self.examples.len()
    }

    /// Whether there are values that rules name and of which nothing is said.
    #[cfg(test)]
    pub fn leaves_values_out(&self) -> bool {
        self.outcomes.values().any(|outcome| *outcome == UNKNOWN)
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

/// The values of a field that rules name, each with the tests that name it, by their number, and the rules of these.
struct Named<'a> {
    values: BTreeMap<&'a str, (Vec<u32>, Vec<u32>)>,
}

impl<'a> Named<'a> {
    /// `None` past a limit.
    fn collect(rules: impl Iterator<Item = &'a Detection>, field: &str) -> Option<Self> {
        let mut values: BTreeMap<&str, (Vec<u32>, Vec<u32>)> = BTreeMap::new();
        let mut test = 0;
        for (rule, detection) in rules.enumerate() {
            for selection in &detection.selections {
                each_literal(&selection.body, field, &mut |literal| {
                    if test < limits::NAMING_TESTS {
                        let (tests, rules) = values.entry(literal).or_default();
                        tests.push(test as u32);
                        if rules.last() != Some(&(rule as u32)) {
                            rules.push(rule as u32);
                        }
                    }
                    test += 1;
                });
            }
            if test > limits::NAMING_TESTS || values.len() > limits::NAMED_VALUES {
                return None;
            }
        }
        Some(Self { values })
    }

    /// The values that the same tests name, and their outcome: in all there are so many that a bounded amount of rules
    /// is compiled for them, the cheapest ones; of the others nothing is said ([`UNKNOWN`]).
    fn groups(self, rules: impl Iterator<Item = &'a Detection>, field: &str) -> Vec<(Vec<&'a str>, u32)> {
        let mut sizes = Vec::new();
        // The rules that can match whatever the field holds are there for every outcome.
        let (mut always, mut fields) = (0, BTreeSet::new());
        for detection in rules {
            let names = detection.field_names();
            sizes.push((detection.weight(), names.len()));
            if !demands(&detection.condition, detection, field) {
                always += detection.weight();
                fields.extend(names);
            }
        }
        let always = (always, fields.len());
        let mut by_tests: HashMap<Vec<u32>, usize> = HashMap::new();
        let mut groups: Vec<((usize, usize), Vec<&str>)> = Vec::new();
        for (value, (tests, rules)) in self.values {
            let at = *by_tests.entry(tests).or_insert_with(|| {
                let own = rules.iter().map(|rule| sizes[*rule as usize]);
                let size = own.fold(always, |all, own| (all.0 + own.0, all.1 + own.1));
                groups.push((size, Vec::new()));
                groups.len() - 1
            });
            groups[at].1.push(value);
        }
        groups.sort_by_key(|(size, _)| *size);
        let (mut next, mut bytes, mut fields) = (NAMED, limits::OUTCOME_BYTES, limits::OUTCOME_FIELDS);
        let numbered = groups.into_iter().map(|((weight, names), values)| {
            match (bytes.checked_sub(weight), fields.checked_sub(names)) {
                (Some(left), Some(names_left)) if next - NAMED < limits::OUTCOMES => {
                    (next, bytes, fields) = (next + 1, left, names_left);
                    (values, next - 1)
                }
                _ => (values, UNKNOWN),
            }
        });
        numbered.collect()
    }
}

/// The fields of which the condition cannot hold without one of some literals, each once.
fn demanded_by<'a>(condition: &'a Condition, detection: &'a Detection) -> Vec<&'a str> {
    match condition {
        Condition::And(parts) => together(parts.iter().map(|part| demanded_by(part, detection))),
        Condition::Or(parts) => {
            let Some((first, rest)) = parts.split_first() else { return Vec::new() };
            let mut fields = demanded_by(first, detection);
            fields.retain(|field| rest.iter().all(|part| demands(part, detection, field)));
            fields
        }
        Condition::Not(_) => Vec::new(),
        Condition::Selection(i) => demanded(&detection.selections[*i].body),
    }
}

/// Whether the condition cannot hold without one of some literals of this field.
fn demands(condition: &Condition, detection: &Detection, field: &str) -> bool {
    match condition {
        Condition::And(parts) => parts.iter().any(|part| demands(part, detection, field)),
        Condition::Or(parts) => !parts.is_empty() && parts.iter().all(|part| demands(part, detection, field)),
        Condition::Not(_) => false,
        Condition::Selection(i) => node_demands(&detection.selections[*i].body, field),
    }
}

fn demanded(node: &Node) -> Vec<&str> {
    match node {
        Node::And(parts) => together(parts.iter().map(demanded)),
        Node::Or(parts) => {
            let Some((first, rest)) = parts.split_first() else { return Vec::new() };
            let mut fields = demanded(first);
            fields.retain(|field| rest.iter().all(|part| node_demands(part, field)));
            fields
        }
        Node::Test(test) if !test.negated && literal(&test.matcher).is_some() => {
            test.field().into_iter().collect()
        }
        Node::Test(_) | Node::Expand(_) => Vec::new(),
    }
}

fn node_demands(node: &Node, field: &str) -> bool {
    match node {
        Node::And(parts) => parts.iter().any(|part| node_demands(part, field)),
        Node::Or(parts) => !parts.is_empty() && parts.iter().all(|part| node_demands(part, field)),
        Node::Test(test) => !test.negated && test.field() == Some(field) && literal(&test.matcher).is_some(),
        Node::Expand(_) => false,
    }
}

fn together<'a>(each: impl Iterator<Item = Vec<&'a str>>) -> Vec<&'a str> {
    let mut all: Vec<&str> = each.flatten().collect();
    all.sort_unstable();
    all.dedup();
    all
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
