//! A place in a folder, held so that nobody can exchange the folder behind our back; and what a file is, beside its
//! content.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use rustix::fs::{
    AtFlags, FileType, Mode, OFlags, RenameFlags, ResolveFlags, Stat, Timespec, Timestamps, XattrFlags,
};
use rustix::io::Errno;
use rustix::process::{Gid, Uid};

use super::Refusal;
use crate::quarantine::{Attribute, FileTime};

/// All attributes of a file together may have this many bytes.
const MOST_ATTRIBUTES: usize = 1024 * 1024;
/// `PATH_MAX`
const LONGEST_PATH: usize = 4096;

/// A folder that is open, and a name in it.
pub(in crate::linux) struct Place {
    pub folder: OwnedFd,
    pub name: OsString,
    /// The folder's path without links, and the name.
    pub path: PathBuf,
}

impl Place {
    /// Opens the folder of a path. Links on the way to the folder are followed once, and then not again: whoever
    /// exchanges a part of the way meanwhile makes this fail.
    pub fn of(path: &Path) -> Result<Self, Refusal> {
        let bytes = path.as_os_str().as_bytes();
        if !path.is_absolute() || bytes.len() > LONGEST_PATH || bytes.contains(&0) {
            return Err(Refusal::Path("it is not a full path of at most 4,096 bytes".to_owned()));
        }
        let name = match (path.file_name(), bytes.last()) {
            (Some(name), Some(last)) if *last != b'/' => name.to_owned(),
            _ => return Err(Refusal::Path("it does not name a file".to_owned())),
        };
        let parent = path.parent().unwrap_or(Path::new("/"));
        let parent = std::fs::canonicalize(parent).map_err(Refusal::io("finding the folder"))?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let resolve = ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        let folder = rustix::fs::openat2(rustix::fs::CWD, &parent, flags, Mode::empty(), resolve)
            .map_err(|e| Refusal::io("opening the folder (Linux 5.6 or newer is needed)")(e.into()))?;
        Ok(Self { folder, path: parent.join(&name), name })
    }

    /// Opens the file; anything but a regular file is refused, a link too.
    pub fn open(&self) -> Result<(File, Stat), Refusal> {
        // Non-blocking: nobody may hang us on a pipe.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY;
        // What it is is asked first: opening some devices does something.
        let stat = self.stat(&self.name).map_err(|e| Refusal::io("looking at the file")(e.into()))?;
        check_kind(&stat)?;
        let fd = rustix::fs::openat(&self.folder, &self.name, flags, Mode::empty()).map_err(|e| match e {
            Errno::LOOP => Refusal::Kind("a symbolic link: name the file that it leads to"),
            e => Refusal::io("opening the file")(e.into()),
        })?;
        let stat = rustix::fs::fstat(&fd).map_err(|e| Refusal::io("looking at the file")(e.into()))?;
        check_kind(&stat)?;
        Ok((File::from(fd), stat))
    }

    pub fn stat(&self, name: &OsStr) -> Result<Stat, Errno> {
        rustix::fs::statat(&self.folder, name, AtFlags::SYMLINK_NOFOLLOW)
    }

    /// Renames within the folder, never over anything.
    pub fn rename(&self, from: &OsStr, to: &OsStr) -> Result<(), Errno> {
        rustix::fs::renameat_with(&self.folder, from, &self.folder, to, RenameFlags::NOREPLACE)
    }

    pub fn unlink(&self, name: &OsStr) -> Result<(), Errno> {
        rustix::fs::unlinkat(&self.folder, name, AtFlags::empty())
    }

    pub fn sync(&self) -> io::Result<()> {
        Ok(rustix::fs::fsync(&self.folder)?)
    }

