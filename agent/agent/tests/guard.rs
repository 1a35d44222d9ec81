//! The guard against a machine that notes what is done to it: who may kill, who may order, and what is recorded.
#![allow(clippy::unwrap_used)] // Helpers of tests, which clippy takes for code.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;
use wardline_agent::clock::Clock;
use wardline_agent::enrol::store_policy;
use wardline_agent::guard::{Guard, Parts, Ruleset, SharedProcesses};
use wardline_agent::known_hubs::KnownHubs;
use wardline_agent::outbox::{Budget, Lane, Outbox};
use wardline_agent::state::{Identity, StateDir};
use wardline_event::{
    ActionState, ActionUpdate, Body, BootId, DeviceId, Disposition, Event, EventId, FileActivity, FileOp,
    Finding, Process, ProcessActivity, ProcessKey, ProcessOp, SensorKind, SensorState, SensorStatus,
    Severity, Timestamp, ocsf,
};
use wardline_policy::{DeviceClass, DevicePolicy, Mode};
use wardline_respond::{
    IsolateError, IsolationReport, IsolationSpec, KillError, KillReport, ReleaseReport, Responder, Victim,
};
use wardline_sense::Sensed;
use wardline_wire::CommandSigner;
use wardline_wire::proto::command::Kind;
use wardline_wire::proto::{Command, Heartbeat, Isolate, KillProcess, Release, SetPolicy, SignedCommand};

const RULE: &str = "
title: Evil runs
id: 5c3a2f0e-9a53-4a39-9d0b-6d3c7f2f5a10
level: high
logsource: {category: process_creation, product: linux}
detection:
    selection: {CommandLine|contains: evil}
    condition: selection
wardline: {response: kill}
";

const FILE_RULE: &str = "
title: Evil file
id: 5c3a2f0e-9a53-4a39-9d0b-6d3c7f2f5a99
level: high
logsource: {category: file_event, product: linux}
detection:
    selection: {TargetFilename|endswith: /evil}
    condition: selection
";

/// In the terms of the audit system.
const AUDIT_RULE: &str = "
title: Audited
id: 5c3a2f0e-9a53-4a39-9d0b-6d3c7f2f5a98
level: high
logsource: {product: linux, service: auditd}
detection:
    selection: {type: PATH, nametype: CREATE, name: /etc/ld.so.preload}
    condition: selection
";

/// The evil rule is one of a correlation's too, which must not keep it from killing.
const CORRELATIONS: &str = "
title: A guess
name: guess
logsource: {category: process_creation, product: linux}
detection: {selection: {CommandLine|contains: guess}, condition: selection}
---
title: Guessing
level: high
correlation:
    type: event_count
    rules: [guess, 5c3a2f0e-9a53-4a39-9d0b-6d3c7f2f5a10]
    group-by: Image
    timespan: 1m
    condition: {gte: 3}
wardline: {response: kill}
---
title: A probe
name: probe
logsource: {category: process_creation, product: linux}
detection: {selection: {CommandLine|contains: probe}, condition: selection}
---
title: A single probe
correlation:
    type: event_count
    rules: probe
    timespan: 10s
    condition: {eq: 1}
---
title: Counted as Sigma 1 does
id: 0d5c6f0f-7c0e-4f0f-8a46-2d6a5a0b6a11
logsource: {category: process_creation, product: linux}
detection: {selection: {CommandLine|contains: knock}, condition: selection | count() by Image > 2, timeframe: 1m}
wardline: {response: kill}
";

const DEVICE: DeviceId = DeviceId(42);
const NOW: i64 = 1_800_000_000_000;

#[derive(Default)]
struct Machine {
    killed: Vec<u32>,
    isolated: bool,
    isolations: usize,
    hubs: Vec<SocketAddr>,
    never_kill: Vec<String>,
}

#[derive(Clone, Default)]
struct Hands(Arc<Mutex<Machine>>);

