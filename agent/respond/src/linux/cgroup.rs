//! The freezer of cgroup v2: what stands in a frozen cgroup runs no instruction, and what it was about to fork is born
//! frozen beside it. Nothing in it can wake itself, or be woken by a signal; SIGKILL ends it all the same.
//!
//! A [`Cage`] holds one tree. A tree that has a cgroup of its own (a service, a container) is frozen where it is, by one
//! write. One that shares its cgroup with others can be moved, process by process, into an empty frozen cgroup. Each move
//! takes a lock that every fork and exit on the machine takes too: 8 ms while a fork bomb runs.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use wardline_event::ProcessKey;

use super::procfs::Stat;
use crate::plan::Facts;

/// Our folder below the root of the hierarchy. It never holds processes itself.
pub(super) const FOLDER: &str = "wardline";
/// Of so many processes it is asked whether they are older than the target before their cgroup is frozen: asking takes
/// about 10 µs each, in which a fork bomb goes on.
const ASK_FIRST: usize = 8;
/// The others are asked once all stand still, or after so long.
const ASK_AFTER: Duration = Duration::from_millis(1);
/// Below a cgroup, so many others are looked at. A container seldom has ten.
const MOST_GROUPS: usize = 4096;

/// A mounted cgroup v2 hierarchy that we may write to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Freezer {
    mount: PathBuf,
}

impl Freezer {
    /// Finds the hierarchy and tries it out. The error says in words what is missing.
    pub fn detect() -> Result<Self, String> {
        let mounts = fs::read_to_string("/proc/self/mountinfo").map_err(|e| format!("mountinfo: {e}"))?;
        let mount = mounts.lines().find_map(mount_point).ok_or("no cgroup v2 hierarchy is mounted here")?;
        let freezer = Self { mount };
        let trial = freezer.make().map_err(|e| format!("no cgroup can be made ({e})"))?;
        let works = fs::write(trial.join("cgroup.freeze"), "1");
        let _ = fs::remove_dir(&trial);
        works.map_err(|e| format!("cgroups cannot be frozen ({e}): Linux 5.2 or newer is needed"))?;
        Ok(freezer)
    }

    /// Where it is mounted.
    pub fn mount(&self) -> &Path {
        &self.mount
    }

    /// A new cgroup of ours.
    fn make(&self) -> io::Result<PathBuf> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let folder = self.mount.join(FOLDER);
        match fs::create_dir(&folder) {
            Err(e) if e.kind() != io::ErrorKind::AlreadyExists => return Err(e),
            _ => {}
        }
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = folder.join(format!("frozen-{}-{number}", std::process::id()));
        fs::create_dir(&path)?;
        Ok(path)
    }

    /// The cgroup of a process, below the root; none if it is the root, cannot be read or lies outside of what we see.
    pub(super) fn group_of(&self, pid: u32) -> Option<PathBuf> {
        let path = group_path(&fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?)?.to_owned();
        (path != "/").then(|| self.mount.join(path.trim_start_matches('/')))
    }

    /// A cage for `target`, whose cgroup is frozen at once if it is the tree's own.
    ///
    /// `others` are processes that must not be frozen, not even for a moment: where one of them is, the cgroup is shared.
    /// A cgroup is the tree's own if it is not the root, the target's parent is not in it, and nothing in it is older
    /// than the target.
    pub(super) fn cage(&self, target: &Facts, others: &[ProcessKey]) -> Cage {
        let own = self.own_group(target, others);
        let still_at = own.as_ref().and_then(|(_, still)| *still);
        let own = own.map(|(group, _)| group);
        Cage { freezer: self.clone(), own, still_at, frozen: None, moved: Vec::new() }
    }

    /// A cage for a tree whose target has ended.
    pub(super) fn empty_cage(&self) -> Cage {
        Cage { freezer: self.clone(), own: None, still_at: None, frozen: None, moved: Vec::new() }
    }

    /// Freezes the target's cgroup if that is the tree's own; tells also when all in it stood still, if that was seen.
    fn own_group(&self, target: &Facts, others: &[ProcessKey]) -> Option<(PathBuf, Option<Instant>)> {
        let group = self.group_of(target.pid)?;
        let before = processes(&group);
        let inside = |pid: u32| before.contains(&pid);
        // A cgroup of threads does not list its processes.
        if !inside(target.pid) || others.iter().any(|key| inside(key.pid)) || is_set(&group) {
            return None;
        }
        if self.group_of(target.ppid).is_some_and(|g| g.starts_with(&group)) {
            return None;
        }
        let older = |pids: &mut dyn Iterator<Item = u32>| {
            let start = |pid: u32| Stat::of(pid).ok().flatten().map(|stat| stat.start_ticks);
            pids.filter_map(start).any(|start| start < target.start_ticks)
        };
        // Who is older has a smaller number, unless the numbers have begun anew since.
        if older(&mut before.iter().copied().filter(|pid| *pid < target.pid).take(ASK_FIRST)) {
            return None;
        }
        let freeze = group.join("cgroup.freeze");
        fs::write(&freeze, "1").ok()?;
        let until = Instant::now() + ASK_AFTER;
        let mut still = None;
        while still.is_none() && Instant::now() < until {
            still = is_frozen(&group).then(Instant::now);
            if still.is_none() {
                std::thread::sleep(Duration::from_micros(20));
            }
        }
        if older(&mut processes(&group).into_iter()) {
            let _ = fs::write(&freeze, "0");
            return None;
        }
        Some((group, still))
    }
}

