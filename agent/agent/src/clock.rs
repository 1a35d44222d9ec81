//! The time, passed in so that tests and exercises can set it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use wardline_event::Timestamp;

/// Two clocks: one for people, one that never jumps.
pub trait Clock: Send + Sync {
    /// Wall-clock time.
    fn now(&self) -> Timestamp;
    /// `CLOCK_BOOTTIME` in nanoseconds: the clock of the sensors.
    fn boot_ns(&self) -> u64;
}

/// The system's clocks.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        Timestamp(0).plus(since)
    }

    fn boot_ns(&self) -> u64 {
        let t = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
        (t.tv_sec as u64).saturating_mul(1_000_000_000).saturating_add(t.tv_nsec as u64)
    }
}
