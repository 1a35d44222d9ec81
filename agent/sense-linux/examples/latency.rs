//! Measures the time from the kernel's exec tracepoint to the sink, and a storm's accounts.
//!
//! `cargo run -p wardline-sense-linux --example latency [-- ebpf|connector] [RUNS]`

use std::process::Command;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use wardline_event::{Body, ProcessOp};
use wardline_sense_linux::{Options, Prefer, open};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut options = Options { prefer: Prefer::Ebpf, ..Options::default() };
    let mut runs: usize = 500;
    for argument in std::env::args().skip(1) {
        match argument.as_str() {
            "ebpf" => {}
            "connector" => options.prefer = Prefer::Connector,
            number => runs = number.parse()?,
        }
    }
    let mut opened = open(&options);
    let Some(sensor) = opened.sensors.first_mut() else {
        return Err(format!("no live sensor: {:?}", opened.statuses).into());
    };
    let children = std::thread::spawn(move || {
        for _ in 0..runs {
            let _ = Command::new("/bin/true").status();
        }
    });
    let (mut exec, mut quiet) = (Vec::new(), Vec::new());
    let mut last = 1;
    // Until the storm is over and nothing came any more.
    while !children.is_finished() || last > 0 {
        last = 0;
        sensor.poll(Duration::from_millis(200), &mut |sensed| {
            last += 1;
            let now = clock_gettime(ClockId::Boottime);
            let micros = (now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64)
                .saturating_sub(sensed.boot_ns)
                / 1000;
            if let Body::Process(activity) = &sensed.event.body {
                if activity.op == ProcessOp::Exec { &mut exec } else { &mut quiet }.push(micros);
            }
        })?;
    }
    for (name, times) in [("exec", &mut exec), ("fork and exit", &mut quiet)] {
        times.sort_unstable();
        let at = |part: usize| times.get(times.len() * part / 1000).copied().unwrap_or(0);
        println!("{name}: {} events, µs p50 {} p90 {} p99 {}", times.len(), at(500), at(900), at(990));
    }
    for status in sensor.statuses() {
        println!("{}: {} produced, {} lost", status.kind.title(), status.produced, status.lost);
    }
    Ok(())
}
