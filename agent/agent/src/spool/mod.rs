//! The spool: records wait on disk until the hub says that they are on its own.
//!
//! A spool is a folder of segments. Each record has a sequence number; numbers never repeat within a spool, and a
//! spool has a random id, so `(spool id, number)` names a record for ever and a hub stores it once.
//!
//! What can go wrong, and what happens then:
//! - *power cut*: the torn tail of the newest segment is cut off at open ([`OpenReport::torn_bytes`]).
//! - *damaged disk*: a segment is kept up to the damage, the original is set aside as `*.corrupt`, and the lost
//!   records are counted; the spool opens all the same.
//! - *hub away for long*: when the budget is spent, the oldest segment goes; its records are counted.
//! - *disk full*: the record is dropped and counted; the next one that fits starts a new segment.
//!
//! A number that the hub may have seen is never given again: a record is on this disk before it is handed out, and
//! so is the last acknowledged number before a segment is removed. A counted loss leaves a gap, and the hub sees it.

mod segment;

use std::collections::VecDeque;
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use segment::Segment;

/// What kind of record: `RecordKind` of the wire protocol as a byte.
pub type Kind = u8;

/// A spool could not be opened or written.
#[derive(Debug, thiserror::Error)]
pub enum SpoolError {
    /// The file system failed.
    #[error("spool: {doing} {path} failed", path = path.display())]
    Io {
        /// What was being tried.
        doing: &'static str,
        /// On which file or folder.
        path: PathBuf,
        /// What the system answered.
        #[source]
        source: io::Error,
    },
    /// Written by a newer build.
    #[error("spool {path} was written by a newer version of Wardline; update this one, or move the folder away (its records are then not sent)", path = .0.display())]
    Newer(PathBuf),
}

impl SpoolError {
    pub(crate) fn io<'a>(doing: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> Self + 'a {
        move |source| Self::Io { doing, path: path.to_owned(), source }
    }
}

/// What opening found and mended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OpenReport {
    /// Bytes of an unfinished record that were cut off.
    pub torn_bytes: u64,
    /// Segments that were damaged and set aside.
    pub set_aside: Vec<PathBuf>,
}

/// A consecutive run of records, ready to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// Number of the first record.
    pub first_seq: u64,
    /// The records.
    pub records: Vec<(Kind, Vec<u8>)>,
}

/// A bounded queue of records on disk.
#[derive(Debug)]
pub struct Spool {
    dir: PathBuf,
    id: [u8; 16],
    budget: u64,
    segments: VecDeque<Segment>,
    /// The number that the next record gets. The first is 1.
    next_seq: u64,
    /// All numbers up to this one are done with.
    acked: u64,
    dropped: u64,
}

/// No number is larger: the hub stores them as signed 64-bit integers, and half of those last for ever. A note or a
/// file name beyond it was damaged.
const LAST_SEQ: u64 = 1 << 62;

/// The format of the folder; the number in the `version` line of `spool.id`.
const VERSION: u32 = 1;

impl Spool {
    /// Opens the spool in `dir`, or makes one with the id `fresh_id`. At most `budget` bytes are kept.
    pub fn open(dir: &Path, budget: u64, fresh_id: [u8; 16]) -> Result<(Self, OpenReport), SpoolError> {
        fs::create_dir_all(dir).map_err(SpoolError::io("creating folder", dir))?;
        let mut report = OpenReport::default();
        let (id, mut paths) = (read_or_make_id(dir, fresh_id)?, Vec::new());
        for entry in fs::read_dir(dir).map_err(SpoolError::io("reading folder", dir))? {
            let path = entry.map_err(SpoolError::io("reading folder", dir))?.path();
            if let Some(first) = segment::first_seq_of(&path) {
                paths.push((first, path));
            }
        }
        paths.sort();
        let mut spool = Self {
            dir: dir.to_owned(),
            id,
            budget,
            segments: VecDeque::new(),
            next_seq: 1,
            acked: 0,
            dropped: 0,
        };
        let last = paths.len().saturating_sub(1);
        for (i, (first, path)) in paths.into_iter().enumerate() {
            // A hole before this segment was counted when it arose, or lies behind an acknowledged one.
            spool.next_seq = spool.next_seq.max(first);
            let opened = Segment::open(&path, first, i == last)?;
            report.torn_bytes += opened.torn_bytes;
            report.set_aside.extend(opened.set_aside);
            spool.next_seq = first + opened.segment.count();
            if opened.segment.count() > 0 {
                spool.segments.push_back(opened.segment);
            } else {
                opened.segment.remove()?;
            }
        }
        match fs::read_to_string(dir.join("acked")) {
            Ok(text) => spool.acked = text.trim().parse().ok().filter(|seq| *seq <= LAST_SEQ).unwrap_or(0),
            // Made while there is room for it. Without it the spool works, until the disk is full.
            Err(e) if e.kind() == io::ErrorKind::NotFound => drop(spool.note_acked()),
            Err(_) => {}
        }
        // Numbers up to `acked` were certainly given away, even if their segments are gone.
        spool.next_seq = spool.next_seq.max(spool.acked + 1);
        spool.forget_acked()?;
        Ok((spool, report))
    }

