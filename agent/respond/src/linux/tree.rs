//! A process tree that stands still: found, stopped, and set free again if nothing else becomes of it.

use std::collections::HashMap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::process::Signal;

use super::cgroup::Cage;
use super::hold::{identify, is_dead, open, os};
use super::kill::Way;
use super::procfs::{self, Children, ChildrenSource};
use crate::kill::{FreezeReport, KillError, KillReport, Means, Victim};
use crate::plan::{Facts, Plan, Verdict};
use crate::protect::Protected;

/// A process in the tree, held by its pidfd.
pub(super) struct Member {
    pub fd: OwnedFd,
    pub facts: Facts,
    /// It is in the cage: nothing but SIGKILL moves it.
    caged: bool,
    /// It stood still when its children were last read.
    settled: bool,
    pub order: Order,
    pub dead: bool,
}

/// What came of the order to kill.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
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
    pub(super) plan: Plan<'a>,
    pub(super) protected: &'a Protected,
    pub(super) way: &'a Way,
    pub(super) cage: Option<Cage>,
    pub(super) members: Vec<Member>,
    /// Where in `members` a pid stands.
    pub(super) pids: HashMap<u32, usize>,
    /// Protected processes in the tree: left alone, but what is below them is not.
    pub(super) spared: Vec<Member>,
    pub(super) report: KillReport,
    pub(super) began: Instant,
    pub(super) has_root: bool,
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

    /// Lets everybody go on.
    pub fn thaw(self) {}

    /// Everybody who stands still and lives.
    pub(super) fn living(&self) -> impl Iterator<Item = (u32, BorrowedFd<'_>)> {
        self.members.iter().filter(|m| !is_dead(&m.fd)).map(|m| (m.facts.pid, m.fd.as_fd()))
    }

    /// Stops the target. Until this has succeeded nothing has been done, so its errors end the hunt.
    pub(super) fn stop_first(&mut self, fd: OwnedFd, facts: Facts) -> Result<(), KillError> {
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
    pub(super) fn secure(&mut self, deadline: Instant) {
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
    pub(super) fn admit(&mut self, fd: OwnedFd, facts: Facts) {
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

    pub(super) fn refuse(&mut self, victim: Victim, error: &KillError) {
        let why = match error {
            KillError::Os { doing, source, .. } => format!("{doing} failed: {source}"),
            other => other.to_string(),
        };
        self.report.refused.push((victim, why));
        self.report.complete = false;
    }

    /// Walks and stops until a whole pass finds everyone still and nothing new, or time is up.
    pub(super) fn settle(&mut self, deadline: Instant) {
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
    pub(super) fn admit_caged(&mut self) {
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
    pub(super) fn look(&mut self) -> Option<Children> {
        let children = Children::look(self.way.source).ok();
        self.report.complete &= children.is_some();
        children
    }

    /// Finds the children of a member (or of a spared process), stops and admits each that is proven to be one.
    /// False if they could not be read.
    pub(super) fn admit_children(&mut self, children: Option<&Children>, spared: bool, index: usize) -> bool {
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
}

impl Drop for FrozenTree<'_> {
    /// Who was stopped by a signal is woken by one; the cage opens by itself.
    fn drop(&mut self) {
        for member in self.members.iter().filter(|m| !m.caged && !m.facts.stopped && m.order == Order::None) {
            let _ = rustix::process::pidfd_send_signal(&member.fd, Signal::CONT);
        }
    }
}

pub(super) fn unseen(pid: u32, start_ticks: u64) -> Victim {
    Victim { pid, start_ticks, image: "[unknown]".into() }
}
