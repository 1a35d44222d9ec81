//! Takes the copies out of the kernel, holds them for as long as their family may yet turn out to be an encryptor, and then
//! keeps or forgets them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use libbpf_rs::{MapCore, MapFlags, MapHandle, Object};
use wardline_event::Timestamp;
use wardline_respond::copies::{self, Copied, CopySet, Left};
use wardline_respond::linux::copies::{Copies, FOLDER, LIMIT, digest};
use wardline_respond::quarantine::FileTime;

use crate::bearings;
use crate::files;
use crate::guard::Refused;
use crate::slots::{FileHead, FileKey, PAGE, SLOT, SLOTS, Slot, decode};

/// What is held of all families together; the oldest is forgotten first.
const MOST_HELD: u64 = 128 << 20;
/// Nothing is held longer: evidence counts for ten minutes.
const HELD_NS: u64 = 11 * 60 * 1_000_000_000;
/// The encryptor's file is not read to its end if it is longer.
const MOST_READ: u64 = 512 << 20;

/// A file of a family that may yet turn out to be an encryptor.
#[derive(Debug)]
struct Held {
    head: FileHead,
    file: File,
    path: PathBuf,
    pages: BTreeSet<u64>,
    missing: BTreeSet<u64>,
    short: Option<u64>,
    since_ns: u64,
    /// Pages that the kernel had no room for, on the whole, when this file's first came.
    lost_before: u64,
}

/// What was kept for undo.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Kept {
    /// Files of which there are copies.
    pub files: usize,
    /// Of those, how many can be given back whole.
    pub whole: usize,
    /// Bytes that were copied.
    pub bytes: u64,
    /// Bytes that were destroyed and not copied.
    pub missing: u64,
}

/// Takes copies in.
pub(crate) struct Intake {
    slots: MapHandle,
    bearings: MapHandle,
    state_dir: PathBuf,
    folder: PathBuf,
    held: BTreeMap<FileKey, Held>,
    next: u64,
    made: u64,
    buffer: Vec<u8>,
}

