//! Freezes and kills trees in cgroups that the test itself made, fork bombs among them.
//!
//! A bomb stands in a cgroup that limits how many processes it may have, and goes with the test whatever happens.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)] // The lint knows test functions, not their helpers.

mod common;

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use common::{Den, root, until};
use wardline_event::ProcessKey;
use wardline_respond::linux::procfs::Stat;
use wardline_respond::{LinuxResponder, Means, Protected, Responder};

/// Cgroups of one test: one of v2, and where there is v1 also one that limits the number of processes.
struct Ring {
    v2: PathBuf,
    pids: Option<PathBuf>,
    /// One bomb at a time.
    _turn: MutexGuard<'static, ()>,
}

static TURN: Mutex<()> = Mutex::new(());

/// No bomb has more processes.
const MOST: u32 = 300;

impl Ring {
    /// None, with a word about it, where there is no cgroup v2 to write to.
    fn new() -> Option<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        if !root() {
            return None;
        }
        if let Some(why) = LinuxResponder::new(Protected::default()).unwrap().no_freezer() {
            assert!(std::env::var_os("CI").is_none(), "CI must run this with cgroup v2: {why}");
            println!("skipped: {why}");
            return None;
        }
        let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
        let point = |kind: &str, option: &str| {
            let found = mounts.lines().map(|l| l.split(' ').collect::<Vec<_>>());
            let mut found =
                found.filter(|l| l[2] == kind && (option.is_empty() || l[3].split(',').any(|o| o == option)));
            found.next().map(|l| PathBuf::from(l[1]))
        };
        let name = format!("wl-test-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let v2 = point("cgroup2", "").unwrap();
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let ring =
            Self { v2: v2.join(&name), _turn: turn, pids: point("cgroup", "pids").map(|p| p.join(&name)) };
        if ring.pids.is_none() {
            let _ = fs::write(v2.join("cgroup.subtree_control"), "+pids");
        }
        for folder in [Some(&ring.v2), ring.pids.as_ref()].into_iter().flatten() {
            fs::create_dir(folder).unwrap();
        }
        fs::write(ring.pids.as_ref().unwrap_or(&ring.v2).join("pids.max"), MOST.to_string()).unwrap();
        Some(ring)
    }

    /// A process that enters the cgroups before it becomes something else.
    fn run(&self, also_v2: bool, program: &str) -> Den {
        let folders = [also_v2.then_some(&self.v2), self.pids.as_ref()];
        let enter = folders
            .into_iter()
            .flatten()
            .map(|f| format!("echo $$ > {}/cgroup.procs || exit; ", f.display()));
        let enter: String = enter.collect();
        Den::run(Command::new("/bin/sh").args(["-c", &format!("{enter}{program}")]))
    }

