//! The courier against a real hub, over real TLS: what a hub's absence costs (nothing), and how a certificate stays
//! fresh.
#![allow(clippy::unwrap_used)] // Helpers of tests, which clippy takes for code.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use wardline_agent::clock::{Clock, SystemClock};
use wardline_agent::guard::{Ruleset, SharedProcesses};
use wardline_agent::keeper::CourierHost;
use wardline_agent::outbox::Budget;
use wardline_agent::running::{Running, Setup, facts, start};
use wardline_agent::state::StateDir;
use wardline_event::{
    Body, BootId, Event, EventId, Process, ProcessActivity, ProcessKey, ProcessOp, SensorKind, SensorState,
    SensorStatus, Timestamp,
};
use wardline_hub::{HubConfig, RunningHub, TokenSpec};
use wardline_kernel::{EventQuery, random_bytes};
use wardline_respond::{ContainError, Contained, Holds, KillError, KillReport, Measure, Responder, Rung};
use wardline_sense::{Sensed, Sensor, SensorError};

/// Nothing here takes this long; what does is lost.
const PATIENCE: Duration = Duration::from_mins(1);

/// A machine on which the test makes things happen, and nothing can be done.
#[derive(Clone, Default)]
struct Machine {
    queue: Arc<Mutex<Vec<Sensed>>>,
    produced: Arc<AtomicU64>,
}

impl Machine {
    /// Processes start, numbered in their command lines.
    fn starts(&self, numbers: std::ops::RangeInclusive<u32>) {
        for n in numbers {
            let process = Process {
                key: ProcessKey::new(BootId(7), u64::from(n) * 1_000_000_000, n),
                image: "/usr/bin/true".into(),
                command_line: format!("true {n}"),
                ..Process::default()
            };
            let body =
                ProcessActivity { op: ProcessOp::Exec, process, parent: None, exit_code: None, launch: None };
            let event = Event {
                id: EventId::from_bytes(random_bytes()),
                time: SystemClock.now(),
                product: "linux".into(),
                simulated: true,
                body: Body::Process(body),
            };
            self.queue.lock().unwrap().push(Sensed { event, boot_ns: SystemClock.boot_ns() });
        }
    }
}

impl Sensor for Machine {
    fn poll(&mut self, timeout: Duration, sink: &mut dyn FnMut(Sensed)) -> Result<(), SensorError> {
        let all = std::mem::take(&mut *self.queue.lock().unwrap());
        if all.is_empty() {
            std::thread::sleep(timeout.min(Duration::from_millis(20)));
        }
        self.produced.fetch_add(all.len() as u64, Ordering::Relaxed);
        all.into_iter().for_each(sink);
        Ok(())
    }

    fn statuses(&self) -> Vec<SensorStatus> {
        let produced = self.produced.load(Ordering::Relaxed);
        vec![SensorStatus {
            kind: SensorKind::Simulated,
            state: SensorState::Live,
            produced,
            lost: 0,
            undecoded: 0,
        }]
    }
}

impl Responder for Machine {
    fn never_kill(&mut self, _: Vec<String>) {}

    fn kill_tree(&mut self, target: &ProcessKey, _: &[ProcessKey]) -> Result<KillReport, KillError> {
        Err(KillError::Gone(*target))
    }

    fn contain(&mut self, _: &Measure) -> Result<Contained, ContainError> {
        unreachable!("nobody orders a containment here")
    }

    fn release(&mut self, _: &Rung) -> Result<bool, ContainError> {
        Ok(false)
    }

    fn holds(&mut self, _: &Measure) -> Result<Holds, ContainError> {
        Ok(Holds::No)
    }

    fn cut_processes(&mut self) -> Vec<ProcessKey> {
        Vec::new()
    }
}

/// The system's clock, some days ahead.
struct Ahead(u64);

impl Clock for Ahead {
    fn now(&self) -> Timestamp {
        SystemClock.now().plus(Duration::from_secs(self.0 * 24 * 3600))
    }

