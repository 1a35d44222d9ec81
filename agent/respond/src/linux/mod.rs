//! Acts on Linux: the freezer of cgroup v2 and pidfds for killing, nftables for isolation.

pub mod cgroup;
mod hold;
pub mod kill;
pub mod netlink;
pub mod nft;
pub mod note;
pub mod procfs;
mod socket;

use std::io;
use std::path::{Path, PathBuf};

use wardline_event::{BootId, ProcessKey};

use crate::Responder;
use crate::isolation::{IsolateError, IsolationReport, IsolationSpec, ReleaseReport};
use crate::kill::{KillError, KillReport};
use crate::protect::Protected;
pub use hold::raise_file_limit;
use kill::{FrozenTree, Way};

/// The machine that this process runs on. Isolation covers the network namespace of the calling thread.
#[derive(Debug)]
pub struct LinuxResponder {
    boot: BootId,
    protected: Protected,
    way: Way,
    /// The agent's folder, noted beside an isolation.
    state_dir: Option<PathBuf>,
}

impl LinuxResponder {
    /// Protects this process, the processes in `protected.agent`, all that they run under, and whatever else
    /// `protected` names. Fails if `/proc` cannot be read.
    ///
    /// What the agent runs under is looked up once: when a process there ends, the agent is handed to one further
    /// up, so that the list can only have too many.
    ///
    /// Raises this process' limit of open files, see [`raise_file_limit`].
    pub fn new(mut protected: Protected) -> io::Result<Self> {
        raise_file_limit();
        let way = Way::detect();
        if let Ok(freezer) = &way.freezer {
            cgroup::sweep(freezer);
        }
        let boot = procfs::boot_id()?;
        let own = procfs::lineage(std::process::id(), boot)?;
        protected.agent.extend(own.first().copied());
        protected.ancestors.extend(own.into_iter().skip(1));
        let others: Vec<ProcessKey> = protected.agent.clone();
        for key in others {
            let line = procfs::lineage(key.pid, boot)?;
            if line.first() == Some(&key) {
                protected.ancestors.extend(line.into_iter().skip(1));
            }
        }
        protected.ancestors.sort_unstable();
        protected.ancestors.dedup();
        Ok(Self { boot, protected, way, state_dir: None })
    }

    /// Notes this folder beside each isolation, so that [`release_local`] can be pointed to its record.
    #[must_use]
    pub fn noting(self, state_dir: &Path) -> Self {
        Self { state_dir: Some(state_dir.to_owned()), ..self }
    }

    /// Why trees cannot be frozen here and are stopped by signals instead; none if they can be.
    pub fn no_freezer(&self) -> Option<&str> {
        self.way.freezer.as_ref().err().map(String::as_str)
    }

    /// Stops what [`Responder::kill_tree`] would kill, for a moment: what signals stopped, signals set free.
    pub fn stop_tree(&self, target: &ProcessKey, extra: &[ProcessKey]) -> Result<FrozenTree<'_>, KillError> {
        kill::stop_tree(target, extra, self.boot, &self.protected, &self.way)
    }

    /// Stops what [`Responder::kill_tree`] would kill, until it is decided what becomes of it.
    pub fn freeze_tree(
        &self,
        target: &ProcessKey,
        extra: &[ProcessKey],
    ) -> Result<FrozenTree<'_>, KillError> {
        kill::freeze_tree(target, extra, self.boot, &self.protected, &self.way)
    }

    /// The running kernel's boot id, which every [`ProcessKey`] of this boot carries.
    pub fn boot(&self) -> BootId {
        self.boot
    }
}

impl Responder for LinuxResponder {
    fn never_kill(&mut self, executables: Vec<String>) {
        self.protected.executables = executables;
    }

    fn kill_tree(&mut self, target: &ProcessKey, extra: &[ProcessKey]) -> Result<KillReport, KillError> {
        kill::kill_tree(target, extra, self.boot, &self.protected, &self.way)
    }

    fn isolate(&mut self, spec: &IsolationSpec) -> Result<IsolationReport, IsolateError> {
        let report = nft::isolate(spec)?;
        if let Some(state_dir) = &self.state_dir {
            // Without the note a person must name the folder; the isolation is none the worse.
            let _ = note::leave(state_dir);
        }
        Ok(report)
    }

    fn release(&mut self) -> Result<ReleaseReport, IsolateError> {
        let report = nft::release()?;
        note::remove();
        Ok(report)
    }

    fn is_isolated(&mut self) -> Result<bool, IsolateError> {
        nft::is_isolated()
    }
}

/// What [`release_local`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LocalRelease {
    /// True if the machine was isolated, by the kernel's word or the record's.
    pub was_isolated: bool,
    /// False if the isolation that was undone is not the one of this folder: the agent it belongs to isolates the
    /// machine again.
    pub lasts: bool,
}

/// Releases the isolation at the machine, for `wardline agent release --local`: needs root, but no agent, no hub
/// and no network.
///
/// The record is marked first, so that an agent that starts meanwhile does not isolate again. Whatever is wrong
/// with the record, the connections are restored; the record's trouble is reported after that.
pub fn release_local(
    state_dir: &Path,
    now: wardline_event::Timestamp,
    by: &str,
) -> Result<LocalRelease, crate::record::ReconcileError> {
    let in_force = matches!(crate::record::load(state_dir), Ok(Some(r)) if r.released.is_none());
    let marked = crate::record::mark_released(state_dir, now, by);
    let was_isolated = nft::release()?.was_isolated;
    marked?;
    // A release that was cut short has marked the record already.
    let noted = || note::find().is_some_and(|of| std::fs::canonicalize(state_dir).is_ok_and(|dir| dir == of));
    let lasts = in_force || !was_isolated || noted();
    if lasts {
        note::remove();
    }
    // An agent that saw the mark first may have undone the isolation itself.
    Ok(LocalRelease { was_isolated: was_isolated || in_force, lasts })
}
