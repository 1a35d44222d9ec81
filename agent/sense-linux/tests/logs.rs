//! Who signs in, from files that a real systemd-journald of the test's own writes.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use common::{DEADLINE, root, table};
use wardline_event::{Body, Event, LogActivity, SensorKind, SensorState};
use wardline_sense::Sensor;
use wardline_sense_linux::LogSensor;

const JOURNALD: &str = "/usr/lib/systemd/systemd-journald";

/// A journald in a mount namespace of its own, in which nobody else's log is.
struct Journald(Child);

impl Journald {
    fn start() -> Option<Self> {
        let needed =
            [JOURNALD, "/usr/bin/unshare", "/usr/bin/nsenter", "/usr/bin/logger", "/usr/bin/setpriv"];
        if let Some(missing) = needed.iter().find(|program| !Path::new(program).exists()) {
            println!("skipped: needs {missing}");
            return None;
        }
        let script = format!(
            "mount -t tmpfs none /run && mount -t tmpfs none /var/log/journal && \
             mkdir -p /run/systemd/journal /run/log/journal && exec {JOURNALD}"
        );
        let child = Command::new("unshare").args(["--mount", "sh", "-c", &script]).spawn().unwrap();
        let journald = Self(child);
        let until = Instant::now() + DEADLINE;
        while !journald.root("run/systemd/journal/dev-log").exists()
            || !journald.folder().join("system.journal").exists()
        {
            assert!(Instant::now() < until, "journald did not begin");
            std::thread::sleep(Duration::from_millis(20));
        }
        Some(journald)
    }

    /// A path as it sees it.
    fn root(&self, path: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root", self.0.id())).join(path)
    }

    fn folder(&self) -> PathBuf {
        let machine = fs::read_to_string("/etc/machine-id").unwrap();
        self.root("run/log/journal").join(machine.trim())
    }

    /// Writes a line, as this user.
    fn log(&self, user: u32, program: &str, line: &str) {
        let user = user.to_string();
        // Others may not look into its process: the namespace is entered before root's rights are given up.
        let done = Command::new("nsenter")
            .arg(format!("--mount=/proc/{}/ns/mnt", self.0.id()))
            .args(["setpriv", "--reuid", &user, "--regid", &user, "--clear-groups"])
            .args([
                "logger",
                "--socket",
                "/run/systemd/journal/dev-log",
                "--priority",
                "authpriv.info",
                "--size",
                "8k",
            ])
            .args(["--tag", program, "--", line])
            .status();
        assert!(done.unwrap().success());
    }
}

impl Drop for Journald {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Polls until `last` is told.
fn lines(sensor: &mut LogSensor, last: &str) -> Vec<(Event, LogActivity)> {
    let until = Instant::now() + DEADLINE;
    let mut seen: Vec<(Event, LogActivity)> = Vec::new();
    while !seen.iter().any(|(_, line)| line.message == last) {
        assert!(Instant::now() < until, "the last line did not come; {} others did", seen.len());
        let mut sink = |sensed: wardline_sense::Sensed| {
            if let Body::Log(line) = sensed.event.body.clone() {
                seen.push((sensed.event, line));
            }
        };
        sensor.poll(Duration::from_millis(100), &mut sink).unwrap();
    }
    seen
}

#[test]
fn who_signs_in_is_told_and_nobody_can_pretend() {
    if !root() {
        return;
    }
    let Some(journald) = Journald::start() else { return };
    let mut early = LogSensor::of(vec![journald.folder()], table()).unwrap();
    journald.log(0, "sshd", "Accepted password for before from 192.0.2.1 port 1 ssh2");
    journald.log(0, "test", "before");
    lines(&mut early, "before");
    let mut all = LogSensor::of(vec![journald.folder()], table()).unwrap();
    // What was there is there to be read back, and is not told.
    assert_eq!(all.statuses()[0].state, SensorState::Live);

    let accepted = "Accepted publickey for alice from 192.0.2.7 port 50022 ssh2: ED25519 SHA256:x";
    journald.log(0, "sshd", accepted);
    journald.log(1000, "sshd", "Accepted password for root from 192.0.2.66 port 1 ssh2");
    journald.log(0, "sudo", "alice : TTY=pts/0 ; PWD=/ ; USER=root ; COMMAND=/bin/id");
    // Long enough that journald compresses it.
    let long = "x".repeat(4000);
    journald.log(0, "named", &long);
    journald.log(0, "test", "the last");
    let seen = lines(&mut all, "the last");

    let logins: Vec<_> = seen.iter().filter_map(|(_, line)| line.login.as_ref()).collect();
    let told: Vec<_> =
        logins.iter().map(|l| (l.user.as_str(), l.by.as_str(), l.source_ip.as_str())).collect();
    assert_eq!(told, [("alice", "", "192.0.2.7"), ("root", "alice", "")]);
    let of = |text: &str| seen.iter().find(|(_, line)| line.message.starts_with(text)).unwrap();
    let (event, line) = of("Accepted publickey");
    assert_eq!((line.program.as_str(), line.facility, line.is_vouched), ("sshd", Some(10), true));
    assert_eq!(line.services(), ["sshd", "auth", "syslog"]);
    let now = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_millis() as i64;
    assert!((now - 60_000..=now).contains(&event.time.0), "{} at {now}", event.time.0);
    let (_, pretended) = of("Accepted password for root");
    assert_eq!((pretended.is_vouched, pretended.actor.user.uid.as_str()), (false, "1000"));
    assert_eq!(pretended.services(), ["syslog"]);
    assert_eq!(of("xxxx").1.message, long);

    let status = all.statuses().remove(0);
    assert_eq!((status.kind, status.lost), (SensorKind::LinuxLog, 0));
    assert_eq!(status.produced, seen.len() as u64);
}

#[test]
fn without_a_journal_it_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let sensor = LogSensor::of(vec![folder.path().to_owned()], table()).unwrap();
    let state = sensor.statuses().remove(0).state;
    let SensorState::Off { reason } = state else { panic!("{state:?}") };
    assert!(reason.contains("there is no journal in") && reason.contains("systemd-journald"), "{reason}");
    fs::write(folder.path().join("system.journal"), [7; 4096]).unwrap();
    let sensor = LogSensor::of(vec![folder.path().to_owned()], table()).unwrap();
    let state = sensor.statuses().remove(0).state;
    assert!(matches!(&state, SensorState::Off { reason } if reason.contains("not a journal")), "{state:?}");
}
