//! What a sensor says about itself: whether it sees, and what it lost.

use serde::{Deserialize, Serialize};

/// A means of seeing, named as people read it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SensorKind {
    /// Processes, from eBPF programs on the kernel's scheduler tracepoints.
    LinuxEbpf,
    /// Connections and listeners, from an eBPF program on the end of system calls.
    LinuxNetwork,
    /// Files, from eBPF programs on the end of system calls.
    LinuxFile,
    /// Questions and answers of DNS, from an eBPF program on the end of system calls.
    LinuxDns,
    /// System calls that change what a process or the machine may do, from eBPF programs on their end.
    LinuxCall,
    /// What executables are: digests, and the packages they came with.
    LinuxIdentity,
    /// The system's journal: who signs in, and what services write about themselves.
    LinuxLog,
    /// The kernel's process connector (netlink), the fall-back.
    LinuxProcConnector,
    /// The processes that ran before the agent did, read from `/proc` once.
    LinuxProc,
    /// The ransomware guard: it stops, and tells of what it stopped as findings.
    RansomwareGuard,
    /// Rules that the kernel follows at exec, tier A: refused through the BPF LSM where the path says enough, else killed.
    VerdictLsm,
    /// The same, tier B: refused in the place of the function that asks the LSMs.
    VerdictReturn,
    /// The same, tier C: killed by a signal before the first instruction.
    VerdictSignal,
    /// A scripted device of the exercise range.
    Simulated,
}

impl SensorKind {
    /// The name a person reads.
    pub fn title(self) -> &'static str {
        match self {
            Self::LinuxEbpf => "Linux eBPF",
            Self::LinuxNetwork => "Linux eBPF, network",
            Self::LinuxFile => "Linux eBPF, files",
            Self::LinuxDns => "Linux eBPF, DNS",
            Self::LinuxCall => "Linux eBPF, system calls",
            Self::LinuxIdentity => "Linux executables: hashes and packages",
            Self::LinuxLog => "Linux journal: logons",
            Self::LinuxProcConnector => "Linux process connector",
            Self::LinuxProc => "Linux /proc (start-up)",
            Self::RansomwareGuard => "ransomware guard",
            Self::VerdictLsm => "rules in the kernel, tier A (BPF LSM)",
            Self::VerdictReturn => "rules in the kernel, tier B (modified return)",
            Self::VerdictSignal => "rules in the kernel, tier C (signal at exec)",
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
    /// Of the lost, how many were delivered and could not be decoded.
    #[serde(default)]
    pub undecoded: u64,
}
