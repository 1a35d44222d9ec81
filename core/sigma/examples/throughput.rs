//! How many events per second the match call alone takes, on one core (time on the processor, where Linux tells).
//!
//!     cargo run --release -p wardline-sigma --example throughput RULES-DIR [EVENTS.jsonl]
//!
//! Events are JSON objects, one a line, with flat Sigma field names; `_logsource` holds `product`, `category` and
//! `service` (Windows process creation if it is not there). Without a file, made-up process starts are matched.
//! Prints one `name value` pair a line.

use std::path::Path;
use std::time::{Duration, Instant};
use std::{env, fs, io};

use serde_json::Value as Json;
use wardline_event::{
    Body, Event, EventId, Fields, Layouts, LogRecord, LogSource, Process, ProcessActivity, ProcessKey,
    ProcessOp, Timestamp, User,
};
use wardline_sigma::{Rule, RuleSet};

/// At least this long is measured, in whole rounds over the events.
const MEASURED: Duration = Duration::from_secs(3);

fn main() -> io::Result<()> {
    let mut arguments = env::args().skip(1);
    let Some(rules) = arguments.next() else {
        eprintln!("usage: throughput RULES-DIR [EVENTS.jsonl]");
        std::process::exit(2);
    };
    let started = Instant::now();
    let mut texts = Vec::new();
    collect(Path::new(&rules), &mut texts)?;
    let read = started.elapsed();
    let mut parsed = Vec::new();
    let mut refused = 0;
    for (origin, text) in &texts {
        match Rule::parse(text, origin) {
            Ok(rules) => parsed.extend(rules),
            Err(_) => refused += 1,
        }
    }
    let (set, errors) = RuleSet::compile_lossy(parsed);
    println!("rules {}", set.rules().len());
    println!("rules_refused {}", refused + errors.len());
    println!("read_ms {}", read.as_millis());
    println!("parse_ms {}", started.elapsed().saturating_sub(read).as_millis());

    match arguments.next() {
        Some(path) => {
            let mut layouts = Layouts::default();
            let text = fs::read_to_string(path)?;
            let lines = text.lines().filter(|l| !l.trim().is_empty());
            let events: Vec<LogRecord> = lines.map(|line| record(line, &mut layouts)).collect();
            measure(&set, &events);
        }
        None => measure(&set, &made_up(20_000)),
    }
    Ok(())
}

fn collect(path: &Path, out: &mut Vec<(String, String)>) -> io::Result<()> {
    if path.is_dir() {
        for entry in fs::read_dir(path)? {
            collect(&entry?.path(), out)?;
        }
    } else if path.extension().is_some_and(|e| e == "yml" || e == "yaml") {
        out.push((path.display().to_string(), fs::read_to_string(path)?));
    }
    Ok(())
}

fn record(line: &str, layouts: &mut Layouts) -> LogRecord {
    let Ok(Json::Object(mut fields)) = serde_json::from_str(line) else {
        eprintln!("skipped, not a JSON object: {line}");
        return LogRecord::default();
    };
    let source = match fields.remove("_logsource") {
        None => LogSource::new("windows", "process_creation", ""),
        Some(source) => {
            let term = |name: &str| source[name].as_str().unwrap_or_default().to_owned().into();
            LogSource { product: term("product"), category: term("category"), service: term("service") }
        }
    };
    let mut record = LogRecord::new(source);
    let mut fill = record.fill(layouts);
    fill.object(&fields);
    fill.finish();
    record
}

