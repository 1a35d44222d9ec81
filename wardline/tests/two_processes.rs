//! Guard and courier as the kernel sees them: who may do what, and what is left when one of them is gone. Needs root.
#![allow(clippy::unwrap_used)] // Helpers of tests, which clippy takes for code.

mod common;

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;

use rustix::process::{Pid, Signal, kill_process};

use common::process::{Known, SHELL_RULE, SHELL_WORDS, Tree, children};
use common::up::{Hub, Running, Up};
use common::{alone, folder, is_root, until, wardline};

/// Findings that the agent makes about itself carry these ids for a rule's.
const COURIER_ENDED: &str = "8a1d4f0b-52c7-4c1e-9d55-3b0e7f6a2c90";

fn send(process: Known, signal: Signal) {
    assert!(process.lives());
    kill_process(Pid::from_raw(process.pid.cast_signed()).unwrap(), signal).unwrap();
}

/// The words of a process's command line.
fn words(pid: u32) -> Vec<String> {
    let line = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    line.split_terminator('\0').map(str::to_owned).collect()
}

/// The courier of a guard, confined.
fn courier(guard: Known) -> Known {
    until("the guard has a courier", || {
        let all = children(guard.pid);
        all.into_iter().find(|child| words(child.pid).get(2).is_some_and(|word| word == "courier"))
    })
}

/// What `/proc/PID/task/TID/status` says under a name, for each thread.
fn status(pid: u32, name: &str) -> BTreeSet<String> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let line = |task: fs::DirEntry| {
        let text = fs::read_to_string(task.path().join("status")).ok()?;
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        Some(line.split_whitespace().collect::<Vec<_>>().join(" "))
    };
    tasks.filter_map(|task| line(task.unwrap())).collect()
}

/// The inodes of a process's sockets.
fn sockets(pid: u32) -> BTreeSet<String> {
    let fds = fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
    let target = |fd: fs::DirEntry| fs::read_link(fd.path()).ok()?.to_str().map(str::to_owned);
    let inode = |target: String| Some(target.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned());
    fds.filter_map(|fd| inode(target(fd.unwrap())?)).collect()
}

/// The inodes of all sockets of the network in a process's namespace.
fn network_sockets(pid: u32) -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    // Where the inode stands, counted in words: proc_pid_net(5), packet(7).
    for (file, column) in
        [("tcp", 9), ("tcp6", 9), ("udp", 9), ("udp6", 9), ("raw", 9), ("raw6", 9), ("packet", 8)]
    {
        let text = fs::read_to_string(format!("/proc/{pid}/net/{file}")).unwrap_or_default();
        let inode = |line: &str| line.split_whitespace().nth(column).map(str::to_owned);
        all.extend(text.lines().skip(1).filter_map(inode));
    }
    all
}

#[test]
fn the_courier_may_do_nothing_and_the_guard_has_no_network() {
    if !is_root() {
        return;
    }
    let (_lock, dir) = (alone(), folder("two"));
    let up = Up::start(&dir.path().join("data"), &[], &["--monitor"]);
    let guard = up.parts().into_iter().find(|part| words(part.pid)[1] == "agent").unwrap();
    let courier = courier(guard);

    let none: &[&str] = &["0000000000000000"];
    for capabilities in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
        assert_eq!(Vec::from_iter(status(courier.pid, capabilities)), none, "{capabilities}");
    }
    for (name, value) in [("NoNewPrivs", "1"), ("Seccomp", "2"), ("Groups", "")] {
        assert_eq!(Vec::from_iter(status(courier.pid, name)), [value], "{name}");
    }
    for name in ["Uid", "Gid"] {
        let ids = status(courier.pid, name);
        let ids: BTreeSet<&str> = ids.iter().flat_map(|ids| ids.split(' ')).collect();
        assert!(ids.len() == 1 && !ids.contains("0"), "{name}: {ids:?}");
    }
    // Nobody but root may look into its memory or its descriptors.
    assert_eq!(fs::metadata(format!("/proc/{}/mem", courier.pid)).unwrap().uid(), 0);
    let environment = fs::read_to_string(format!("/proc/{}/environ", courier.pid)).unwrap();
    assert!(!environment.contains("PATH="), "{environment}");

    let network = network_sockets(guard.pid);
    assert!(!sockets(courier.pid).is_disjoint(&network), "the courier is connected to the hub");
    let of_guard = sockets(guard.pid);
    assert!(!of_guard.is_empty(), "the line to the courier is a socket too");
    assert!(of_guard.is_disjoint(&network), "{:?}", of_guard.intersection(&network));
}

