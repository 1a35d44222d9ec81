//! Parsed rules kept between runs, in `$XDG_CACHE_HOME/wardline` or `~/.cache/wardline`.
//!
//! A cache belongs to some paths, seen from one folder, and to one build of the program. It says of which rule files its
//! rules are, each with its path, size, times, inode and device, and is used where the files are the same in all of
//! these; none is opened for that. What it says is believed, so it is read only where nobody but the user can have written it. That a cache
//! cannot be used or written is no fault: the rules are parsed then.

use std::fs::{self, File, Permissions};
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use ring::digest::{Context, SHA256, SHA256_OUTPUT_LEN};
use rustix::fs::{Mode, OFlags};
use rustix::process::geteuid;
use tracing::debug;
use wardline_sigma::Collection;

use super::files::RuleFile;
use super::parallel;

/// Fewer files are parsed sooner than it is worth to keep them.
const FEWEST_FILES: usize = 100;
/// Files whose rules are one piece of the cache, so that pieces can be read on several cores.
pub const PIECE_FILES: usize = 500;
/// The longest cache that is read.
const MOST_BYTES: u64 = 256 << 20;
/// Caches that are kept: the newest ones.
const KEPT: usize = 4;
/// A file that was changed so shortly ago may be changed again without another time: the clock of file systems has
/// ticks of up to 10 ms.
const TICK_NS: i128 = 20_000_000;
/// A temporary file as old as this was left behind.
const LEFT_BEHIND_S: u64 = 3600;

const MAGIC: &[u8] = b"wardline rule cache 2\n";
const ENDING: &str = ".rules";

type Key = [u8; SHA256_OUTPUT_LEN];

/// What a list of rule files holds: pieces in the files' order, and the faults of those that did not parse.
pub struct Parsed {
    pub pieces: Vec<Collection>,
    pub faults: Vec<String>,
}

/// What a cache holds, and of which files.
pub struct Kept {
    path: PathBuf,
    files: Vec<u8>,
    parsed: Parsed,
}

impl Kept {
    /// What was parsed, if it was parsed of these very files.
    pub fn of_files(self, files: &[RuleFile]) -> Option<Parsed> {
        if self.files != listed(files) {
            debug!("the cache {} is not used: the rule files have changed", self.path.display());
            return None;
        }
        debug!("rules from the cache {}", self.path.display());
        Some(self.parsed)
    }
}

/// The place of the cache for some paths.
pub struct Cache {
    folder: PathBuf,
    key: Key,
    /// When it was asked for, in nanoseconds since 1970.
    asked: i128,
}

impl Cache {
    /// The cache for the rule files at these paths, to be asked for before they are looked at; `None` if there is no
    /// place for one.
    pub fn of(paths: &[PathBuf]) -> Option<Self> {
        let asked = SystemTime::now().duration_since(UNIX_EPOCH).ok()?.as_nanos() as i128;
        Some(Self { folder: folder()?, key: key(paths)?, asked })
    }

    fn path(&self) -> PathBuf {
        let (start, _) = self.key.split_first_chunk::<16>().unwrap_or((&[0; 16], &[]));
        self.folder.join(format!("{:032x}{ENDING}", u128::from_be_bytes(*start)))
    }

    /// What was kept, if it is there and can be trusted; `as_needed`: see [`Collection::open`].
    pub fn read(&self, as_needed: bool) -> Option<Kept> {
        let path = self.path();
        match self.read_file(&path, as_needed) {
            Ok((files, parsed)) => Some(Kept { path, files, parsed }),
            Err(why) => {
                debug!("the cache {} is not used: {why}", path.display());
                None
            }
        }
    }

