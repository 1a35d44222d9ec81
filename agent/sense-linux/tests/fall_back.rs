//! What happens where eBPF is refused: the process connector, and an honest refusal where that is refused too.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

use common::{boot, end, ended, only, piped, proc_key, role, root, tool, watch};
use wardline_event::{ProcessOp, SensorKind, SensorState};
use wardline_sense_linux::{Options, Prefer, open};

fn connector(buffer_bytes: u32) -> wardline_sense_linux::Opened {
    let opened = open(&Options { prefer: Prefer::Connector, buffer_bytes, ..Options::default() });
    assert_eq!(opened.sensors.len(), 2, "{:?}", opened.statuses);
    opened
}

#[test]
fn the_connector_tells_what_lives_long_enough() {
    if !root() {
        return;
    }
    let mut opened = connector(4 << 20);
    let (_folder, path) = tool();
    let child = piped(Command::new("./tool").args(["-", "a b"]).current_dir(&path).stderr(Stdio::null()));
    let pid = child.id();
    let key = proc_key(boot(), pid);
    let sensor = opened.sensors[0].as_mut();
    let mut events = watch(sensor, |events| common::of(events, pid).iter().any(|e| e.op == ProcessOp::Exec));
    end(child);
    events.extend(watch(sensor, |events| ended(events, pid)));
    assert_eq!(only(&events, pid, ProcessOp::Fork).process.key, key);
    let exec = only(&events, pid, ProcessOp::Exec);
    assert_eq!(exec.process.key, key);
    assert_eq!(exec.process.image, path.join("tool").to_str().unwrap());
    assert_eq!(exec.process.command_line, "./tool - a b");
    assert_eq!(exec.process.cwd, path.to_str().unwrap());
    assert_eq!(exec.process.user.name, "root");
    assert_eq!(exec.parent.as_ref().unwrap().key, proc_key(boot(), std::process::id()));
    let exit = only(&events, pid, ProcessOp::Exit);
    assert_eq!((exit.process.key, exit.exit_code), (key, Some(1 << 8)));
    let status = common::status(opened.sensors[0].as_ref(), SensorKind::LinuxProcConnector);
    assert_eq!(status.kind, SensorKind::LinuxProcConnector);
    let SensorState::Degraded { reason } = status.state else { panic!("{:?}", status.state) };
    assert!(reason.contains("missing for"), "{reason}");
}

#[test]
fn what_the_connector_loses_is_counted() {
    if !root() {
        return;
    }
    // The smallest socket that the kernel allows: a few messages.
    let mut opened = connector(1);
    for _ in 0..50 {
        assert!(Command::new("/bin/true").status().unwrap().success());
    }
    let sensor = opened.sensors[0].as_mut();
    // The gap shows with the next message that arrives; which CPU's that is, nobody knows.
    let until = std::time::Instant::now() + common::DEADLINE;
    let status = |s: &dyn wardline_sense::Sensor| common::status(s, SensorKind::LinuxProcConnector);
    // An end of which nothing else is known is lost too, and may come first.
    while matches!(status(sensor), s if s.lost == 0 || s.produced == s.lost) {
        assert!(std::time::Instant::now() < until, "no loss was noticed: {:?}", status(sensor));
        sensor.poll(std::time::Duration::ZERO, &mut |_| {}).unwrap();
        assert!(Command::new("/bin/true").status().unwrap().success());
    }
    let status = status(sensor);
    assert!(status.produced > status.lost, "{status:?}");
}

#[test]
#[ignore = "a role that another test plays"]
fn report() {
    let opened = open(&Options::default());
    // Reading the journal needs none of the rights that seeing needs.
    let live: Vec<_> = opened.sensors.iter().flat_map(|sensor| sensor.statuses()).map(|s| s.kind).collect();
    assert_eq!(live, [SensorKind::LinuxLog]);
    for status in &opened.statuses {
        println!("{:?}|{:?}", status.kind, status.state);
    }
}

#[test]
fn a_refusal_says_why_and_what_would_mend_it() {
    if !root() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let role = role(folder.path(), "report");
    // A network namespace of its own, because the connector is open to all users since Linux 6.6.
    let unprivileged = [
        "unshare",
        "-n",
        "setpriv",
        "--reuid",
        "65534",
        "--regid",
        "65534",
        "--clear-groups",
        "--inh-caps=-all",
        "--bounding-set=-all",
    ];
    let container = ["unshare", "--pid", "--fork", "--mount-proc", "--propagation", "private"];
    let cases = [
        (
            unprivileged.as_slice(),
            [
                (SensorKind::LinuxEbpf, "needs root, or CAP_BPF and CAP_PERFMON"),
                (SensorKind::LinuxProcConnector, "needs CAP_NET_ADMIN, the host's own network namespace"),
            ],
        ),
        (
            container.as_slice(),
            [(SensorKind::LinuxEbpf, "--pid=host"), (SensorKind::LinuxProcConnector, "--pid=host")],
        ),
    ];
    for (words, refusals) in cases {
        let output = Command::new(words[0]).args(&words[1..]).args(&role).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{words:?}: {text}{}", String::from_utf8_lossy(&output.stderr));
        for (kind, mend) in refusals {
            let start = format!("{kind:?}|Off");
            let line = text.lines().find(|line| line.starts_with(&start));
            assert!(line.is_some_and(|line| line.contains(mend)), "{words:?}, {kind:?}: {text}");
        }
    }
}
