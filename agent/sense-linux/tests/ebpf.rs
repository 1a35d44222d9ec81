//! The eBPF sensor against the real kernel and real children.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::ffi::OsStr;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use common::{
    DEADLINE, boot, end, ended, of, only, options, piped, proc_key, role, root, table, tool, watch,
};
use wardline_event::{ProcessKey, ProcessOp, SensorKind, SensorState};
use wardline_sense::Sensor;
use wardline_sense_linux::{EbpfSensor, KINDS, Options, Prefer, TRUNCATED, Watches, open};

const RING: u32 = 4 << 20;
/// Processes of a storm.
const STORM: u64 = 2000;

fn sensor() -> EbpfSensor {
    EbpfSensor::open(&options(RING, Watches::none()), table()).unwrap()
}

#[test]
fn an_exec_tells_what_proc_tells_and_outlives_it() {
    if !root() {
        return;
    }
    let mut opened = open(&Options { prefer: Prefer::Ebpf, ..Options::default() });
    assert_eq!(opened.sensors.len(), 3, "{:?}", opened.statuses);
    let own_key = proc_key(boot(), std::process::id());
    let own = opened
        .found
        .iter()
        .find(|s| s.event.process().key == own_key)
        .expect("this test was running already");
    assert_eq!(own.event.process().image, std::env::current_exe().unwrap().to_str().unwrap());

    let (_folder, path) = tool();
    let odd =
        [OsStr::from_bytes(b"two words"), OsStr::from_bytes(b"line\nbreak"), OsStr::from_bytes(b"\xff\xfe")];
    // A relative name, another directory, another user, and from a thread that is not the first.
    let child = std::thread::spawn({
        let path = path.clone();
        move || {
            piped(
                Command::new("./tool").arg("-").args(odd).current_dir(path).uid(65534).stderr(Stdio::null()),
            )
        }
    });
    let child = child.join().unwrap();
    let pid = child.id();
    let from_proc = proc_key(boot(), pid);
    end(child);

    // Only now, when nothing of it can be read from /proc any more.
    let sensor = opened.sensors[0].as_mut();
    let events = watch(sensor, |events| ended(events, pid));
    let fork = only(&events, pid, ProcessOp::Fork);
    assert_eq!(fork.process.key, from_proc);
    let exec = only(&events, pid, ProcessOp::Exec);
    assert_eq!(exec.process.key, from_proc);
    assert_eq!(exec.process.image, path.join("tool").to_str().unwrap());
    assert_eq!(exec.process.command_line, "./tool - two words line\nbreak \u{fffd}\u{fffd}");
    assert_eq!(exec.process.cwd, path.to_str().unwrap());
    assert_eq!((exec.process.user.uid.as_str(), exec.process.user.name.as_str()), ("65534", "nobody"));
    let parent = exec.parent.as_ref().unwrap();
    assert_eq!(parent.key, own_key);
    assert_eq!(parent.image, own.event.process().image);
    assert_eq!(parent.command_line, own.event.process().command_line);
    assert_eq!((parent.user.uid.as_str(), parent.user.name.as_str()), ("0", "root"));
    assert_eq!(exec.process.cgroup_id, own.event.process().cgroup_id, "as /proc and the file system tell it");
    let exit = only(&events, pid, ProcessOp::Exit);
    assert_eq!(exit.process.command_line, exec.process.command_line);
    // cat cannot find the files with odd names.
    assert_eq!(exit.exit_code, Some(1 << 8));
    assert_eq!(opened.ancestors(&from_proc).first().unwrap().key, own_key);
}

/// Not a test: a process that goes down and down and executes a program there.
#[test]
#[ignore = "a role that another test plays"]
fn exec_deep_down() {
    let tool = std::env::current_dir().unwrap().join("../tool").canonicalize().unwrap();
    let name = "7".repeat(250);
    for _ in 0..20 {
        std::fs::create_dir(&name).unwrap();
        std::env::set_current_dir(&name).unwrap();
    }
    std::fs::copy(tool, "tool").unwrap();
    panic!("exec failed: {}", Command::new("./tool").exec());
}

