//! Opens the very file that was executed, or nothing.

use std::fs::{self, File};
use std::io::Read;
use std::os::fd::{AsFd, AsRawFd};

use rustix::fs::{CWD, FileType, Mode, OFlags, fstat, openat};

use super::Wanted;
use crate::record::FileState;

/// Larger files are not read.
const MOST_BYTES: u64 = 256 << 20;
/// What is said of a file that could not be had any more.
pub(super) const GONE: &str = "it was gone or replaced before it could be read";

/// File systems that a program or another machine serves: whoever reads from them may wait for ever. By their magic
/// numbers, see statfs(2).
const SERVED: [(u32, &str); 8] = [
    (0x6573_5546, "FUSE"),
    (0x6969, "NFS"),
    (0xff53_4d42, "CIFS"),
    (0xfe53_4d42, "SMB"),
    (0x0102_1997, "9P"),
    (0x00c3_6400, "Ceph"),
    (0x6b41_4653, "AFS"),
    (0x0bd0_0bd0, "Lustre"),
];

/// Why a file in this state is not read at all.
pub(super) fn not_read(state: &FileState) -> Option<String> {
    if let Some((_, name)) = SERVED.iter().find(|(magic, _)| *magic == state.magic) {
        return Some(format!("it lies on {name}, which may keep a reader waiting for ever"));
    }
    let mib = state.size >> 20;
    (state.size > MOST_BYTES).then(|| format!("it has {mib} MiB; at most {} are read", MOST_BYTES >> 20))
}

/// The state of an open file, but for the kind of its file system.
pub(super) fn state(file: &File) -> Option<FileState> {
    let stat = fstat(file).ok()?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return None;
    }
    let ns = |ns: u64| u32::try_from(ns).unwrap_or(0);
    Some(FileState {
        device: (rustix::fs::major(stat.st_dev), rustix::fs::minor(stat.st_dev)),
        inode: stat.st_ino,
        size: stat.st_size.cast_unsigned(),
        modified: (stat.st_mtime, ns(stat.st_mtime_nsec)),
        changed: (stat.st_ctime, ns(stat.st_ctime_nsec)),
        magic: 0,
    })
}

/// Whether an open file is in this state.
pub(super) fn is_in(file: &File, wanted: &FileState) -> bool {
    let Some(seen) = state(file) else { return false };
    let same = FileState { device: wanted.device, magic: wanted.magic, ..seen } == *wanted;
    // Some file systems (btrfs) show programs another device than the kernel has; the mount's own is the kernel's.
    same && (seen.device == wanted.device || mount_device(file) == Some(wanted.device))
}

/// The device of the mount that a file was opened on.
fn mount_device(file: &File) -> Option<(u32, u32)> {
    let info = fs::read_to_string(format!("/proc/self/fdinfo/{}", file.as_fd().as_raw_fd())).ok()?;
    let id = info.lines().find_map(|line| line.strip_prefix("mnt_id:"))?.trim();
    let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
    let device = mounts.lines().find_map(|line| {
        let mut words = line.split(' ');
        (words.next() == Some(id)).then(|| words.nth(1))?
    })?;
    let (major, minor) = device.split_once(':')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

/// Opens the file, if it is still to be had: through the process, or by its name.
pub(super) fn open(wanted: &Wanted) -> Result<File, String> {
    let pid = wanted.process.pid;
    let mut refused = None;
    let mut of = |path: &str, follow: OFlags| {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY | follow;
        match openat(CWD, path, flags, Mode::empty()) {
            Ok(fd) => Some(File::from(fd)).filter(|file| is_in(file, &wanted.state)),
            Err(error) => {
                refused = Some(error);
                None
            }
        }
    };
    // Whether the process is still the same is no question: the state says which file it is.
    let through = of(&format!("/proc/{pid}/exe"), OFlags::empty());
    let found = through.or_else(|| of(wanted.path.as_deref()?, OFlags::NOFOLLOW));
    found.ok_or_else(|| match refused {
        Some(error @ (rustix::io::Errno::ACCESS | rustix::io::Errno::PERM)) => {
            format!("opening it failed ({error}): needs root with CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH")
        }
        _ => GONE.to_owned(),
    })
}

/// A text of at most so many bytes; a longer one is none.
pub(super) fn text(path: &str, most: u64) -> std::io::Result<String> {
    let mut bytes = Vec::new();
    File::open(path)?.take(most + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most {
        return Err(std::io::Error::other(format!("{path} has more than {most} bytes")));
    }
    Ok(String::from_utf8(bytes).unwrap_or_else(|e| String::from_utf8_lossy(e.as_bytes()).into_owned()))
}
