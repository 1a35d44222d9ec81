//! Starts the best sensor that this host allows.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use wardline_event::{Process, ProcessKey, SensorKind, SensorState, SensorStatus};
use wardline_sense::{KernelRules, ProcessTable, Sensed, Sensor};

use crate::connector::ConnectorSensor;
use crate::context::{Context, SharedTable, off};
use crate::ebpf::EbpfSensor;
use crate::identity::{Identities, IdentitySensor};
use crate::logs::LogSensor;
use crate::watches::Watches;

/// Which live sensor to start.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Prefer {
    /// eBPF; the process connector if that is refused.
    #[default]
    Best,
    /// eBPF or nothing.
    Ebpf,
    /// The process connector or nothing.
    Connector,
}

/// How to start.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Options {
    /// Which live sensor to start.
    pub prefer: Prefer,
    /// Bytes that the kernel keeps for events not yet read: the eBPF ring buffer, or the connector's socket (where an
    /// event takes about 800).
    pub buffer_bytes: u32,
    /// Of which files the eBPF sensor tells.
    pub watches: Watches,
    /// How often the eBPF sensor proves to itself that it sees; never, if there is nothing here.
    pub canary: Option<Duration>,
}

impl Default for Options {
    /// A ring of 4 MiB held an exec storm of 10,000 per second without a loss.
    fn default() -> Self {
        Self {
            prefer: Prefer::Best,
            buffer_bytes: 4 << 20,
            watches: Watches::default(),
            canary: Some(Duration::from_mins(1)),
        }
    }
}

/// What was started.
pub struct Opened {
    /// The live sensors; only that of the journal if all others were refused.
    pub sensors: Vec<Box<dyn Sensor>>,
    /// The processes that ran already, oldest first. To be handled before the first poll.
    pub found: Vec<Sensed>,
    /// Of those that do not live on: `/proc`, read once, and those that were refused and why.
    pub statuses: Vec<SensorStatus>,
    /// The processes of this host, kept up to date by the live sensor's polls.
    pub processes: SharedTable,
    /// Where the kernel half can act on rules itself: what tells it which.
    pub kernel_rules: Option<Box<dyn KernelRules>>,
}

impl Opened {
    /// Those who came before this process, nearest first, as far as they are known.
    pub fn ancestors(&self, key: &ProcessKey) -> Vec<Process> {
        self.processes.lock().unwrap_or_else(PoisonError::into_inner).ancestors(key)
    }
}

/// Starts the best live sensor that `options` and the host allow, then reads the processes that run already.
///
/// In this order nothing is missed between the two: what starts meanwhile is found in `/proc`, told by the live
/// sensor, or both.
pub fn open(options: &Options) -> Opened {
    let processes: SharedTable = Arc::new(Mutex::new(ProcessTable::default()));
    let mut sensors: Vec<Box<dyn Sensor>> = Vec::new();
    let mut statuses = Vec::new();
    let mut kernel_rules = None;
    let mut instead_of = "not asked for".to_owned();
    if options.prefer != Prefer::Connector {
        match EbpfSensor::open(options, Arc::clone(&processes)) {
            Ok(mut sensor) => {
                kernel_rules = sensor.kernel_rules();
                let identities = Identities::default();
                sensors.push(Box::new(sensor.asking(identities.clone())));
                sensors.push(Box::new(IdentitySensor::new(identities)));
            }
            Err(refused) => {
                instead_of = refused.to_string();
                statuses.push(status(SensorKind::LinuxEbpf, off(refused.to_string())));
            }
        }
    }
    if options.prefer != Prefer::Ebpf && sensors.is_empty() {
        match ConnectorSensor::open(options.buffer_bytes, Arc::clone(&processes), instead_of) {
            Ok(sensor) => {
                let why = "the process connector does not tell which file was executed";
                statuses.push(status(SensorKind::LinuxIdentity, off(why)));
                sensors.push(Box::new(sensor));
            }
            Err(refused) => statuses.push(status(SensorKind::LinuxProcConnector, off(refused.to_string()))),
        }
    }
    match LogSensor::open(Arc::clone(&processes)) {
        Ok(sensor) => sensors.push(Box::new(sensor)),
        Err(refused) => statuses.push(status(SensorKind::LinuxLog, off(refused.to_string()))),
    }
    let found = match Context::new(Arc::clone(&processes)) {
        Ok(mut context) => {
            let (found, forbidden) = context.snapshot();
            statuses.push(SensorStatus {
                produced: found.len() as u64,
                ..status(SensorKind::LinuxProc, found_state(found.len(), forbidden))
            });
            found
        }
        Err(error) => {
            statuses.push(status(SensorKind::LinuxProc, off(format!("{error}: mount /proc"))));
            Vec::new()
        }
    };
    Opened { sensors, found, statuses, processes, kernel_rules }
}

fn status(kind: SensorKind, state: SensorState) -> SensorStatus {
    SensorStatus { kind, state, produced: 0, lost: 0, undecoded: 0 }
}

/// Others' executables can be read by root only.
fn found_state(found: usize, forbidden: u64) -> SensorState {
    if forbidden == 0 {
        return SensorState::Live;
    }
    let reason = format!(
        "the executables of {forbidden} of {found} processes may not be read: needs root with CAP_SYS_PTRACE"
    );
    SensorState::Degraded { reason }
}
