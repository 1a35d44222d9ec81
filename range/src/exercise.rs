//! An exercise: a hub, an agent for each device of the estate, and a script played against them.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use wardline_actions::{Person, Wish};
use wardline_agent::clock::{Clock, SystemClock};
use wardline_agent::guard::{Ruleset, SharedProcesses};
use wardline_agent::keeper::CourierHost;
use wardline_agent::outbox::Budget;
use wardline_agent::running::{Running, Setup, start};
use wardline_agent::state::StateDir;
use wardline_devices::TokenSpec;
use wardline_event::ActionState;
use wardline_hub::{HubConfig, RunningHub};
use wardline_policy::Role;
use wardline_wire::proto::DeviceFacts;

use crate::estate::{self, DEVICES, TRUST};
use crate::machine::{Machine, Prevented};
use crate::script::Step;
use crate::summary::{Outcome, Summary};

/// How long an agent may take to deal with an event, or the hub with a record, before the exercise gives up.
const PATIENCE: Duration = Duration::from_secs(30);

struct Device {
    machine: Machine,
    agent: Running,
    id: String,
}

/// An exercise with its hub and agents running.
pub struct Exercise {
    /// The hub.
    pub hub: RunningHub,
    devices: BTreeMap<&'static str, Device>,
    outcomes: Vec<Outcome>,
    began: Instant,
}

impl Exercise {
    /// Starts the hub and enrols all devices, over real TLS on loopback.
    pub async fn prepare(
        folder: &Path,
        http: SocketAddr,
        random: fn() -> [u8; 16],
        mut progress: impl FnMut(&str),
    ) -> anyhow::Result<Self> {
        let began = Instant::now();
        let config = HubConfig {
            organisation: TRUST.to_owned(),
            http,
            agents: SocketAddr::from(([127, 0, 0, 1], 0)),
            ..HubConfig::new(folder.join("hub"))
        };
        let hub = wardline_hub::start(config).await.context("starting the exercise's hub")?;
        let mut devices = BTreeMap::new();
        for spec in &DEVICES {
            progress(spec.host);
            let token = hub
                .make_enrolment_token(&TokenSpec {
                    role: spec.role.to_owned(),
                    class: spec.class,
                    mode: spec.mode,
                    ..TokenSpec::default()
                })
                .await
                .context("making an enrolment token")?;
            let clock: Arc<dyn Clock> = Arc::new(SystemClock);
            let processes = SharedProcesses::default();
            let machine = Machine::new(spec, Arc::clone(&clock), random, Arc::clone(&processes));
            let state = StateDir::open(&folder.join("devices").join(spec.host))?;
            let facts = DeviceFacts {
                hostname: spec.host.to_owned(),
                os: spec.os.to_owned(),
                kernel: "simulated".to_owned(),
                agent_version: env!("CARGO_PKG_VERSION").to_owned(),
                simulated: true,
                role: spec.role.to_owned(),
            };
            let address = hub.agents_addr().to_string();
            let identity = wardline_agent::enrol::enrol(&address, &token, facts.clone(), &state, clock.now())
                .await
                .with_context(|| format!("enrolling {}", spec.host))?;
            let (rules, problems) = Ruleset::load(wardline_content::rules().iter().map(|r| (r.path, r.text)));
            if let Some(problem) = problems.first() {
                bail!("Wardline's own rules do not load: {problem}");
            }
            let agent = start(Setup {
                state,
                hub: None,
                facts,
                boot: machine.boot(),
                rules,
                responder: Box::new(machine.clone()),
                sensors: vec![Box::new(machine.clone())],
                others: Vec::new(),
                found: Vec::new(),
                processes,
                kernel_rules: None,
                clock,
                random,
                budget: Budget { findings: 4 << 20, telemetry: 16 << 20 },
                courier: CourierHost::Thread,
            })?;
            devices.insert(spec.host, Device { machine, agent, id: identity.device.to_string() });
        }
        let exercise = Self { hub, devices, outcomes: Vec::new(), began };
        exercise.ordinary_work()?;
        Ok(exercise)
    }

    /// Something ordinary on every device, before anything bad happens.
    fn ordinary_work(&self) -> anyhow::Result<()> {
        for device in self.devices.values() {
            let spec = device.machine.spec;
            for (n, (parent, image, cmd)) in estate::ordinary(spec.product).iter().enumerate() {
                device.machine.start(&format!("ordinary-{n}"), parent, image, cmd, "ordinary").ok();
            }
            settle(device)?;
        }
        Ok(())
    }

    fn device(&self, host: &str) -> anyhow::Result<&Device> {
        self.devices.get(host).with_context(|| format!("the script names no device of the estate: {host}"))
    }

