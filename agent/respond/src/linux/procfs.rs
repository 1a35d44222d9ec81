//! Reads `/proc`: who a process is, whether it stands still, who its children are.
//!
//! Nothing read here proves anything about a pid by itself, which may have been reused meanwhile. The caller holds
//! a pidfd and checks that the process still lived *after* the reading.

use std::collections::HashMap;
use std::os::linux::fs::MetadataExt;
use std::{fs, io};

use wardline_event::{BootId, ProcessKey};

use crate::plan::{Exe, Facts};
use crate::protect::Protected;

/// `PF_KTHREAD` in `include/linux/sched.h`. Having kthreadd for a parent proves less: programs that the kernel
/// starts for others (`core_pattern`, `modprobe`) have it too, and attackers use them.
const PF_KTHREAD: u64 = 0x0020_0000;

/// What is needed of `/proc/PID/stat`, see proc_pid_stat(5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stat {
    /// Field 2 without its parentheses.
    pub name: String,
    /// Field 3.
    pub state: char,
    /// Field 4.
    pub ppid: u32,
    /// Field 9, `PF_*`.
    pub flags: u64,
    /// Field 20.
    pub threads: u64,
    /// Field 22.
    pub start_ticks: u64,
}

impl Stat {
    /// Reads the line; none if it is not one.
    fn parse(line: &[u8]) -> Option<Self> {
        // The name may hold spaces, newlines and parentheses: it ends at the last `)` of the line.
        let open = line.iter().position(|b| *b == b'(')?;
        let close = line.iter().rposition(|b| *b == b')')?;
        let name = String::from_utf8_lossy(line.get(open + 1..close)?).into_owned();
        let rest = std::str::from_utf8(line.get(close + 1..)?).ok()?;
        // The first of these is field 3.
        let fields: Vec<&str> = rest.split_ascii_whitespace().take(20).collect();
        let number = |field: usize| fields.get(field - 3)?.parse::<u64>().ok();
        Some(Self {
            name,
            state: fields.first()?.chars().next()?,
            ppid: u32::try_from(number(4)?).ok()?,
            flags: number(9)?,
            threads: number(20)?,
            start_ticks: number(22)?,
        })
    }

    /// Reads `/proc/PID/stat`; none if there is no such process.
    pub fn of(pid: u32) -> io::Result<Option<Self>> {
        Self::at(&format!("/proc/{pid}/stat"))
    }

    fn at(path: &str) -> io::Result<Option<Self>> {
        match fs::read(path) {
            Ok(line) => {
                Self::parse(&line).map(Some).ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData))
            }
            Err(e) if gone(&e) => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// True if this thread can run no code of its own for now: stopped (T), traced (t), dead (Z, X), or waiting in
    /// the kernel (D). D counts because a parent in vfork(2) stays in it until its child, which is stopped, goes
    /// on. A thread found in D in the middle of a fork would finish that fork when it is woken; therefore
    /// children are looked for once more after the kill signal, which no fork survives.
    fn still(&self) -> bool {
        matches!(self.state, 'T' | 't' | 'Z' | 'X' | 'D')
    }
}

/// The errors by which `/proc` says that a process has ended.
fn gone(e: &io::Error) -> bool {
    const ESRCH: i32 = 3;
    e.kind() == io::ErrorKind::NotFound || e.raw_os_error() == Some(ESRCH)
}

/// Describes a process whose `stat` has been read.
pub fn facts(pid: u32, stat: &Stat, protected: &Protected) -> Facts {
    let kernel_thread = stat.flags & PF_KTHREAD != 0;
    Facts {
        pid,
        start_ticks: stat.start_ticks,
        ppid: stat.ppid,
        stopped: stat.state == 'T',
        kernel_thread,
        name: stat.name.clone(),
        exe: if kernel_thread { None } else { exe(pid, protected) },
    }
}

/// What a process runs; none if the kernel shows nothing.
fn exe(pid: u32, protected: &Protected) -> Option<Exe> {
    let mut link = format!("/proc/{pid}/exe");
    let target = fs::read_link(&link).or_else(|first| {
        // A process whose first thread has ended shows its executable only at the others.
        let other = threads(pid)?.into_iter().find(|t| *t != pid).ok_or(first)?;
        link = format!("/proc/{pid}/task/{other}/exe");
        fs::read_link(&link)
    });
    let path = target.ok()?.to_string_lossy().into_owned();
    // A program replaced by an update while it runs.
    let (path, deleted) = match path.strip_suffix(" (deleted)") {
        Some(before) => (before.to_owned(), true),
        None => (path, false),
    };
    // A path proves little: anybody may mount a file of theirs over any path in a mount namespace of their own,
    // and the link shows the path inside that namespace. So it must be the very file that stands there for us.
    // Looked up only where it matters.
    let genuine = protected.entry_for(&path).is_none() || {
        if deleted { same_mount_namespace(pid) } else { same_file(&link, &path) }
    };
    Some(Exe { path, genuine })
}

fn same_file(a: &str, b: &str) -> bool {
    match (fs::metadata(a), fs::metadata(b)) {
        (Ok(a), Ok(b)) => a.st_dev() == b.st_dev() && a.st_ino() == b.st_ino(),
        _ => false,
    }
}

fn same_mount_namespace(pid: u32) -> bool {
    match (fs::read_link(format!("/proc/{pid}/ns/mnt")), fs::read_link("/proc/self/ns/mnt")) {
        (Ok(theirs), Ok(ours)) => theirs == ours,
        _ => false,
    }
}