impl Responder for Hands {
    fn never_kill(&mut self, executables: Vec<String>) {
        self.0.lock().unwrap().never_kill = executables;
    }

    fn kill_tree(&mut self, target: &ProcessKey, extra: &[ProcessKey]) -> Result<KillReport, KillError> {
        let mut machine = self.0.lock().unwrap();
        if machine.killed.contains(&target.pid) {
            return Err(KillError::Gone(*target));
        }
        let mut report = KillReport { complete: true, ..KillReport::default() };
        for key in std::iter::once(target).chain(extra) {
            machine.killed.push(key.pid);
            let image = "/tmp/evil".to_owned();
            report.killed.push(Victim { pid: key.pid, start_ticks: key.start_ticks, image });
        }
        Ok(report)
    }

    fn isolate(&mut self, spec: &IsolationSpec) -> Result<IsolationReport, IsolateError> {
        let mut machine = self.0.lock().unwrap();
        let replaced = machine.isolated;
        machine.isolated = true;
        machine.isolations += 1;
        machine.hubs.clone_from(&spec.hubs);
        Ok(IsolationReport { hubs: spec.checked_hubs()?, replaced, took: Duration::from_micros(700) })
    }

    fn release(&mut self) -> Result<ReleaseReport, IsolateError> {
        let was_isolated = std::mem::take(&mut self.0.lock().unwrap().isolated);
        Ok(ReleaseReport { was_isolated })
    }

    fn is_isolated(&mut self) -> Result<bool, IsolateError> {
        Ok(self.0.lock().unwrap().isolated)
    }
}

/// Seconds since the test began, on both clocks; and by how many the calendar is off.
#[derive(Default)]
struct Steps(AtomicU64, AtomicI64);

impl Clock for Steps {
    fn now(&self) -> Timestamp {
        Timestamp(NOW + (self.0.load(Ordering::Relaxed) as i64 + self.1.load(Ordering::Relaxed)) * 1000)
    }

    fn boot_ns(&self) -> u64 {
        (100 + self.0.load(Ordering::Relaxed)) * 1_000_000_000
    }
}

fn random() -> [u8; 16] {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    u128::from(NEXT.fetch_add(1, Ordering::Relaxed)).to_be_bytes()
}

struct Bench {
    dir: tempfile::TempDir,
    hands: Hands,
    clock: Arc<Steps>,
    signer: CommandSigner,
    outbox: Arc<Outbox>,
    processes: SharedProcesses,
    hubs: KnownHubs,
    guard: Guard,
}

fn policy(mode: Mode, class: DeviceClass) -> DevicePolicy {
    DevicePolicy { mode, class, max_isolation_s: 3600, ..DevicePolicy::default() }
}