impl Intake {
    /// Has the kernel half copy from now on. Copies lie below `state_dir`, which must be root's alone.
    pub fn begin(object: &Object, state_dir: &Path) -> Result<Self, Refused> {
        let map = |name: &str| -> Result<MapHandle, Refused> {
            let map = object.maps().find(|m| m.name() == name);
            let map = map.ok_or_else(|| Refused(format!("the eBPF object has no map {name}")))?;
            MapHandle::try_from(&map).map_err(|e| Refused(format!("opening the map {name}: {e}")))
        };
        let folder = state_dir.join(FOLDER).join(".held");
        let os = |e: std::io::Error| Refused(format!("making {}: {e}", folder.display()));
        // What an earlier run held belongs to families that nobody counts any more.
        match fs::remove_dir_all(&folder) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(os(e)),
            _ => {}
        }
        DirBuilder::new().recursive(true).mode(0o700).create(&folder).map_err(os)?;
        let (slots, bearings) = (map("slots")?, map("bearings")?);
        bearings::take(object, &bearings)?;
        Ok(Self {
            slots,
            bearings,
            state_dir: state_dir.to_owned(),
            folder,
            held: BTreeMap::new(),
            next: 0,
            made: 0,
            buffer: vec![0; SLOT],
        })
    }

    /// Reads what the kernel has copied.
    pub fn drain(&mut self) {
        let taken = bearings::get(&self.bearings, bearings::TAKEN);
        let began = self.next;
        let mut buffer = std::mem::take(&mut self.buffer);
        while self.next < taken {
            let index = u32::try_from(self.next % SLOTS).unwrap_or_default();
            let found = self.slots.lookup_into(&index.to_ne_bytes(), &mut buffer, MapFlags::ANY);
            match decode(&buffer, self.next) {
                // It is being written this moment.
                Ok(None) if found.is_ok() => break,
                Ok(None) => {}
                Ok(Some((key, time_ns, slot))) => self.take_in(key, time_ns, slot),
                Err(what) => tracing::warn!(what, "a copy from the kernel could not be read"),
            }
            self.next += 1;
            // A burst may be larger than all slots.
            if self.next.is_multiple_of(64) {
                let _ = bearings::set(&self.bearings, bearings::GIVEN, self.next);
            }
        }
        self.buffer = buffer;
        if self.next != began {
            let _ = bearings::set(&self.bearings, bearings::GIVEN, self.next);
            self.make_room();
        }
    }

    fn take_in(&mut self, key: FileKey, time_ns: u64, slot: Slot<'_>) {
        match slot {
            Slot::File(head) => match self.hold(head, time_ns) {
                Ok(held) => {
                    if let Some(before) = self.held.insert(key, held) {
                        let _ = fs::remove_file(before.path);
                    }
                }
                Err(error) => tracing::warn!(%error, "a copy could not be written"),
            },
            Slot::Page(index, data) => {
                let Some(held) = self.held.get_mut(&key) else { return };
                let from = index.saturating_mul(PAGE as u64);
                let length = held.head.size.saturating_sub(from).min(PAGE as u64) as usize;
                match held.file.write_all_at(&data[..length], from) {
                    Ok(()) => {
                        held.missing.remove(&index);
                        held.pages.insert(index);
                    }
                    // A full disk: the file is short of this page, and says so.
                    Err(_) => {
                        held.missing.insert(index);
                    }
                }
            }
            Slot::Missing(index) => {
                if let Some(held) = self.held.get_mut(&key) {
                    held.missing.insert(index);
                }
            }
            Slot::Short(index) => {
                if let Some(held) = self.held.get_mut(&key) {
                    held.short = Some(held.short.map_or(index, |before| before.min(index)));
                }
            }
        }
    }

    fn hold(&mut self, head: FileHead, since_ns: u64) -> std::io::Result<Held> {
        self.made += 1;
        let path = self.folder.join(self.made.to_string());
        let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path)?;
        let lost_before = bearings::get(&self.bearings, bearings::LOST);
        let (pages, missing) = (BTreeSet::new(), BTreeSet::new());
        Ok(Held { head, file, path, pages, missing, short: None, since_ns, lost_before })
    }

    /// Forgets what is too old or too much.
    fn make_room(&mut self) {
        let size = |held: &Held| (held.pages.len() * PAGE) as u64;
        let mut sum: u64 = self.held.values().map(size).sum();
        let newest = self.held.values().map(|h| h.since_ns).max().unwrap_or(0);
        let mut by_age: Vec<(u64, FileKey)> = self.held.iter().map(|(k, h)| (h.since_ns, *k)).collect();
        by_age.sort_unstable();
        for (since, key) in by_age {
            if sum <= MOST_HELD && newest.saturating_sub(since) <= HELD_NS {
                break;
            }
            if let Some(held) = self.held.remove(&key) {
                sum -= size(&held);
                let _ = fs::remove_file(held.path);
            }
        }
    }

    /// Files of these families that are held.
    pub fn count(&self, is_of_family: impl Fn(u64) -> bool) -> usize {
        self.held.keys().filter(|key| is_of_family(key.family)).count()
    }

    /// Forgets what families destroyed that were let go, and what nobody needs any more.
    pub fn forget(&mut self, is_of_family: impl Fn(u64) -> bool) {
        self.held.retain(|key, held| {
            let goes = is_of_family(key.family);
            if goes {
                let _ = fs::remove_file(&held.path);
            }
            !goes
        });
    }

    /// Keeps what an encryptor destroyed, under the finding's id. It must be dead or stand still.
    pub fn keep(
        &mut self,
        is_of_family: impl Fn(u64) -> bool,
        id: &str,
        program: &str,
        now: Timestamp,
    ) -> Result<Kept, Refused> {
        self.drain();
        let keys: Vec<FileKey> = self.held.keys().filter(|key| is_of_family(key.family)).copied().collect();
        let lost = bearings::get(&self.bearings, bearings::LOST);
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let (mut copied, mut contents, mut others) = (Vec::new(), Vec::new(), Vec::new());
        for key in keys {
            let Some(held) = self.held.remove(&key) else { continue };
            let number = u32::try_from(copied.len()).unwrap_or(u32::MAX);
            let path = files::places(key.dev, &held.head.path, &mounts).into_iter();
            let path = path.max_by_key(|p| (is_inode(p, key.ino), p.parent().is_some_and(Path::is_dir)));
            match path.and_then(|path| compare(&key, &held, &path, number, lost > held.lost_before)) {
                Some(file) => {
                    copied.push(file);
                    contents.push(held.path);
                }
                None => others.push(held.path),
            }
        }
        let kept = Kept {
            files: copied.len(),
            whole: copied.iter().filter(|f| f.missing == 0).count(),
            bytes: copied.iter().map(Copied::kept_bytes).sum(),
            missing: copied.iter().map(|f| f.missing).sum(),
        };
        let (version, id, program) = (copies::VERSION, id.to_owned(), program.to_owned());
        let set = CopySet { version, id, taken: now, program, files: copied };
        let mut added = Ok(());
        if kept.files > 0 {
            added = Copies::open(&self.state_dir).and_then(|store| {
                store.tidy(now, LIMIT.saturating_sub(kept.bytes));
                store.add(&set, &contents)
            });
        }
        for path in others.iter().chain(&contents) {
            let _ = fs::remove_file(path);
        }
        added.map_err(|e| Refused(format!("copies could not be kept: {e}")))?;
        Ok(kept)
    }
}