/// The mount point of a line of mountinfo, if it is that of a whole cgroup v2 hierarchy (proc_pid_mountinfo(5)).
fn mount_point(line: &str) -> Option<PathBuf> {
    let (fields, filesystem) = line.split_once(" - ")?;
    let mut fields = fields.split(' ').skip(3);
    let (root, point) = (fields.next()?, fields.next()?);
    // A mount point with a space is written with escapes; nobody mounts this one so.
    (root == "/" && filesystem.starts_with("cgroup2 ") && !point.contains('\\')).then(|| point.into())
}

/// The path of hierarchy 0 in `/proc/PID/cgroup`; one outside our cgroup namespace begins with `/..`.
fn group_path(text: &str) -> Option<&str> {
    let path = text.lines().find_map(|line| line.strip_prefix("0::"))?;
    let path = path.strip_suffix(" (deleted)").unwrap_or(path);
    (path.starts_with('/') && !path.starts_with("/..")).then_some(path)
}

/// True if somebody else has frozen this cgroup: then it is theirs to thaw.
fn is_set(group: &Path) -> bool {
    fs::read_to_string(group.join("cgroup.freeze")).map_or(true, |text| text.trim() != "0")
}

/// True if anybody lives in this cgroup or below it. Zombies do not.
pub(super) fn is_populated(group: &Path) -> bool {
    fs::read_to_string(group.join("cgroup.events")).is_ok_and(|text| text.lines().any(|l| l == "populated 1"))
}

fn is_frozen(group: &Path) -> bool {
    fs::read_to_string(group.join("cgroup.events")).is_ok_and(|text| text.lines().any(|l| l == "frozen 1"))
}

/// The processes in a cgroup and below it.
pub(super) fn processes(group: &Path) -> Vec<u32> {
    let (mut pids, mut groups, mut next) = (Vec::new(), vec![group.to_owned()], 0);
    while next < groups.len() && next < MOST_GROUPS {
        let group = groups[next].clone();
        next += 1;
        let list = fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
        pids.extend(list.lines().filter_map(|pid| pid.parse::<u32>().ok()).filter(|pid| *pid != 0));
        let below = fs::read_dir(&group).into_iter().flatten().flatten();
        groups.extend(below.filter(|e| e.file_type().is_ok_and(|t| t.is_dir())).map(|e| e.path()));
    }
    pids
}

/// Where one tree is kept still. Dropped, it sets everybody free that it still holds.
#[derive(Debug)]
pub(super) struct Cage {
    freezer: Freezer,
    /// The tree's own cgroup, frozen in place.
    own: Option<PathBuf>,
    /// When all in it stood still, if that was seen.
    still_at: Option<Instant>,
    /// The frozen cgroup that others are moved to, made when first needed.
    frozen: Option<PathBuf>,
    /// Whom we moved, and where they came from.
    moved: Vec<(u32, PathBuf)>,
}

impl Cage {
    /// True if the tree's own cgroup is frozen.
    pub fn is_own(&self) -> bool {
        self.own.is_some()
    }

    /// When all in the tree's own cgroup stood still, if that was seen.
    pub fn still_at(&self) -> Option<Instant> {
        self.still_at
    }

    /// True if this process is in the cage.
    pub fn holds(&self, pid: u32) -> bool {
        let Some(group) = self.freezer.group_of(pid) else { return false };
        [&self.own, &self.frozen].into_iter().flatten().any(|cage| group.starts_with(cage))
    }

