//! The sensor on eBPF: facts from the kernel at the moment they happen.

mod accounts;
mod canary;
mod describe;
mod load;
mod verdicts;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use libbpf_rs::{MapCore, MapFlags, MapHandle, RingBuffer, RingBufferBuilder};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use wardline_event::{Body, ProcessOp, SensorKind, SensorState, SensorStatus};
use wardline_sense::{KernelRules, Sensed, Sensor, SensorError};

use crate::context::{Context, Refused, SharedTable, chain, check_pid_namespace, off};
use crate::record::{self, Kind, Record, decode};

use crate::hosts::Hosts;
use crate::identity::Identities;
use crate::open::Options;
pub use accounts::{Accounts, KINDS};
use canary::Canary;
use load::{Family, Loaded, configure, load, refusal};
pub use verdicts::TABLE_BYTES;
use verdicts::{Gate, Tables, open_gate};

/// Records decoded before the sink sees the first of them: few, so that the first does not wait for a storm.
const BATCH: usize = 32;
/// Batches before `poll` returns: whoever polls has other work too, and a storm may never end.
const BATCHES: usize = 64;
/// An event may come without a wake-up until 2 ms after the last one (see `QUIET_NS` in the kernel half). So the ring is
/// looked at until this time after each delivery; what comes later wakes by itself.
const SETTLE: Duration = Duration::from_millis(3);
/// How often it is looked at until then: in a storm of programs each is seen this soon, without a wake-up of its own.
const LOOK: Duration = Duration::from_millis(1);
/// Appended to a command line of which the kernel half could not carry all.
pub const TRUNCATED: &str = " …[truncated]";

#[derive(Default)]
struct Pending {
    records: VecDeque<Record>,
    undecoded: [u64; KINDS],
}

impl Pending {
    fn take(&mut self, bytes: &[u8]) {
        match decode(bytes) {
            Ok(record) => self.records.push_back(record),
            Err(error) => {
                // What cannot even be named is a process event to whoever asks: those matter most.
                self.undecoded[record::kind(bytes).unwrap_or(Kind::Exec) as usize] += 1;
                tracing::warn!(%error, "a record from the kernel could not be read");
            }
        }
    }
}

/// The live sensor.
pub struct EbpfSensor {
    // Dropped in this order: programs are detached before the ring goes.
    gate: Option<Gate>,
    loaded: Loaded,
    ring: RingBuffer<'static>,
    ring_map: MapHandle,
    counters: MapHandle,
    pending: Arc<Mutex<Pending>>,
    context: Context,
    hosts: Hosts,
    identities: Option<Identities>,
    accounts: Accounts,
    /// When it is certain that the next event wakes by itself.
    settle_until: Option<Instant>,
    /// Why it does not work any more.
    failed: Option<String>,
    canary: Option<Canary>,
    /// The agent's pid: asked for once, for it is looked at with each event.
    own: u32,
    rules: Option<Tables>,
}

impl EbpfSensor {
    /// Loads and attaches the programs. The ring's size becomes a power of two of pages.
    pub fn open(options: &Options, table: SharedTable) -> Result<Self, Refused> {
        check_pid_namespace()?;
        let context = Context::new(table).map_err(|e| Refused(chain(&e)))?;
        let loaded = load(options.buffer_bytes, &options.watches)?;
        let (ring_map, counters) = (loaded.map("ring")?, loaded.map("counters")?);
        let decides = !loaded.refused.iter().any(|(family, _)| *family == Family::Verdict);
        let rules = decides.then(|| Tables::open(&loaded)).transpose()?;
        let gate = rules.as_ref().and_then(|_| {
            let refused = |why: &String| tracing::info!("programs cannot be refused, only killed: {why}");
            open_gate(&loaded).inspect_err(refused).ok()
        });
        let canary = options.canary.map(|every| start_canary(&loaded, every)).transpose()?;
        let pending = Arc::new(Mutex::new(Pending::default()));
        let ring = ring_buffer(&ring_map, Arc::clone(&pending))
            .map_err(|e| refusal("opening the ring buffer", &e))?;
        Ok(Self {
            gate,
            loaded,
            ring,
            ring_map,
            counters,
            pending,
            context,
            hosts: Hosts::default(),
            identities: None,
            accounts: Accounts::default(),
            settle_until: Some(Instant::now() + SETTLE),
            failed: None,
            canary,
            own: std::process::id(),
            rules,
        })
    }

    /// Asks these what executables are.
    pub(crate) fn asking(mut self, identities: Identities) -> Self {
        self.identities = Some(identities);
        self
    }