    /// The spool's id.
    pub fn id(&self) -> [u8; 16] {
        self.id
    }

    /// Records dropped since opening, because the budget or the disk was full.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Records that wait for their acknowledgement.
    pub fn waiting(&self) -> u64 {
        self.segments.iter().map(|s| s.end_seq().saturating_sub(s.first_seq.max(self.acked + 1))).sum()
    }

    /// Appends a record. A record that cannot be written is counted as dropped and keeps its number.
    ///
    /// The error is for the log: the spool stays usable, and the next append tries again.
    pub fn append(&mut self, kind: Kind, body: &[u8]) -> Result<u64, SpoolError> {
        let seq = self.next_seq;
        self.next_seq += 1;
        let mut written = self.try_append(seq, kind, body);
        if written.is_err() && self.make_room() {
            written = self.try_append(seq, kind, body);
        }
        if written.is_err() {
            self.dropped += 1;
        }
        written.map(|()| seq)
    }

    /// Gives a number to a record that is not kept, and counts it: the hub sees the gap.
    pub fn skip(&mut self) {
        self.next_seq += 1;
        self.dropped += 1;
    }

    fn try_append(&mut self, seq: u64, kind: Kind, body: &[u8]) -> Result<(), SpoolError> {
        // An eighth of the budget per segment: dropping the oldest then loses little of what could be kept.
        let limit = (self.budget / 8).max(4096);
        let fits =
            self.segments.back().is_some_and(|s| s.writable() && s.end_seq() == seq && s.bytes() < limit);
        if !fits {
            self.segments.push_back(Segment::create(&self.dir, seq)?);
        }
        let Some(newest) = self.segments.back_mut() else { unreachable!("one was just pushed") };
        let result = newest.append(kind, body);
        if newest.count() == 0 {
            // Nothing was written to a fresh segment: the disk is full. Do not leave an empty file behind.
            if let Some(empty) = self.segments.pop_back() {
                let _ = empty.remove();
            }
        }
        result?;
        while self.segments.iter().map(Segment::bytes).sum::<u64>() > self.budget && self.segments.len() > 1 {
            if let Some(oldest) = self.segments.pop_front() {
                self.dropped += oldest.end_seq().saturating_sub(oldest.first_seq.max(self.acked + 1));
                oldest.remove()?;
            }
        }
        Ok(())
    }

    /// Makes everything appended so far survive a power cut.
    pub fn sync(&mut self) -> Result<(), SpoolError> {
        for segment in &mut self.segments {
            segment.sync()?;
        }
        Ok(())
    }

    /// Reads a run of at most `max_bytes` (and at least one record) that starts at `from` or, if that is gone, at
    /// the next record there is. `None` if there is nothing from there on.
    pub fn read(&mut self, from: u64, max_bytes: usize) -> Result<Option<Run>, SpoolError> {
        self.sync()?;
        let from = from.max(self.acked + 1);
        let Some(segment) = self.segments.iter().find(|s| s.end_seq() > from) else { return Ok(None) };
        let first_seq = from.max(segment.first_seq);
        let records = segment.read(first_seq, max_bytes)?;
        Ok((!records.is_empty()).then_some(Run { first_seq, records }))
    }

