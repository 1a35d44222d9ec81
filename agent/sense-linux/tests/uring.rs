//! A process that gives its work to io_uring instead of system calls.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::ffi::CString;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::process::{Command, Stdio};

use common::{bodies, options, role, root, table};
use io_uring::{IoUring, opcode, types};
use wardline_event::{Body, ProcessOp};
use wardline_sense_linux::{EbpfSensor, Watches};

/// Not a test: a process that opens a file of its own and deletes it, without the system calls for it.
#[test]
#[ignore = "a role that another test plays"]
fn work() {
    let folder = std::env::var_os("WARDLINE_TEST_FOLDER").unwrap();
    let path = std::path::Path::new(&folder).join("mine");
    let name = CString::new(path.as_os_str().as_bytes()).unwrap();
    let mut ring = IoUring::new(4).unwrap();
    let here = types::Fd(-100);
    let open = opcode::OpenAt::new(here, name.as_ptr()).flags(0o101).mode(0o600).build();
    let delete = opcode::UnlinkAt::new(here, name.as_ptr()).build();
    for entry in [open.clone(), delete.clone(), open, delete, opcode::Nop::new().build()] {
        // SAFETY: what the entry points to, the name, lives until its completion was waited for.
        #[expect(unsafe_code, reason = "the kernel is given a pointer")]
        unsafe {
            ring.submission().push(&entry).unwrap();
        }
        ring.submit_and_wait(1).unwrap();
        let done = ring.completion().next().unwrap().result();
        assert!(done >= 0, "{}", std::io::Error::from_raw_os_error(-done));
    }
    assert!(!path.exists());
}

#[test]
fn what_is_given_to_io_uring_is_told_once_for_each_operation() {
    if !root() {
        return;
    }
    if fs::read_to_string("/proc/sys/kernel/io_uring_disabled").is_ok_and(|value| value.trim() == "2") {
        assert!(std::env::var_os("CI").is_none(), "CI must run this test where io_uring is allowed");
        println!("skipped: this machine allows nobody to use io_uring");
        return;
    }
    let mut sensor = EbpfSensor::open(&options(4 << 20, Watches::none()), table()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let words = role(folder.path(), "work");
    let mut child = Command::new(&words[0])
        .args(&words[1..])
        .env("WARDLINE_TEST_FOLDER", folder.path())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let pid = child.id();
    assert!(child.wait().unwrap().success());
    let events = bodies(
        &mut sensor,
        |body| matches!(body, Body::Process(p) if p.op == ProcessOp::Exit && p.process.key.pid == pid),
    );
    let told: Vec<(&str, &str)> = events
        .iter()
        .filter_map(|body| match body {
            Body::Call(c) if c.actor.key.pid == pid => Some((&*c.call, c.detail.as_str())),
            _ => None,
        })
        .collect();
    assert_eq!(told, [("io_uring_setup", ""), ("io_uring_enter", "openat"), ("io_uring_enter", "unlinkat")]);
}
