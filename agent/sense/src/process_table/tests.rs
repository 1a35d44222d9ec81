//! The table's books, its limits, and ancestry across exits, forks and reused pids.

use proptest::prelude::*;
use wardline_event::BootId;
use wardline_event::ids::NS_PER_TICK;

use super::*;

fn key(pid: u32, ticks: u64) -> ProcessKey {
    ProcessKey::new(BootId(1), ticks * NS_PER_TICK, pid)
}

fn activity(op: ProcessOp, process: Process, parent: Option<ProcessKey>) -> ProcessActivity {
    let parent = parent.map(|key| Process { key, ..Process::default() });
    ProcessActivity { op, process, parent, exit_code: None, launch: None }
}

fn running(key: ProcessKey, image: &str, command_line: &str) -> Process {
    Process {
        key,
        image: image.into(),
        command_line: command_line.into(),
        cwd: "/home/alice".into(),
        user: User { uid: "1000".into(), name: "alice".into() },
        started: Timestamp(5),
        ..Process::default()
    }
}

fn bare(key: ProcessKey) -> Process {
    Process { key, ..Process::default() }
}

#[test]
fn orphans_are_still_descendants_and_the_dead_are_not() {
    let (root, middle, orphan, dead) = (key(10, 1), key(11, 2), key(12, 3), key(13, 4));
    let mut table = ProcessTable::default();
    table.observe(&mut activity(ProcessOp::Found, running(root, "/bin/a", "a"), None), None, 1);
    for (at, (child, parent)) in [(middle, root), (orphan, middle), (dead, root)].into_iter().enumerate() {
        table.observe(&mut activity(ProcessOp::Fork, bare(child), Some(parent)), None, 2 + at as u64);
    }
    for gone in [middle, dead] {
        table.observe(&mut activity(ProcessOp::Exit, bare(gone), None), None, 9);
    }
    assert_eq!(table.live_descendants(&root), [orphan]);
    assert_eq!(table.live_descendants(&orphan), []);
}

#[test]
fn an_exec_names_its_parent_and_an_exit_what_ended() {
    let (shell, child) = (key(10, 1), key(11, 2));
    let mut table = ProcessTable::default();
    table.observe(&mut activity(ProcessOp::Found, running(shell, "/bin/bash", "bash -i"), None), None, 1);

    let mut fork = activity(ProcessOp::Fork, bare(child), Some(shell));
    table.observe(&mut fork, None, 2);
    assert_eq!((fork.process.image.as_str(), fork.process.user.name.as_str()), ("/bin/bash", "alice"));

    let program = Process { cwd: String::new(), ..running(child, "/bin/nc", "nc -l") };
    let mut exec = activity(ProcessOp::Exec, program, Some(shell));
    table.observe(&mut exec, None, 3);
    let parent = exec.parent.unwrap();
    assert_eq!((parent.image.as_str(), parent.command_line.as_str()), ("/bin/bash", "bash -i"));
    assert_eq!(exec.process.cwd, "/home/alice", "an exec keeps the directory");

    let mut exit = activity(ProcessOp::Exit, bare(child), None);
    table.observe(&mut exit, None, 4);
    assert_eq!(exit.process.command_line, "nc -l");
    assert_eq!(exit.parent.unwrap().key, shell);
    assert_eq!(table.live_with_pid(11), None);
}

#[test]
fn an_exec_without_details_does_not_keep_the_old_program() {
    let mut table = ProcessTable::default();
    let child = key(11, 2);
    table.observe(&mut activity(ProcessOp::Found, running(child, "/bin/bash", "bash"), None), None, 1);
    let mut exec = activity(ProcessOp::Exec, bare(child), None);
    table.observe(&mut exec, None, 2);
    assert_eq!((exec.process.image.as_str(), exec.process.command_line.as_str()), ("", ""));
    assert_eq!(exec.process.user.name, "alice");
}

#[test]
fn ancestry_outlives_the_parent_and_reparenting() {
    let (init, daemon, middle, worker) = (key(1, 0), key(20, 1), key(21, 2), key(22, 3));
    let mut table = ProcessTable::default();
    table.observe(&mut activity(ProcessOp::Found, running(init, "/sbin/init", "init"), None), None, 1);
    table.observe(&mut activity(ProcessOp::Found, running(daemon, "/bin/d", "d"), Some(init)), None, 1);
    table.observe(&mut activity(ProcessOp::Fork, bare(middle), Some(daemon)), None, 2);
    table.observe(&mut activity(ProcessOp::Fork, bare(worker), Some(middle)), None, 3);
    table.observe(&mut activity(ProcessOp::Exit, bare(middle), Some(daemon)), None, 4);
    let mut exec = activity(ProcessOp::Exec, running(worker, "/bin/w", "w"), Some(init));
    table.observe(&mut exec, None, 5);
    assert_eq!(exec.parent.unwrap().image, "/sbin/init", "the event says who the parent is now");
    let pids: Vec<u32> = table.ancestors(&worker).iter().map(|p| p.key.pid).collect();
    assert_eq!(pids, [21, 20, 1], "the table says who created whom");
}

