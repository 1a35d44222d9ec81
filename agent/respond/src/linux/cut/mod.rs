//! Cuts the network of one process tree, and of nobody else.
//!
//! The tree is stopped for a moment, its sockets are put on a list, and it is moved into a cgroup of ours, in which
//! everything is born that it starts later. eBPF programs drop what these send and receive: the packets of sockets that
//! were made in that cgroup, and of those on the list, which were made before. IPv4 and IPv6, TCP, UDP and raw sockets,
//! both directions, loopback included; nothing that has nothing to do with the tree is looked at twice.
//!
//! All of it stays without the agent: the programs by files in bpffs, where the processes came from by an attribute of
//! their cgroup. Undone, they are where they were, and connections that have not timed out go on.
//!
//! Not covered: packet sockets (`AF_PACKET`, which need root), sockets that are on their way from one process to another
//! inside a third one (found at the next look, seconds later, if they are taken out), Unix sockets to services that talk
//! to others, and root, who can move a process out of any cgroup.

mod programs;
mod sockets;

use std::fs;
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::XattrFlags;
use rustix::process::{Pid, PidfdFlags};
use wardline_event::{BootId, ProcessKey};

use super::cgroup::{FOLDER, Freezer, is_populated, processes};
use super::hold::is_dead;
use super::procfs::Stat;
use super::tree::FrozenTree;
use crate::kill::KillError;
use crate::measure::{ContainError, Contained, Holds};
use programs::{List, SOCKETS, TREE};

/// What the cgroups of cut trees are called.
const PREFIX: &str = "cut-";
/// The attribute that says where the processes of a cgroup came from.
const HOME: &str = "trusted.wardline.home";
/// The name under which the programs at the root are kept.
const ROOT: &str = "root";
/// How long a tree that forks may take to be moved back.
const LONGEST_RETURN: Duration = Duration::from_secs(2);

/// Cuts process trees off.
#[derive(Clone, Debug)]
pub struct Cutter {
    /// For looking up cgroups.
    freezer: Freezer,
    /// The cgroup that is above all whose sockets may have to be cut, and in which ours are made.
    root: PathBuf,
    /// Our folder in a bpffs.
    pins: PathBuf,
}

impl Cutter {
    /// For the whole machine. The error says in words what is missing.
    pub fn detect(freezer: &Result<Freezer, String>) -> Result<Self, String> {
        let freezer = freezer.clone()?;
        let pins = programs::bpffs().join(FOLDER);
        Ok(Self { root: freezer.mount().to_owned(), freezer, pins })
    }

    /// For what lives below the cgroup `root`, with `pins` for a folder in a bpffs: for tests.
    pub fn below(freezer: &Freezer, root: &Path, pins: &Path) -> Self {
        Self { freezer: freezer.clone(), root: root.to_owned(), pins: pins.to_owned() }
    }

    fn name(key: &ProcessKey) -> String {
        format!("{PREFIX}{}-{:x}", key.pid, key.start_ticks)
    }

    fn group(&self, key: &ProcessKey) -> PathBuf {
        self.root.join(FOLDER).join(Self::name(key))
    }

    /// The processes whose trees are cut, by what is in the kernel.
    pub fn cut(&self, boot: BootId) -> Vec<ProcessKey> {
        let groups = fs::read_dir(self.root.join(FOLDER)).into_iter().flatten().flatten();
        let key = |name: &str| {
            let (pid, ticks) = name.strip_prefix(PREFIX)?.split_once('-')?;
            Some(ProcessKey {
                boot,
                pid: pid.parse().ok()?,
                start_ticks: u64::from_str_radix(ticks, 16).ok()?,
            })
        };
        groups.filter_map(|group| key(group.file_name().to_str()?)).collect()
    }

    /// Cuts a tree that stands still, and lets it go on.
    pub fn contain(
        &self,
        key: &ProcessKey,
        tree: Result<FrozenTree<'_>, KillError>,
        began: Instant,
    ) -> Result<Contained, ContainError> {
        let group = self.group(key);
        let replaced = group.is_dir();
        let tree = match tree {
            // Its first process has ended; what it left behind is where we put it.
            Err(KillError::Gone(_)) if replaced => None,
            tree => Some(tree?),
        };
        let done = self.put(key, &group, tree.as_ref());
        if done.is_err() && !replaced {
            // Nobody may be left in a cgroup of which nobody knows.
            let _ = self.release(key);
        }
        let mut notes = done?;
        if let Some(tree) = &tree {
            let report = tree.report();
            notes.extend(report.refused.iter().map(|(who, why)| format!("{who} was left alone: {why}")));
            if !report.complete {
                notes.push("some processes did not stand still in time: look for leftovers".to_owned());
            }
        }
        drop(tree);
        Ok(Contained { replaced, took: began.elapsed(), notes })
    }

    fn put(
        &self,
        key: &ProcessKey,
        group: &Path,
        tree: Option<&FrozenTree<'_>>,
    ) -> Result<Vec<String>, ContainError> {
        let os = |doing: &'static str| move |source| ContainError::Os { doing, source };
        programs::mount(&self.pins)?;
        fs::create_dir_all(group).map_err(os("making a cgroup"))?;
        let inode = fs::metadata(group).map_err(os("looking at a cgroup"))?.ino();
        if !SOCKETS.holds(&self.pins, ROOT, &self.root) || List::open(&self.pins).is_none() {
            programs::attach(&SOCKETS, &self.pins, ROOT, &self.root)?;
        }
        if !TREE.holds(&self.pins, &Self::name(key), group) {
            programs::attach(&TREE, &self.pins, &Self::name(key), group)?;
        }
        let list = List::open(&self.pins)
            .ok_or_else(|| ContainError::Unsupported("the list of cut sockets is not in bpffs".to_owned()))?;
        let (mut missed, mut unmoved) = (0, 0);
        if let Some(tree) = tree {
            // All sockets before anybody moves: whom its own cgroup held still runs on as soon as it is out of it.
            for (pid, fd) in tree.living() {
                missed += take(&list, inode, sockets::of(pid, fd, true));
            }
            for (pid, fd) in tree.living() {
                unmoved += usize::from(self.admit(group, pid).is_err() && !is_dead(fd));
            }
        }
        missed += self.look_again(group, inode, &list);
        let mut notes = Vec::new();
        if missed > 0 {
            notes.push(format!("{missed} open sockets could not be cut"));
        }
        if unmoved > 0 {
            notes.push(format!("{unmoved} processes could not be moved: their network is open"));
        }
        Ok(notes)
    }

