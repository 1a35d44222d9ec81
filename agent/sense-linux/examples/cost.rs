//! What the eBPF sensor adds to a command: time on the processors, with and without it, in turns.
//!
//! `cargo run --release -p wardline-sense-linux --example cost -- ROUNDS COMMAND [ARGUMENT…]`
//!
//! Prints for each round the command's seconds of user and system time without and with the sensor (its programs run in
//! the command's own calls), the sensor's own seconds beside, and how many events it delivered.

use std::fs;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use wardline_sense::Sensor;
use wardline_sense_linux::{EbpfSensor, Options, SharedTable};

/// User and system time in seconds: this process's own, and that of the children that ended. proc_pid_stat(5) counts in
/// hundredths.
fn times() -> Option<(f64, f64)> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    let fields: Vec<f64> =
        stat.rsplit_once(')')?.1.split_whitespace().map(|f| f.parse().unwrap_or(0.0)).collect();
    let sum = |first: usize| Some((fields.get(first)? + fields.get(first + 1)?) / 100.0);
    Some((sum(11)?, sum(13)?))
}

fn run(command: &[String]) -> Result<f64, Box<dyn std::error::Error>> {
    let before = times().ok_or("/proc/self/stat is of an unknown form")?.1;
    let status =
        Command::new(&command[0]).args(&command[1..]).stdout(Stdio::null()).stderr(Stdio::null()).status()?;
    if !status.success() {
        return Err(format!("{command:?} ended with {status}").into());
    }
    Ok(times().ok_or("/proc/self/stat is of an unknown form")?.1 - before)
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (Some(rounds), true) = (arguments.first().and_then(|n| n.parse::<usize>().ok()), arguments.len() > 1)
    else {
        return Err("usage: cost ROUNDS COMMAND [ARGUMENT…]".into());
    };
    let command = &arguments[1..];
    run(command)?;
    let (mut without, mut with) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        let plain = run(command)?;
        let mut sensor = EbpfSensor::open(&Options::default(), SharedTable::default())?;
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let own = times().map_or(0.0, |t| t.0);
        let poller = std::thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                let _ = sensor.poll(Duration::from_millis(50), &mut |_| {});
            }
            sensor.accounts()
        });
        let seen = run(command)?;
        stop.store(true, Ordering::Relaxed);
        let accounts = poller.join().map_err(|_| "the sensor's thread panicked")?;
        let own = times().map_or(0.0, |t| t.0) - own;
        println!(
            "without {plain:.2} s, with {seen:.2} s, sensor {own:.2} s, delivered {:?}, lost {}",
            accounts.delivered,
            accounts.total_lost()
        );
        without.push(plain);
        with.push(seen);
    }
    let median = |times: &mut Vec<f64>| {
        times.sort_by(f64::total_cmp);
        times[times.len() / 2]
    };
    let (without, with) = (median(&mut without), median(&mut with));
    println!("medians: {without:.2} s and {with:.2} s, {:+.1} %", (with / without - 1.0) * 100.0);
    Ok(())
}
