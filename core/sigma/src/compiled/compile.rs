//! From parsed detections to a [`Class`].

use std::collections::HashMap;

use crate::compiled::class::{Class, Expr, Slow};
use crate::compiled::commonness::Commonness;
use crate::compiled::discriminator::Known;
use crate::compiled::draft::{Draft, DraftField};
use crate::compiled::index::IndexBuilder;
use crate::compiled::settle::{Bit, Settle};
use crate::compiled::witness::{Probe, Scores, Witness};
use crate::language::ast::{Condition, Detection, Matcher, Node, Part, Test};
use crate::language::encoding::expand_dashes;
use crate::language::pattern::{DASHES, TextPattern, Token, fold};

/// Compiles rules, given with their indices in ascending order. `known` is what the events of the class have in common:
/// what tests of that field come to is worked out here, and rules that cannot match are left out. `see` is shown what
/// the class is made of.
pub(crate) fn compile<'a>(
    rules: impl Iterator<Item = (usize, &'a Detection)>,
    known: Option<Known<'_>>,
    see: impl FnOnce(&Draft<'_>),
) -> Class {
    let mut builder = Builder { known, ..Builder::default() };
    let mut compiled: Vec<(usize, Expr)> = rules
        .map(|(index, detection)| (index, builder.condition(&detection.condition, detection)))
        .filter(|(_, expr)| !matches!(expr, Expr::Or(parts) if parts.is_empty()))
        .collect();
    let mut by_bit = vec![Vec::new(); builder.scores.len()];
    let mut always = Vec::new();
    for (rule, (_, expr)) in compiled.iter().enumerate() {
        match builder.witness(expr) {
            Some(witness) => {
                witness.bits.into_iter().for_each(|bit| by_bit[bit as usize].push(rule as u32));
                for probe in witness.probes {
                    by_bit.push(vec![rule as u32]);
                    builder.add_probe(probe);
                }
            }
            None => always.push(rule as u32),
        }
    }
    let mut eager = vec![false; builder.fields.len()];
    for (bit, rules) in by_bit.iter().enumerate() {
        if let (false, Some(field)) = (rules.is_empty(), builder.bits[bit].field) {
            eager[field as usize] = true;
        }
    }
    let settle = Settle { bits: &builder.bits, eager: &eager, slow: &builder.slow };
    let probes = builder.fields.iter_mut().flat_map(|field| &mut field.probes);
    let conditions = compiled.iter_mut().map(|(_, expr)| expr).chain(probes.map(|(_, expr)| expr));
    conditions.for_each(|expr| settle.expr(expr));
    let (mut witness_starts, mut witness_rules) = (vec![0], Vec::new());
    for mut rules in by_bit {
        rules.dedup();
        witness_rules.extend(rules);
        witness_starts.push(witness_rules.len() as u32);
    }
    let indices = || builder.fields.iter().map(|field| &field.index).chain([&builder.keywords]);
    let commonness = Commonness::learn(indices().flat_map(IndexBuilder::literals));
    let keywords = builder.keywords.of(|_| true, &commonness);
    let gate = builder.keywords.gate(&commonness);
    let is_searched = |bit: u32| builder.bits[bit as usize].byte.is_none();
    let fields = builder.fields.iter().zip(eager).map(|(field, eager)| DraftField {
        name: field.name.clone(),
        index: field.index.of(is_searched, &commonness),
        probes: field.probes.clone(),
        eager,
        has: field.has,
        null: field.null,
    });
    let draft = Draft {
        rules: compiled,
        fields: fields.collect(),
        keywords,
        gate,
        slow: builder.slow,
        always,
        witness_starts,
        witness_rules,
    };
    see(&draft);
    let Some(class) = draft.build() else { unreachable!("windows that were chosen in their literals") };
    class
}

struct FieldDraft {
    name: Box<str>,
    index: IndexBuilder,
    probes: Vec<(u32, Expr)>,
    has: u32,
    null: u32,
}

#[derive(Default)]
struct Builder<'k> {
    known: Option<Known<'k>>,
    fields: Vec<FieldDraft>,
    field_ids: HashMap<String, u32>,
    keywords: IndexBuilder,
    slow: Vec<Slow>,
    slow_text: HashMap<(Option<u32>, TextPattern), u32>,
    /// How rare each bit is thought to be.
    scores: Scores,
    bits: Vec<Bit>,
}

