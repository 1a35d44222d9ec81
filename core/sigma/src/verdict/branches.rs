//! From conditions to branches over machines.

use std::collections::{BTreeSet, HashMap};

use super::machine::{Machine, TooBig};
use super::tables::{Branch, KILL, MAX_BRANCHES, MAX_CELLS, MAX_MACHINES, MAX_RULES, NONE, SPARED, Verdicts};
use super::{Coverage, Decided, Refusal, Terms, is_for, listed};
use crate::language::ast::{Condition, Detection, Matcher, Node, Test};
use crate::language::rule::Rule;

/// A condition over machines.
#[derive(Clone, Debug)]
enum Expr {
    Const(bool),
    /// It needs a field that is not known.
    Unknown,
    Machine(u16),
    Not(Box<Expr>),
    And(Vec<Expr>),
    Or(Vec<Expr>),
}

/// Tables as they grow.
pub(super) struct Draft {
    machines: Vec<(u8, Machine)>,
    /// Machines by what they are, and by what they were made of.
    known: HashMap<(u8, Machine), u16>,
    made: HashMap<(u8, String), Result<Machine, TooBig>>,
    cells: usize,
    /// How many branches there will be, at most.
    branches: usize,
    spared: Option<u16>,
    /// Rules that need the first text only, and the others, in order.
    rules: [Vec<(u16, Expr)>; 2],
}

/// A test as it is for an event of these terms.
enum Known {
    Const(bool),
    Unknown,
    /// Of this known field.
    Text(u8),
}

impl Draft {
    pub fn new(terms: &Terms<'_>) -> Self {
        let mut draft = Self {
            machines: Vec::new(),
            known: HashMap::new(),
            made: HashMap::new(),
            cells: 0,
            branches: 0,
            spared: None,
            rules: [Vec::new(), Vec::new()],
        };
        if !terms.spared.is_empty() {
            // Without room for those who are spared nobody is decided about: no rule has room then either.
            match Machine::of_paths(terms.spared) {
                Ok(machine) if machine.cells() <= MAX_CELLS => draft.spared = Some(draft.put(0, machine)),
                _ => draft.cells = MAX_CELLS,
            }
            draft.branches = 1;
        }
        draft
    }

    /// Takes in a rule, or leaves everything as it was.
    pub fn add(&mut self, number: usize, rule: &Rule, terms: &Terms<'_>) -> Result<Decided, Refusal> {
        let before = self.machines.len();
        let added = self.try_add(number, rule, terms);
        if added.is_err() {
            for (field, machine) in self.machines.drain(before..) {
                self.cells -= machine.cells();
                self.known.remove(&(field, machine));
            }
        }
        added
    }

    fn try_add(&mut self, number: usize, rule: &Rule, terms: &Terms<'_>) -> Result<Decided, Refusal> {
        if !is_for(rule, &terms.log_source) {
            return Err(Refusal::OtherEvents);
        }
        let full = |what, needs, left| Refusal::Full { what, needs, left };
        if number >= MAX_RULES {
            return Err(full("rules", 1, 0));
        }
        let mut unknown = BTreeSet::new();
        let detection: &Detection = &rule.detection;
        let expr = simple(self.condition(&detection.condition, detection, terms, &mut unknown)?);
        // What no branch reaches does not count.
        let mut trial = Vec::new();
        let entry = emit(&expr, KILL, NONE, &mut trial);
        if entry == NONE {
            return Err(if unknown.is_empty() { Refusal::Never } else { Refusal::Unknown(listed(unknown)) });
        }
        let left = MAX_BRANCHES.saturating_sub(self.branches);
        if trial.len() > left {
            return Err(full("branches", trial.len(), left));
        }
        self.branches += trial.len();
        let by_first = trial.iter().all(|branch| self.machines[usize::from(branch.machine)].0 == 0);
        self.rules[usize::from(!by_first)].push((number as u16, expr.clone()));
        let coverage =
            if has_unknown(&expr) { Coverage::Part { without: listed(unknown) } } else { Coverage::Whole };
        Ok(Decided { coverage, by_first })
    }

    pub fn finish(self) -> Verdicts {
        let mut branches = Vec::new();
        let mut entries = self.rules.map(|rules| {
            rules
                .iter()
                .rev()
                .fold(NONE, |next, (number, expr)| emit(expr, KILL | number, next, &mut branches))
        });
        if let Some(machine) = self.spared {
            branches.push(Branch { machine, yes: SPARED, no: entries[0] });
            entries[0] = (branches.len() - 1) as u16;
        }
        Verdicts { machines: self.machines, branches, entries }
    }

