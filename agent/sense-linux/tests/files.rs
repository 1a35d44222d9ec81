//! The file sensor against real files of a child.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::process::{Command, Stdio};

use common::{bodies, options, role, root, status, table};
use rustix::fs::{AtFlags, CWD, Mode, OFlags, XattrFlags};
use wardline_event::{Body, FileActivity, FileOp, ProcessOp, SensorKind, SensorState};
use wardline_sense::Sensor;
use wardline_sense_linux::{EbpfSensor, Watch, Watches};

/// Not a test: a process that does to files whatever the sensor tells, from a folder `work`.
#[test]
#[ignore = "a role that another test plays"]
fn handle_files() {
    let odd = OsStr::from_bytes(b"odd \n\xff");
    fs::write("new", "1").unwrap();
    OpenOptions::new().append(true).open("new").unwrap().write_all(b"2").unwrap();
    // Reading is not told, but of names that were asked for; nor is what fails.
    fs::read("new").unwrap();
    assert!(File::open("absent").is_err());
    fs::write("secret", "s").unwrap();
    fs::read("secret").unwrap();
    fs::rename("new", odd).unwrap();
    let folder = File::open("../work").unwrap();
    rustix::fs::renameat(&folder, odd, CWD, "./sub/../second").unwrap();
    fs::set_permissions("second", Permissions::from_mode(0o750)).unwrap();
    File::open("second").unwrap().set_permissions(Permissions::from_mode(0o700)).unwrap();
    rustix::fs::chownat(CWD, "second", Some(rustix::fs::Uid::from_raw(65534)), None, AtFlags::empty())
        .unwrap();
    rustix::fs::setxattr("second", "security.wardline", b"x", XattrFlags::empty()).unwrap();
    fs::hard_link("second", "hard").unwrap();
    std::os::unix::fs::symlink("../../etc/passwd", "soft").unwrap();
    // Through a link: what was opened is told, not what was named.
    std::os::unix::fs::symlink("second", "through").unwrap();
    OpenOptions::new().write(true).open("through").unwrap();
    rustix::fs::openat(&folder, "made", OFlags::CREATE | OFlags::WRONLY, Mode::RUSR).unwrap();
    // Without a name, and beside the watched folder.
    OpenOptions::new().write(true).custom_flags(OFlags::TMPFILE.bits() as i32).open(".").unwrap();
    fs::write("../beside", "no").unwrap();
    fs::remove_file(std::env::current_dir().unwrap().with_file_name("beside")).unwrap();
    // Where a name leads that goes upwards, the kernel half does not know.
    fs::write("../up", "").unwrap();
    fs::remove_file("../up").unwrap();
    fs::remove_file("hard").unwrap();
    rustix::fs::unlinkat(&folder, "./sub/../made", AtFlags::empty()).unwrap();
    fs::remove_file(std::env::current_dir().unwrap().join("soft")).unwrap();
    // Deeper than any path that a call takes.
    let name = "7".repeat(250);
    for _ in 0..20 {
        fs::create_dir(&name).unwrap();
        std::env::set_current_dir(&name).unwrap();
    }
    fs::write("deep", "").unwrap();
    fs::remove_file("deep").unwrap();
}

/// What is told of one child's files, as text.
fn told(events: &[Body], pid: u32, work: &str) -> Vec<String> {
    let describe = |f: &FileActivity| {
        let short = |path: &str| match path.strip_prefix(work) {
            Some(rest) => rest.trim_start_matches('/').to_owned(),
            None if path.len() > 1000 => format!("{}..{}", &path[..3], &path[path.len() - 6..]),
            None => path.to_owned(),
        };
        let mut text = format!("{:?} {}", f.op, short(&f.path));
        if let Some(old) = &f.old_path {
            text.push_str(" of ");
            text.push_str(&short(old));
        }
        if !f.detail.is_empty() {
            text.push_str(&[" (", &f.detail, ")"].concat());
        }
        text
    };
    events
        .iter()
        .filter_map(|body| match body {
            Body::File(f) if f.actor.key.pid == pid => Some(describe(f)),
            _ => None,
        })
        .collect()
}

fn watch(folder: &Path, ops: &[FileOp]) -> Watch {
    let folder = folder.to_str().unwrap().trim_start_matches('/').to_owned();
    Watch { folder, ops: ops.to_vec(), in_homes: None }
}

/// Runs a command in a folder; what its events say, in order.
fn events_of(sensor: &mut EbpfSensor, command: &mut Command) -> (u32, Vec<Body>) {
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap();
    let pid = child.id();
    assert!(child.wait().unwrap().success());
    let ended =
        |body: &Body| matches!(body, Body::Process(p) if p.op == ProcessOp::Exit && p.process.key.pid == pid);
    (pid, bodies(sensor, ended))
}

