//! Parsed rules kept between runs, in the [folder of caches](super::kept).
//!
//! A cache belongs to some paths, seen from one folder, and to one build of the program. It says of which rule files its
//! rules are, each with its path, size, times, inode and device, and is used where the files are the same in all of
//! these; none is opened for that. What it says is believed, so it is read only where nobody but the user can have written it. That a cache
//! cannot be used or written is no fault: the rules are parsed then.

use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use ring::digest::{Context, SHA256, SHA256_OUTPUT_LEN};
use tracing::debug;
use wardline_sigma::{Collection, KeptBytes};

use super::files::RuleFile;
use super::kept::{Place, hash_of_program};
use super::parallel;

/// Fewer files are parsed sooner than it is worth to keep them.
const FEWEST_FILES: usize = 100;
/// Files whose rules are one piece of the cache, so that pieces can be read on several cores.
pub const PIECE_FILES: usize = 500;
/// A file that was changed so shortly ago may be changed again without another time: the clock of file systems has
/// ticks of up to 10 ms.
const TICK_NS: i128 = 20_000_000;

const MAGIC: &[u8] = b"wardline rule cache 3\n";
const ENDING: &str = ".rules";

type Key = [u8; SHA256_OUTPUT_LEN];

/// What a list of rule files holds: pieces in the files' order, and the faults of those that did not parse.
pub struct Parsed {
    pub pieces: Vec<Collection>,
    pub faults: Vec<String>,
}

/// What a cache holds, and of which files.
pub struct Kept {
    place: Place,
    files: Vec<u8>,
    parsed: Parsed,
}

impl Kept {
    /// What was parsed, if it was parsed of these very files.
    pub fn of_files(self, files: &[RuleFile]) -> Option<Parsed> {
        if self.files != listed(files) {
            debug!("the cache {} is not used: the rule files have changed", self.place);
            return None;
        }
        debug!("rules from the cache {}", self.place);
        Some(self.parsed)
    }
}

/// The place of the cache for some paths.
pub struct Cache {
    place: Place,
    key: Key,
    /// When it was asked for, in nanoseconds since 1970.
    asked: i128,
}

impl Cache {
    /// The cache for the rule files at these paths, to be asked for before they are looked at; `None` if there is no
    /// place for one.
    pub fn of(paths: &[PathBuf]) -> Option<Self> {
        let asked = SystemTime::now().duration_since(UNIX_EPOCH).ok()?.as_nanos() as i128;
        let key = key(paths)?;
        let (start, _) = key.split_first_chunk::<16>()?;
        Some(Self { place: Place::of(*start, ENDING)?, key, asked })
    }

    /// What was kept, if it is there and can be trusted; `as_needed`: see [`Collection::open`].
    pub fn read(&self, as_needed: bool) -> Option<Kept> {
        match self.read_file(as_needed) {
            Ok((files, parsed)) => Some(Kept { place: self.place.clone(), files, parsed }),
            Err(why) => {
                debug!("the cache {} is not used: {why}", self.place);
                None
            }
        }
    }

