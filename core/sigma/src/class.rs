//! The rules that can see events of one log source, compiled together.
//!
//! Each thing that a rule asks of a field is an *atom*. Literals, presence and null are found while a field is read
//! and set one bit each; everything else (regular expressions, wildcards inside a value, networks, numbers) is a
//! *slow* atom, worked out only when a condition asks for it. Each rule has *witnesses*: bits of which at least one
//! is set whenever the rule matches. A condition is looked at only if a witness was seen, so an event never walks
//! through all rules. Fields without a witness are read only when such a condition asks for them.

use std::collections::HashMap;

use crate::ast::{Condition, Detection, Matcher, Node, Part, Test};
use crate::encoding::expand_dashes;
use crate::index::{IndexBuilder, TextIndex};
use crate::pattern::{DASHES, TextPattern, Token, fold};

/// A compiled condition.
#[derive(Debug)]
pub(crate) enum Expr {
    And(Box<[Expr]>),
    Or(Box<[Expr]>),
    Not(Box<Expr>),
    /// A bit that reading the event has set or not.
    Bit(u32),
    /// The same for a bit (first) of a field (second) that is read only when a condition asks for it.
    Late(u32, u32),
    /// An index into [`Class::slow`].
    Slow(u32),
}

/// An atom that is worked out on demand.
#[derive(Debug)]
pub(crate) struct Slow {
    /// Index into [`Class::fields`]; `None` for a keyword.
    pub field: Option<u32>,
    /// For a field reference: the other field.
    pub other: Option<u32>,
    /// A bit without which the atom cannot hold.
    pub gate: Option<u32>,
    pub matcher: Matcher,
}

/// A field that some rule of the class names.
#[derive(Debug)]
pub(crate) struct FieldPlan {
    pub name: Box<str>,
    pub index: TextIndex,
    /// Set if the event has the field.
    pub has: u32,
    /// Set if the event does not have the field, or it is null.
    pub null: u32,
    /// Whether slow atoms need the value.
    pub keep: bool,
    /// Whether it is read for every event: no rule is nominated by the others' bits.
    pub eager: bool,
}

/// Rules compiled for one log source.
#[derive(Debug, Default)]
pub(crate) struct Class {
    /// Index into the rule set and condition, in ascending order of index.
    pub rules: Vec<(usize, Expr)>,
    pub fields: Vec<FieldPlan>,
    pub keywords: Option<TextIndex>,
    pub slow: Vec<Slow>,
    /// How many bits there are.
    pub bits: usize,
    /// One bit per rule: those that have no witness and are always looked at.
    pub always: Vec<u64>,
    /// One bit per bit: those that are a witness of some rule.
    pub watched: Vec<u64>,
    /// The rules (as indices into `rules`) of which bit `b` is a witness: `witness_rules[starts[b]..starts[b + 1]]`.
    witness_starts: Vec<u32>,
    witness_rules: Vec<u32>,
}

impl Class {
    /// The rules that may match because this bit is set.
    pub fn witnessed(&self, bit: usize) -> &[u32] {
        &self.witness_rules[self.witness_starts[bit] as usize..self.witness_starts[bit + 1] as usize]
    }

    /// Compiles rules, given with their indices in ascending order.
    pub fn build<'a>(rules: impl Iterator<Item = (usize, &'a Detection)>) -> Self {
        let mut builder = Builder::default();
        let mut compiled: Vec<(usize, Expr)> = rules
            .map(|(index, detection)| (index, builder.condition(&detection.condition, detection)))
            .collect();
        let witnesses: Vec<Option<Witness>> =
            compiled.iter().map(|(_, expr)| builder.witness(expr)).collect();
        let bits = builder.scores.len();
        let mut by_bit = vec![Vec::new(); bits];
        let mut always = vec![0u64; compiled.len().div_ceil(64)];
        for (rule, witness) in witnesses.into_iter().enumerate() {
            match witness {
                Some(witness) => {
                    witness.bits.into_iter().for_each(|bit| by_bit[bit as usize].push(rule as u32));
                }
                None => always[rule / 64] |= 1 << (rule % 64),
            }
        }
        let mut eager = vec![false; builder.fields.len()];
        for (bit, rules) in by_bit.iter().enumerate() {
            if let (false, Some(field)) = (rules.is_empty(), builder.bit_fields[bit]) {
                eager[field as usize] = true;
            }
        }
        for (_, expr) in &mut compiled {
            expr.defer(&builder.bit_fields, &eager);
        }
        let mut class = Self { rules: compiled, bits, always, slow: builder.slow, ..Self::default() };
        class.witness_starts.push(0);
        class.watched = vec![0; bits.div_ceil(64)];
        for (bit, mut rules) in by_bit.into_iter().enumerate() {
            rules.dedup();
            class.watched[bit / 64] |= u64::from(!rules.is_empty()) << (bit % 64);
            class.witness_rules.extend(rules);
            class.witness_starts.push(class.witness_rules.len() as u32);
        }
        class.fields = builder
            .fields
            .into_iter()
            .zip(eager)
            .map(|(f, eager)| FieldPlan {
                name: f.name,
                index: build(f.index),
                has: f.has,
                null: f.null,
                keep: f.keep,
                eager,
            })
            .collect();
        class.keywords = Some(build(builder.keywords)).filter(|index| !index.is_empty());
        class
    }
}