impl Bench {
    fn new(policy: &DevicePolicy) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let signer = CommandSigner::from_seed(&[7; 32]);
        let state = StateDir::open(dir.path()).unwrap();
        let set = Kind::SetPolicy(SetPolicy { policy_json: policy.to_json() });
        store_policy(&state, &signer.sign(&command("", 0, set))).unwrap();
        let (hands, clock) = (Hands::default(), Arc::new(Steps::default()));
        let outbox = Arc::new(Outbox::open(&dir.path().join("spool"), Budget::default(), random).unwrap());
        let processes = SharedProcesses::default();
        let hubs = KnownHubs::default();
        hubs.expect([SocketAddr::from(([192, 0, 2, 1], 8701))]);
        let guard = Self::guard(&state, &hands, &clock, &signer, &outbox, &processes, &hubs);
        Self { dir, hands, clock, signer, outbox, processes, hubs, guard }
    }

    fn guard(
        state: &StateDir,
        hands: &Hands,
        clock: &Arc<Steps>,
        signer: &CommandSigner,
        outbox: &Arc<Outbox>,
        processes: &SharedProcesses,
        hubs: &KnownHubs,
    ) -> Guard {
        let (rules, problems) = Ruleset::load([
            ("evil.yml", RULE),
            ("file.yml", FILE_RULE),
            ("audit.yml", AUDIT_RULE),
            ("correlations.yml", CORRELATIONS),
        ]);
        assert!(problems.is_empty(), "{problems:?}");
        let identity = Identity {
            device: DEVICE,
            hub: "192.0.2.1:8701".into(),
            command_key: signer.key(),
            enrolled: Timestamp(NOW),
            key_der: vec![],
            certificate_der: vec![],
            authority_der: vec![],
        };
        Guard::new(Parts {
            state: state.clone(),
            identity,
            boot: BootId(1),
            rules,
            responder: Box::new(hands.clone()),
            outbox: Arc::clone(outbox),
            clock: Arc::clone(clock) as Arc<dyn Clock>,
            random,
            processes: Arc::clone(processes),
            hubs: hubs.clone(),
        })
        .unwrap()
    }

    /// The agent stops and starts again on the same folder.
    fn restart(&mut self) {
        let state = StateDir::open(self.dir.path()).unwrap();
        let Self { hands, clock, signer, outbox, processes, hubs, .. } = &*self;
        self.guard = Self::guard(&state, hands, clock, signer, outbox, processes, hubs);
    }

    fn process(&mut self, op: ProcessOp, pid: u32, parent: u32, command_line: &str) {
        let process = |pid: u32, command_line: &str| Process {
            key: ProcessKey::new(BootId(1), u64::from(pid) * 1_000_000_000, pid),
            image: "/tmp/evil".into(),
            command_line: command_line.into(),
            ..Process::default()
        };
        let (process, parent) = (process(pid, command_line), Some(process(parent, "")));
        let mut activity = ProcessActivity { op, process, parent, exit_code: None, launch: None };
        // As a sensor does.
        self.processes.lock().unwrap().observe(&mut activity, None, self.clock.boot_ns());
        let event = Event {
            id: EventId::from_bytes(random()),
            time: self.clock.now(),
            product: "linux".into(),
            simulated: false,
            body: Body::Process(activity),
        };
        self.guard.on_event(Sensed { event, boot_ns: self.clock.boot_ns() });
    }

    fn file(&mut self, op: FileOp, path: &str) {
        let actor = Process { image: "/bin/cp".into(), ..Process::default() };
        let old_path = (op == FileOp::Rename).then(|| "/tmp/x".to_owned());
        let event = Event {
            id: EventId::from_bytes(random()),
            time: self.clock.now(),
            product: "linux".into(),
            simulated: false,
            body: Body::File(FileActivity { op, path: path.into(), old_path, detail: String::new(), actor }),
        };
        self.guard.on_event(Sensed { event, boot_ns: self.clock.boot_ns() });
    }

    /// Takes everything out of a lane, as the hub would.
    fn drain(&self, lane: Lane) -> Vec<Value> {
        self.outbox.write(Duration::ZERO);
        let mut spool = self.outbox.lane(lane);
        let mut out = Vec::new();
        while let Some(run) = spool.read(0, 1 << 20).unwrap() {
            out.extend(run.records.iter().map(|(_, body)| serde_json::from_slice::<Value>(body).unwrap()));
            spool.ack(run.first_seq + run.records.len() as u64 - 1).unwrap();
        }
        out
    }

    fn heartbeat(&self) -> Heartbeat {
        self.guard.heartbeat(self.outbox.events())
    }

    fn findings(&self) -> Vec<Finding> {
        self.drain(Lane::Findings).iter().map(|json| ocsf::finding_from_json(json).unwrap()).collect()
    }

    fn updates(&self) -> Vec<ActionUpdate> {
        self.drain(Lane::Findings).into_iter().map(|json| serde_json::from_value(json).unwrap()).collect()
    }

    fn order(&mut self, id: &str, kind: Kind) -> Vec<ActionUpdate> {
        let signed = self.signer.sign(&command(id, NOW + 600_000, kind));
        self.guard.on_command(&signed);
        self.updates()
    }
}

