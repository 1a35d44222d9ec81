//! System calls that change what a process or the machine may do, made by a child.
#![cfg(target_arch = "x86_64")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::process::{Command, Stdio};

use common::{bodies, options, root, status, table};
use wardline_event::{Body, ProcessOp, SensorKind, SensorState};
use wardline_sense_linux::{EbpfSensor, Watches};

/// Calls by their numbers, so that no library stands between (perl is part of every Debian). Nothing comes of most of
/// them: the module is none, the program is loaded and goes with the process, the namespace is the process's own.
const SCRIPT: &str = r#"
use Socket;
socket(my $local, PF_UNIX, SOCK_STREAM, 0);
connect($local, pack_sockaddr_un("$ARGV[0]/none.sock")) for 1 .. 3;
my $file = "$ARGV[0]/none.ko";
open(my $module, "<", $file) or die;
syscall(313, fileno($module), my $parameters = "", 0);
syscall(176, my $none = "wardline_none", 0);
syscall(319, my $name = "hidden", 0);
syscall(135, 0xffffffff);
syscall(135, 0x40000);
syscall(41, 2, 1, 0);
syscall(41, 17, 3, 0);
my $instructions = pack("CCsl CCsl", 0xb7, 0, 0, 0, 0x95, 0, 0, 0);
my $attr = pack("L L P P L L Q L L a16 x64", 1, 2, $instructions, "GPL", 0, 0, 0, 0, 0, "wardline_test");
syscall(321, 5, $attr, length($attr)) >= 0 or die "bpf: $!";
my $child = fork() // die;
if (!$child) { sleep 60; exit 0 }
syscall(101, 16, $child, 0, 0) == 0 or die "ptrace: $!";
kill 9, $child;
waitpid($child, 0);
syscall(272, 0x20000) == 0 or die "unshare: $!";
syscall(165, my $what = "none", my $where = "/", 0, 0x44000, 0) == 0 or die "mount: $!";
syscall(165, $what, $where = $ARGV[0], my $type = "tmpfs", 0, 0) == 0 or die "mount: $!";
syscall(425, 4, my $params = "\0" x 120);
syscall(117, 65534, 65534, 65534) == 0 or die "setresuid: $!";
"#;

#[test]
fn what_changes_rights_is_told() {
    if !root() {
        return;
    }
    let mut sensor = EbpfSensor::open(&options(4 << 20, Watches::none()), table()).unwrap();
    assert_eq!(status(&sensor, SensorKind::LinuxCall).state, SensorState::Live);
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().canonicalize().unwrap();
    std::fs::write(folder.join("none.ko"), "no module").unwrap();
    let mut child =
        Command::new("perl").args(["-e", SCRIPT]).arg(&folder).stdin(Stdio::null()).spawn().unwrap();
    let pid = child.id();
    assert!(child.wait().unwrap().success());
    let events = bodies(
        &mut sensor,
        |body| matches!(body, Body::Process(p) if p.op == ProcessOp::Exit && p.process.key.pid == pid),
    );
    let mut told: Vec<String> = Vec::new();
    for body in &events {
        let Body::Call(c) = body else { continue };
        if c.actor.key.pid == pid {
            assert!(c.actor.command_line.starts_with("perl -e"), "{c:?}");
            let outcome = if c.result < 0 { " failed" } else { "" };
            told.push(format!("{} {:x} {}{outcome}", c.call, c.args[0], c.detail));
        }
    }
    // What the kernel or its policy does not allow here is told as failed, or not of interest.
    let folder = folder.to_str().unwrap();
    let expected = [
        // The first of three in ten minutes.
        format!("connect 3 {folder}/none.sock failed"),
        format!("finit_module 4 {folder}/none.ko failed"),
        "delete_module _ wardline_none failed".into(),
        "memfd_create _ hidden".into(),
        "personality 40000 ".into(),
        "socket 11 ".into(),
        "bpf 5 wardline_test".into(),
        "ptrace 10 ".into(),
        "unshare 20000 ".into(),
        "mount _ /".into(),
        format!("mount _ {folder}"),
        "io_uring_setup 4 ".into(),
        "setresuid fffe ".into(),
    ];
    // Pointers differ each time.
    let pointers = ["delete_module ", "memfd_create ", "mount "];
    for line in &mut told {
        if pointers.iter().any(|call| line.starts_with(call)) {
            let words: Vec<&str> = line.splitn(3, ' ').collect();
            *line = format!("{} _ {}", words[0], words[2]);
        }
    }
    assert_eq!(told, expected);
    let setuid = events.iter().rev().find_map(|b| match b {
        Body::Call(c) if c.call == "setresuid" => Some(c),
        _ => None,
    });
    assert_eq!(setuid.unwrap().actor.user.name, "nobody", "as it is after the call");
}
