//! Rules decided on a few texts alone, by tables that a kernel's program can follow.
//!
//! A rule with a response should act before the program that it is about has run one instruction. No rule engine runs
//! there, but a table can be followed there: each test of a field becomes a small automaton, and a rule's condition a
//! list of branches over such tests. [`Verdicts`] are these tables, and [`Verdicts::decide`] follows them as the
//! kernel's program does.
//!
//! **Exact or not at all.** What [`Verdicts::decide`] says of a rule is what the engine says of it, for every event
//! whose known fields hold these texts. It is silent, and leaves the event to the engine, where
//!
//! - a text is empty, longer than [`TEXT_BYTES`], or not ASCII: beyond it, letters fold in ways that need large tables;
//! - a branch of the condition asks for a field that is not known. A rule of which only some branches do is decided
//!   [in part](Coverage::Part): what the other branches match is.
//!
//! A rule that cannot be decided at all is refused with a [`Refusal`], which says why.

mod branches;
mod machine;
mod tables;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use wardline_event::{LogSource, process_creation_fields};

use crate::compiled::ruleset::covers;
use crate::language::rule::Rule;
use branches::Draft;
pub use tables::{
    MAX_BRANCHES, MAX_CELLS, MAX_MACHINES, MAX_RULES, TABLE_BYTES, TEXT_BYTES, Verdict, Verdicts,
};

/// What is known of an event when it is to be decided.
#[derive(Clone, Debug)]
pub struct Terms<'a> {
    /// What kind of event it is.
    pub log_source: LogSource<'a>,
    /// Fields whose texts are known, at most two. Each is there in every such event, and holds one text.
    pub known: Vec<&'a str>,
    /// Fields that such an event may have, and that are not known. It has no others.
    pub unknown: Vec<&'a str>,
    /// Paths, with `*` for any characters but `/`: if the first known text is one of them, nothing is decided.
    pub spared: &'a [String],
}

impl<'a> Terms<'a> {
    /// A program that begins on Linux, as the kernel knows it before its first instruction.
    pub fn linux_program(spared: &'a [String]) -> Self {
        let known = vec!["Image", "CommandLine"];
        let unknown = process_creation_fields().filter(|field| !known.contains(field)).collect();
        Self { log_source: LogSource::new("linux", "process_creation", ""), known, unknown, spared }
    }
}

/// How much of a rule is decided.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Coverage {
    /// All of it.
    Whole,
    /// What does not need these fields.
    Part {
        /// They are not known when it is decided.
        without: Vec<String>,
    },
}

/// A rule that is decided.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Decided {
    /// How much of it.
    pub coverage: Coverage,
    /// It needs the first known text only.
    pub by_first: bool,
}

/// Why a rule cannot be decided on the known texts.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Refusal {
    /// It is for events of another kind.
    #[error("it is not for this kind of event")]
    OtherEvents,
    /// It looks for words in every field.
    #[error("it looks for words in every field")]
    Keywords,
    /// It compares or reads a field in a way that an automaton does not.
    #[error("it asks `{0}`, which is more than a search in one text")]
    Test(String),
    /// Without these fields it never matches.
    #[error("it cannot match without {}", .0.join(", "))]
    Unknown(Vec<String>),
    /// It never matches such an event.
    #[error("it never matches on these fields")]
    Never,
    /// An expression needs too large an automaton.
    #[error("`{0}` needs too large an automaton")]
    TooBig(String),
    /// The tables are full.
    #[error("the tables have no room left: it needs {needs} of {left} {what}")]
    Full {
        /// Of what.
        what: &'static str,
        /// How many.
        needs: usize,
        /// How many there are.
        left: usize,
    },
}

/// What became of each rule, under its number.
pub type Told = Vec<(usize, Result<Decided, Refusal>)>;

impl Verdicts {
    /// Decides as many of these rules as can be, each under a number of the caller's below [`MAX_RULES`]; those that
    /// come first have room first. Gives for each what became of it.
    pub fn of<'r>(rules: impl IntoIterator<Item = (usize, &'r Rule)>, terms: &Terms<'_>) -> (Self, Told) {
        let mut draft = Draft::new(terms);
        let results = rules.into_iter().map(|(number, rule)| (number, draft.add(number, rule, terms)));
        let results = results.collect();
        (draft.finish(), results)
    }
}

/// Whether the rule sees events of this source, and no others of the same moment.
fn is_for(rule: &Rule, source: &LogSource<'_>) -> bool {
    !rule.log_source.category.is_empty() && covers(&rule.log_source, source, &[])
}

fn listed(fields: BTreeSet<&str>) -> Vec<String> {
    fields.into_iter().map(str::to_owned).collect()
}
