//! What leaves the device: two spools, so that a flood of events never displaces a finding.

use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tracing::warn;
use wardline_wire::MAX_RECORD_BYTES;
use wardline_wire::proto::RecordKind;

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

/// Both spools, shared between the guard, which fills them, and the courier, which empties them.
#[derive(Debug)]
pub struct Outbox {
    lanes: [Mutex<Spool>; 2],
    /// Rings when there is something new.
    pub wake: Notify,
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
        Ok(Self { lanes, wake: Notify::new() })
    }

    /// The spool of a lane. A panic elsewhere does not make the spool unusable: each of its steps is whole.
    pub fn lane(&self, lane: Lane) -> MutexGuard<'_, Spool> {
        self.lanes[lane as usize].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Queues a record. What cannot be written is counted in the spool and named in the log.
    pub fn put(&self, kind: RecordKind, body: &[u8]) {
        let mut spool = self.lane(Lane::of(kind));
        // An oversized record would be refused by the hub again and again, and block those behind it.
        let written = if body.len() > MAX_RECORD_BYTES {
            Err(None)
        } else {
            spool.append(kind as u8, body).map_err(Some)
        };
        match written {
            Ok(_) => {}
            Err(None) => {
                spool.skip();
                warn!(bytes = body.len(), "a record was too large to send and was dropped");
            }
            // One line for a hundred failures: a full disk must not fill the log as well.
            Err(Some(error)) if spool.dropped() % 100 == 1 => {
                warn!(
                    error = &error as &dyn std::error::Error,
                    dropped = spool.dropped(),
                    "a record could not be kept"
                );
            }
            Err(Some(_)) => {}
        }
        drop(spool);
        self.wake.notify_one();
    }

    /// Reads the next run of a lane; a read error is logged and looks like nothing to send.
    pub fn read(&self, lane: Lane, from: u64, max_bytes: usize) -> Option<([u8; 16], Run)> {
        let mut spool = self.lane(lane);
        match spool.read(from, max_bytes) {
            Ok(run) => run.map(|run| (spool.id(), run)),
            Err(error) => {
                warn!(error = &error as &dyn std::error::Error, "the spool cannot be read");
                None
            }
        }
    }

    /// Records that wait, in both lanes.
    pub fn waiting(&self) -> u64 {
        Lane::ALL.into_iter().map(|l| self.lane(l).waiting()).sum()
    }

    /// Events that were dropped from the telemetry lane, and records from the findings lane, since the start.
    pub fn dropped(&self) -> (u64, u64) {
        (self.lane(Lane::Telemetry).dropped(), self.lane(Lane::Findings).dropped())
    }
}
