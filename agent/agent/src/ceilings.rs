//! The most memory and processor time that the agent may take, kept by the kernel and not by good intentions.
//!
//! A service manager sets them (the unit file of the package); otherwise the agent puts itself into a group of its own:
//! cgroup v2 where that has the controllers, else the memory and cpu hierarchies of v1. Kernel documentation:
//! `admin-guide/cgroup-v2.rst`, `admin-guide/cgroup-v1/memory.rst`, `scheduler/sched-bwc.rst`.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Memory of guard and courier together, in bytes: beyond it the kernel ends one of them, the courier first.
pub const MEMORY: u64 = 128 << 20;
/// Processor time, in percent of one core. What a storm of 10,000 programs per second takes stays below: a guard that is
/// cut off kills late.
pub const CPU_PERCENT: u64 = 20;
const PERIOD_US: u64 = 100_000;
/// No limit is larger: v1 writes "none" as the largest multiple of a page.
const NONE: u64 = 1 << 60;
const PREFIX: &str = "wardline-agent-";

/// What limits a process now; `None` where nothing does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Bytes.
    pub memory: Option<u64>,
    /// Percent of one core.
    pub cpu_percent: Option<u64>,
}

/// Where the hierarchies of this host are mounted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mounts {
    /// cgroup v2.
    pub unified: Option<PathBuf>,
    /// cgroup v1: memory, and cpu.
    pub memory: Option<PathBuf>,
    /// See above.
    pub cpu: Option<PathBuf>,
}

impl Mounts {
    /// Reads `/proc/mounts` (proc_mounts(5)).
    pub fn of_host() -> io::Result<Self> {
        fs::read_to_string("/proc/mounts").map(|text| Self::parse(&text))
    }

    fn parse(mounts: &str) -> Self {
        let mut found = Self::default();
        for line in mounts.lines() {
            let mut words = line.split(' ').skip(1);
            let (Some(at), Some(kind), Some(options)) = (words.next(), words.next(), words.next()) else {
                continue;
            };
            let has = |controller: &str| options.split(',').any(|option| option == controller);
            match kind {
                "cgroup2" => found.unified = found.unified.or(Some(at.into())),
                "cgroup" if has("memory") => found.memory = Some(at.into()),
                "cgroup" if has("cpu") => found.cpu = Some(at.into()),
                _ => {}
            }
        }
        found
    }
}

/// Where a process is in a hierarchy: `0::/path` for v2, `4:memory:/path` for v1 (cgroups(7)).
fn place<'a>(cgroup: &'a str, controller: &str) -> Option<&'a str> {
    cgroup.lines().find_map(|line| {
        let (_, rest) = line.split_once(':')?;
        let (controllers, path) = rest.split_once(':')?;
        controllers.split(',').any(|c| c == controller).then_some(path)
    })
}

/// The strictest limit from a group up to the root.
fn strictest(
    root: Option<&PathBuf>,
    place: Option<&str>,
    read: impl Fn(&Path) -> Option<u64>,
) -> Option<u64> {
    let (root, place) = (root?, place?);
    let below = root.join(place.trim_start_matches('/'));
    below.ancestors().take_while(|at| at.starts_with(root)).filter_map(read).min()
}

fn number(path: &Path) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

/// `quota period` of v2, or the two files of v1.
fn percent(quota: Option<u64>, period: Option<u64>) -> Option<u64> {
    Some(quota? * 100 / period.filter(|period| *period > 0)?)
}

/// What limits the process with this `/proc` folder (`/proc/self`, `/proc/17`).
pub fn look(process: &Path, mounts: &Mounts) -> io::Result<Limits> {
    let cgroup = fs::read_to_string(process.join("cgroup"))?;
    let unified = (mounts.unified.as_ref(), place(&cgroup, ""));
    let two = |at: &Path| {
        let text = fs::read_to_string(at.join("cpu.max")).ok()?;
        let mut words = text.split_whitespace().map(|word| word.parse::<u64>().ok());
        percent(words.next()?, words.next()?)
    };
    let one =
        |at: &Path| percent(number(&at.join("cpu.cfs_quota_us")), number(&at.join("cpu.cfs_period_us")));
    let limited = |at: &Path| number(&at.join("memory.limit_in_bytes")).filter(|n| *n < NONE);
    let memory = strictest(unified.0, unified.1, |at| number(&at.join("memory.max")));
    let cpu = strictest(unified.0, unified.1, two);
    Ok(Limits {
        memory: memory.or_else(|| strictest(mounts.memory.as_ref(), place(&cgroup, "memory"), limited)),
        cpu_percent: cpu.or_else(|| strictest(mounts.cpu.as_ref(), place(&cgroup, "cpu"), one)),
    })
}