    fn read_file(&self, as_needed: bool) -> Result<(Vec<u8>, Parsed), String> {
        let damaged = || "it is damaged, or of another version".to_owned();
        let whole = self.place.open()?;
        let length = whole.length();
        let part = |at: u64, length: u64| {
            let bytes = whole.range(at..at.saturating_add(length)).ok_or_else(damaged)?;
            Ok::<_, String>(bytes.into_owned())
        };
        let head_bytes = (MAGIC.len() + self.key.len() + 4 + 4) as u64;
        let head = part(0, head_bytes.min(length))?;
        let numbers = head.strip_prefix(MAGIC).and_then(|rest| rest.strip_prefix(&self.key));
        let (checksum, lengths) = numbers.and_then(|n| n.split_first_chunk::<4>()).ok_or_else(damaged)?;
        let lengths: &[u8; 4] = lengths.try_into().map_err(|_| damaged())?;
        let count = u64::from(u32::from_le_bytes(*lengths));
        if count > length / 8 {
            return Err(damaged());
        }
        // Where each part lies: the parts follow each other to the end of the file.
        let lengths = part(head_bytes, count * 8)?;
        let mut parts = Vec::new();
        let mut at = head_bytes + count * 8;
        for bytes in lengths.as_chunks::<8>().0 {
            let bytes = u64::from_le_bytes(*bytes);
            parts.push((at, bytes));
            at = at.checked_add(bytes).filter(|end| *end <= length).ok_or_else(damaged)?;
        }
        let (&[files, faults], pieces) = parts.split_first_chunk::<2>().ok_or_else(damaged)?;
        if at != length {
            return Err(damaged());
        }
        let (files, faults) = (part(files.0, files.1)?, part(faults.0, faults.1)?);
        if crc32(&[&lengths, &files, &faults]).to_le_bytes() != *checksum {
            return Err(damaged());
        }
        let piece = |(at, length): &(u64, u64)| {
            if as_needed {
                Collection::open(Arc::new(whole.part(*at, *length))).ok()
            } else {
                Collection::from_bytes(Arc::new(part(*at, *length).ok()?)).ok()
            }
        };
        let pieces: Option<_> = if as_needed {
            pieces.iter().map(piece).collect()
        } else {
            parallel::map_each(pieces, piece).into_iter().collect()
        };
        let faults = serde_json::from_slice(&faults).map_err(|_| damaged())?;
        Ok((files, Parsed { pieces: pieces.ok_or_else(damaged)?, faults }))
    }

    /// Removes what was kept, since it turned out to be damaged.
    pub fn set_aside(&self) {
        self.place.remove();
    }

    /// Keeps what was parsed, if the files cannot have changed unseen since they were listed.
    pub fn write(&self, files: &[RuleFile], parsed: &Parsed) {
        if files.len() < FEWEST_FILES {
            return;
        }
        if files.iter().any(|file| file.changed > self.asked - TICK_NS) {
            debug!("the cache {} is not written: a rule file was changed just now", self.place);
            return;
        }
        self.place.keep(&self.encode(files, parsed));
    }

    /// The first line, the key, a checksum, the number of parts (4 bytes, little-endian), the length of each (8 bytes),
    /// the parts: the list of the files, the faults as JSON, the pieces. The checksum is that of what stands between it
    /// and the pieces, but for the number; the pieces have their own.
    fn encode(&self, files: &[RuleFile], parsed: &Parsed) -> Vec<Vec<u8>> {
        let mut parts = vec![listed(files), serde_json::to_vec(&parsed.faults).unwrap_or_default()];
        parts.extend(parallel::map_each(&parsed.pieces, Collection::to_bytes));
        let lengths: Vec<u8> = parts.iter().flat_map(|part| (part.len() as u64).to_le_bytes()).collect();
        let checksum = crc32(&[&lengths, &parts[0], &parts[1]]).to_le_bytes();
        let count = (parts.len() as u32).to_le_bytes();
        parts.insert(0, [MAGIC, &self.key, &checksum, &count, &lengths].concat());
        parts
    }
}

fn crc32(parts: &[&[u8]]) -> u32 {
    let mut checksum = crc32fast::Hasher::new();
    for part in parts {
        checksum.update(part);
    }
    checksum.finalize()
}

/// The list of the files as bytes. The rules of two equal lists are the same: whoever changes a file changes a time of
/// it that nobody can set.
fn listed(files: &[RuleFile]) -> Vec<u8> {
    let mut out = Vec::with_capacity(files.len() * 160);
    for file in files {
        let path = file.path.as_os_str().as_bytes();
        for n in [path.len() as u64, file.bytes, file.inode, file.device] {
            out.extend_from_slice(&n.to_le_bytes());
        }
        out.extend_from_slice(&file.modified.to_le_bytes());
        out.extend_from_slice(&file.changed.to_le_bytes());
        out.extend_from_slice(path);
    }
    out
}

/// What tells these paths, seen from here, and the program from all others.
fn key(paths: &[PathBuf]) -> Option<Key> {
    let mut hash = Context::new(&SHA256);
    hash_of_program(&mut hash)?;
    let here = std::env::current_dir().ok()?;
    for path in [&here].into_iter().chain(paths) {
        let path = path.as_os_str().as_bytes();
        hash.update(&(path.len() as u64).to_le_bytes());
        hash.update(path);
    }
    hash.finish().as_ref().try_into().ok()
}
