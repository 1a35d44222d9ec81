//! The record of an isolation on disk, so that it expires, and lasts, whatever happens to the agent.
//!
//! The agent saves a record and calls [`reconcile`]; it calls it again at every start and about once a minute. The
//! kernel then is what the record says: isolated, even after a reboot, until the record is due.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use wardline_event::Timestamp;

use crate::Responder;
use crate::isolation::{IsolateError, IsolationReport, IsolationSpec};

/// The file in the agent's state folder.
pub const FILE: &str = "isolation.json";
/// The format that this build writes.
const VERSION: u32 = 1;
/// No record is longer.
const MAX_BYTES: u64 = 64 * 1024;
/// How much served time the record may lack. Writing it waits for the disk.
pub const SAVE_EVERY: Duration = Duration::from_mins(1);

/// Who isolated this machine, why, and for how long.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IsolationRecord {
    /// Format; 1.
    pub version: u32,
    /// When it began.
    pub since: Timestamp,
    /// When it ends by itself.
    pub expires: Timestamp,
    /// The person or rule that ordered it.
    pub by: String,
    /// Why, in their words.
    pub reason: String,
    /// The action at the hub.
    pub action_id: String,
    /// What stays reachable.
    pub hubs: Vec<SocketAddr>,
    /// Whether DHCP is kept.
    #[serde(default)]
    pub dhcp: bool,
    /// How long it has lasted by a clock that nobody sets, in milliseconds. Ends the isolation in time on a machine
    /// whose calendar clock was set back: isolated, it cannot ask anybody for the time.
    #[serde(default)]
    pub served_ms: u64,
    /// That it was ended, and how.
    #[serde(default)]
    pub released: Option<Released>,
}

/// How an isolation ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Released {
    /// When.
    pub at: Timestamp,
    /// By whom; `expiry` if by itself.
    pub by: String,
}

impl IsolationRecord {
    /// A new isolation that lasts until `expires`.
    pub fn new(since: Timestamp, expires: Timestamp, spec: IsolationSpec) -> Self {
        Self {
            version: VERSION,
            since,
            expires,
            by: String::new(),
            reason: String::new(),
            action_id: String::new(),
            hubs: spec.hubs,
            dhcp: spec.dhcp,
            served_ms: 0,
            released: None,
        }
    }

    /// The same, ordered by someone for a reason.
    #[must_use]
    pub fn ordered(self, by: &str, reason: &str, action_id: &str) -> Self {
        Self { by: by.into(), reason: reason.into(), action_id: action_id.into(), ..self }
    }

    /// What to isolate.
    pub fn spec(&self) -> IsolationSpec {
        IsolationSpec { hubs: self.hubs.clone(), dhcp: self.dhcp }
    }
}

/// What a record asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// The isolation goes on.
    Keep,
    /// It has expired or was released.
    Release,
}

/// Decides whether an isolation goes on. Pure.
pub fn due(record: &IsolationRecord, now: Timestamp) -> Due {
    let term = record.expires.since(record.since);
    let over = now >= record.expires || Duration::from_millis(record.served_ms) >= term;
    if over || record.released.is_some() { Due::Release } else { Due::Keep }
}

/// What is to be done about the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Nothing,
    Isolate,
    Release,
}

/// Compares what is recorded with what is. Pure. An isolation without a record would never expire: it is released.
///
/// `isolated` is false for a table that somebody has weakened, the rest of which still cuts. So when an isolation
/// ends, and at every start, what may be left is released too.
fn step(record: Option<&IsolationRecord>, isolated: bool, starting: bool, now: Timestamp) -> Step {
    let due = record.map_or(Due::Release, |r| due(r, now));
    let ending = record.is_some_and(|r| r.released.is_none());
    match due {
        Due::Keep if isolated => Step::Nothing,
        Due::Keep => Step::Isolate,
        Due::Release if isolated || ending || starting => Step::Release,
        Due::Release => Step::Nothing,
    }
}

/// What [`reconcile`] did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reconciled {
    /// Nothing had to be done; whether the machine is isolated.
    Unchanged {
        /// True if it is.
        isolated: bool,
    },
    /// The record asked for isolation and the kernel had none, or not a whole one.
    Isolated(IsolationReport),
    /// The isolation had expired or was released.
    Released,
}