/// A group that was made for the agent.
#[derive(Debug)]
pub struct Group {
    memory: Option<PathBuf>,
    cpu: Option<(PathBuf, bool)>,
    /// What could not be limited, and why.
    pub refused: Vec<String>,
}

impl Group {
    /// Makes a group and puts this process into it, so that what it starts is there too. Its memory is limited at once,
    /// its processor time by [`Group::limit_cpu`], when starting is over.
    pub fn enter(mounts: &Mounts) -> Self {
        Self::put(std::process::id(), MEMORY, mounts)
    }

    /// The same for any process.
    pub fn put(pid: u32, memory: u64, mounts: &Mounts) -> Self {
        let name = format!("{PREFIX}{pid}");
        let mut group = Self { memory: None, cpu: None, refused: Vec::new() };
        for root in [&mounts.unified, &mounts.memory, &mounts.cpu].into_iter().flatten() {
            sweep(root);
        }
        if let Some(root) = mounts.unified.as_ref().filter(|root| has_controllers(root)) {
            let at = root.join(&name);
            let made = make(&at, pid, &[("memory.max", memory), ("memory.swap.max", 0)]);
            match made {
                Ok(()) => {
                    (group.memory, group.cpu) = (Some(at.clone()), Some((at, true)));
                    return group;
                }
                Err(error) => group.refused.push(format!("cgroup v2: {error}")),
            }
        }
        for (root, limits) in [(&mounts.memory, &[("memory.limit_in_bytes", memory)][..]), (&mounts.cpu, &[])]
        {
            let Some(root) = root else { continue };
            let at = root.join(&name);
            match make(&at, pid, limits) {
                Ok(()) if limits.is_empty() => group.cpu = Some((at, false)),
                Ok(()) => group.memory = Some(at),
                Err(error) => group.refused.push(format!("{}: {error}", root.display())),
            }
        }
        if group.memory.is_none() && group.cpu.is_none() && group.refused.is_empty() {
            group.refused.push("this host has no cgroup with a memory or cpu controller".to_owned());
        }
        group
    }

    /// Limits the processor time.
    pub fn limit_cpu(&mut self) {
        let quota = PERIOD_US * CPU_PERCENT / 100;
        let set = match &self.cpu {
            None => return,
            Some((at, true)) => fs::write(at.join("cpu.max"), format!("{quota} {PERIOD_US}")),
            Some((at, false)) => fs::write(at.join("cpu.cfs_period_us"), PERIOD_US.to_string())
                .and_then(|()| fs::write(at.join("cpu.cfs_quota_us"), quota.to_string())),
        };
        if let Err(error) = set {
            self.refused.push(format!("processor time: {error}"));
        }
    }
}

/// The controllers, for groups below the root.
fn has_controllers(root: &Path) -> bool {
    let list = fs::read_to_string(root.join("cgroup.controllers")).unwrap_or_default();
    let all = ["memory", "cpu"].iter().all(|c| list.split_whitespace().any(|has| has == *c));
    // On most hosts they are passed on already; then this changes nothing.
    all && fs::write(root.join("cgroup.subtree_control"), "+memory +cpu").is_ok()
}

fn make(at: &Path, pid: u32, limits: &[(&str, u64)]) -> io::Result<()> {
    match fs::create_dir(at) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    let done = limits.iter().try_for_each(|(file, value)| {
        match fs::write(at.join(file), value.to_string()) {
            // A kernel without swap accounting has nothing to limit.
            Err(error) if *file == "memory.swap.max" && error.kind() == io::ErrorKind::NotFound => Ok(()),
            done => done,
        }
    });
    let done = done.and_then(|()| fs::write(at.join("cgroup.procs"), pid.to_string()));
    done.inspect_err(|_| drop(fs::remove_dir(at)))
}

