//! What is executed: digests and packages, of real programs.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use common::{DEADLINE, end, options, piped, root, tool};
use wardline_event::{
    Body, EventId, Fields, Identity, Known, Owner, ProcessActivity, ProcessOp, SensorKind, hex,
};
use wardline_sense_linux::{Opened, Prefer, Watches, open};

/// The exec event of a pid, and its id.
fn exec(opened: &mut Opened, pid: u32) -> (EventId, ProcessActivity) {
    let until = Instant::now() + DEADLINE;
    let mut found = None;
    while found.is_none() {
        assert!(Instant::now() < until, "the exec did not come");
        let mut sink = |sensed: wardline_sense::Sensed| match sensed.event.body {
            Body::Process(p) if p.op == ProcessOp::Exec && p.process.key.pid == pid => {
                found = Some((sensed.event.id, p));
            }
            _ => {}
        };
        opened.sensors[0].poll(Duration::from_millis(100), &mut sink).unwrap();
    }
    found.unwrap()
}

/// What was known at once, if it was, and what is known in the end.
fn identity(opened: &mut Opened, pid: u32) -> (bool, Identity) {
    let (id, activity) = exec(opened, pid);
    let identity = activity.launch.unwrap().identity;
    if !identity.is_awaited() {
        return (true, identity);
    }
    let until = Instant::now() + DEADLINE;
    loop {
        assert!(Instant::now() < until, "it was not found out");
        opened.sensors[1].poll(Duration::from_millis(100), &mut |_| panic!("it has no events")).unwrap();
        if let Some(learned) = opened.sensors[1].learned().into_iter().find(|l| l.event == id) {
            return (false, learned.identity);
        }
    }
}

/// As another program computes it.
fn sum(program: &str, path: &Path) -> String {
    let out = Command::new(program).arg(path).output().unwrap();
    String::from_utf8(out.stdout).unwrap().split(' ').next().unwrap().to_owned()
}

fn opened() -> Opened {
    let opened =
        open(&wardline_sense_linux::Options { prefer: Prefer::Ebpf, ..options(4 << 20, Watches::none()) });
    assert_eq!(opened.sensors[1].statuses()[0].kind, SensorKind::LinuxIdentity);
    assert!(!opened.sensors[1].is_urgent());
    opened
}

#[test]
fn what_is_executed_is_known_by_its_digest() {
    if !root() {
        return;
    }
    let mut opened = opened();
    let (_folder, path) = tool();
    let path = path.join("tool");
    // No other file has these bytes. What stands behind an ELF file does not matter to it.
    OpenOptions::new()
        .append(true)
        .open(&path)
        .unwrap()
        .write_all(path.as_os_str().as_encoded_bytes())
        .unwrap();
    let (sha256, md5) = (sum("sha256sum", &path), sum("md5sum", &path));
    let check = |identity: &Identity| {
        let digests = identity.digests.get().unwrap_or_else(|| panic!("{identity:?}"));
        assert_eq!((hex(&digests.sha256), hex(&digests.md5)), (sha256.clone(), md5.clone()));
        assert_eq!(identity.owner, Known::Is(Owner::Nobody));
        assert_eq!(identity.size, Some(path.metadata().unwrap().len()));
    };
    let child = piped(&mut Command::new(&path));
    let (at_once, first) = identity(&mut opened, child.id());
    end(child);
    check(&first);
    assert!(!at_once);

    // It is known from now on, even of a process that has ended when its start is read.
    let mut child = Command::new(&path).arg("/dev/null").spawn().unwrap();
    child.wait().unwrap();
    let (at_once, again) = identity(&mut opened, child.id());
    check(&again);
    assert!(at_once);

    // Other bytes are another state, and the digest of the old ones is not theirs.
    OpenOptions::new().append(true).open(&path).unwrap().write_all(b"!").unwrap();
    let child = piped(&mut Command::new(&path));
    let (_, changed) = identity(&mut opened, child.id());
    end(child);
    assert_eq!(changed.digests.get().map(|d| hex(&d.sha256)), Some(sum("sha256sum", &path)));
    assert_ne!(changed.digests, again.digests);
}

#[test]
fn the_package_is_told_and_what_only_memory_holds_is_marked() {
    if !root() {
        return;
    }
    let mut opened = opened();
    if Path::new("/var/lib/dpkg/status").exists() {
        let child = piped(&mut Command::new("/bin/cat"));
        let (_, identity) = identity(&mut opened, child.id());
        end(child);
        let version = Command::new("dpkg-query").args(["-W", "-f=${Version}", "coreutils"]).output().unwrap();
        let version = String::from_utf8(version.stdout).unwrap();
        let expected = Owner::Package { name: "coreutils".into(), version, intact: Some(true) };
        assert_eq!(identity.owner, Known::Is(expected));
    }
    // A copy of cat in a memfd.
    let script = "my $n = syscall(319, my $name = \"hidden\", 0); open(my $to, \">&=\", $n); open(my $from, \"/bin/cat\"); \
                  local $/; my $bytes = <$from>; print {$to} $bytes; $to->flush; exec {\"/proc/self/fd/$n\"} \"hidden\"; die $!";
    let child = piped(Command::new("perl").args(["-MIO::Handle", "-e", script]));
    let pid = child.id();
    // The first exec is perl's own.
    identity(&mut opened, pid);
    let (id, activity) = exec(&mut opened, pid);
    let event = wardline_event::Event {
        id,
        time: wardline_event::Timestamp(0),
        product: "linux".into(),
        simulated: false,
        body: Body::Process(activity.clone()),
    };
    assert_eq!(event.field("ImageState").unwrap().as_text().unwrap(), "memory", "{activity:?}");
    let until = Instant::now() + DEADLINE;
    let learned = loop {
        assert!(Instant::now() < until, "it was not found out");
        opened.sensors[1].poll(Duration::from_millis(100), &mut |_| ()).unwrap();
        if let Some(learned) = opened.sensors[1].learned().into_iter().find(|l| l.event == id) {
            break learned.identity;
        }
    };
    end(child);
    assert_eq!(learned.digests.get().map(|d| hex(&d.sha256)), Some(sum("sha256sum", Path::new("/bin/cat"))));
    assert_eq!(learned.owner, Known::Is(Owner::Nobody));
}
