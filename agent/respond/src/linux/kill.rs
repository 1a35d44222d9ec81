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
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags};
use rustix::io::Errno;
use rustix::process::Signal;
use wardline_event::{BootId, ProcessKey};

use super::cgroup::{Cage, Freezer};
use super::hold::{Hurry, hold, identify, is_dead, open, os, timespec};
use super::procfs::{self, Children, ChildrenSource};
use crate::kill::{FreezeReport, KillError, KillReport, Means, Victim};
use crate::plan::{Facts, Plan, Verdict, kill_order};
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
        cage.wait(deadline);
        tree.report.still_after = Some(began.elapsed());
    }
    tree.settle(deadline);
    tree.report.still_after.get_or_insert(began.elapsed());
    Ok(tree)
}

/// A process in the tree, held by its pidfd.
struct Member {
    fd: OwnedFd,
    facts: Facts,
    /// It is in the cage: nothing but SIGKILL moves it.
    caged: bool,
    /// It stood still when its children were last read.
    settled: bool,
    order: Order,
    dead: bool,
}

/// What came of the order to kill.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Order {
    /// Not given, or given to a process that had just ended.
    None,
    /// The process lived when the kernel took SIGKILL for it.
    Taken,
    /// The kernel would not let us; it is in the report already.
    Refused,
}

impl Member {
    fn new(fd: OwnedFd, facts: Facts) -> Self {
        Self { fd, facts, caged: false, settled: false, order: Order::None, dead: false }
    }
}

/// A tree that stands still. Dropped, it goes on as if nothing had been.
pub struct FrozenTree<'a> {
    plan: Plan<'a>,
    protected: &'a Protected,
    way: &'a Way,
    cage: Option<Cage>,
    members: Vec<Member>,
    /// Where in `members` a pid stands.
    pids: HashMap<u32, usize>,
    /// Protected processes in the tree: left alone, but what is below them is not.
    spared: Vec<Member>,
    report: KillReport,
    began: Instant,
    has_root: bool,
}

