//! What a sensor says about itself: whether it sees, and what it lost.

use serde::{Deserialize, Serialize};

/// A means of seeing, named as people read it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SensorKind {
    /// eBPF programs on the kernel's scheduler tracepoints.
    LinuxEbpf,
    /// The kernel's process connector (netlink), the fall-back.
    LinuxProcConnector,
    /// The processes that ran before the agent did, read from `/proc` once.
    LinuxProc,
    /// A scripted device of the exercise range.
    Simulated,
}

impl SensorKind {
    /// The name a person reads.
    pub fn title(self) -> &'static str {
        match self {
            Self::LinuxEbpf => "Linux eBPF",
            Self::LinuxProcConnector => "Linux process connector",
            Self::LinuxProc => "Linux /proc (start-up)",
            Self::Simulated => "simulated",
        }
    }
}

/// Whether a sensor sees.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum SensorState {
    /// It delivers events.
    Live,
    /// It works, and something is missing; `reason` says what and why.
    Degraded {
        /// What is missing and why.
        reason: String,
    },
    /// It does not work; `reason` says why and what would mend it.
    Off {
        /// Why it does not work.
        reason: String,
    },
}

/// Counted losses, by the stage where they happened. Never reset while the agent runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Losses {
    /// Events that the kernel could not hand over because the buffer was full.
    pub kernel: u64,
    /// Events that were delivered and could not be decoded.
    pub decode: u64,
    /// Events dropped from the disk spool because it was full.
    pub spool: u64,
}

impl Losses {
    /// All losses together.
    pub fn total(self) -> u64 {
        self.kernel + self.decode + self.spool
    }
}

/// A sensor's account of itself, sent with every heartbeat.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct SensorStatus {
    /// Which sensor.
    pub kind: SensorKind,
    /// Whether it sees.
    #[serde(flatten)]
    pub state: SensorState,
    /// Events it produced since the agent started, lost ones included.
    pub produced: u64,
    /// Of those, lost before they reached the spool.
    pub lost: u64,
}
