//! Canary files: documents that nobody has reason to change, so that who does is stopped at the first of them.
//!
//! Which folders get them the device's policy says; none is the rule. Each folder named (`/home/*` names each folder in
//! `/home`) gets two hidden files of [`NAMES`], which belong to whoever owns the folder. What was planted is written down in
//! the agent's folder, and taken away when the policy no longer asks for it, or at the machine with
//! `wardline agent canaries --remove`. A file that is no longer what was planted is somebody's, and stays.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Gid, Mode, OFlags, Uid};
use serde::{Deserialize, Serialize};
use wardline_event::{hex, unhex};
use wardline_respond::linux::copies::digest;
use wardline_respond::linux::manifest;

use crate::record::{Evidence, How};

/// What they are called: the first and the last of most listings, and no name that a person would use.
pub const NAMES: [&str; 2] = [".~0-letters-index.docx", ".~zz-letters-index.xlsx"];
/// The most folders that get canaries.
pub const MOST_FOLDERS: usize = 512;
/// What was planted, in the agent's folder.
const FILE: &str = "canaries.json";
/// Bytes of each.
const SIZE: usize = 12_000;
/// By so many it is known whether somebody only puts it back.
const HEAD: usize = 4096;

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Canary {
    /// Its path, as hexadecimal digits: a path need not be UTF-8.
    path: String,
    /// Its number in its file system.
    pub inode: u64,
    /// SHA-256 of its content.
    sha256: String,
    /// SHA-256 of its first [`HEAD`] bytes.
    head: String,
}

#[derive(Default, Serialize, Deserialize)]
struct Book {
    version: u32,
    canaries: Vec<Canary>,
}

/// What was done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changed {
    /// Planted anew.
    pub planted: usize,
    /// Taken away.
    pub removed: usize,
    /// What could not be done, in words.
    pub trouble: Vec<String>,
}

impl Canary {
    /// Where it was planted.
    pub fn path(&self) -> PathBuf {
        PathBuf::from(std::ffi::OsString::from_vec(unhex(&self.path).unwrap_or_default()))
    }

    /// True if it is there and as it was planted.
    pub fn is_whole(&self) -> bool {
        let Ok(file) = open(&self.path()) else { return false };
        file.metadata().is_ok_and(|m| m.is_file() && m.ino() == self.inode)
            && digest(&file).is_ok_and(|(_, sha256)| sha256 == self.sha256)
    }

    /// The hash (FNV-1a) of its name, as the kernel half computes it: its number alone is given to the next file once it
    /// is deleted.
    pub(crate) fn name_hash(&self) -> u64 {
        let path = self.path();
        let name = path.file_name().unwrap_or_default().as_bytes();
        name.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
        })
    }

    /// True if it begins as it was planted: who was stopped over it has only put it back.
    fn begins_well(&self) -> bool {
        let mut head = [0; HEAD];
        open(&self.path()).and_then(|mut f| f.read_exact(&mut head)).is_ok() && sha256(&head) == self.head
    }

    /// The file system, in the kernel's own encoding: 12 bits of major, 20 bits of minor number.
    pub fn device(&self) -> Option<u32> {
        let file = open(&self.path()).ok()?;
        let mount = rustix::fs::statx(&file, "", AtFlags::EMPTY_PATH, rustix::fs::StatxFlags::MNT_ID).ok()?;
        let (mounts, id) = (fs::read_to_string("/proc/self/mountinfo").ok()?, mount.stx_mnt_id.to_string());
        let line = mounts.lines().find(|line| line.split(' ').next() == Some(&id))?;
        let (major, minor) = line.split(' ').nth(2)?.split_once(':')?;
        Some(major.parse::<u32>().ok()? << 20 | minor.parse::<u32>().ok()?)
    }
}

fn open(path: &Path) -> io::Result<File> {
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
    OpenOptions::new().read(true).custom_flags(flags).open(path)
}

fn sha256(bytes: &[u8]) -> String {
    hex(ring::digest::digest(&ring::digest::SHA256, bytes).as_ref())
}

/// True if all that speaks against somebody is canaries that are as they were: a backup that was given back, say.
pub fn were_put_back(evidence: &[Evidence], canaries: &[Canary]) -> bool {
    let well =
        |e: &Evidence| e.how == How::Canary && canaries.iter().any(|c| c.inode == e.ino && c.begins_well());
    !evidence.is_empty() && evidence.iter().all(well)
}

/// What was planted.
pub fn planted(state_dir: &Path) -> Vec<Canary> {
    let read = fs::read(state_dir.join(FILE)).ok();
    read.and_then(|bytes| serde_json::from_slice::<Book>(&bytes).ok()).unwrap_or_default().canaries
}

fn write_down(state_dir: &Path, canaries: &[Canary]) -> io::Result<()> {
    let path = state_dir.join(FILE);
    if canaries.is_empty() {
        return match fs::remove_file(path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
            _ => Ok(()),
        };
    }
    let book = Book { version: 1, canaries: canaries.to_vec() };
    manifest::write(&path, &book)
}

/// The folders that these entries name, no links among them.
fn folders(entries: &[String]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in entries {
        match entry.strip_suffix("/*") {
            Some(parent) => {
                let inside = fs::read_dir(parent).into_iter().flatten().flatten();
                found.extend(inside.filter(|e| e.file_type().is_ok_and(|t| t.is_dir())).map(|e| e.path()));
            }
            None => found.push(PathBuf::from(entry)),
        }
    }
    found.retain(|path| fs::symlink_metadata(path).is_ok_and(|m| m.is_dir()));
    found.sort_unstable();
    found.dedup();
    found.truncate(MOST_FOLDERS);
    found
}

