//! The guard: sees, decides, acts. It needs neither hub nor network.
//!
//! Everything that must be fast happens in [`Guard::on_event`], in the thread that read the event: match, decide,
//! kill; only then is anything written.

mod authority;
mod correlate;
mod encryptor;
mod finding;
mod held;
mod itself;
mod kernel;
mod orders;
mod rules;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tracing::{info, warn};
use wardline_event::{
    AuditView, Body, BootId, Event, EventId, Process, ProcessOp, SensorKind, SensorLoss, SensorState,
    SensorStatus, ServiceView, Timestamp,
};
use wardline_policy::DevicePolicy;
use wardline_respond::{Keeper, Reconciled, Responder, Rung, record};
use wardline_sense::{KernelRules, ProcessTable, Sensed};
use wardline_sigma::Scratch;
use wardline_wire::KeyRing;
use wardline_wire::proto::{
    Command, Containment, Counters, Heartbeat, Isolation, RecordKind, Sensor, SignedCommand,
};

use crate::clock::Clock;
use crate::enrol::{POLICY_FILE, policy_of};
use crate::known_hubs::KnownHubs;
use crate::outbox::{EventAccount, Outbox, Worth};
use crate::state::{Identity, StateDir, StateError};
pub use encryptor::{Encryptor, Judged};
use finding::Reason;
pub use itself::OwnFinding;
pub use orders::Orders;
pub use rules::{RuleProblem, Ruleset};

/// A machine's processes, shared between its sensors and the guard.
pub type SharedProcesses = Arc<Mutex<ProcessTable>>;

/// What the guard is made of.
pub struct Parts {
    /// The agent's folder.
    pub state: StateDir,
    /// Who this device is.
    pub identity: Identity,
    /// This boot.
    pub boot: BootId,
    /// The rules.
    pub rules: Ruleset,
    /// The machine's hands.
    pub responder: Box<dyn Responder>,
    /// Where records go.
    pub outbox: Arc<Outbox>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// 16 random bytes.
    pub random: fn() -> [u8; 16],
    /// The processes of this machine, kept up to date by its sensors, which read it before the guard does.
    pub processes: SharedProcesses,
    /// Where the kernel follows rules itself.
    pub kernel_rules: Option<Box<dyn KernelRules>>,
    /// The addresses of the hub, which stay reachable in isolation.
    pub hubs: KnownHubs,
}

/// Sees, decides, acts.
pub struct Guard {
    parts: Parts,
    scratch: Scratch,
    correlating: correlate::Correlating,
    policy: DevicePolicy,
    policy_digest: Vec<u8>,
    orders: Orders,
    /// The keys whose commands are obeyed.
    keys: KeyRing,
    sensors: Vec<SensorStatus>,
    /// Rule and process pairs that already led to a finding, for events that repeat (files, connections).
    found: finding::Repeats,
    held: held::Held,
    kept_local: u64,
    /// Events that came since their sensors were last asked for their accounts.
    ahead: u64,
    /// Events that the guard itself produced: losses.
    told: u64,
    findings: u64,
    last_reconcile_ns: Option<u64>,
    keeper: Keeper,
    kernel: kernel::Kernel,
}

/// How often the kernel is compared with the records of containments.
const RECONCILE_EVERY: Duration = Duration::from_secs(5);

impl Guard {
    /// Puts the guard together and takes up the stored policy, orders and isolation.
    pub fn new(mut parts: Parts) -> Result<Self, StateError> {
        let kernel = kernel::Kernel::new(parts.kernel_rules.take());
        let mut guard = Self {
            scratch: parts.rules.set.scratch(),
            correlating: correlate::Correlating::new(&parts.rules.correlations),
            policy: DevicePolicy::default(),
            policy_digest: Vec::new(),
            orders: Orders::load(&parts.state)?,
            keys: crate::keys::load(&parts.state, &parts.identity)?,
            sensors: Vec::new(),
            found: finding::Repeats::default(),
            held: held::Held::default(),
            kept_local: 0,
            ahead: 0,
            told: 0,
            findings: 0,
            last_reconcile_ns: None,
            keeper: Keeper::new(parts.state.path()),
            kernel,
            parts,
        };
        match guard.parts.state.read(POLICY_FILE)? {
            Some(bytes) => {
                if let Err(why) = guard.take_up(&bytes) {
                    warn!(
                        "the stored policy cannot be used ({why}); monitoring only until the hub sends it again"
                    );
                }
            }
            None => warn!("no policy is stored; monitoring only until the hub sends one"),
        }
        guard.tick();
        Ok(guard)
    }

