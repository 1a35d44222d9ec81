//! A made-up device: says what an agent would say, through the functions that take an agent's words.

use std::time::Duration;

use prost::Message;
use wardline_devices::{TokenSpec, enrol, link, make_token};
use wardline_event::{
    ActionState, ActionUpdate, BootId, DeviceId, Event, Finding, Process, ProcessKey, Timestamp, User, ocsf,
};
use wardline_kernel::{FIRST_PERSON, Kernel, NewEvent, Scope, Topic};
use wardline_policy::{DeviceClass, Mode};
use wardline_wire::proto::command::Kind;
use wardline_wire::proto::{Command, Counters, DeviceFacts, EnrolRequest, Heartbeat, Isolation, Sensor};

use crate::Result;

/// One of the spool's ids; every device has one spool.
const SPOOL: &str = "00000000000000000000000000000001";

/// A made-up device.
pub struct Device {
    /// What the hub knows of it.
    pub known: link::Known,
    /// Its name.
    pub hostname: String,
    /// False for one that enrolled and never came.
    pub connected: bool,
    mode: Mode,
    seq: u64,
    sent_events: u64,
    kept_local: u64,
    lost: u64,
    isolation: Option<Isolation>,
    begun: Vec<String>,
    digest: Vec<u8>,
}

/// What a device is.
pub struct Role {
    /// Its name.
    pub hostname: &'static str,
    /// What it is for.
    pub purpose: &'static str,
    /// What runs on it.
    pub os: &'static str,
    /// As far as safety cares.
    pub class: DeviceClass,
    /// Whether rules may act.
    pub mode: Mode,
    /// False for one that never comes.
    pub connected: bool,
    /// Events that it lost.
    pub lost: u64,
}

impl Device {
    /// Enrols a device as an agent would.
    pub async fn enrol(kernel: &Kernel, role: &Role) -> Result<Self> {
        let spec = TokenSpec {
            role: role.purpose.into(),
            class: role.class,
            mode: role.mode,
            ..TokenSpec::default()
        };
        let (_, token) = make_token(kernel, kernel.home().root(), FIRST_PERSON, &spec).await?;
        let key = rcgen::KeyPair::generate()?;
        let csr = rcgen::CertificateParams::default().serialize_request(&key)?;
        let facts = DeviceFacts {
            hostname: role.hostname.into(),
            os: role.os.into(),
            kernel: "10.0.26100".into(),
            agent_version: env!("CARGO_PKG_VERSION").into(),
            simulated: true,
            role: role.purpose.into(),
        };
        let request = EnrolRequest {
            secret: token.secret_text(),
            csr_der: csr.der().to_vec(),
            facts: Some(facts.clone()),
        };
        let reply = enrol(kernel, &request).await?;
        let id = DeviceId::from_bytes(reply.device_id.as_slice().try_into()?);
        let known =
            link::admit(kernel, kernel.home().root(), id).await?.ok_or("enrolled and not admitted")?;
        if role.connected {
            link::hello(kernel, &known, &facts, &BootId(7).to_string()).await?;
        }
        Ok(Self {
            known,
            hostname: role.hostname.into(),
            connected: role.connected,
            mode: role.mode,
            seq: 0,
            sent_events: 0,
            kept_local: 20 * u64::from(role.connected),
            lost: role.lost,
            isolation: None,
            begun: Vec::new(),
            digest: Vec::new(),
        })
    }

    /// A process of this device that began `before_ms` ago.
    pub fn process(kernel: &Kernel, pid: u32, before_ms: i64, image: &str, command_line: &str) -> Process {
        let started = Timestamp(kernel.now().0 - before_ms);
        let ticks = u64::try_from(started.0 / 10).unwrap_or(0);
        Process {
            key: ProcessKey { boot: BootId(7), start_ticks: ticks, pid },
            image: image.into(),
            command_line: command_line.into(),
            cwd: "C:\\Users\\j.bloggs\\Documents".into(),
            user: User { uid: "S-1-5-21-1004".into(), name: "NORTHFIELD\\j.bloggs".into() },
            started,
            ..Process::default()
        }
    }

