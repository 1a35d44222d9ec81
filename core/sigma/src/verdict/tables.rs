//! The tables, how they are followed, and their form in memory.

use super::machine::{CHARS, Machine};

/// Numbers of rules are below this.
pub const MAX_RULES: usize = 1 << 12;
/// Branches of all conditions.
pub const MAX_BRANCHES: usize = 512;
/// Different tests of fields.
pub const MAX_MACHINES: usize = 256;
/// Cells of all machines, each two bytes.
pub const MAX_CELLS: usize = 1 << 19;
/// Bytes of each of the known texts, at most; about a longer one nothing is decided.
pub const TEXT_BYTES: [usize; 2] = [1024, 4096];
/// Bytes of [`Verdicts::to_bytes`].
pub const TABLE_BYTES: usize =
    HEADER + MAX_BRANCHES * BRANCH + MAX_MACHINES * (MACHINE + CHARS) + MAX_CELLS * 2;

const HEADER: usize = 8;
const BRANCH: usize = 8;
const MACHINE: usize = 8;

/// Where a branch leads: to another one, or to one of these. With this bit, to the rule of the number beside it.
pub(super) const KILL: u16 = 0x8000;
/// No rule.
pub(super) const NONE: u16 = 0xffff;
/// No rule, and no other is to be asked.
pub(super) const SPARED: u16 = 0xfffe;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Branch {
    pub machine: u16,
    pub yes: u16,
    pub no: u16,
}

/// What the tables say of an event.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// The rule of this number matches.
    Matches(usize),
    /// None of the rules that are decided as a whole does.
    Nothing,
    /// Nothing is decided.
    Silent,
}

/// Rules as tables.
#[derive(Clone, Debug)]
pub struct Verdicts {
    /// Each with the known field that it reads.
    pub(super) machines: Vec<(u8, Machine)>,
    pub(super) branches: Vec<Branch>,
    /// Of the rules that need the first text only, and of the others.
    pub(super) entries: [u16; 2],
}

impl Verdicts {
    /// True if no rule is decided.
    pub fn is_empty(&self) -> bool {
        self.branches.iter().all(|branch| [branch.yes, branch.no].iter().all(|to| !is_rule(*to)))
    }

    /// How full the tables are: branches, machines, cells.
    pub fn used(&self) -> [usize; 3] {
        [self.branches.len(), self.machines.len(), self.machines.iter().map(|(_, m)| m.cells()).sum()]
    }

    /// What is decided about an event with these texts, in the order of the known fields; without the second one, by the
    /// first alone. In a text a NUL stands for a space.
    pub fn decide(&self, texts: &[&[u8]]) -> Verdict {
        let fits = |at: usize| {
            texts
                .get(at)
                .is_some_and(|text| !text.is_empty() && text.len() <= TEXT_BYTES[at] && text.is_ascii())
        };
        if !fits(0) {
            return Verdict::Silent;
        }
        let to = self.follow(self.entries[0], texts);
        match to {
            NONE if self.entries[1] != NONE && !fits(1) => Verdict::Silent,
            NONE => told(self.follow(self.entries[1], texts)),
            to => told(to),
        }
    }

    fn follow(&self, mut at: u16, texts: &[&[u8]]) -> u16 {
        while let Some(branch) = self.branches.get(usize::from(at)) {
            let (field, machine) = &self.machines[usize::from(branch.machine)];
            let text = texts.get(usize::from(*field)).copied().unwrap_or_default();
            at = if machine.passes(text) { branch.yes } else { branch.no };
        }
        at
    }

    /// The tables as a program in a kernel reads them, [`TABLE_BYTES`] in the machine's own byte order: where the two
    /// lists of branches begin; the branches (machine, yes, no); the machines (first cell, cells of a row, field); the
    /// classes of each machine; the cells.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(TABLE_BYTES);
        for entry in self.entries {
            out.extend(entry.to_ne_bytes());
        }
        out.resize(HEADER, 0);
        for branch in &self.branches {
            for part in [branch.machine, branch.yes, branch.no, 0] {
                out.extend(part.to_ne_bytes());
            }
        }
        out.resize(HEADER + MAX_BRANCHES * BRANCH, 0);
        let machines_end = out.len() + MAX_MACHINES * MACHINE;
        let mut first = 0u32;
        for (field, machine) in &self.machines {
            out.extend(first.to_ne_bytes());
            out.extend((machine.rows.first().map_or(0, Vec::len) as u16).to_ne_bytes());
            out.extend([*field, 0]);
            first += machine.cells() as u32;
        }
        out.resize(machines_end, 0);
        for (_, machine) in &self.machines {
            out.extend(machine.classes);
        }
        out.resize(machines_end + MAX_MACHINES * CHARS, 0);
        for cell in self.machines.iter().flat_map(|(_, machine)| machine.rows.iter().flatten()) {
            out.extend(cell.to_ne_bytes());
        }
        out.resize(TABLE_BYTES, 0);
        out
    }
}

fn told(to: u16) -> Verdict {
    match to {
        SPARED => Verdict::Silent,
        to if is_rule(to) => Verdict::Matches(usize::from(to & !KILL)),
        _ => Verdict::Nothing,
    }
}

fn is_rule(to: u16) -> bool {
    to & KILL != 0 && to != NONE && to != SPARED
}
