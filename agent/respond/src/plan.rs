//! The plan of a kill: which of the processes offered to it die, and in which order. Pure.

use std::collections::{HashMap, HashSet};

use crate::kill::Victim;
use crate::protect::{Protected, Shield};

/// A process, as the kernel described it while a pidfd held it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// Its pid.
    pub pid: u32,
    /// Its start in clock ticks since boot.
    pub start_ticks: u64,
    /// Its parent's pid.
    pub ppid: u32,
    /// True if it was stopped already, by whomever.
    pub stopped: bool,
    /// True for the kernel's own threads.
    pub kernel_thread: bool,
    /// Its short name, which it can choose itself.
    pub name: String,
    /// Its executable; none if the kernel shows none.
    pub exe: Option<Exe>,
}

/// What a process runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exe {
    /// The path.
    pub path: String,
    /// True if the file at this path, as the agent sees it, is the one that runs.
    pub genuine: bool,
}

impl Facts {
    /// How reports name it.
    pub fn victim(&self) -> Victim {
        let image = self.exe.as_ref().map_or_else(|| format!("[{}]", self.name), |exe| exe.path.clone());
        Victim { pid: self.pid, start_ticks: self.start_ticks, image }
    }
}

/// What is to be done with a process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Stop it, look for its children, kill it.
    Kill,
    /// Leave it alone, but look for its children.
    Spare(Shield),
    /// It is in the plan already.
    Known,
}

/// The tree to be killed, as far as it is known.
pub struct Plan<'a> {
    protected: &'a Protected,
    known: HashSet<(u32, u64)>,
}

impl<'a> Plan<'a> {
    /// Nothing is planned yet.
    pub fn new(protected: &'a Protected) -> Self {
        Self { protected, known: HashSet::new() }
    }

    /// Decides about one more process.
    pub fn offer(&mut self, facts: &Facts) -> Verdict {
        if !self.known.insert((facts.pid, facts.start_ticks)) {
            return Verdict::Known;
        }
        self.protected.shield(facts).map_or(Verdict::Kill, Verdict::Spare)
    }
}

/// The order of the kill, as indices into `parents` (pairs of pid and parent's pid): children before parents,
/// otherwise as given.
///
/// The order matters. When a process dies and leaves a process group without a parent outside it, the kernel
/// sends SIGHUP and **SIGCONT** to the stopped members of that group (POSIX, "orphaned process group"): killing a
/// parent first would set its stopped children free to run and fork. When every process is killed only after all
/// below it were, whatever SIGCONT wakes already has a SIGKILL pending.
pub fn kill_order(parents: &[(u32, u32)]) -> Vec<usize> {
    let index: HashMap<u32, usize> = parents.iter().enumerate().map(|(i, (pid, _))| (*pid, i)).collect();
    let depth = |mut i: usize| {
        // A chain is never longer than the list; the bound keeps facts that contradict each other from looping.
        let mut depth = 0;
        while let Some(up) = index.get(&parents[i].1) {
            if depth == parents.len() {
                break;
            }
            (i, depth) = (*up, depth + 1);
        }
        depth
    };
    let mut order: Vec<(usize, usize)> = (0..parents.len()).map(|i| (depth(i), i)).collect();
    order.sort_by_key(|(depth, i)| (std::cmp::Reverse(*depth), *i));
    order.into_iter().map(|(_, i)| i).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_process_is_decided_once_and_a_reused_pid_is_another() {
        let protected = Protected::default();
        let mut plan = Plan::new(&protected);
        let facts = Facts { pid: 9, start_ticks: 5, ppid: 4, ..Facts::default() };
        assert_eq!(plan.offer(&facts), Verdict::Kill);
        assert_eq!(plan.offer(&facts), Verdict::Known);
        assert_eq!(plan.offer(&Facts { start_ticks: 6, ..facts }), Verdict::Kill);
        assert_eq!(plan.offer(&Facts { pid: 1, ..Facts::default() }), Verdict::Spare(Shield::Init));
    }

    proptest! {
        /// Any forest, in any order of discovery.
        #[test]
        fn every_child_is_killed_before_its_parent(picks in proptest::collection::vec(any::<u32>(), 1..60), turn: usize) {
            let mut list: Vec<(u32, u32)> = picks
                .iter()
                .enumerate()
                .map(|(i, pick)| (100 + i as u32, if i == 0 { 1 } else { 100 + pick % (i as u32) }))
                .collect();
            let by = turn % list.len();
            list.rotate_left(by);
            let order = kill_order(&list);
            let mut sorted = order.clone();
            sorted.sort_unstable();
            prop_assert_eq!(sorted, (0..list.len()).collect::<Vec<_>>());
            let at: HashMap<u32, usize> = order.iter().enumerate().map(|(at, i)| (list[*i].0, at)).collect();
            for (pid, parent) in &list {
                if let Some(parent_at) = at.get(parent) {
                    prop_assert!(at[pid] < *parent_at, "{} dies before its child {}", parent, pid);
                }
            }
        }

        #[test]
        fn facts_that_contradict_each_other_do_not_loop(list in proptest::collection::vec((0u32..8, 0u32..8), 0..20)) {
            prop_assert_eq!(kill_order(&list).len(), list.len());
        }
    }
}
