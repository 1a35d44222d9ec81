//! Copies of what encryptors destroyed, on disk, until somebody gives them back or they are old.
//!
//! Below the agent's folder (0700): `copies/ID.json` says what is in `copies/ID/`, where each file's content lies under its
//! number, with holes for what was not copied. In `copies/.held` lies what the agent does not yet know to be worth keeping.
//! The manifest is written last, so that a set is whole or not there.

mod undo;

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use wardline_event::{Timestamp, hex};

use super::manifest::{self, Unread};
use crate::copies::{CopySet, VERSION};
pub use undo::{Done, now};

/// The folder in the agent's.
pub const FOLDER: &str = "copies";
/// How much all copies may take together.
pub const LIMIT: u64 = 1024 * 1024 * 1024;
/// They are forgotten after so long.
pub const KEPT_FOR: Duration = Duration::from_hours(30 * 24);
/// The most that is read at once.
const CHUNK: usize = 64 * 1024;

/// Why something could not be done.
#[derive(Debug, thiserror::Error)]
pub enum CopiesError {
    /// There is no such set.
    #[error("there are no copies called `{0}`; see: wardline agent undo --list")]
    Unknown(String),
    /// The manifest makes no sense.
    #[error("{} is damaged ({what}); it was left as it is", path.display())]
    Damaged {
        /// The manifest.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// It was written by a newer version.
    #[error("{} was written by a newer version of Wardline: update this one", .0.display())]
    Newer(PathBuf),
    /// The system refused.
    #[error("{doing} failed")]
    Os {
        /// What was being tried.
        doing: &'static str,
        /// What the system answered.
        #[source]
        source: io::Error,
    },
}

fn os(doing: &'static str) -> impl Fn(io::Error) -> CopiesError {
    move |source| CopiesError::Os { doing, source }
}

/// The store. One process at a time changes it; others wait.
#[derive(Debug)]
pub struct Copies {
    folder: PathBuf,
    state_dir: PathBuf,
    _lock: File,
}

/// A set's id becomes part of a path.
fn is_id(id: &str) -> bool {
    (1..=64).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
}

impl Copies {
    /// Opens the store in an agent's folder, and removes what has no manifest.
    pub fn open(state_dir: &Path) -> Result<Self, CopiesError> {
        let folder = state_dir.join(FOLDER);
        let mut builder = DirBuilder::new();
        builder.recursive(true).mode(0o700).create(&folder).map_err(os("making the folder of copies"))?;
        let lock = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(folder.join("lock"))
            .map_err(os("opening the lock of the copies"))?;
        lock.lock().map_err(os("locking the copies"))?;
        let store = Self { folder, state_dir: state_dir.to_owned(), _lock: lock };
        for entry in fs::read_dir(&store.folder).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if is_id(&name) && entry.path().is_dir() && !store.manifest(&name).exists() {
                let _ = fs::remove_dir_all(entry.path());
            }
        }
        Ok(store)
    }

    fn manifest(&self, id: &str) -> PathBuf {
        self.folder.join(format!("{id}.json"))
    }

    fn content(&self, id: &str, number: u32) -> PathBuf {
        self.folder.join(id).join(number.to_string())
    }

    /// Takes up a set: `contents` are the files with what was copied, in the order of the set's files. They are moved.
    pub fn add(&self, set: &CopySet, contents: &[PathBuf]) -> Result<(), CopiesError> {
        if !is_id(&set.id) {
            return Err(CopiesError::Unknown(set.id.clone()));
        }
        let folder = self.folder.join(&set.id);
        let mut builder = DirBuilder::new();
        builder.recursive(true).mode(0o700).create(&folder).map_err(os("making a folder for copies"))?;
        for (file, content) in set.files.iter().zip(contents) {
            let to = self.content(&set.id, file.number);
            fs::rename(content, &to).map_err(os("moving a copy"))?;
            File::open(&to).and_then(|f| f.sync_all()).map_err(os("writing a copy"))?;
        }
        File::open(&folder).and_then(|f| f.sync_all()).map_err(os("writing the copies"))?;
        self.write(set)
    }

    fn write(&self, set: &CopySet) -> Result<(), CopiesError> {
        manifest::write(&self.manifest(&set.id), set).map_err(os("writing what is known of the copies"))
    }

    /// One set.
    pub fn show(&self, id: &str) -> Result<CopySet, CopiesError> {
        let unknown = || CopiesError::Unknown(id.to_owned());
        if !is_id(id) {
            return Err(unknown());
        }
        let path = self.manifest(id);
        match manifest::read::<CopySet>(&path, VERSION) {
            Ok(set) if set.id == id => Ok(set),
            Ok(_) => Err(CopiesError::Damaged { path, what: "it names another set".to_owned() }),
            Err(Unread::Missing) => Err(unknown()),
            Err(Unread::Os(source)) => Err(os("reading what is known of the copies")(source)),
            Err(Unread::Newer) => Err(CopiesError::Newer(path)),
            Err(Unread::Damaged(what)) => Err(CopiesError::Damaged { path, what }),
        }
    }

    /// All sets, the oldest first. One that cannot be read is an error of its own.
    pub fn list(&self) -> Vec<Result<CopySet, CopiesError>> {
        let files = fs::read_dir(&self.folder).into_iter().flatten().flatten().map(|e| e.path());
        let manifests = files.filter(|path| path.extension().is_some_and(|x| x == "json"));
        let ids = manifests.filter_map(|path| Some(path.file_stem()?.to_str()?.to_owned()));
        let mut all: Vec<_> = ids.filter(|id| is_id(id)).map(|id| self.show(&id)).collect();
        all.sort_by_key(|set| set.as_ref().map_or(i64::MAX, |set| set.taken.0));
        all
    }

    /// Forgets a set for ever.
    pub fn purge(&self, id: &str) -> Result<CopySet, CopiesError> {
        let set = self.show(id)?;
        fs::remove_file(self.manifest(id)).map_err(os("removing what is known of the copies"))?;
        fs::remove_dir_all(self.folder.join(id)).map_err(os("removing copies"))?;
        Ok(set)
    }

    /// Forgets what is too old, and the oldest while all take more than `limit`.
    pub fn tidy(&self, now: Timestamp, limit: u64) {
        let sets: Vec<CopySet> = self.list().into_iter().flatten().collect();
        let size =
            |set: &CopySet| set.files.iter().map(super::super::copies::Copied::kept_bytes).sum::<u64>();
        let mut sum: u64 = sets.iter().map(size).sum();
        let oldest = now.0.saturating_sub(i64::try_from(KEPT_FOR.as_millis()).unwrap_or(i64::MAX));
        for set in &sets {
            if (set.taken.0 < oldest || sum > limit) && self.purge(&set.id).is_ok() {
                sum -= size(set);
            }
        }
    }
}

/// SHA-256 of what a file has from its beginning, and how long it is.
pub fn digest(file: &File) -> io::Result<(u64, String)> {
    let mut context = ring::digest::Context::new(&ring::digest::SHA256);
    let (mut at, mut chunk) = (0, vec![0; CHUNK]);
    loop {
        match file.read_at(&mut chunk, at)? {
            0 => return Ok((at, hex(context.finish().as_ref()))),
            n => {
                context.update(&chunk[..n]);
                at += n as u64;
            }
        }
    }
}
