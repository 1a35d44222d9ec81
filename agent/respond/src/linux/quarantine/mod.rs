//! Takes a file from where it is into a store that only root may look into, sealed, and gives it back.
//!
//! A file is copied, made durable and checked before it is removed, and forgotten here only after it was given back. A
//! crash in between is settled by the next call ([`Store::open`]): what was not stored whole is dropped, for the file is
//! where it was; what was stored whole is finished. So the content is always somewhere.
//!
//! A process that has the file open, or runs it, goes on with it: the report names them. Other names of the same file
//! (hard links) are left as they are, and counted.

mod error;
pub(super) mod place;
mod restore;
mod seal;
mod take;

pub use error::{Refusal, Step};

use std::ffi::OsString;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::Stat;

use super::manifest::{self, Unread};
use crate::quarantine::{Manifest, Stage, VERSION};
use place::{Place, path_of};

/// The folder in the agent's.
pub const FOLDER: &str = "quarantine";
/// How much all sealed contents may take together, if nothing else is said.
pub const LIMIT: u64 = 1024 * 1024 * 1024;

/// A file is in quarantine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taken {
    /// What is known of it.
    pub manifest: Manifest,
    /// Processes that still have it open or run it, as far as they were found.
    pub holders: Vec<u32>,
}

impl Taken {
    /// What was done, and what whoever ordered it must know.
    pub fn in_words(&self) -> String {
        let Manifest { id, size, other_names, .. } = &self.manifest;
        let names = match other_names {
            0 => String::new(),
            n => format!("; {n} other names of the same file were left as they are"),
        };
        let pids: Vec<String> = self.holders.iter().map(ToString::to_string).collect();
        let holders = match pids.as_slice() {
            [] => String::new(),
            pids => format!("; still open or running in process {}", pids.join(", ")),
        };
        format!("{} ({size} bytes) is in quarantine as {id}{names}{holders}", self.manifest.shown_path())
    }
}

/// The store. One process at a time works in it; others wait.
#[derive(Debug)]
pub struct Store {
    folder: PathBuf,
    limit: u64,
    /// Stops there as a crash would, without tidying up: for tests.
    stop_at: Option<Step>,
    _lock: File,
}

