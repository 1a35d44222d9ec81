//! Parts of `./bench agent`: a storm of programs, and an agent that watches it.
//!
//! `exec_storm storm STARTS PROGRAM [ARGUMENT…]` starts a program again and again, as fast as it goes, by a loop of a shell
//! for each processor; `tiny` is one that ends at once, written for this. Prints time on the processors for each start and the pace.
//!
//! `exec_storm agent [--idle] [--rules PATH]…` is the agent's way from the kernel to the spool, with all of Wardline's
//! rules and those named, but for the hub: sensor, matching, decision, encoding, and a spool on disk in a temporary
//! folder. It has no policy, so it kills nothing. Says `ready` on standard output, works until standard input closes,
//! takes in what waits, and prints its books, its time on the processors, and how long after the kernel saw the programs
//! with `wardline-drill` on their command line they were decided about. `--idle` loads the kernel's programs and reads
//! nothing, so that what they cost can be told from the rest.

use std::error::Error;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};
use serde_json::json;
use wardline_agent::clock::{Clock, SystemClock};
use wardline_agent::guard::{Guard, Parts, Ruleset};
use wardline_agent::known_hubs::KnownHubs;
use wardline_agent::outbox::{Budget, Outbox};
use wardline_agent::running::hurry;
use wardline_agent::state::{Identity, StateDir};
use wardline_event::{Body, BootId, DeviceId, ProcessOp, Timestamp};
use wardline_respond::{LinuxResponder, Protected};
use wardline_sense::Sensor;
use wardline_sense_linux::{EbpfSensor, Options, SharedTable};
use wardline_wire::CommandSigner;

/// An executable of 129 bytes for x86-64 that calls `exit(0)`: header, one segment, three instructions.
fn tiny_program() -> Vec<u8> {
    let mut out = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    let u16s = |out: &mut Vec<u8>, numbers: &[u16]| numbers.iter().for_each(|n| out.extend(n.to_le_bytes()));
    let u64s = |out: &mut Vec<u8>, numbers: &[u64]| numbers.iter().for_each(|n| out.extend(n.to_le_bytes()));
    // Executable, x86-64, version 1; entry; where the segment's header is.
    u16s(&mut out, &[2, 62, 1, 0]);
    u64s(&mut out, &[0x40_0078, 64, 0]);
    u16s(&mut out, &[0, 0, 64, 56, 1, 0, 0, 0]);
    // Loaded, readable and executable, the whole file.
    u16s(&mut out, &[1, 0, 5, 0]);
    u64s(&mut out, &[0, 0x40_0000, 0x40_0000, 129, 129, 0x1000]);
    out.extend(b"\xb8\x3c\0\0\0\x31\xff\x0f\x05");
    out
}

/// Seconds of user and system time of this process's children that ended. proc_pid_stat(5) counts in hundredths.
fn children_seconds() -> Result<f64, Box<dyn Error>> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let (_, fields) = stat.rsplit_once(')').ok_or("/proc/self/stat is of an unknown form")?;
    let fields: Vec<f64> = fields.split_whitespace().map(|f| f.parse().unwrap_or(0.0)).collect();
    Ok((fields[13] + fields[14]) / 100.0)
}