    /// The policy in force.
    pub fn policy(&self) -> &DevicePolicy {
        &self.policy
    }

    /// Takes up a stored policy; its signature is checked as if it had just arrived, but for the key, which may have been
    /// replaced since. Not its time: it was fresh when it was accepted and does not expire, and the clock of a machine that
    /// has just started may be years behind.
    fn take_up(&mut self, bytes: &[u8]) -> Result<(), String> {
        let signed: SignedCommand = prost::Message::decode(bytes).map_err(|e| e.to_string())?;
        let command: Command =
            prost::Message::decode(signed.command.as_slice()).map_err(|e| e.to_string())?;
        let issued = Timestamp(command.issued_ms);
        let verified =
            self.keys.verify_kept(&signed, self.parts.identity.device, issued).map_err(|e| e.to_string())?;
        let policy = policy_of(&verified).map_err(|e| e.to_string())?;
        self.take_policy(policy, &signed);
        Ok(())
    }

    fn take_policy(&mut self, policy: DevicePolicy, signed: &SignedCommand) {
        self.parts.responder.never_kill(policy.never_kill.clone());
        self.policy_digest = ring::digest::digest(&ring::digest::SHA256, &signed.command).as_ref().to_vec();
        self.policy = policy;
        self.tell_kernel();
    }

    /// Takes in one event of a sensor whose account ([`Guard::note_sensors`]) does not count it yet.
    pub fn on_sensed(&mut self, sensed: Sensed) {
        self.ahead += 1;
        self.on_event(sensed);
    }

    /// What sensors say of themselves, which counts so many events that came since they were last asked.
    pub fn note_sensors(&mut self, statuses: Vec<SensorStatus>, counted: u64) {
        self.ahead -= counted;
        for status in statuses {
            self.note_sensor(status);
        }
    }

    /// Takes in one event: matches, decides, acts, records.
    pub fn on_event(&mut self, sensed: Sensed) {
        let Sensed { event, boot_ns } = sensed;
        if matches!(&event.body, Body::Process(p) if p.op == ProcessOp::Fork) {
            // A fork runs no new program: it matters for the tree, which is kept on the device.
            self.kept_local += 1;
            return;
        }
        let mut hits = Vec::new();
        let rules = &self.parts.rules.set;
        rules.matches(&event, &mut self.scratch, &mut |rule| hits.push(rule));
        if let Some(view) = AuditView::of(&event) {
            // Rules that name no service see both.
            let seen = hits.len();
            let mut add = |rule| {
                if !hits[..seen].contains(&rule) {
                    hits.push(rule);
                }
            };
            rules.matches(&view, &mut self.scratch, &mut add);
        }
        if let Some(stopped) = kernel::stopped_of(&event)
            && stopped.rule < rules.rules().len()
            && !hits.contains(&stopped.rule)
        {
            // The tables say what the rules say; were it not so, what was done would still be told.
            warn!(rule = %rules.rules()[stopped.rule].title, "the kernel stopped what the rule does not match");
            hits.push(stopped.rule);
        }
        for view in ServiceView::of(&event) {
            rules.matches(&view, &mut self.scratch, &mut |rule| {
                if !hits.contains(&rule) {
                    hits.push(rule);
                }
            });
        }
        let is_plenty = match &event.body {
            Body::File(_) => true,
            // The answer repeats it.
            Body::Dns(d) => !d.response,
            Body::Log(l) => l.login.is_none(),
            _ => false,
        };
        if hits.is_empty() && is_plenty {
            // Files are the most frequent, and one that nothing is known about tells nobody much.
            self.kept_local += 1;
            return;
        }
        self.watch_itself(&event);
        self.act(hits.clone(), &event, boot_ns);
        self.ship_or_hold(event, boot_ns, hits);
    }

