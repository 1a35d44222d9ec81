//! The system's journal as it grows: who signs in, and what programs write about themselves.
//!
//! The files of systemd-journald are read, not its socket: no program is started, and what is not read yet waits on disk.

use std::collections::HashSet;
use std::fs::{self, File};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use wardline_event::{Body, LogActivity, SensorKind, SensorState, SensorStatus};
use wardline_sense::journal::{Bytes, Entry, Journal, JournalError};
use wardline_sense::{Sensed, Sensor, SensorError, login};

use crate::context::{Context, Refused, SharedTable, chain, off};

/// How often files are looked at for new entries, and folders for new files.
const LOOK: Duration = Duration::from_millis(250);
const LIST: Duration = Duration::from_secs(2);
/// Entries that are read in one round; what is beyond is passed over and counted.
const ROUND: u64 = 5000;
/// Files that are followed.
const FILES: usize = 64;
/// So often in a row a file must be unreadable, or the journal gone, before that is said: what is being begun or put away
/// is neither for a moment.
const TRIES: u32 = 5;

struct Grown(File);

impl Bytes for Grown {
    fn read_at(&self, at: u64, into: &mut [u8]) -> std::io::Result<()> {
        self.0.read_exact_at(into, at)
    }
}

struct Followed {
    file: Grown,
    journal: Journal,
    /// Device and inode.
    identity: (u64, u64),
    path: PathBuf,
}

/// Reads the journal.
pub struct LogSensor {
    context: Context,
    folders: Vec<PathBuf>,
    files: Vec<Followed>,
    /// Files that cannot be read, which are not tried again, and why the last cannot.
    refused: HashSet<(u64, u64)>,
    refusal: Option<String>,
    /// Listings in a row in which a file could not be read, and in which there was none.
    unreadable: u32,
    missing: u32,
    /// This program: what it writes about others' lines must not become a line that it reads.
    own: String,
    listed: Option<Instant>,
    delivered: u64,
    lost: u64,
    undecoded: u64,
}

impl LogSensor {
    /// Begins at the end of what the journal holds now.
    pub(crate) fn open(table: SharedTable) -> Result<Self, Refused> {
        let machine = fs::read_to_string("/etc/machine-id").unwrap_or_default();
        let folders = ["/run/log/journal", "/var/log/journal"].map(|f| PathBuf::from(f).join(machine.trim()));
        Self::of(folders.into(), table)
    }

    /// The same for a journal in these folders.
    pub fn of(folders: Vec<PathBuf>, table: SharedTable) -> Result<Self, Refused> {
        let context = Context::new(table).map_err(|e| Refused(chain(&e)))?;
        let mut sensor = Self {
            context,
            folders,
            files: Vec::new(),
            refused: HashSet::new(),
            refusal: None,
            unreadable: 0,
            missing: 0,
            own: std::env::current_exe().map(|p| p.display().to_string()).unwrap_or_default(),
            listed: None,
            delivered: 0,
            lost: 0,
            undecoded: 0,
        };
        sensor.list(true);
        // At the start nobody falls silent.
        (sensor.missing, sensor.unreadable) = (TRIES, TRIES);
        Ok(sensor)
    }

    /// Takes up files that are new; those that are being replaced are read to their end.
    fn list(&mut self, at_start: bool) {
        self.listed = Some(Instant::now());
        let entries = self.folders.iter().flat_map(|folder| fs::read_dir(folder).into_iter().flatten());
        let mut there = HashSet::new();
        let mut unreadable = None;
        for entry in entries.flatten() {
            let (path, name) = (entry.path(), entry.file_name());
            let name = name.to_string_lossy();
            // With an `@` it was put away.
            if !name.ends_with(".journal") || name.contains('@') {
                continue;
            }
            let Ok(metadata) = fs::metadata(&path) else { continue };
            let identity = (metadata.dev(), metadata.ino());
            there.insert(identity);
            let is_known =
                self.files.iter().any(|f| f.identity == identity) || self.refused.contains(&identity);
            if is_known || self.files.len() >= FILES {
                continue;
            }
            match follow(&path, at_start) {
                Ok((file, journal)) => self.files.push(Followed { file, journal, identity, path }),
                Err(error) => {
                    unreadable = Some(format!("{}: {}", path.display(), chain(&error)));
                    // A file that was just begun may be whole the next time.
                    if !matches!(error, JournalError::Io(_)) && self.refused.len() < FILES {
                        self.refused.insert(identity);
                    }
                }
            }
        }
        self.refused.retain(|identity| there.contains(identity));
        if unreadable.is_some() {
            self.refusal = unreadable;
            self.unreadable = self.unreadable.saturating_add(1);
        } else if self.refused.is_empty() {
            (self.refusal, self.unreadable) = (None, 0);
        } else {
            self.unreadable = TRIES;
        }
        self.files.retain(|followed| {
            there.contains(&followed.identity)
                || followed.journal.waiting(&followed.file).is_ok_and(|n| n > 0)
        });
        self.missing = if self.files.is_empty() { self.missing.saturating_add(1) } else { 0 };
    }