fn command(id: &str, expires_ms: i64, kind: Kind) -> Command {
    Command {
        action_id: id.into(),
        device_id: DEVICE.0.to_be_bytes().to_vec(),
        issued_ms: NOW,
        expires_ms,
        requested_by: "A. Analyst".into(),
        reason: "it spreads".into(),
        kind: Some(kind),
    }
}

fn states(updates: &[ActionUpdate]) -> Vec<ActionState> {
    updates.iter().map(|u| u.state).collect()
}

#[test]
fn a_rule_kills_only_where_policy_says_so_and_always_says_what_it_did() {
    use DeviceClass::{Clinical, Workstation};
    for (mode, class, killed, disposition, words) in [
        (
            Mode::Protect,
            Workstation,
            vec![30, 31],
            Disposition::Stopped,
            "killed 2 processes: /tmp/evil (pid 30)",
        ),
        (Mode::Monitor, Workstation, vec![], Disposition::WouldAct, "would have been killed"),
        (Mode::Protect, Clinical, vec![], Disposition::Withheld, "a person must decide"),
    ] {
        let mut bench = Bench::new(&policy(mode, class));
        bench.process(ProcessOp::Found, 10, 1, "bash");
        bench.process(ProcessOp::Exec, 30, 10, "harmless");
        // A child that was there before the process turned evil belongs to its tree.
        bench.process(ProcessOp::Fork, 31, 30, "");
        bench.process(ProcessOp::Exec, 30, 10, "be evil");
        assert_eq!(bench.hands.0.lock().unwrap().killed, killed);

        let findings = bench.findings();
        assert_eq!(findings.len(), 1, "one finding for one match");
        let finding = &findings[0];
        assert_eq!(finding.action.disposition, disposition);
        assert!(finding.action.detail.contains(words), "{}", finding.action.detail);
        assert_eq!(finding.action.by, "rule Evil runs");
        assert_eq!(finding.ancestors[0].key.pid, 10);
        assert_eq!(finding.matched[0].field, "CommandLine");
        assert!(finding.rule.source.contains("title: Evil runs"));

        let counters = bench.heartbeat().counters.unwrap();
        assert_eq!((counters.kept_local, counters.spooled, counters.findings), (1, 3, 1));
        assert_eq!(bench.drain(Lane::Telemetry).len(), 3, "what is counted as spooled is in the spool");
    }
}

#[test]
fn a_correlation_is_a_finding_of_its_own_and_its_rules_are_none() {
    let mut bench = Bench::new(&policy(Mode::Protect, DeviceClass::Workstation));
    assert_eq!(bench.heartbeat().rules_loaded, 9);
    for pid in [40, 41] {
        bench.process(ProcessOp::Exec, pid, 10, "guess a password");
    }
    // The calendar may be set back; what counts is the time since boot.
    bench.clock.0.store(5, Ordering::Relaxed);
    bench.clock.1.store(-86_400, Ordering::Relaxed);
    assert_eq!(bench.findings(), []);
    for pid in [42, 43] {
        bench.process(ProcessOp::Exec, pid, 10, "guess a password");
    }
    let findings = bench.findings();
    assert_eq!(findings.len(), 1, "once, though the guessing goes on");
    let finding = &findings[0];
    assert_eq!((finding.rule.title.as_str(), finding.event.process().key.pid), ("Guessing", 42));
    assert_eq!(finding.action.disposition, Disposition::Stopped);
    assert_eq!(bench.hands.0.lock().unwrap().killed, [42]);
    let why: Vec<_> = finding.matched.iter().map(|m| (m.selection.as_str(), m.value.as_str())).collect();
    assert_eq!(why, [("event_count", "3"), ("group-by", "/tmp/evil")]);
}

