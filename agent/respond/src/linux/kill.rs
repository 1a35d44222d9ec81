//! Kills a process and everything below it through pidfds.
//!
//! The order, and why:
//! 1. **Prove, then stop the target.** A pidfd is opened first and the start time compared after: from then on the
//!    fd cannot come to mean another process. SIGSTOP ends its work exactly as soon as SIGKILL would (both act on
//!    its way back to user mode), but it leaves its children where they can be found. Killed at once, it would
//!    hand them to pid 1, and they would be nobody's.
//! 2. **Walk and stop until a whole pass finds everyone still and nothing new.** What stands still cannot fork, so
//!    the tree is then complete. Stillness is read before the children are: a fork in between cannot be missed.
//! 3. **Kill children before parents** (see [`kill_order`]), and look once more at the children of each after its
//!    SIGKILL, which no fork in progress survives: this catches what slipped past a process that would not stop.
//! 4. **Wait for every pidfd to say "dead".** States in `/proc` do not prove death: a process whose first thread
//!    has ended shows as a zombie while its other threads go on.

use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Resource, Rlimit, Signal};
use wardline_event::{BootId, ProcessKey};

use super::procfs::{self, Children, ChildrenSource, Stat};
use crate::kill::{KillError, KillReport, Victim};
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
        Self { settle: Duration::from_millis(500), death: Duration::from_secs(2) }
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
    source: ChildrenSource,
    limits: Limits,
) -> Result<KillReport, KillError> {
    let began = Instant::now();
    let mut hunt = Hunt {
        plan: Plan::new(protected),
        protected,
        source,
        members: Vec::new(),
        pids: HashMap::new(),
        spared: Vec::new(),
        report: KillReport { complete: true, ..KillReport::default() },
    };

    let root = hold(target, boot, protected)?;
    let has_root = root.is_some();
    if let Some((fd, facts)) = root {
        if let Verdict::Spare(shield) = hunt.plan.offer(&facts) {
            return Err(KillError::Protected { victim: facts.victim(), shield });
        }
        hunt.stop_first(fd, facts)?;
    }
    for key in extra {
        match hold(key, boot, protected) {
            Ok(Some((fd, facts))) => hunt.admit(fd, facts),
            Ok(None) => {}
            Err(e) => hunt.refuse(unseen(key.pid, key.start_ticks), &e),
        }
    }
    if !has_root && hunt.members.is_empty() && hunt.report.refused.is_empty() {
        return Err(KillError::Gone(*target));
    }

    hunt.settle(began + limits.settle);
    hunt.kill();
    hunt.confirm(began, limits.death, has_root);
    Ok(hunt.report)
}

/// A process in the tree, held by its pidfd.
struct Member {
    fd: OwnedFd,
    facts: Facts,
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
        Self { fd, facts, settled: false, order: Order::None, dead: false }
    }
}

struct Hunt<'a> {
    plan: Plan<'a>,
    protected: &'a Protected,
    source: ChildrenSource,
    members: Vec<Member>,
    /// Where in `members` a pid stands.
    pids: HashMap<u32, usize>,
    /// Protected processes in the tree: left alone, but what is below them is not.
    spared: Vec<Member>,
    report: KillReport,
}