    /// Takes a process in. The caller holds its pidfd, and must find it alive afterwards: else the pid may have been
    /// another's, which is then set free again by [`Cage::give_back`].
    pub fn take(&mut self, pid: u32) -> io::Result<()> {
        if self.own.is_some() && self.holds(pid) {
            return Ok(());
        }
        let home = self.freezer.group_of(pid).unwrap_or_else(|| self.freezer.mount.clone());
        let frozen = if let Some(frozen) = &self.frozen {
            frozen
        } else {
            let made = self.freezer.make()?;
            let frozen = self.frozen.insert(made);
            fs::write(frozen.join("cgroup.freeze"), "1")?;
            frozen
        };
        if home.starts_with(frozen) {
            return Ok(()); // Born here.
        }
        fs::write(frozen.join("cgroup.procs"), pid.to_string())?;
        self.moved.push((pid, home));
        Ok(())
    }

    /// Moves a process back to where it came from.
    pub fn give_back(&mut self, pid: u32) {
        if let Some(at) = self.moved.iter().position(|(moved, _)| *moved == pid) {
            let (_, home) = self.moved.swap_remove(at);
            self.send_home(pid, &home);
        }
    }

    /// True if nothing in the cage runs.
    pub fn is_still(&self) -> bool {
        [&self.own, &self.frozen].into_iter().flatten().all(|group| is_frozen(group))
    }

    /// Waits until nothing in the cage runs.
    pub fn wait(&self, deadline: Instant) {
        while !self.is_still() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_micros(20));
        }
    }

    /// Everybody in the cage, those born in it among them.
    pub fn processes(&self) -> Vec<u32> {
        [&self.own, &self.frozen].into_iter().flatten().flat_map(|group| processes(group)).collect()
    }

    fn send_home(&self, pid: u32, home: &Path) {
        let Some(frozen) = &self.frozen else { return };
        if self.freezer.group_of(pid).is_some_and(|g| g.starts_with(frozen)) {
            self.move_to(pid, home);
        }
    }

    fn move_to(&self, pid: u32, home: &Path) {
        if fs::write(home.join("cgroup.procs"), pid.to_string()).is_err() {
            // Its cgroup has been removed meanwhile.
            let _ = fs::write(self.freezer.mount.join("cgroup.procs"), pid.to_string());
        }
    }

    /// Sets everybody free.
    fn open(&mut self) {
        // Those born in the cage belong where the first of the tree came from.
        let home = self.moved.first().map_or_else(|| self.freezer.mount.clone(), |(_, home)| home.clone());
        for (pid, home) in std::mem::take(&mut self.moved) {
            self.send_home(pid, &home);
        }
        if let Some(own) = self.own.take() {
            let _ = fs::write(own.join("cgroup.freeze"), "0");
        }
        if let Some(frozen) = self.frozen.take() {
            let _ = fs::write(frozen.join("cgroup.freeze"), "0");
            for pid in processes(&frozen) {
                self.move_to(pid, &home);
            }
            // Refused while a process is still dying in it; the next agent's start sweeps it up.
            let _ = fs::remove_dir(&frozen);
        }
    }
}

impl Drop for Cage {
    fn drop(&mut self) {
        self.open();
    }
}

/// Thaws and removes what agents that have ended left behind. Call at the start.
pub fn sweep(freezer: &Freezer) {
    let left = fs::read_dir(freezer.mount.join(FOLDER)).into_iter().flatten().flatten();
    for group in left.map(|e| e.path()) {
        let name = group.file_name().and_then(|n| n.to_str()).unwrap_or_default();
        let Some(pid) = name.strip_prefix("frozen-").and_then(|n| n.split('-').next()?.parse::<u32>().ok())
        else {
            continue;
        };
        if Stat::of(pid).is_ok_and(|stat| stat.is_none()) {
            let freezer = freezer.clone();
            drop(Cage { freezer, own: None, still_at: None, frozen: Some(group), moved: Vec::new() });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hierarchy_is_found_among_the_mounts() {
        for (line, found) in [
            ("35 24 0:30 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw", Some("/sys/fs/cgroup")),
            ("35 24 0:30 / /sys/fs/cgroup/unified rw - cgroup2 none rw", Some("/sys/fs/cgroup/unified")),
            ("35 24 0:30 / /sys/fs/cgroup/pids rw - cgroup none rw,pids", None),
            ("35 24 0:30 /docker/x /sys/fs/cgroup rw - cgroup2 none rw", None),
            ("35 24 0:30 /", None),
            ("", None),
        ] {
            assert_eq!(mount_point(line), found.map(PathBuf::from), "{line}");
        }
    }

    #[test]
    fn a_processs_cgroup() {
        for (text, path) in [
            ("0::/a/b\n", Some("/a/b")),
            ("9:name=systemd:/\n0::/\n", Some("/")),
            ("1:cpu:/x\n0::/a (deleted)\n", Some("/a")),
            ("0::/../x\n", None),
            ("1:cpu:/x\n", None),
        ] {
            assert_eq!(group_path(text), path, "{text}");
        }
    }
}