#[test]
fn a_correlation_whose_time_is_over_is_found_without_another_event() {
    let mut bench = Bench::new(&policy(Mode::Protect, DeviceClass::Workstation));
    bench.process(ProcessOp::Exec, 50, 10, "probe");
    for (seconds, expected) in [(5, vec![]), (11, vec![]), (13, vec![50]), (30, vec![])] {
        bench.clock.0.store(seconds, Ordering::Relaxed);
        bench.guard.tick();
        let pids: Vec<u32> = bench.findings().iter().map(|f| f.event.process().key.pid).collect();
        assert_eq!(pids, expected, "after {seconds} s");
    }
}

#[test]
fn a_rule_that_counts_kills_when_it_has_counted() {
    let mut bench = Bench::new(&policy(Mode::Protect, DeviceClass::Workstation));
    for (pid, killed) in [(40, vec![]), (41, vec![]), (42, vec![42]), (43, vec![42])] {
        bench.process(ProcessOp::Exec, pid, 10, "knock");
        assert_eq!(bench.hands.0.lock().unwrap().killed, killed);
    }
    let titles: Vec<_> = bench.findings().into_iter().map(|f| f.rule.title).collect();
    assert_eq!(titles, ["Counted as Sigma 1 does"]);
}

/// More than are kept whole lie between the event and the end of its window.
#[test]
fn a_correlation_whose_time_is_over_names_its_process_after_a_flood() {
    let mut bench = Bench::new(&policy(Mode::Protect, DeviceClass::Workstation));
    bench.process(ProcessOp::Exec, 50, 10, "probe");
    for _ in 0..1500 {
        bench.process(ProcessOp::Exec, 60, 10, "guess a password");
    }
    bench.findings();
    bench.clock.0.store(13, Ordering::Relaxed);
    bench.guard.tick();
    let findings = bench.findings();
    assert_eq!(findings.len(), 1);
    let (finding, process) = (&findings[0], findings[0].event.process());
    assert_eq!(finding.rule.title, "A single probe");
    assert_eq!((process.key.pid, process.image.as_str()), (50, "/tmp/evil"));
    assert_eq!((process.command_line.as_str(), finding.event.time), ("probe", Timestamp(NOW)));
}

#[test]
fn what_a_sensor_lost_is_told_as_an_event_and_only_once() {
    let mut bench = Bench::new(&policy(Mode::Protect, DeviceClass::Workstation));
    let status = |produced, lost, undecoded| SensorStatus {
        kind: SensorKind::LinuxEbpf,
        state: SensorState::Live,
        produced,
        lost,
        undecoded,
    };
    for (produced, lost, undecoded) in [(10, 0, 0), (20, 4, 1), (30, 4, 1), (40, 7, 2)] {
        bench.guard.note_sensor(status(produced, lost, undecoded));
    }
    let told: Vec<_> =
        bench.drain(Lane::Telemetry).iter().map(|j| (j["count"].clone(), j["message"].clone())).collect();
    assert_eq!(
        told,
        [
            (4.into(), "sensor Linux eBPF lost 4 events".into()),
            (3.into(), "sensor Linux eBPF lost 3 events".into())
        ]
    );
    // The two events are accounted for like any other.
    let counters = bench.heartbeat().counters.unwrap();
    assert_eq!((counters.produced, counters.spooled), (42, 2));
    assert_eq!((counters.kernel_lost, counters.decode_lost), (5, 2));
}

#[test]
fn files_that_no_rule_knows_stay_on_the_device() {
    let mut bench = Bench::new(&policy(Mode::Protect, DeviceClass::Workstation));
    bench.file(FileOp::Create, "/etc/harmless");
    bench.file(FileOp::Delete, "/etc/cron.d/evil");
    bench.file(FileOp::Create, "/etc/cron.d/evil");
    let counters = bench.heartbeat().counters.unwrap();
    assert_eq!((counters.kept_local, counters.findings), (2, 1));
    // A name that came to be by renaming is a file event, too; the same process and rule are one finding.
    bench.file(FileOp::Rename, "/etc/cron.d/evil");
    let paths: Vec<_> = bench
        .drain(Lane::Telemetry)
        .iter()
        .map(|j| (j["activity_id"].clone(), j["file"]["path"].clone()))
        .collect();
    assert_eq!(paths, [(1.into(), "/etc/cron.d/evil".into()), (5.into(), "/tmp/x".into())]);
    assert_eq!(bench.findings().len(), 1);
}