#[test]
fn what_a_process_does_to_files_is_told() {
    if !root() {
        return;
    }
    let folder = tempfile::Builder::new().prefix("w").tempdir().unwrap();
    let folder = folder.path().canonicalize().unwrap();
    let work = folder.join("work");
    fs::create_dir_all(work.join("sub")).unwrap();
    let watches = Watches {
        folders: vec![watch(&folder, &[]), watch(&work, &FileOp::ALL)],
        reads: vec!["secret".into()],
        ..Watches::none()
    };
    let mut sensor = EbpfSensor::open(&options(4 << 20, watches), table()).unwrap();
    assert_eq!(status(&sensor, SensorKind::LinuxFile).state, SensorState::Live);
    let words = role(&folder, "handle_files");
    let (pid, events) = events_of(&mut sensor, Command::new(&words[0]).args(&words[1..]).current_dir(&work));
    let expected = [
        "Create new",
        "Update new",
        "Create secret",
        "Read secret",
        "Rename odd \n\u{fffd} of new",
        "Rename second of odd \n\u{fffd}",
        "Change second (mode 0750)",
        "Change second (mode 0700)",
        "Change second (owner 65534)",
        "Change second (attribute security.wardline)",
        "Link hard of second (hard link)",
        "Link soft of ../../etc/passwd (symbolic link)",
        "Link through of second (symbolic link)",
        "Update second",
        "Create made",
        "Delete <up>",
        "Delete hard",
        "Delete made",
        "Delete soft",
    ];
    let expected = expected.map(|e| e.replace("<up>", folder.join("up").to_str().unwrap()));
    let told = told(&events, pid, work.to_str().unwrap());
    assert_eq!(told[..expected.len().min(told.len())], expected);
    // Of what lies too deep only the end is known, and so not whether it is watched: it is told.
    assert_eq!(told[expected.len()..], ["Create …..7/deep", "Delete …..7/deep"]);
    let actor = events.iter().find_map(|b| match b {
        Body::File(f) if f.actor.key.pid == pid => Some(&f.actor),
        _ => None,
    });
    let actor = actor.unwrap();
    assert_eq!(actor.image, folder.join("role").to_str().unwrap());
    assert_eq!((actor.user.name.as_str(), actor.command_line.contains("handle_files")), ("root", true));
}

#[test]
fn a_program_that_gets_its_owners_rights_is_told_wherever_it_is() {
    if !root() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().canonicalize().unwrap().join("program");
    fs::write(&file, "").unwrap();
    let mut sensor = EbpfSensor::open(&options(4 << 20, Watches::none()), table()).unwrap();
    let (pid, events) = events_of(&mut sensor, Command::new("chmod").arg("755").arg(&file));
    assert_eq!(told(&events, pid, "/-"), Vec::<String>::new());
    let (pid, events) = events_of(&mut sensor, Command::new("chmod").arg("u+s").arg(&file));
    assert_eq!(told(&events, pid, "/-"), [format!("Change {} (mode 4755)", file.display())]);
}

#[test]
fn a_storm_of_files_leaves_room_for_processes() {
    if !root() {
        return;
    }
    let folder = tempfile::Builder::new().prefix("w").tempdir().unwrap();
    let folder = folder.path().canonicalize().unwrap();
    let watches = Watches { folders: vec![watch(&folder, &FileOp::ALL)], ..Watches::none() };
    // A ring that the files overflow.
    let mut sensor = EbpfSensor::open(&options(512 << 10, watches), table()).unwrap();
    let script = "for i in $(seq 5000); do : > $i; done; exec /bin/true told";
    let (pid, events) =
        events_of(&mut sensor, Command::new("/bin/sh").args(["-c", script]).current_dir(&folder));
    let files = told(&events, pid, folder.to_str().unwrap()).len() as u64;
    let until = std::time::Instant::now() + common::DEADLINE;
    let mut books = sensor.accounts();
    // Paths that lie too deep are told wherever they are: another test's may be on their way.
    while books.produced[4] != books.delivered[4] + books.lost[4] && std::time::Instant::now() < until {
        sensor.poll(std::time::Duration::from_millis(10), &mut |_| {}).unwrap();
        books = sensor.accounts();
    }
    assert!(files > 50, "{files}: {books:?}");
    assert!(
        books.produced[4] >= 5000 && books.produced[4] == books.delivered[4] + books.lost[4],
        "{books:?}"
    );
    assert!(books.lost[4] > 0, "{books:?}");
    let execs = events.iter().filter(|b| {
        matches!(b, Body::Process(p) if p.op == ProcessOp::Exec && p.process.command_line == "/bin/true told")
    });
    assert_eq!(execs.count(), 1, "{books:?}");
    let told = status(&sensor, SensorKind::LinuxFile);
    assert!(told.produced >= books.produced[4] && told.lost >= books.lost[4], "{told:?} {books:?}");
    sensor.poll(std::time::Duration::ZERO, &mut |_| {}).unwrap();
}