    fn read_file(&self, path: &Path, as_needed: bool) -> Result<(Vec<u8>, Parsed), String> {
        let damaged = || "it is damaged, or of another version".to_owned();
        let said = |e: std::io::Error| e.to_string();
        trusted(&File::open(&self.folder).map_err(said)?)?;
        // Not through a link, and without waiting if it is no file.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = File::from(rustix::fs::open(path, flags, Mode::empty()).map_err(|e| e.to_string())?);
        trusted(&file)?;
        let length = file.metadata().map_err(said)?.len();
        if length > MOST_BYTES {
            return Err("it is too long".to_owned());
        }
        let part = |at: u64, length: u64| {
            let mut bytes = vec![0; usize::try_from(length).map_err(|_| damaged())?];
            file.read_exact_at(&mut bytes, at).map_err(said)?;
            Ok::<_, String>(bytes)
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
        let pieces = parallel::map_each(pieces, |(at, length)| {
            let bytes = part(*at, *length).ok()?;
            if as_needed { Collection::open(bytes) } else { Collection::from_bytes(&bytes) }.ok()
        });
        let pieces = pieces.into_iter().collect::<Option<_>>().ok_or_else(damaged)?;
        let faults = serde_json::from_slice(&faults).map_err(|_| damaged())?;
        Ok((files, Parsed { pieces, faults }))
    }

    /// Keeps what was parsed, if the files cannot have changed unseen since they were listed.
    pub fn write(&self, files: &[RuleFile], parsed: &Parsed) {
        if files.len() < FEWEST_FILES {
            return;
        }
        let path = self.path();
        if files.iter().any(|file| file.changed > self.asked - TICK_NS) {
            debug!("the cache {} is not written: a rule file was changed just now", path.display());
            return;
        }
        let write = || {
            fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.folder)?;
            trusted(&File::open(&self.folder)?).map_err(std::io::Error::other)?;
            let mut temporary = tempfile::Builder::new()
                .permissions(Permissions::from_mode(0o600))
                .tempfile_in(&self.folder)?;
            for part in self.encode(files, parsed) {
                temporary.write_all(&part)?;
            }
            temporary.persist(&path).map_err(std::io::Error::from)
        };
        match write() {
            Ok(_) => {
                debug!("rules written to the cache {}", path.display());
                prune(&self.folder);
            }
            Err(e) => debug!("the cache {} is not written: {e}", path.display()),
        }
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

/// Where caches are kept. A relative `XDG_CACHE_HOME` is to be ignored (XDG Base Directory Specification).
fn folder() -> Option<PathBuf> {
    let absolute = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let base = absolute("XDG_CACHE_HOME").or_else(|| Some(absolute("HOME")?.join(".cache")))?;
    Some(base.join("wardline"))
}

/// What tells these paths, seen from here, and the program from all others.
fn key(paths: &[PathBuf]) -> Option<Key> {
    let mut hash = Context::new(&SHA256);
    // Another build may read rules otherwise, whatever its version says.
    let program = fs::metadata(std::env::current_exe().ok()?).ok()?;
    hash.update(env!("CARGO_PKG_VERSION").as_bytes());
    for n in [program.len() as i64, program.mtime(), program.mtime_nsec()] {
        hash.update(&n.to_le_bytes());
    }
    let here = std::env::current_dir().ok()?;
    for path in [&here].into_iter().chain(paths) {
        let path = path.as_os_str().as_bytes();
        hash.update(&(path.len() as u64).to_le_bytes());
        hash.update(path);
    }
    hash.finish().as_ref().try_into().ok()
}

/// Whether only the user can have written it.
fn trusted(file: &File) -> Result<(), String> {
    let meta = file.metadata().map_err(|e| e.to_string())?;
    if meta.uid() != geteuid().as_raw() {
        return Err("it belongs to another user".to_owned());
    }
    if meta.mode() & 0o022 != 0 {
        return Err("others can write it".to_owned());
    }
    if meta.is_dir() || meta.is_file() { Ok(()) } else { Err("it is not a file".to_owned()) }
}

/// Removes all but the newest caches, and what was left behind.
fn prune(folder: &Path) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    let mut caches = Vec::new();
    for entry in entries.flatten() {
        let (name, Ok(meta)) = (entry.file_name(), entry.metadata()) else { continue };
        let Ok(modified) = meta.modified() else { continue };
        if name.as_bytes().ends_with(ENDING.as_bytes()) {
            caches.push((modified, entry.path()));
        } else if name.as_bytes().starts_with(b".tmp")
            && modified.elapsed().is_ok_and(|age| age.as_secs() > LEFT_BEHIND_S)
        {
            let _ = fs::remove_file(entry.path());
        }
    }
    caches.sort_unstable();
    for (_, path) in caches.iter().rev().skip(KEPT) {
        let _ = fs::remove_file(path);
    }
}
