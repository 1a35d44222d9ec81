//! What leaves the device: two spools, so that a flood of events never displaces a finding.
//!
//! The guard never waits for a disk: it queues records in memory ([`Outbox::put`]), and a thread of its own writes
//! them ([`Outbox::write`]). A disk that takes a quarter of a second to sync would otherwise give an attacker a
//! quarter of a second.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tracing::warn;
use wardline_event::{Body, Event};
use wardline_wire::MAX_RECORD_BYTES;
use wardline_wire::proto::RecordKind;

use crate::bell::Bell;
use crate::spool::{OpenReport, Run, Spool, SpoolError};

/// The two spools. Findings and action updates are few and precious; telemetry is plenty.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Lane {
    /// Findings and action updates.
    Findings,
    /// Events.
    Telemetry,
}

impl Lane {
    /// Both, the precious one first.
    pub const ALL: [Self; 2] = [Self::Findings, Self::Telemetry];

    fn of(kind: RecordKind) -> Self {
        match kind {
            RecordKind::Event => Self::Telemetry,
            _ => Self::Findings,
        }
    }

    fn folder(self) -> &'static str {
        match self {
            Self::Findings => "findings",
            Self::Telemetry => "telemetry",
        }
    }
}

/// How much disk each lane may use, in bytes.
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    /// For findings and action updates.
    pub findings: u64,
    /// For events.
    pub telemetry: u64,
}

impl Default for Budget {
    fn default() -> Self {
        Self { findings: 64 << 20, telemetry: 512 << 20 }
    }
}

/// Records that may wait in memory for the disk. At 1.5 kB each about 25 MB; an exec storm of 10,000 per second
/// then outlasts a disk that stalls for a second and a half.
const QUEUE: usize = 16_384;

/// … and so many bytes, where records are larger.
const QUEUE_BYTES: usize = 32 << 20;

/// What an event is worth when not all can be kept: of the least valuable a quarter of the queue is kept free.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Worth {
    /// Files, connections and system calls: the most frequent.
    Least,
    /// Processes, and what the agent tells of itself.
    More,
}

impl Worth {
    /// What this event is worth.
    pub fn of(event: &Event) -> Self {
        match &event.body {
            Body::Process(_) | Body::Loss(_) => Self::More,
            _ => Self::Least,
        }
    }
}

/// So many are written at once.
const CROWD: usize = QUEUE / 8;
/// How long events wait in memory for others. What the guard decided is done by then, and findings do not wait.
const LINGER: Duration = Duration::from_millis(20);

#[derive(Debug, Default)]
struct Queue {
    bytes: usize,
    records: VecDeque<(RecordKind, Vec<u8>)>,
    /// Something waits that the writer does not linger over.
    urgent: bool,
    /// Taken out and not yet in a spool.
    in_hand: u64,
    /// Records that found the queue full, by lane; they still need their gap in the sequence.
    overflowed: [u64; 2],
    /// Events that were put since the start, overflowed ones included.
    spooled: u64,
    /// Of these, those that are with the spool, kept or counted there as dropped.
    written: u64,
}

/// Both spools, shared between the guard, which fills them, and the desk, which empties them for the courier.
#[derive(Debug)]
pub struct Outbox {
    queue: Mutex<Queue>,
    queued: Condvar,
    lanes: [Mutex<Spool>; 2],
    /// How often the log was told of a failing disk.
    failures: AtomicU64,
    /// Rings when there is something new in a spool.
    pub bell: Bell,
}

impl Outbox {
    /// Opens both spools below `dir`; damage that was mended goes to the log.
    pub fn open(dir: &Path, budget: Budget, random: fn() -> [u8; 16]) -> Result<Self, SpoolError> {
        let open = |lane: Lane, budget| {
            let path = dir.join(lane.folder());
            let (spool, OpenReport { torn_bytes, set_aside }) = Spool::open(&path, budget, random())?;
            if torn_bytes > 0 {
                warn!(spool = %path.display(), torn_bytes, "cut off an unfinished record: the machine stopped while writing it");
            }
            for file in set_aside {
                warn!(file = %file.display(), "a spool segment was damaged: kept what was whole, set the original aside");
            }
            Ok(Mutex::new(spool))
        };
        let lanes = [open(Lane::Findings, budget.findings)?, open(Lane::Telemetry, budget.telemetry)?];
        Ok(Self {
            queue: Mutex::default(),
            queued: Condvar::new(),
            lanes,
            failures: AtomicU64::new(0),
            bell: Bell::new().map_err(SpoolError::io("making the bell of", dir))?,
        })
    }

