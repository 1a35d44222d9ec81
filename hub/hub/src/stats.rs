//! What the agent port has seen since the hub started.

use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;
use utoipa::ToSchema;

/// Counters, counted up where things happen.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub connected: AtomicU64,
    pub refused_handshakes: AtomicU64,
    pub refused_batches: AtomicU64,
    pub stored_records: AtomicU64,
    pub repeated_records: AtomicU64,
    pub unreadable_records: AtomicU64,
    pub put_off_batches: AtomicU64,
}

/// What the agent port has seen since the hub started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct AgentStats {
    /// Conversations going on now.
    pub connected: u64,
    /// Connections refused before they began: no TLS 1.3, a foreign or an expired certificate.
    pub refused_handshakes: u64,
    /// Batches refused because they were cut short or damaged.
    pub refused_batches: u64,
    /// Records stored.
    pub stored_records: u64,
    /// Records that had been stored before and came again.
    pub repeated_records: u64,
    /// Records that came whole and could not be read; kept as they came.
    pub unreadable_records: u64,
    /// Batches that the hub could not store and asked to be sent again later.
    pub put_off_batches: u64,
}

impl Counters {
    pub fn read(&self) -> AgentStats {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        AgentStats {
            connected: of(&self.connected),
            refused_handshakes: of(&self.refused_handshakes),
            refused_batches: of(&self.refused_batches),
            stored_records: of(&self.stored_records),
            repeated_records: of(&self.repeated_records),
            unreadable_records: of(&self.unreadable_records),
            put_off_batches: of(&self.put_off_batches),
        }
    }
}

/// Adds to a counter.
pub(crate) fn add(counter: &AtomicU64, n: u64) {
    counter.fetch_add(n, Ordering::Relaxed);
}

/// Counts something while it lasts.
pub(crate) struct While<'a>(&'a AtomicU64);

impl<'a> While<'a> {
    pub fn of(counter: &'a AtomicU64) -> Self {
        counter.fetch_add(1, Ordering::Relaxed);
        Self(counter)
    }
}

impl Drop for While<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
