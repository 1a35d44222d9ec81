//! What killing a process tree reports.

use std::fmt;
use std::time::Duration;

use wardline_event::ProcessKey;

use crate::protect::Shield;

/// A process as it was when it was acted on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Victim {
    /// Its pid.
    pub pid: u32,
    /// Its start in clock ticks since boot, as in [`ProcessKey`].
    pub start_ticks: u64,
    /// The path of its executable, or its name in brackets if the kernel shows no path.
    pub image: String,
}

impl fmt::Display for Victim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (pid {})", self.image, self.pid)
    }
}

/// What was done to a process tree.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KillReport {
    /// Killed, and confirmed dead by the kernel. The target is the first if it still lived.
    pub killed: Vec<Victim>,
    /// Had ended by themselves before they could be killed.
    pub ended: Vec<Victim>,
    /// Left alone, each with the reason.
    pub refused: Vec<(Victim, String)>,
    /// Were sent SIGKILL but had not died by the deadline: as a rule, stuck in the kernel on a disk or a network
    /// file system. They die as soon as the kernel lets go of them.
    pub survivors: Vec<Victim>,
    /// True if the whole tree stood still before the first of it was killed, so that nothing can have slipped
    /// away by forking. False if some process did not stop in time: check the device for leftovers. Says nothing
    /// of what a process that was left alone goes on to start.
    pub complete: bool,
    /// By what means the tree was stopped before it was killed; none if nothing had to be.
    pub means: Option<Means>,
    /// From the order until the tree stood still, or time was up.
    pub still_after: Option<Duration>,
    /// From the order until the target itself was dead; none if it was already gone, or survived.
    pub target_dead_after: Option<Duration>,
    /// From the order until the last confirmation.
    pub took: Duration,
}

impl KillReport {
    /// True if everything that was to die is dead.
    pub fn succeeded(&self) -> bool {
        self.survivors.is_empty() && self.complete
    }
}

/// What was done to a process tree that may yet go on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FreezeReport {
    /// Stand still. The target is the first if it lives.
    pub frozen: Vec<Victim>,
    /// Left alone, each with the reason.
    pub refused: Vec<(Victim, String)>,
    /// As in [`KillReport`].
    pub complete: bool,
    /// By what means.
    pub means: Option<Means>,
    /// From the order until the tree stood still, or time was up.
    pub took: Duration,
}

/// What makes a tree stand still.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Means {
    /// Its cgroup was its own and was frozen, by one write.
    OwnCgroup,
    /// Its processes were stopped by SIGSTOP, then moved into a frozen cgroup.
    MovedToCgroup,
    /// SIGSTOP, process by process: orphans of a tree that forks fast can slip away.
    Signals {
        /// Why not by the freezer.
        why: String,
    },
}

/// Nothing was killed.
#[derive(Debug, thiserror::Error)]
pub enum KillError {
    /// The process has ended; its pid may by now belong to another one, which was left alone.
    #[error("process {0} is gone: it has ended, so there is nothing left to kill")]
    Gone(ProcessKey),
    /// The target must not be killed.
    #[error("{victim} was not killed: {shield}")]
    Protected {
        /// The target.
        victim: Victim,
        /// Why.
        shield: Shield,
    },
    /// The agent lacks the right.
    #[error("not allowed to kill {0}: run the agent as root (it needs CAP_KILL)")]
    NotPermitted(Victim),
    /// The kernel has no pidfd.
    #[error("this kernel cannot kill without a race (no pidfd_open): Linux 5.3 or newer is needed")]
    NoPidfd,
    /// The system refused something else.
    #[error("{doing} failed for process {pid}")]
    Os {
        /// What was being tried.
        doing: &'static str,
        /// With which process.
        pid: u32,
        /// What the system answered.
        #[source]
        source: std::io::Error,
    },
}
