//! Parsed rules kept between runs, in `$XDG_CACHE_HOME/wardline` or `~/.cache/wardline`.
//!
//! A cache belongs to one list of rule files, each with its path, size, times and inode, and to one build of the
//! program. What it says is believed, so it is read only where nobody but the user can have written it. That a cache
//! cannot be used or written is no fault: the rules are parsed then.

use std::fs::{self, File, Permissions};
use std::io::{Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use ring::digest::{Context, SHA256, SHA256_OUTPUT_LEN, digest};
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

const MAGIC: &[u8] = b"wardline rule cache 1\n";
const ENDING: &str = ".rules";

type Key = [u8; SHA256_OUTPUT_LEN];

/// What a list of rule files holds: pieces in the files' order, and the faults of those that did not parse.
pub struct Parsed {
    pub pieces: Vec<Collection>,
    pub faults: Vec<String>,
}

/// The place of one list's cache.
pub struct Cache {
    folder: PathBuf,
    key: Key,
}

impl Cache {
    /// The cache for these files; `None` if there is no place for one, or it is not worth it.
    pub fn of(files: &[RuleFile]) -> Option<Self> {
        if files.len() < FEWEST_FILES {
            return None;
        }
        Some(Self { folder: folder()?, key: key(files)? })
    }

    fn path(&self) -> PathBuf {
        let (start, _) = self.key.split_first_chunk::<16>().unwrap_or((&[0; 16], &[]));
        self.folder.join(format!("{:032x}{ENDING}", u128::from_be_bytes(*start)))
    }

    /// What was kept, if it is there and can be trusted.
    pub fn read(&self) -> Option<Parsed> {
        let path = self.path();
        let read = || {
            trusted(&File::open(&self.folder).map_err(|e| e.to_string())?)?;
            // Not through a link, and without waiting if it is no file.
            let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
            let mut file =
                File::from(rustix::fs::open(&path, flags, Mode::empty()).map_err(|e| e.to_string())?);
            trusted(&file)?;
            let length = file.metadata().map_err(|e| e.to_string())?.len();
            if length > MOST_BYTES {
                return Err("it is too long".to_owned());
            }
            let mut bytes = Vec::with_capacity(length as usize);
            file.read_to_end(&mut bytes).map_err(|e| e.to_string())?;
            self.decode(&bytes).ok_or_else(|| "it is damaged, or of another version".to_owned())
        };
        match read() {
            Ok(parsed) => {
                debug!("rules from the cache {}", path.display());
                Some(parsed)
            }
            Err(why) => {
                debug!("the cache {} is not used: {why}", path.display());
                None
            }
        }
    }

    /// Keeps what was parsed, if the files cannot have changed unseen since they were listed.
    pub fn write(&self, files: &[RuleFile], parsed: &Parsed) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |t| t.as_nanos() as i128);
        let path = self.path();
        if files.iter().any(|file| file.changed > now - TICK_NS) {
            debug!("the cache {} is not written: a rule file was changed just now", path.display());
            return;
        }
        let write = || {
            fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.folder)?;
            trusted(&File::open(&self.folder)?).map_err(std::io::Error::other)?;
            let mut temporary = tempfile::Builder::new()
                .permissions(Permissions::from_mode(0o600))
                .tempfile_in(&self.folder)?;
            temporary.write_all(&self.encode(parsed))?;
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

    /// The first line, the key, the digest of the faults, and then the faults and the pieces, each behind its length.
    fn encode(&self, parsed: &Parsed) -> Vec<u8> {
        let faults = serde_json::to_vec(&parsed.faults).unwrap_or_default();
        let mut out = [MAGIC, &self.key, digest(&SHA256, &faults).as_ref()].concat();
        let pieces = parallel::map_each(&parsed.pieces, Collection::to_bytes);
        for part in [faults].iter().chain(&pieces) {
            out.extend_from_slice(&(part.len() as u64).to_le_bytes());
            out.extend_from_slice(part);
        }
        out
    }

    fn decode(&self, bytes: &[u8]) -> Option<Parsed> {
        let rest = bytes.strip_prefix(MAGIC)?.strip_prefix(&self.key)?;
        let (checksum, mut rest) = rest.split_first_chunk::<SHA256_OUTPUT_LEN>()?;
        let mut parts = Vec::new();
        while !rest.is_empty() {
            let (length, after) = rest.split_first_chunk::<8>()?;
            let (part, after) = after.split_at_checked(usize::try_from(u64::from_le_bytes(*length)).ok()?)?;
            parts.push(part);
            rest = after;
        }
        let (faults, pieces) = parts.split_first()?;
        if digest(&SHA256, faults).as_ref() != checksum {
            return None;
        }
        let pieces = parallel::map_each(pieces, |piece| Collection::from_bytes(piece).ok());
        Some(Parsed {
            faults: serde_json::from_slice(faults).ok()?,
            pieces: pieces.into_iter().collect::<Option<_>>()?,
        })
    }
}

/// Where caches are kept. A relative `XDG_CACHE_HOME` is to be ignored (XDG Base Directory Specification).
fn folder() -> Option<PathBuf> {
    let absolute = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let base = absolute("XDG_CACHE_HOME").or_else(|| Some(absolute("HOME")?.join(".cache")))?;
    Some(base.join("wardline"))
}

/// What tells the files, and the program, from all others.
fn key(files: &[RuleFile]) -> Option<Key> {
    let mut hash = Context::new(&SHA256);
    // Another build may read rules otherwise, whatever its version says.
    let program = fs::metadata(std::env::current_exe().ok()?).ok()?;
    hash.update(env!("CARGO_PKG_VERSION").as_bytes());
    for n in [program.len() as i64, program.mtime(), program.mtime_nsec()] {
        hash.update(&n.to_le_bytes());
    }
    for file in files {
        let path = file.path.as_os_str().as_bytes();
        for n in [path.len() as u64, file.bytes, file.inode, file.device] {
            hash.update(&n.to_le_bytes());
        }
        hash.update(&file.modified.to_le_bytes());
        hash.update(&file.changed.to_le_bytes());
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
