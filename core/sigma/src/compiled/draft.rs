//! A class before its indices are made: all that took thought to find out, and what is kept of it between runs.

use crate::compiled::class::{Class, ClassField, Expr, Keywords, Slow};
use crate::compiled::gate::Gate;
use crate::compiled::index::Literals;
use crate::compiled::window::Inner;

/// Most fields of a class that is read from a cache: each takes some memory, however little is looked for in it.
const MOST_FIELDS: usize = 1 << 14;

/// See [`Class`].
pub(crate) struct Draft<'a> {
    pub rules: Vec<(usize, Expr)>,
    pub fields: Vec<DraftField<'a>>,
    pub keywords: Literals<'a>,
    /// The literals of [`Keywords::gate`].
    pub gate: Vec<Inner<'a>>,
    pub slow: Vec<Slow>,
    pub always: Vec<u32>,
    pub witness_starts: Vec<u32>,
    pub witness_rules: Vec<u32>,
}

/// See [`ClassField`].
pub(crate) struct DraftField<'a> {
    pub name: Box<str>,
    pub index: Literals<'a>,
    pub probes: Vec<(u32, Expr)>,
    pub eager: bool,
    pub has: u32,
    pub null: u32,
}

impl Draft<'_> {
    /// The class; `None` if a literal does not have the windows that are said to be in it.
    pub fn build(self) -> Option<Class> {
        let mut fields = Vec::with_capacity(self.fields.len());
        for field in self.fields {
            let DraftField { name, index, probes, eager, has, null } = field;
            let index = index.build()?;
            fields.push(ClassField { name, index, probes, eager, has, null });
        }
        let keywords = if self.keywords.is_empty() {
            None
        } else {
            Some(Keywords { index: self.keywords.build()?, gate: Gate::build(&self.gate) })
        };
        Some(Class {
            field_ids: fields.iter().zip(0..).map(|(field, id)| (field.name.clone(), id)).collect(),
            rules: self.rules,
            fields,
            keywords,
            slow: self.slow,
            bits: self.witness_starts.len().saturating_sub(1),
            always: self.always,
            witness_starts: self.witness_starts,
            witness_rules: self.witness_rules,
        })
    }

    /// Whether everything that it names is there, as it is in what was compiled, so that matching with it ends and does
    /// not look past an end. `rules` is the number of rules in the set.
    pub fn is_sound(&self, rules: usize) -> bool {
        let bits = self.witness_starts.len().saturating_sub(1) as u32;
        let names = Names { bits, fields: self.fields.len() as u32, slow: &self.slow };
        let ascending = self.rules.is_sorted_by(|a, b| a.0 < b.0);
        let own = |rule: &u32| (*rule as usize) < self.rules.len();
        let first_and_last = (self.witness_starts.first(), self.witness_starts.last());
        let (first, last) = (Some(&0), Some(&(self.witness_rules.len() as u32)));
        self.fields.len() <= MOST_FIELDS
            && ascending
            && self.rules.last().is_none_or(|(last, _)| *last < rules)
            && self.rules.iter().all(|(_, expr)| names.are_in(expr, None))
            && self.fields.iter().zip(0..).all(|(field, id)| {
                field.has < bits
                    && field.null < bits
                    && field
                        .index
                        .bits()
                        .chain(field.probes.iter().map(|(bit, _)| *bit))
                        .all(|bit| bit < bits)
                    && field.probes.iter().all(|(_, expr)| names.are_in(expr, Some(id)))
            })
            && self.keywords.bits().all(|bit| bit < bits)
            && self.slow.iter().all(|slow| {
                slow.field.into_iter().chain(slow.other).all(|field| (field as usize) < self.fields.len())
            })
            && self.always.iter().chain(&self.witness_rules).all(own)
            && first_and_last == (first, last)
            && self.witness_starts.is_sorted()
    }
}

/// What expressions may name.
struct Names<'a> {
    bits: u32,
    fields: u32,
    slow: &'a [Slow],
}

impl Names<'_> {
    /// Whether all is there that the expression names. A probe looks at one field `only`: were it to make another be
    /// read, that one's probes would be worked out within it, and so on.
    fn are_in(&self, expr: &Expr, only: Option<u32>) -> bool {
        let field = |id: u32| id < self.fields && only.is_none_or(|only| only == id);
        let words = |words: &[(u32, u64)]| words.iter().all(|(word, _)| *word < self.bits.div_ceil(64));
        match expr {
            Expr::And(parts) | Expr::Or(parts) => parts.iter().all(|part| self.are_in(part, only)),
            Expr::Not(part) => self.are_in(part, only),
            Expr::Has(id) | Expr::Null(id) | Expr::Byte(id, _) => field(*id),
            Expr::Bit(bit) => *bit < self.bits,
            Expr::Late(bit, id) => *bit < self.bits && field(*id),
            Expr::Any(bits) => words(bits),
            Expr::LateAny(id, bits) => field(*id) && words(bits),
            Expr::Slow(id) => {
                self.slow.get(*id as usize).is_some_and(|slow| only.is_none() || slow.field == only)
            }
        }
    }
}
