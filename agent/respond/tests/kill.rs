//! Kills real processes, all of them made by the test that kills them.
//!
//! Every process of a test carries a mark in its environment, which its descendants inherit wherever they hide; the
//! mark says, independently of the code under test, who is left.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)] // The lint knows test functions, not their helpers.

mod common;

use std::fs;
use std::process::Command;
use std::time::Duration;

use common::{Den, key, root, until};

use wardline_event::{BootId, ProcessKey};
use wardline_respond::linux::kill::{Limits, Way, kill_tree};
use wardline_respond::linux::procfs::{ChildrenSource, Stat, boot_id};
use wardline_respond::{KillError, KillReport, LinuxResponder, Protected, Responder, Shield};

fn runs(key: &ProcessKey, image: &str) -> bool {
    fs::read_link(format!("/proc/{}/exe", key.pid)).is_ok_and(|e| e.ends_with(image))
}

/// All that the code under test can do on this kernel.
fn ways() -> Vec<Way> {
    let best = Way::detect();
    let signals = |source| Way { source, freezer: Err("not asked for".into()), limits: Limits::default() };
    let mut ways = vec![signals(ChildrenSource::Lists), signals(ChildrenSource::Scan)];
    if best.freezer.is_ok() {
        ways.push(Way { source: ChildrenSource::Scan, ..best.clone() });
        ways.push(best);
    }
    ways
}

fn kill(target: &ProcessKey, extra: &[ProcessKey]) -> Result<KillReport, KillError> {
    LinuxResponder::new(Protected::default()).unwrap().kill_tree(target, extra)
}

fn pids(report: &KillReport) -> Vec<u32> {
    let mut pids: Vec<u32> = report.killed.iter().map(|v| v.pid).collect();
    pids.sort_unstable();
    pids
}

fn sorted(keys: &[ProcessKey]) -> Vec<u32> {
    let mut pids: Vec<u32> = keys.iter().map(|k| k.pid).collect();
    pids.sort_unstable();
    pids
}

#[test]
fn a_single_process() {
    let den = Den::run(Command::new("sleep").arg("300"));
    den.wait_for(1);
    until("sleep", || fs::read_link(format!("/proc/{}/exe", den.child.id())).unwrap().ends_with("sleep"));
    let report = kill(&den.root(), &[]).unwrap();
    assert!(report.succeeded(), "{report:?}");
    assert_eq!(pids(&report), [den.child.id()]);
    assert!(report.killed[0].image.ends_with("/sleep"), "{report:?}");
    assert!(report.target_dead_after.unwrap() <= report.took);
    assert_eq!(den.alive(), []);
}

/// 1 + 7 + 7 × 6 = 50 shells and sleeps, and one in a session of its own that ignores what may be ignored.
#[test]
fn a_tree_of_51_and_nobody_outside_it() {
    let script = "setsid sh -c 'trap \"\" TERM HUP INT; while :; do sleep 300; done' & \
        for i in 1 2 3 4 5 6 7; do sh -c 'for j in 1 2 3 4 5; do sleep 300 & done; sleep 300 & wait' & done; wait";
    for way in ways() {
        let bystander = Den::run(Command::new("sleep").arg("300"));
        let den = Den::start(script);
        // The shell that ignores signals has a sleep of its own: 1 + 1 + 1 + 7 + 42.
        let all = den.wait_for(52);
        let report = kill_tree(&den.root(), &[], boot_id().unwrap(), &Protected::default(), &way).unwrap();
        assert!(report.succeeded(), "{report:?}");
        assert_eq!(pids(&report), sorted(&all), "{way:?}");
        assert_eq!(den.alive(), []);
        assert_eq!(bystander.wait_for(1).len(), 1);
    }
}

/// A process that forks as fast as it can, at most 200 times, each child forking once more, and the children of
/// which are killed by nobody else.
#[test]
fn a_tree_that_forks_while_it_is_killed() {
    for way in ways() {
        let den = Den::start("i=0; while [ $i -lt 100 ]; do (sleep 300 & wait) & i=$((i+1)); done; wait");
        until("some forks", || den.alive().len() > 10);
        let report = kill_tree(&den.root(), &[], boot_id().unwrap(), &Protected::default(), &way).unwrap();
        assert!(report.succeeded(), "{report:?}");
        assert_eq!(den.alive(), [], "nobody slipped away");
        assert!(report.killed.len() > 10);
    }
}

