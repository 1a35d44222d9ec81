//! Real children of the test, and what a sensor says of them.
#![allow(dead_code, reason = "each test file uses its part")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use wardline_event::{Body, ProcessActivity, ProcessKey, ProcessOp, SensorKind, SensorStatus};
use wardline_sense::{ProcessTable, Sensor};
use wardline_sense_linux::{Options, SharedTable, Watches};

/// No event takes so long on any machine; only a failing test waits for it.
pub const DEADLINE: Duration = Duration::from_mins(1);

/// False, with a word about it, if the test cannot run here. In CI it must.
pub fn root() -> bool {
    if rustix::process::geteuid().is_root() {
        return true;
    }
    assert!(std::env::var_os("CI").is_none(), "CI must run this test as root");
    println!("skipped: needs root");
    false
}

/// A sensor of this size that tells of these files, and does nothing of its own.
pub fn options(buffer_bytes: u32, watches: Watches) -> Options {
    Options { buffer_bytes, watches, canary: None, ..Options::default() }
}

pub fn table() -> SharedTable {
    Arc::new(Mutex::new(ProcessTable::default()))
}

/// Polls until `enough` says so of all that came, and returns it.
pub fn watch(sensor: &mut dyn Sensor, enough: impl Fn(&[ProcessActivity]) -> bool) -> Vec<ProcessActivity> {
    let until = Instant::now() + DEADLINE;
    let mut seen = Vec::new();
    while !enough(&seen) {
        assert!(Instant::now() < until, "the events did not come; {} others did", seen.len());
        let mut sink = |sensed: wardline_sense::Sensed| {
            if let Body::Process(activity) = sensed.event.body {
                seen.push(activity);
            }
        };
        sensor.poll(Duration::from_millis(100), &mut sink).unwrap();
    }
    seen
}

/// What a sensor says of itself as one of this kind.
pub fn status(sensor: &dyn Sensor, kind: SensorKind) -> SensorStatus {
    let statuses = sensor.statuses();
    statuses.iter().find(|s| s.kind == kind).unwrap_or_else(|| panic!("no {kind:?} in {statuses:?}")).clone()
}

/// Polls until an event is `last`, and returns what all events up to then say.
pub fn bodies(sensor: &mut dyn Sensor, last: impl Fn(&Body) -> bool) -> Vec<Body> {
    let until = Instant::now() + DEADLINE;
    let mut seen: Vec<Body> = Vec::new();
    while !seen.iter().any(&last) {
        assert!(Instant::now() < until, "the last event did not come; {} others did", seen.len());
        let mut sink = |sensed: wardline_sense::Sensed| seen.push(sensed.event.body);
        sensor.poll(Duration::from_millis(100), &mut sink).unwrap();
    }
    seen
}

/// The events of one pid, in order. Pids of a test are its own children's: nobody reuses them meanwhile.
pub fn of(events: &[ProcessActivity], pid: u32) -> Vec<&ProcessActivity> {
    events.iter().filter(|e| e.process.key.pid == pid).collect()
}

pub fn ended(events: &[ProcessActivity], pid: u32) -> bool {
    of(events, pid).iter().any(|e| e.op == ProcessOp::Exit)
}

/// The only event of this kind that a pid has.
pub fn only(events: &[ProcessActivity], pid: u32, op: ProcessOp) -> &ProcessActivity {
    let found: Vec<_> = of(events, pid).into_iter().filter(|e| e.op == op).collect();
    assert_eq!(found.len(), 1, "{op:?} of {pid}: {found:#?}");
    found[0]
}

/// A folder with a program of its own name: a copy of cat(1), which lives until its input ends.
pub fn tool() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    // Others may enter: some tests run it as another user.
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let path = folder.path().canonicalize().unwrap();
    copy(Path::new("/bin/cat"), &path.join("tool"));
    (folder, path)
}

/// In another process: a child that another test starts meanwhile would inherit the copy as open for writing, and
/// what is open for writing cannot be executed.
fn copy(from: &Path, to: &Path) {
    assert!(Command::new("install").args(["-m", "755"]).arg(from).arg(to).status().unwrap().success());
}

pub fn piped(command: &mut Command) -> Child {
    command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap()
}

/// Ends a child made by [`piped`].
pub fn end(mut child: Child) {
    drop(child.stdin.take());
    child.wait().unwrap();
}

/// The key as `/proc` tells it: field 22 of stat, counted after the name's bracket.
pub fn proc_key(boot: wardline_event::BootId, pid: u32) -> ProcessKey {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let start_ticks = stat.rsplit_once(')').unwrap().1.split_whitespace().nth(19).unwrap().parse().unwrap();
    ProcessKey { boot, start_ticks, pid }
}

pub fn boot() -> wardline_event::BootId {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap().parse().unwrap()
}

/// This test's binary in another role: runs its test `name` alone, in a copy that any user may execute.
pub fn role(folder: &Path, name: &str) -> Vec<String> {
    let copy = folder.join("role");
    if !copy.exists() {
        self::copy(&std::env::current_exe().unwrap(), &copy);
    }
    let words = [copy.to_str().unwrap(), "--exact", name, "--nocapture", "--ignored"];
    words.map(str::to_owned).to_vec()
}
