//! The eBPF programs that drop packets, and the files of bpffs by which they outlive the agent.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use libbpf_rs::query::LinkTypeInfo;
use libbpf_rs::{Link, MapCore, MapFlags, MapHandle, ObjectBuilder};
use rustix::mount::MountFlags;

use crate::measure::ContainError;

/// The compiled programs; libbpf wants the ELF file's numbers aligned.
#[repr(align(8))]
struct Aligned<T: ?Sized>(T);
static PROGRAMS: &Aligned<[u8]> = &Aligned(*include_bytes!(concat!(env!("OUT_DIR"), "/cut.bpf.o")));

/// Where bpffs is mounted, if it is.
const USUAL: &str = "/sys/fs/bpf";
/// Where it is mounted if not there.
const OWN: &str = "/run/wardline/bpf";
/// `BPF_FS_MAGIC`
const MAGIC: u64 = 0xcafe_4a11;

fn is_bpffs(path: &Path) -> bool {
    rustix::fs::statfs(path).is_ok_and(|fs| u64::try_from(fs.f_type) == Ok(MAGIC))
}

/// The file system in which links outlive those who made them, or where it would be mounted.
pub(super) fn bpffs() -> PathBuf {
    if is_bpffs(Path::new(USUAL)) { USUAL.into() } else { OWN.into() }
}

/// Mounts a bpffs where [`bpffs`] said it would be, if there is none.
pub(super) fn mount(pins: &Path) -> Result<(), ContainError> {
    if !pins.starts_with(OWN) || is_bpffs(Path::new(OWN)) {
        return Ok(());
    }
    let failed = |what: &str, e: io::Error| {
        ContainError::Unsupported(format!("no bpffs is mounted at {USUAL}, and at {OWN} {what}: {e}"))
    };
    fs::create_dir_all(OWN).map_err(|e| failed("no folder can be made for one", e))?;
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    rustix::mount::mount("bpf", OWN, "bpf", flags, Some(c"mode=0700"))
        .map_err(|e| failed("none can be mounted", e.into()))
}

fn refuse(doing: &'static str) -> impl Fn(libbpf_rs::Error) -> ContainError {
    move |e| {
        let mut text = format!("{doing} failed: {e}");
        let mut at = std::error::Error::source(&e);
        while let Some(cause) = at {
            text = format!("{text}: {cause}");
            at = cause.source();
        }
        ContainError::Unsupported(format!(
            "the network of a process cannot be cut here: {text} (needs root, and Linux 5.7 or newer with cgroup BPF)"
        ))
    }
}

/// A link by its file; asked for only if it is there, or libbpf would complain on standard error.
fn open(file: &Path) -> Option<Link> {
    file.exists().then(|| Link::open(file).ok()).flatten()
}

/// What hangs on a cgroup: both directions.
pub(super) struct Pair {
    ingress: &'static str,
    egress: &'static str,
}

/// Drops all.
pub(super) const TREE: Pair = Pair { ingress: "tree_in", egress: "tree_out" };
/// Drops what belongs to the listed sockets.
pub(super) const SOCKETS: Pair = Pair { ingress: "socket_in", egress: "socket_out" };
/// The file of the list of sockets.
const LIST: &str = "sockets";

