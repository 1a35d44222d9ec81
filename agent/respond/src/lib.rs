//! Responses on the machine: plan purely, then act. Kill a process tree, contain the host by rungs, undo.
//!
//! What may be killed is decided in [`plan`] and [`protect`], what a containment means in [`measure`], how long it
//! lasts in [`record`] and [`keeper`], all without touching the machine. [`linux`] acts. The exercise range puts a
//! simulated machine behind the same [`Responder`].
//!
//! What must hold:
//! - A process is signalled only through a pidfd that was proven, after it was opened, to be that process.
//! - Nothing that [`Protected`] names is ever stopped or killed, not even for a moment.
//! - A containment lives in the kernel, apart from what others have there, and outlives the agent. Filters change in
//!   one transaction.
//! - Every containment expires, and [`Responder::release`] undoes it, however often it is called.

pub mod copies;
pub mod keeper;
pub mod kill;
#[cfg(target_os = "linux")]
pub mod linux;
pub mod measure;
pub mod plan;
pub mod protect;
pub mod quarantine;
pub mod record;

pub use keeper::{Keeper, OrderError, ReconcileError, Reconciled};
pub use kill::{FreezeReport, KillError, KillReport, Means, Victim};
#[cfg(target_os = "linux")]
pub use linux::LinuxResponder;
pub use measure::{
    ContainError, Contained, EastWestSpec, Holds, IsolationSpec, LogonSpec, Measure, ProcessSpec,
};
pub use protect::{Protected, Shield};
pub use record::{Due, Record, RecordError, due};
pub use wardline_policy::Rung;

use wardline_event::{ProcessKey, Timestamp};

/// Whose order it is to take a file, why, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileOrder<'a> {
    /// The person or rule.
    pub by: &'a str,
    /// Why, in their words.
    pub reason: &'a str,
    /// When.
    pub at: Timestamp,
}

/// A machine that can be acted on.
pub trait Responder: Send {
    /// Replaces the allow-list of executables that are never killed, when the policy changes.
    fn never_kill(&mut self, executables: Vec<String>);

    /// Kills `target` and everything below it, and waits until the kernel says that they are dead.
    ///
    /// `extra` names further descendants that the caller knows of: those whose parents have already ended, so
    /// that the kernel no longer shows whose children they were. Those among them that are gone are skipped.
    fn kill_tree(&mut self, target: &ProcessKey, extra: &[ProcessKey]) -> Result<KillReport, KillError>;

    /// Puts a containment in force. Called again, it replaces the one of the same rung, without a gap.
    fn contain(&mut self, measure: &Measure) -> Result<Contained, ContainError>;

    /// Undoes [`Responder::contain`]; true if there was something to undo. Releasing what is not contained is fine.
    fn release(&mut self, rung: &Rung) -> Result<bool, ContainError>;

    /// Whether a containment is in force and whole: one that somebody has weakened counts as none.
    fn holds(&mut self, measure: &Measure) -> Result<Holds, ContainError>;

    /// The processes whose network is cut, by the kernel's word alone.
    fn cut_processes(&mut self) -> Vec<ProcessKey>;

    /// Moves a file into quarantine; tells what was done, with the file's id.
    fn quarantine(&mut self, _path: &[u8], _order: &FileOrder<'_>) -> Result<String, ContainError> {
        Err(ContainError::Unsupported("this machine keeps no quarantine".to_owned()))
    }

    /// Gives a file back from quarantine, to where it was.
    fn restore(&mut self, _id: &str) -> Result<String, ContainError> {
        Err(ContainError::Unsupported("this machine keeps no quarantine".to_owned()))
    }
}
