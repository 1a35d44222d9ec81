//! What `/proc` knows of a process. Processes vanish while they are read: then details stay empty.

use std::fs;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::path::Path;

use wardline_event::{BootId, ProcessKey};

use crate::cgroups::Membership;
use crate::record::command_line;

/// `PF_KTHREAD` in the flags of `/proc/PID/stat`: a thread of the kernel.
const PF_KTHREAD: u64 = 0x0020_0000;

/// What `/proc/PID/stat` says.
#[derive(Debug, PartialEq, Eq, Clone)]
pub(crate) struct Stat {
    pub comm: String,
    pub ppid: u32,
    pub kernel_thread: bool,
    pub threads: u64,
    /// Clock ticks since boot.
    pub start_ticks: u64,
}

impl Stat {
    /// Reads the fields by their numbers in proc_pid_stat(5). The name may hold anything, also spaces and brackets,
    /// so fields are counted from its last bracket.
    pub(crate) fn parse(text: &[u8]) -> Option<Self> {
        let open = text.iter().position(|b| *b == b'(')?;
        let close = text.iter().rposition(|b| *b == b')').filter(|close| *close > open)?;
        let after = std::str::from_utf8(&text[close + 1..]).ok()?;
        let fields: Vec<&str> = after.split_ascii_whitespace().collect();
        // The first field after the name is number 3.
        let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
        Some(Self {
            comm: String::from_utf8_lossy(&text[open + 1..close]).into_owned(),
            ppid: u32::try_from(field(4)?).ok()?,
            kernel_thread: field(9)? & PF_KTHREAD != 0,
            threads: field(20)?,
            start_ticks: field(22)?,
        })
    }

    /// The statistics of a live process or one not yet waited for.
    pub(crate) fn read(pid: u32) -> io::Result<Self> {
        let text = fs::read(format!("/proc/{pid}/stat"))?;
        Self::parse(&text)
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "unknown form of /proc/PID/stat"))
    }

    pub(crate) fn key(&self, boot: BootId, pid: u32) -> ProcessKey {
        ProcessKey { boot, start_ticks: self.start_ticks, pid }
    }
}

/// The rest, each as far as it could be read.
#[derive(Debug, Default)]
pub(crate) struct Details {
    pub image: Option<String>,
    pub command_line: Option<String>,
    pub cwd: Option<String>,
    /// The effective one.
    pub euid: Option<u32>,
    pub membership: Option<Membership>,
    /// It lives, and this process may not see its executable.
    pub forbidden: bool,
}

impl Details {
    pub(crate) fn read(pid: u32, stat: Option<&Stat>) -> Self {
        let kernel_thread = stat.is_some_and(|s| s.kernel_thread);
        let command_line = if kernel_thread {
            // As ps(1) shows them.
            stat.map(|s| format!("[{}]", s.comm))
        } else {
            fs::read(format!("/proc/{pid}/cmdline")).ok().map(|bytes| command_line(&bytes))
        };
        let image = link(pid, "exe");
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let cgroup = fs::read_to_string(format!("/proc/{pid}/cgroup")).ok();
        Self {
            // A thread of the kernel has no executable: nothing is missing.
            image: if kernel_thread { Some(String::new()) } else { image.as_ref().ok().cloned() },
            command_line,
            cwd: link(pid, "cwd").ok(),
            euid: effective_uid(&status),
            membership: cgroup.map(|text| Membership::parse(&text)),
            forbidden: !kernel_thread && image.is_err_and(|e| e.kind() == io::ErrorKind::PermissionDenied),
        }
    }

    /// True if something that every live process has could not be read.
    pub(crate) fn incomplete(&self) -> bool {
        self.image.is_none()
            || self.command_line.as_ref().is_none_or(String::is_empty)
            || self.cwd.is_none()
            || self.euid.is_none()
    }
}

/// Where `/proc/PID/exe` or `/proc/PID/cwd` leads, as text.
pub(crate) fn link(pid: u32, name: &str) -> io::Result<String> {
    let target = fs::read_link(format!("/proc/{pid}/{name}"))?;
    Ok(String::from_utf8_lossy(&target.into_os_string().into_vec()).into_owned())
}

/// The second number of `Uid:` in `/proc/PID/status`.
fn effective_uid(status: &str) -> Option<u32> {
    status.lines().find_map(|line| line.strip_prefix("Uid:"))?.split_ascii_whitespace().nth(1)?.parse().ok()
}

/// All pids that there are at this moment.
pub(crate) fn pids() -> Vec<u32> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

/// This boot of this kernel.
pub(crate) fn boot_id() -> io::Result<BootId> {
    let text = fs::read_to_string(Path::new("/proc/sys/kernel/random/boot_id"))?;
    text.parse().map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_hostile_name_does_not_shift_the_fields() {
        let stat = b"42 (a) R 1 (b\n) S 7 42 42 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 3 0 987 0 0\n";
        let expected =
            Stat { comm: "a) R 1 (b\n".into(), ppid: 7, kernel_thread: false, threads: 3, start_ticks: 987 };
        assert_eq!(Stat::parse(stat), Some(expected));
    }

    #[test]
    fn this_process_is_read_completely() {
        let pid = std::process::id();
        let stat = Stat::read(pid).unwrap();
        let details = Details::read(pid, Some(&stat));
        assert!(!details.incomplete(), "{details:?}");
        assert_eq!(details.image.unwrap(), std::env::current_exe().unwrap().to_str().unwrap());
        assert_eq!(details.cwd.unwrap(), std::env::current_dir().unwrap().to_str().unwrap());
    }

    proptest! {
        #[test]
        fn hostile_stat_never_panics(text in prop::collection::vec(any::<u8>(), 0..200), digits in "[0-9() -]{0,120}") {
            let _ = Stat::parse(&text);
            let _ = Stat::parse(digits.as_bytes());
        }
    }
}