/// Building fails only past 2³¹ states, and the limits on rules keep a class far below that.
fn build(index: IndexBuilder) -> TextIndex {
    index.build().expect("the limits on rules keep an index below two thousand million states")
}

struct FieldDraft {
    name: Box<str>,
    index: IndexBuilder,
    has: u32,
    null: u32,
    keep: bool,
}

/// Bits of which one is set whenever an expression holds, and how rare the commonest of them is thought to be.
struct Witness {
    bits: Vec<u32>,
    score: u32,
}

#[derive(Default)]
struct Builder {
    fields: Vec<FieldDraft>,
    field_ids: HashMap<String, u32>,
    keywords: IndexBuilder,
    slow: Vec<Slow>,
    slow_text: HashMap<(Option<u32>, TextPattern), u32>,
    /// For each bit, how rare it is thought to be.
    scores: Vec<u32>,
    /// For each bit, its field; `None` for keywords.
    bit_fields: Vec<Option<u32>>,
}

impl Expr {
    /// Marks the bits of fields that are not read for every event.
    fn defer(&mut self, bit_fields: &[Option<u32>], eager: &[bool]) {
        match self {
            Self::And(parts) | Self::Or(parts) => {
                parts.iter_mut().for_each(|part| part.defer(bit_fields, eager));
            }
            Self::Not(part) => part.defer(bit_fields, eager),
            Self::Bit(bit) => {
                if let Some(field) = bit_fields[*bit as usize].filter(|field| !eager[*field as usize]) {
                    *self = Self::Late(*bit, field);
                }
            }
            Self::Late(..) | Self::Slow(_) => {}
        }
    }
}

/// How rare a literal is thought to be: long ones are rarer, whole values rarer still, numbers (event ids) common.
fn rarity(place: Part, literal: &str) -> u32 {
    let length = literal.chars().count().min(24) as u32;
    let place = match place {
        Part::Whole => 4,
        Part::Start | Part::End => 2,
        Part::Anywhere => 0,
    };
    if literal.bytes().all(|b| b.is_ascii_digit()) { 2 + length / 4 } else { 3 + length + place }
}

impl Builder {
    fn field(&mut self, name: &str) -> u32 {
        if let Some(id) = self.field_ids.get(name) {
            return *id;
        }
        let id = self.fields.len() as u32;
        let has = self.scores.len() as u32;
        let null = has + 1;
        self.scores.extend([0, 1]);
        self.bit_fields.extend([Some(id); 2]);
        self.fields.push(FieldDraft {
            name: name.into(),
            index: IndexBuilder::default(),
            has,
            null,
            keep: false,
        });
        self.field_ids.insert(name.to_owned(), id);
        id
    }

    fn literal(&mut self, field: Option<u32>, place: Part, literal: &str) -> u32 {
        let index = match field {
            Some(id) => &mut self.fields[id as usize].index,
            None => &mut self.keywords,
        };
        index.bit(place, literal, || {
            self.scores.push(rarity(place, literal));
            self.bit_fields.push(field);
            self.scores.len() as u32 - 1
        })
    }

    fn condition(&mut self, c: &Condition, detection: &Detection) -> Expr {
        match c {
            Condition::And(parts) => and(parts.iter().map(|p| self.condition(p, detection)).collect()),
            Condition::Or(parts) => or(parts.iter().map(|p| self.condition(p, detection)).collect()),
            Condition::Not(part) => Expr::Not(Box::new(self.condition(part, detection))),
            Condition::Selection(i) => self.node(&detection.selections[*i].body),
        }
    }

    fn node(&mut self, n: &Node) -> Expr {
        match n {
            Node::And(parts) => and(parts.iter().map(|p| self.node(p)).collect()),
            Node::Or(parts) => or(parts.iter().map(|p| self.node(p)).collect()),
            Node::Test(test) => {
                let expr = self.test(test);
                if test.negated { Expr::Not(Box::new(expr)) } else { expr }
            }
            // No rule set takes a rule with placeholders.
            Node::Expand(_) => or(Vec::new()),
        }
    }

    fn test(&mut self, test: &Test) -> Expr {
        let field = test.field().map(|name| self.field(name));
        match (&test.matcher, field) {
            (Matcher::Text(pattern), _) => self.text(field, pattern),
            (Matcher::Null, Some(id)) => Expr::Bit(self.fields[id as usize].null),
            (Matcher::Exists(wanted), Some(id)) => {
                let has = Expr::Bit(self.fields[id as usize].has);
                if *wanted { has } else { Expr::Not(Box::new(has)) }
            }
            (Matcher::Regex(regex), _) => {
                let gate = regex.required.as_deref().map(|text| self.literal(field, Part::Anywhere, text));
                self.slow(field, None, gate, &test.matcher)
            }
            (Matcher::FieldRef { other, .. }, Some(_)) => {
                let other = self.field(other);
                self.slow(field, Some(other), None, &test.matcher)
            }
            (matcher, _) => self.slow(field, None, None, matcher),
        }
    }