#[test]
fn a_fork_on_behalf_of_the_parent_inherits_from_who_forked() {
    let (manager, runtime, child) = (key(5, 1), key(6, 2), key(7, 3));
    let mut table = ProcessTable::default();
    table.observe(&mut activity(ProcessOp::Found, running(manager, "/bin/manager", "m"), None), None, 1);
    table.observe(&mut activity(ProcessOp::Found, running(runtime, "/bin/runtime", "r"), None), None, 1);
    let mut fork = activity(ProcessOp::Fork, bare(child), Some(manager));
    table.observe(&mut fork, Some(&runtime), 2);
    assert_eq!(fork.process.image, "/bin/runtime");
    assert_eq!(fork.parent.unwrap().image, "/bin/manager");
}

#[test]
fn a_parent_that_changed_its_user_is_known_by_the_new_one() {
    let (server, worker, shell) = (key(5, 1), key(6, 2), key(7, 3));
    let http = User { uid: "33".into(), name: "www-data".into() };
    let mut table = ProcessTable::default();
    table.observe(&mut activity(ProcessOp::Found, running(server, "/bin/httpd", "h"), None), None, 1);
    table.observe(&mut activity(ProcessOp::Fork, bare(worker), Some(server)), None, 2);
    let mut fork = activity(ProcessOp::Exec, running(shell, "/bin/sh", "sh"), Some(worker));
    fork.parent.as_mut().unwrap().user = http.clone();
    table.observe(&mut fork, None, 3);
    assert_eq!(table.get(&worker).unwrap().user, http);
    assert_eq!(table.get(&server).unwrap().user.name, "alice");
}

#[test]
fn ended_processes_are_kept_a_while_and_circles_end() {
    let limits = Limits { keep_ended: Duration::from_nanos(100), ..Limits::default() };
    let mut table = ProcessTable::new(limits);
    let (a, b) = (key(1, 1), key(2, 1));
    table.observe(&mut activity(ProcessOp::Found, running(a, "/a", "a"), Some(b)), None, 1);
    table.observe(&mut activity(ProcessOp::Found, running(b, "/b", "b"), Some(a)), None, 1);
    assert_eq!(table.ancestors(&a).len(), 1);
    table.observe(&mut activity(ProcessOp::Exit, bare(a), None), None, 10);
    table.observe(&mut activity(ProcessOp::Exit, bare(b), None), None, 111);
    // A parent of its own parent is no process of this world: it goes when room is needed.
    assert!(table.get(&a).is_some() && table.get(&b).is_some());
    let other = key(3, 1);
    table.observe(&mut activity(ProcessOp::Found, running(other, "/c", "c"), None), None, 112);
    table.observe(&mut activity(ProcessOp::Exit, bare(other), None), None, 120);
    table.observe(&mut activity(ProcessOp::Exit, bare(other), None), None, 220);
    assert!(table.get(&other).is_some());
    table.observe(&mut activity(ProcessOp::Exit, bare(other), None), None, 221);
    assert!(table.get(&other).is_none());
}

#[test]
fn what_links_an_orphan_to_its_roots_is_kept_as_long_as_the_orphan_lives() {
    let limits = Limits { keep_ended: Duration::from_nanos(100), ..Limits::default() };
    let mut table = ProcessTable::new(limits);
    let (root, middle, lower, orphan) = (key(10, 1), key(11, 2), key(12, 3), key(13, 4));
    table.observe(&mut activity(ProcessOp::Found, running(root, "/bin/a", "a"), None), None, 1);
    for (child, parent) in [(middle, root), (lower, middle), (orphan, lower)] {
        table.observe(&mut activity(ProcessOp::Fork, bare(child), Some(parent)), None, 2);
    }
    for gone in [middle, lower] {
        table.observe(&mut activity(ProcessOp::Exit, bare(gone), None), None, 3);
    }
    // An exec replaces the entry; the links stay.
    table.observe(&mut activity(ProcessOp::Exec, running(orphan, "/bin/b", "b"), None), None, 1_000);
    assert_eq!(table.live_descendants(&root), [orphan]);
    assert_eq!(table.ancestors(&orphan).len(), 3);

    table.observe(&mut activity(ProcessOp::Exit, bare(orphan), None), None, 2_000);
    table.observe(&mut activity(ProcessOp::Exit, bare(orphan), None), None, 3_000);
    assert_eq!(table.len(), 1, "only the root lives");
    assert!(table.links.is_empty() && table.children.is_empty());
}

fn steps() -> impl Strategy<Value = Vec<(u8, u32, u64, u32, u64, usize, u64)>> {
    // What, pid, start, parent's pid, parent's start, length of the command line, time since the last.
    prop::collection::vec((0u8..4, 1u32..12, 0u64..3, 1u32..12, 0u64..3, 0usize..200, 0u64..40), 0..200)
}

