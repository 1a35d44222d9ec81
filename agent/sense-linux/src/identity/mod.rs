//! What is executed: the digest of its bytes, and the package that it came with.
//!
//! The thread that decides never reads a disk. For each exec the kernel tells which file it is and in which state
//! ([`FileState`]); what is known of that state is known at once. What is not is asked for, and found out by the thread
//! of [`IdentitySensor`], which tells it as [`Learned`].

mod digest;
mod file;
mod packages;

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use wardline_event::{EventId, Identity, Known, ProcessKey, SensorKind, SensorState, SensorStatus};
use wardline_sense::{Learned, Sensed, Sensor, SensorError};

use crate::record::FileState;
use digest::Pace;
use packages::Packages;

/// Files that may wait to be read.
const QUEUE: usize = 1024;
/// Events that may wait for one file.
const ASKERS: usize = 4096;
/// Files whose identity is remembered; past this those that were not asked for longest are forgotten, by halves.
const CACHE: usize = 8192;

/// An executable that somebody wants to know about.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    pub state: FileState,
    /// Who executed it: as long as it lives, its executable can be opened whatever becomes of its name.
    pub process: ProcessKey,
    /// Its path, if it has one.
    pub path: Option<String>,
}

struct Cached {
    identity: Identity,
    /// Of the package database that it was looked up in.
    generation: u64,
    asked: u64,
}

#[derive(Default)]
struct Shared {
    known: HashMap<FileState, Cached>,
    queue: VecDeque<Wanted>,
    /// Who waits for which file.
    askers: HashMap<FileState, Vec<EventId>>,
    waiting: usize,
    generation: u64,
    clock: u64,
    closed: bool,
}

impl Shared {
    /// What is known of a file in this state, from the package database as it is now.
    fn known(&mut self, state: &FileState) -> Option<Identity> {
        self.clock += 1;
        let (clock, generation) = (self.clock, self.generation);
        let cached = self.known.get_mut(state).filter(|cached| cached.generation == generation)?;
        cached.asked = clock;
        Some(cached.identity.clone())
    }

    fn keep(&mut self, state: FileState, identity: Identity, generation: u64) {
        if self.known.len() >= CACHE && !self.known.contains_key(&state) {
            let mut ages: Vec<u64> = self.known.values().map(|cached| cached.asked).collect();
            ages.sort_unstable();
            let middle = ages[ages.len() / 2];
            self.known.retain(|_, cached| cached.asked > middle);
        }
        self.clock += 1;
        self.known.insert(state, Cached { identity, generation, asked: self.clock });
    }
}

/// Where executables are asked for.
#[derive(Clone, Default)]
pub(crate) struct Identities(Arc<(Mutex<Shared>, Condvar)>);

impl Identities {
    fn lock(&self) -> MutexGuard<'_, Shared> {
        // Each step leaves it whole.
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is known of an executable; what is not known yet will be told for this event. Never waits.
    pub(crate) fn ask(&self, event: EventId, wanted: Wanted) -> Identity {
        if let Some(why) = file::not_read(&wanted.state) {
            let size = Some(wanted.state.size);
            return Identity { size, ..Identity::unknown(why) };
        }
        let mut shared = self.lock();
        if let Some(identity) = shared.known(&wanted.state) {
            return identity;
        }
        if shared.closed {
            return Identity::unknown("nobody reads executables");
        }
        let is_new = !shared.askers.contains_key(&wanted.state);
        if shared.waiting >= ASKERS || (is_new && shared.queue.len() >= QUEUE) {
            return Identity::unknown("too many new executables at once");
        }
        shared.waiting += 1;
        shared.askers.entry(wanted.state).or_default().push(event);
        if is_new {
            shared.queue.push_back(wanted);
            self.0.1.notify_one();
        }
        Identity::awaited()
    }
}

/// Finds out what executables are. Its thread may wait for disks.
pub struct IdentitySensor {
    identities: Identities,
    packages: Packages,
    pace: Pace,
    learned: Vec<Learned>,
    /// Files in a row that could not be read, and why the last could not.
    failures: u32,
    failure: String,
}

/// So many files in a row cannot be by chance.
const TOO_MANY_FAILURES: u32 = 16;

impl IdentitySensor {
    pub(crate) fn new(identities: Identities) -> Self {
        Self {
            identities,
            packages: Packages::new("/var/lib/dpkg"),
            pace: Pace::default(),
            learned: Vec::new(),
            failures: 0,
            failure: String::new(),
        }
    }