    /// Rules matched an event: correlates, decides, acts, and tells of what it found.
    fn act(&mut self, mut hits: Vec<usize>, event: &Event, boot_ns: u64) {
        if hits.is_empty() {
            return;
        }
        let found = self.correlating.observe(&hits, event, boot_ns);
        let (now, before): (Vec<_>, Vec<_>) = found.into_iter().partition(|found| found.is_of_newest);
        hits.retain(|rule| !self.parts.rules.is_silent(*rule));
        let reasons: Vec<Reason> = hits
            .into_iter()
            .map(Reason::Rule)
            .chain(now.into_iter().map(|found| Reason::Correlation(found.what)))
            .collect();
        if !reasons.is_empty() {
            self.found(event, boot_ns, &reasons);
        }
        self.correlated(before);
    }

    fn ship(&self, event: &Event) {
        match serde_json::to_vec(&wardline_event::ocsf::EventObject(event)) {
            Ok(body) => self.parts.outbox.put_event(Worth::of(event), body),
            Err(error) => warn!("a record could not be encoded: {error}"),
        }
    }

    fn put(&self, kind: RecordKind, json: &impl serde::Serialize) {
        match serde_json::to_vec(json) {
            Ok(body) => self.parts.outbox.put(kind, body),
            Err(error) => warn!("a record could not be encoded: {error}"),
        }
    }

    /// A sensor's account of itself. New losses become an event: what is missing is told like
    /// anything else that happened.
    pub fn note_sensor(&mut self, status: SensorStatus) {
        let (kind, total, state) = (status.kind, status.lost, status.state.clone());
        let before = match self.sensors.iter_mut().find(|s| s.kind == kind) {
            Some(known) => {
                let known = std::mem::replace(known, status);
                if known.state == SensorState::Live
                    && let SensorState::Degraded { reason } | SensorState::Off { reason } = &state
                {
                    self.fell_silent(kind, reason);
                }
                known.lost
            }
            None => {
                self.sensors.push(status);
                0
            }
        };
        if total > before {
            let lost = total - before;
            warn!(sensor = kind.title(), lost, total, "a sensor lost events");
            let agent = self.own_process();
            let body = Body::Loss(SensorLoss { sensor: kind, lost, total, agent });
            let simulated = kind == SensorKind::Simulated;
            let event =
                Event { id: self.fresh_id(), time: self.now(), product: "linux".into(), simulated, body };
            self.ship(&event);
            self.told += 1;
        }
    }

    /// The agent's own process, as the sensors know it.
    fn own_process(&self) -> Process {
        let processes = self.processes();
        let known = processes.live_with_pid(std::process::id()).and_then(|key| processes.get(&key));
        known.unwrap_or_default()
    }

    /// Does what is due: looks at correlations whose time is over, ends containments in time, restores them after a
    /// reboot. Call it about once a second.
    pub fn tick(&mut self) {
        let now_ns = self.parts.clock.boot_ns();
        self.let_go_of_late(now_ns);
        let found = self.correlating.advance(now_ns);
        self.correlated(found);
        let since = |then: u64| Duration::from_nanos(now_ns.saturating_sub(then));
        if self.last_reconcile_ns.is_some_and(|last| since(last) < RECONCILE_EVERY) {
            return;
        }
        let first = self.last_reconcile_ns.replace(now_ns).is_none();
        let now = self.parts.clock.now();
        let mut weakened = Vec::new();
        for (rung, done) in self.keeper.check(&mut *self.parts.responder, now, now_ns) {
            match done {
                Ok(Reconciled::Unchanged { .. }) => {}
                Ok(Reconciled::Contained(_)) => {
                    info!(target: "wardline::order", "containment {rung} is in force again, as ordered before");
                    // At the start it is the reboot that took it away.
                    if !first {
                        weakened.push(rung.to_string());
                    }
                }
                Ok(Reconciled::Released) => info!(target: "wardline::order", "containment {rung} has ended"),
                // Without the right to look at the packet filter there is no isolation to keep either.
                Err(error) if first => {
                    info!("containment {rung} is not available here: {}", crate::chain(&error));
                }
                Err(error) => warn!("containment {rung} could not be checked: {}", crate::chain(&error)),
            }
        }
        for rung in weakened {
            self.containment_was_weakened(&rung);
        }
    }

