//! Isolates the network namespace that it runs in but for the hubs that it is told, and prints when: nanoseconds of
//! CLOCK_MONOTONIC at the order and when the kernel had switched. For `./bench agent`, which makes the namespace and calls its
//! only interface `cable`; refuses to run in any other.

#[cfg(target_os = "linux")]
fn main() {
    use wardline_respond::IsolationSpec;
    use wardline_respond::linux::nft;

    let interfaces = std::fs::read_to_string("/proc/self/net/dev").expect("/proc is readable");
    let mut names = interfaces.lines().skip(2).filter_map(|l| l.split_once(':')).map(|(name, _)| name.trim());
    assert!(names.all(|n| n == "lo" || n == "cable"), "run me in the namespace that ./bench agent makes");
    let hubs = std::env::args().skip(1).map(|h| h.parse().expect("an address and a port"));
    let spec = IsolationSpec::to_hubs(hubs);
    let now = || {
        let t = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
        t.tv_sec * 1_000_000_000 + t.tv_nsec
    };
    let ordered = now();
    nft::isolate(&spec).expect("root in a namespace of its own");
    println!("{ordered} {}", now());
}

#[cfg(not(target_os = "linux"))]
fn main() {
    println!("skipped: needs Linux");
}