    fn boot_ns(&self) -> u64 {
        SystemClock.boot_ns()
    }
}

async fn hub(folder: &Path, agents: SocketAddr) -> RunningHub {
    let http = SocketAddr::from(([127, 0, 0, 1], 0));
    let config = HubConfig { http, agents, ..HubConfig::new(folder.join("hub")) };
    wardline_hub::start(config).await.unwrap()
}

async fn enrol(hub: &RunningHub, folder: &Path) -> StateDir {
    let state = StateDir::open(&folder.join("agent")).unwrap();
    let token = hub.make_enrolment_token(&TokenSpec::default()).await.unwrap();
    let address = hub.agents_addr().to_string();
    wardline_agent::enrol::enrol(&address, &token, facts("1"), &state, SystemClock.now()).await.unwrap();
    state
}

fn agent(state: &StateDir, machine: &Machine, clock: Arc<dyn Clock>) -> Running {
    agent_with(state, machine, clock, CourierHost::Thread)
}

fn agent_with(state: &StateDir, machine: &Machine, clock: Arc<dyn Clock>, courier: CourierHost) -> Running {
    start(Setup {
        hub: None,
        state: state.clone(),
        facts: facts("1"),
        boot: BootId(7),
        rules: Ruleset::load([]).0,
        responder: Box::new(machine.clone()),
        sensors: vec![Box::new(machine.clone())],
        others: Vec::new(),
        found: Vec::new(),
        processes: SharedProcesses::default(),
        kernel_rules: None,
        clock,
        random: random_bytes::<16>,
        budget: Budget::default(),
        courier,
    })
    .unwrap()
}