    /// Plays one step and notes what came of it.
    pub async fn play(&mut self, step: &Step) -> anyhow::Result<&Outcome> {
        let outcome = match step {
            Step::Say { text } => Outcome::Told(text.clone()),
            Step::Start { on, name, under, via, image, cmd, user, expect } => {
                let reached = via.as_deref().map_or(Ok(Ok(())), |via| self.reaches(via, on))?;
                let machine = &self.device(on)?.machine;
                let result = reached.and_then(|()| machine.start(name, under, image, cmd, user));
                self.done(on, format!("{} starts {}", on, short(cmd)), result, *expect)?
            }
            Step::Connect { on, by, to, host, port, expect } => {
                let result = self.device(on)?.machine.connect(by, to, host, *port);
                self.done(on, format!("{on} connects to {host}:{port}"), result, *expect)?
            }
            Step::Write { on, by, path } => {
                let result = self.device(on)?.machine.write(by, path);
                self.done(on, format!("{on} writes {path}"), result, false)?
            }
            Step::Order { on, by, approved_by, reason, kill, isolate_s } => {
                let people = (by.as_str(), approved_by.as_deref());
                self.order(on, people, reason, kill.as_deref(), *isolate_s).await?
            }
        };
        self.outcomes.push(outcome);
        self.outcomes.last().context("an outcome was just noted")
    }

    /// Whether `DEVICE/PROCESS` can reach another device.
    fn reaches(&self, via: &str, target: &str) -> anyhow::Result<Result<(), Prevented>> {
        let (host, process) =
            via.split_once('/').with_context(|| format!("`{via}` is not DEVICE/PROCESS"))?;
        let source = &self.device(host)?.machine;
        let target = &self.device(target)?.machine;
        Ok(source.reaches_out(process).and_then(|()| target.reachable()))
    }

    fn done(
        &self,
        host: &str,
        what: String,
        result: Result<(), Prevented>,
        expected: bool,
    ) -> anyhow::Result<Outcome> {
        settle(self.device(host)?)?;
        Ok(match result {
            Ok(()) => Outcome::Happened { what, expected },
            Err(why) => Outcome::Prevented { what, why },
        })
    }

    /// A person orders something at the hub, and waits until the device has proved it.
    async fn order(
        &self,
        on: &str,
        (by, approved_by): (&str, Option<&str>),
        reason: &str,
        kill: Option<&str>,
        isolate_s: Option<u64>,
    ) -> anyhow::Result<Outcome> {
        let device = self.device(on)?;
        let wish = match (kill, isolate_s) {
            (Some(process), None) => {
                let key = device.machine.key_of(process);
                Wish::KillProcess { process_key: key.with_context(|| format!("no process `{process}`"))? }
            }
            (None, Some(for_s)) => Wish::Isolate { for_s },
            _ => bail!("an order kills a process or isolates a device, one of the two"),
        };
        let kernel = self.hub.kernel();
        let began = Instant::now();
        let person = |name: &str, role| Person {
            scope: kernel.home().clone(),
            name: name.to_owned(),
            answerable: name.to_owned(),
            role,
            program: false,
        };
        let (lead, devices) = (person(by, Role::TrustLead), [device.id.clone()]);
        let ordered = wardline_actions::order(kernel, &lead, &devices, &wish, reason, None).await?;
        let id = ordered.into_iter().next().context("an order has an action")?.id;
        if let Some(name) = approved_by {
            let engineer = person(name, Role::ClinicalEngineer);
            wardline_actions::agree(kernel, &engineer, &id, false, true, reason).await?;
        }
        while began.elapsed() < PATIENCE {
            let detail = wardline_actions::detail(kernel.store().read(), kernel.home(), &id).await?;
            if let Some(detail) = detail
                && let Some(state) = ActionState::parse(&detail.summary.state)
                && state.is_final()
            {
                let agrees = approved_by.map_or_else(String::new, |name| format!(", {name} agrees"));
                let what = format!("{by} orders {} on {on}{agrees}", wish.kind().replace('_', " "));
                return Ok(Outcome::Ordered { what, state, took: began.elapsed() });
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        bail!("the order on {on} was not confirmed within {} s", PATIENCE.as_secs())
    }

    /// Waits until all records are at the hub, then counts and measures.
    pub async fn summary(&self) -> anyhow::Result<Summary> {
        let began = Instant::now();
        while self.devices.values().any(|d| d.agent.waiting() > 0) {
            if began.elapsed() > PATIENCE {
                bail!("records still wait at an agent after {} s", PATIENCE.as_secs());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let counters = self.devices.values().filter_map(|d| d.agent.heartbeat().counters);
        Summary::gather(self.hub.kernel(), counters, &self.outcomes, self.began.elapsed()).await
    }

    /// The device's id at the hub.
    pub fn device_id(&self, host: &str) -> Option<&str> {
        self.devices.get(host).map(|d| d.id.as_str())
    }

    /// What came of each step so far.
    pub fn outcomes(&self) -> &[Outcome] {
        &self.outcomes
    }

    /// Ends agents and hub.
    pub async fn stop(self) {
        let devices = self.devices;
        // Stopping an agent waits for its threads.
        let _ = tokio::task::spawn_blocking(move || devices.into_values().for_each(|d| d.agent.stop())).await;
        self.hub.stop().await;
    }
}

fn settle(device: &Device) -> anyhow::Result<()> {
    if device.machine.settle(PATIENCE) {
        return Ok(());
    }
    bail!(
        "the agent of {} did not deal with its events within {} s",
        device.machine.spec.host,
        PATIENCE.as_secs()
    )
}

/// The first words of a command line, for the audience.
fn short(cmd: &str) -> String {
    let line: String = cmd.chars().take(70).collect();
    if line.len() < cmd.len() { line + " …" } else { line }
}
