//! Slows down who guesses: counts failed sign-ins by address.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

use wardline_event::Timestamp;

/// Failures within [`WINDOW_MS`] after which an address has to wait.
const MOST_FAILURES: u32 = 10;
const WINDOW_MS: i64 = 10 * 60 * 1000;
/// Addresses remembered at most; the oldest window is forgotten first.
const MOST_ADDRESSES: usize = 10_000;

/// Failures by address: how many, and since when.
#[derive(Debug, Default)]
pub(crate) struct Limiter(Mutex<HashMap<IpAddr, (u32, Timestamp)>>);

impl Limiter {
    /// Whether this address has failed too often of late.
    pub fn refuses(&self, who: IpAddr, now: Timestamp) -> bool {
        let failures = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        failures.get(&who).is_some_and(|(n, since)| *n >= MOST_FAILURES && now.0 - since.0 < WINDOW_MS)
    }

    /// Notes a failure.
    pub fn failed(&self, who: IpAddr, now: Timestamp) {
        let mut failures = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if failures.len() >= MOST_ADDRESSES && !failures.contains_key(&who) {
            let oldest = failures.iter().min_by_key(|(_, (_, since))| *since).map(|(ip, _)| *ip);
            oldest.map(|ip| failures.remove(&ip));
        }
        let entry = failures.entry(who).or_insert((0, now));
        if now.0 - entry.1.0 >= WINDOW_MS {
            *entry = (0, now);
        }
        entry.0 += 1;
    }

    /// Forgets the failures of an address that has proved itself.
    pub fn succeeded(&self, who: IpAddr) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&who);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_failures_close_the_door_for_ten_minutes() {
        let (limiter, who) = (Limiter::default(), IpAddr::from([127, 0, 0, 1]));
        for i in 0..10 {
            assert!(!limiter.refuses(who, Timestamp(i)));
            limiter.failed(who, Timestamp(i));
        }
        assert!(limiter.refuses(who, Timestamp(10)));
        assert!(!limiter.refuses(IpAddr::from([127, 0, 0, 2]), Timestamp(10)));
        assert!(!limiter.refuses(who, Timestamp(WINDOW_MS)));
        limiter.succeeded(who);
        assert!(!limiter.refuses(who, Timestamp(10)));
    }
}
