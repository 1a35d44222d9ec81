//! Measures how fast the isolation is put in place. Refuses to run where there is anything to cut off: give it an empty
//! network namespace of its own, `unshare --net cargo run -p wardline-respond --example isolate_times`.

#[cfg(target_os = "linux")]
fn main() {
    use std::time::{Duration, Instant};
    use wardline_respond::IsolationSpec;
    use wardline_respond::linux::nft;

    let interfaces = std::fs::read_to_string("/proc/self/net/dev").expect("/proc is readable");
    let mut names = interfaces.lines().skip(2).filter_map(|l| l.split_once(':')).map(|(name, _)| name.trim());
    assert!(
        names.all(|n| n == "lo"),
        "this network namespace is in use: run me in an empty one, see the top of my source"
    );

    let hubs = ["10.9.0.2:8443", "[fd09::2]:8443"].map(|h| h.parse().expect("an address"));
    let spec = IsolationSpec::to_hubs(hubs);
    let (mut isolate, mut release) = (Vec::new(), Vec::new());
    for _ in 0..200 {
        isolate.push(nft::isolate(&spec).expect("root in a namespace of its own").took);
        let began = Instant::now();
        nft::remove(nft::ISOLATION).expect("root in a namespace of its own");
        release.push(began.elapsed());
    }
    for (what, mut times) in [("isolate", isolate), ("release", release)] {
        times.sort_unstable();
        let at = |percent: usize| -> Duration { times[(times.len() - 1) * percent / 100] };
        println!("{what}: p50 {:.3?}, p99 {:.3?} over {} runs", at(50), at(99), times.len());
    }
}

#[cfg(not(target_os = "linux"))]
fn main() {
    println!("skipped: needs Linux");
}