#[test]
fn hard_paths_are_told() {
    if !root() {
        return;
    }
    let mut sensor = sensor();
    let (_folder, path) = tool();
    std::fs::create_dir(path.join("mounted")).unwrap();
    std::fs::create_dir(path.join("deep")).unwrap();
    // A file system mounted in a namespace of its own: only the kernel still knows where the program was.
    let mut mounted = Command::new("unshare");
    mounted.args(["-m", "--propagation", "private", "/bin/sh", "-ec"]).stdin(Stdio::null());
    mounted
        .arg(format!("cd {}; mount -t tmpfs t mounted; cp tool mounted/; exec mounted/tool", path.display()));
    // A path longer than any system call takes.
    let words = role(&path, "exec_deep_down");
    let mut deep = Command::new(&words[0]);
    deep.args(&words[1..]).current_dir(path.join("deep")).stdin(Stdio::null()).stdout(Stdio::null());
    let memfd = rustix::fs::memfd_create("unnamed", rustix::fs::MemfdFlags::empty()).unwrap();
    rustix::io::write(&memfd, &std::fs::read(path.join("tool")).unwrap()).unwrap();
    let mut in_memory = Command::new(format!("/proc/self/fd/{}", memfd.as_raw_fd()));
    in_memory.stdin(Stdio::null());

    let root = path.to_str().unwrap();
    let cases = [
        ("mounted", mounted, format!("{root}/mounted/tool")),
        ("deep", deep, "…/".to_owned()),
        ("in memory", in_memory, "/memfd:unnamed (deleted)".to_owned()),
    ];
    for (name, mut command, image) in cases {
        let mut child = command.spawn().unwrap();
        assert!(child.wait().unwrap().success(), "{name}");
        let events = watch(&mut sensor, |events| ended(events, child.id()));
        let events = of(&events, child.id());
        let last = events.iter().rfind(|e| e.op == ProcessOp::Exec).unwrap();
        if name == "deep" {
            let seen = &last.process.image;
            assert!(seen.starts_with(&image) && seen.ends_with("7/tool") && seen.len() > 4000, "{seen}");
        } else {
            assert_eq!(last.process.image, image, "{name}");
            assert_eq!(last.launch.as_ref().unwrap().unnamed, name == "in memory");
        }
    }
}

#[test]
fn a_command_line_too_long_to_carry_says_so() {
    if !root() {
        return;
    }
    let mut sensor = sensor();
    // One that is long, and nearly as many as the kernel takes: 2 MB.
    let (long, many) = (vec!["x".repeat(100_000)], vec!["x".repeat(30_000); 66]);
    for arguments in [long, many] {
        let mut child = Command::new("/bin/true").args(&arguments).spawn().unwrap();
        child.wait().unwrap();
        let events = watch(&mut sensor, |events| ended(events, child.id()));
        let exec = only(&events, child.id(), ProcessOp::Exec);
        let carried =
            exec.process.command_line.strip_suffix(TRUNCATED).expect("it says that it is truncated");
        assert!(carried.len() >= 32 * 1024 && carried.starts_with("/bin/true xxx"), "{}", carried.len());
        let args = &exec.launch.as_ref().unwrap().args;
        assert_eq!(args.join(" "), carried);
    }
    assert!(sensor.accounts().truncated >= 2);
}

#[test]
fn how_a_program_was_started_is_told() {
    if !root() {
        return;
    }
    let mut sensor = sensor();
    let (_folder, path) = tool();
    std::fs::write(path.join("run"), "#!/bin/sh -e\nexit 0\n").unwrap();
    std::fs::set_permissions(path.join("run"), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let mut script = Command::new("./run").arg("a b").arg("").current_dir(&path).spawn().unwrap();
    assert!(script.wait().unwrap().success());
    // Without any rights: as nobody.
    let mut nobody = Command::new("/bin/true").uid(65534).spawn().unwrap();
    nobody.wait().unwrap();
    let events = watch(&mut sensor, |events| ended(events, nobody.id()) && ended(events, script.id()));
    let exec = only(&events, script.id(), ProcessOp::Exec);
    let launch = exec.launch.as_ref().unwrap();
    assert_eq!(launch.args, ["/bin/sh", "-e", "./run", "a b", ""]);
    assert_eq!(launch.script.as_deref(), Some("./run"));
    assert!(exec.process.image.ends_with("sh") && !launch.unnamed, "{exec:?}");
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let own = status.lines().find_map(|l| l.strip_prefix("CapEff:")).unwrap().trim();
    assert_eq!((format!("{:016x}", launch.capabilities).as_str(), launch.real_uid.as_str()), (own, "0"));
    let login =
        std::fs::read_to_string("/proc/self/loginuid").map_or(u32::MAX, |uid| uid.trim().parse().unwrap());
    assert_eq!(launch.login_uid, (login != u32::MAX).then(|| login.to_string()));

    let exec = only(&events, nobody.id(), ProcessOp::Exec);
    let launch = exec.launch.as_ref().unwrap();
    assert_eq!((launch.capabilities, launch.real_uid.as_str(), &launch.script), (0, "65534", &None));
}

#[test]
fn parents_and_ends_are_told() {
    if !root() {
        return;
    }
    let mut opened = open(&Options { prefer: Prefer::Ebpf, ..Options::default() });
    // A double fork: the shell between ends first, and the last one is nobody's child.
    let script = "(/bin/sh -c 'read line; exit 7' <&3 & echo $!) 3<&0";
    let mut shell = Command::new("/bin/sh")
        .args(["-c", script])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(shell.stdout.take().unwrap()), &mut line)
        .unwrap();
    let orphan: u32 = line.trim().parse().unwrap();
    let input = shell.stdin.take();
    shell.wait().unwrap();
    drop(input);
    // And one that is killed.
    let mut killed = piped(&mut Command::new("/bin/cat"));
    killed.kill().unwrap();
    let status = killed.wait().unwrap();

    let sensor = opened.sensors[0].as_mut();
    let events = watch(sensor, |events| {
        ended(events, orphan) && ended(events, killed.id()) && ended(events, shell.id())
    });
    assert_eq!(only(&events, orphan, ProcessOp::Exit).exit_code, Some(7 << 8));
    assert_eq!(only(&events, killed.id(), ProcessOp::Exit).exit_code, Some(status.into_raw()));
    let key = only(&events, orphan, ProcessOp::Exec).process.key;
    let ancestors: Vec<ProcessKey> = opened.ancestors(&key).iter().map(|p| p.key).collect();
    let shell_at = ancestors.iter().position(|k| k.pid == shell.id());
    assert!(shell_at.is_some_and(|at| ancestors[at + 1].pid == std::process::id()), "{ancestors:?}");
}

