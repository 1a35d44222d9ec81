//! Folders full of files, programs that destroy them, and the guard that stops those.
//!
//! The guard of a test looks at nobody but what the test started, and the "encryptors" touch nothing but folders that the
//! test made.
#![allow(dead_code, reason = "each test file uses its part")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use wardline_event::{ProcessKey, Timestamp};
use wardline_ransomware::{Alarm, Guard, Limits, ProcessId};
use wardline_respond::linux::procfs::Stat;
use wardline_respond::{KillReport, LinuxResponder, Protected, Responder};

/// The guard, and the turn of the test that has it: what one test does must not count against another.
pub struct Watch {
    pub guard: Guard,
    /// Where copies are kept.
    pub state: tempfile::TempDir,
    _turn: MutexGuard<'static, ()>,
}

static TURN: Mutex<()> = Mutex::new(());

/// None, with a word about it, where the test cannot run. In CI it must.
pub fn watch() -> Option<Watch> {
    let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    if !rustix::process::geteuid().is_root() {
        assert!(std::env::var_os("CI").is_none(), "CI must run this test as root");
        println!("skipped: needs root");
        return None;
    }
    let own = std::process::id();
    let limits = Limits { only_below: Some(own), ..Limits::default() };
    // Not the test itself either, below which all of it happens.
    let mut guard = Guard::open(limits, &[own]).unwrap();
    let state = tempfile::tempdir().unwrap();
    guard.keep_copies(state.path()).unwrap();
    guard.stop_families(true).unwrap();
    Some(Watch { guard, state, _turn: turn })
}

/// Random bytes.
pub fn noise(length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    File::open("/dev/urandom").unwrap().read_exact(&mut bytes).unwrap();
    bytes
}

/// What people have: letters, tables, pictures, packed documents, in folders.
pub fn documents(root: &Path, count: usize) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut all = BTreeMap::new();
    for i in 0..count {
        let folder = root.join(format!("ward-{}", i % 8));
        fs::create_dir_all(&folder).unwrap();
        let length = 4096 + (i * 7919) % 60_000;
        let (name, bytes) = match i % 4 {
            0 => (
                format!("letter-{i}.txt"),
                "Dear colleague, thank you for seeing this patient. ".repeat(length / 51),
            ),
            1 => {
                (format!("list-{i}.csv"), format!("{i};2026-11-23;admitted;{}\n", i * 31).repeat(length / 28))
            }
            _ => (String::new(), String::new()),
        };
        let (name, bytes) = match i % 4 {
            2 => (format!("scan-{i}.jpg"), [&[0xff, 0xd8, 0xff, 0xe0], &noise(length)[..]].concat()),
            3 => (format!("report-{i}.docx"), [b"PK\x03\x04", &noise(length)[..]].concat()),
            _ => (name, bytes.into_bytes()),
        };
        let path = folder.join(name);
        fs::write(&path, &bytes).unwrap();
        all.insert(path, bytes);
    }
    all
}

/// How many of the files are gone or changed.
pub fn lost(before: &BTreeMap<PathBuf, Vec<u8>>) -> usize {
    before.iter().filter(|(path, bytes)| fs::read(path).ok().as_ref() != Some(*bytes)).count()
}

/// The names and bytes of those that are gone or changed.
pub fn damage(before: &BTreeMap<PathBuf, Vec<u8>>) -> BTreeMap<PathBuf, usize> {
    let damaged = before.iter().filter(|(path, bytes)| fs::read(path).ok().as_ref() != Some(*bytes));
    damaged.map(|(path, bytes)| (path.clone(), bytes.len())).collect()
}

/// A program of the test's, and all that it starts: ended with the value, whatever state it is in.
pub struct Culprit(pub Child);

impl Culprit {
    pub fn start(command: &mut Command) -> Self {
        Self(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
    }

    pub fn ended(&mut self) -> bool {
        self.0.try_wait().unwrap().is_some()
    }
}

impl Drop for Culprit {
    fn drop(&mut self) {
        if !self.ended() {
            let mut responder = LinuxResponder::new(Protected::default()).unwrap();
            if let Some(stat) = Stat::of(self.0.id()).unwrap() {
                let key =
                    ProcessKey { boot: responder.boot(), start_ticks: stat.start_ticks, pid: self.0.id() };
                let _ = responder.kill_tree(&key, &[]);
            }
            let _ = self.0.kill();
        }
        let _ = self.0.wait();
    }
}

/// Waits for the first alarm, as long as the program runs.
pub fn alarm(watch: &mut Watch, culprit: &mut Culprit) -> Option<Alarm> {
    let until = Instant::now() + Duration::from_mins(1);
    loop {
        let ended = culprit.ended();
        let alarms = watch.guard.poll(Duration::from_millis(50)).unwrap();
        if let Some(alarm) = alarms.into_iter().next() {
            return Some(alarm);
        }
        if ended {
            return None;
        }
        assert!(Instant::now() < until, "neither an alarm nor an end");
    }
}

/// Kills what stands still, as the agent does.
pub fn kill(watch: &mut Watch, alarm: &Alarm) -> KillReport {
    let mut responder = LinuxResponder::new(Protected::default()).unwrap();
    let key =
        |p: &ProcessId| ProcessKey { boot: responder.boot(), start_ticks: p.start_ticks(), pid: p.tgid };
    let root = key(&alarm.root);
    let others: Vec<ProcessKey> = watch.guard.stopped(alarm.family).iter().map(key).collect();
    let report = responder.kill_tree(&root, &others).unwrap();
    watch.guard.keep(alarm.family, "finding", "encryptor", Timestamp(0)).unwrap();
    watch.guard.killed(alarm.family).unwrap();
    report
}