/// A parent's death continues stopped children of an orphaned process group. In a session of its own, every group
/// below the shell becomes one.
#[test]
fn orphaned_process_groups_do_not_wake_and_fork() {
    for _ in 0..5 {
        let den = Den::start(
            "exec setsid sh -c 'i=0; while [ $i -lt 30 ]; do sh -c \"sleep 0.01; sleep 300 & wait\" & i=$((i+1)); done; wait'",
        );
        until("children", || den.alive().len() > 20);
        let report = kill(&den.root(), &[]).unwrap();
        assert!(report.succeeded(), "{report:?}");
        assert_eq!(den.alive(), []);
    }
}

#[test]
fn a_reused_pid_is_not_killed() {
    let den = Den::run(Command::new("sleep").arg("300"));
    let root = den.root();
    let earlier = ProcessKey { start_ticks: root.start_ticks - 1, ..root };
    let other_boot = ProcessKey { boot: BootId(root.boot.0 ^ 1), ..root };
    let nobody = ProcessKey { pid: u32::MAX, ..root };
    for wrong in [earlier, other_boot, nobody, ProcessKey { pid: 0, ..root }] {
        let said = kill(&wrong, &[]).unwrap_err();
        assert!(matches!(said, KillError::Gone(key) if key == wrong), "{said}");
        assert!(matches!(kill(&wrong, &[earlier]).unwrap_err(), KillError::Gone(_)));
    }
    // It was not even stopped.
    assert_ne!(Stat::of(root.pid).unwrap().unwrap().state, 'T');
    assert_eq!(den.alive(), [root]);
}

/// A daemon forks twice, so that its parent is gone and pid 1 has it: only who watched knows whose it was.
#[test]
fn a_daemon_that_left_its_tree_dies_if_it_is_named() {
    let den = Den::start("(setsid sh -c 'sleep 300 & wait' &) ; exec sleep 300");
    // The target, the daemon and its child, once whoever stood between has gone.
    until("the daemon", || {
        den.alive().len() == 3 && den.alive().iter().filter(|k| runs(k, "sleep")).count() == 2
    });
    let all = den.alive();
    let root = den.root();
    let daemon = *all
        .iter()
        .find(|k| {
            let stat = Stat::of(k.pid).unwrap().unwrap();
            k.pid != root.pid && !all.iter().any(|p| p.pid == stat.ppid)
        })
        .unwrap();
    let report = kill(&root, &[daemon, ProcessKey { start_ticks: 1, ..daemon }]).unwrap();
    assert!(report.succeeded(), "{report:?}");
    assert_eq!(pids(&report), sorted(&all), "the daemon and its child too");
    assert_eq!(den.alive(), []);
}

#[test]
fn a_daemon_dies_even_if_the_target_has_ended() {
    let mut den = Den::start("(setsid sleep 300 &); exit 0");
    let root = den.root();
    den.child.wait().unwrap();
    let daemon = den.wait_for(1);
    let report = kill(&root, &daemon).unwrap();
    assert_eq!((pids(&report), report.target_dead_after), (sorted(&daemon), None));
    assert_eq!(den.alive(), []);
}

#[test]
fn zombies_count_as_dead() {
    // The shell becomes a sleep that never waits for the child that it inherits.
    let den = Den::start("true & exec sleep 300");
    let root = den.root();
    let zombie = || {
        let children =
            fs::read_to_string(format!("/proc/{0}/task/{0}/children", root.pid)).unwrap_or_default();
        let pid = children.split_whitespace().next()?.parse().ok()?;
        (Stat::of(pid).ok()??.state == 'Z').then(|| key(pid))?
    };
    until("a zombie", || zombie().is_some());
    let zombie = zombie().unwrap();
    assert!(matches!(kill(&zombie, &[]).unwrap_err(), KillError::Gone(_)));
    let report = kill(&root, &[zombie]).unwrap();
    assert!(report.succeeded());
    assert_eq!(pids(&report), [root.pid]);
}

/// A process whose first thread has ended shows as a zombie, while its other threads go on. Perl is part of every
/// Debian system.
#[test]
fn a_zombie_with_a_living_thread_is_not_dead() {
    let script = "use threads; threads->create(sub { sleep 300 }); syscall(60, 0);";
    if cfg!(not(target_arch = "x86_64"))
        || !Command::new("perl").args(["-Mthreads", "-e1"]).status().is_ok_and(|s| s.success())
    {
        println!("skipped: needs perl with threads on x86_64");
        return;
    }
    let den = Den::run(Command::new("perl").args(["-e", script]));
    let root = den.root();
    until("the first thread's end", || Stat::of(root.pid).unwrap().unwrap().state == 'Z');
    assert_eq!(den.alive(), [root], "the other thread lives");
    let report = kill(&root, &[]).unwrap();
    assert!(report.succeeded(), "{report:?}");
    assert_eq!(pids(&report), [root.pid]);
    assert!(report.killed[0].image.contains("perl"), "{report:?}");
    assert_eq!(den.alive(), []);
}

