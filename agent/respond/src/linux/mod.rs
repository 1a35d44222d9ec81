//! Acts on Linux: the freezer of cgroup v2 and pidfds for killing, eBPF and nftables for cutting networks.

pub mod cgroup;
pub mod copies;
pub mod cut;
mod end;
mod hold;
pub mod kill;
pub mod logons;
pub mod manifest;
pub mod netlink;
pub mod nft;
pub mod note;
pub mod procfs;
pub mod quarantine;
mod socket;
mod tree;

use std::cell::OnceCell;
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Instant;

use wardline_event::{BootId, ProcessKey, Timestamp};
use wardline_policy::Rung;

use crate::keeper::ReconcileError;
use crate::kill::{KillError, KillReport};
use crate::measure::{ContainError, Contained, Holds, Measure};
use crate::protect::Protected;
use crate::record::{self, SINGLE};
use crate::{FileOrder, Responder};
use cut::Cutter;
pub use hold::raise_file_limit;
use kill::{FrozenTree, Way};
use logons::Logons;
use quarantine::{Refusal, Store};

/// The machine that this process runs on. What cuts the network covers the network namespace of the calling thread; the
/// network of a process is cut in whatever namespace it has.
#[derive(Debug)]
pub struct LinuxResponder {
    boot: BootId,
    protected: Protected,
    way: Way,
    /// Found when first needed: few machines ever have a process cut.
    cutter: OnceCell<Result<Cutter, String>>,
    logons: Logons,
    /// The agent's folder, noted beside a containment.
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
        Ok(Self { boot, protected, way, cutter: OnceCell::new(), logons: Logons::default(), state_dir: None })
    }

    /// Cuts processes by this, and finds the files about logons there: for tests.
    #[must_use]
    pub fn with(self, cutter: Cutter, logons: Logons) -> Self {
        Self { cutter: OnceCell::from(Ok(cutter)), logons, ..self }
    }

    fn cutter(&self) -> Result<&Cutter, ContainError> {
        let found = self.cutter.get_or_init(|| Cutter::detect(&self.way.freezer));
        found.as_ref().map_err(|why| {
            ContainError::Unsupported(format!("the network of a process cannot be cut here: {why}"))
        })
    }

    fn store(&self) -> Result<Store, ContainError> {
        let no_folder = || ContainError::Unsupported("this agent has no folder for a quarantine".to_owned());
        Ok(Store::open(self.state_dir.as_ref().ok_or_else(no_folder)?, quarantine::LIMIT)?)
    }

    /// Notes this folder beside each containment, so that [`release_local`] can be pointed to its record.
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

    fn contain(&mut self, measure: &Measure) -> Result<Contained, ContainError> {
        let began = Instant::now();
        let contained = match measure {
            Measure::Isolation(spec) => nft::isolate(spec)?,
            Measure::EastWest(spec) => nft::cut_east_west(spec)?,
            Measure::Logons(spec) => self.logons.suspend(spec)?,
            Measure::Process(spec) => {
                let tree = self.stop_tree(&spec.process, &spec.descendants);
                self.cutter()?.contain(&spec.process, tree, began)?
            }
        };
        if let Some(state_dir) = &self.state_dir {
            // Without the note a person must name the folder; the containment is none the worse.
            let _ = note::leave(state_dir);
        }
        Ok(contained)
    }

    fn release(&mut self, rung: &Rung) -> Result<bool, ContainError> {
        match rung {
            Rung::Isolation => nft::remove(nft::ISOLATION),
            Rung::EastWest => nft::remove(nft::EAST_WEST),
            Rung::Logons => self.logons.restore(),
            // Where nothing can be cut, nothing was.
            Rung::Process(key) => self.cutter().map_or(Ok(false), |cutter| cutter.release(key)),
        }
    }

    fn holds(&mut self, measure: &Measure) -> Result<Holds, ContainError> {
        let yes_or_no = |is| if is { Holds::Yes } else { Holds::No };
        Ok(match measure {
            Measure::Isolation(spec) => yes_or_no(nft::is_isolated(spec)?),
            Measure::EastWest(spec) => yes_or_no(nft::is_east_west_cut(spec)?),
            Measure::Logons(spec) => yes_or_no(self.logons.are_suspended(spec)),
            Measure::Process(spec) if spec.process.boot != self.boot => {
                Holds::Over("the machine was started anew, which ended the process".to_owned())
            }
            Measure::Process(spec) => self.cutter()?.holds(&spec.process),
        })
    }

    fn cut_processes(&mut self) -> Vec<ProcessKey> {
        self.cutter().map(|cutter| cutter.cut(self.boot)).unwrap_or_default()
    }

    fn quarantine(&mut self, path: &[u8], order: &FileOrder<'_>) -> Result<String, ContainError> {
        let path = Path::new(OsStr::from_bytes(path));
        let shown = path.to_string_lossy();
        // What must never be killed must not be taken away either.
        if let Some(entry) = self.protected.entry_for(&shown) {
            let why = format!("the policy's never_kill entry `{entry}` names {shown}");
            return Err(Refusal::Protected(why).into());
        }
        let taken = self.store()?.take(path, order.by, order.reason, order.at)?;
        Ok(taken.in_words())
    }

    fn restore(&mut self, id: &str) -> Result<String, ContainError> {
        let path = self.store()?.restore(id, None)?;
        Ok(format!("{} was given back", path.display()))
    }
}