/// The record and the kernel could not be brought to agree.
#[derive(Debug, thiserror::Error)]
pub enum ReconcileError {
    /// The record.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// The kernel.
    #[error(transparent)]
    Isolate(#[from] IsolateError),
}

/// Makes the kernel what the record in `state_dir` says. Idempotent.
///
/// `elapsed` is how long the isolation has lasted beyond what the record says, by a clock that only goes forward; zero
/// at the first call after a start. From [`SAVE_EVERY`] on it is written to the record: the caller then counts anew.
pub fn reconcile(
    responder: &mut dyn Responder,
    state_dir: &Path,
    now: Timestamp,
    elapsed: Duration,
) -> Result<Reconciled, ReconcileError> {
    let mut record = load(state_dir)?;
    let isolated = responder.is_isolated()?;
    if let Some(record) = record.as_mut().filter(|r| isolated && !elapsed.is_zero() && r.released.is_none()) {
        record.served_ms =
            record.served_ms.saturating_add(u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX));
        if elapsed >= SAVE_EVERY {
            // On a full disk the time served is lost; the calendar still ends the isolation.
            let _ = save(state_dir, record);
        }
    }
    let todo = step(record.as_ref(), isolated, elapsed.is_zero(), now);
    let done = match (todo, &record) {
        (Step::Isolate, Some(record)) => Reconciled::Isolated(responder.isolate(&record.spec())?),
        (Step::Release, _) if responder.release()?.was_isolated => Reconciled::Released,
        (Step::Release, _) => Reconciled::Unchanged { isolated: false },
        _ => Reconciled::Unchanged { isolated },
    };
    // Said once more in the record: a clock that is set back later must not begin the isolation anew.
    if record.is_some_and(|r| r.released.is_none() && due(&r, now) == Due::Release) {
        mark_released(state_dir, now, "expiry")?;
    }
    Ok(done)
}

/// The record could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// The file cannot be read.
    #[error("cannot read the isolation record {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The file is not a record. It says nothing about whether the machine is isolated.
    #[error(
        "the isolation record {path} is damaged: check the machine and run `wardline agent release --local`"
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where.
        #[source]
        source: serde_json::Error,
    },
    /// The file was written by a newer agent.
    #[error(
        "the isolation record {path} has version {version}, this build reads {VERSION}: update the agent"
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its version.
        version: u32,
    },
    /// The file cannot be written; the one before it is still there.
    #[error("cannot write the isolation record {path}: check the disk's space and the folder's owner")]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// Reads the record; none if there is none.
pub fn load(state_dir: &Path) -> Result<Option<IsolationRecord>, RecordError> {
    #[derive(Deserialize)]
    struct Version {
        version: u32,
    }
    let path = state_dir.join(FILE);
    let mut bytes = Vec::new();
    match File::open(&path).and_then(|f| f.take(MAX_BYTES).read_to_end(&mut bytes)) {
        Ok(_) => {}
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(RecordError::Read { path, source }),
    }
    match serde_json::from_slice::<Version>(&bytes) {
        Ok(v) if v.version > VERSION => Err(RecordError::Newer { path, version: v.version }),
        _ => match serde_json::from_slice(&bytes) {
            Ok(record) => Ok(Some(record)),
            Err(source) => Err(RecordError::Damaged { path, source }),
        },
    }
}

/// Writes the record so that after a crash either the old or the new one is there.
pub fn save(state_dir: &Path, record: &IsolationRecord) -> Result<(), RecordError> {
    let path = state_dir.join(FILE);
    let write = || -> io::Result<()> {
        let new = state_dir.join("isolation.json.new");
        let mut file = File::create(&new)?;
        file.write_all(&serde_json::to_vec_pretty(record)?)?;
        file.sync_all()?;
        fs::rename(&new, &path)?;
        // The rename itself is on disk only once the folder is.
        #[cfg(unix)]
        File::open(state_dir)?.sync_all()?;
        Ok(())
    };
    write().map_err(|source| RecordError::Write { path: path.clone(), source })
}

/// Marks the record as released, so that no restart isolates again. No record is fine.
///
/// A record that cannot be read is set aside as `isolation.json.damaged`, and on a full disk the record is deleted
/// instead: both have the same effect. A damaged record is still an error, so that a person hears of it.
pub fn mark_released(state_dir: &Path, now: Timestamp, by: &str) -> Result<(), RecordError> {
    let path = state_dir.join(FILE);
    let mut record = match load(state_dir) {
        Ok(Some(record)) if record.released.is_none() => record,
        Ok(_) => return Ok(()),
        Err(damage) => {
            let aside = state_dir.join("isolation.json.damaged");
            return match fs::rename(&path, aside) {
                Ok(()) => Err(damage),
                Err(source) => Err(RecordError::Write { path, source }),
            };
        }
    };
    record.released = Some(Released { at: now, by: by.to_owned() });
    save(state_dir, &record).or_else(|e| fs::remove_file(&path).map_err(|_| e))
}

#[cfg(test)]
mod tests;