    fn read(&mut self, sink: &mut dyn FnMut(Sensed)) -> bool {
        let mut any = false;
        let mut files = std::mem::take(&mut self.files);
        for followed in &mut files {
            let Followed { file, journal, path, .. } = followed;
            let waiting = journal.waiting(file).unwrap_or(0);
            for _ in ROUND..waiting {
                match journal.skip(file) {
                    Ok(true) => self.lost += 1,
                    _ => break,
                }
            }
            for _ in 0..ROUND.min(waiting) {
                match journal.next(file) {
                    Ok(Some(entry)) => {
                        any = true;
                        if self.is_own(&entry) {
                            continue;
                        }
                        self.delivered += 1;
                        let sensed = self.sense(entry);
                        sink(sensed);
                    }
                    Ok(None) => break,
                    Err(error) => {
                        self.undecoded += 1;
                        tracing::warn!(file = %path.display(), "an entry of the journal could not be read: {}", chain(&error));
                        if matches!(error, JournalError::Io(_)) {
                            break;
                        }
                    }
                }
            }
        }
        self.files = files;
        any
    }

    fn is_own(&self, entry: &Entry) -> bool {
        entry.pid == Some(std::process::id()) || (!entry.exe.is_empty() && entry.exe == self.own)
    }

    fn sense(&mut self, entry: Entry) -> Sensed {
        let boot_ns = self.context.boot_ns(entry.monotonic_us.saturating_mul(1000));
        let program = if entry.identifier.is_empty() { entry.comm } else { entry.identifier };
        // The kernel told the journal who wrote it.
        let is_vouched = entry.uid == Some(0);
        let login = is_vouched.then(|| login::read(&program, &entry.message)).flatten();
        let mut actor = self.context.with_pid(entry.pid.unwrap_or(0));
        if actor.image.is_empty() {
            actor.image = entry.exe;
        }
        if let Some(uid) = entry.uid.filter(|_| actor.user.uid.is_empty()) {
            actor.user = self.context.users.user(uid);
        }
        let log = LogActivity {
            program,
            message: entry.message,
            unit: entry.unit,
            facility: entry.facility,
            is_vouched,
            login,
            actor,
        };
        self.context.event(Body::Log(log), boot_ns)
    }
}

fn follow(path: &PathBuf, at_start: bool) -> Result<(Grown, Journal), JournalError> {
    let file = Grown(File::open(path)?);
    let mut journal = Journal::open(&file)?;
    if at_start {
        journal.skip_to_end(&file)?;
    }
    Ok((file, journal))
}

impl Sensor for LogSensor {
    fn poll(&mut self, timeout: Duration, sink: &mut dyn FnMut(Sensed)) -> Result<(), SensorError> {
        self.context.refresh();
        if self.listed.is_none_or(|listed| listed.elapsed() >= LIST) {
            self.list(false);
        }
        if !self.read(sink) {
            std::thread::sleep(timeout.min(LOOK));
        }
        Ok(())
    }

    /// It reads files, and what it tells has happened a moment ago.
    fn is_urgent(&self) -> bool {
        false
    }

    fn statuses(&self) -> Vec<SensorStatus> {
        let refusal = self.refusal.as_ref().filter(|_| self.unreadable >= TRIES);
        let state = match (self.files.is_empty() && self.missing >= TRIES, refusal) {
            (false, None) => SensorState::Live,
            (false, Some(why)) => {
                SensorState::Degraded { reason: format!("a part of the journal cannot be read: {why}") }
            }
            (true, Some(why)) => off(format!("the journal cannot be read: {why}")),
            (true, None) => {
                let folders: Vec<_> = self.folders.iter().map(|f| f.display().to_string()).collect();
                off(format!("there is no journal in {}: needs systemd-journald", folders.join(" or ")))
            }
        };
        vec![SensorStatus {
            kind: SensorKind::LinuxLog,
            state,
            produced: self.delivered + self.lost + self.undecoded,
            lost: self.lost + self.undecoded,
            undecoded: self.undecoded,
        }]
    }
}