impl Store {
    /// Opens the store in an agent's folder, and settles what a crash left behind.
    pub fn open(state_dir: &Path, limit: u64) -> Result<Self, Refusal> {
        let folder = state_dir.join(FOLDER);
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&folder)
            .map_err(Refusal::io("making the quarantine's folder"))?;
        let lock = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(folder.join("lock"))
            .map_err(Refusal::io("opening the quarantine's lock"))?;
        lock.lock().map_err(Refusal::io("locking the quarantine"))?;
        let store = Self { folder, limit, stop_at: None, _lock: lock };
        store.settle()?;
        Ok(store)
    }

    /// The same, stopping at a step as if the machine had crashed there: for tests.
    #[must_use]
    pub fn stopping_at(self, step: Step) -> Self {
        Self { stop_at: Some(step), ..self }
    }

    pub(super) fn reach(&self, step: Step) -> Result<(), Refusal> {
        if self.stop_at == Some(step) {
            return Err(Refusal::Os {
                doing: "a rehearsed crash",
                source: io::ErrorKind::Interrupted.into(),
            });
        }
        Ok(())
    }

    fn manifest_path(&self, id: &str) -> PathBuf {
        self.folder.join(format!("{id}.json"))
    }

    pub(super) fn content_path(&self, id: &str) -> PathBuf {
        self.folder.join(format!("{id}.sealed"))
    }

    /// Bytes that the sealed contents take.
    pub fn used(&self) -> u64 {
        let files = fs::read_dir(&self.folder).into_iter().flatten().flatten();
        let sealed = files.filter(|e| e.path().extension().is_some_and(|x| x == "sealed"));
        sealed.filter_map(|e| e.metadata().ok()).map(|m| m.len()).sum()
    }

    /// The most bytes that they may take.
    pub fn limit(&self) -> u64 {
        self.limit
    }

    /// What the store holds, the oldest first. A manifest that cannot be read is an error of its own.
    pub fn list(&self) -> Vec<Result<Manifest, Refusal>> {
        let mut all: Vec<_> = self.ids("json").iter().map(|id| self.show(id)).collect();
        all.sort_by_key(|m| m.as_ref().map_or(i64::MAX, |m| m.taken.0));
        all
    }

    fn ids(&self, extension: &str) -> Vec<String> {
        let files = fs::read_dir(&self.folder).into_iter().flatten().flatten().map(|e| e.path());
        let of_kind = files.filter(|path| path.extension().is_some_and(|x| x == extension));
        let mut ids: Vec<String> =
            of_kind.filter_map(|path| Some(path.file_stem()?.to_str()?.to_owned())).collect();
        ids.retain(|id| Manifest::is_id(id));
        ids.sort_unstable();
        ids
    }

    /// What is known of one file.
    pub fn show(&self, id: &str) -> Result<Manifest, Refusal> {
        let path = self.manifest_path(id);
        let unknown = || Refusal::Unknown(id.to_owned());
        if !Manifest::is_id(id) {
            return Err(unknown());
        }
        match manifest::read::<Manifest>(&path, VERSION) {
            Ok(manifest) if manifest.id == id => Ok(manifest),
            Ok(_) => Err(Refusal::Damaged { path, what: "it names another file".to_owned() }),
            Err(Unread::Missing) => Err(unknown()),
            Err(Unread::Os(source)) => Err(Refusal::io("reading a manifest")(source)),
            Err(Unread::Newer) => Err(Refusal::Newer(path)),
            Err(Unread::Damaged(what)) => Err(Refusal::Damaged { path, what }),
        }
    }

    pub(super) fn write_manifest(&self, manifest: &Manifest) -> Result<(), Refusal> {
        manifest::write(&self.manifest_path(&manifest.id), manifest)
            .map_err(Refusal::io("writing a manifest"))
    }

    pub(super) fn sync(&self) -> io::Result<()> {
        File::open(&self.folder)?.sync_all()
    }

    /// Destroys a file that the store holds.
    pub fn purge(&self, id: &str) -> Result<Manifest, Refusal> {
        let manifest = self.show(id)?;
        self.forget(id)?;
        Ok(manifest)
    }

    /// The manifest first: a content without one is nobody's, and goes at the next call.
    pub(super) fn forget(&self, id: &str) -> Result<(), Refusal> {
        let remove = |path: &Path| match fs::remove_file(path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => {
                Err(Refusal::io("removing from the quarantine")(e))
            }
            _ => Ok(()),
        };
        remove(&self.manifest_path(id))?;
        self.sync().map_err(Refusal::io("writing to the quarantine"))?;
        self.reach(Step::Forgotten)?;
        remove(&self.content_path(id))
    }

    /// Settles what a crash left behind. What cannot be read is left for a person.
    fn settle(&self) -> Result<(), Refusal> {
        for id in self.ids("sealed") {
            if !self.manifest_path(&id).exists() {
                self.forget(&id)?;
            }
        }
        for id in self.ids("json") {
            let Ok(mut manifest) = self.show(&id) else { continue };
            match manifest.stage {
                Stage::Held => {}
                Stage::Stored if self.finish(&manifest) => {
                    manifest.stage = Stage::Held;
                    self.write_manifest(&manifest)?;
                }
                // The file is where it was.
                Stage::Taking | Stage::Stored => self.forget(&id)?,
            }
        }
        Ok(())
    }

    /// Removes a stored file from its place, if it is still there; false if it stays there, whole.
    fn finish(&self, manifest: &Manifest) -> bool {
        let Ok(place) = Place::of(&path_of(&manifest.path)) else { return true };
        let aside = aside(&manifest.id);
        if place.stat(&aside).is_ok_and(|stat| same(&stat, manifest)) {
            // Its own name first, so that `remove` finds all as it was; unless somebody has taken that.
            if place.rename(&aside, &place.name).is_err() {
                return place.unlink(&aside).is_ok();
            }
        }
        match place.stat(&place.name) {
            Ok(stat) if same(&stat, manifest) => self.remove(&place, manifest).is_ok(),
            // It is gone, or another has taken its place, or it has been changed since: that one stays.
            _ => true,
        }
    }
}

/// The name that a file has for a moment.
fn aside(id: &str) -> OsString {
    format!(".wardline-{id}").into()
}

/// True if this is the file that the manifest describes, as it was. The number of the inode alone proves nothing after a
/// while: it is given to the next file.
fn same(stat: &Stat, manifest: &Manifest) -> bool {
    (stat.st_dev, stat.st_ino) == (manifest.device, manifest.inode)
        && u64::try_from(stat.st_size) == Ok(manifest.size)
        && take::times(stat)[1] == manifest.modified
}