    /// The next file, after waiting at most so long.
    fn next(&self, timeout: Duration) -> Option<(Wanted, Option<Identity>)> {
        let mut shared = self.identities.lock();
        if shared.queue.is_empty() {
            let waited = self.identities.0.1.wait_timeout(shared, timeout);
            shared = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        let wanted = shared.queue.pop_front()?;
        let before = shared.known.get(&wanted.state).map(|cached| cached.identity.clone());
        Some((wanted, before))
    }

    fn find_out(&mut self, wanted: &Wanted, before: Option<Identity>) -> Identity {
        let size = Some(wanted.state.size);
        let open = match file::open(wanted) {
            Ok(open) => open,
            Err(why) => return Identity { size, ..Identity::unknown(why) },
        };
        // The bytes of this state are known; only the packages have changed.
        let digests = match before.map(|before| before.digests) {
            Some(Known::Is(digests)) => Known::Is(digests),
            _ => match digest::of(&open, &wanted.state, &mut self.pace) {
                Ok(digests) => Known::Is(digests),
                Err(why) => Known::Not(why.into()),
            },
        };
        let owner = self.packages.owner(wanted.path.as_deref(), &open, digests.get());
        Identity { digests, size, owner }
    }
}

impl Sensor for IdentitySensor {
    fn poll(&mut self, timeout: Duration, _: &mut dyn FnMut(Sensed)) -> Result<(), SensorError> {
        self.packages.refresh();
        self.identities.lock().generation = self.packages.generation();
        let Some((wanted, before)) = self.next(timeout) else { return Ok(()) };
        let identity = self.find_out(&wanted, before);
        match identity.digests.why_not() {
            // What ended before it could be looked at says nothing about the next.
            Some(why) if why != file::GONE => {
                self.failures += 1;
                why.clone_into(&mut self.failure);
            }
            _ => self.failures = 0,
        }
        let generation = self.packages.generation();
        let mut shared = self.identities.lock();
        // A state that is gone comes back with the next exec of that file, and may be found then.
        if identity.digests.get().is_some() {
            shared.keep(wanted.state, identity.clone(), generation);
        }
        let askers = shared.askers.remove(&wanted.state).unwrap_or_default();
        shared.waiting -= askers.len();
        drop(shared);
        self.learned.extend(askers.into_iter().map(|event| Learned { event, identity: identity.clone() }));
        Ok(())
    }

    fn learned(&mut self) -> Vec<Learned> {
        std::mem::take(&mut self.learned)
    }

    fn is_urgent(&self) -> bool {
        false
    }

    fn statuses(&self) -> Vec<SensorStatus> {
        let reason = if self.failures >= TOO_MANY_FAILURES {
            Some(format!("the last {} executables could not be read: {}", self.failures, self.failure))
        } else {
            self.packages.missing().map(|why| format!("whose package executables are is not known: {why}"))
        };
        let state = reason.map_or(SensorState::Live, |reason| SensorState::Degraded { reason });
        // It produces no events of its own.
        vec![SensorStatus { kind: SensorKind::LinuxIdentity, state, produced: 0, lost: 0, undecoded: 0 }]
    }
}

impl Drop for IdentitySensor {
    fn drop(&mut self) {
        self.identities.lock().closed = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(inode: u64) -> FileState {
        FileState { device: (8, 1), inode, size: 1, modified: (1, 0), changed: (1, 0), magic: 0xef53 }
    }

    fn wanted(inode: u64) -> Wanted {
        Wanted { state: state(inode), process: ProcessKey::default(), path: None }
    }

    #[test]
    fn who_asks_is_answered_at_once_and_what_waits_is_bounded() {
        let identities = Identities::default();
        for n in 0..QUEUE as u64 {
            assert!(identities.ask(EventId(n.into()), wanted(n)).is_awaited());
        }
        // One that is waited for already costs no further place.
        assert!(identities.ask(EventId(5000), wanted(0)).is_awaited());
        let turned_away = identities.ask(EventId(5001), wanted(5001));
        assert_eq!(turned_away.digests.why_not(), Some("too many new executables at once"));
        let mut sensor = IdentitySensor::new(identities.clone());
        for _ in 0..3 {
            sensor.poll(Duration::ZERO, &mut |_| ()).unwrap();
        }
        let events: Vec<_> = sensor.learned().into_iter().map(|l| l.event.0).collect();
        assert_eq!(events, [0, 5000, 1, 2]);
        drop(sensor);
        assert!(!identities.ask(EventId(1), wanted(7777)).is_awaited());
    }

    #[test]
    fn what_is_remembered_is_bounded_and_what_is_asked_for_stays() {
        let mut shared = Shared::default();
        for n in 0..3 * CACHE as u64 {
            shared.keep(state(n), Identity::unknown("x"), 0);
            assert!(shared.known(&state(0)).is_some(), "after {n}");
        }
        assert!(shared.known.len() <= CACHE);
        shared.generation = 1;
        assert_eq!(shared.known(&state(0)), None, "the packages have changed");
    }
}