impl Drop for Intake {
    fn drop(&mut self) {
        let _ = bearings::set(&self.bearings, bearings::PAGES, 0);
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn is_inode(path: &Path, ino: u64) -> bool {
    fs::symlink_metadata(path).is_ok_and(|m| m.ino() == ino)
}

/// Compares what was copied with what lies there now; none if nothing of it was destroyed.
fn compare(key: &FileKey, held: &Held, path: &Path, number: u32, some_were_lost: bool) -> Option<Copied> {
    let head = &held.head;
    let there = File::open(path).ok().filter(|f| f.metadata().is_ok_and(|m| m.is_file()));
    let same_file = is_inode(path, key.ino);
    let length = there.as_ref().and_then(|f| f.metadata().ok()).map_or(0, |m| m.len());
    let differs = |page: &u64| {
        let (mut was, mut is) = (vec![0; PAGE], vec![0; PAGE]);
        let from = page * PAGE as u64;
        let n = head.size.saturating_sub(from).min(PAGE as u64) as usize;
        let read = held.file.read_exact_at(&mut was[..n], from);
        let now = there.as_ref().map(|f| f.read_exact_at(&mut is[..n], from));
        read.is_ok() && (!matches!(now, Some(Ok(()))) || was[..n] != is[..n])
    };
    let all_pages = head.size.div_ceil(PAGE as u64);
    let mut missing = held.missing.clone();
    missing.retain(|page| *page < all_pages && !held.pages.contains(page));
    // What was not copied is as it was only where the file is the same, and nothing was left out.
    let unsure_from = if some_were_lost || !same_file { Some(0) } else { held.short };
    if let Some(from) = unsure_from {
        missing.extend((from..all_pages).filter(|page| !held.pages.contains(page)));
    }
    if same_file && length == head.size && missing.is_empty() && !held.pages.iter().any(differs) {
        return None;
    }
    let bytes_of = |page: &u64| head.size.saturating_sub(page * PAGE as u64).min(PAGE as u64);
    let pages: Vec<u64> = held.pages.iter().copied().collect();
    let left = there.filter(|_| length <= MOST_READ).and_then(|file| digest(&file).ok());
    Some(Copied {
        number,
        path: path.as_os_str().as_bytes().to_vec(),
        size: head.size,
        mode: head.mode & 0o7777,
        uid: head.uid,
        gid: head.gid,
        modified: FileTime { s: head.modified.0, ns: head.modified.1 },
        other_names: head.links.saturating_sub(1),
        kept: copies::ranges(&pages, PAGE as u64, head.size),
        missing: missing.iter().map(bytes_of).sum(),
        left: left.map(|(size, sha256)| Left { size, sha256, same_file }),
        given_back: None,
    })
}