    /// The rules that the kernel half follows, once.
    pub fn kernel_rules(&mut self) -> Option<Box<dyn KernelRules>> {
        self.rules.take().map(|tables| Box::new(tables) as _)
    }

    /// By which means the kernel half acts on rules.
    fn verdicts(&self) -> SensorStatus {
        let kind = self.gate.as_ref().map_or(SensorKind::VerdictSignal, |gate| gate.kind);
        let refused = self.loaded.refused.iter().find(|(family, _)| *family == Family::Verdict);
        let why = self.failed.clone().or_else(|| refused.map(|(_, why)| why.to_string()));
        let state = why.map_or(SensorState::Live, off);
        SensorStatus { kind, state, produced: 0, lost: 0, undecoded: 0 }
    }

    /// The books at this moment. Events that wait in the ring are in `produced` only.
    pub fn accounts(&self) -> Accounts {
        let mut accounts = self.accounts;
        for kind in 0..KINDS {
            let key = u32::try_from(kind).unwrap_or(0).to_ne_bytes();
            // Fails only for a key beyond the map's end.
            let Ok(Some(cpus)) = self.counters.lookup_percpu(&key, MapFlags::ANY) else { continue };
            let sum = |at: usize| -> u64 {
                cpus.iter().filter_map(|c| c.get(at..at + 8)?.try_into().ok()).map(u64::from_ne_bytes).sum()
            };
            accounts.lost[kind] = sum(8);
            accounts.produced[kind] = sum(0);
        }
        accounts.missed = self.loaded.missed();
        accounts.undecoded = self.pending.lock().unwrap_or_else(PoisonError::into_inner).undecoded;
        accounts
    }

    /// Hands over what waits in the ring; tells whether there was anything.
    fn drain(&mut self, sink: &mut dyn FnMut(Sensed)) -> Result<bool, SensorError> {
        let mut any = false;
        for _ in 0..BATCHES {
            let consumed = self.ring.consume_raw_n(BATCH);
            if consumed < 0 {
                let source = std::io::Error::from_raw_os_error(-consumed);
                return Err(SensorError::Os { doing: "reading the eBPF ring buffer", source });
            }
            loop {
                let record = self.pending.lock().unwrap_or_else(PoisonError::into_inner).records.pop_front();
                let Some(record) = record else { break };
                let sensed = self.sense(record);
                if !self.is_canary(&sensed) {
                    sink(sensed);
                }
            }
            if consumed == 0 {
                break;
            }
            any = true;
        }
        Ok(any)
    }

    fn poll_ring(&mut self, timeout: Duration, sink: &mut dyn FnMut(Sensed)) -> Result<(), SensorError> {
        self.context.refresh();
        let until = Instant::now().checked_add(timeout);
        loop {
            // Before the ring is looked at: an event between the two must not be taken for seen.
            let now = Instant::now();
            if self.drain(sink)? {
                self.settle_until = Some(Instant::now() + SETTLE);
                return Ok(());
            }
            let left = until.map_or(Duration::MAX, |until| until.saturating_duration_since(now));
            if left.is_zero() {
                return Ok(());
            }
            match self.settle_until {
                Some(settled) if now < settled => self.wait(left.min(settled - now).min(LOOK))?,
                Some(_) => self.settle_until = None,
                None => self.wait(left)?,
            }
        }
    }

    fn wait(&self, timeout: Duration) -> Result<(), SensorError> {
        // A wait too long for a timespec is as good as for ever.
        let timeout = Timespec::try_from(timeout).ok();
        let mut fds = [PollFd::new(&self.ring_map, PollFlags::IN)];
        match poll(&mut fds, timeout.as_ref()) {
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(e) => Err(SensorError::Os { doing: "waiting for the eBPF ring buffer", source: e.into() }),
        }
    }
}

impl Sensor for EbpfSensor {
    fn poll(&mut self, timeout: Duration, sink: &mut dyn FnMut(Sensed)) -> Result<(), SensorError> {
        let polled = self.poll_ring(timeout, sink);
        if let Err(error) = &polled {
            self.failed = Some(chain(error));
        }
        polled
    }