proptest! {
    #[test]
    fn the_table_keeps_its_limits_and_its_books(steps in steps()) {
        let limits =
            Limits { processes: 8, bytes: 2_500, keep_ended: Duration::from_nanos(100) };
        let mut table = ProcessTable::new(limits);
        let mut now = 0;
        for (op, pid, start, parent_pid, parent_start, len, later) in steps {
            now += later;
            let op =
                [ProcessOp::Fork, ProcessOp::Exec, ProcessOp::Exit, ProcessOp::Found][usize::from(op)];
            let (key, parent) = (key(pid, start), key(parent_pid, parent_start));
            let process = Process { command_line: "x".repeat(len), ..bare(key) };
            let mut seen = activity(op, process.clone(), Some(parent));
            if later % 3 == 0 {
                seen.parent.as_mut().unwrap().user = User { uid: len.to_string(), name: String::new() };
            }
            table.observe(&mut seen, None, now);

            prop_assert_eq!(seen.process.key, key);
            if len > 0 {
                prop_assert_eq!(&seen.process.command_line, &process.command_line);
            }
            prop_assert!(table.len() <= limits.processes);
            let kept = table.live.len() + table.ended.len() + table.links.len();
            prop_assert_eq!(kept, table.len());
            let mut children = HashMap::default();
            for parent in table.entries.values().filter_map(|e| e.parent) {
                *children.entry(parent).or_default() += 1;
            }
            prop_assert_eq!(&children, &table.children);
            prop_assert!(table.links.values().all(|link| children.contains_key(link)));
            prop_assert_eq!(table.live.len(), table.live_by_pid.len());
            let mut programs = HashMap::default();
            for entry in table.entries.values() {
                programs.insert(Arc::as_ptr(&entry.program), entry.program.bytes());
            }
            prop_assert_eq!(programs.values().sum::<usize>(), table.bytes);
            prop_assert!(table.bytes <= limits.bytes || table.len() == 1);
            if op != ProcessOp::Exit {
                prop_assert_eq!(table.live_with_pid(pid), Some(key), "the newest is never forgotten");
            }
            prop_assert!(table.ancestors(&key).len() < limits.processes);
        }
    }
}

/// A terminal server or a fork bomb: more processes than there is room for. The oldest go first, and are counted.
#[test]
fn a_hundred_thousand_processes_stay_within_the_limits() {
    let mut table = ProcessTable::default();
    let root = key(1, 1);
    table.observe(&mut activity(ProcessOp::Found, running(root, "/sbin/init", "init"), None), None, 1);
    for n in 0..100_000u32 {
        let child = key(1000 + n, 2 + u64::from(n));
        let program = running(child, "/usr/bin/worker", &format!("worker --number {n}"));
        table.observe(&mut activity(ProcessOp::Exec, program, Some(root)), None, 2 + u64::from(n));
    }
    let limits = Limits::default();
    assert_eq!(table.len(), limits.processes);
    assert_eq!(table.forgotten(), 100_001 - limits.processes as u64);
    assert!(table.bytes <= limits.bytes);
    // The newest is known; the first is not, and nobody takes another for it.
    let newest = key(100_999, 100_001);
    assert_eq!(table.get(&newest).unwrap().command_line, "worker --number 99999");
    assert_eq!(table.live_with_pid(100_999), Some(newest));
    assert_eq!((table.get(&key(1000, 2)), table.live_with_pid(1000)), (None, None));
    // All end; nothing is left but what was kept for a while.
    for n in 0..100_000u32 {
        let child = key(1000 + n, 2 + u64::from(n));
        table.observe(&mut activity(ProcessOp::Exit, bare(child), None), None, 200_000);
    }
    let later = 200_000 + limits.keep_ended.as_nanos() as u64 + 1;
    table.observe(&mut activity(ProcessOp::Found, running(key(7, 9), "/bin/a", "a"), None), None, later);
    assert_eq!(table.len(), 1);
}

/// Pids go round three times while one process of the first round lives on.
#[test]
fn when_pids_come_again_they_are_others() {
    let mut table = ProcessTable::default();
    let (root, stays) = (key(1, 1), key(300, 2));
    table.observe(&mut activity(ProcessOp::Found, running(root, "/sbin/init", "init"), None), None, 1);
    table.observe(&mut activity(ProcessOp::Exec, running(stays, "/bin/stays", "stays"), Some(root)), None, 2);
    let mut at = 3;
    for round in 0..3u64 {
        for pid in (2..400u32).filter(|pid| *pid != 300) {
            at += 1;
            let own = key(pid, at);
            let program = running(own, "/bin/short", &format!("round {round}"));
            // The end of the one before was lost: nobody told of it.
            table.observe(&mut activity(ProcessOp::Exec, program, Some(stays)), None, at);
            assert_eq!(table.live_with_pid(pid), Some(own));
        }
    }
    assert_eq!(table.get(&stays).unwrap().image, "/bin/stays");
    let live = table.live_descendants(&stays);
    assert_eq!(live.len(), 397);
    let rounds = live.iter().map(|key| table.get(key).unwrap().command_line);
    assert!(rounds.into_iter().all(|line| line == "round 2"), "those of before count as ended");
}
