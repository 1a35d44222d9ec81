//! Files that are kept between runs, in `$XDG_CACHE_HOME/wardline` or `~/.cache/wardline`.
//!
//! What they say is believed, so they are read only where nobody but the user can have written them. That one cannot be
//! used or written is no fault: what it holds is made anew then.

use std::borrow::Cow;
use std::fmt;
use std::fs::{self, File, Permissions};
use std::io::{self, Write};
use std::ops::Range;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ring::digest::Context;
use rustix::fs::{Mode, OFlags};
use rustix::process::geteuid;
use tracing::debug;
use wardline_sigma::KeptBytes;

/// The longest file that is read.
const MOST_BYTES: u64 = 256 << 20;
/// Files of one ending that are kept: the newest ones.
const KEPT: usize = 4;
/// A temporary file as old as this was left behind.
const LEFT_BEHIND_S: u64 = 3600;

/// Where a file is kept.
#[derive(Clone)]
pub struct Place {
    folder: PathBuf,
    name: String,
    ending: &'static str,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.path().display().fmt(f)
    }
}

impl Place {
    /// The place for a key; `None` if there is no folder for caches.
    pub fn of(key: [u8; 16], ending: &'static str) -> Option<Self> {
        Some(Self { folder: folder()?, name: format!("{:032x}", u128::from_be_bytes(key)), ending })
    }

    fn path(&self) -> PathBuf {
        self.folder.join(format!("{}{}", self.name, self.ending))
    }

    /// The file, if it can be trusted.
    ///
    /// # Errors
    /// Why it is not read.
    pub fn open(&self) -> Result<FilePart, String> {
        let said = |e: io::Error| e.to_string();
        trusted(&File::open(&self.folder).map_err(said)?)?;
        // Not through a link, and without waiting if it is no file.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file =
            File::from(rustix::fs::open(self.path(), flags, Mode::empty()).map_err(|e| e.to_string())?);
        trusted(&file)?;
        let length = file.metadata().map_err(said)?.len();
        if length > MOST_BYTES {
            return Err("it is too long".to_owned());
        }
        Ok(FilePart { file: Arc::new(file), start: 0, length })
    }

    /// Removes the file, so that it is made anew.
    pub fn remove(&self) {
        let _ = fs::remove_file(self.path());
    }

    /// Writes the file, made of these parts; that it cannot be written is no fault.
    pub fn keep(&self, parts: &[Vec<u8>]) {
        match self.write(parts) {
            Ok(()) => debug!("{self} was written"),
            Err(e) => debug!("{self} is not written: {e}"),
        }
    }

    /// Writes the file, made of these parts, and removes all but the newest of its ending.
    fn write(&self, parts: &[Vec<u8>]) -> io::Result<()> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.folder)?;
        trusted(&File::open(&self.folder)?).map_err(io::Error::other)?;
        let mut temporary =
            tempfile::Builder::new().permissions(Permissions::from_mode(0o600)).tempfile_in(&self.folder)?;
        for part in parts {
            temporary.write_all(part)?;
        }
        temporary.persist(self.path()).map_err(io::Error::from)?;
        prune(&self.folder, self.ending);
        Ok(())
    }
}

/// A part of a file, or all of it.
#[derive(Clone)]
pub struct FilePart {
    file: Arc<File>,
    start: u64,
    length: u64,
}

impl FilePart {
    /// The bytes from `at` on, as far as they are there.
    pub fn part(&self, at: u64, length: u64) -> Self {
        let at = at.min(self.length);
        Self { file: Arc::clone(&self.file), start: self.start + at, length: length.min(self.length - at) }
    }
}

impl KeptBytes for FilePart {
    fn length(&self) -> u64 {
        self.length
    }

    fn range(&self, range: Range<u64>) -> Option<Cow<'_, [u8]>> {
        if range.end > self.length {
            return None;
        }
        let mut bytes = vec![0; usize::try_from(range.end.checked_sub(range.start)?).ok()?];
        self.file.read_exact_at(&mut bytes, self.start + range.start).ok()?;
        Some(bytes.into())
    }
}

/// Where caches are kept. A relative `XDG_CACHE_HOME` is to be ignored (XDG Base Directory Specification).
fn folder() -> Option<PathBuf> {
    let absolute = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let base = absolute("XDG_CACHE_HOME").or_else(|| Some(absolute("HOME")?.join(".cache")))?;
    Some(base.join("wardline"))
}

/// Hashes what tells this program from all others: another build may read or compile rules otherwise, whatever its
/// version says.
pub fn hash_of_program(hash: &mut Context) -> Option<()> {
    let program = fs::metadata(std::env::current_exe().ok()?).ok()?;
    hash.update(env!("CARGO_PKG_VERSION").as_bytes());
    for n in [program.len() as i64, program.mtime(), program.mtime_nsec()] {
        hash.update(&n.to_le_bytes());
    }
    Some(())
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

/// Removes all but the newest files of an ending, and what was left behind.
fn prune(folder: &Path, ending: &str) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    let mut kept = Vec::new();
    for entry in entries.flatten() {
        let (name, Ok(meta)) = (entry.file_name(), entry.metadata()) else { continue };
        let Ok(modified) = meta.modified() else { continue };
        if name.as_bytes().ends_with(ending.as_bytes()) {
            kept.push((modified, entry.path()));
        } else if name.as_bytes().starts_with(b".tmp")
            && modified.elapsed().is_ok_and(|age| age.as_secs() > LEFT_BEHIND_S)
        {
            let _ = fs::remove_file(entry.path());
        }
    }
    kept.sort_unstable();
    for (_, path) in kept.iter().rev().skip(KEPT) {
        let _ = fs::remove_file(path);
    }
}