#[test]
fn without_its_courier_the_guard_kills_and_nothing_is_lost() {
    if !is_root() {
        return;
    }
    let (_lock, dir) = (alone(), folder("no-courier"));
    let up = Up::start(&dir.path().join("data"), &[], &[]);
    let (hub, marker) = (up.client(), format!("orphaned-{}", std::process::id()));
    let guard = up.parts().into_iter().find(|part| words(part.pid)[1] == "agent").unwrap();
    let first = courier(guard);
    // It stands still, so that the guard has neither a courier nor a reason to start another.
    send(first, Signal::STOP);
    let mut attack = Tree::start(dir.path(), &marker, SHELL_WORDS);
    attack.is_killed();
    send(first, Signal::KILL);

    let finding = hub.finding(SHELL_RULE, &marker);
    assert_eq!(finding["disposition"], "stopped", "{finding}");
    let second = courier(guard);
    assert_ne!(first, second);
    let told = until("the hub hears of it", || hub.findings("", Some(COURIER_ENDED)).pop());
    let id = told["id"].as_str().unwrap();
    let ocsf = &hub.get(&format!("/api/v1/findings/{id}"))["ocsf"];
    let detail = ocsf["unmapped"]["action"]["detail"].as_str().unwrap();
    assert!(detail.contains("ended by signal 9"), "{detail}");
    assert!(guard.lives());
}

#[test]
fn the_courier_tells_that_the_guard_has_ended_and_makes_room_for_the_next() {
    if !is_root() {
        return;
    }
    let (_lock, dir) = (alone(), folder("no-guard"));
    let mut hub = Hub::start(&dir.path().join("hub"), "127.0.0.1:0");
    let agent = dir.path().join("agent");
    let data = agent.to_str().unwrap();
    wardline(&["agent", "enrol", &hub.agents, &hub.token(), "--data", data]).succeeds();
    let client = hub.client();
    let ended = || client.findings("", Some(wardline_agent::courier::GUARD_ENDED));
    let live = || {
        let device = client.device();
        let states: Vec<_> =
            device["sensors"].as_array().unwrap().iter().map(|s| s["state"].clone()).collect();
        states.iter().any(|state| state == "live")
    };

    let mut running = Running::start(&[], &["agent", "run", "--data", data]);
    running.says(&["connected to the hub"]);
    until("the hub sees it", || live().then_some(()));
    let guard = Known::of(running.child.id()).unwrap();
    let first = courier(guard);
    send(guard, Signal::KILL);
    running.child.wait().unwrap();
    let told = until("the courier tells", || ended().pop());
    assert_eq!(told["severity"], "high", "{told}");
    until("no sensor counts as live", || (!live()).then_some(()));
    assert!(first.lives(), "it stays in sight");
    drop(running);

    let mut running = Running::start(&[], &["agent", "run", "--data", data]);
    running.says(&["connected to the hub"]);
    assert!(!first.lives(), "the next guard has its own courier");
    until("the hub sees it again", || live().then_some(()));

    // An agent that is stopped as it should be is nobody's loss.
    let second = courier(Known::of(running.child.id()).unwrap());
    assert_eq!(running.interrupt().code(), Some(0));
    assert!(!second.lives());
    assert_eq!(ended().len(), 1);
}