/// Removes what agents that have ended left: a group with processes stays.
fn sweep(root: &Path) {
    for entry in fs::read_dir(root).into_iter().flatten().flatten() {
        if entry.file_name().to_str().is_some_and(|name| name.starts_with(PREFIX)) {
            let _ = fs::remove_dir(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_of_every_kind_are_read() {
        let hybrid = "tmpfs /sys/fs/cgroup tmpfs rw 0 0\n\
                      cgroup /sys/fs/cgroup/cpu,cpuacct cgroup rw,relatime,cpu,cpuacct 0 0\n\
                      cgroup /sys/fs/cgroup/memory cgroup rw,relatime,memory 0 0\n\
                      cgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0\n";
        let found = Mounts::parse(hybrid);
        assert_eq!(found.unified, Some("/sys/fs/cgroup/unified".into()));
        assert_eq!(found.memory, Some("/sys/fs/cgroup/memory".into()));
        assert_eq!(found.cpu, Some("/sys/fs/cgroup/cpu,cpuacct".into()));
        assert_eq!(Mounts::parse("proc /proc proc rw 0 0\n"), Mounts::default());
        let cgroup = "4:memory:/a/b\n2:cpu,cpuacct:/c\n0::/system.slice/x.service\n";
        assert_eq!(
            ["memory", "cpu", ""].map(|c| place(cgroup, c)),
            [Some("/a/b"), Some("/c"), Some("/system.slice/x.service")]
        );
    }

    #[test]
    fn the_strictest_limit_up_to_the_root_counts() {
        let dir = tempfile::tempdir().unwrap();
        let (root, process) = (dir.path().join("cg"), dir.path().join("self"));
        let own = root.join("system.slice/wardline.service");
        fs::create_dir_all(&own).unwrap();
        fs::create_dir(&process).unwrap();
        fs::write(process.join("cgroup"), "0::/system.slice/wardline.service\n").unwrap();
        let mounts = Mounts { unified: Some(root.clone()), ..Mounts::default() };
        assert_eq!(look(&process, &mounts).unwrap(), Limits::default());
        fs::write(own.join("memory.max"), "max\n").unwrap();
        fs::write(own.join("cpu.max"), "20000 100000\n").unwrap();
        fs::write(root.join("system.slice/memory.max"), "1000000\n").unwrap();
        let limits = Limits { memory: Some(1_000_000), cpu_percent: Some(20) };
        assert_eq!(look(&process, &mounts).unwrap(), limits);
    }

    /// In a group of its own, a process of the test takes more than it may, and ends.
    #[test]
    fn the_kernel_keeps_the_ceilings() {
        let mounts = Mounts::of_host().unwrap();
        let child = |script: &str| {
            std::process::Command::new("/bin/sh")
                .args(["-c", script])
                .stdin(std::process::Stdio::piped())
                .stdout(std::process::Stdio::null())
                .spawn()
                .unwrap()
        };
        if !rustix::process::geteuid().is_root() {
            assert!(std::env::var_os("CI").is_none(), "CI must run this test as root");
            eprintln!("skipped: needs root");
            return;
        }
        // `tail` keeps all of a line that does not end.
        let mut greedy = child("read -r _; head -c 200000000 /dev/zero | tail -n 1; exit $?");
        let mut group = Group::put(greedy.id(), 32 << 20, &mounts);
        group.limit_cpu();
        let process = PathBuf::from(format!("/proc/{}", greedy.id()));
        let limits = look(&process, &mounts).unwrap();
        io::Write::write_all(&mut greedy.stdin.take().unwrap(), b"go\n").unwrap();
        let status = greedy.wait().unwrap();
        for root in [&mounts.unified, &mounts.memory, &mounts.cpu].into_iter().flatten() {
            sweep(root);
        }
        if group.memory.is_none() {
            eprintln!("skipped: {:?}", group.refused);
            return;
        }
        assert_eq!(limits, Limits { memory: Some(32 << 20), cpu_percent: Some(CPU_PERCENT) });
        assert!(!status.success(), "it took 200 MB: {status}");
    }
}