    fn slow(&mut self, field: Option<u32>, other: Option<u32>, gate: Option<u32>, matcher: &Matcher) -> Expr {
        for id in [field, other].into_iter().flatten() {
            self.fields[id as usize].keep = true;
        }
        // Every slow atom needs its field to be there.
        let gate = gate.or_else(|| field.map(|id| self.fields[id as usize].has));
        self.slow.push(Slow { field, other, gate, matcher: matcher.clone() });
        Expr::Slow(self.slow.len() as u32 - 1)
    }

    fn text(&mut self, field: Option<u32>, pattern: &TextPattern) -> Expr {
        if !pattern.cased
            && let Some((place, inner)) = simple(&pattern.tokens)
        {
            // Two dashes make 25 literals; more than that is left to the slow path.
            if let Some(literals) = expand_dashes(inner, DASHES.len() * DASHES.len()) {
                let bits = literals.iter().map(|text| Expr::Bit(self.literal(field, place, text)));
                return or(bits.collect());
            }
        }
        if let Some(id) = self.slow_text.get(&(field, pattern.clone())) {
            return Expr::Slow(*id);
        }
        let gate = match simple(&pattern.tokens) {
            Some((place, [Token::Lit(literal)])) => Some(self.literal(field, place, &fold(literal))),
            _ => longest(&pattern.tokens).map(|text| self.literal(field, Part::Anywhere, &fold(text))),
        };
        let expr = self.slow(field, None, gate, &Matcher::Text(pattern.clone()));
        self.slow_text.insert((field, pattern.clone()), self.slow.len() as u32 - 1);
        expr
    }

    /// `None` if the expression can hold though nothing in particular was seen.
    fn witness(&self, expr: &Expr) -> Option<Witness> {
        match expr {
            Expr::Bit(bit) | Expr::Late(bit, _) => {
                Some(Witness { bits: vec![*bit], score: self.scores[*bit as usize] })
            }
            Expr::Slow(slow) => {
                let gate = self.slow[*slow as usize].gate?;
                Some(Witness { bits: vec![gate], score: self.scores[gate as usize] })
            }
            Expr::Not(_) => None,
            Expr::Or(parts) => {
                let mut all = Witness { bits: Vec::new(), score: u32::MAX };
                for part in parts {
                    let one = self.witness(part)?;
                    all.score = all.score.min(one.score);
                    all.bits.extend(one.bits);
                }
                Some(all)
            }
            Expr::And(parts) => parts
                .iter()
                .filter_map(|part| self.witness(part))
                .max_by_key(|w| (w.score, std::cmp::Reverse(w.bits.len()))),
        }
    }
}

/// Joins parts of an `and`: one part stays as it is, nested ones are flattened, cheap ones come first.
fn and(parts: Vec<Expr>) -> Expr {
    let flat = parts.into_iter().flat_map(|part| match part {
        Expr::And(inner) => inner.into_vec(),
        other => vec![other],
    });
    finish(flat.collect(), Expr::And)
}

/// The same for `or`.
fn or(parts: Vec<Expr>) -> Expr {
    let flat = parts.into_iter().flat_map(|part| match part {
        Expr::Or(inner) => inner.into_vec(),
        other => vec![other],
    });
    finish(flat.collect(), Expr::Or)
}

fn finish(mut parts: Vec<Expr>, wrap: fn(Box<[Expr]>) -> Expr) -> Expr {
    parts.sort_by_key(cost);
    match parts.pop() {
        Some(only) if parts.is_empty() => only,
        Some(last) => {
            parts.push(last);
            wrap(parts.into())
        }
        None => wrap(parts.into()),
    }
}

fn cost(expr: &Expr) -> usize {
    match expr {
        Expr::Bit(_) | Expr::Late(..) => 1,
        Expr::Slow(_) => 1000,
        Expr::Not(part) => cost(part),
        Expr::And(parts) | Expr::Or(parts) => parts.iter().map(cost).fold(1, usize::saturating_add),
    }
}

/// Takes the outer stars off a pattern that has no other wildcards.
fn simple(tokens: &[Token]) -> Option<(Part, &[Token])> {
    let (open, rest) = match tokens {
        [Token::Many, rest @ ..] => (true, rest),
        rest => (false, rest),
    };
    let (close, inner) = match rest {
        [rest @ .., Token::Many] => (true, rest),
        rest => (false, rest),
    };
    if inner.iter().any(|t| matches!(t, Token::One | Token::Many)) || (inner.is_empty() && open) {
        return None;
    }
    let part = match (open, close) {
        (false, false) => Part::Whole,
        (false, true) => Part::Start,
        (true, false) => Part::End,
        (true, true) => Part::Anywhere,
    };
    Some((part, inner))
}

fn longest(tokens: &[Token]) -> Option<&str> {
    let literals = tokens.iter().filter_map(|t| match t {
        Token::Lit(text) => Some(text.as_str()),
        _ => None,
    });
    literals.max_by_key(|text| text.len())
}