fn shield(target: u32, protected: Protected) -> Shield {
    let key = key(target).unwrap();
    match LinuxResponder::new(protected).unwrap().kill_tree(&key, &[]).unwrap_err() {
        KillError::Protected { victim, shield } => {
            assert_eq!(victim.pid, target);
            shield
        }
        other => panic!("{other}"),
    }
}

#[test]
fn protected_targets_are_refused() {
    assert_eq!(shield(1, Protected::default()), Shield::Init);
    assert_eq!(shield(std::process::id(), Protected::default()), Shield::Agent);
    let parent = Stat::of(std::process::id()).unwrap().unwrap().ppid;
    if parent > 1 {
        assert_eq!(shield(parent, Protected::default()), Shield::AgentAncestor);
    }
    // Kernel threads, if this pid namespace shows any.
    if Stat::of(2).unwrap().is_some_and(|s| s.name == "kthreadd") {
        assert_eq!(shield(2, Protected::default()), Shield::Kernel);
    }

    let den = Den::run(Command::new("sleep").arg("300"));
    let root = den.root();
    until("sleep", || fs::read_link(format!("/proc/{}/exe", root.pid)).unwrap().ends_with("sleep"));
    let exe = fs::read_link(format!("/proc/{}/exe", root.pid)).unwrap().display().to_string();
    let folder = format!("{}/*", exe.rsplit_once('/').unwrap().0);
    for pattern in [&exe, &folder] {
        let listed = Protected { executables: vec![pattern.clone()], ..Protected::default() };
        assert_eq!(shield(root.pid, listed), Shield::Listed { pattern: pattern.clone() });
    }
    // Another process of the agent, and what that one runs under.
    let agent = Den::start("sleep 300 & wait");
    let all = agent.wait_for(2);
    let courier = *all.iter().find(|k| k.pid != agent.child.id()).unwrap();
    let with_courier = || Protected { agent: vec![courier], ..Protected::default() };
    assert_eq!(shield(courier.pid, with_courier()), Shield::Agent);
    assert_eq!(shield(agent.child.id(), with_courier()), Shield::AgentAncestor);
    // None of them was even stopped.
    for process in all.iter().chain([&root]) {
        assert_ne!(Stat::of(process.pid).unwrap().unwrap().state, 'T');
    }
}

/// A program's name in its arguments, or a copy of it elsewhere, protects nobody.
#[test]
fn the_allow_list_looks_at_the_file_that_runs() {
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("sleep");
    fs::copy("/bin/sleep", &copy).unwrap();
    let den = Den::run(Command::new(&copy).arg("300"));
    until("the copy", || fs::read_link(format!("/proc/{}/exe", den.child.id())).is_ok_and(|e| e == copy));
    let listed =
        Protected { executables: vec!["/bin/sleep".into(), "/usr/bin/sleep".into()], ..Protected::default() };
    assert!(LinuxResponder::new(listed).unwrap().kill_tree(&den.root(), &[]).unwrap().succeeded());
    assert_eq!(den.alive(), []);
}

/// In a mount namespace of one's own, any file can be put under any path.
#[test]
fn a_path_forged_in_a_mount_namespace_protects_nobody() {
    if !root() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (listed, evil) = (folder.path().join("listed"), folder.path().join("evil"));
    for copy in [&listed, &evil] {
        fs::copy("/bin/sleep", copy).unwrap();
    }
    let path = listed.display().to_string();
    let protected = || Protected { executables: vec![path.clone()], ..Protected::default() };
    let run = |script: &str| {
        let den = Den::run(Command::new("unshare").args(["--mount", "sh", "-c", script]));
        until("the program", || runs(&den.root(), "listed"));
        den
    };
    let forged = run(&format!("mount --bind {} {path} && exec {path} 300", evil.display()));
    assert_eq!(fs::read_link(format!("/proc/{}/exe", forged.child.id())).unwrap(), listed);
    let report = LinuxResponder::new(protected()).unwrap().kill_tree(&forged.root(), &[]).unwrap();
    assert_eq!(pids(&report), [forged.child.id()]);
    // The real one is protected in such a namespace too: services run so. And here, when an update has replaced it.
    let genuine = run(&format!("exec {path} 300"));
    assert_eq!(shield(genuine.child.id(), protected()), Shield::Listed { pattern: path.clone() });
    let updated = Den::run(Command::new(&listed).arg("300"));
    fs::remove_file(&listed).unwrap();
    until("the replaced program", || runs(&updated.root(), "listed (deleted)"));
    assert_eq!(shield(updated.child.id(), protected()), Shield::Listed { pattern: path });
}

