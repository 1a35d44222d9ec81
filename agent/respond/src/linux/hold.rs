//! Holds processes by pidfds, so that nothing done through them can reach another that was given the same pid.

use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Resource, Rlimit};
use wardline_event::{BootId, ProcessKey};

use super::procfs::{self, Stat};
use crate::kill::KillError;
use crate::plan::Facts;
use crate::protect::Protected;

/// Opens a process and proves that it is the one that `key` names; none if that one is gone.
pub(super) fn hold(
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
pub(super) fn open(pid: u32) -> Result<Option<OwnedFd>, KillError> {
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

/// Gives the calling thread the highest priority of ordinary ones while it lives. Among 300 processes that all want to
/// fork it would else have a 150th of a processor. Not a real-time priority, with which a fault of ours could hang the
/// machine.
pub(super) struct Hurry(Option<i32>);

impl Hurry {
    /// Without effect where it may not be.
    pub fn begin() -> Self {
        let before = rustix::process::getpriority_process(None).ok();
        Self(before.filter(|_| rustix::process::setpriority_process(None, -20).is_ok()))
    }
}

impl Drop for Hurry {
    fn drop(&mut self) {
        if let Some(before) = self.0 {
            let _ = rustix::process::setpriority_process(None, before);
        }
    }
}

/// Reads who a process is while `fd` holds it; none if it is dead, in which case what was read may be another's.
pub(super) fn identify(
    fd: OwnedFd,
    pid: u32,
    protected: &Protected,
) -> Result<Option<(OwnedFd, Facts)>, KillError> {
    let Some(stat) = Stat::of(pid).map_err(|e| os("reading /proc/PID/stat", pid, e))? else {
        return Ok(None);
    };
    let facts = procfs::facts(pid, &stat, protected);
    Ok(if is_dead(&fd) { None } else { Some((fd, facts)) })
}

/// True once every thread of the process has ended; it may be an unwaited zombie.
pub(super) fn is_dead(fd: impl AsFd) -> bool {
    let mut fds = [PollFd::new(&fd, PollFlags::IN)];
    matches!(rustix::event::poll(&mut fds, Some(&timespec(Duration::ZERO))), Ok(n) if n > 0)
}

pub(super) fn timespec(d: Duration) -> Timespec {
    Timespec { tv_sec: i64::try_from(d.as_secs()).unwrap_or(i64::MAX), tv_nsec: i64::from(d.subsec_nanos()) }
}

pub(super) fn os(doing: &'static str, pid: u32, source: std::io::Error) -> KillError {
    KillError::Os { doing, pid, source }
}