impl Pair {
    fn files(&self, pins: &Path, name: &str) -> [(&'static str, PathBuf); 2] {
        [self.ingress, self.egress].map(|program| (program, pins.join(format!("{name}-{program}"))))
    }

    /// True if both programs hang on this cgroup.
    pub fn holds(&self, pins: &Path, name: &str, cgroup: &Path) -> bool {
        let Ok(inode) = fs::metadata(cgroup).map(|m| m.ino()) else { return false };
        self.files(pins, name).iter().all(|(_, file)| {
            let info = open(file).and_then(|link| link.info().ok());
            // A link whose cgroup has gone, or that somebody has detached, names cgroup 0.
            info.is_some_and(|i| matches!(&i.info, LinkTypeInfo::Cgroup(c) if c.cgroup_id == inode))
        })
    }

    /// Takes both programs off, at once: closing the last reference alone would leave it to the kernel when.
    pub fn detach(&self, pins: &Path, name: &str) -> Result<(), ContainError> {
        for (_, file) in self.files(pins, name) {
            if let Some(link) = open(&file) {
                // Kernels before 5.9 cannot, nor can a link whose cgroup has gone.
                let _ = link.detach();
            }
            match fs::remove_file(&file) {
                Err(e) if e.kind() != io::ErrorKind::NotFound => {
                    return Err(ContainError::Os { doing: "removing a pinned eBPF program", source: e });
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// Hangs a pair on a cgroup, in place of what is there under this name. The list of sockets is the one that the pins'
/// folder has, or becomes it.
pub(super) fn attach(pair: &Pair, pins: &Path, name: &str, cgroup: &Path) -> Result<(), ContainError> {
    fs::create_dir_all(pins)
        .map_err(|source| ContainError::Os { doing: "making a folder in bpffs", source })?;
    let group =
        File::open(cgroup).map_err(|source| ContainError::Os { doing: "opening a cgroup", source })?;
    let wanted = [pair.ingress, pair.egress];
    let mut open =
        ObjectBuilder::default().open_memory(&PROGRAMS.0).map_err(refuse("reading the programs"))?;
    for mut program in open.progs_mut() {
        let load = program.name().to_str().is_some_and(|name| wanted.contains(&name));
        program.set_autoload(load);
    }
    let list = pins.join(LIST);
    for mut map in open.maps_mut() {
        if let Some(List(known)) = List::open(pins) {
            map.reuse_fd(known.as_fd()).map_err(refuse("taking up the list of sockets"))?;
        }
    }
    let mut object = open.load().map_err(refuse("loading the programs"))?;
    if !list.exists() {
        for mut map in object.maps_mut() {
            map.pin(&list).map_err(refuse("keeping the list of sockets"))?;
        }
    }
    pair.detach(pins, name)?;
    for (wanted, file) in pair.files(pins, name) {
        let program = object.progs_mut().find(|program| program.name() == wanted);
        let Some(program) = program else { continue };
        let mut link = program.attach_cgroup(group.as_raw_fd()).map_err(refuse("attaching to the cgroup"))?;
        link.pin(&file).map_err(refuse("keeping a program attached"))?;
    }
    Ok(())
}

/// The list of sockets; none if nothing has been cut.
pub(super) struct List(MapHandle);

impl List {
    pub fn open(pins: &Path) -> Option<Self> {
        let file = pins.join(LIST);
        file.exists().then(|| MapHandle::from_pinned_path(file).ok().map(Self)).flatten()
    }

    /// Adds a socket for the sake of a cgroup; false if the list is full.
    pub fn add(&self, cookie: u64, cgroup: u64) -> bool {
        // One that is there already stays: the cut that came first has to lift it.
        self.0.update(&cookie.to_ne_bytes(), &cgroup.to_ne_bytes(), MapFlags::NO_EXIST).is_ok()
            || self.0.lookup(&cookie.to_ne_bytes(), MapFlags::ANY).is_ok_and(|found| found.is_some())
    }

    /// Removes the sockets of a cgroup.
    pub fn forget(&self, cgroup: u64) {
        let of_it = |key: &Vec<u8>| {
            self.0.lookup(key, MapFlags::ANY).ok().flatten().is_some_and(|v| v == cgroup.to_ne_bytes())
        };
        let keys: Vec<Vec<u8>> = self.0.keys().filter(of_it).collect();
        for key in keys {
            let _ = self.0.delete(&key);
        }
    }
}

/// Takes the programs off the root, and forgets the list.
pub(super) fn remove_list(pins: &Path, name: &str) -> Result<(), ContainError> {
    SOCKETS.detach(pins, name)?;
    match fs::remove_file(pins.join(LIST)) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => {
            Err(ContainError::Os { doing: "removing the list of sockets", source: e })
        }
        _ => Ok(()),
    }
}