/// What [`release_local`] found of one containment.
#[derive(Debug)]
pub struct LocalRelease {
    /// Which.
    pub rung: Rung,
    /// True if it was in force, by the kernel's word or the record's.
    pub was_in_force: bool,
    /// False if what was undone is not of this folder: the agent it belongs to contains the machine again.
    pub lasts: bool,
    /// What went wrong; the others were released all the same.
    pub trouble: Option<ReconcileError>,
}

/// Releases all containments at the machine, or those in `only`, for `wardline agent release --local`: needs root, but no
/// agent, no hub and no network.
///
/// The records are marked first, so that an agent that starts meanwhile does not contain again. Whatever is wrong
/// with a record, the kernel's part is undone; the record's trouble is reported after that.
pub fn release_local(
    responder: &mut LinuxResponder,
    state_dir: &Path,
    now: Timestamp,
    by: &str,
    only: Option<&[Rung]>,
) -> Vec<LocalRelease> {
    let mut rungs: BTreeSet<Rung> = SINGLE.into_iter().chain(record::recorded(state_dir)).collect();
    rungs.extend(responder.cut_processes().into_iter().map(Rung::Process));
    let chosen = |rung: &Rung| only.is_none_or(|only| only.contains(rung));
    let noted = note::find().is_some_and(|of| std::fs::canonicalize(state_dir).is_ok_and(|dir| dir == of));
    let mut done = Vec::new();
    for rung in rungs.iter().filter(|rung| chosen(rung)) {
        let in_force = matches!(record::load(state_dir, rung), Ok(Some(r)) if r.released.is_none());
        let marked = record::mark_released(state_dir, rung, now, by);
        let (released, trouble) = match (responder.release(rung), marked) {
            (Err(e), _) => (false, Some(e.into())),
            (Ok(was), Err(e)) => (was, Some(e.into())),
            (Ok(was), Ok(())) => (was, None),
        };
        // An agent that saw the mark first may have undone it itself. A release that was cut short has marked the
        // record already: then the note tells whose it was.
        let (was_in_force, lasts) = (released || in_force, in_force || !released || noted);
        done.push(LocalRelease { rung: *rung, was_in_force, lasts, trouble });
    }
    if only.is_none() && done.iter().all(|release| release.lasts && release.trouble.is_none()) {
        note::remove();
    }
    done
}