#[test]
fn rules_for_the_audit_log_read_what_the_sensor_saw() {
    let mut bench = Bench::new(&policy(Mode::Protect, DeviceClass::Workstation));
    bench.file(FileOp::Update, "/etc/ld.so.preload");
    assert!(bench.findings().is_empty());
    bench.file(FileOp::Rename, "/etc/ld.so.preload");
    let findings = bench.findings();
    assert_eq!(findings.iter().map(|f| f.rule.title.as_str()).collect::<Vec<_>>(), ["Audited"]);
    let matched: Vec<_> = findings[0].matched.iter().map(|m| (m.field.as_str(), m.value.as_str())).collect();
    assert_eq!(matched, [("type", "PATH"), ("nametype", "CREATE"), ("name", "/etc/ld.so.preload")]);
}

#[test]
fn a_sensor_that_falls_silent_is_a_finding() {
    let mut bench = Bench::new(&policy(Mode::Protect, DeviceClass::Workstation));
    let degraded = |reason: &str| SensorState::Degraded { reason: reason.into() };
    let states = [
        (SensorKind::LinuxProcConnector, degraded("as always")),
        (SensorKind::LinuxFile, SensorState::Live),
        (SensorKind::LinuxFile, degraded("it is silent")),
        (SensorKind::LinuxFile, degraded("it is silent for longer")),
        (SensorKind::LinuxFile, SensorState::Live),
        (SensorKind::LinuxFile, SensorState::Off { reason: "gone".into() }),
    ];
    for (kind, state) in states {
        bench.guard.note_sensor(SensorStatus { kind, state, produced: 0, lost: 0, undecoded: 0 });
    }
    let details: Vec<_> = bench.findings().into_iter().map(|f| (f.severity, f.action.detail)).collect();
    let high = |detail: &str| (Severity::High, detail.to_owned());
    assert_eq!(details, [high("Linux eBPF, files: it is silent"), high("Linux eBPF, files: gone")]);
    assert_eq!(bench.heartbeat().counters.unwrap().findings, 2);
}

#[test]
fn an_order_is_carried_out_once_however_often_it_arrives() {
    let mut bench = Bench::new(&policy(Mode::Protect, DeviceClass::Workstation));
    let kind = Kind::Isolate(Isolate { for_s: 600 });
    let updates = bench.order("a1", kind.clone());
    assert_eq!(states(&updates), [ActionState::InProgress, ActionState::Succeeded]);
    assert!(updates[1].detail.contains("only the hub stays reachable"), "{}", updates[1].detail);
    assert_eq!(bench.heartbeat().isolation.unwrap().action_id, "a1");

    // Again, and after a restart: answered, not repeated.
    assert_eq!(states(&bench.order("a1", kind.clone())), [ActionState::Succeeded]);
    bench.restart();
    assert_eq!(states(&bench.order("a1", kind)), [ActionState::Succeeded]);
    assert_eq!(bench.hands.0.lock().unwrap().isolations, 1);

    // A damaged list costs the memory, not the agent.
    let (list, damaged) =
        (bench.dir.path().join("orders.json"), bench.dir.path().join("orders.json.damaged"));
    std::fs::write(&list, "torn").unwrap();
    bench.restart();
    assert!(!list.exists() && std::fs::read(&damaged).unwrap() == b"torn");

    assert_eq!(
        states(&bench.order("a2", Kind::Release(Release {}))),
        [ActionState::InProgress, ActionState::Succeeded]
    );
    assert!(!bench.hands.0.lock().unwrap().isolated);
    assert_eq!(bench.heartbeat().isolation, None);
}

