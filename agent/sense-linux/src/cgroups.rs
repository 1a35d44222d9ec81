//! Which container a process is in, and the id of its control group.

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

/// Past this many the cache is begun anew; a host rarely has a tenth of it.
const CACHE: usize = 4096;

/// Control groups by the ids that the kernel tells, so that `/proc` is read once for each and not for each exec.
pub(crate) struct Cgroups {
    mounts: Mounts,
    /// By (id in v2, id in v1).
    containers: HashMap<(u64, u64), Option<String>>,
    ids: HashMap<String, u64>,
}

/// Where hierarchies are mounted.
#[derive(Default, Debug, PartialEq, Eq)]
struct Mounts {
    v2: Option<PathBuf>,
    /// Of the v1 hierarchy of this controller, the one that the kernel half tells.
    v1: Option<(&'static str, PathBuf)>,
}

impl Mounts {
    /// Reads `/proc/self/mountinfo`, see proc_pid_mountinfo(5).
    fn parse(mountinfo: &str) -> Self {
        let mut mounts = Self::default();
        for line in mountinfo.lines() {
            let Some((before, after)) = line.split_once(" - ") else { continue };
            let Some(point) = before.split(' ').nth(4) else { continue };
            let mut after = after.split(' ');
            let (kind, options) = (after.next(), after.nth(1).unwrap_or_default());
            match kind {
                Some("cgroup2") if mounts.v2.is_none() => mounts.v2 = Some(point.into()),
                Some("cgroup") => {
                    // The kernel half prefers pids over memory.
                    for controller in ["memory", "pids"] {
                        let better = mounts.v1.as_ref().is_none_or(|(known, _)| *known == "memory");
                        if better && options.split(',').any(|o| o == controller) {
                            mounts.v1 = Some((controller, point.into()));
                        }
                    }
                }
                _ => {}
            }
        }
        mounts
    }
}

/// What `/proc/PID/cgroup` says.
#[derive(Default, Debug, PartialEq, Eq)]
pub(crate) struct Membership {
    pub container: Option<String>,
    /// Path in the v2 hierarchy.
    v2: Option<String>,
    /// Path in the v1 hierarchy of pids or memory.
    v1: Vec<(&'static str, String)>,
}

impl Membership {
    /// Reads lines of `number:controllers:path`, see cgroups(7).
    pub(crate) fn parse(text: &str) -> Self {
        let mut found = Self::default();
        for line in text.lines() {
            let mut parts = line.splitn(3, ':');
            let (Some(_), Some(controllers), Some(path)) = (parts.next(), parts.next(), parts.next()) else {
                continue;
            };
            if controllers.is_empty() {
                found.v2 = Some(path.to_owned());
            }
            for controller in ["pids", "memory"] {
                if controllers.split(',').any(|c| c == controller) {
                    found.v1.push((controller, path.to_owned()));
                }
            }
            if found.container.is_none() {
                found.container = container_id(path);
            }
        }
        found
    }
}

/// The last run of exactly 64 hexadecimal digits: what Docker, containerd and CRI-O call a container's id.
fn container_id(path: &str) -> Option<String> {
    path.rsplit(|c: char| !c.is_ascii_hexdigit()).find(|run| run.len() == 64).map(str::to_ascii_lowercase)
}

impl Cgroups {
    pub(crate) fn new() -> Self {
        let mountinfo = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        Self { mounts: Mounts::parse(&mountinfo), containers: HashMap::new(), ids: HashMap::new() }
    }

    /// The container of a process in these control groups. Reads `/proc` only for groups not seen before.
    pub(crate) fn container(&mut self, v2: u64, v1: u64, pid: u32) -> Option<String> {
        if let Some(known) = self.containers.get(&(v2, v1)) {
            return known.clone();
        }
        let text = fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
        let membership = Membership::parse(&text);
        // The process may have moved since, as container runtimes do: then this is not the answer for these ids.
        if self.id(&membership) != v2 || self.v1_id(&membership).is_some_and(|id| id != v1) {
            return None;
        }
        if self.containers.len() >= CACHE {
            self.containers.clear();
        }
        self.containers.insert((v2, v1), membership.container.clone());
        membership.container
    }

    /// The control group's id in cgroup v2; 0 if there is none.
    pub(crate) fn id(&mut self, membership: &Membership) -> u64 {
        let (Some(mount), Some(path)) = (&self.mounts.v2, &membership.v2) else { return 0 };
        if let Some(id) = self.ids.get(path) {
            return *id;
        }
        let id = inode(mount, path);
        if self.ids.len() >= CACHE {
            self.ids.clear();
        }
        if let Some(id) = id {
            self.ids.insert(path.clone(), id);
        }
        id.unwrap_or(0)
    }

    fn v1_id(&self, membership: &Membership) -> Option<u64> {
        let (controller, mount) = self.mounts.v1.as_ref()?;
        let (_, path) = membership.v1.iter().find(|(c, _)| c == controller)?;
        inode(mount, path)
    }
}

/// A control group's id is its directory's inode.
fn inode(mount: &std::path::Path, path: &str) -> Option<u64> {
    fs::metadata(mount.join(path.trim_start_matches('/'))).ok().map(|m| m.ino())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    #[test]
    fn containers_are_found_in_the_paths_of_common_runtimes() {
        let cases = [
            (format!("0::/system.slice/docker-{ID}.scope\n"), true),
            (format!("0::/kubepods.slice/kubepods-pod1.slice/cri-containerd-{ID}.scope/init.scope\n"), true),
            (format!("5:memory:/\n4:pids,cpu:/docker/{ID}\n0::/\n"), true),
            (format!("0::/machine.slice/libpod-{}.scope", ID.to_uppercase()), true),
            (format!("0::/not-{ID}0.scope\n"), false),
            ("0::/user.slice/user-1000.slice/session-3.scope\n".into(), false),
            ("garbage\n::\n:".into(), false),
        ];
        for (text, found) in cases {
            assert_eq!(Membership::parse(&text).container.as_deref(), found.then_some(ID), "{text}");
        }
    }

    #[test]
    fn mounts_are_found_on_unified_and_hybrid_hosts() {
        let unified = "25 20 0:22 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw\n";
        assert_eq!(Mounts::parse(unified), Mounts { v2: Some("/sys/fs/cgroup".into()), v1: None });
        let hybrid = "1 0 0:1 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n\
                      2 0 0:2 / /sys/fs/cgroup/pids rw shared:1 - cgroup cgroup rw,pids\n\
                      3 0 0:3 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n\
                      4 0 0:4 / /proc rw - proc proc rw\nshort - x\n";
        let expected = Mounts {
            v2: Some("/sys/fs/cgroup/unified".into()),
            v1: Some(("pids", "/sys/fs/cgroup/pids".into())),
        };
        assert_eq!(Mounts::parse(hybrid), expected);
    }

    #[test]
    fn this_process_has_the_control_group_that_the_system_shows() {
        let text = fs::read_to_string("/proc/self/cgroup").unwrap();
        let mut cgroups = Cgroups::new();
        let membership = Membership::parse(&text);
        if cgroups.mounts.v2.is_some() {
            assert_ne!(cgroups.id(&membership), 0);
        }
    }
}
