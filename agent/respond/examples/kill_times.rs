//! Measures how fast process trees die: `cargo run -p wardline-respond --example kill_times`.
//!
//! Every process that it kills is one that it has started.

#[cfg(target_os = "linux")]
fn main() {
    use std::process::{Command, Stdio};
    use std::time::{Duration, Instant};
    use wardline_event::ProcessKey;
    use wardline_respond::linux::procfs::{Children, ChildrenSource, Stat};
    use wardline_respond::{LinuxResponder, Protected, Responder};

    fn below(pid: u32) -> usize {
        let children = Children::look(ChildrenSource::detect()).and_then(|c| c.of(pid)).unwrap_or_default();
        children.len() + children.into_iter().map(below).sum::<usize>()
    }

    let shell = |script: &str| {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command
    };
    let mut responder = LinuxResponder::new(Protected::default()).expect("/proc is readable");
    println!(
        "{:<26} {:>5} {:>10} {:>12} {:>12} {:>12}",
        "what", "runs", "processes", "target p50", "all p50", "all p99"
    );
    let ten =
        "for i in 1 2 3 4 5 6 7 8 9 10; do sh -c 'for j in 1 2 3 4; do sleep 60 & done; wait' & done; wait";
    let forking = "i=0; while [ $i -lt 100 ]; do (sleep 60 & wait) & i=$((i+1)); done; wait";
    for (what, script, ready, runs) in [
        ("one process", "exec sleep 60", 0, 200),
        ("a tree of 51", ten, 50, 50),
        ("forking, at most 201", forking, 40, 50),
    ] {
        let (mut target, mut all, mut killed) = (Vec::new(), Vec::new(), 0);
        for _ in 0..runs {
            let mut child = shell(script).spawn().expect("a shell starts");
            let deadline = Instant::now() + Duration::from_secs(20);
            while below(child.id()) < ready && Instant::now() < deadline {
                std::thread::yield_now();
            }
            let start_ticks = Stat::of(child.id()).ok().flatten().expect("the child lives").start_ticks;
            let key = ProcessKey { boot: responder.boot(), start_ticks, pid: child.id() };
            let report = responder.kill_tree(&key, &[]).expect("our own child can be killed");
            child.wait().expect("our own child can be waited for");
            assert!(report.succeeded(), "{report:?}");
            target.extend(report.target_dead_after);
            all.push(report.took);
            killed += report.killed.len();
        }
        target.sort_unstable();
        all.sort_unstable();
        let at = |times: &[Duration], percent: usize| times[(times.len() - 1) * percent / 100];
        println!(
            "{what:<26} {runs:>5} {:>10} {:>12.3?} {:>12.3?} {:>12.3?}",
            killed / runs,
            at(&target, 50),
            at(&all, 50),
            at(&all, 99)
        );
    }
}

#[cfg(not(target_os = "linux"))]
fn main() {
    println!("skipped: needs Linux");
}
