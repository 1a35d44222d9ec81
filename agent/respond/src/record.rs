//! The records of containments on disk, one file for each, so that they expire, and last, whatever happens to the agent.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use wardline_event::Timestamp;
use wardline_policy::Rung;

use crate::measure::{IsolationSpec, Measure};

/// The format that this build writes. Of format 1 there are isolations only.
const VERSION: u32 = 2;
/// No record is longer.
const MAX_BYTES: u64 = 1024 * 1024;
/// The rungs of which there is one on a machine.
pub const SINGLE: [Rung; 3] = [Rung::EastWest, Rung::Isolation, Rung::Logons];
/// What the records of processes begin with.
const PROCESS: &str = "process-";

/// Who contained this machine or something on it, why, and for how long.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Format; 2.
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
    /// What is contained.
    pub measure: Measure,
    /// How long it has lasted by a clock that nobody sets, in milliseconds. Ends the containment in time on a machine
    /// whose calendar clock was set back: isolated, it cannot ask anybody for the time.
    #[serde(default)]
    pub served_ms: u64,
    /// That it was ended, and how.
    #[serde(default)]
    pub released: Option<Released>,
}

/// An isolation as format 1 wrote it.
#[derive(Deserialize)]
struct First {
    since: Timestamp,
    expires: Timestamp,
    by: String,
    reason: String,
    action_id: String,
    hubs: Vec<SocketAddr>,
    #[serde(default)]
    dhcp: bool,
    #[serde(default)]
    served_ms: u64,
    #[serde(default)]
    released: Option<Released>,
}

/// How a containment ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Released {
    /// When.
    pub at: Timestamp,
    /// By whom; `expiry` if by itself.
    pub by: String,
}

impl Record {
    /// A new containment that lasts until `expires`.
    pub fn new(since: Timestamp, expires: Timestamp, measure: Measure) -> Self {
        Self {
            version: VERSION,
            since,
            expires,
            by: String::new(),
            reason: String::new(),
            action_id: String::new(),
            measure,
            served_ms: 0,
            released: None,
        }
    }

    /// The same, ordered by someone for a reason.
    #[must_use]
    pub fn ordered(self, by: &str, reason: &str, action_id: &str) -> Self {
        Self { by: by.into(), reason: reason.into(), action_id: action_id.into(), ..self }
    }

    /// What is contained.
    pub fn rung(&self) -> Rung {
        self.measure.rung()
    }

    fn read(bytes: &[u8], version: u32) -> serde_json::Result<Self> {
        if version != 1 {
            return serde_json::from_slice(bytes);
        }
        let first: First = serde_json::from_slice(bytes)?;
        let spec = IsolationSpec { hubs: first.hubs, dhcp: first.dhcp, keep: Vec::new() };
        Ok(Self {
            version: VERSION,
            since: first.since,
            expires: first.expires,
            by: first.by,
            reason: first.reason,
            action_id: first.action_id,
            measure: Measure::Isolation(spec),
            served_ms: first.served_ms,
            released: first.released,
        })
    }
}

/// What a record asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// The containment goes on.
    Keep,
    /// It has expired or was released.
    Release,
}

/// Decides whether a containment goes on. Pure.
pub fn due(record: &Record, now: Timestamp) -> Due {
    let term = record.expires.since(record.since);
    let over = now >= record.expires || Duration::from_millis(record.served_ms) >= term;
    if over || record.released.is_some() { Due::Release } else { Due::Keep }
}

/// A record could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// The file cannot be read.
    #[error("cannot read the containment record {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The file is not a record. It says nothing about whether anything is contained.
    #[error(
        "the containment record {path} is damaged: check the machine and run `wardline agent release --local`"
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
        "the containment record {path} has version {version}, this build reads 1 to {VERSION}: update the agent"
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its version.
        version: u32,
    },
    /// The file cannot be written; the one before it is still there.
    #[error("cannot write the containment record {path}: check the disk's space and the folder's owner")]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// The name of a containment's file in the agent's state folder.