    /// The spool of a lane. A panic elsewhere does not make the spool unusable: each of its steps is whole.
    pub fn lane(&self, lane: Lane) -> MutexGuard<'_, Spool> {
        self.lanes[lane as usize].lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Queues a record for [`Outbox::write`]. Never waits for the disk; what finds no room is dropped and counted. A
    /// finding or an answer takes the room of events.
    pub fn put(&self, kind: RecordKind, body: Vec<u8>) {
        self.queue_up(kind, body, QUEUE, QUEUE_BYTES);
    }

    /// The same for an event. Under pressure the least valuable are dropped first.
    pub fn put_event(&self, worth: Worth, body: Vec<u8>) {
        let (records, bytes) = match worth {
            Worth::Least => (QUEUE / 4 * 3, QUEUE_BYTES / 4 * 3),
            Worth::More => (QUEUE, QUEUE_BYTES),
        };
        self.queue_up(RecordKind::Event, body, records, bytes);
    }

    fn queue_up(&self, kind: RecordKind, body: Vec<u8>, most: usize, most_bytes: usize) {
        let lane = Lane::of(kind);
        let mut queue = self.queue();
        // To wake the writer costs more than to write: the first record does, one that is precious, and a crowd.
        let rings = queue.records.is_empty() || lane == Lane::Findings || queue.records.len() == CROWD;
        queue.spooled += u64::from(lane == Lane::Telemetry);
        let full = |queue: &Queue| queue.records.len() >= most || queue.bytes + body.len() > most_bytes;
        while full(&queue) && lane == Lane::Findings {
            let Some(event) = queue.records.iter().rposition(|(kind, _)| Lane::of(*kind) == Lane::Telemetry)
            else {
                break;
            };
            let given_up = queue.records.remove(event).map_or(0, |(_, body)| body.len());
            queue.bytes -= given_up;
            queue.overflowed[Lane::Telemetry as usize] += 1;
        }
        if full(&queue) {
            queue.overflowed[lane as usize] += 1;
        } else {
            queue.bytes += body.len();
            queue.records.push_back((kind, body));
        }
        queue.urgent |= lane == Lane::Findings || queue.records.len() > CROWD;
        drop(queue);
        if rings {
            self.queued.notify_one();
        }
    }