    /// The processes in the test's cgroups.
    fn processes(&self) -> Vec<u32> {
        let folders = [Some(&self.v2), self.pids.as_ref()];
        let lists =
            folders.into_iter().flatten().map(|f| fs::read_to_string(f.join("cgroup.procs")).unwrap());
        let mut pids: Vec<u32> =
            lists.flat_map(|l| l.lines().map(|p| p.parse().unwrap()).collect::<Vec<_>>()).collect();
        pids.sort_unstable();
        pids.dedup();
        pids.retain(|pid| Stat::of(*pid).unwrap().is_some_and(|s| !matches!(s.state, 'Z' | 'X')));
        pids
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        let deadline = Instant::now() + Duration::from_secs(10);
        let _ = fs::write(self.v2.join("cgroup.freeze"), "0");
        loop {
            let _ = fs::write(self.v2.join("cgroup.kill"), "1");
            for pid in self.processes() {
                let _ = rustix::process::kill_process(
                    rustix::process::Pid::from_raw(pid as i32).unwrap(),
                    rustix::process::Signal::KILL,
                );
            }
            let mut gone = true;
            for folder in [Some(&self.v2), self.pids.as_ref()].into_iter().flatten() {
                gone &= fs::remove_dir(folder).is_ok() || !folder.exists();
            }
            if gone || Instant::now() > deadline {
                return;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

fn has_perl() -> bool {
    let has = Command::new("perl").arg("-e1").status().is_ok_and(|s| s.success());
    if !has {
        println!("skipped: needs perl");
    }
    has
}

fn ticks(key: &ProcessKey) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{}/stat", key.pid)).unwrap();
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

/// Every process forks as fast as it may and ends at random, so that children lose their parents all the time: nothing
/// can walk this tree. All of it is in one cgroup, whose first process is the target.
#[test]
fn a_fork_bomb_in_its_own_cgroup_cannot_outrun_the_freezer() {
    let Some(ring) = Ring::new() else { return };
    if !has_perl() {
        return;
    }
    let bomb = "exec perl -e '$root = $$; while (1) { my $p = fork; exit if $$ != $root && rand() < 0.1; \
                select(undef, undef, undef, 0.0005) if !defined $p; 1 while waitpid(-1, 1) > 0 }'";
    for _ in 0..3 {
        let den = ring.run(true, bomb);
        until("the bomb", || ring.processes().len() > 50);
        let report = LinuxResponder::new(Protected::default()).unwrap().kill_tree(&den.root(), &[]).unwrap();
        assert!(report.complete && report.survivors.is_empty(), "{report:?}");
        assert_eq!(report.means, Some(Means::OwnCgroup));
        assert!(ring.processes().is_empty(), "somebody is left");
    }
}

/// A tree that shares its cgroup with the test: signals stop it, and no process of it has ended to leave an orphan.
#[test]
fn a_forking_tree_in_a_shared_cgroup_is_stopped_in_time() {
    let Some(ring) = Ring::new() else { return };
    if !has_perl() {
        return;
    }
    let bomb = "exec perl -e 'while (1) { my $p = fork; select(undef, undef, undef, 0.001) if !defined $p }'";
    for _ in 0..3 {
        let den = ring.run(false, bomb);
        until("the bomb", || ring.processes().len() > 50);
        let report = LinuxResponder::new(Protected::default()).unwrap().kill_tree(&den.root(), &[]).unwrap();
        assert!(report.complete && report.survivors.is_empty(), "{report:?}");
        assert!(matches!(report.means, Some(Means::Signals { .. })), "{report:?}");
        assert!(ring.processes().is_empty(), "somebody is left");
    }
}

#[test]
fn a_tree_that_is_let_go_goes_on_where_it_was() {
    let Some(ring) = Ring::new() else { return };
    let responder = LinuxResponder::new(Protected::default()).unwrap();
    for own in [true, false] {
        let den = ring.run(own, "(while :; do :; done) & (while :; do :; done) & wait");
        let all = den.wait_for(3);
        let group = |key: &ProcessKey| fs::read_to_string(format!("/proc/{}/cgroup", key.pid)).unwrap();
        let before: Vec<String> = all.iter().map(group).collect();
        let frozen = responder.freeze_tree(&den.root(), &[]).unwrap();
        let report = frozen.report();
        assert!(report.complete, "{report:?}");
        assert_eq!(report.frozen.len(), 3);
        assert_eq!(report.means, Some(if own { Means::OwnCgroup } else { Means::MovedToCgroup }));
        // Not even a signal wakes them.
        for key in &all {
            let pid = rustix::process::Pid::from_raw(key.pid as i32).unwrap();
            rustix::process::kill_process(pid, rustix::process::Signal::CONT).unwrap();
        }
        let used: u64 = all.iter().map(ticks).sum();
        std::thread::sleep(Duration::from_millis(100));
        assert_eq!(all.iter().map(ticks).sum::<u64>(), used, "they stand still");
        frozen.thaw();
        assert_eq!(all.iter().map(group).collect::<Vec<_>>(), before);
        until("going on", || all.iter().map(ticks).sum::<u64>() > used);
        assert_eq!(den.alive().len(), 3);
    }
}

/// A cgroup in which somebody was before the target is not the target's: nobody else in it is so much as frozen.
#[test]
fn who_shares_the_cgroup_is_left_alone() {
    let Some(ring) = Ring::new() else { return };
    let bystander = ring.run(true, "exec sleep 300");
    until("the bystander", || ring.processes().len() == 1);
    // Starts are told in hundredths of a second.
    std::thread::sleep(Duration::from_millis(30));
    let den = ring.run(true, "sleep 300 & wait");
    until("the tree", || ring.processes().len() == 3);
    let report = LinuxResponder::new(Protected::default()).unwrap().kill_tree(&den.root(), &[]).unwrap();
    assert!(report.complete && report.killed.len() == 2, "{report:?}");
    assert!(matches!(report.means, Some(Means::Signals { .. })), "{report:?}");
    assert_eq!(ring.processes(), [bystander.child.id()]);
}

/// What the agent or those it runs under share is never frozen.
#[test]
fn the_agents_own_cgroup_is_never_frozen() {
    let Some(ring) = Ring::new() else { return };
    let den = ring.run(true, "sleep 300 & wait");
    until("the tree", || ring.processes().len() == 2);
    // A process of the agent's, in the same cgroup, younger than the target.
    let agent = ring.run(true, "exec sleep 300");
    until("the agent", || ring.processes().len() == 3);
    let protected = Protected { agent: vec![agent.root()], ..Protected::default() };
    let responder = LinuxResponder::new(protected).unwrap();
    let frozen = responder.freeze_tree(&den.root(), &[]).unwrap();
    assert_eq!(frozen.report().means, Some(Means::MovedToCgroup));
    assert_eq!(fs::read_to_string(ring.v2.join("cgroup.freeze")).unwrap().trim(), "0");
    assert_eq!(frozen.kill().killed.len(), 2);
    assert_eq!(agent.alive().len(), 1);
}

/// What an agent that was killed has left frozen goes on when the next one starts.
#[test]
fn the_next_agent_thaws_what_the_last_one_left() {
    let Some(ring) = Ring::new() else { return };
    let den = ring.run(false, "while :; do :; done");
    den.wait_for(1);
    // A pid that nobody has.
    let left = ring.v2.with_file_name("wardline").join("frozen-4999999-0");
    fs::create_dir(&left).unwrap();
    fs::write(left.join("cgroup.freeze"), "1").unwrap();
    fs::write(left.join("cgroup.procs"), den.child.id().to_string()).unwrap();
    let frozen = || fs::read_to_string(left.join("cgroup.events")).unwrap().contains("frozen 1");
    until("the freeze", frozen);
    let used = ticks(&den.root());
    LinuxResponder::new(Protected::default()).unwrap();
    until("going on", || ticks(&den.root()) > used);
    assert!(!left.exists());
}