#[test]
fn a_server_is_seen_under_the_user_that_it_became() {
    if !root() {
        return;
    }
    let mut sensor = sensor();
    // perl (part of every Debian) becomes another user and stays the same program; only its children execute one.
    let script = "use POSIX; POSIX::setuid(65534); system('/bin/true', 'x'); exit 0";
    let mut server = Command::new("perl").args(["-e", script]).spawn().unwrap();
    assert!(server.wait().unwrap().success());
    let events = watch(&mut sensor, |events| ended(events, server.id()));
    assert_eq!(only(&events, server.id(), ProcessOp::Exec).process.user.name, "root");
    let ours =
        |e: &&wardline_event::ProcessActivity| e.parent.as_ref().is_some_and(|p| p.key.pid == server.id());
    let child = events.iter().filter(ours).find(|e| e.op == ProcessOp::Exec).unwrap();
    let parent = child.parent.as_ref().unwrap();
    assert_eq!((parent.user.name.as_str(), parent.command_line.starts_with("perl -e")), ("nobody", true));
    assert_eq!(only(&events, server.id(), ProcessOp::Exit).process.user.name, "nobody");
}

/// Not a test: a process whose second thread executes another program.
#[test]
#[ignore = "a role that another test plays"]
fn exec_from_thread() {
    let thread = std::thread::spawn(|| Command::new("/bin/sh").args(["-c", "exit 5"]).exec());
    panic!("exec failed: {:?}", thread.join());
}

#[test]
fn a_thread_that_executes_is_no_end() {
    if !root() {
        return;
    }
    let mut sensor = sensor();
    let folder = tempfile::tempdir().unwrap();
    let words = role(folder.path(), "exec_from_thread");
    let mut child = Command::new(&words[0]).args(&words[1..]).stdout(Stdio::null()).spawn().unwrap();
    let pid = child.id();
    assert_eq!(child.wait().unwrap().code(), Some(5));
    let events = watch(&mut sensor, |events| ended(events, pid));
    let events: Vec<(ProcessOp, ProcessKey)> =
        of(&events, pid).iter().map(|e| (e.op, e.process.key)).collect();
    let key = events[0].1;
    let expected = [ProcessOp::Fork, ProcessOp::Exec, ProcessOp::Exec, ProcessOp::Exit].map(|op| (op, key));
    assert_eq!(events, expected);
}

/// A control group of this test's own, with a name as container runtimes give them.
struct Group(std::path::PathBuf);

impl Group {
    fn new(id: &str) -> Option<Self> {
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
        let mount = mounts.lines().find(|line| line.contains(" - cgroup2 "))?.split(' ').nth(4)?;
        let path = std::path::Path::new(mount).join(format!("docker-{id}.scope"));
        std::fs::create_dir(&path).ok().map(|()| Self(path))
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir(&self.0);
    }
}

