//! The last form of conditions, once it is known which bits are witnesses.

use std::collections::BTreeMap;

use crate::compiled::class::{Bits, Expr, Slow};
use crate::language::ast::{Matcher, Part};

/// What a bit stands for.
pub(crate) struct Bit {
    /// `None` for keywords.
    pub field: Option<u32>,
    pub place: Part,
    /// The literal, if it is a single byte that may stand anywhere.
    pub byte: Option<u8>,
}

/// Gives expressions their last form.
pub(crate) struct Settle<'a> {
    pub bits: &'a [Bit],
    /// For each field whether it is read for every event.
    pub eager: &'a [bool],
    pub slow: &'a [Slow],
}

impl Settle<'_> {
    /// Marks the bits that are looked for only on demand, joins bits, and puts cheap parts first.
    pub fn expr(&self, expr: &mut Expr) {
        match expr {
            Expr::And(parts) => {
                parts.iter_mut().for_each(|part| self.expr(part));
                parts.sort_by_key(|part| self.cost(part));
            }
            Expr::Or(parts) => {
                parts.iter_mut().for_each(|part| self.expr(part));
                let mut joined = join(std::mem::take(parts).into_vec());
                joined.sort_by_key(|part| self.cost(part));
                *expr = match joined.pop() {
                    Some(only) if joined.is_empty() => only,
                    last => Expr::Or(joined.into_iter().chain(last).collect()),
                };
            }
            Expr::Not(part) => self.expr(part),
            Expr::Bit(bit) => {
                let Bit { field, byte, .. } = self.bits[*bit as usize];
                *expr = match (field, byte) {
                    (Some(field), Some(byte)) => Expr::Byte(field, byte),
                    (Some(field), None) if !self.eager[field as usize] => Expr::Late(*bit, field),
                    _ => return,
                };
            }
            Expr::Late(..)
            | Expr::Any(_)
            | Expr::LateAny(..)
            | Expr::Byte(..)
            | Expr::Has(_)
            | Expr::Null(_)
            | Expr::Slow(_) => {}
        }
    }

    /// About how many instructions it takes to work the expression out.
    fn cost(&self, expr: &Expr) -> usize {
        match expr {
            Expr::Bit(_) => 5,
            Expr::Any(bits) => 5 + bits.len(),
            Expr::Has(_) | Expr::Null(_) => 10,
            Expr::Late(bit, _) if self.bits[*bit as usize].place == Part::Anywhere => 100,
            Expr::Late(..) => 50,
            Expr::LateAny(_, bits) => 100 + bits.len(),
            Expr::Byte(..) => 60,
            Expr::Slow(slow) => match self.slow[*slow as usize].matcher {
                Matcher::FieldRef { .. } | Matcher::Compare(..) => 80,
                Matcher::Text(_) | Matcher::Cidr(_) | Matcher::Time(..) => 300,
                _ => 5000,
            },
            Expr::Not(part) => self.cost(part),
            Expr::And(parts) | Expr::Or(parts) => {
                parts.iter().map(|part| self.cost(part)).fold(5, usize::saturating_add)
            }
        }
    }
}

/// Joins the bits among the parts of an `or`.
fn join(parts: Vec<Expr>) -> Vec<Expr> {
    // By the field that has to be searched for them first, if it has.
    let mut bits: BTreeMap<Option<u32>, Vec<u32>> = BTreeMap::new();
    let mut joined = Vec::new();
    for part in parts {
        match part {
            Expr::Bit(bit) => bits.entry(None).or_default().push(bit),
            Expr::Late(bit, field) => bits.entry(Some(field)).or_default().push(bit),
            other => joined.push(other),
        }
    }
    joined.extend(bits.into_iter().map(|(field, bits)| match (field, &*bits) {
        (None, [bit]) => Expr::Bit(*bit),
        (None, bits) => Expr::Any(words(bits)),
        (Some(field), [bit]) => Expr::Late(*bit, field),
        (Some(field), bits) => Expr::LateAny(field, words(bits)),
    }));
    joined
}

fn words(bits: &[u32]) -> Bits {
    let mut words: BTreeMap<u32, u64> = BTreeMap::new();
    for bit in bits {
        *words.entry(bit / 64).or_default() |= 1 << (bit % 64);
    }
    words.into_iter().collect()
}