fn seconds(clock: ClockId) -> f64 {
    let time = clock_gettime(clock);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

fn storm(starts: usize, command: &[String]) -> Result<(), Box<dyn Error>> {
    // Neither below /tmp nor hidden: rules have an eye on what is started there.
    let folder = tempfile::Builder::new().prefix("wardline-bench-").tempdir_in("/var/lib")?;
    let mut command = command.to_vec();
    if command[0] == "tiny" {
        let tiny = folder.path().join("tiny");
        std::fs::write(&tiny, tiny_program())?;
        std::fs::set_permissions(&tiny, std::fs::Permissions::from_mode(0o755))?;
        command[0] = tiny.display().to_string();
    }
    let workers = std::thread::available_parallelism()?.get();
    let (own, children) = (seconds(ClockId::ProcessCPUTime), children_seconds()?);
    let began = Instant::now();
    let each = starts / workers;
    let script = format!("i=0; while [ $i -lt {each} ]; do \"$@\" || exit 1; i=$((i+1)); done");
    let mut shells = Vec::new();
    for _ in 0..workers {
        let mut shell = Command::new("/bin/sh");
        shell.args(["-c", &script, "storm"]).args(&command).stdin(Stdio::null());
        shells.push(shell.spawn()?);
    }
    for mut shell in shells {
        if !shell.wait()?.success() {
            return Err(format!("{command:?} could not be started each time").into());
        }
    }
    let count = (each * workers) as f64;
    let wall = began.elapsed().as_secs_f64();
    let cpu = seconds(ClockId::ProcessCPUTime) - own + children_seconds()? - children;
    println!("{}", json!({"starts": count, "cpu_us": cpu * 1e6 / count, "per_second": count / wall}));
    Ok(())
}

fn random() -> [u8; 16] {
    use std::sync::atomic::AtomicU64;
    static NEXT: AtomicU64 = AtomicU64::new(1);
    u128::from(NEXT.fetch_add(1, Ordering::Relaxed)).to_be_bytes()
}

fn rules(more: &[PathBuf]) -> Result<Ruleset, Box<dyn Error>> {
    fn collect(path: &Path, out: &mut Vec<(String, String)>) -> std::io::Result<()> {
        if path.is_dir() {
            for entry in std::fs::read_dir(path)? {
                collect(&entry?.path(), out)?;
            }
        } else if path.extension().is_some_and(|e| e == "yml") {
            out.push((path.display().to_string(), std::fs::read_to_string(path)?));
        }
        Ok(())
    }
    let mut files = Vec::new();
    for path in more {
        collect(path, &mut files)?;
    }
    let own = wardline_content::rules().iter().map(|r| (r.path, r.text));
    let (rules, problems) = Ruleset::load(own.chain(files.iter().map(|(p, t)| (p.as_str(), t.as_str()))));
    for problem in problems {
        eprintln!("{problem}; this rule is not in force");
    }
    Ok(rules)
}

fn guard(
    rules: Ruleset,
    table: SharedTable,
    outbox: &Arc<Outbox>,
    dir: &Path,
) -> Result<Guard, Box<dyn Error>> {
    let identity = Identity {
        device: DeviceId(1),
        hub: String::new(),
        command_key: CommandSigner::from_seed(&[1; 32]).key(),
        enrolled: Timestamp(0),
        key_der: vec![],
        certificate_der: vec![],
        authority_der: vec![],
    };
    Ok(Guard::new(Parts {
        state: StateDir::open(dir)?,
        identity,
        boot: std::fs::read_to_string("/proc/sys/kernel/random/boot_id")?.parse::<BootId>()?,
        rules,
        responder: Box::new(LinuxResponder::new(Protected::default())?),
        outbox: Arc::clone(outbox),
        clock: Arc::new(SystemClock),
        random,
        processes: table,
        kernel_rules: None,
        hubs: KnownHubs::default(),
    })?)
}

fn agent(idle: bool, more: &[PathBuf]) -> Result<(), Box<dyn Error>> {
    let dir = tempfile::tempdir()?;
    let rules = rules(more)?;
    let rule_count = rules.len();
    let table = SharedTable::default();
    let mut sensor = EbpfSensor::open(&Options::default(), Arc::clone(&table))?;
    let outbox = Arc::new(Outbox::open(&dir.path().join("spool"), Budget::default(), random)?);
    // As the agent has it: orders and heartbeats lock the guard, too.
    let guard = Mutex::new(guard(rules, table, &outbox, dir.path())?);
    let stopping = Arc::new(AtomicBool::new(false));
    {
        let stopping = Arc::clone(&stopping);
        std::thread::spawn(move || {
            let _ = std::io::stdin().read_to_end(&mut Vec::new());
            stopping.store(true, Ordering::Relaxed);
        });
    }
    let scribe = {
        let (outbox, stopping) = (Arc::clone(&outbox), Arc::clone(&stopping));
        std::thread::spawn(move || {
            while !stopping.load(Ordering::Relaxed) {
                outbox.write(Duration::from_millis(200));
            }
            seconds(ClockId::ThreadCPUTime)
        })
    };
    println!("ready");
    std::io::stdout().flush()?;
    hurry();
    let began = seconds(ClockId::ThreadCPUTime);
    let mut decided = Vec::new();
    let (mut quiet, mut asked) = (0, Instant::now());
    // What is under way when it is to stop is still taken in.
    while quiet < 3 {
        if idle {
            std::thread::sleep(Duration::from_millis(100));
            quiet += u32::from(stopping.load(Ordering::Relaxed)) * 3;
            continue;
        }
        let mut any = false;
        sensor.poll(Duration::from_millis(200), &mut |sensed| {
            any = true;
            let boot_ns = sensed.boot_ns;
            let is_drill = matches!(&sensed.event.body, Body::Process(p)
                if p.op == ProcessOp::Exec && p.process.command_line.contains("wardline-drill"));
            if let Ok(mut guard) = guard.lock() {
                guard.on_event(sensed);
            }
            if is_drill {
                decided.push(SystemClock.boot_ns().saturating_sub(boot_ns) as f64 / 1e6);
            }
        })?;
        // As the agent does.
        if asked.elapsed() >= Duration::from_millis(250) {
            asked = Instant::now();
            for status in sensor.statuses() {
                if let Ok(mut guard) = guard.lock() {
                    guard.note_sensor(status);
                }
            }
        }
        if stopping.load(Ordering::Relaxed) {
            quiet += u32::from(!any);
        }
    }
    let reading = seconds(ClockId::ThreadCPUTime) - began;
    let writing = scribe.join().map_err(|_| "the scribe panicked")?;
    outbox.write(Duration::ZERO);
    decided.sort_by(f64::total_cmp);
    let at = |part: usize| decided.get(decided.len() * part / 100).copied();
    let books = sensor.accounts();
    let pages = std::fs::read_to_string("/proc/self/statm")?;
    let pages: f64 =
        pages.split_whitespace().nth(1).ok_or("/proc/self/statm is of an unknown form")?.parse()?;
    let findings = guard.lock().map_err(|_| "the guard panicked")?.heartbeat(outbox.events());
    let counters = findings.counters.unwrap_or_default();
    println!(
        "{}",
        json!({"rules": rule_count, "produced": books.produced, "lost": books.total_lost(),
               "delivered": books.delivered, "truncated": books.truncated, "reading_s": reading,
               "writing_s": writing, "rss_mb": pages * rustix::param::page_size() as f64 / 1_048_576.0,
               "findings": counters.findings, "spool_dropped": counters.spool_dropped,
               "decided": decided.len(), "decided_p50_ms": at(50), "decided_p99_ms": at(99)})
    );
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["storm", starts, _, ..] => storm(starts.parse()?, &arguments[2..]),
        ["agent", ref options @ ..] => {
            let paths = options.windows(2).filter(|pair| pair[0] == "--rules").map(|pair| pair[1].into());
            agent(options.contains(&"--idle"), &paths.collect::<Vec<_>>())
        }
        _ => {
            Err("usage: exec_storm storm STARTS PROGRAM [ARGUMENT…] | agent [--idle] [--rules PATH]…".into())
        }
    }
}
