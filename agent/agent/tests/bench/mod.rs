//! A guard on a machine that notes what is done to it.
#![allow(dead_code, reason = "each test file uses its part")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
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
    ActionState, ActionUpdate, Body, BootId, DeviceId, Event, EventId, FileActivity, FileOp, Finding, Launch,
    LogActivity, Process, ProcessActivity, ProcessKey, ProcessOp, Stopped, Timestamp, ocsf,
};
use wardline_policy::{DeviceClass, DevicePolicy, Mode};
use wardline_respond::{
    ContainError, Contained, Holds, KillError, KillReport, Measure, Responder, Rung, Victim,
};
use wardline_sense::{KernelRules, Sensed};
use wardline_wire::CommandSigner;
use wardline_wire::proto::command::Kind;
use wardline_wire::proto::{Authority, Command, Heartbeat, Party, SetPolicy};

pub const RULE: &str = "
title: Evil runs
id: 5c3a2f0e-9a53-4a39-9d0b-6d3c7f2f5a10
level: high
logsource: {category: process_creation, product: linux}
detection:
    selection: {CommandLine|contains: evil}
    condition: selection
wardline: {response: kill}
";

pub const FILE_RULE: &str = "
title: Evil file
id: 5c3a2f0e-9a53-4a39-9d0b-6d3c7f2f5a99
level: high
logsource: {category: file_event, product: linux}
detection:
    selection: {TargetFilename|endswith: /evil}
    condition: selection
";

/// In the terms of the audit system.
pub const AUDIT_RULE: &str = "
title: Audited
id: 5c3a2f0e-9a53-4a39-9d0b-6d3c7f2f5a98
level: high
logsource: {product: linux, service: auditd}
detection:
    selection: {type: PATH, nametype: CREATE, name: /etc/ld.so.preload}
    condition: selection
";

/// In what the log of those who sign in says.
pub const LOGIN_RULE: &str = "
title: Refused from outside
id: 5c3a2f0e-9a53-4a39-9d0b-6d3c7f2f5a96
level: high
logsource: {product: linux, service: auth}
detection:
    selection: {LogonResult: failure, SourceIp|startswith: '192.0.2.'}
    condition: selection
";

/// In what is found out after the event.
pub const HASH_RULE: &str = "
title: Known to be evil
id: 5c3a2f0e-9a53-4a39-9d0b-6d3c7f2f5a97
level: high
logsource: {category: process_creation, product: linux}
detection:
    selection: {Hashes|contains: SHA256=AAAAAAAA}
    condition: selection
wardline: {response: kill}
";

/// The evil rule is one of a correlation's too, which must not keep it from killing.
pub const CORRELATIONS: &str = "
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

pub const DEVICE: DeviceId = DeviceId(42);
pub const NOW: i64 = 1_800_000_000_000;

#[derive(Default)]
pub struct Machine {
    pub killed: Vec<u32>,
    pub isolated: bool,
    pub isolations: usize,
    pub hubs: Vec<SocketAddr>,
    /// What is contained beside the whole machine.
    pub contained: BTreeMap<Rung, Measure>,
    pub never_kill: Vec<String>,
    /// Bytes of the tables that the kernel was told to follow, or that it is to follow none.
    pub tables: Vec<Option<usize>>,
}

#[derive(Clone, Default)]
pub struct Hands(pub Arc<Mutex<Machine>>);

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

    fn contain(&mut self, measure: &Measure) -> Result<Contained, ContainError> {
        let mut machine = self.0.lock().unwrap();
        let replaced = if let Measure::Isolation(spec) = measure {
            spec.checked_hubs()?;
            machine.isolations += 1;
            machine.hubs.clone_from(&spec.hubs);
            std::mem::replace(&mut machine.isolated, true)
        } else {
            machine.contained.insert(measure.rung(), measure.clone()).is_some()
        };
        Ok(Contained { replaced, took: Duration::from_micros(700), notes: vec!["root can log on".into()] })
    }

    fn release(&mut self, rung: &Rung) -> Result<bool, ContainError> {
        let mut machine = self.0.lock().unwrap();
        Ok(match rung {
            Rung::Isolation => std::mem::take(&mut machine.isolated),
            other => machine.contained.remove(other).is_some(),
        })
    }

    fn holds(&mut self, measure: &Measure) -> Result<Holds, ContainError> {
        let machine = self.0.lock().unwrap();
        let holds = match measure {
            Measure::Isolation(_) => machine.isolated,
            other => machine.contained.get(&other.rung()) == Some(other),
        };
        Ok(if holds { Holds::Yes } else { Holds::No })
    }

    fn cut_processes(&mut self) -> Vec<ProcessKey> {
        Vec::new()
    }
}

impl KernelRules for Hands {
    fn follow(&mut self, tables: Option<&[u8]>) -> Result<(), String> {
        self.0.lock().unwrap().tables.push(tables.map(<[u8]>::len));
        Ok(())
    }
}

/// Seconds since the test began, on both clocks; and by how many the calendar is off.
#[derive(Default)]
pub struct Steps(pub AtomicU64, pub AtomicI64);

impl Clock for Steps {
    fn now(&self) -> Timestamp {
        Timestamp(NOW + (self.0.load(Ordering::Relaxed) as i64 + self.1.load(Ordering::Relaxed)) * 1000)
    }

    fn boot_ns(&self) -> u64 {
        (100 + self.0.load(Ordering::Relaxed)) * 1_000_000_000
    }
}

pub fn random() -> [u8; 16] {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    u128::from(NEXT.fetch_add(1, Ordering::Relaxed)).to_be_bytes()
}