#[test]
fn a_container_is_told() {
    if !root() {
        return;
    }
    let id = format!("{:064x}", u128::from(std::process::id()) << 64 | 7);
    let Some(group) = Group::new(&id) else {
        println!("skipped: no control groups here that a test may make");
        return;
    };
    let mut sensor = sensor();
    let script = format!("echo $$ > '{}/cgroup.procs'; exec /bin/cat", group.0.display());
    let child = piped(Command::new("/bin/sh").args(["-ec", &script]));
    let is_cat =
        |e: &&wardline_event::ProcessActivity| e.op == ProcessOp::Exec && e.process.image.ends_with("/cat");
    let pid = child.id();
    let mut events = watch(&mut sensor, |events| of(events, pid).into_iter().any(|e| is_cat(&e)));
    end(child);
    events.extend(watch(&mut sensor, |events| ended(events, pid)));
    let execs: Vec<_> = of(&events, pid).into_iter().filter(|e| e.op == ProcessOp::Exec).collect();
    assert_eq!(execs[0].process.container, None);
    let inode = std::os::unix::fs::MetadataExt::ino(&std::fs::metadata(&group.0).unwrap());
    assert_eq!((execs[1].process.container.as_ref(), execs[1].process.cgroup_id), (Some(&id), inode));
    assert_eq!(only(&events, pid, ProcessOp::Exit).process.container.as_ref(), Some(&id));
    // The second one may be gone before anyone asks: what is known of its control group is enough.
    let mut child = Command::new("/bin/sh").args(["-ec", &script]).stdin(Stdio::null()).spawn().unwrap();
    child.wait().unwrap();
    let events = watch(&mut sensor, |events| ended(events, child.id()));
    let exec = of(&events, child.id()).into_iter().find(is_cat).unwrap();
    assert_eq!(exec.process.container.as_ref(), Some(&id));
}

/// Drains until the books agree: other processes of this machine may write between two looks.
fn settle(sensor: &mut EbpfSensor, sink: &mut dyn FnMut(wardline_sense::Sensed)) {
    let until = Instant::now() + DEADLINE;
    loop {
        sensor.poll(Duration::ZERO, sink).unwrap();
        let books = sensor.accounts();
        let agree = (0..KINDS).all(|kind| {
            books.produced[kind] == books.delivered[kind] + books.lost[kind] + books.undecoded[kind]
        });
        if agree && books.missed == 0 {
            return;
        }
        assert!(Instant::now() < until, "produced is not delivered + lost: {books:?}");
    }
}

#[test]
fn a_storm_is_accounted_for() {
    if !root() {
        return;
    }
    let mut sensor = sensor();
    let storm = std::thread::spawn(|| {
        for _ in 0..STORM {
            assert!(Command::new("/bin/true").arg("storm").status().unwrap().success());
        }
    });
    let own = std::process::id();
    let mut execs = 0;
    let mut sink = |sensed: wardline_sense::Sensed| {
        let wardline_event::Body::Process(activity) = &sensed.event.body else { return };
        let ours = activity.parent.as_ref().is_some_and(|p| p.key.pid == own);
        execs += u64::from(
            ours && activity.op == ProcessOp::Exec && activity.process.command_line.ends_with(" storm"),
        );
    };
    while !storm.is_finished() {
        sensor.poll(Duration::from_millis(50), &mut sink).unwrap();
    }
    storm.join().unwrap();
    settle(&mut sensor, &mut sink);
    let books = sensor.accounts();
    assert!(execs <= STORM && execs + books.lost[1] >= STORM, "{execs} of {STORM} seen, {books:?}");
    let status = common::status(&sensor, SensorKind::LinuxEbpf);
    assert_eq!(status.state, SensorState::Live);
    assert!(status.produced - status.lost >= 3 * STORM - books.total_lost());
    assert_eq!(books.undecoded, [0; KINDS]);
}

#[test]
fn an_overflow_is_counted_and_told() {
    if !root() {
        return;
    }
    let mut sensor = EbpfSensor::open(&options(4096, Watches::none()), table()).unwrap();
    for _ in 0..100 {
        assert!(Command::new("/bin/true").status().unwrap().success());
    }
    let mut delivered = 0;
    settle(&mut sensor, &mut |_| delivered += 1);
    let status = common::status(&sensor, SensorKind::LinuxEbpf);
    assert!(status.lost > 0 && delivered > 0, "{delivered} delivered, {status:?}");
    // It goes on afterwards.
    let mut child = Command::new("/bin/true").spawn().unwrap();
    child.wait().unwrap();
    watch(&mut sensor, |events| ended(events, child.id()));
}