impl Builder<'_> {
    fn field(&mut self, name: &str) -> u32 {
        if let Some(id) = self.field_ids.get(name) {
            return *id;
        }
        let id = self.fields.len() as u32;
        let (has, null) = (self.scores.has(), self.scores.null());
        self.bits.extend([Part::Whole; 2].map(|place| Bit { field: Some(id), place, byte: None }));
        let (index, probes) = (IndexBuilder::default(), Vec::new());
        self.fields.push(FieldDraft { name: name.into(), index, probes, has, null });
        self.field_ids.insert(name.to_owned(), id);
        id
    }

    fn literal(&mut self, field: Option<u32>, place: Part, literal: &str) -> Expr {
        let index = match field {
            Some(id) => &mut self.fields[id as usize].index,
            None => &mut self.keywords,
        };
        let bit = index.bit(place, literal, || {
            let byte = match literal.as_bytes() {
                [byte] if place == Part::Anywhere && field.is_some() => Some(*byte),
                _ => None,
            };
            self.bits.push(Bit { field, place, byte });
            self.scores.literal(place, literal)
        });
        self.scores.used(bit);
        Expr::Bit(bit)
    }

    fn condition(&mut self, c: &Condition, detection: &Detection) -> Expr {
        // What is known leaves no literals behind.
        if let Some(holds) = self.known.and_then(|known| known.condition(c, detection)) {
            return constant(holds);
        }
        match c {
            Condition::And(parts) => and(parts.iter().map(|p| self.condition(p, detection)).collect()),
            Condition::Or(parts) => or(parts.iter().map(|p| self.condition(p, detection)).collect()),
            Condition::Not(part) => not(self.condition(part, detection)),
            Condition::Selection(i) => self.node(&detection.selections[*i].body),
        }
    }

    fn node(&mut self, n: &Node) -> Expr {
        if let Some(holds) = self.known.and_then(|known| known.node(n)) {
            return constant(holds);
        }
        match n {
            Node::And(parts) => and(parts.iter().map(|p| self.node(p)).collect()),
            Node::Or(parts) => or(parts.iter().map(|p| self.node(p)).collect()),
            Node::Test(test) => {
                let expr = self.test(test);
                if test.negated { not(expr) } else { expr }
            }
            // No rule set takes a rule with placeholders.
            Node::Expand(_) => constant(false),
        }
    }

    fn test(&mut self, test: &Test) -> Expr {
        let field = test.field().map(|name| self.field(name));
        match (&test.matcher, field) {
            (Matcher::Text(pattern), _) => self.text(field, pattern),
            (Matcher::Null, Some(id)) => Expr::Null(id),
            (Matcher::Exists(wanted), Some(id)) => {
                if *wanted {
                    Expr::Has(id)
                } else {
                    not(Expr::Has(id))
                }
            }
            (Matcher::Regex(regex), _) => {
                let gates = regex.required.any.iter().map(|text| self.literal(field, Part::Anywhere, text));
                let gates = or(gates.collect());
                let slow = self.slow(field, None, &test.matcher);
                gated(gates, slow)
            }
            (Matcher::FieldRef { other, .. }, Some(_)) => {
                let other = self.field(other);
                self.slow(field, Some(other), &test.matcher)
            }
            (matcher, _) => self.slow(field, None, matcher),
        }
    }

    fn slow(&mut self, field: Option<u32>, other: Option<u32>, matcher: &Matcher) -> Expr {
        self.slow.push(Slow { field, other, matcher: matcher.clone() });
        Expr::Slow(self.slow.len() as u32 - 1)
    }

    fn text(&mut self, field: Option<u32>, pattern: &TextPattern) -> Expr {
        if !pattern.cased
            && let Some((place, inner)) = simple(&pattern.tokens)
        {
            if let [Token::Lit(only)] = inner {
                return self.literal(field, place, only);
            }
            // Two dashes make 25 literals; more than that is left to the slow path.
            if let Some(literals) = expand_dashes(inner, DASHES.len() * DASHES.len()) {
                let bits = literals.iter().map(|text| self.literal(field, place, text));
                return or(bits.collect());
            }
        }
        let gate = match simple(&pattern.tokens) {
            Some((place, [Token::Lit(literal)])) => Some(self.literal(field, place, &fold(literal))),
            _ => longest(&pattern.tokens).map(|text| self.literal(field, Part::Anywhere, &fold(text))),
        };
        let slow = match self.slow_text.get(&(field, pattern.clone())) {
            Some(id) => Expr::Slow(*id),
            None => {
                self.slow_text.insert((field, pattern.clone()), self.slow.len() as u32);
                self.slow(field, None, &Matcher::Text(pattern.clone()))
            }
        };
        gated(gate.unwrap_or_else(|| constant(false)), slow)
    }

    /// What is seen whenever the expression holds; `None` if it can hold though nothing in particular was seen.
    fn witness(&self, expr: &Expr) -> Option<Witness> {
        match expr {
            // A single byte is in so many values that looking for it in all of them costs more than it saves.
            Expr::Bit(bit) | Expr::Late(bit, _) if self.bits[*bit as usize].byte.is_none() => {
                Some(self.scores.witness(*bit))
            }
            Expr::Has(field) => Some(self.scores.witness(self.fields[*field as usize].has)),
            Expr::Null(field) => Some(self.scores.witness(self.fields[*field as usize].null)),
            // Every slow atom needs its field to be there.
            Expr::Slow(slow) if self.slow[*slow as usize].other.is_some() => {
                let field = self.slow[*slow as usize].field?;
                Some(self.scores.witness(self.fields[field as usize].has))
            }
            Expr::Or(parts) => {
                let each: Option<Vec<Witness>> = parts.iter().map(|part| self.witness(part)).collect();
                Witness::any(each?.into_iter())
            }
            Expr::And(parts) => {
                let best = Witness::rarest(parts.iter().filter_map(|part| self.witness(part)));
                best.filter(|best| !best.is_common()).or_else(|| self.probe_of_all(parts))
            }
            expr => self.probe(expr),
        }
    }

    /// The expression as a probe, if it looks at one field only.
    fn probe(&self, expr: &Expr) -> Option<Witness> {
        let field = self.only_field(expr)?;
        Some(Witness::probe(field, expr.clone(), self.fields[field as usize].null))
    }

    /// The parts that look at one field and no other as one probe: the field of the first that can be one.
    fn probe_of_all(&self, parts: &[Expr]) -> Option<Witness> {
        let each = || parts.iter().filter_map(|part| Some((self.only_field(part)?, part)));
        let probes = each().map(|(field, _)| {
            let same = each().filter(|(other, _)| *other == field).map(|(_, part)| part.clone());
            let null = self.fields[field as usize].null;
            Witness::probe(field, and(same.collect()), null)
        });
        Witness::rarest(probes.chain(parts.iter().filter_map(|part| self.witness(part))))
    }

    /// The field that an expression looks at, if there is just one.
    fn only_field(&self, expr: &Expr) -> Option<u32> {
        match expr {
            Expr::Bit(bit) | Expr::Late(bit, _) => self.bits[*bit as usize].field,
            Expr::Has(field) | Expr::Null(field) => Some(*field),
            Expr::Slow(slow) => {
                let slow = &self.slow[*slow as usize];
                slow.field.filter(|_| slow.other.is_none())
            }
            // These are made only after witnesses are chosen.
            Expr::Byte(..) | Expr::Any(_) | Expr::LateAny(..) => None,
            Expr::Not(part) => self.only_field(part),
            Expr::And(parts) | Expr::Or(parts) => {
                let (first, rest) = parts.split_first()?;
                let field = self.only_field(first)?;
                rest.iter().all(|part| self.only_field(part) == Some(field)).then_some(field)
            }
        }
    }

    fn add_probe(&mut self, probe: Probe) {
        let bit = self.scores.probe();
        self.bits.push(Bit { field: Some(probe.field), place: Part::Whole, byte: None });
        self.fields[probe.field as usize].probes.push((bit, probe.expr));
    }
}