    /// Stores events and a finding, as a batch would be stored.
    pub async fn send(&mut self, kernel: &Kernel, events: &[Event], finding: Option<&Finding>) -> Result<()> {
        let (scope, id) = (&self.known.organisation, self.known.id.to_string());
        let records = events.len() as u64 + u64::from(finding.is_some());
        let first = self.seq + 1;
        self.seq += records;
        self.sent_events += events.len() as u64;
        let stored: Vec<NewEvent> = events
            .iter()
            .zip(first..)
            .map(|(event, seq)| NewEvent::of(seq, event, ocsf::event_to_json(event).to_string()))
            .collect();
        let mut tx = kernel.store().write_everywhere().await?;
        link::take_batch(&mut tx, kernel, &self.known, SPOOL, first, self.seq).await?;
        kernel.events().append(&mut tx, scope, &id, SPOOL, &stored).await?;
        if let Some(finding) = finding {
            let body = ocsf::finding_to_json(finding).to_string();
            wardline_incidents::store_finding(&mut tx, scope, &id, true, finding, &body, kernel.now())
                .await?;
        }
        tx.commit().await?;
        if let Some(finding) = finding {
            let topic = Topic::FindingAdded {
                id: finding.id.to_string(),
                device: id,
                severity: finding.severity.as_str().into(),
            };
            kernel.bus().tell(scope, topic);
        }
        Ok(())
    }

    /// One heartbeat.
    pub async fn beat(&mut self, kernel: &Kernel) -> Result<()> {
        self.kept_local += 3;
        let produced = self.sent_events + self.kept_local + self.lost;
        let sensor = Sensor {
            kind: "simulated".into(),
            state: if self.lost > 0 { "degraded" } else { "live" }.into(),
            reason: if self.lost > 0 {
                "The buffer was too small for a burst of events.".into()
            } else {
                String::new()
            },
            produced,
            lost: self.lost,
        };
        if let Some(policy) = wardline_devices::policy::newest(
            kernel,
            &Scope::within(self.known.organisation.clone()),
            &self.known.id.to_string(),
        )
        .await?
        {
            self.digest = policy.digest;
            let command = Command::decode(policy.command.command.as_slice())?;
            if let Some(Kind::SetPolicy(set)) = command.kind {
                self.mode = wardline_policy::DevicePolicy::from_json(&set.policy_json)?.mode;
            }
        }
        self.isolation = self.isolation.take().filter(|i| i.expires_ms > kernel.now().0);
        let beat = Heartbeat {
            time_ms: kernel.now().0,
            sensors: vec![sensor],
            counters: Some(Counters {
                produced,
                kernel_lost: self.lost,
                kept_local: self.kept_local,
                spooled: self.sent_events,
                ..Counters::default()
            }),
            isolation: self.isolation.clone(),
            containments: Vec::new(),
            mode: self.mode.as_str().into(),
            rules_loaded: 44,
            rss_bytes: 24_000_000,
            policy_digest: self.digest.clone(),
            command_key: Vec::new(),
        };
        Ok(link::heartbeat(kernel, &self.known, &beat).await?)
    }

    /// Does what was ordered, one step a beat: it begins, then it is done.
    pub async fn obey(&mut self, kernel: &Kernel) -> Result<()> {
        let (scope, id) = (self.known.organisation.clone(), self.known.id.to_string());
        for action_id in std::mem::take(&mut self.begun) {
            self.say(kernel, &action_id, ActionState::Succeeded, "done on a simulated device").await?;
        }
        let waiting = wardline_actions::pending(kernel.store().read(), &scope, &id, kernel.now()).await?;
        for pending in waiting {
            let command = Command::decode(pending.command.command.as_slice())?;
            match command.kind {
                Some(Kind::Isolate(isolate)) => {
                    let now = kernel.now();
                    let until = now.plus(Duration::from_secs(isolate.for_s));
                    self.isolation = Some(Isolation {
                        action_id: pending.action_id.clone(),
                        since_ms: now.0,
                        expires_ms: until.0,
                    });
                }
                Some(Kind::Release(_)) => self.isolation = None,
                _ => {}
            }
            self.say(kernel, &pending.action_id, ActionState::InProgress, "").await?;
            self.begun.push(pending.action_id);
        }
        Ok(())
    }

    async fn say(&self, kernel: &Kernel, action: &str, state: ActionState, detail: &str) -> Result<()> {
        let (scope, id) = (&self.known.organisation, self.known.id.to_string());
        let update =
            ActionUpdate { action_id: action.into(), state, at: kernel.now(), detail: detail.into() };
        let mut tx = kernel.store().write_everywhere().await?;
        let changed = wardline_actions::apply(&mut tx, kernel, scope, &id, &update).await?;
        tx.commit().await?;
        if changed {
            kernel.bus().tell(scope, Topic::ActionChanged { id: action.into(), device: id });
        }
        Ok(())
    }
}