    fn processes(&self) -> MutexGuard<'_, ProcessTable> {
        // Its books are right between calls, whoever panicked elsewhere.
        self.parts.processes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> Timestamp {
        self.parts.clock.now()
    }

    fn fresh_id(&self) -> EventId {
        EventId::from_bytes((self.parts.random)())
    }

    /// How the device is, for the hub.
    ///
    /// `events` is [`Outbox::events`], asked before this guard was locked: the answer may take as long as a disk does.
    pub fn heartbeat(&self, events: EventAccount) -> Heartbeat {
        let contained = record::going_on(self.parts.state.path(), self.now());
        let isolation = contained.iter().find(|r| r.rung() == Rung::Isolation).map(|r| Isolation {
            action_id: r.action_id.clone(),
            since_ms: r.since.0,
            expires_ms: r.expires.0,
        });
        let containment = |r: &record::Record| Containment {
            rung: r.rung().to_string(),
            action_id: r.action_id.clone(),
            since_ms: r.since.0,
            expires_ms: r.expires.0,
            by: r.by.clone(),
            reason: r.reason.clone(),
        };
        Heartbeat {
            time_ms: self.now().0,
            sensors: self.sensors.iter().map(sensor).collect(),
            counters: Some(Counters {
                produced: self.sensors.iter().map(|s| s.produced).sum::<u64>() + self.ahead + self.told,
                kernel_lost: self.sensors.iter().map(|s| s.lost - s.undecoded.min(s.lost)).sum(),
                decode_lost: self.sensors.iter().map(|s| s.undecoded).sum(),
                kept_local: self.kept_local,
                spooled: events.spooled,
                spool_dropped: events.dropped,
                waiting: events.waiting + self.held.len() as u64,
                findings: self.findings,
                correlation_lost: self.correlating.lost(),
            }),
            isolation,
            mode: self.policy.mode.as_str().to_owned(),
            rules_loaded: self.parts.rules.len() as u64,
            rss_bytes: rss_bytes("/proc/self/statm"),
            policy_digest: self.policy_digest.clone(),
            containments: contained.iter().map(containment).collect(),
            command_key: self.keys.current.0.to_vec(),
        }
    }
}

fn sensor(status: &SensorStatus) -> Sensor {
    let (state, reason) = match &status.state {
        SensorState::Live => ("live", ""),
        SensorState::Degraded { reason } => ("degraded", reason.as_str()),
        SensorState::Off { reason } => ("off", reason.as_str()),
    };
    Sensor {
        kind: kind_name(status.kind),
        state: state.to_owned(),
        reason: reason.to_owned(),
        produced: status.produced,
        lost: status.lost,
    }
}

fn kind_name(kind: SensorKind) -> String {
    // The serialised form is the name on the wire.
    serde_json::to_value(kind).ok().and_then(|v| v.as_str().map(str::to_owned)).unwrap_or_default()
}

/// A process's resident memory, from its `statm`; 0 where `/proc` does not tell.
pub(crate) fn rss_bytes(statm: &str) -> u64 {
    let pages = std::fs::read_to_string(statm)
        .ok()
        .and_then(|text| text.split_whitespace().nth(1)?.parse::<u64>().ok());
    pages.unwrap_or(0) * rustix::param::page_size() as u64
}
