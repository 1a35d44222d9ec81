//! Processes of a test, and how to be rid of them.
#![allow(dead_code, reason = "each test file uses its part")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

pub mod net;

use std::fs;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use wardline_event::ProcessKey;
use wardline_respond::linux::procfs::{Stat, boot_id};

/// Processes of one test. Ends those that are left.
pub struct Den {
    mark: String,
    pub child: Child,
}

impl Den {
    /// Starts a shell script.
    pub fn start(script: &str) -> Self {
        Self::run(Command::new("/bin/sh").args(["-c", script]))
    }

    pub fn run(command: &mut Command) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let mark = format!("WARDLINE_TEST={}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let (name, value) = mark.split_once('=').unwrap();
        let quiet = command.env(name, value).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let child = quiet.spawn().unwrap();
        Self { mark, child }
    }

    pub fn root(&self) -> ProcessKey {
        key(self.child.id()).unwrap()
    }

    /// Those with our mark that are not dead.
    pub fn alive(&self) -> Vec<ProcessKey> {
        let mark = self.mark.as_bytes();
        let pids =
            fs::read_dir("/proc").unwrap().flatten().filter_map(|e| e.file_name().to_str()?.parse().ok());
        pids.filter(|pid: &u32| {
            // The environment of a process whose first thread has ended can be read at its other threads.
            let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
            let mut environs = tasks.filter_map(|t| fs::read(t.path().join("environ")).ok());
            environs.any(|env| env.split(|b| *b == 0).any(|v| v == mark))
        })
        .filter_map(key)
        .collect()
    }

    /// Waits until this many are alive.
    pub fn wait_for(&self, count: usize) -> Vec<ProcessKey> {
        let mut alive = Vec::new();
        until(&format!("{count} processes"), || {
            alive = self.alive();
            alive.len() == count
        });
        alive
    }
}

impl Drop for Den {
    fn drop(&mut self) {
        for _ in 0..50 {
            let left = self.alive();
            if left.is_empty() {
                break;
            }
            for process in left {
                let pid = rustix::process::Pid::from_raw(process.pid as i32).unwrap();
                let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
            }
        }
        // Whatever `alive` overlooked: waiting for a child that sleeps on would hang the test instead of failing it.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub fn key(pid: u32) -> Option<ProcessKey> {
    let stat = Stat::of(pid).ok()??;
    Some(ProcessKey { boot: boot_id().unwrap(), start_ticks: stat.start_ticks, pid })
}

pub fn until(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !done() {
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

pub fn root() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        assert!(std::env::var_os("CI").is_none(), "CI must run this as root");
        println!("skipped: needs root");
    }
    root
}
