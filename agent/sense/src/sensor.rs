//! The interface between what sees and what decides.

use std::time::Duration;

use wardline_event::{Event, EventId, Identity, SensorStatus};

/// An event with the moment it happened, precise enough to measure how fast the answer was.
#[derive(Clone, Debug, PartialEq)]
pub struct Sensed {
    /// What happened.
    pub event: Event,
    /// When, in nanoseconds of `CLOCK_BOOTTIME`.
    pub boot_ns: u64,
}

/// The kernel's half of the rules with a response: it follows tables at the moment when a program begins.
pub trait KernelRules: Send {
    /// From now on these tables are followed (`wardline_sigma::verdict::Verdicts::to_bytes`), or none. When this returns
    /// nobody follows others any more. If it fails, none are followed, and the error says why.
    fn follow(&mut self, tables: Option<&[u8]>) -> Result<(), String>;
}

/// Something that was found out after the event it belongs to was handed over.
#[derive(Clone, Debug, PartialEq)]
pub struct Learned {
    /// Which event.
    pub event: EventId,
    /// What the executable is.
    pub identity: Identity,
}

/// A sensor stopped working. It stays off until the agent starts it again; its status says why.
#[derive(Debug, thiserror::Error)]
pub enum SensorError {
    /// The kernel's interface failed.
    #[error("{doing} failed")]
    Os {
        /// What was being tried.
        doing: &'static str,
        /// What the system answered.
        #[source]
        source: std::io::Error,
    },
}

/// Something that sees what happens on a device.
///
/// One thread owns a sensor and everything that must happen fast after an event: it polls, matches, and kills
/// before it polls again. A sensor therefore does no work of its own between polls.
pub trait Sensor: Send {
    /// Waits at most `timeout` for events and hands each to `sink`, oldest first. Returns early once some came.
    fn poll(&mut self, timeout: Duration, sink: &mut dyn FnMut(Sensed)) -> Result<(), SensorError>;

    /// Whether what it sees must be acted upon at once. What only finds out more about what others saw is not: it may
    /// wait for disks, and its thread is not put before others.
    fn is_urgent(&self) -> bool {
        true
    }

    /// What was found out since the last call about events that were handed over earlier, by this sensor or another.
    fn learned(&mut self) -> Vec<Learned> {
        Vec::new()
    }

    /// The sensor's account of itself, one for each kind of thing that it sees: live or not and why, produced, lost.
    fn statuses(&self) -> Vec<SensorStatus>;
}
