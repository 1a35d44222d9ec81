//! From parsed detections to a [`Class`].

use std::collections::HashMap;

use crate::ast::{Condition, Detection, Matcher, Node, Part, Test};
use crate::class::{Class, ClassField, Expr, Find, Keywords, Slow};
use crate::commonness::Commonness;
use crate::discriminator::Known;
use crate::encoding::expand_dashes;
use crate::index::IndexBuilder;
use crate::pattern::{DASHES, TextPattern, Token, fold};
use crate::window::SHORT;
use crate::witness::{Scores, Witness};

/// Compiles rules, given with their indices in ascending order. `known` is what the events of the class have in common:
/// what tests of that field come to is worked out here, and rules that cannot match are left out.
pub(crate) fn compile<'a>(
    rules: impl Iterator<Item = (usize, &'a Detection)>,
    known: Option<Known<'_>>,
) -> Class {
    let mut builder = Builder { known, ..Builder::default() };
    let mut compiled: Vec<(usize, Expr)> = rules
        .map(|(index, detection)| (index, builder.condition(&detection.condition, detection)))
        .filter(|(_, expr)| !matches!(expr, Expr::Or(parts) if parts.is_empty()))
        .collect();
    let bits = builder.scores.len();
    let mut by_bit = vec![Vec::new(); bits];
    let mut always = Vec::new();
    for (rule, (_, expr)) in compiled.iter().enumerate() {
        match builder.witness(expr) {
            Some(witness) => {
                witness.bits.into_iter().for_each(|bit| by_bit[bit as usize].push(rule as u32));
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
    let witness: Vec<bool> = by_bit.iter().map(|rules| !rules.is_empty()).collect();
    let mut settle =
        Settle { bits: &builder.bits, witness: &witness, finds: Vec::new(), ids: HashMap::new() };
    for (_, expr) in &mut compiled {
        settle.expr(expr);
    }
    let finds = settle.finds;
    let mut class = Class { rules: compiled, bits, always, slow: builder.slow, finds, ..Class::default() };
    class.witness_starts.push(0);
    for mut rules in by_bit {
        rules.dedup();
        class.witness_rules.extend(rules);
        class.witness_starts.push(class.witness_rules.len() as u32);
    }
    let indices = || builder.fields.iter().map(|field| &field.index).chain([&builder.keywords]);
    let commonness = Commonness::learn(indices().flat_map(IndexBuilder::literals));
    let keywords = builder.keywords.build(|_| true, &commonness);
    if !keywords.is_empty() {
        let gate = builder.keywords.build_gate(&commonness);
        class.keywords = Some(Keywords { index: keywords, gate });
    }
    class.fields = builder
        .fields
        .into_iter()
        .zip(eager)
        .map(|(f, eager)| ClassField {
            name: f.name,
            index: f.index.build(|bit| witness[bit as usize], &commonness),
            rest: f.index.build(|bit| !witness[bit as usize] && !is_short(&builder.bits, bit), &commonness),
            eager,
            has: f.has,
            null: f.null,
        })
        .collect();
    class.field_ids = class.fields.iter().zip(0..).map(|(field, id)| (field.name.clone(), id)).collect();
    class
}

/// What a bit stands for.
struct Bit {
    /// `None` for keywords.
    field: Option<u32>,
    place: Part,
    /// The literal, if it may stand anywhere and is short.
    short: Option<Box<str>>,
}

fn is_short(bits: &[Bit], bit: u32) -> bool {
    bits[bit as usize].short.is_some()
}

/// Gives expressions their last form, once it is known which bits are witnesses.
struct Settle<'a> {
    bits: &'a [Bit],
    witness: &'a [bool],
    finds: Vec<Find>,
    /// The index in `finds` of a bit.
    ids: HashMap<u32, u32>,
}

impl Settle<'_> {
    /// Marks the bits that are looked for only on demand, and puts cheap parts first.
    fn expr(&mut self, expr: &mut Expr) {
        match expr {
            Expr::And(parts) | Expr::Or(parts) => {
                parts.iter_mut().for_each(|part| self.expr(part));
                parts.sort_by_key(|part| self.cost(part));
            }
            Expr::Not(part) => self.expr(part),
            Expr::Bit(bit) => {
                let field = self.bits[*bit as usize].field.filter(|_| !self.witness[*bit as usize]);
                let short = self.bits[*bit as usize].short.as_ref();
                *expr = match (field, short) {
                    (None, _) => return,
                    (Some(field), None) => Expr::Late(*bit, field),
                    (Some(field), Some(literal)) => Expr::Find(*self.ids.entry(*bit).or_insert_with(|| {
                        self.finds.push(Find { field, literal: literal.clone() });
                        self.finds.len() as u32 - 1
                    })),
                };
            }
            Expr::Late(..) | Expr::Find(_) | Expr::Has(_) | Expr::Null(_) | Expr::Slow(_) => {}
        }
    }

    fn cost(&self, expr: &Expr) -> usize {
        match expr {
            Expr::Bit(_) => 1,
            Expr::Has(_) | Expr::Null(_) => 2,
            Expr::Late(bit, _) if self.bits[*bit as usize].place == Part::Anywhere => 20,
            Expr::Late(..) => 5,
            Expr::Find(_) => 10,
            Expr::Slow(_) => 1000,
            Expr::Not(part) => self.cost(part),
            Expr::And(parts) | Expr::Or(parts) => {
                parts.iter().map(|part| self.cost(part)).fold(1, usize::saturating_add)
            }
        }
    }
}

struct FieldDraft {
    name: Box<str>,
    index: IndexBuilder,
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
        self.bits.extend([Part::Whole; 2].map(|place| Bit { field: Some(id), place, short: None }));
        self.fields.push(FieldDraft { name: name.into(), index: IndexBuilder::default(), has, null });
        self.field_ids.insert(name.to_owned(), id);
        id
    }

    fn literal(&mut self, field: Option<u32>, place: Part, literal: &str) -> Expr {
        let index = match field {
            Some(id) => &mut self.fields[id as usize].index,
            None => &mut self.keywords,
        };
        let bit = index.bit(place, literal, || {
            let short = place == Part::Anywhere && literal.len() <= SHORT && literal.is_ascii();
            self.bits.push(Bit { field, place, short: short.then(|| literal.into()) });
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

    /// Bits of which one is set whenever the expression holds; `None` if it can hold though nothing in particular was
    /// seen.
    fn witness(&self, expr: &Expr) -> Option<Witness> {
        match expr {
            Expr::Bit(bit) | Expr::Late(bit, _) => {
                Some(self.scores.witness(match &self.bits[*bit as usize] {
                    // A single byte is in so many values that looking for it in all of them costs more than it saves.
                    Bit { field: Some(field), short: Some(literal), .. } if literal.len() == 1 => {
                        self.fields[*field as usize].has
                    }
                    _ => *bit,
                }))
            }
            Expr::Has(field) => Some(self.scores.witness(self.fields[*field as usize].has)),
            Expr::Null(field) => Some(self.scores.witness(self.fields[*field as usize].null)),
            Expr::Slow(slow) => {
                // Every slow atom needs its field to be there.
                let field = self.slow[*slow as usize].field?;
                Some(self.scores.witness(self.fields[field as usize].has))
            }
            // Finds are made only after witnesses are chosen.
            Expr::Not(_) | Expr::Find(_) => None,
            Expr::Or(parts) => {
                let each: Option<Vec<Witness>> = parts.iter().map(|part| self.witness(part)).collect();
                Witness::any(each?.into_iter())
            }
            Expr::And(parts) => Witness::rarest(parts.iter().filter_map(|part| self.witness(part))),
        }
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