#[test]
fn an_isolation_keeps_the_hub_where_it_is_now_and_is_refused_where_nobody_knows() {
    let mut bench = Bench::new(&policy(Mode::Protect, DeviceClass::Workstation));
    // It has moved since the start.
    let (before, now) = (([192, 0, 2, 1], 8701).into(), ([192, 0, 2, 9], 8701).into());
    bench.hubs.reached(now);
    bench.order("a1", Kind::Isolate(Isolate { for_s: 600 }));
    assert_eq!(bench.hands.0.lock().unwrap().hubs, [now, before]);

    bench.hubs = KnownHubs::default();
    bench.restart();
    let updates = bench.order("a2", Kind::Isolate(Isolate { for_s: 600 }));
    assert_eq!(states(&updates), [ActionState::InProgress, ActionState::Failed]);
    assert!(updates[1].detail.contains("no address of the hub is known"), "{}", updates[1].detail);
    assert_eq!(bench.hands.0.lock().unwrap().isolations, 1);
}

#[test]
fn an_isolation_survives_a_reboot_and_ends_in_time() {
    let mut bench = Bench::new(&policy(Mode::Protect, DeviceClass::Workstation));
    bench.order("a1", Kind::Isolate(Isolate { for_s: 600 }));
    // A reboot empties the kernel's tables.
    bench.hands.0.lock().unwrap().isolated = false;
    bench.restart();
    assert!(bench.hands.0.lock().unwrap().isolated, "isolated again at the start");
    bench.clock.0.fetch_add(599, Ordering::Relaxed);
    bench.guard.tick();
    assert!(bench.hands.0.lock().unwrap().isolated);
    bench.clock.0.fetch_add(10, Ordering::Relaxed);
    bench.guard.tick();
    assert!(!bench.hands.0.lock().unwrap().isolated, "the hub need not be there for it to end");
}

#[test]
fn what_may_not_be_obeyed_is_refused_and_said() {
    let mut bench = Bench::new(&policy(Mode::Protect, DeviceClass::Workstation));
    let isolate = Kind::Isolate(Isolate { for_s: 600 });

    let updates = bench.order("long", Kind::Isolate(Isolate { for_s: 7200 }));
    assert_eq!(states(&updates), [ActionState::Failed]);
    assert!(
        updates[0].detail.contains("longer than this device's policy allows (3600 s)"),
        "{}",
        updates[0].detail
    );

    let expired = Command { issued_ms: NOW - 9000, ..command("late", NOW - 1, isolate.clone()) };
    bench.guard.on_command(&bench.signer.sign(&expired));
    let updates = bench.updates();
    assert_eq!((updates[0].action_id.as_str(), updates[0].state), ("late", ActionState::Failed));
    assert!(updates[0].detail.contains("expired at"), "{}", updates[0].detail);

    let other_hub =
        CommandSigner::from_seed(&[8; 32]).sign(&command("forged", NOW + 600_000, isolate.clone()));
    bench.guard.on_command(&other_hub);
    let other_device = Command { device_id: vec![9; 16], ..command("astray", NOW + 600_000, isolate) };
    bench.guard.on_command(&bench.signer.sign(&other_device));
    bench.guard.on_command(&SignedCommand::default());
    assert_eq!(bench.updates(), [], "a stranger gets no answer");
    assert_eq!(bench.hands.0.lock().unwrap().isolations, 0);
}

