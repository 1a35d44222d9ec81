//! A machine to throw away: where attacks are imitated and a day's work is done, under the real kernel.
//!
//! It has this machine's files under an overlay, and mounts, processes, network, name and IPC of its own. What is written
//! there lies in memory and is gone with it; nothing there can reach the real one's processes, sockets or files.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// What it does when it starts.
const SCRIPT: &str = include_str!("machine.sh");

/// Such a machine. Dropped, it is gone with all that runs and lies in it.
pub struct Machine {
    child: Child,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
    folder: PathBuf,
}

/// How a script ended.
#[derive(Debug)]
pub struct Ended {
    /// Its exit code.
    pub code: i32,
    /// What it printed.
    pub said: String,
}

impl Machine {
    /// Starts one that keeps its scripts in `folder`. None, with a word about it, if this machine mounts no overlay – which must
    /// not happen in CI.
    pub fn start(folder: &Path) -> Option<Self> {
        for name in ["disk", "scripts"] {
            fs::create_dir_all(folder.join(name)).unwrap();
        }
        let script = folder.join("machine.sh");
        fs::write(&script, SCRIPT).unwrap();
        let mut child = Command::new("unshare")
            .args(["--mount", "--pid", "--net", "--uts", "--ipc", "--propagation", "private"])
            .args(["--fork", "--kill-child", "bash"])
            .args([&script, folder])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let orders = child.stdin.take().unwrap();
        let answers = BufReader::new(child.stdout.take().unwrap());
        let mut machine = Self { child, orders, answers, folder: folder.to_owned() };
        if machine.answer() == "ready" {
            return Some(machine);
        }
        assert!(std::env::var_os("CI").is_none(), "CI must be able to make a machine to throw away");
        eprintln!("skipped: this machine mounts no overlay, so there is nothing to throw away");
        None
    }

    /// The words on the command line of each of its processes' ancestor.
    pub fn marker(&self) -> String {
        self.folder.join("machine.sh").display().to_string()
    }

    fn answer(&mut self) -> String {
        let mut line = String::new();
        self.answers.read_line(&mut line).unwrap();
        line.trim().to_owned()
    }

    /// Runs a script, as `bash /imitations/NAME.sh`, to its end.
    pub fn run(&mut self, name: &str, script: &str) -> Ended {
        let path = self.folder.join("scripts").join(format!("{name}.sh"));
        fs::write(&path, script).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        writeln!(self.orders, "{name}").unwrap();
        let answer = self.answer();
        let code = answer.strip_prefix(name).and_then(|rest| rest.trim().parse().ok());
        let said = fs::read(path.with_extension("said")).unwrap_or_default();
        let said = String::from_utf8_lossy(&said).into_owned();
        Ended { code: code.unwrap_or_else(|| panic!("{name}: the machine is gone ({answer}): {said}")), said }
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // `unshare --kill-child` takes its first process along, and that one all others.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