    /// The hub has everything up to and including `seq`. Numbers that were never given are ignored.
    pub fn ack(&mut self, seq: u64) -> Result<(), SpoolError> {
        let seq = seq.min(self.next_seq - 1);
        if seq <= self.acked {
            return Ok(());
        }
        self.acked = seq;
        if self.has_finished_segment() {
            self.note_acked()?;
        }
        self.forget_acked()
    }

    /// The newest segment stays even if all of it is acknowledged: it is written on. Unless it cannot be, because the
    /// disk was full: then its space is needed.
    fn has_finished_segment(&self) -> bool {
        self.segments
            .front()
            .is_some_and(|s| s.end_seq() <= self.acked + 1 && (self.segments.len() > 1 || !s.writable()))
    }

    /// Gives up the space that records still hold which the hub has; true if there was any. For a full disk: as long as
    /// there is room, the newest segment is kept and written on.
    pub fn make_room(&mut self) -> bool {
        let all_acked = self.segments.len() == 1
            && self.segments.front().is_some_and(|s| s.count() > 0 && s.end_seq() <= self.acked + 1);
        all_acked
            && self.note_acked().is_ok()
            && self.segments.pop_front().is_some_and(|done| done.remove().is_ok())
    }

    fn note_acked(&self) -> Result<(), SpoolError> {
        let (path, temporary) = (self.dir.join("acked"), self.dir.join("acked.new"));
        // Always the same length, see below.
        let text = format!("{:020}\n", self.acked);
        let write = || {
            let mut file = fs::File::create(&temporary)?;
            file.write_all(text.as_bytes())?;
            file.sync_data()
        };
        match write() {
            Ok(()) => {
                fs::rename(&temporary, &path).map_err(SpoolError::io("renaming", &path))?;
                segment::sync_folder(&self.dir)
            }
            // A full disk must not keep acknowledged segments from being removed. The old file has its block already;
            // so few bytes go to the disk whole or not at all.
            Err(error) => {
                let _ = fs::remove_file(&temporary);
                let overwrite = || {
                    let file = fs::OpenOptions::new().write(true).open(&path)?;
                    file.write_all_at(text.as_bytes(), 0)?;
                    file.sync_data()
                };
                overwrite().map_err(|_: io::Error| SpoolError::io("writing", &temporary)(error))
            }
        }
    }

    fn forget_acked(&mut self) -> Result<(), SpoolError> {
        while self.has_finished_segment() {
            if let Some(done) = self.segments.pop_front() {
                done.remove()?;
            }
        }
        Ok(())
    }
}

impl Drop for Spool {
    /// A clean end remembers the last acknowledgement, so that nothing is sent twice after a restart.
    fn drop(&mut self) {
        let _ = self.note_acked();
    }
}

fn read_or_make_id(dir: &Path, fresh: [u8; 16]) -> Result<[u8; 16], SpoolError> {
    let path = dir.join("spool.id");
    match fs::read(&path) {
        Ok(bytes) => {
            let text = String::from_utf8_lossy(&bytes);
            let mut words = text.split_whitespace();
            let version = words.next().and_then(|v| v.parse::<u32>().ok());
            if version.is_some_and(|v| v > VERSION) {
                return Err(SpoolError::Newer(dir.to_owned()));
            }
            if let Some(id) = words.next().and_then(|hex| u128::from_str_radix(hex, 16).ok()) {
                return Ok(id.to_be_bytes());
            }
            // Unreadable: a fresh id starts a fresh sequence at the hub, so nothing is taken for a duplicate.
        }
        Err(e) if e.kind() == io::ErrorKind::NotFound => {}
        Err(e) => return Err(SpoolError::io("reading", &path)(e)),
    }
    let text = format!("{VERSION} {:032x}\n", u128::from_be_bytes(fresh));
    let temporary = dir.join("spool.id.new");
    fs::write(&temporary, text).map_err(SpoolError::io("writing", &temporary))?;
    fs::rename(&temporary, &path).map_err(SpoolError::io("renaming", &path))?;
    Ok(fresh)
}

#[cfg(test)]
mod tests;