fn constant(holds: bool) -> Expr {
    if holds { Expr::And([].into()) } else { Expr::Or([].into()) }
}

fn is_constant(expr: &Expr, holds: bool) -> bool {
    match expr {
        Expr::And(parts) => holds && parts.is_empty(),
        Expr::Or(parts) => !holds && parts.is_empty(),
        _ => false,
    }
}

fn not(part: Expr) -> Expr {
    match part {
        Expr::Not(inner) => *inner,
        part if is_constant(&part, true) => constant(false),
        part if is_constant(&part, false) => constant(true),
        part => Expr::Not(Box::new(part)),
    }
}

/// An atom that holds only where one of the gates does; no gates say nothing.
fn gated(gates: Expr, atom: Expr) -> Expr {
    if is_constant(&gates, false) { atom } else { and(vec![gates, atom]) }
}

/// Joins parts of an `and`: one part stays as it is, nested ones are flattened.
fn and(parts: Vec<Expr>) -> Expr {
    if parts.iter().any(|part| is_constant(part, false)) {
        return constant(false);
    }
    let flat = parts.into_iter().flat_map(|part| match part {
        Expr::And(inner) => inner.into_vec(),
        other => vec![other],
    });
    finish(flat.collect(), Expr::And)
}

/// The same for `or`.
fn or(parts: Vec<Expr>) -> Expr {
    if parts.iter().any(|part| is_constant(part, true)) {
        return constant(true);
    }
    let flat = parts.into_iter().flat_map(|part| match part {
        Expr::Or(inner) => inner.into_vec(),
        other => vec![other],
    });
    finish(flat.collect(), Expr::Or)
}

fn finish(mut parts: Vec<Expr>, wrap: fn(Box<[Expr]>) -> Expr) -> Expr {
    match parts.pop() {
        Some(only) if parts.is_empty() => only,
        Some(last) => {
            parts.push(last);
            wrap(parts.into())
        }
        None => wrap(parts.into()),
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