fn measure<E: Fields>(set: &RuleSet, events: &[E]) {
    let mut scratch = set.scratch();
    let mut matches = 0u64;
    let mut matched = 0u64;
    // The first round compiles the classes and warms the caches.
    let first = Instant::now();
    for event in events {
        let before = matches;
        set.matches(event, &mut scratch, &mut |_| matches += 1);
        matched += u64::from(matches > before);
    }
    println!("first_round_ms {}", first.elapsed().as_millis());
    println!("events {}", events.len());
    println!("events_matched {matched}");
    println!("matches {matches}");
    let started = Instant::now();
    let busy = cpu_time();
    let mut rounds = 0u32;
    while started.elapsed() < MEASURED && !events.is_empty() {
        for event in events {
            set.matches(event, &mut scratch, &mut |_| matches += 1);
        }
        rounds += 1;
    }
    // On a busy machine only the time on the processor says what the work costs.
    let seconds = match (busy, cpu_time()) {
        (Some(from), Some(to)) => to.saturating_sub(from).as_secs_f64(),
        _ => started.elapsed().as_secs_f64(),
    };
    let count = events.len() as f64 * f64::from(rounds);
    println!("rounds {rounds}");
    println!("us_per_event {:.3}", seconds * 1e6 / count.max(1.0));
    println!("events_per_second {:.0}", count / seconds);
}

/// How long this thread has run on a processor, as Linux counts it; `None` elsewhere.
fn cpu_time() -> Option<Duration> {
    let text = fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    text.split(' ').next()?.parse().ok().map(Duration::from_nanos)
}

/// Process starts as a ward's computers make them, and now and then one that looks like an attack.
fn made_up(count: usize) -> Vec<Event> {
    const STARTS: [(&str, &str); 10] = [
        (r"C:\Windows\System32\svchost.exe", r"C:\Windows\System32\svchost.exe -k netsvcs -p -s Schedule"),
        (
            r"C:\Program Files\Google\Chrome\Application\chrome.exe",
            "\"C:\\Program Files\\Google\\Chrome\\Application\\chrome.exe\" --type=renderer --lang=en-GB --device-scale-factor=1 --num-raster-threads=4",
        ),
        (r"C:\Windows\System32\conhost.exe", r"\??\C:\Windows\system32\conhost.exe 0xffffffff -ForceV1"),
        (
            r"C:\Program Files\Microsoft Office\root\Office16\OUTLOOK.EXE",
            "\"C:\\Program Files\\Microsoft Office\\root\\Office16\\OUTLOOK.EXE\" /recycle",
        ),
        (r"C:\Windows\System32\RuntimeBroker.exe", r"C:\Windows\System32\RuntimeBroker.exe -Embedding"),
        (r"C:\Windows\System32\cmd.exe", r"cmd.exe /c C:\scripts\print-labels.cmd 7 ward"),
        (r"C:\Windows\System32\taskhostw.exe", "taskhostw.exe SYSTEM"),
        (
            r"C:\Windows\System32\WindowsPowerShell\v1.0\powershell.exe",
            r"powershell.exe -NoProfile -File C:\scripts\inventory.ps1",
        ),
        (
            r"C:\Windows\System32\reg.exe",
            r"reg query HKLM\Software\Microsoft\Windows\CurrentVersion /v ProgramFilesDir",
        ),
        (r"C:\Windows\System32\vssadmin.exe", "vssadmin delete shadows /all /quiet"),
    ];
    // A linear congruential generator (Knuth's MMIX constants): the same events in every run.
    let mut state = 1u64;
    let mut next = |bound: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % bound
    };
    let process = |(image, command_line): (&str, &str), pid: usize| Process {
        key: ProcessKey { pid: pid as u32, ..ProcessKey::default() },
        image: image.to_owned(),
        command_line: format!("{command_line} {pid}"),
        cwd: r"C:\Windows\system32\".to_owned(),
        user: User { uid: String::new(), name: r"TRUST\ward7".to_owned() },
        ..Process::default()
    };
    (0..count)
        .map(|i| {
            // Nine in ten starts are of the first nine kinds; the last stays rare.
            let kind = if next(100) == 0 { 9 } else { next(9) };
            Event {
                id: EventId::default(),
                time: Timestamp(i as i64),
                product: "windows".into(),
                simulated: true,
                body: Body::Process(ProcessActivity {
                    op: ProcessOp::Exec,
                    process: process(STARTS[kind], next(60_000)),
                    parent: Some(process(STARTS[next(9)], next(60_000))),
                    exit_code: None,
                }),
            }
        })
        .collect()
}