async fn until(what: &str, mut ask: impl AsyncFnMut() -> bool) {
    let began = Instant::now();
    while !ask().await {
        assert!(began.elapsed() < PATIENCE, "not within {} s: {what}", PATIENCE.as_secs());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn stored(hub: &RunningHub) -> i64 {
    hub.kernel().events().counts(hub.kernel().home(), None).await.unwrap().stored
}

/// Stopping an agent waits for its threads, which may need this test's runtime.
async fn stop(agent: Running) {
    tokio::task::spawn_blocking(move || agent.stop()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_happens_while_the_hub_is_away_arrives_once_and_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let first = hub(dir.path(), SocketAddr::from(([127, 0, 0, 1], 0))).await;
    let address = first.agents_addr();
    let state = enrol(&first, dir.path()).await;
    let (machine, clock): (_, Arc<dyn Clock>) = (Machine::default(), Arc::new(SystemClock));
    let running = agent(&state, &machine, clock.clone());
    machine.starts(1..=300);
    until("the first 300 are stored", async || stored(&first).await == 300).await;

    // The hub goes while events keep coming, and comes back to the same folder and port.
    machine.starts(301..=350);
    first.stop().await;
    machine.starts(351..=700);
    let waits = async || running.heartbeat().counters.is_some_and(|c| c.spooled == 700 && c.waiting >= 350);
    until("the others wait on disk", waits).await;
    let second = hub(dir.path(), address).await;
    until("they arrive", async || stored(&second).await == 700).await;

    // And once more with an agent that starts anew between.
    second.stop().await;
    machine.starts(701..=900);
    until("more wait", async || running.heartbeat().counters.is_some_and(|c| c.spooled == 900)).await;
    stop(running).await;
    let third = hub(dir.path(), address).await;
    let running = agent(&state, &machine, clock);
    machine.starts(901..=950);
    until("all are there", async || stored(&third).await >= 950).await;
    until("nothing waits", async || running.heartbeat().counters.is_some_and(|c| c.waiting == 0)).await;

    let kernel = third.kernel();
    let device = state.identity().unwrap().device.to_string();
    let query = EventQuery { device, limit: 10_000, ..EventQuery::default() };
    let mut events = kernel.events().query(kernel.home(), &query).await.unwrap();
    events.sort_by_key(|e| e.seq);
    let lines: Vec<&str> = events.iter().map(|e| e.body["process"]["cmd_line"].as_str().unwrap()).collect();
    let expected: Vec<String> = (1..=950).map(|n| format!("true {n}")).collect();
    assert_eq!(lines, expected, "each once, in the order in which they happened");
    assert!(events.windows(2).all(|w| w[0].seq + 1 == w[1].seq && w[0].spool == w[1].spool));
    stop(running).await;
    third.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_is_renewed_after_two_thirds_of_its_life_and_not_before() {
    let dir = tempfile::tempdir().unwrap();
    let hub = hub(dir.path(), SocketAddr::from(([127, 0, 0, 1], 0))).await;
    let state = enrol(&hub, dir.path()).await;
    let before = state.identity().unwrap();

    // Thirty days is its life: on day 19 it is kept, on day 21 it is changed, key and all.
    for (day, renewed) in [(19, false), (21, true)] {
        let machine = Machine::default();
        let events = stored(&hub).await;
        let running = agent(&state, &machine, Arc::new(Ahead(day)));
        machine.starts(1..=3);
        until("the agent talks to the hub", async || stored(&hub).await == events + 3).await;
        stop(running).await;
        let now = state.identity().unwrap();
        assert_eq!(now.certificate_der != before.certificate_der, renewed, "day {day}");
        assert_eq!(now.key_der != before.key_der, renewed, "day {day}");
        assert_eq!(
            (now.device, now.command_key),
            (before.device, before.command_key),
            "it stays the same device"
        );
    }
    hub.stop().await;
}

/// Couriers that an attacker has turned: what each says to the guard as shell commands, with the line as its standard input
/// and output.
const HOSTILE: &[&str] = &[
    "head -c 300000 /dev/urandom >&0",
    // A frame that is longer than any, announced.
    "printf '\\377\\377\\377\\377' >&0; exec sleep 60",
    // A question before it has said hello.
    "printf '\\001\\000\\000\\000\\004' >&0; exec sleep 60",
    // Hello, and then for ever a question whose answers it does not take.
    "printf '\\007\\000\\000\\000\\001\\001\\000\\000\\000\\000\\000' >&0; \
     while printf '\\001\\000\\000\\000\\004'; do :; done >&0",
    "exit 3",
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_courier_that_speaks_nonsense_harms_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let hub = hub(dir.path(), SocketAddr::from(([127, 0, 0, 1], 0))).await;
    let state = enrol(&hub, dir.path()).await;
    let (machine, clock): (_, Arc<dyn Clock>) = (Machine::default(), Arc::new(SystemClock));
    let started = Arc::new(AtomicU64::new(0));
    let launch = {
        let started = Arc::clone(&started);
        move |line: OwnedFd| {
            let n = started.fetch_add(1, Ordering::Relaxed) as usize;
            Command::new("/bin/sh").arg("-c").arg(HOSTILE[n % HOSTILE.len()]).stdin(Stdio::from(line)).spawn()
        }
    };
    let running = agent_with(&state, &machine, clock.clone(), CourierHost::Process(Box::new(launch)));
    let mut sent = 0;
    until("each had its turn", async || {
        machine.starts(sent + 1..=sent + 20);
        sent += 20;
        started.load(Ordering::Relaxed) >= HOSTILE.len() as u64
    })
    .await;
    // The guard goes on, and says what happened; an honest courier then brings all of it.
    let beat = running.heartbeat();
    assert!(beat.counters.unwrap().findings >= HOSTILE.len() as u64 - 2, "{beat:?}");
    until("it takes in events all the while", async || {
        running.heartbeat().counters.is_some_and(|c| c.spooled == u64::from(sent))
    })
    .await;
    stop(running).await;
    let running = agent(&state, &machine, clock);
    until("nothing was lost", async || stored(&hub).await == i64::from(sent)).await;
    stop(running).await;
    hub.stop().await;
}