    fn statuses(&self) -> Vec<SensorStatus> {
        let accounts = self.accounts();
        let refused = |family: Family| {
            let refused = self.loaded.refused.iter().find(|(refused, _)| *refused == family);
            refused.map(|(_, why)| why.to_string())
        };
        let status = |family: Family| {
            let (kind, records): (_, &[Kind]) = match family {
                Family::Process => (SensorKind::LinuxEbpf, &[Kind::Fork, Kind::Exec, Kind::Exit]),
                Family::Network => (SensorKind::LinuxNetwork, &[Kind::Network]),
                Family::File => (SensorKind::LinuxFile, &[Kind::File]),
                Family::Call => (SensorKind::LinuxCall, &[Kind::Call]),
                Family::Dns => (SensorKind::LinuxDns, &[Kind::Dns]),
                Family::Uring | Family::Verdict => return None,
            };
            let off_because = self.failed.clone().or_else(|| refused(family));
            let missing = refused(Family::Uring)
                .filter(|_| family == Family::Call)
                .map(|why| format!("who uses io_uring is not seen: {why}"));
            let state = match (off_because, self.doubt(family).or(missing)) {
                (Some(reason), _) => off(reason),
                (None, Some(reason)) => SensorState::Degraded { reason },
                (None, None) => SensorState::Live,
            };
            let (produced, lost, undecoded) = accounts.of(records);
            // Which program was not run, the kernel does not tell by kind.
            let missed = if family == Family::Process { accounts.missed } else { 0 };
            Some(SensorStatus {
                kind,
                state,
                produced: produced + missed,
                lost: lost + undecoded + missed,
                undecoded,
            })
        };
        Family::ALL.into_iter().filter_map(status).chain([self.verdicts()]).collect()
    }
}

impl EbpfSensor {
    /// Why it is not certain that a family sees.
    fn doubt(&self, family: Family) -> Option<String> {
        let seen = self.canary.as_ref()?.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.doubt(family, Instant::now())
    }

    /// Whether it is what the canary did: that proves something, and tells nobody anything.
    fn is_canary(&mut self, sensed: &Sensed) -> bool {
        let Some(canary) = &self.canary else { return false };
        let own = self.own;
        let event = &sensed.event;
        let family = match &event.body {
            Body::Network(n) if n.actor.key.pid == own => Family::Network,
            Body::File(f) if f.actor.key.pid == own => Family::File,
            Body::Call(c) if c.actor.key.pid == own => Family::Call,
            Body::Dns(d) if d.actor.key.pid == own => Family::Dns,
            Body::Process(p)
                if p.op != ProcessOp::Fork
                    && p.parent.as_ref().is_some_and(|parent| parent.key.pid == own)
                    && p.process.command_line.contains(canary::MARK) =>
            {
                Family::Process
            }
            _ => return false,
        };
        canary.seen.lock().unwrap_or_else(PoisonError::into_inner).told(family);
        let kind = match &event.body {
            Body::Network(_) => Kind::Network,
            Body::File(_) => Kind::File,
            Body::Call(_) => Kind::Call,
            Body::Dns(_) => Kind::Dns,
            Body::Process(p) if p.op == ProcessOp::Exit => Kind::Exit,
            Body::Process(_) | Body::Log(_) | Body::Loss(_) => Kind::Exec,
        };
        self.accounts.own[kind as usize] += 1;
        true
    }
}

fn start_canary(loaded: &Loaded, every: Duration) -> Result<Canary, Refused> {
    let refused = |family: &Family| loaded.refused.iter().any(|(refused, _)| refused == family);
    let families: Vec<Family> = Family::ALL
        .into_iter()
        .filter(|family| !matches!(family, Family::Uring | Family::Verdict) && !refused(family))
        .collect();
    let config = loaded.map("config").ok();
    let announce = move |thread| {
        if let Some(config) = config
            && let Err(error) = configure(&config, thread)
        {
            tracing::warn!(%error, "the kernel half does not know the canary");
        }
    };
    Canary::start(every, families, announce)
        .map_err(|error| Refused(format!("starting the thread that proves the sensor failed ({error})")))
}

fn ring_buffer(map: &MapHandle, pending: Arc<Mutex<Pending>>) -> libbpf_rs::Result<RingBuffer<'static>> {
    let mut builder = RingBufferBuilder::new();
    builder.add(map, move |bytes| {
        pending.lock().unwrap_or_else(PoisonError::into_inner).take(bytes);
        0
    })?;
    builder.build()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_that_cannot_be_read_is_counted() {
        let mut pending = Pending::default();
        pending.take(&[0; 3]);
        pending.take(&[0xff; 200]);
        pending.take(&[3, 0, 0, 0]);
        assert_eq!((pending.records.len(), pending.undecoded), (0, [0, 2, 0, 1, 0, 0, 0]));
        let accounts = Accounts {
            produced: [4, 3, 2, 9, 0, 0, 0],
            lost: [1, 0, 0, 2, 0, 0, 0],
            undecoded: pending.undecoded,
            missed: 1,
            ..Accounts::default()
        };
        assert_eq!((accounts.total_produced(), accounts.total_lost()), (19, 7));
        assert_eq!(accounts.of(&[Kind::Network]), (9, 2, 1));
    }
}
