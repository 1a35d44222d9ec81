//! What the end-to-end tests share: the built binary, its `up`, an HTTP client, harmless processes.
#![allow(dead_code)] // Each test binary uses its own part.

pub mod http;
pub mod imitation;
pub mod machine;
pub mod process;
pub mod up;
pub mod watching;

use std::fs::File;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

/// The built binary.
pub const WARDLINE: &str = env!("CARGO_BIN_EXE_wardline");

/// How long anything may take before a test gives up. Never a measure of speed.
pub const PATIENCE: Duration = Duration::from_mins(1);

/// True as root. Otherwise says that the test is skipped – which must not happen in CI.
pub fn is_root() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        assert!(std::env::var_os("CI").is_none(), "CI must run these tests as root");
        eprintln!("skipped: needs root");
    }
    root
}

/// Waits until no other test on this machine has a live, protecting sensor: it would kill this test's processes.
/// Holds as long as the file lives, also between test programs.
pub fn alone() -> File {
    let path = std::env::temp_dir().join("wardline-live-sensor.lock");
    let file = File::options().create(true).truncate(false).write(true).open(path).unwrap();
    file.lock().unwrap();
    file
}

/// A folder of the test's own.
pub fn folder(name: &str) -> tempfile::TempDir {
    tempfile::Builder::new().prefix(&format!("wardline-{name}-")).tempdir().unwrap()
}

/// Asks again and again until there is an answer; panics with `what` when patience has run out.
pub fn until<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < deadline, "not within {} s: {what}", PATIENCE.as_secs());
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// What a finished command said.
pub struct Said {
    /// Exit code; none if a signal ended it.
    pub code: Option<i32>,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

impl Said {
    /// Checks that it failed with exit code 1 and one clear message.
    #[track_caller]
    pub fn refuses(&self, words: &[&str]) {
        assert_eq!(self.code, Some(1), "out: {}\nerr: {}", self.out, self.err);
        for word in words {
            assert!(self.err.contains(word), "`{word}` is not in: {}", self.err);
        }
        assert!(!self.err.contains("panicked"), "{}", self.err);
        let messages = self.err.lines().filter(|l| l.starts_with("wardline: ")).count();
        assert_eq!(messages, 1, "one message, not more: {}", self.err);
    }

    /// Checks that it succeeded; gives its standard output.
    #[track_caller]
    pub fn succeeds(&self) -> &str {
        assert_eq!(self.code, Some(0), "out: {}\nerr: {}", self.out, self.err);
        &self.out
    }
}

/// Runs a command to its end.
pub fn said(command: &mut Command) -> Said {
    let Output { status, stdout, stderr } = command.stdin(Stdio::null()).output().unwrap();
    Said {
        code: status.code(),
        out: String::from_utf8_lossy(&stdout).into_owned(),
        err: String::from_utf8_lossy(&stderr).into_owned(),
    }
}

/// Runs `wardline` with these arguments to its end. A minute is its most: a command that hangs fails the test.
pub fn wardline(args: &[&str]) -> Said {
    said(Command::new("timeout").args(["--kill-after=5", "60", WARDLINE]).args(args))
}

/// Every file below `dir` with its contents.
pub fn contents(dir: &std::path::Path) -> std::collections::BTreeMap<PathBuf, Vec<u8>> {
    let mut all = std::collections::BTreeMap::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            all.extend(contents(&path));
        } else {
            all.insert(path.clone(), std::fs::read(&path).unwrap());
        }
    }
    all
}