/// Makes what is planted what `entries` ask for. Called again, it plants what has gone since.
pub fn plant(state_dir: &Path, entries: &[String]) -> (Vec<Canary>, Changed) {
    let mut changed = Changed::default();
    let wanted = folders(entries);
    let (mut kept, mut rest): (Vec<_>, Vec<_>) = planted(state_dir)
        .into_iter()
        .partition(|c| c.path().parent().is_some_and(|p| wanted.iter().any(|w| w == p)));
    rest.retain(|canary| !take_away(canary, &mut changed));
    kept.retain(Canary::is_whole);
    for folder in &wanted {
        for name in NAMES {
            let path = folder.join(name);
            if kept.iter().any(|canary| canary.path() == path) {
                continue;
            }
            match put(folder, name) {
                Ok(canary) => {
                    changed.planted += 1;
                    kept.push(canary);
                    // At once: nothing is to lie about that nobody knows to be ours.
                    let all = [&kept[..], &rest[..]].concat();
                    if let Err(error) = write_down(state_dir, &all) {
                        changed.trouble.push(format!("writing {FILE}: {error}"));
                    }
                }
                // Somebody's own, or one that was changed: it stays.
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => changed.trouble.push(format!("{}: {error}", path.display())),
            }
        }
    }
    if let Err(error) = write_down(state_dir, &[&kept[..], &rest[..]].concat()) {
        changed.trouble.push(format!("writing {FILE}: {error}"));
    }
    (kept, changed)
}

/// True if there is nothing left of it to take away.
fn take_away(canary: &Canary, changed: &mut Changed) -> bool {
    let path = canary.path();
    if !canary.is_whole() {
        if fs::symlink_metadata(&path).is_ok() {
            changed.trouble.push(format!("{} is not what was planted, and was left", path.display()));
        }
        return true;
    }
    match fs::remove_file(&path) {
        Ok(()) => changed.removed += 1,
        Err(e) if e.kind() == io::ErrorKind::NotFound => {}
        Err(error) => {
            changed.trouble.push(format!("{}: {error}", path.display()));
            return false;
        }
    }
    true
}

/// Plants one: begins like an office document, and has nothing in it.
fn put(folder: &Path, name: &str) -> io::Result<Canary> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let dir = rustix::fs::open(folder, flags, Mode::empty())?;
    let owner = rustix::fs::fstat(&dir)?;
    let mut content = vec![0; SIZE];
    File::open("/dev/urandom")?.read_exact(&mut content)?;
    content[..4].copy_from_slice(b"PK\x03\x04");
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut file = File::from(rustix::fs::openat(&dir, name, flags, Mode::RUSR | Mode::WUSR)?);
    let made = (|| {
        file.write_all(&content)?;
        // Who encrypts as the folder's owner must be able to.
        rustix::fs::fchown(&file, Some(Uid::from_raw(owner.st_uid)), Some(Gid::from_raw(owner.st_gid)))?;
        rustix::fs::fchmod(&file, Mode::from_raw_mode(0o644))?;
        let (_, sha256) = digest(&file)?;
        let path = hex(folder.join(name).as_os_str().as_bytes());
        Ok(Canary { path, inode: file.metadata()?.ino(), sha256, head: self::sha256(&content[..HEAD]) })
    })();
    if made.is_err() {
        let _ = rustix::fs::unlinkat(&dir, name, AtFlags::empty());
    }
    made
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn canaries_come_and_go_with_the_policy_and_strangers_files_stay() {
        let (root, state) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        for name in ["ward-1", "ward-2", "other"] {
            fs::create_dir(root.path().join(name)).unwrap();
        }
        let wards = root.path().join("wards");
        fs::create_dir(&wards).unwrap();
        fs::create_dir(wards.join("a")).unwrap();
        fs::write(wards.join("a file"), "x").unwrap();
        std::os::unix::fs::symlink(root.path().join("other"), wards.join("link")).unwrap();
        let entry = |path: &Path| path.to_str().unwrap().to_owned();
        // Somebody's own file of that name.
        fs::write(root.path().join("ward-2").join(NAMES[0]), "mine").unwrap();
        let entries = [
            entry(&root.path().join("ward-1")),
            entry(&root.path().join("ward-2")),
            format!("{}/*", entry(&wards)),
        ];
        let (canaries, changed) = plant(state.path(), &entries);
        assert_eq!((changed.planted, canaries.len()), (5, 5), "{changed:?}");
        assert!(canaries.iter().all(|c| c.is_whole() && c.device().is_some()));
        assert_eq!(fs::read_dir(root.path().join("other")).unwrap().count(), 0, "a link is not followed");
        // Called again nothing happens; what has gone is planted again; what was changed is left alone.
        fs::remove_file(root.path().join("ward-1").join(NAMES[0])).unwrap();
        fs::write(root.path().join("ward-1").join(NAMES[1]), "a person wrote here").unwrap();
        let (canaries, changed) = plant(state.path(), &entries);
        assert_eq!((changed.planted, canaries.len()), (1, 4), "{changed:?}");
        let (_, changed) = plant(state.path(), &entries);
        assert_eq!(changed, Changed::default());
        // Turned off: all of ours are gone, and nothing else.
        let (canaries, changed) = plant(state.path(), &[]);
        assert_eq!((canaries.len(), changed.removed), (0, 4), "{changed:?}");
        assert_eq!(fs::read(root.path().join("ward-1").join(NAMES[1])).unwrap(), b"a person wrote here");
        assert_eq!(fs::read(root.path().join("ward-2").join(NAMES[0])).unwrap(), b"mine");
        assert!(!wards.join("a").join(NAMES[0]).exists());
        assert!(planted(state.path()).is_empty() && !state.path().join(FILE).exists());
    }
}
