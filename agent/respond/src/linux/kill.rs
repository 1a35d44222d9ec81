//! Stops a process and everything below it, then kills it or lets it go.
//!
//! The order, and why:
//! 1. **Prove, then stop the target.** A pidfd is opened first and the start time compared after: from then on the
//!    fd cannot come to mean another process. It is stopped and not killed, because its death would hand its children
//!    to pid 1, and they would be nobody's.
//! 2. **Walk and stop until a whole pass finds everyone still and nothing new.** A tree that has a cgroup of its own is
//!    frozen there by one write, children and orphans that no walk would find among it. Any other is stopped by
//!    SIGSTOP, and stillness is read before the children are: a fork in between cannot be missed.
//! 3. **Kill children before parents** (see [`kill_order`]), and look once more at who came after: this catches what
//!    slipped past a process that would not stop.
//! 4. **Wait for every pidfd to say "dead".** States in `/proc` do not prove death: a process whose first thread
//!    has ended shows as a zombie while its other threads go on.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use wardline_event::{BootId, ProcessKey};

use super::cgroup::Freezer;
use super::hold::{Hurry, hold};
use super::procfs::ChildrenSource;
pub use super::tree::FrozenTree;
use super::tree::unseen;
use crate::kill::{KillError, KillReport, Means};
use crate::plan::{Plan, Verdict};
use crate::protect::Protected;

/// How long each phase may take.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Until everyone stands still; after it, what is known is killed as it is.
    pub settle: Duration,
    /// Until everyone is dead.
    pub death: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { settle: Duration::from_secs(2), death: Duration::from_secs(2) }
    }
}

/// What this kernel offers, and how long each phase may take.
#[derive(Clone, Debug)]
pub struct Way {
    /// Where to look for children.
    pub source: ChildrenSource,
    /// What stops a tree; an error says in words why there is none, and SIGSTOP must do.
    pub freezer: Result<Freezer, String>,
    /// The limits.
    pub limits: Limits,
}

impl Way {
    /// The best that this kernel has.
    pub fn detect() -> Self {
        Self { source: ChildrenSource::detect(), freezer: Freezer::detect(), limits: Limits::default() }
    }
}

/// Kills `target`, what lives below it, and `extra` with what lives below those.
///
/// `boot` is the running kernel's; keys of another boot name processes that are gone. See [`crate::Responder`].
pub fn kill_tree(
    target: &ProcessKey,
    extra: &[ProcessKey],
    boot: BootId,
    protected: &Protected,
    way: &Way,
) -> Result<KillReport, KillError> {
    Ok(stop_tree(target, extra, boot, protected, way)?.kill())
}

/// Stops the same processes that [`kill_tree`] kills, until it is decided what becomes of them.
///
/// Those that a signal stopped are moved into a frozen cgroup, so that no signal of others sets them free. That is done
/// last, because each move waits for the kernel: milliseconds, on a machine where much is forked.
pub fn freeze_tree<'a>(
    target: &ProcessKey,
    extra: &[ProcessKey],
    boot: BootId,
    protected: &'a Protected,
    way: &'a Way,
) -> Result<FrozenTree<'a>, KillError> {
    let mut tree = stop_tree(target, extra, boot, protected, way)?;
    tree.secure(Instant::now() + way.limits.settle);
    Ok(tree)
}

/// Stops the same processes that [`kill_tree`] kills, for a moment.
pub fn stop_tree<'a>(
    target: &ProcessKey,
    extra: &[ProcessKey],
    boot: BootId,
    protected: &'a Protected,
    way: &'a Way,
) -> Result<FrozenTree<'a>, KillError> {
    let began = Instant::now();
    let _hurry = Hurry::begin();
    let root = hold(target, boot, protected)?;
    let has_root = root.is_some();
    let mut plan = Plan::new(protected);
    let mut cage = None;
    if let Some((_, facts)) = &root {
        if let Verdict::Spare(shield) = plan.offer(facts) {
            return Err(KillError::Protected { victim: facts.victim(), shield });
        }
        let others: Vec<ProcessKey> = protected.agent.iter().chain(&protected.ancestors).copied().collect();
        cage = way.freezer.as_ref().ok().map(|freezer| freezer.cage(facts, &others));
    } else if let Ok(freezer) = &way.freezer {
        cage = Some(freezer.empty_cage());
    }
    let means = match (&way.freezer, &cage) {
        (Ok(_), Some(cage)) if cage.is_own() => Means::OwnCgroup,
        (Ok(_), _) => Means::Signals { why: "the tree shares its cgroup with others".to_owned() },
        (Err(why), _) => Means::Signals { why: why.clone() },
    };
    let mut tree = FrozenTree {
        plan,
        protected,
        way,
        cage,
        members: Vec::new(),
        pids: HashMap::new(),
        spared: Vec::new(),
        report: KillReport { complete: true, means: Some(means), ..KillReport::default() },
        began,
        has_root,
    };
    if let Some((fd, facts)) = root {
        tree.stop_first(fd, facts)?;
    }
    for key in extra {
        match hold(key, boot, protected) {
            Ok(Some((fd, facts))) => tree.admit(fd, facts),
            Ok(None) => {}
            Err(e) => tree.refuse(unseen(key.pid, key.start_ticks), &e),
        }
    }
    if !has_root && tree.members.is_empty() && tree.report.refused.is_empty() {
        return Err(KillError::Gone(*target));
    }
    let deadline = began + way.limits.settle;
    if let Some(cage) = tree.cage.as_ref().filter(|cage| cage.is_own()) {
        if cage.still_at().is_none() {
            cage.wait(deadline);
        }
        let still_at = cage.still_at().unwrap_or_else(Instant::now);
        tree.report.still_after = Some(still_at.saturating_duration_since(began));
    }
    tree.settle(deadline);
    tree.report.still_after.get_or_insert(began.elapsed());
    Ok(tree)
}