    fn condition<'r>(
        &mut self,
        c: &Condition,
        detection: &'r Detection,
        terms: &Terms<'_>,
        unknown: &mut BTreeSet<&'r str>,
    ) -> Result<Expr, Refusal> {
        let mut all = |parts: &[Condition]| -> Result<Vec<Expr>, Refusal> {
            parts.iter().map(|part| self.condition(part, detection, terms, unknown)).collect()
        };
        Ok(match c {
            Condition::And(parts) => Expr::And(all(parts)?),
            Condition::Or(parts) => Expr::Or(all(parts)?),
            Condition::Not(part) => Expr::Not(Box::new(self.condition(part, detection, terms, unknown)?)),
            Condition::Selection(at) => self.node(&detection.selections[*at].body, terms, unknown)?,
        })
    }

    fn node<'r>(
        &mut self,
        node: &'r Node,
        terms: &Terms<'_>,
        unknown: &mut BTreeSet<&'r str>,
    ) -> Result<Expr, Refusal> {
        let mut all = |parts: &'r [Node]| -> Result<Vec<Expr>, Refusal> {
            parts.iter().map(|part| self.node(part, terms, unknown)).collect()
        };
        match node {
            Node::And(parts) => Ok(Expr::And(all(parts)?)),
            Node::Or(parts) => Ok(Expr::Or(all(parts)?)),
            Node::Test(test) => self.test(test, terms, unknown),
            // A value that nobody gave matches nothing.
            Node::Expand(_) => Ok(Expr::Const(false)),
        }
    }

    fn test<'r>(
        &mut self,
        test: &'r Test,
        terms: &Terms<'_>,
        unknown: &mut BTreeSet<&'r str>,
    ) -> Result<Expr, Refusal> {
        let field = test.field().ok_or(Refusal::Keywords)?;
        let expr = match what_is_known(test, field, terms)? {
            Known::Const(holds) => Expr::Const(holds),
            Known::Unknown => {
                unknown.insert(field);
                return Ok(Expr::Unknown);
            }
            Known::Text(field) => Expr::Machine(self.machine(field, test)?),
        };
        Ok(if test.negated { Expr::Not(Box::new(expr)) } else { expr })
    }

    fn machine(&mut self, field: u8, test: &Test) -> Result<u16, Refusal> {
        let told = (field, format!("{:?}", test.matcher));
        let made = self.made.entry(told).or_insert_with(|| Machine::of(&test.matcher).unwrap_or(Err(TooBig)));
        let machine = made.clone().map_err(|TooBig| Refusal::TooBig(test.written()))?;
        if let Some(known) = self.known.get(&(field, machine.clone())) {
            return Ok(*known);
        }
        let left = MAX_CELLS - self.cells;
        if machine.cells() > left {
            return Err(Refusal::Full { what: "cells", needs: machine.cells(), left });
        }
        if self.machines.len() == MAX_MACHINES {
            return Err(Refusal::Full { what: "machines", needs: 1, left: 0 });
        }
        Ok(self.put(field, machine))
    }

    fn put(&mut self, field: u8, machine: Machine) -> u16 {
        let number = self.machines.len() as u16;
        self.cells += machine.cells();
        self.known.insert((field, machine.clone()), number);
        self.machines.push((field, machine));
        number
    }
}

/// Of a known text, whether it passes a machine; of a field that is never there, what the test makes of that.
fn what_is_known(test: &Test, field: &str, terms: &Terms<'_>) -> Result<Known, Refusal> {
    let is = |names: &[&str]| names.iter().position(|name| *name == field);
    if is(&terms.unknown).is_some() {
        return Ok(Known::Unknown);
    }
    let known = is(&terms.known);
    Ok(match (&test.matcher, known) {
        (Matcher::Exists(wanted), known) => Known::Const(known.is_some() == *wanted),
        (Matcher::Null, known) => Known::Const(known.is_none()),
        (_, None) => Known::Const(false),
        (Matcher::Text(_) | Matcher::Regex(_), Some(at)) => Known::Text(at as u8),
        (Matcher::Cidr(_) | Matcher::Compare(..) | Matcher::Time(..) | Matcher::FieldRef { .. }, Some(_)) => {
            return Err(Refusal::Test(format!("{}: {}", test.item.key, test.value)));
        }
    })
}

fn has_unknown(expr: &Expr) -> bool {
    match expr {
        Expr::Unknown => true,
        Expr::Const(_) | Expr::Machine(_) => false,
        Expr::Not(part) => has_unknown(part),
        Expr::And(parts) | Expr::Or(parts) => parts.iter().any(has_unknown),
    }
}

/// Without constants in it, and with what needs unknown fields last: so what can be decided without them is.
fn simple(expr: Expr) -> Expr {
    let many = |parts: Vec<Expr>, ends: bool| {
        let parts: Vec<Expr> = parts.into_iter().map(simple).collect();
        if parts.iter().any(|part| matches!(part, Expr::Const(value) if *value == ends)) {
            return Err(Expr::Const(ends));
        }
        let (unknown, known): (Vec<_>, Vec<_>) =
            parts.into_iter().filter(|part| !matches!(part, Expr::Const(_))).partition(has_unknown);
        match known.len() + unknown.len() {
            0 => Err(Expr::Const(!ends)),
            _ => Ok(known.into_iter().chain(unknown).collect()),
        }
    };
    match expr {
        Expr::Const(_) | Expr::Unknown | Expr::Machine(_) => expr,
        Expr::Not(part) => match simple(*part) {
            Expr::Const(value) => Expr::Const(!value),
            part => Expr::Not(Box::new(part)),
        },
        Expr::And(parts) => many(parts, false).map_or_else(|known| known, Expr::And),
        Expr::Or(parts) => many(parts, true).map_or_else(|known| known, Expr::Or),
    }
}

/// Writes branches that lead to `yes` where the condition holds, and to `no` where it does not; of what is not known,
/// to nothing of the rule. Gives where they begin.
fn emit(expr: &Expr, yes: u16, no: u16, out: &mut Vec<Branch>) -> u16 {
    // `no` of the whole rule is where the next rule begins.
    write(expr, yes, no, no, out)
}

fn write(expr: &Expr, yes: u16, no: u16, next: u16, out: &mut Vec<Branch>) -> u16 {
    match expr {
        Expr::Const(value) => {
            if *value {
                yes
            } else {
                no
            }
        }
        Expr::Unknown => next,
        Expr::Not(part) => write(part, no, yes, next, out),
        // Each part is written before what leads to it.
        Expr::And(parts) => parts.iter().rev().fold(yes, |after, part| write(part, after, no, next, out)),
        Expr::Or(parts) => parts.iter().rev().fold(no, |after, part| write(part, yes, after, next, out)),
        Expr::Machine(machine) => {
            if yes == no {
                return yes;
            }
            out.push(Branch { machine: *machine, yes, no });
            (out.len() - 1) as u16
        }
    }
}
