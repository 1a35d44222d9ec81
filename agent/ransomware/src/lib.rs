//! The ransomware guard: stops a family of processes that encrypts files, in the kernel, after a handful.
//!
//! The kernel half (`bpf/guard.bpf.c`) looks at what programs read from files and write to them, counts what is destroyed
//! in the way of an encryptor, and stops the family at a limit, before anybody else has heard of it. [`Guard`] hears of it
//! then, [`judge`] looks at the files themselves, and whoever owns the guard kills the family or lets it go.
//!
//! What must hold:
//! - A stopped family is always settled: killed, or set free by [`Guard::release`]; also when the guard is dropped.
//! - Nobody is set free but through a pidfd that was proven to be the process that was stopped.

mod bearings;
pub mod canary;
mod files;
mod guard;
mod intake;
mod judge;
mod record;
mod slots;

pub use guard::{Alarm, Guard, Limits, Refused};
pub use intake::Kept;
pub use judge::{Look, Verdict, judge};
pub use record::{Evidence, How, ProcessId};