pub fn file_name(rung: &Rung) -> String {
    match rung {
        Rung::Process(key) => format!("{PROCESS}{key}.json"),
        single => format!("{single}.json"),
    }
}

/// The containments of which there is a file, from the narrowest to the widest.
pub fn recorded(state_dir: &Path) -> Vec<Rung> {
    let files = fs::read_dir(state_dir).into_iter().flatten().flatten();
    let rung = |name: &str| {
        let stem = name.strip_suffix(".json")?;
        match stem.strip_prefix(PROCESS) {
            Some(key) => key.parse().ok().map(Rung::Process),
            None => SINGLE.into_iter().find(|rung| rung.to_string() == stem),
        }
    };
    let mut rungs: Vec<Rung> = files.filter_map(|e| rung(e.file_name().to_str()?)).collect();
    rungs.sort_unstable();
    rungs
}

/// The containments that go on at `now`. One whose record cannot be read is missing: [`crate::Keeper::check`] tells of it.
pub fn going_on(state_dir: &Path, now: Timestamp) -> Vec<Record> {
    let records = recorded(state_dir).into_iter().filter_map(|rung| load(state_dir, &rung).ok().flatten());
    records.filter(|record| due(record, now) == Due::Keep).collect()
}

/// Reads a record; none if there is none.
pub fn load(state_dir: &Path, rung: &Rung) -> Result<Option<Record>, RecordError> {
    #[derive(Deserialize)]
    struct Version {
        version: u32,
    }
    let path = state_dir.join(file_name(rung));
    let mut bytes = Vec::new();
    match File::open(&path).and_then(|f| f.take(MAX_BYTES).read_to_end(&mut bytes)) {
        Ok(_) => {}
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(RecordError::Read { path, source }),
    }
    let version = serde_json::from_slice::<Version>(&bytes).map_or(VERSION, |v| v.version);
    if version > VERSION {
        return Err(RecordError::Newer { path, version });
    }
    let record = Record::read(&bytes, version).and_then(|record| {
        let fits = record.rung() == *rung;
        if fits {
            Ok(record)
        } else {
            Err(serde::de::Error::custom("it is the record of another containment"))
        }
    });
    record.map(Some).map_err(|source| RecordError::Damaged { path, source })
}

/// Writes a record so that after a crash either the old or the new one is there.
pub fn save(state_dir: &Path, record: &Record) -> Result<(), RecordError> {
    let name = file_name(&record.rung());
    let path = state_dir.join(&name);
    let write = || -> io::Result<()> {
        let new = state_dir.join(format!("{name}.new"));
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

/// Marks a record as released, so that no restart contains again. No record is fine.
///
/// A record that cannot be read is set aside as `NAME.damaged`, and on a full disk the record is deleted
/// instead: both have the same effect. A damaged record is still an error, so that a person hears of it. The record of a
/// process is deleted: there may be many, and the hub has the action.
pub fn mark_released(state_dir: &Path, rung: &Rung, now: Timestamp, by: &str) -> Result<(), RecordError> {
    let path = state_dir.join(file_name(rung));
    let mut record = match load(state_dir, rung) {
        Ok(Some(record)) if record.released.is_none() => record,
        Ok(_) => return Ok(()),
        Err(damage) => {
            let aside = state_dir.join(format!("{}.damaged", file_name(rung)));
            return match fs::rename(&path, aside) {
                Ok(()) => Err(damage),
                Err(source) => Err(RecordError::Write { path, source }),
            };
        }
    };
    if matches!(rung, Rung::Process(_)) {
        return fs::remove_file(&path).map_err(|source| RecordError::Write { path, source });
    }
    record.released = Some(Released { at: now, by: by.to_owned() });
    save(state_dir, &record).or_else(|e| fs::remove_file(&path).map_err(|_| e))
}
