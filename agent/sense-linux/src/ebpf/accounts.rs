//! The books of the sensor: what was produced, what arrived, what was lost and where.

use crate::record::Kind;

/// How many kinds of records there are: fork, exec, exit, network, file, system call, DNS.
pub const KINDS: usize = Kind::ALL.len();

/// The sensor's books, by kind: fork, exec, exit, network, file, system call, DNS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Accounts {
    /// Events that the kernel half tried to write.
    pub produced: [u64; KINDS],
    /// Of those, how many it could not write because the ring buffer was full.
    pub lost: [u64; KINDS],
    /// Records that could not be decoded.
    pub undecoded: [u64; KINDS],
    /// Handed to a sink.
    pub delivered: [u64; KINDS],
    /// Of the delivered, those that the sensor caused itself to prove that it sees; no sink got them.
    pub own: [u64; KINDS],
    /// Times that the kernel did not run a program at all, because it ran already on that CPU.
    pub missed: u64,
    /// Exec events with a cut command line.
    pub truncated: u64,
}

impl Accounts {
    /// What these kinds have produced but for the sensor's own, lost in the kernel, and lost by not being understood.
    pub(super) fn of(&self, kinds: &[Kind]) -> (u64, u64, u64) {
        let sum = |counts: &[u64; KINDS]| kinds.iter().map(|kind| counts[*kind as usize]).sum();
        (sum(&self.produced) - sum(&self.own), sum(&self.lost), sum(&self.undecoded))
    }

    /// All that happened, lost or not.
    pub fn total_produced(&self) -> u64 {
        self.produced.iter().sum::<u64>() + self.missed
    }

    /// All that did not arrive.
    pub fn total_lost(&self) -> u64 {
        self.lost.iter().sum::<u64>() + self.undecoded.iter().sum::<u64>() + self.missed
    }
}
