//! A running agent: a thread per sensor, one for orders, one that serves the courier.

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use tracing::{error, info};
use wardline_event::{BootId, SensorState, SensorStatus};
use wardline_respond::{Responder, Rung, record};
use wardline_sense::{KernelRules, Sensed, Sensor};
use wardline_wire::proto::{DeviceFacts, Heartbeat, SignedCommand};

use crate::clock::Clock;
use crate::desk::{CourierState, Desk};
use crate::guard::{Encryptor, Guard, Judged, OwnFinding, Parts, Ruleset, SharedProcesses};
use crate::keeper::{self, CourierHost, Means};
use crate::known_hubs::KnownHubs;
use crate::outbox::{Budget, Outbox};
use crate::pulse::{Pulse, Pulses};
use crate::spool::SpoolError;
use crate::state::{StateDir, StateError};

/// The agent could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Its folder.
    #[error(transparent)]
    State(#[from] StateError),
    /// Its spool.
    #[error(transparent)]
    Spool(#[from] SpoolError),
    /// A thread or the runtime.
    #[error("{doing} failed")]
    Os {
        /// What was being tried.
        doing: &'static str,
        /// What the system answered.
        #[source]
        source: io::Error,
    },
}

/// What an agent is made of.
pub struct Setup {
    /// Its folder; the device is enrolled.
    pub state: StateDir,
    /// The hub's address, if it is another one than at the enrolment. Kept once a renewal there has succeeded.
    pub hub: Option<String>,
    /// What the device says about itself.
    pub facts: DeviceFacts,
    /// This boot.
    pub boot: BootId,
    /// The rules.
    pub rules: Ruleset,
    /// The machine's hands.
    pub responder: Box<dyn Responder>,
    /// The machine's eyes.
    pub sensors: Vec<Box<dyn Sensor>>,
    /// The account of whatever does not live on: `/proc`, read once; sensors that are off, and why.
    pub others: Vec<SensorStatus>,
    /// What was there before the sensors: the processes found at the start.
    pub found: Vec<Sensed>,
    /// Where the kernel follows rules itself.
    pub kernel_rules: Option<Box<dyn KernelRules>>,
    /// The machine's processes, kept up to date by the sensors.
    pub processes: SharedProcesses,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// 16 random bytes.
    pub random: fn() -> [u8; 16],
    /// How much disk the spool may use.
    pub budget: Budget,
    /// Where the courier runs.
    pub courier: CourierHost,
}

/// A running agent. [`Running::stop`] ends it cleanly.
pub struct Running {
    guard: Arc<Mutex<Guard>>,
    outbox: Arc<Outbox>,
    stopping: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
    desk: Arc<Desk>,
    keeper: Option<JoinHandle<()>>,
    pulses: Pulses,
    /// Keeps other agents out of the folder for as long as this one runs.
    _lock: std::fs::File,
}

/// How long a sensor may wait for events, and stopping for a sensor.
const POLL: Duration = Duration::from_millis(250);
/// Commands that may wait to be looked at.
const COMMANDS: usize = 64;
/// How long a hub that listens may take for what still waits when the agent stops.
const LAST_WORDS: Duration = Duration::from_secs(1);

fn lock(guard: &Mutex<Guard>) -> std::sync::MutexGuard<'_, Guard> {
    guard.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The outbox may wait for the disk; the guard is not kept waiting with it.
pub(crate) fn heartbeat(guard: &Mutex<Guard>, outbox: &Outbox) -> Heartbeat {
    let events = outbox.events();
    lock(guard).heartbeat(events)
}

/// Starts the agent.
pub fn start(setup: Setup) -> Result<Running, StartError> {
    let mut identity = setup.state.identity()?;
    if let Some(hub) = setup.hub {
        identity.hub = hub;
    }
    let held = setup.state.lock()?;
    let outbox = Arc::new(Outbox::open(&setup.state.path().join("spool"), setup.budget, setup.random)?);
    let hubs = known_hubs(&identity.hub, &setup.state);
    let mut guard = Guard::new(Parts {
        state: setup.state.clone(),
        identity: identity.clone(),
        boot: setup.boot,
        rules: setup.rules,
        responder: setup.responder,
        outbox: Arc::clone(&outbox),
        clock: Arc::clone(&setup.clock),
        random: setup.random,
        processes: setup.processes,
        hubs: hubs.clone(),
        kernel_rules: setup.kernel_rules,
    })?;
    for status in setup.others {
        guard.note_sensor(status);
    }
    for sensor in &setup.sensors {
        sensor.statuses().into_iter().for_each(|status| guard.note_sensor(status));
    }
    let guard = Arc::new(Mutex::new(guard));
    let stopping = Arc::new(AtomicBool::new(false));
    let (commands, orders) = mpsc::sync_channel(COMMANDS);
    let desk = Arc::new(Desk {
        guard: Arc::clone(&guard),
        outbox: Arc::clone(&outbox),
        state: setup.state,
        identity: Mutex::new(identity),
        facts: setup.facts,
        boot: setup.boot,
        hubs,
        commands,
        connected: AtomicBool::new(false),
        closing: AtomicBool::new(false),
        courier: Mutex::default(),
    });
    let mut running = Running {
        guard: Arc::clone(&guard),
        outbox: Arc::clone(&outbox),
        stopping: Arc::clone(&stopping),
        threads: Vec::new(),
        desk: Arc::clone(&desk),
        keeper: None,
        pulses: Pulses::default(),
        _lock: held,
    };

    // The roots first, so that the first event already has its ancestors.
    for sensed in setup.found {
        lock(&guard).on_event(sensed);
    }
    for (n, sensor) in setup.sensors.into_iter().enumerate() {
        let (guard, stopping, name) = (Arc::clone(&guard), Arc::clone(&stopping), format!("sensor-{n}"));
        let pulse = running.pulses.of(&name);
        running.spawn(&name, move || watch_sensor(sensor, &guard, &stopping, &pulse))?;
    }
    {
        let (outbox, stopping) = (Arc::clone(&outbox), Arc::clone(&stopping));
        let pulse = running.pulses.of("scribe");
        running.spawn("scribe", move || {
            while !stopping.load(Ordering::Relaxed) {
                pulse.beat();
                outbox.write(POLL);
            }
            pulse.end();
        })?;
    }
    {
        let (guard, stopping) = (Arc::clone(&guard), Arc::clone(&stopping));
        let pulse = running.pulses.of("orders");
        running.spawn("orders", move || take_orders(&orders, &guard, &stopping, &pulse))?;
    }
    let means = Means { clock: setup.clock, random: setup.random };
    let host = setup.courier;
    running.spawn("keeper", move || keeper::keep(&desk, host, &means))?;
    running.keeper = running.threads.pop();
    Ok(running)
}

/// What a detector beside the sensors may ask of a running agent.
#[derive(Clone)]
pub struct Court(Arc<Mutex<Guard>>);

impl Court {
    /// [`Guard::may_kill`].
    pub fn may_kill(&self) -> bool {
        lock(&self.0).may_kill()
    }

    /// The folders that policy wants canary files in.
    pub fn canary_folders(&self) -> Vec<String> {
        lock(&self.0).policy().canary_folders.clone()
    }

    /// [`Guard::note_sensor`].
    pub fn note_sensor(&self, status: SensorStatus) {
        lock(&self.0).note_sensor(status);
    }

    /// [`Guard::on_encryptor`].
    pub fn on_encryptor(&self, case: &Encryptor) -> Judged {
        lock(&self.0).on_encryptor(case)
    }
}

impl Running {
    /// For detectors beside the sensors.
    pub fn court(&self) -> Court {
        Court(Arc::clone(&self.guard))
    }

    fn spawn(&mut self, name: &str, run: impl FnOnce() + Send + 'static) -> Result<(), StartError> {
        let thread = thread::Builder::new()
            .name(name.to_owned())
            .spawn(run)
            .map_err(|source| StartError::Os { doing: "starting a thread", source })?;
        self.threads.push(thread);
        Ok(())
    }

    /// Records that the hub does not have yet, findings and action updates included.
    pub fn waiting(&self) -> u64 {
        self.outbox.waiting()
    }

    /// Threads that have not gone round for so long: the agent does not protect as it should.
    pub fn stuck(&self, longer_than: Duration) -> Vec<String> {
        self.pulses.stuck(longer_than)
    }

    /// How the courier is, and whether the hub listens.
    pub fn courier(&self) -> (CourierState, bool) {
        (self.desk.courier().clone(), self.desk.connected.load(Ordering::Relaxed))
    }

    /// Records a finding about the agent itself.
    pub fn tell_of_itself(&self, own: OwnFinding) {
        lock(&self.guard).tell_of_itself(own);
    }

    /// How the agent is.
    pub fn heartbeat(&self) -> Heartbeat {
        heartbeat(&self.guard, &self.outbox)
    }

    /// Ends the agent. A hub that listens gets what waits, for as long as [`LAST_WORDS`]; the rest stays in the spool.
    pub fn stop(mut self) {
        self.stopping.store(true, Ordering::Relaxed);
        let join = |thread: JoinHandle<()>| {
            if thread.join().is_err() {
                error!("a thread of the agent had panicked");
            }
        };
        self.threads.drain(..).for_each(join);
        lock(&self.guard).let_go_of_all();
        // Nobody adds any more: what came since the scribe's last round.
        self.outbox.write(Duration::ZERO);
        let until = Instant::now() + LAST_WORDS;
        let connected = || self.desk.connected.load(Ordering::Relaxed);
        while connected() && self.outbox.waiting() > 0 && Instant::now() < until {
            thread::sleep(Duration::from_millis(10));
        }
        self.desk.closing.store(true, Ordering::Relaxed);
        self.keeper.take().into_iter().for_each(join);
    }
}

/// Puts this thread before others that want the processor: what it stops does its harm meanwhile. Not before everything,
/// as a real-time class would: a storm of events must not take the machine away from its work.
pub fn hurry() {
    const NICE: i32 = -15;
    let thread = rustix::thread::gettid();
    if let Err(error) = rustix::process::setpriority_process(Some(thread), NICE) {
        info!("this thread is not put before others ({error}): on a busy machine it decides later");
    }
}

fn watch_sensor(mut sensor: Box<dyn Sensor>, guard: &Mutex<Guard>, stopping: &AtomicBool, pulse: &Pulse) {
    if sensor.is_urgent() {
        hurry();
    }
    let (mut asked, mut uncounted): (Option<Instant>, u64) = (None, 0);
    while !stopping.load(Ordering::Relaxed) {
        pulse.beat();
        let result = sensor.poll(POLL, &mut |sensed| {
            uncounted += 1;
            lock(guard).on_sensed(sensed);
        });
        for learned in sensor.learned() {
            lock(guard).on_learned(learned.event, learned.identity);
        }
        if let Err(error) = &result {
            error!("a sensor stopped: {}", crate::chain(error));
        }
        // In a storm a sensor is polled a thousand times a second; what it says of itself can wait.
        if result.is_err() || asked.is_none_or(|asked| asked.elapsed() >= POLL) {
            asked = Some(Instant::now());
            let mut statuses = sensor.statuses();
            if let Err(error) = &result {
                let off = SensorState::Off { reason: crate::chain(error) };
                for status in &mut statuses {
                    status.state = off.clone();
                }
            }
            lock(guard).note_sensors(statuses, std::mem::take(&mut uncounted));
        }
        if result.is_err() {
            pulse.end();
            return;
        }
    }
    lock(guard).note_sensors(sensor.statuses(), uncounted);
    pulse.end();
}

fn take_orders(
    orders: &mpsc::Receiver<SignedCommand>,
    guard: &Mutex<Guard>,
    stopping: &AtomicBool,
    pulse: &Pulse,
) {
    while !stopping.load(Ordering::Relaxed) {
        pulse.beat();
        match orders.recv_timeout(POLL) {
            Ok(command) => lock(guard).on_command(&command),
            Err(mpsc::RecvTimeoutError::Timeout) => {}
            Err(mpsc::RecvTimeoutError::Disconnected) => break,
        }
        // After a command too: a stream of them must not keep an isolation from ending.
        lock(guard).tick();
    }
    pulse.end();
}

/// What is known of the hub's addresses before it has been reached. In isolation names cannot be resolved: then it is
/// what the isolation keeps open. Names are the courier's to ask for.
fn known_hubs(hub: &str, state: &StateDir) -> KnownHubs {
    let hubs = KnownHubs::default();
    if let Ok(Some(isolation)) = record::load(state.path(), &Rung::Isolation)
        && isolation.released.is_none()
    {
        hubs.expect(isolation.measure.hubs().iter().copied());
    }
    hubs.expect(hub.parse());
    hubs
}

/// What this machine says about itself.
pub fn facts(version: &str) -> DeviceFacts {
    let read = |path: &str| std::fs::read_to_string(Path::new(path)).unwrap_or_default();
    let os = read("/etc/os-release");
    let os = os.lines().find_map(|l| l.strip_prefix("PRETTY_NAME=")).unwrap_or("Linux").trim_matches('"');
    DeviceFacts {
        hostname: read("/proc/sys/kernel/hostname").trim().to_owned(),
        os: os.to_owned(),
        kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
        agent_version: version.to_owned(),
        simulated: false,
        role: String::new(),
    }
}