/// The numbers in a `/proc` folder; none if its process has ended.
fn numbered(folder: &str) -> io::Result<Vec<u32>> {
    let mut numbers = Vec::new();
    match fs::read_dir(folder) {
        Ok(entries) => {
            for entry in entries {
                match entry {
                    Ok(entry) => {
                        numbers.extend(entry.file_name().to_str().and_then(|n| n.parse::<u32>().ok()));
                    }
                    Err(e) if gone(&e) => break,
                    Err(e) => return Err(e),
                }
            }
        }
        Err(e) if gone(&e) => {}
        Err(e) => return Err(e),
    }
    Ok(numbers)
}

/// The threads of a process; none if it has ended.
fn threads(pid: u32) -> io::Result<Vec<u32>> {
    numbered(&format!("/proc/{pid}/task"))
}

/// True if no thread of the process can run code of its own, or the process has ended.
pub fn stands_still(pid: u32) -> io::Result<bool> {
    let Some(stat) = Stat::of(pid)? else { return Ok(true) };
    if !stat.still() {
        return Ok(false);
    }
    // The state above is that of the first thread. Each stops for itself; and the first may have ended (Z) while
    // the others go on.
    if stat.threads > 1 {
        for tid in threads(pid)? {
            if Stat::at(&format!("/proc/{pid}/task/{tid}/stat"))?.is_some_and(|stat| !stat.still()) {
                return Ok(false);
            }
        }
    }
    Ok(true)
}

/// Where to look for the children of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChildrenSource {
    /// `/proc/PID/task/TID/children`, of kernels with `CONFIG_PROC_CHILDREN`.
    Lists,
    /// The parents that all processes name. Slower by the number of processes on the machine.
    Scan,
}

impl ChildrenSource {
    /// The best that this kernel has.
    pub fn detect() -> Self {
        if fs::exists("/proc/thread-self/children").unwrap_or(false) { Self::Lists } else { Self::Scan }
    }
}

/// The children of processes, as seen in one walk over a tree.
pub struct Children {
    /// The children by parent, if the walk began with a scan.
    scanned: Option<HashMap<u32, Vec<u32>>>,
}

impl Children {
    /// Begins a walk.
    pub fn look(source: ChildrenSource) -> io::Result<Self> {
        if source == ChildrenSource::Lists {
            return Ok(Self { scanned: None });
        }
        let mut by_parent: HashMap<u32, Vec<u32>> = HashMap::new();
        for pid in numbered("/proc")? {
            if let Some(stat) = Stat::of(pid)? {
                by_parent.entry(stat.ppid).or_default().push(pid);
            }
        }
        Ok(Self { scanned: Some(by_parent) })
    }

    /// The children of one process, those that have ended but were not yet waited for among them.
    pub fn of(&self, pid: u32) -> io::Result<Vec<u32>> {
        if let Some(by_parent) = &self.scanned {
            return Ok(by_parent.get(&pid).cloned().unwrap_or_default());
        }
        let mut children = Vec::new();
        // A child belongs to the thread that forked it.
        for tid in threads(pid)? {
            match fs::read_to_string(format!("/proc/{pid}/task/{tid}/children")) {
                Ok(list) => {
                    children.extend(list.split_ascii_whitespace().filter_map(|c| c.parse::<u32>().ok()));
                }
                Err(e) if gone(&e) => {}
                Err(e) => return Err(e),
            }
        }
        Ok(children)
    }
}

/// The process with this pid and everything above it, nearest first; ends before the kernel's own pid 0.
pub fn lineage(pid: u32, boot: BootId) -> io::Result<Vec<ProcessKey>> {
    let mut line = Vec::new();
    let mut next = pid;
    // A parent always has a lower depth; the bound only keeps a /proc that changes meanwhile from looping.
    while next != 0 && line.len() < 4096 {
        let Some(stat) = Stat::of(next)? else { break };
        line.push(ProcessKey { boot, start_ticks: stat.start_ticks, pid: next });
        next = stat.ppid;
    }
    Ok(line)
}

/// The kernel's boot id.
pub fn boot_id() -> io::Result<BootId> {
    fs::read_to_string("/proc/sys/kernel/random/boot_id")?
        .parse()
        .map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_name_cannot_forge_the_fields_after_it() {
        let line = b"77 (a) R 1 (x)\n) S 42 77 77 0 -1 4194304 1 0 0 0 0 0 0 0 20 0 3 0 8181 9 9";
        let stat = Stat::parse(line).unwrap();
        assert_eq!((stat.state, stat.ppid, stat.threads, stat.start_ticks), ('S', 42, 3, 8181));
        assert_eq!(stat.name, "a) R 1 (x)\n");
    }

    proptest! {
        #[test]
        fn hostile_lines_never_panic(line in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Stat::parse(&line);
            let _ = Stat::parse(&[b"1 (".as_slice(), &line, b") S 1"].concat());
        }
    }

    #[test]
    fn both_sources_know_our_own_child() {
        let mut child = std::process::Command::new("sleep").arg("300").spawn().unwrap();
        let found = [ChildrenSource::Lists, ChildrenSource::Scan].map(|source| {
            Children::look(source).unwrap().of(std::process::id()).unwrap().contains(&child.id())
        });
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(found, [ChildrenSource::detect() == ChildrenSource::Lists, true]);
    }

    #[test]
    fn our_lineage_begins_with_us_and_ends_at_the_root() {
        let line = lineage(std::process::id(), boot_id().unwrap()).unwrap();
        assert_eq!(line[0].pid, std::process::id());
        assert_eq!(Stat::of(line.last().unwrap().pid).unwrap().unwrap().ppid, 0);
    }
}
