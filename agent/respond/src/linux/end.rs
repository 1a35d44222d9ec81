//! Kills what stands still, and waits for the kernel's word that it is dead.

use std::time::Instant;

use rustix::event::{PollFd, PollFlags};
use rustix::io::Errno;
use rustix::process::Signal;

use super::hold::{Hurry, is_dead, os, timespec};
use super::tree::{FrozenTree, Member, Order};
use crate::kill::{KillError, KillReport};
use crate::plan::kill_order;

impl FrozenTree<'_> {
    /// Kills what stands still.
    pub fn kill(mut self) -> KillReport {
        let _hurry = Hurry::begin();
        self.kill_all();
        self.confirm();
        std::mem::take(&mut self.report)
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