#[test]
fn a_protected_descendant_is_spared_and_reported_but_not_its_children() {
    let folder = tempfile::tempdir().unwrap();
    let guarded = folder.path().join("guarded-sh");
    fs::copy("/bin/sh", &guarded).unwrap();
    let den = Den::start(&format!(
        "{} -c 'sleep 300 & sleep 300 & wait; sleep 300' & sleep 300 & wait",
        guarded.display()
    ));
    let all = den.wait_for(5);
    // A child that has not begun its own program yet is still one of the protected program.
    until("the sleeps", || den.alive().iter().filter(|k| runs(k, "sleep")).count() == 3);
    let spared =
        *all.iter().find(|k| fs::read_link(format!("/proc/{}/exe", k.pid)).unwrap() == guarded).unwrap();
    let listed = Protected { executables: vec![guarded.display().to_string()], ..Protected::default() };
    let report = LinuxResponder::new(listed).unwrap().kill_tree(&den.root(), &[]).unwrap();
    assert_eq!(report.refused.len(), 1, "{report:?}");
    let (victim, why) = &report.refused[0];
    assert_eq!((victim.pid, victim.image.as_str()), (spared.pid, guarded.to_str().unwrap()));
    assert!(why.contains("never_kill"), "{why}");
    let expected: Vec<ProcessKey> = all.into_iter().filter(|k| *k != spared).collect();
    assert_eq!(pids(&report), sorted(&expected));
    assert!(den.alive().contains(&spared));
}

/// Somebody else's process, tried by somebody who is not root.
#[test]
fn without_the_right_the_error_says_what_is_needed() {
    if !root() {
        return;
    }
    let den = Den::run(Command::new("sleep").arg("300"));
    let root = den.root();
    let test = std::env::current_exe().unwrap();
    let reachable = tempfile::Builder::new()
        .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o755))
        .tempdir()
        .unwrap();
    let copy = reachable.path().join("test");
    fs::copy(test, &copy).unwrap();
    let out = Command::new("setpriv")
        .args(["--reuid=65534", "--clear-groups"])
        .arg(&copy)
        .args(["--exact", "helper_that_kills", "--nocapture"])
        .env("WARDLINE_KILL", root.to_string())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&out.stdout);
    assert!(said.contains("CAP_KILL"), "{said}{}", String::from_utf8_lossy(&out.stderr));
    assert_eq!(den.alive(), [root]);
}

/// A tree that does not come to rest in time is killed as far as it is known, and the report says so.
#[test]
fn a_tree_that_does_not_settle_is_killed_and_reported_as_incomplete() {
    let den = Den::start("sh -c 'sleep 300 & wait' & sleep 300 & wait");
    let all = den.wait_for(4);
    let limits = Limits { settle: Duration::ZERO, ..Limits::default() };
    let way = Way { source: ChildrenSource::Lists, freezer: Err("not asked for".into()), limits };
    let protected = Protected::default();
    let report = kill_tree(&den.root(), &[], boot_id().unwrap(), &protected, &way).unwrap();
    assert_eq!((pids(&report), report.complete, report.succeeded()), (sorted(&all), false, false));
    assert_eq!(den.alive(), []);
}

/// A tree larger than the number of files that may be open: the limit is raised; where it cannot be, the report says
/// that somebody is left, and who was seen is dead.
#[test]
fn a_tree_larger_than_the_file_limit() {
    for (limit, succeeds) in [("30:4096", true), ("30:30", false)] {
        let den = Den::start("i=0; while [ $i -lt 40 ]; do sleep 300 & i=$((i+1)); done; wait");
        den.wait_for(41);
        let out = Command::new("prlimit")
            .arg(format!("--nofile={limit}"))
            .arg(std::env::current_exe().unwrap())
            .args(["--exact", "helper_that_kills", "--nocapture"])
            .env("WARDLINE_KILL", den.root().to_string())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&out.stdout);
        assert!(
            said.contains(&format!("succeeded: {succeeds}")),
            "{said}{}",
            String::from_utf8_lossy(&out.stderr)
        );
        assert!(!den.alive().iter().any(|k| k.pid == den.child.id()), "the target is dead");
        assert_eq!(den.alive().is_empty(), succeeds);
    }
}

/// Not a test of its own: what the tests above run as somebody else.
#[test]
fn helper_that_kills() {
    if let Ok(target) = std::env::var("WARDLINE_KILL") {
        match kill(&target.parse().unwrap(), &[]) {
            Ok(report) => println!("succeeded: {} {report:?}", report.succeeded()),
            Err(e) => println!("{e}"),
        }
    }
}
