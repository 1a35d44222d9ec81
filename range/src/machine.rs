//! A simulated machine: eyes and hands of an agent, with a process table instead of a kernel.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use wardline_agent::clock::Clock;
use wardline_agent::guard::SharedProcesses;
use wardline_event::{
    Body, BootId, Event, EventId, NetworkActivity, NetworkOp, Process, ProcessActivity, ProcessKey,
    ProcessOp, SensorKind, SensorState, SensorStatus, User,
};
use wardline_event::{FileActivity, FileOp};
use wardline_respond::{
    ContainError, Contained, Holds, KillError, KillReport, Measure, Responder, Rung, Victim,
};
use wardline_sense::{Sensed, Sensor, SensorError};

use crate::estate::{self, DeviceSpec};

struct Simulated {
    process: Process,
    parent: Option<ProcessKey>,
    alive: bool,
}

struct State {
    /// By the name that scripts use.
    names: BTreeMap<String, ProcessKey>,
    processes: BTreeMap<ProcessKey, Simulated>,
    next_pid: u32,
    contained: BTreeMap<Rung, Measure>,
    queue: VecDeque<Sensed>,
    produced: u64,
    /// True while the sensor waits in `poll` with nothing to hand over: all was dealt with.
    idle: bool,
}

/// The ports that a cut of SMB, RDP, SSH and WinRM closes.
const EAST_WEST: [u16; 6] = [22, 139, 445, 3389, 5985, 5986];

impl State {
    fn isolated(&self) -> bool {
        self.contained.contains_key(&Rung::Isolation)
    }

    /// What stands in the way of a connection.
    fn prevents(&self, process: &ProcessKey, port: u16) -> Option<Prevented> {
        let mut line = std::iter::successors(Some(*process), |key| self.processes.get(key)?.parent);
        if self.isolated() {
            Some(Prevented::Isolated)
        } else if (self.contained.contains_key(&Rung::EastWest) && EAST_WEST.contains(&port))
            || line.any(|key| self.contained.contains_key(&Rung::Process(key)))
        {
            Some(Prevented::Cut)
        } else {
            None
        }
    }
}

/// A simulated machine. Cheap to clone: sensor, responder and script share one state.
#[derive(Clone)]
pub struct Machine {
    /// What it is.
    pub spec: &'static DeviceSpec,
    boot: BootId,
    clock: Arc<dyn Clock>,
    random: fn() -> [u8; 16],
    processes: SharedProcesses,
    shared: Arc<(Mutex<State>, Condvar)>,
}

/// Why a step of a script could not happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Prevented {
    /// The process that would have done it was killed, or never came to be.
    ProcessDead,
    /// The device is isolated.
    Isolated,
    /// The network of the process, or this kind of connection, is cut.
    Cut,
}

impl Prevented {
    /// In words.
    pub fn words(self) -> &'static str {
        match self {
            Self::ProcessDead => "the process that would do it is dead",
            Self::Isolated => "the device is isolated",
            Self::Cut => "its network is cut",
        }
    }
}

impl Machine {
    /// A machine with its first processes running.
    pub fn new(
        spec: &'static DeviceSpec,
        clock: Arc<dyn Clock>,
        random: fn() -> [u8; 16],
        processes: SharedProcesses,
    ) -> Self {
        let state = State {
            names: BTreeMap::new(),
            processes: BTreeMap::new(),
            next_pid: 400,
            contained: BTreeMap::new(),
            queue: VecDeque::new(),
            produced: 0,
            idle: false,
        };
        let boot = BootId::from_bytes(random());
        let machine = Self {
            spec,
            boot,
            clock,
            random,
            processes,
            shared: Arc::new((Mutex::new(state), Condvar::new())),
        };
        for (name, parent, image, user) in estate::roots(spec.product) {
            let mut state = machine.lock();
            let parent = state.names.get(*parent).copied();
            machine.begin(&mut state, ProcessOp::Found, name, parent, image, image, user);
        }
        machine
    }

