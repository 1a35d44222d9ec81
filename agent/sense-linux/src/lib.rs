//! The Linux sensor: eBPF programs, the process connector, and the roots read from `/proc`.
//!
//! [`open`] starts the best that this host allows and says of everything else why it is off.
//!
//! - [`EbpfSensor`]: three small programs on the scheduler's tracepoints write fork, exec and exit into a ring buffer.
//!   All facts come from the kernel at that moment, so a process that lives a millisecond is seen whole.
//! - [`ConnectorSensor`]: the kernel tells pids only, the rest is read from `/proc`, if it is still there.
//! - At start all processes that run already are read from `/proc`, so that trees have roots.
//!
//! - [`IdentitySensor`] finds out what executables are, without keeping anybody waiting.
//! - [`LogSensor`] reads the journal: who signs in.
//!
//! An event's user is the effective one: what the kernel lets the process do.

mod cgroups;
mod connector;
mod context;
mod ebpf;
mod hosts;
mod identity;
mod logs;
mod open;
mod procfs;
mod record;
mod users;
mod watches;

pub use connector::ConnectorSensor;
pub use context::{Refused, SharedTable};
pub use ebpf::{Accounts, EbpfSensor, KINDS, TABLE_BYTES, TRUNCATED};
pub use identity::IdentitySensor;
pub use logs::LogSensor;
pub use open::{Opened, Options, Prefer, open};
pub use record::system_calls;
pub use watches::{Watch, Watches};
