//! Measures how fast process trees stand still, in milliseconds: `cargo run --release -p wardline-respond --example
//! freeze_times`, as root. Prints one `figure value` per line.
//!
//! Every process that it stops is one that it has started, and so is every cgroup.

#[cfg(target_os = "linux")]
fn main() {
    use std::path::{Path, PathBuf};
    use std::process::{Child, Command, Stdio};
    use std::time::{Duration, Instant};
    use wardline_event::ProcessKey;
    use wardline_respond::linux::procfs::{Children, ChildrenSource, Stat};
    use wardline_respond::{LinuxResponder, Means, Protected};

    const RUNS: usize = 30;
    /// 1 + 10 + 40.
    const TREE: &str =
        "for i in 1 2 3 4 5 6 7 8 9 10; do sh -c 'for j in 1 2 3 4; do sleep 60 & done; wait' & done; wait";
    /// Forks until it has 100 children that each have one; most of it happens while it is stopped.
    const FORKING: &str = "i=0; while [ $i -lt 100 ]; do (sleep 60 & wait) & i=$((i+1)); done; wait";

    fn below(pid: u32) -> usize {
        let children = Children::look(ChildrenSource::detect()).and_then(|c| c.of(pid)).unwrap_or_default();
        children.len() + children.into_iter().map(below).sum::<usize>()
    }

    /// A cgroup of our own, and the process that began in it.
    struct Group(PathBuf, Child);

    impl Drop for Group {
        fn drop(&mut self) {
            let _ = std::fs::write(self.0.join("cgroup.kill"), "1");
            let _ = self.1.kill();
            let _ = self.1.wait();
            let deadline = Instant::now() + Duration::from_secs(5);
            while std::fs::remove_dir(&self.0).is_err() && Instant::now() < deadline {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
    }

    let responder = LinuxResponder::new(Protected::default()).expect("/proc is readable");
    if let Some(why) = responder.no_freezer() {
        println!("skipped: {why}");
        return;
    }
    let mounts = std::fs::read_to_string("/proc/self/mounts").expect("/proc is readable");
    let mount = mounts.lines().find(|l| l.split(' ').nth(2) == Some("cgroup2")).expect("there is a freezer");
    let mount = Path::new(mount.split(' ').nth(1).expect("a mount has a point"));

    for (figure, own, script, ready) in [
        ("freeze_own_ms", true, TREE, 50),
        ("stop_foreign_ms", false, TREE, 50),
        ("freeze_foreign_ms", false, FORKING, 40),
    ] {
        let mut times = Vec::new();
        for run in 0..RUNS {
            let folder = mount.join(format!("wl-bench-{}-{run}", std::process::id()));
            std::fs::create_dir(&folder).expect("a cgroup can be made");
            let enter =
                if own { format!("echo $$ > {}/cgroup.procs; ", folder.display()) } else { String::new() };
            let mut command = Command::new("/bin/sh");
            command.args(["-c", &format!("{enter}{script}")]);
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            let group = Group(folder, command.spawn().expect("a shell starts"));
            let pid = group.1.id();
            let deadline = Instant::now() + Duration::from_secs(20);
            while below(pid) < ready && Instant::now() < deadline {
                std::thread::yield_now();
            }
            let start_ticks = Stat::of(pid).ok().flatten().expect("the child lives").start_ticks;
            let key = ProcessKey { boot: responder.boot(), start_ticks, pid };
            let report = responder.stop_tree(&key, &[]).expect("our own child can be stopped").kill();
            assert!(report.succeeded(), "{report:?}");
            assert_eq!(own, report.means == Some(Means::OwnCgroup));
            times.push(report.still_after.expect("it was stopped").as_secs_f64() * 1000.0);
        }
        times.sort_by(f64::total_cmp);
        println!("{figure} {:.3}", times[RUNS / 2]);
        println!("{figure}_max {:.3}", times[RUNS - 1]);
    }
}

#[cfg(not(target_os = "linux"))]
fn main() {
    println!("skipped: needs Linux");
}