pub struct Bench {
    pub dir: tempfile::TempDir,
    pub hands: Hands,
    pub clock: Arc<Steps>,
    pub signer: CommandSigner,
    pub outbox: Arc<Outbox>,
    pub processes: SharedProcesses,
    pub hubs: KnownHubs,
    pub guard: Guard,
}

pub fn policy(mode: Mode, class: DeviceClass) -> DevicePolicy {
    DevicePolicy { mode, class, max_isolation_s: 3600, ..DevicePolicy::default() }
}

impl Bench {
    pub fn new(policy: &DevicePolicy) -> Self {
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

    pub fn guard(
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
            ("hash.yml", HASH_RULE),
            ("login.yml", LOGIN_RULE),
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
            kernel_rules: Some(Box::new(hands.clone())),
            hubs: hubs.clone(),
        })
        .unwrap()
    }

    /// The agent stops and starts again on the same folder.
    pub fn restart(&mut self) {
        let state = StateDir::open(self.dir.path()).unwrap();
        let Self { hands, clock, signer, outbox, processes, hubs, .. } = &*self;
        self.guard = Self::guard(&state, hands, clock, signer, outbox, processes, hubs);
    }

    pub fn process(&mut self, op: ProcessOp, pid: u32, parent: u32, command_line: &str) {
        self.launched(op, pid, parent, command_line, None);
    }

    /// A program that the kernel stopped by itself.
    pub fn stopped(&mut self, pid: u32, command_line: &str, stopped: Stopped) {
        let launch = Launch { stopped: Some(stopped), ..Launch::default() };
        self.launched(ProcessOp::Exec, pid, 10, command_line, Some(Box::new(launch)));
    }

    fn launched(
        &mut self,
        op: ProcessOp,
        pid: u32,
        parent: u32,
        command_line: &str,
        launch: Option<Box<Launch>>,
    ) {
        let process = |pid: u32, command_line: &str| Process {
            key: ProcessKey::new(BootId(1), u64::from(pid) * 1_000_000_000, pid),
            image: "/tmp/evil".into(),
            command_line: command_line.into(),
            ..Process::default()
        };
        let (process, parent) = (process(pid, command_line), Some(process(parent, "")));
        let mut activity = ProcessActivity { op, process, parent, exit_code: None, launch };
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

    /// A program is started of which this much is known.
    pub fn exec(&mut self, pid: u32, command_line: &str, identity: wardline_event::Identity) -> EventId {
        let process = Process {
            key: ProcessKey::new(BootId(1), u64::from(pid) * 1_000_000_000, pid),
            image: "/tmp/tool".into(),
            command_line: command_line.into(),
            ..Process::default()
        };
        let launch = Some(Box::new(Launch { identity, ..Launch::default() }));
        let activity =
            ProcessActivity { op: ProcessOp::Exec, process, parent: None, exit_code: None, launch };
        let id = EventId::from_bytes(random());
        let body = Body::Process(activity);
        let event = Event { id, time: self.clock.now(), product: "linux".into(), simulated: false, body };
        self.guard.on_event(Sensed { event, boot_ns: self.clock.boot_ns() });
        id
    }

    pub fn log(&mut self, log: LogActivity) {
        let (id, time) = (EventId::from_bytes(random()), self.clock.now());
        let event = Event { id, time, product: "linux".into(), simulated: false, body: Body::Log(log) };
        self.guard.on_event(Sensed { event, boot_ns: self.clock.boot_ns() });
    }

    pub fn file(&mut self, op: FileOp, path: &str) {
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
    pub fn drain(&self, lane: Lane) -> Vec<Value> {
        self.outbox.write(Duration::ZERO);
        let mut spool = self.outbox.lane(lane);
        let mut out = Vec::new();
        while let Some(run) = spool.read(0, 1 << 20).unwrap() {
            out.extend(run.records.iter().map(|(_, body)| serde_json::from_slice::<Value>(body).unwrap()));
            spool.ack(run.first_seq + run.records.len() as u64 - 1).unwrap();
        }
        out
    }

    pub fn heartbeat(&self) -> Heartbeat {
        self.guard.heartbeat(self.outbox.events())
    }

    pub fn findings(&self) -> Vec<Finding> {
        self.drain(Lane::Findings).iter().map(|json| ocsf::finding_from_json(json).unwrap()).collect()
    }

    pub fn updates(&self) -> Vec<ActionUpdate> {
        self.drain(Lane::Findings).into_iter().map(|json| serde_json::from_value(json).unwrap()).collect()
    }

    pub fn order(&mut self, id: &str, kind: Kind) -> Vec<ActionUpdate> {
        let signed = self.signer.sign(&command(id, NOW + 600_000, kind));
        self.guard.on_command(&signed);
        self.updates()
    }
}

pub fn command(id: &str, expires_ms: i64, kind: Kind) -> Command {
    Command {
        action_id: id.into(),
        device_id: DEVICE.0.to_be_bytes().to_vec(),
        issued_ms: NOW,
        expires_ms,
        requested_by: "A. Analyst".into(),
        reason: "it spreads".into(),
        kind: Some(kind),
        authority: Some(authority(Some("clinical_engineer"))),
    }
}

/// A responder's order, which somebody of this role approved.
pub fn authority(approved_by: Option<&str>) -> Authority {
    let party = |name: &str, role: &str| Party { name: name.into(), role: role.into(), from_above: false };
    Authority {
        organisation: "o1".into(),
        requester: Some(party("A. Analyst", "responder")),
        basis: "role".into(),
        approvals: approved_by.map(|role| party("K. Clinician", role)).into_iter().collect(),
        ..Authority::default()
    }
}

pub fn states(updates: &[ActionUpdate]) -> Vec<ActionState> {
    updates.iter().map(|u| u.state).collect()
}