    /// A new file in the folder, which has no name yet, or this one where the file system cannot do without.
    pub fn make(&self, temporary: &OsStr) -> Result<(File, bool), Errno> {
        let mode = Mode::RUSR | Mode::WUSR;
        let flags = OFlags::RDWR | OFlags::CLOEXEC;
        match rustix::fs::openat(&self.folder, ".", flags | OFlags::TMPFILE, mode) {
            Ok(fd) => Ok((File::from(fd), false)),
            Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::INVAL) => {
                // What a restore that was cut short left; the name is ours.
                let _ = self.unlink(temporary);
                let flags = flags | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW;
                rustix::fs::openat(&self.folder, temporary, flags, mode).map(|fd| (File::from(fd), true))
            }
            Err(e) => Err(e),
        }
    }

    /// Gives a file of [`Place::make`] the place's name, never over anything.
    pub fn name(&self, file: &File, temporary: Option<&OsStr>) -> Result<(), Errno> {
        use std::os::fd::AsRawFd;
        match temporary {
            Some(temporary) => self.rename(temporary, &self.name),
            None => {
                let link = format!("/proc/self/fd/{}", file.as_raw_fd());
                let follow = AtFlags::SYMLINK_FOLLOW;
                rustix::fs::linkat(rustix::fs::CWD, link, &self.folder, &self.name, follow)
            }
        }
    }
}

fn check_kind(stat: &Stat) -> Result<(), Refusal> {
    Err(Refusal::Kind(match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => return Ok(()),
        FileType::Directory => "a folder: name the files in it",
        FileType::Symlink => "a symbolic link: name the file that it leads to",
        FileType::BlockDevice | FileType::CharacterDevice => "a device",
        FileType::Fifo => "a pipe",
        FileType::Socket => "a socket",
        FileType::Unknown => "no regular file",
    }))
}

/// All extended attributes of a file.
pub(in crate::linux) fn attributes(file: &File) -> Result<Vec<Attribute>, Errno> {
    let mut names = vec![0; 64 * 1024];
    let length = match rustix::fs::flistxattr(file, &mut names[..]) {
        Err(Errno::OPNOTSUPP) => 0,
        length => length?,
    };
    let mut found = Vec::new();
    let mut sum = 0;
    for name in names[..length].split(|b| *b == 0).filter(|name| !name.is_empty()) {
        let mut value = vec![0; 64 * 1024];
        let length = match rustix::fs::fgetxattr(file, name, &mut value[..]) {
            // Removed meanwhile.
            Err(Errno::NODATA) => continue,
            length => length?,
        };
        value.truncate(length);
        sum += name.len() + length;
        if sum > MOST_ATTRIBUTES {
            return Err(Errno::TOOBIG);
        }
        found.push(Attribute { name: name.to_vec(), value });
    }
    found.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(found)
}

/// Makes a new file what another was: owner, permissions, attributes, times. In this order, because changing the owner
/// takes rights away, and everything changes the times.
pub(in crate::linux) fn dress(
    file: &File,
    (uid, gid, mode): (u32, u32, u32),
    attributes: &[Attribute],
    times: [FileTime; 2],
) -> Result<(), (&'static str, Errno)> {
    rustix::fs::fchown(file, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))
        .map_err(|e| ("its owner", e))?;
    rustix::fs::fchmod(file, Mode::from_raw_mode(mode)).map_err(|e| ("its permissions", e))?;
    for attribute in attributes {
        rustix::fs::fsetxattr(file, attribute.name.as_slice(), &attribute.value, XattrFlags::empty())
            .map_err(|e| ("an extended attribute", e))?;
    }
    let [last_access, last_modification] = times.map(|t| Timespec { tv_sec: t.s, tv_nsec: i64::from(t.ns) });
    rustix::fs::futimens(file, &Timestamps { last_access, last_modification }).map_err(|e| ("its times", e))
}

/// The path that a manifest names.
pub(in crate::linux) fn path_of(bytes: &[u8]) -> PathBuf {
    PathBuf::from(OsString::from_vec(bytes.to_vec()))
}