    /// This boot.
    pub fn boot(&self) -> BootId {
        self.boot
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.shared.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[expect(clippy::too_many_arguments, reason = "the facts of a process")]
    fn begin(
        &self,
        state: &mut State,
        op: ProcessOp,
        name: &str,
        parent: Option<ProcessKey>,
        image: &str,
        command_line: &str,
        user: &str,
    ) {
        let pid = state.next_pid;
        state.next_pid += 4;
        let key = ProcessKey::new(self.boot, self.clock.boot_ns(), pid);
        let process = Process {
            key,
            image: image.to_owned(),
            command_line: command_line.to_owned(),
            user: User { uid: String::new(), name: user.to_owned() },
            started: self.clock.now(),
            ..Process::default()
        };
        let parent_process = parent.and_then(|k| state.processes.get(&k)).map(|p| p.process.clone());
        state.names.insert(name.to_owned(), key);
        state.processes.insert(key, Simulated { process: process.clone(), parent, alive: true });
        let body = ProcessActivity { op, process, parent: parent_process, exit_code: None, launch: None };
        self.emit(state, Body::Process(body));
    }

    fn emit(&self, state: &mut State, mut body: Body) {
        if let Body::Process(activity) = &mut body {
            // As every sensor does: the table knows the process before the guard asks about it.
            let mut processes = self.processes.lock().unwrap_or_else(PoisonError::into_inner);
            processes.observe(activity, None, self.clock.boot_ns());
        }
        let event = Event {
            id: EventId::from_bytes((self.random)()),
            time: self.clock.now(),
            product: self.spec.product.into(),
            simulated: true,
            body,
        };
        state.queue.push_back(Sensed { event, boot_ns: self.clock.boot_ns() });
        state.produced += 1;
        state.idle = false;
        self.shared.1.notify_all();
    }

    fn alive(state: &State, name: &str) -> Result<Process, Prevented> {
        let simulated = state.names.get(name).and_then(|k| state.processes.get(k)).filter(|p| p.alive);
        simulated.map(|p| p.process.clone()).ok_or(Prevented::ProcessDead)
    }

    /// Starts a process under another.
    pub fn start(
        &self,
        name: &str,
        under: &str,
        image: &str,
        cmd: &str,
        user: &str,
    ) -> Result<(), Prevented> {
        let mut state = self.lock();
        let parent = Self::alive(&state, under)?.key;
        self.begin(&mut state, ProcessOp::Exec, name, Some(parent), image, cmd, user);
        Ok(())
    }

    /// Opens a connection.
    pub fn connect(&self, by: &str, to: &str, host: &str, port: u16) -> Result<(), Prevented> {
        let mut state = self.lock();
        let actor = Self::alive(&state, by)?;
        // A packet filter in the way: the attempt is seen and refused.
        let result = state.prevents(&actor.key, port).map_or(Ok(()), Err);
        let op = if result.is_err() { NetworkOp::Refuse } else { NetworkOp::Open };
        let body = NetworkActivity {
            op,
            actor,
            protocol: "tcp".into(),
            initiated: true,
            src_ip: "10.20.0.1".into(),
            src_port: 50_000 + (state.produced % 10_000) as u16,
            dst_ip: to.to_owned(),
            dst_port: port,
            dst_host: host.to_owned(),
        };
        self.emit(&mut state, Body::Network(body));
        result
    }

    /// Writes a file.
    pub fn write(&self, by: &str, path: &str) -> Result<(), Prevented> {
        let mut state = self.lock();
        let actor = Self::alive(&state, by)?;
        let body = FileActivity {
            op: FileOp::Create,
            path: path.to_owned(),
            old_path: None,
            detail: String::new(),
            actor,
        };
        self.emit(&mut state, Body::File(body));
        Ok(())
    }

    /// Whether a process of this machine can reach others now.
    pub fn reaches_out(&self, name: &str) -> Result<(), Prevented> {
        let state = self.lock();
        Self::alive(&state, name)?;
        if state.isolated() { Err(Prevented::Isolated) } else { Ok(()) }
    }

    /// Whether others can reach this machine now.
    pub fn reachable(&self) -> Result<(), Prevented> {
        if self.lock().isolated() { Err(Prevented::Isolated) } else { Ok(()) }
    }

    /// The key of a process that a script named, dead or alive.
    pub fn key_of(&self, name: &str) -> Option<ProcessKey> {
        self.lock().names.get(name).copied()
    }

    /// Waits until the agent has dealt with all that happened so far; false if it did not within `limit`.
    pub fn settle(&self, limit: Duration) -> bool {
        let deadline = Instant::now() + limit;
        let mut state = self.lock();
        while !state.idle {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            state = self.shared.1.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }
}

impl Sensor for Machine {
    fn poll(&mut self, timeout: Duration, sink: &mut dyn FnMut(Sensed)) -> Result<(), SensorError> {
        let deadline = Instant::now() + timeout;
        let mut state = self.lock();
        while state.queue.is_empty() {
            state.idle = true;
            self.shared.1.notify_all();
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            state = self.shared.1.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        let batch = std::mem::take(&mut state.queue);
        drop(state);
        batch.into_iter().for_each(sink);
        Ok(())
    }

    fn statuses(&self) -> Vec<SensorStatus> {
        // What waits in the queue is counted when it is taken in.
        let state = self.lock();
        let produced = state.produced - state.queue.len() as u64;
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

    fn kill_tree(&mut self, target: &ProcessKey, extra: &[ProcessKey]) -> Result<KillReport, KillError> {
        let began = Instant::now();
        let mut state = self.lock();
        if !state.processes.get(target).is_some_and(|p| p.alive) {
            return Err(KillError::Gone(*target));
        }
        let mut doomed = vec![*target];
        doomed.extend(extra);
        let mut next = 0;
        while next < doomed.len() {
            let parent = doomed[next];
            let children = state.processes.iter().filter(|(_, p)| p.parent == Some(parent)).map(|(k, _)| *k);
            let new: Vec<ProcessKey> = children.filter(|k| !doomed.contains(k)).collect();
            doomed.extend(new);
            next += 1;
        }
        let mut report = KillReport { complete: true, ..KillReport::default() };
        for key in doomed {
            let Some(simulated) = state.processes.get_mut(&key).filter(|p| p.alive) else { continue };
            simulated.alive = false;
            let process = simulated.process.clone();
            let image = process.image.clone();
            report.killed.push(Victim { pid: key.pid, start_ticks: key.start_ticks, image });
            // 9: ended by SIGKILL.
            let body = ProcessActivity {
                op: ProcessOp::Exit,
                process,
                parent: None,
                exit_code: Some(9),
                launch: None,
            };
            self.emit(&mut state, Body::Process(body));
        }
        report.target_dead_after = Some(began.elapsed());
        report.took = began.elapsed();
        Ok(report)
    }

    fn contain(&mut self, measure: &Measure) -> Result<Contained, ContainError> {
        let began = Instant::now();
        match measure {
            Measure::Isolation(spec) => drop(spec.checked_hubs()?),
            Measure::Process(spec) if !self.lock().processes.get(&spec.process).is_some_and(|p| p.alive) => {
                return Err(KillError::Gone(spec.process).into());
            }
            _ => {}
        }
        let replaced = self.lock().contained.insert(measure.rung(), measure.clone()).is_some();
        Ok(Contained { replaced, took: began.elapsed(), notes: Vec::new() })
    }

    fn release(&mut self, rung: &Rung) -> Result<bool, ContainError> {
        Ok(self.lock().contained.remove(rung).is_some())
    }

    fn holds(&mut self, measure: &Measure) -> Result<Holds, ContainError> {
        let holds = self.lock().contained.get(&measure.rung()) == Some(measure);
        Ok(if holds { Holds::Yes } else { Holds::No })
    }

    fn cut_processes(&mut self) -> Vec<ProcessKey> {
        let key = |rung: &Rung| if let Rung::Process(key) = rung { Some(*key) } else { None };
        self.lock().contained.keys().filter_map(key).collect()
    }
}
