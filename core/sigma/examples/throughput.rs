//! What matching costs per event, on one core: time of this thread on the processor, without reading the events.
//!
//!     cargo run --release -p wardline-sigma --example throughput RULES-DIR [EVENTS.jsonl [ROUNDS [COUNT…]]]
//!
//! Events are JSON objects, one a line, as the example `dump` of `wardline-sense` prints them: fields under
//! Sigma's names; `_logsource` holds `product`, `category` and `service` (Windows process creation if it is not there),
//! `_also` a list of further categories. Without a file, made-up process starts are matched.
//!
//! Of the rules that a set takes every n-th is taken, so that there are 100, 300, 1000, half and all of them (or the COUNTs),
//! in the order of their log sources and paths: so each log source keeps its share. Where that leaves more than half of
//! the rules out, a second such set of other rules is measured too; the two halves are all rules together, so no rule
//! that every event meets is in the whole only. For each set one line is printed for events that are seen once, in
//! their order, after the rules were compiled (`once`, the mean of `ROUNDS`, each with a new scratch), and one for the same
//! events again and again (`looped`). Events are matched when they have just been written, a few at a time, as a reader
//! hands them over.

mod rule_files;

use std::path::Path;
use std::time::{Duration, Instant};
use std::{env, fs, io};

use rule_files::rule_files;
use rustix::time::{ClockId, clock_gettime};
use serde_json::Value as Json;
use wardline_event::{
    Body, Event, EventId, Fields, Layouts, LogRecord, LogSource, Process, ProcessActivity, ProcessKey,
    ProcessOp, Timestamp, User,
};
use wardline_sigma::{Rule, RuleSet};

/// At least this long is measured, in whole rounds over the events.
const MEASURED: Duration = Duration::from_secs(2);
/// Events that are written and then matched.
const FEW: usize = 64;

fn main() -> io::Result<()> {
    let mut arguments = env::args().skip(1);
    let Some(rules) = arguments.next() else {
        eprintln!("usage: throughput RULES-DIR [EVENTS.jsonl [ROUNDS [COUNT…]]]");
        std::process::exit(2);
    };
    let started = Instant::now();
    let texts = rule_files(Path::new(&rules))?;
    let read = started.elapsed();
    let mut parsed = Vec::new();
    let mut refused = 0;
    for (origin, text) in &texts {
        match Rule::parse(text, &origin.display().to_string()) {
            Ok(rules) => parsed.extend(rules),
            Err(_) => refused += 1,
        }
    }
    // Folders list their files in any order.
    parsed.sort_by(|a, b| (&a.log_source, &a.origin, a.line).cmp(&(&b.log_source, &b.origin, b.line)));
    println!("rules {}", parsed.len());
    println!("rules_refused {refused}");
    println!("read_ms {}", read.as_millis());
    println!("parse_ms {}", started.elapsed().saturating_sub(read).as_millis());
    let parsed = RuleSet::compile_lossy(parsed).0.rules().to_vec();

    let file = arguments.next();
    let rounds = arguments.next().and_then(|n| n.parse().ok()).unwrap_or(5);
    let mut counts: Vec<usize> = arguments.filter_map(|n| n.parse().ok()).collect();
    if counts.is_empty() {
        counts = vec![100, 300, 1000, parsed.len() / 2, parsed.len()];
    }
    counts.retain(|n| (1..=parsed.len()).contains(n));
    counts.sort_unstable();
    counts.dedup();
    match file {
        Some(path) => {
            let (mut terms, mut layouts) = (Terms::default(), Layouts::default());
            let text = fs::read_to_string(path)?;
            let events: Vec<LogRecord> = text
                .lines()
                .filter(|l| !l.trim().is_empty())
                .map(|l| record(l, &mut terms, &mut layouts))
                .collect();
            println!("events {}", events.len());
            measure_all(&parsed, &counts, &events, rounds);
        }
        None => measure_all(&parsed, &counts, &made_up(20_000), rounds),
    }
    Ok(())
}