#[test]
fn a_person_kills_a_process_and_the_rule_obeys_a_new_policy_at_once() {
    let mut bench = Bench::new(&policy(Mode::Monitor, DeviceClass::Workstation));
    bench.process(ProcessOp::Exec, 30, 10, "be evil");
    let finding = bench.findings().remove(0);
    let kill = Kind::KillProcess(KillProcess { process_key: finding.event.process().key.to_string() });
    let updates = bench.order("k1", kill);
    assert_eq!(states(&updates), [ActionState::InProgress, ActionState::Succeeded]);
    assert_eq!(bench.hands.0.lock().unwrap().killed, [30]);

    let protect = DevicePolicy {
        never_kill: vec!["/opt/pacs/viewer".into()],
        ..policy(Mode::Protect, DeviceClass::Server)
    };
    let set = Kind::SetPolicy(SetPolicy { policy_json: protect.to_json() });
    bench.guard.on_command(&bench.signer.sign(&command("p1", 0, set)));
    assert_eq!(states(&bench.updates()), [ActionState::Succeeded]);
    assert_eq!(bench.hands.0.lock().unwrap().never_kill, ["/opt/pacs/viewer"]);
    bench.process(ProcessOp::Exec, 40, 10, "be evil again");
    assert_eq!(bench.findings()[0].action.disposition, Disposition::Stopped);

    // It holds after a restart, without the hub, even if the clock has lost years meanwhile.
    for later_s in [0, -10 * 365 * 86_400] {
        bench.clock.1.store(later_s, Ordering::Relaxed);
        bench.restart();
        assert_eq!(bench.guard.policy(), &protect);
    }
    // Whose it is, is still checked.
    let set = Kind::SetPolicy(SetPolicy { policy_json: protect.to_json() });
    let forged = CommandSigner::from_seed(&[8; 32]).sign(&command("", 0, set.clone()));
    let astray = bench.signer.sign(&Command { device_id: vec![9; 16], ..command("", 0, set) });
    for stranger in [forged, astray] {
        store_policy(&StateDir::open(bench.dir.path()).unwrap(), &stranger).unwrap();
        bench.restart();
        assert_eq!(bench.guard.policy().mode, Mode::Monitor);
    }
}

#[test]
fn the_account_of_events_is_about_events() {
    let mut bench = Bench::new(&policy(Mode::Protect, DeviceClass::Workstation));
    bench.process(ProcessOp::Exec, 30, 10, "be evil");
    let account = |bench: &Bench| {
        let c = bench.heartbeat().counters.unwrap();
        (c.spooled, c.spool_dropped, c.waiting, c.findings)
    };
    // In memory, on disk, and with the hub; the finding is none of it.
    assert_eq!(account(&bench), (1, 0, 1, 1));
    bench.outbox.write(Duration::ZERO);
    assert_eq!(account(&bench), (1, 0, 1, 1));
    bench.drain(Lane::Telemetry);
    assert_eq!(account(&bench), (1, 0, 0, 1));
    assert!(bench.outbox.waiting() > 0, "the finding still waits");

    // More than the queue holds: what is too much is dropped, at once and after it was written.
    for _ in 0..20_000 {
        bench.process(ProcessOp::Exec, 31, 10, "harmless");
    }
    let queued = account(&bench);
    bench.outbox.write(Duration::ZERO);
    assert_eq!(account(&bench), queued);
    let (spooled, dropped, waiting, _) = queued;
    assert!(dropped > 0 && spooled == 1 + dropped + waiting, "{queued:?}");
}

#[test]
fn the_time_served_counts_at_once_and_is_noted_once_a_minute() {
    let mut bench = Bench::new(&policy(Mode::Protect, DeviceClass::Workstation));
    bench.clock.0.fetch_add(300, Ordering::Relaxed);
    bench.guard.tick();
    bench.order("a1", Kind::Isolate(Isolate { for_s: 100 }));
    let served = |bench: &Bench| wardline_respond::record::load(bench.dir.path()).unwrap().unwrap().served_ms;
    // The calendar is set back again and again: it will never say that the time is over.
    for (seconds, noted, isolated) in
        [(30, 0, true), (25, 0, true), (5, 60_000, true), (35, 60_000, true), (5, 60_000, false)]
    {
        bench.clock.0.fetch_add(seconds, Ordering::Relaxed);
        bench.clock.1.fetch_sub(seconds as i64, Ordering::Relaxed);
        bench.guard.tick();
        assert_eq!(served(&bench), noted, "after {seconds} s more");
        assert_eq!(bench.hands.0.lock().unwrap().isolated, isolated);
    }
}