impl FrozenTree<'_> {
    /// Who stands still, and how long it took.
    pub fn report(&self) -> FreezeReport {
        FreezeReport {
            frozen: self.members.iter().filter(|m| !is_dead(&m.fd)).map(|m| m.facts.victim()).collect(),
            refused: self.report.refused.clone(),
            complete: self.report.complete,
            means: self.report.means.clone(),
            took: self.report.still_after.unwrap_or_default(),
        }
    }

    /// Kills what stands still.
    pub fn kill(mut self) -> KillReport {
        let _hurry = Hurry::begin();
        self.kill_all();
        self.confirm();
        std::mem::take(&mut self.report)
    }

    /// Lets everybody go on.
    pub fn thaw(self) {}

    /// Stops the target. Until this has succeeded nothing has been done, so its errors end the hunt.
    fn stop_first(&mut self, fd: OwnedFd, facts: Facts) -> Result<(), KillError> {
        let mut member = Member::new(fd, facts);
        match self.stop(&mut member) {
            // Just ended: its children, if any, are known to `extra` only.
            Ok(()) | Err(Errno::SRCH) => {}
            Err(Errno::PERM) => return Err(KillError::NotPermitted(member.facts.victim())),
            Err(e) => return Err(os("stopping the process", member.facts.pid, e.into())),
        }
        self.join(member);
        Ok(())
    }

    /// Stops a process by a signal, unless it stands in the tree's own cgroup, which is frozen.
    fn stop(&self, member: &mut Member) -> Result<(), Errno> {
        let pid = member.facts.pid;
        if self.cage.as_ref().is_some_and(|cage| cage.is_own() && cage.holds(pid)) {
            member.caged = true;
            return Ok(());
        }
        rustix::process::pidfd_send_signal(&member.fd, Signal::STOP)
    }

    /// Moves those whom a signal stopped into the cage, as many as there is time for.
    fn secure(&mut self, deadline: Instant) {
        let Some(cage) = &mut self.cage else { return };
        let mut all = true;
        for member in self.members.iter_mut().filter(|m| !m.caged && !is_dead(&m.fd)) {
            let pid = member.facts.pid;
            let moved = Instant::now() < deadline && cage.take(pid).is_ok();
            if moved && is_dead(&member.fd) {
                // It may have been another that was moved.
                cage.give_back(pid);
                continue;
            }
            member.caged = moved;
            all &= moved;
        }
        cage.wait(deadline);
        if all && cage.is_still() && self.report.means != Some(Means::OwnCgroup) {
            self.report.means = Some(Means::MovedToCgroup);
        }
        // Now nothing of it depends on a signal any more, which somebody else might take back.
        for member in self.members.iter().filter(|m| m.caged && !m.facts.stopped) {
            let _ = rustix::process::pidfd_send_signal(&member.fd, Signal::CONT);
        }
    }

    fn join(&mut self, member: Member) {
        self.pids.insert(member.facts.pid, self.members.len());
        self.members.push(member);
    }

    /// Takes one more process into the tree and stops it, unless it is protected or known.
    fn admit(&mut self, fd: OwnedFd, facts: Facts) {
        let mut member = Member::new(fd, facts);
        match self.plan.offer(&member.facts) {
            Verdict::Known => {}
            Verdict::Spare(shield) => {
                self.report.refused.push((member.facts.victim(), shield.to_string()));
                self.spared.push(member);
            }
            Verdict::Kill => {
                // A refusal shows again, and is reported, when it comes to the kill.
                let _ = self.stop(&mut member);
                self.join(member);
            }
        }
    }

    fn refuse(&mut self, victim: Victim, error: &KillError) {
        let why = match error {
            KillError::Os { doing, source, .. } => format!("{doing} failed: {source}"),
            other => other.to_string(),
        };
        self.report.refused.push((victim, why));
        self.report.complete = false;
    }

    /// Walks and stops until a whole pass finds everyone still and nothing new, or time is up.
    fn settle(&mut self, deadline: Instant) {
        // A member that stood still when its children were read has no more of them. Nevertheless, once all have
        // been found so, everyone is asked a second time: the kernel's list of children can skip one when another
        // on it ends during the reading, and somebody outside may have sent SIGCONT. A process alone has no list
        // to skip on.
        let mut second_time = false;
        loop {
            let before = self.members.len() + self.spared.len();
            // Asked before it is looked who is in it: what stands still bears nobody.
            let cage_is_still = self.cage.as_ref().is_none_or(Cage::is_still);
            let children = self.look();
            let mut still = children.is_some() && cage_is_still;
            let mut i = 0;
            while i < self.members.len() {
                let member = &mut self.members[i];
                if second_time || !member.settled {
                    // Stillness is read before the children are, so that no fork can come in between. A scan was
                    // taken before: it counts for those alone who stood still in the pass before this one.
                    let was_settled = member.settled;
                    let now_still = member.caged
                        || is_dead(&member.fd)
                        || procfs::stands_still(member.facts.pid).unwrap_or(false);
                    member.settled = now_still;
                    still &= now_still && (was_settled || self.way.source == ChildrenSource::Lists);
                    still &= self.admit_children(children.as_ref(), false, i);
                }
                i += 1;
            }
            for i in 0..self.spared.len() {
                still &= self.admit_children(children.as_ref(), true, i);
            }
            self.admit_caged();
            let grew = self.members.len() + self.spared.len() > before;
            if still && !grew {
                if second_time || before == 1 && self.way.source == ChildrenSource::Lists {
                    return;
                }
                second_time = true;
                continue;
            }
            second_time = false;
            if Instant::now() >= deadline {
                self.report.complete = false;
                return;
            }
            if !grew {
                // Sleep rather than yield: an agent with real-time priority would yield to nobody.
                std::thread::sleep(Duration::from_micros(20));
            }
        }
    }

    /// Admits whoever is in the cage and was not found as somebody's child: orphans, and those born in it.
    fn admit_caged(&mut self) {
        let Some(cage) = &self.cage else { return };
        for pid in cage.processes() {
            if self.pids.get(&pid).is_some_and(|i| !is_dead(&self.members[*i].fd)) {
                continue;
            }
            let held = open(pid).and_then(|fd| fd.map_or(Ok(None), |fd| identify(fd, pid, self.protected)));
            match held {
                // Proven: what the pidfd holds is in the cage, and lives after that was read.
                Ok(Some((fd, facts)))
                    if self.cage.as_ref().is_some_and(|cage| cage.holds(pid)) && !is_dead(&fd) =>
                {
                    self.admit(fd, facts);
                }
                Ok(_) => {}
                Err(e) => self.refuse_unseen(pid, &e),
            }
        }
    }

    /// Begins to look for children. What cannot be read makes the report incomplete.
    fn look(&mut self) -> Option<Children> {
        let children = Children::look(self.way.source).ok();
        self.report.complete &= children.is_some();
        children
    }

    /// Finds the children of a member (or of a spared process), stops and admits each that is proven to be one.
    /// False if they could not be read.
    fn admit_children(&mut self, children: Option<&Children>, spared: bool, index: usize) -> bool {
        let list = if spared { &self.spared } else { &self.members };
        let parent = list[index].facts.pid;
        let Some(Ok(pids)) = children.map(|c| c.of(parent)) else { return false };
        for pid in pids {
            // A pid is not used again while its process lives.
            if self.pids.get(&pid).is_some_and(|i| !is_dead(&self.members[*i].fd)) {
                continue;
            }
            let held = match open(pid) {
                Ok(Some(fd)) => identify(fd, pid, self.protected),
                Ok(None) => continue,
                Err(e) => Err(e),
            };
            let list = if spared { &self.spared } else { &self.members };
            match held {
                // Proven: the child lives and names this parent, and the parent lives too, so that its pid is
                // still its own.
                Ok(Some((fd, facts))) if facts.ppid == parent && !is_dead(&list[index].fd) => {
                    self.admit(fd, facts);
                }
                Ok(_) => {}
                Err(e) => self.refuse_unseen(pid, &e),
            }
        }
        true
    }

    fn refuse_unseen(&mut self, pid: u32, error: &KillError) {
        let victim = unseen(pid, 0);
        if !self.report.refused.iter().any(|(v, _)| *v == victim) {
            self.refuse(victim, error);
        }
    }

    /// Sends SIGKILL, children before parents.
    fn kill_all(&mut self) {
        let parents: Vec<(u32, u32)> = self.members.iter().map(|m| (m.facts.pid, m.facts.ppid)).collect();
        for index in kill_order(&parents) {
            self.kill_one(index);
        }
        // After SIGKILL no fork completes. Members that were not still before may have left children, which are
        // still theirs until they have died.
        let mut next = self.members.len();
        let children = self.look();
        for index in 0..next {
            if !is_dead(&self.members[index].fd) {
                self.admit_children(children.as_ref(), false, index);
            }
        }
        self.admit_caged();
        while next < self.members.len() {
            let children = self.look();
            self.admit_children(children.as_ref(), false, next);
            self.kill_one(next);
            next += 1;
        }
    }

    fn kill_one(&mut self, index: usize) {
        let member = &mut self.members[index];
        // The kernel takes a signal for a zombie too; that kills nobody.
        let lived = !is_dead(&member.fd);
        match rustix::process::pidfd_send_signal(&member.fd, Signal::KILL) {
            Ok(()) if lived => member.order = Order::Taken,
            Ok(()) | Err(Errno::SRCH) => {}
            Err(e) => {
                member.order = Order::Refused;
                let victim = member.facts.victim();
                let error = match e {
                    Errno::PERM => KillError::NotPermitted(victim.clone()),
                    e => os("killing the process", victim.pid, e.into()),
                };
                self.refuse(victim, &error);
            }
        }
    }

    /// Waits until every member is dead or time is up, and writes the report.
    fn confirm(&mut self) {
        let deadline = Instant::now() + self.way.limits.death;
        loop {
            let waits = |m: &Member| !m.dead && m.order != Order::Refused;
            let alive: Vec<usize> = (0..self.members.len()).filter(|i| waits(&self.members[*i])).collect();
            let left = deadline.saturating_duration_since(Instant::now());
            if alive.is_empty() || left.is_zero() {
                break;
            }
            let mut fds: Vec<PollFd<'_>> =
                alive.iter().map(|i| PollFd::new(&self.members[*i].fd, PollFlags::IN)).collect();
            // An interrupted wait is simply taken up again.
            let _ = rustix::event::poll(&mut fds, Some(&timespec(left)));
            let dead: Vec<bool> = fds.iter().map(|fd| !fd.revents().is_empty()).collect();
            for (i, dead) in alive.iter().zip(dead) {
                self.members[*i].dead = dead;
                if dead && self.has_root && *i == 0 {
                    self.report.target_dead_after = Some(self.began.elapsed());
                }
            }
        }
        for member in &self.members {
            let victim = member.facts.victim();
            match (member.order, member.dead) {
                (Order::Refused, _) => {}
                (_, false) => self.report.survivors.push(victim),
                (Order::Taken, true) => self.report.killed.push(victim),
                (Order::None, true) => self.report.ended.push(victim),
            }
        }
        self.report.took = self.began.elapsed();
    }
}

impl Drop for FrozenTree<'_> {
    /// Who was stopped by a signal is woken by one; the cage opens by itself.
    fn drop(&mut self) {
        for member in self.members.iter().filter(|m| !m.caged && !m.facts.stopped && m.order == Order::None) {
            let _ = rustix::process::pidfd_send_signal(&member.fd, Signal::CONT);
        }
    }
}

fn unseen(pid: u32, start_ticks: u64) -> Victim {
    Victim { pid, start_ticks, image: "[unknown]".into() }
}