/// The terms of log sources, once each: readers know them beforehand.
#[derive(Default)]
struct Terms {
    each: Vec<&'static str>,
    lists: Vec<&'static [&'static str]>,
}

impl Terms {
    fn of(&mut self, term: &str) -> &'static str {
        if let Some(known) = self.each.iter().find(|known| **known == term) {
            return known;
        }
        let term = term.to_owned().leak();
        self.each.push(term);
        term
    }

    fn list<'a>(&mut self, terms: impl Iterator<Item = &'a str>) -> &'static [&'static str] {
        let terms: Vec<_> = terms.map(|term| self.of(term)).collect();
        if let Some(known) = self.lists.iter().find(|known| ***known == terms) {
            return known;
        }
        let terms = terms.leak();
        self.lists.push(terms);
        terms
    }
}

fn record(line: &str, terms: &mut Terms, layouts: &mut Layouts) -> LogRecord {
    let Ok(Json::Object(mut fields)) = serde_json::from_str(line) else {
        eprintln!("skipped, not a JSON object: {line}");
        return LogRecord::default();
    };
    let mut record = LogRecord::new(match fields.remove("_logsource") {
        None => LogSource::new("windows", "process_creation", ""),
        Some(source) => {
            let mut term = |name: &str| terms.of(source[name].as_str().unwrap_or_default());
            LogSource::new(term("product"), term("category"), term("service"))
        }
    });
    if let Some(Json::Array(also)) = fields.remove("_also") {
        record.also = terms.list(also.iter().filter_map(Json::as_str));
    }
    for beside in ["_file", "_record", "_time"] {
        fields.remove(beside);
    }
    let mut fill = record.fill(layouts);
    fill.object(&fields);
    fill.finish();
    record
}

fn measure_all<E: Fields + Clone>(rules: &[Rule], counts: &[usize], events: &[E], rounds: usize) {
    for count in counts {
        let apart = rules.len() / count;
        let shifts = if apart > 1 { vec![0, apart / 2] } else { vec![0] };
        for shift in shifts {
            let chosen = (0..*count).map(|i| rules[i * rules.len() / count + shift].clone()).collect();
            measure(&RuleSet::compile_lossy(chosen).0, events, rounds);
        }
    }
}

fn measure<E: Fields + Clone>(set: &RuleSet, events: &[E], rounds: usize) {
    let mut matches = 0u64;
    let mut matched = 0u64;
    let mut scratch = set.scratch();
    let first = Instant::now();
    for event in events {
        let before = matches;
        set.matches_in(event, &mut scratch, &mut |_| matches += 1);
        matched += u64::from(matches > before);
    }
    let first = first.elapsed();
    println!("rules_of_set {}", set.rules().len());
    println!("  first_round_ms {}", first.as_millis());
    println!("  events_matched {matched}");
    println!("  matches {matches}");
    let mut pass = |scratch: &mut _| {
        let mut total = Duration::ZERO;
        for few in events.chunks(FEW) {
            let few = few.to_vec();
            let before = cpu_time();
            for event in &few {
                set.matches_in(event, scratch, &mut |_| matches += 1);
            }
            total += cpu_time().saturating_sub(before);
        }
        total
    };
    let once: Duration = (0..rounds.max(1)).map(|_| pass(&mut set.scratch())).sum();
    print("once", once, events.len() * rounds.max(1));
    let (mut total, mut count) = (Duration::ZERO, 0);
    while total < MEASURED && !events.is_empty() {
        total += pass(&mut scratch);
        count += events.len();
    }
    print("looped", total, count);
}

fn print(how: &str, time: Duration, events: usize) {
    let seconds = time.as_secs_f64();
    let count = events.max(1) as f64;
    println!("  {how}_us_per_event {:.3}", seconds * 1e6 / count);
    println!("  {how}_events_per_second {:.0}", count / seconds);
}

/// How long this thread has run on a processor.
fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec as u32)
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
                    launch: None,
                }),
            }
        })
        .collect()
}
