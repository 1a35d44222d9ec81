//! Measures one core: events per second through match, decision, encoding and spool.
//!
//! `cargo run --release -p wardline --example engine [EVENTS]` prints one JSON object. The events are
//! process starts with the command lines of the rules' own benign corpus, repeated; the rules are all of
//! Wardline's; the spool is on disk, in a temporary folder.

use std::sync::Arc;
use std::time::{Duration, Instant};

use wardline_agent::clock::{Clock, SystemClock};
use wardline_agent::guard::{Guard, Parts, Ruleset, SharedProcesses};
use wardline_agent::known_hubs::KnownHubs;
use wardline_agent::outbox::{Budget, Outbox};
use wardline_agent::state::{Identity, StateDir};
use wardline_event::{
    Body, BootId, DeviceId, Event, EventId, Process, ProcessActivity, ProcessKey, ProcessOp, Timestamp, User,
};
use wardline_respond::{LinuxResponder, Protected};
use wardline_sense::Sensed;
use wardline_wire::CommandSigner;

fn random() -> [u8; 16] {
    use std::sync::atomic::{AtomicU64, Ordering};
    static NEXT: AtomicU64 = AtomicU64::new(1);
    u128::from(NEXT.fetch_add(1, Ordering::Relaxed)).to_be_bytes()
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let events: u32 = std::env::args().nth(1).map_or(Ok(300_000), |n| n.parse())?;
    let dir = tempfile::tempdir()?;
    let corpus: Vec<serde_json::Value> = include_str!("../../content/benign/linux.jsonl")
        .lines()
        .map(serde_json::from_str)
        .collect::<Result<_, _>>()?;
    let (rules, problems) = Ruleset::load(wardline_content::rules().iter().map(|r| (r.path, r.text)));
    assert!(problems.is_empty(), "{problems:?}");
    let (rule_count, clock) = (rules.len(), SystemClock);
    let identity = Identity {
        device: DeviceId(1),
        hub: String::new(),
        command_key: CommandSigner::from_seed(&[1; 32]).key(),
        enrolled: Timestamp(0),
        key_der: vec![],
        certificate_der: vec![],
        authority_der: vec![],
    };
    // Without a policy the guard monitors: nothing can be killed here.
    let outbox = Arc::new(Outbox::open(&dir.path().join("spool"), Budget::default(), random)?);
    let mut guard = Guard::new(Parts {
        state: StateDir::open(dir.path())?,
        identity,
        boot: BootId(1),
        rules,
        responder: Box::new(LinuxResponder::new(Protected::default())?),
        outbox: Arc::clone(&outbox),
        clock: Arc::new(clock),
        random,
        processes: SharedProcesses::default(),
        kernel_rules: None,
        hubs: KnownHubs::default(),
    })?;
    let text = |event: &serde_json::Value, name: &str| {
        let event = event.get("event").unwrap_or(event);
        event.get(name).and_then(|v| v.as_str()).unwrap_or_default().to_owned()
    };
    let process = |n: u32, event: &serde_json::Value, prefix: &str| Process {
        key: ProcessKey::new(BootId(1), u64::from(n) * 10_000_000, n % 4_000_000),
        image: text(event, &format!("{prefix}Image")),
        command_line: text(event, &format!("{prefix}CommandLine")),
        user: User { uid: "1000".into(), name: text(event, "User") },
        ..Process::default()
    };
    let made: Vec<Sensed> = (0..events)
        .map(|n| {
            let line = &corpus[n as usize % corpus.len()];
            let body = ProcessActivity {
                op: ProcessOp::Exec,
                process: process(n + 1000, line, ""),
                parent: Some(process(1, line, "Parent")),
                exit_code: None,
                launch: None,
            };
            let event = Event {
                id: EventId::from_bytes(random()),
                time: clock.now(),
                product: "linux".into(),
                simulated: true,
                body: Body::Process(body),
            };
            Sensed { event, boot_ns: clock.boot_ns() }
        })
        .collect();
    let began = Instant::now();
    for (n, sensed) in made.into_iter().enumerate() {
        guard.on_event(sensed);
        // The agent has a thread for this; here it counts against the same core.
        if n % 256 == 255 {
            outbox.write(Duration::ZERO);
        }
    }
    outbox.write(Duration::ZERO);
    let seconds = began.elapsed().as_secs_f64();
    let counters = guard.heartbeat(outbox.events()).counters.unwrap_or_default();
    println!(
        "{}",
        serde_json::json!({"events": events, "rules": rule_count, "findings": counters.findings,
                           "spooled": counters.spooled, "dropped": counters.spool_dropped,
                           "seconds": seconds, "engine_eps": f64::from(events) / seconds})
    );
    Ok(())
}
