//! Takes a file: copies, makes durable, checks, and only then removes.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Seek, SeekFrom};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use ring::rand::{SecureRandom, SystemRandom};
use rustix::fs::Stat;
use wardline_event::{Timestamp, hex};

use super::place::{Place, attributes};
use super::{Refusal, Step, Store, Taken, aside, same, seal};
use crate::quarantine::{FileTime, Manifest, Stage, VERSION};

/// The most processes that a report names.
const MOST_HOLDERS: usize = 32;

impl Store {
    /// Takes a file. `by` ordered it, for `reason`.
    pub fn take(&self, path: &Path, by: &str, reason: &str, now: Timestamp) -> Result<Taken, Refusal> {
        let place = Place::of(path)?;
        if place.path.starts_with(fs::canonicalize(&self.folder).unwrap_or_else(|_| self.folder.clone())) {
            return Err(Refusal::Protected("it is in the quarantine's own folder".to_owned()));
        }
        let (mut file, stat) = place.open()?;
        let wanted = u64::try_from(stat.st_size).unwrap_or(u64::MAX);
        let used = self.used();
        if used.saturating_add(wanted) > self.limit {
            return Err(Refusal::Full { used, wanted, limit: self.limit });
        }
        let mut manifest = describe(&place, &file, &stat, by, reason, now)?;
        self.write_manifest(&manifest)?;
        self.reach(Step::Announced)?;
        let taken = self.copy(&mut manifest, &mut file).and_then(|()| self.remove(&place, &manifest));
        match taken {
            Ok(()) => {}
            Err(error) if self.stop_at.is_some() => return Err(error),
            Err(error) => {
                // It is where it was: what we have of it is not needed.
                self.forget(&manifest.id)?;
                return Err(error);
            }
        }
        self.reach(Step::Removed)?;
        manifest.stage = Stage::Held;
        self.write_manifest(&manifest)?;
        self.reach(Step::Held)?;
        let holders = holders(manifest.device, manifest.inode);
        Ok(Taken { manifest, holders })
    }

    /// Seals the content, checks what was sealed, and says so in the manifest.
    fn copy(&self, manifest: &mut Manifest, file: &mut File) -> Result<(), Refusal> {
        let content = self.content_path(&manifest.id);
        let mut sealed = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&content)
            .map_err(Refusal::io("making a file in the quarantine"))?;
        file.seek(SeekFrom::Start(0)).map_err(Refusal::io("reading the file"))?;
        let (length, sha256) = seal::seal(&manifest.key, file, &mut sealed, manifest.size).map_err(|e| {
            if e.kind() == io::ErrorKind::InvalidData {
                Refusal::Changing
            } else {
                Refusal::io("sealing the file")(e)
            }
        })?;
        if length != manifest.size {
            return Err(Refusal::Changing);
        }
        sealed.sync_all().map_err(Refusal::io("writing to the quarantine"))?;
        sealed.seek(SeekFrom::Start(0)).map_err(Refusal::io("reading from the quarantine"))?;
        let (_, again) = seal::open(&manifest.key, &mut sealed, &mut io::sink())
            .map_err(Refusal::io("reading back what was sealed"))?;
        if again != sha256 {
            return Err(Refusal::Damaged {
                path: content,
                what: "it reads back as something else".to_owned(),
            });
        }
        sealed
            .set_permissions(Permissions::from_mode(0o0))
            .map_err(Refusal::io("closing the sealed file"))?;
        self.sync().map_err(Refusal::io("writing to the quarantine"))?;
        self.reach(Step::Sealed)?;
        (manifest.sha256, manifest.stage) = (sha256, Stage::Stored);
        self.write_manifest(manifest)?;
        self.reach(Step::Stored)
    }

    /// Removes the file from its folder, if it is still the one that was stored. Nothing tells the kernel "unlink this
    /// name if it means that file": so it gets a name of ours first, and is looked at under that.
    pub(super) fn remove(&self, place: &Place, manifest: &Manifest) -> Result<(), Refusal> {
        let aside = aside(&manifest.id);
        place.rename(&place.name, &aside).map_err(Refusal::errno("moving the file aside"))?;
        self.reach(Step::Aside)?;
        let there = place.stat(&aside);
        if !there.is_ok_and(|stat| same(&stat, manifest)) {
            place.rename(&aside, &place.name).map_err(Refusal::errno("giving the file its name back"))?;
            // While it is open, no other file has its number.
            let held = (manifest.device, manifest.inode);
            let ours = there.is_ok_and(|stat| (stat.st_dev, stat.st_ino) == held);
            return Err(if ours { Refusal::Changing } else { Refusal::Exchanged });
        }
        if let Err(error) = place.unlink(&aside) {
            let _ = place.rename(&aside, &place.name);
            return Err(Refusal::errno("removing the file")(error));
        }
        // From here on the only content is ours. Should this fail, the file may come back with a crash, no more.
        let _ = place.sync();
        Ok(())
    }
}

/// When a file was last read and changed.
pub(super) fn times(stat: &Stat) -> [FileTime; 2] {
    let time = |s, ns: i64| FileTime { s, ns: u32::try_from(ns).unwrap_or(0) };
    [time(stat.st_atime, stat.st_atime_nsec as i64), time(stat.st_mtime, stat.st_mtime_nsec as i64)]
}

fn describe(
    place: &Place,
    file: &File,
    stat: &Stat,
    by: &str,
    reason: &str,
    now: Timestamp,
) -> Result<Manifest, Refusal> {
    let (mut id, mut key) = ([0; 8], [0; 32]);
    let random = SystemRandom::new();
    random
        .fill(&mut id)
        .and_then(|()| random.fill(&mut key))
        .map_err(|_| Refusal::Os { doing: "asking for random bytes", source: io::ErrorKind::Other.into() })?;
    let [accessed, modified] = times(stat);
    Ok(Manifest {
        version: VERSION,
        id: hex(&id),
        stage: Stage::Taking,
        path: place.path.as_os_str().as_bytes().to_vec(),
        device: stat.st_dev,
        inode: stat.st_ino,
        uid: stat.st_uid,
        gid: stat.st_gid,
        mode: stat.st_mode & 0o7777,
        size: u64::try_from(stat.st_size).unwrap_or(u64::MAX),
        modified,
        accessed,
        attributes: attributes(file).map_err(Refusal::errno("reading the extended attributes"))?,
        other_names: stat.st_nlink.saturating_sub(1),
        sha256: String::new(),
        taken: now,
        by: by.to_owned(),
        reason: reason.to_owned(),
        key: key.to_vec(),
    })
}

/// Processes that have the file open or run it.
fn holders(device: u64, inode: u64) -> Vec<u32> {
    let is_it = |path: &Path| fs::metadata(path).is_ok_and(|m| (m.dev(), m.ino()) == (device, inode));
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = processes.filter_map(|e| e.file_name().to_str()?.parse::<u32>().ok());
    let holds = |pid: &u32| {
        let folder = PathBuf::from(format!("/proc/{pid}"));
        let mut open = fs::read_dir(folder.join("fd")).into_iter().flatten().flatten();
        *pid != std::process::id() && (is_it(&folder.join("exe")) || open.any(|fd| is_it(&fd.path())))
    };
    pids.filter(holds).take(MOST_HOLDERS).collect()
}
