//! The rules that can see events of one kind, compiled together.
//!
//! Each thing that a rule asks of a field is an *atom*. Literals are found while a field is searched and set one bit each;
//! everything else (regular expressions, wildcards inside a value, networks, numbers) is a *slow* atom, worked out
//! only when a condition asks for it. Each rule has *witnesses*: bits of which at least one is set whenever the rule
//! matches. A condition is looked at only if a witness was seen, so an event never walks through all rules. Fields without
//! a witness are read only when such a condition asks for them.

use std::collections::HashMap;

use foldhash::fast::FixedState;

use crate::compiled::gate::Gate;
use crate::compiled::index::TextIndex;
use crate::language::ast::Matcher;

/// A compiled condition.
#[derive(Clone, Debug)]
pub(crate) enum Expr {
    /// True if there are no parts.
    And(Box<[Expr]>),
    /// False if there are no parts.
    Or(Box<[Expr]>),
    Not(Box<Expr>),
    /// The event has the field, whatever it holds.
    Has(u32),
    /// The event does not have the field, or it is null.
    Null(u32),
    /// A bit that reading the event has set or not.
    Bit(u32),
    /// The same for a bit (first) of a field (second) that nominates no rule: it is read only when a condition asks
    /// for it.
    Late(u32, u32),
    /// One of several bits.
    Any(Bits),
    /// One of several bits of such a field.
    LateAny(u32, Bits),
    /// The texts of a field (first) hold a byte, which nominates no rule: most values would hold it, so it is looked
    /// for alone.
    Byte(u32, u8),
    /// An index into [`Class::slow`].
    Slow(u32),
}

/// Several bits: words of the bits seen (64 bits each, the lowest first) by their index, and the bits wanted of each.
pub(crate) type Bits = Box<[(u32, u64)]>;

/// An atom that is worked out on demand.
#[derive(Debug)]
pub(crate) struct Slow {
    /// Index into [`Class::fields`]; `None` for a keyword.
    pub field: Option<u32>,
    /// For a field reference: the other field.
    pub other: Option<u32>,
    pub matcher: Matcher,
}

/// A field that some rule of the class names.
#[derive(Debug)]
pub(crate) struct ClassField {
    pub name: Box<str>,
    /// All literals but those of [`Expr::Byte`].
    pub index: TextIndex,
    /// Conditions that look at this field only, each with the bit that it sets: they are the witnesses of rules that
    /// have no literal for one.
    pub probes: Vec<(u32, Expr)>,
    /// Whether it is read for every event: one of its bits nominates a rule.
    pub eager: bool,
    /// The bits that stand for [`Expr::Has`] and [`Expr::Null`] as witnesses.
    pub has: u32,
    pub null: u32,
}

/// What rules look for in every field.
#[derive(Debug)]
pub(crate) struct Keywords {
    pub index: TextIndex,
    /// Tells for most events, from [`Fields::all_text`](wardline_event::Fields::all_text), that none of them is there.
    pub gate: Option<Gate>,
}

/// Rules compiled for one kind of event.
#[derive(Debug, Default)]
pub(crate) struct Class {
    /// Index into the rule set and condition, in ascending order of index.
    pub rules: Vec<(usize, Expr)>,
    pub fields: Vec<ClassField>,
    /// Fields by name. A layout's names are looked up in it, so it is quick; names of rules are bounded in number.
    pub field_ids: HashMap<Box<str>, u32, FixedState>,
    pub keywords: Option<Keywords>,
    pub slow: Vec<Slow>,
    /// How many bits there are.
    pub bits: usize,
    /// The rules (as indices into `rules`) that have no witness and are always looked at.
    pub always: Vec<u32>,
    /// The rules of which bit `b` is a witness: `witness_rules[starts[b]..starts[b + 1]]`.
    pub witness_starts: Vec<u32>,
    pub witness_rules: Vec<u32>,
}

impl Class {
    /// The rules that may match because this bit is set.
    pub fn witnessed(&self, bit: u32) -> &[u32] {
        let bit = bit as usize;
        &self.witness_rules[self.witness_starts[bit] as usize..self.witness_starts[bit + 1] as usize]
    }
}