    /// Moves a process into the part of the cgroup that says where it came from.
    fn admit(&self, group: &Path, pid: u32) -> io::Result<()> {
        let home = self.freezer.group_of(pid).unwrap_or_else(|| self.root.clone());
        if home.starts_with(group) {
            return Ok(());
        }
        let mut part = None;
        for number in 0.. {
            let path = group.join(number.to_string());
            match fs::create_dir(&path) {
                Ok(()) => {
                    rustix::fs::setxattr(&path, HOME, home.as_os_str().as_bytes(), XattrFlags::empty())?;
                    part = Some(path);
                }
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
                    if home_of(&path).is_some_and(|of| of == home) {
                        part = Some(path);
                    }
                }
                Err(e) => return Err(e),
            }
            if part.is_some() {
                break;
            }
        }
        let part = part.ok_or(io::ErrorKind::NotFound)?;
        fs::write(part.join("cgroup.procs"), pid.to_string())
    }

    /// Lists the sockets of everybody in the cgroup: what they got from others, or had in flight. Says how many it missed.
    fn look_again(&self, group: &Path, inode: u64, list: &List) -> usize {
        let mut missed = 0;
        for pid in processes(group) {
            let Some(id) = i32::try_from(pid).ok().and_then(Pid::from_raw) else { continue };
            let Ok(fd) = rustix::process::pidfd_open(id, PidfdFlags::empty()) else { continue };
            if self.freezer.group_of(pid).is_some_and(|at| at.starts_with(group)) {
                use std::os::fd::AsFd;
                missed += take(list, inode, sockets::of(pid, fd.as_fd(), false));
            }
        }
        missed
    }

    /// Whether the tree is cut. Looks for sockets that came to it since.
    pub fn holds(&self, key: &ProcessKey) -> Holds {
        let (group, name) = (self.group(key), Self::name(key));
        let ended = || Holds::Over("the process and all that it started have ended".to_owned());
        let Ok(inode) = fs::metadata(&group).map(|m| m.ino()) else {
            let lives = Stat::of(key.pid).is_ok_and(|s| s.is_some_and(|s| s.start_ticks == key.start_ticks));
            return if lives { Holds::No } else { ended() };
        };
        if !is_populated(&group) {
            return ended();
        }
        let hang = SOCKETS.holds(&self.pins, ROOT, &self.root) && TREE.holds(&self.pins, &name, &group);
        match List::open(&self.pins) {
            Some(list) if hang => {
                self.look_again(&group, inode, &list);
                Holds::Yes
            }
            _ => Holds::No,
        }
    }

    /// Gives the tree its network back, and moves everybody to where they came from. True if there was anything to undo.
    pub fn release(&self, key: &ProcessKey) -> Result<bool, ContainError> {
        let group = self.group(key);
        TREE.detach(&self.pins, &Self::name(key))?;
        let Ok(inode) = fs::metadata(&group).map(|m| m.ino()) else { return Ok(false) };
        if let Some(list) = List::open(&self.pins) {
            list.forget(inode);
        }
        self.empty(&group)?;
        if self.cut(key.boot).is_empty() {
            programs::remove_list(&self.pins, ROOT)?;
        }
        Ok(true)
    }

    /// Moves everybody home and removes the cgroup.
    fn empty(&self, group: &Path) -> Result<(), ContainError> {
        let deadline = Instant::now() + LONGEST_RETURN;
        loop {
            let parts = fs::read_dir(group).into_iter().flatten().flatten().map(|e| e.path());
            let parts: Vec<PathBuf> = parts.filter(|p| p.is_dir()).collect();
            for part in &parts {
                let home = home_of(part).filter(|home| home.is_dir()).unwrap_or_else(|| self.root.clone());
                for pid in processes(part) {
                    if fs::write(home.join("cgroup.procs"), pid.to_string()).is_err() {
                        let _ = fs::write(self.root.join("cgroup.procs"), pid.to_string());
                    }
                }
                // Refused while somebody is in it.
                let _ = fs::remove_dir(part);
            }
            match fs::remove_dir(group) {
                Ok(()) => return Ok(()),
                Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
                Err(source) if Instant::now() >= deadline => {
                    return Err(ContainError::Os { doing: "removing the cgroup of a cut process", source });
                }
                Err(_) => std::thread::sleep(Duration::from_millis(1)),
            }
        }
    }
}

/// Puts what was found on the list, then closes the connections that waited. Says how many sockets were missed.
fn take(list: &List, inode: u64, found: sockets::Found) -> usize {
    let refused = found.cookies.iter().filter(|cookie| !list.add(**cookie, inode)).count();
    drop(found.waiting);
    refused + found.unread
}

fn home_of(part: &Path) -> Option<PathBuf> {
    let mut home = vec![0; 4096];
    let length = rustix::fs::getxattr(part, HOME, &mut home[..]).ok()?;
    home.truncate(length);
    Some(PathBuf::from(std::ffi::OsString::from_vec(home))).filter(|home| home.is_absolute())
}
