//! What verdicts of the kernel half cost, and how soon what they name is dead. Needs root, and to be alone:
//!
//!     cargo run --release -p wardline-sense-linux --example verdict_cost -- [RUNS]
//!
//! Runs a program that a rule names so many times, killed by the kernel half; then, without tables, killed by the reader
//! as soon as it is told, which is the least that an engine in user space needs. Then starts `/bin/true` as often, with
//! the tables of Wardline's own rules and without, and prints what the kernel counted of the program at exec.
#![allow(clippy::unwrap_used, reason = "a measurement fails by panicking")]

use std::collections::HashMap;
use std::fs;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use wardline_event::{Body, ProcessOp};
use wardline_sense::{ProcessTable, Sensor};
use wardline_sense_linux::{EbpfSensor, Options, Watches};
use wardline_sigma::Rule;
use wardline_sigma::verdict::{Terms, Verdicts};

const STATS: &str = "/proc/sys/kernel/bpf_stats_enabled";

fn tables<'r>(rules: impl IntoIterator<Item = &'r Rule>) -> Vec<u8> {
    let (verdicts, _) = Verdicts::of(rules.into_iter().enumerate(), &Terms::linux_program(&[]));
    println!("branches, machines, cells: {:?}", verdicts.used());
    verdicts.to_bytes()
}

/// Starts it so many times under a shell, and gives the nanoseconds from each exec to its end.
fn deaths(sensor: &mut EbpfSensor, program: &str, runs: usize, kill: bool) -> Vec<u64> {
    let script = r#"i=0; while [ $i -lt "$1" ]; do "$0" 30 EVIL; i=$((i + 1)); done"#;
    let mut shell = Command::new("/bin/sh")
        .args(["-c", script, program, &runs.to_string()])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let (mut began, mut took) = (HashMap::new(), Vec::new());
    let until = Instant::now() + Duration::from_mins(5);
    while took.len() < runs && Instant::now() < until {
        let mut sink = |sensed: wardline_sense::Sensed| {
            let Body::Process(p) = &sensed.event.body else { return };
            let pid = p.process.key.pid;
            if p.op == ProcessOp::Exec && p.process.image == program {
                began.insert(pid, sensed.boot_ns);
                if kill {
                    let pid = rustix::process::Pid::from_raw(pid.cast_signed()).unwrap();
                    let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
                }
            } else if p.op == ProcessOp::Exit
                && let Some(at) = began.remove(&pid)
            {
                took.push(sensed.boot_ns - at);
            }
        };
        sensor.poll(Duration::from_millis(100), &mut sink).unwrap();
    }
    let _ = shell.wait();
    took.sort_unstable();
    took
}

/// Nanoseconds and runs of the program at exec, as the kernel counted them.
fn counted() -> (u64, u64) {
    let shown = Command::new("bpftool").args(["prog", "show", "name", "on_exec_decides"]).output().unwrap();
    let text = String::from_utf8_lossy(&shown.stdout).into_owned();
    let number = |name: &str| {
        let mut words = text.split_whitespace();
        words.find(|word| *word == name).and_then(|_| words.next()?.parse().ok()).unwrap_or(0)
    };
    (number("run_time_ns"), number("run_cnt"))
}

fn cost(sensor: &mut EbpfSensor, runs: usize) -> f64 {
    let before = counted();
    for _ in 0..runs {
        assert!(Command::new("/bin/sh").args(["-c", "/bin/true; :"]).status().unwrap().success());
        sensor.poll(Duration::ZERO, &mut |_| {}).unwrap();
    }
    let after = counted();
    (after.0 - before.0) as f64 / (after.1 - before.1) as f64
}

fn main() {
    let runs: usize = std::env::args().nth(1).map_or(200, |runs| runs.parse().unwrap());
    let options = Options { watches: Watches::none(), canary: None, ..Options::default() };
    let mut sensor = EbpfSensor::open(&options, Arc::new(Mutex::new(ProcessTable::default()))).unwrap();
    let mut rules = sensor.kernel_rules().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().canonicalize().unwrap().join("sleeper");
    fs::copy("/bin/sleep", &program).unwrap();
    let program = program.to_str().unwrap();
    let own = format!(
        "title: t\nlogsource: {{product: linux, category: process_creation}}\ndetection:\n  a: {{Image: {program}, CommandLine|endswith: ' EVIL'}}\n  condition: a\n"
    );
    let own = Rule::parse(&own, "own").unwrap();
    let percentiles = |took: &[u64]| {
        let at = |p: usize| took.get((took.len() * p / 100).min(took.len().saturating_sub(1))).copied();
        let us = |ns: Option<u64>| ns.map_or(f64::NAN, |ns| ns as f64 / 1000.0);
        format!(
            "{} of {runs}: p50 {:.0} µs, p99 {:.0} µs, max {:.0} µs",
            took.len(),
            us(at(50)),
            us(at(99)),
            us(took.last().copied())
        )
    };

    rules.follow(Some(&tables(&own))).unwrap();
    println!("exec to end, by the kernel: {}", percentiles(&deaths(&mut sensor, program, runs, false)));
    rules.follow(None).unwrap();
    println!("exec to end, by the reader: {}", percentiles(&deaths(&mut sensor, program, runs, true)));

    let content: Vec<Rule> = wardline_content::rules()
        .iter()
        .filter(|rule| rule.path.starts_with("linux/") && rule.text.contains("response: kill"))
        .flat_map(|rule| Rule::parse(rule.text, rule.path).unwrap())
        .collect();
    let content = tables(&content);
    let stats = fs::read_to_string(STATS).unwrap();
    fs::write(STATS, "1").unwrap();
    for round in 1..=3 {
        rules.follow(None).unwrap();
        let without = cost(&mut sensor, runs);
        rules.follow(Some(&content)).unwrap();
        let with = cost(&mut sensor, runs);
        println!(
            "round {round}: at exec {without:.0} ns without tables, {with:.0} ns with those of Wardline's rules"
        );
    }
    fs::write(STATS, stats.trim()).unwrap();
}
