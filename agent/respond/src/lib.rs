//! Responses on the machine: plan purely, then act. Kill a process tree, isolate the host, undo.
//!
//! What may be killed is decided in [`plan`] and [`protect`], what isolation means in [`isolation`] and
//! [`record`], all without touching the machine. [`linux`] acts. The exercise range puts a simulated machine
//! behind the same [`Responder`].
//!
//! What must hold:
//! - A process is signalled only through a pidfd that was proven, after it was opened, to be that process.
//! - Nothing that [`Protected`] names is ever stopped or killed, not even for a moment.
//! - Isolation lives in the kernel, in a table of its own, and changes in one transaction. It survives the agent.
//! - Every isolation expires, and [`Responder::release`] undoes it, however often it is called.

pub mod isolation;
pub mod kill;
#[cfg(target_os = "linux")]
pub mod linux;
pub mod plan;
pub mod protect;
pub mod record;

pub use isolation::{IsolateError, IsolationReport, IsolationSpec, ReleaseReport};
pub use kill::{FreezeReport, KillError, KillReport, Means, Victim};
#[cfg(target_os = "linux")]
pub use linux::LinuxResponder;
pub use protect::{Protected, Shield};
pub use record::{Due, IsolationRecord, Reconciled, RecordError, due, reconcile};

use wardline_event::ProcessKey;

/// A machine that can be acted on.
pub trait Responder: Send {
    /// Replaces the allow-list of executables that are never killed, when the policy changes.
    fn never_kill(&mut self, executables: Vec<String>);

    /// Kills `target` and everything below it, and waits until the kernel says that they are dead.
    ///
    /// `extra` names further descendants that the caller knows of: those whose parents have already ended, so
    /// that the kernel no longer shows whose children they were. Those among them that are gone are skipped.
    fn kill_tree(&mut self, target: &ProcessKey, extra: &[ProcessKey]) -> Result<KillReport, KillError>;

    /// Cuts every connection of the machine but those to the hubs and to itself. Called again, it replaces the
    /// isolation in force, without a gap.
    fn isolate(&mut self, spec: &IsolationSpec) -> Result<IsolationReport, IsolateError>;

    /// Undoes [`Responder::isolate`]. Releasing what is not isolated is fine.
    fn release(&mut self) -> Result<ReleaseReport, IsolateError>;

    /// True if the isolation is in force and whole: a table that somebody has weakened counts as none.
    fn is_isolated(&mut self) -> Result<bool, IsolateError>;
}