impl Hunt<'_> {
    /// Stops the target. Until this has succeeded nothing has been done, so its errors end the hunt.
    fn stop_first(&mut self, fd: OwnedFd, facts: Facts) -> Result<(), KillError> {
        match rustix::process::pidfd_send_signal(&fd, Signal::STOP) {
            // Just ended: its children, if any, are known to `extra` only.
            Ok(()) | Err(Errno::SRCH) => {}
            Err(Errno::PERM) => return Err(KillError::NotPermitted(facts.victim())),
            Err(e) => return Err(os("stopping the process", facts.pid, e.into())),
        }
        self.join(Member::new(fd, facts));
        Ok(())
    }

    fn join(&mut self, member: Member) {
        self.pids.insert(member.facts.pid, self.members.len());
        self.members.push(member);
    }

    /// Takes one more process into the tree and stops it, unless it is protected or known.
    fn admit(&mut self, fd: OwnedFd, facts: Facts) {
        let member = Member::new(fd, facts);
        match self.plan.offer(&member.facts) {
            Verdict::Known => {}
            Verdict::Spare(shield) => {
                self.report.refused.push((member.facts.victim(), shield.to_string()));
                self.spared.push(member);
            }
            Verdict::Kill => {
                // A refusal shows again, and is reported, when it comes to the kill.
                let _ = rustix::process::pidfd_send_signal(&member.fd, Signal::STOP);
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
            let children = self.look();
            let mut still = children.is_some();
            let mut i = 0;
            while i < self.members.len() {
                let member = &mut self.members[i];
                if second_time || !member.settled {
                    // Stillness is read before the children are, so that no fork can come in between. A scan was
                    // taken before: it counts for those alone who stood still in the pass before this one.
                    let was_settled = member.settled;
                    let now_still =
                        is_dead(&member.fd) || procfs::stands_still(member.facts.pid).unwrap_or(false);
                    member.settled = now_still;
                    still &= now_still && (was_settled || self.source == ChildrenSource::Lists);
                    still &= self.admit_children(children.as_ref(), false, i);
                }
                i += 1;
            }
            for i in 0..self.spared.len() {
                still &= self.admit_children(children.as_ref(), true, i);
            }
            let grew = self.members.len() + self.spared.len() > before;
            if still && !grew {
                if second_time || before == 1 && self.source == ChildrenSource::Lists {
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

    /// Begins to look for children. What cannot be read makes the report incomplete.
    fn look(&mut self) -> Option<Children> {
        let children = Children::look(self.source).ok();
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
                Err(e) => {
                    let victim = unseen(pid, 0);
                    if !self.report.refused.iter().any(|(v, _)| *v == victim) {
                        self.refuse(victim, &e);
                    }
                }
            }
        }
        true
    }

    /// Sends SIGKILL, children before parents.
    fn kill(&mut self) {
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
    fn confirm(&mut self, began: Instant, limit: Duration, has_root: bool) {
        let deadline = Instant::now() + limit;
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
                if dead && has_root && *i == 0 {
                    self.report.target_dead_after = Some(began.elapsed());
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
        self.report.took = began.elapsed();
    }
}

/// Opens a process and proves that it is the one that `key` names; none if that one is gone.
fn hold(
    key: &ProcessKey,
    boot: BootId,
    protected: &Protected,
) -> Result<Option<(OwnedFd, Facts)>, KillError> {
    if key.boot != boot {
        return Ok(None);
    }
    let Some(fd) = open(key.pid)? else { return Ok(None) };
    Ok(identify(fd, key.pid, protected)?.filter(|(_, facts)| facts.start_ticks == key.start_ticks))
}

/// A pidfd; none if there is no such process, or the number is that of a thread.
fn open(pid: u32) -> Result<Option<OwnedFd>, KillError> {
    let Some(id) = i32::try_from(pid).ok().and_then(Pid::from_raw) else { return Ok(None) };
    match rustix::process::pidfd_open(id, PidfdFlags::empty()) {
        Ok(fd) => Ok(Some(fd)),
        Err(Errno::SRCH | Errno::INVAL | Errno::NOENT) => Ok(None),
        Err(Errno::NOSYS) => Err(KillError::NoPidfd),
        Err(e) => Err(os("opening a pidfd", pid, e.into())),
    }
}

/// Raises the number of files that this process may have open as far as it may: killing a tree takes a pidfd for each
/// of its processes, and the usual limit is 1,024. Without effect where it may not.
pub fn raise_file_limit() {
    let limit = rustix::process::getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    let _ = rustix::process::setrlimit(Resource::Nofile, raised);
}

/// Reads who a process is while `fd` holds it; none if it is dead, in which case what was read may be another's.
fn identify(fd: OwnedFd, pid: u32, protected: &Protected) -> Result<Option<(OwnedFd, Facts)>, KillError> {
    let Some(stat) = Stat::of(pid).map_err(|e| os("reading /proc/PID/stat", pid, e))? else {
        return Ok(None);
    };
    let facts = procfs::facts(pid, &stat, protected);
    Ok(if is_dead(&fd) { None } else { Some((fd, facts)) })
}

/// True once every thread of the process has ended; it may be an unwaited zombie.
fn is_dead(fd: &OwnedFd) -> bool {
    let mut fds = [PollFd::new(fd, PollFlags::IN)];
    matches!(rustix::event::poll(&mut fds, Some(&timespec(Duration::ZERO))), Ok(n) if n > 0)
}

fn timespec(d: Duration) -> Timespec {
    Timespec { tv_sec: i64::try_from(d.as_secs()).unwrap_or(i64::MAX), tv_nsec: i64::from(d.subsec_nanos()) }
}

fn unseen(pid: u32, start_ticks: u64) -> Victim {
    Victim { pid, start_ticks, image: "[unknown]".into() }
}

fn os(doing: &'static str, pid: u32, source: std::io::Error) -> KillError {
    KillError::Os { doing, pid, source }
}
