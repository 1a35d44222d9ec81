//! Whether the agent's threads still go round.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The pulses of all threads.
#[derive(Clone, Debug)]
pub struct Pulses {
    began: Instant,
    all: Arc<Mutex<Vec<Pulse>>>,
}

/// One thread's pulse.
#[derive(Clone, Debug)]
pub struct Pulse {
    name: String,
    began: Instant,
    last_ms: Arc<AtomicU64>,
}

/// The pulse of a thread that has ended as it should.
const ENDED: u64 = u64::MAX;

impl Default for Pulses {
    fn default() -> Self {
        Self { began: Instant::now(), all: Arc::default() }
    }
}

impl Pulses {
    /// A pulse for a thread of this name.
    pub fn of(&self, name: &str) -> Pulse {
        let pulse = Pulse { name: name.to_owned(), began: self.began, last_ms: Arc::default() };
        pulse.beat();
        self.all.lock().unwrap_or_else(PoisonError::into_inner).push(pulse.clone());
        pulse
    }

    /// Threads that have not gone round for so long.
    pub fn stuck(&self, longer_than: Duration) -> Vec<String> {
        let now = self.began.elapsed().as_millis() as u64;
        let all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        let stuck = |last: u64| last != ENDED && now.saturating_sub(last) > longer_than.as_millis() as u64;
        let stuck = all.iter().filter(|pulse| stuck(pulse.last_ms.load(Ordering::Relaxed)));
        stuck.map(|pulse| pulse.name.clone()).collect()
    }
}

impl Pulse {
    /// The thread goes round.
    pub fn beat(&self) {
        self.last_ms.store(self.began.elapsed().as_millis() as u64, Ordering::Relaxed);
    }

    /// The thread ends as it should; nobody waits for it.
    pub fn end(&self) {
        self.last_ms.store(ENDED, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_does_not_go_round_is_named() {
        let pulses = Pulses::default();
        let (alive, dead, done) = (pulses.of("alive"), pulses.of("dead"), pulses.of("done"));
        done.end();
        std::thread::sleep(Duration::from_millis(60));
        alive.beat();
        assert_eq!(pulses.stuck(Duration::from_millis(50)), ["dead"]);
        dead.beat();
        assert!(pulses.stuck(Duration::from_millis(50)).is_empty());
    }
}