    /// Writes what is queued to the spools, after waiting at most `patience` for something to be queued, and a little
    /// for what belongs to it: events come in crowds.
    pub fn write(&self, patience: Duration) {
        let mut queue = self.queue();
        if queue.records.is_empty() {
            queue = self.queued.wait_timeout(queue, patience).unwrap_or_else(PoisonError::into_inner).0;
        }
        if !queue.records.is_empty() && !queue.urgent {
            let linger = patience.min(LINGER);
            let waited = self.queued.wait_timeout_while(queue, linger, |queue| !queue.urgent);
            queue = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        queue.urgent = false;
        let records = std::mem::take(&mut queue.records);
        queue.bytes = 0;
        let overflowed = std::mem::take(&mut queue.overflowed);
        if records.is_empty() && overflowed == [0, 0] {
            return;
        }
        queue.in_hand = records.len() as u64;
        drop(queue);
        let events = records.iter().filter(|(kind, _)| Lane::of(*kind) == Lane::Telemetry).count() as u64;
        for (kind, body) in records {
            self.keep(kind, &body);
        }
        for (lane, lost) in Lane::ALL.into_iter().zip(overflowed).filter(|(_, lost)| *lost > 0) {
            warn!(lost, "events came faster than the disk could take them; the lost ones are counted");
            let mut spool = self.lane(lane);
            (0..lost).for_each(|_| spool.skip());
        }
        let mut queue = self.queue();
        queue.in_hand = 0;
        queue.written += events + overflowed[Lane::Telemetry as usize];
        drop(queue);
        self.bell.ring();
    }

    /// Appends a record to its spool. What cannot be kept is counted there and named in the log.
    fn keep(&self, kind: RecordKind, body: &[u8]) {
        let mut spool = self.lane(Lane::of(kind));
        // An oversized record would be refused by the hub again and again, and block those behind it.
        if body.len() > MAX_RECORD_BYTES {
            spool.skip();
            warn!(bytes = body.len(), "a record was too large to send and was dropped");
        } else if let Err(error) = spool.append(kind as u8, body) {
            let dropped = spool.dropped();
            drop(spool);
            // The other lane may hold space that it no longer needs.
            for lane in Lane::ALL {
                self.lane(lane).make_room();
            }
            // One line for a hundred failures: a full disk must not fill the log as well.
            if self.failures.fetch_add(1, Ordering::Relaxed).is_multiple_of(100) {
                warn!(dropped, "a record could not be kept, and is counted: {}", crate::chain(&error));
            }
        }
    }

    /// Reads the next run of a lane; a read error is logged and looks like nothing to send.
    pub fn read(&self, lane: Lane, from: u64, max_bytes: usize) -> Option<([u8; 16], Run)> {
        let mut spool = self.lane(lane);
        match spool.read(from, max_bytes) {
            Ok(run) => run.map(|run| (spool.id(), run)),
            Err(error) => {
                warn!("the spool cannot be read: {}", crate::chain(&error));
                None
            }
        }
    }

    /// Records that wait, in memory and in both lanes. May wait for the disk.
    pub fn waiting(&self) -> u64 {
        let queue = self.queue();
        let in_memory = queue.records.len() as u64 + queue.in_hand;
        drop(queue);
        in_memory + Lane::ALL.into_iter().map(|l| self.lane(l).waiting()).sum::<u64>()
    }

    /// The account of the events. May wait for the disk, so whoever must not wait is handed it.
    pub fn events(&self) -> EventAccount {
        let queue = self.queue();
        let (spooled, overflowed) = (queue.spooled, queue.overflowed);
        let in_memory = spooled - queue.written - overflowed[Lane::Telemetry as usize];
        drop(queue);
        // After the queue: what the scribe writes meanwhile counts as waiting twice, never as delivered.
        let (findings, events) = (self.lane(Lane::Findings).dropped(), self.lane(Lane::Telemetry));
        let dropped = overflowed.iter().sum::<u64>() + findings + events.dropped();
        EventAccount { spooled, dropped, waiting: in_memory + events.waiting() }
    }
}

/// What became of the events since the start. Findings and action updates count only where they were dropped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EventAccount {
    /// Handed to the outbox.
    pub spooled: u64,
    /// Dropped because the queue, the budget or the disk was full: of both lanes, as the hub counts the gaps of both.
    pub dropped: u64,
    /// Not acknowledged by the hub yet, those of earlier runs included.
    pub waiting: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn under_pressure_the_least_valuable_goes_first_and_is_counted() {
        let dir = tempfile::tempdir().unwrap();
        let outbox = Outbox::open(dir.path(), Budget::default(), || [7; 16]).unwrap();
        let quarter = QUEUE / 4;
        (0..QUEUE).for_each(|_| outbox.put_event(Worth::Least, b"file".to_vec()));
        assert_eq!(outbox.queue().records.len(), 3 * quarter, "a quarter stays free for what is worth more");
        (0..QUEUE).for_each(|_| outbox.put_event(Worth::More, b"process".to_vec()));
        assert_eq!(outbox.queue().records.len(), QUEUE);
        (0..10).for_each(|_| outbox.put(RecordKind::Finding, b"finding".to_vec()));
        let account = outbox.events();
        assert_eq!(account.spooled, 2 * QUEUE as u64);
        assert_eq!(account.dropped, QUEUE as u64 + 10);
        outbox.write(Duration::ZERO);
        assert_eq!(outbox.lane(Lane::Findings).waiting(), 10, "a finding takes an event's room");
        assert_eq!(outbox.lane(Lane::Telemetry).waiting(), QUEUE as u64 - 10);
        assert_eq!(outbox.events().dropped, account.dropped, "the same once it is on the disk");

        // Few large records are a full queue too.
        let large = 512 << 10;
        (0..100).for_each(|_| outbox.put_event(Worth::More, vec![0; large]));
        assert_eq!(outbox.queue().records.len(), QUEUE_BYTES / large);
    }
}
