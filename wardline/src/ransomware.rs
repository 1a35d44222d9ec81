//! The ransomware guard beside a running agent: looks at what the kernel stopped, and has policy decide.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tracing::{info, warn};
use wardline_agent::guard::Encryptor;
use wardline_agent::running::Court;
use wardline_event::{BootId, ProcessKey, SensorKind, SensorState, SensorStatus};
use wardline_ransomware::{Alarm, Guard, Limits, ProcessId, Verdict, judge};
use wardline_respond::linux::procfs::lineage;

/// How often it is asked whether policy lets a detection kill.
const ASK: Duration = Duration::from_millis(500);

/// The guard's thread; ends with the value.
pub struct Watch {
    stopping: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Watch {
    /// Starts the guard in a thread of its own. Where it cannot run the agent goes on without, and says why.
    pub fn start(court: Court, boot: BootId) -> Self {
        let stopping = Arc::new(AtomicBool::new(false));
        // Neither the agent nor what it runs under is ever stopped.
        let spared: Vec<u32> =
            lineage(std::process::id(), boot).unwrap_or_default().iter().map(|key| key.pid).collect();
        let theirs = Arc::clone(&stopping);
        // Loading takes a while; the agent need not wait for it.
        let of_thread = court.clone();
        let run = move || match Guard::open(Limits::default(), &spared) {
            Ok(guard) => {
                info!("ransomware guard: live");
                is(&court, SensorState::Live);
                watch(guard, &court, boot, &theirs);
            }
            Err(refused) => {
                warn!("ransomware guard: off — {refused}");
                is(&court, SensorState::Off { reason: refused.to_string() });
            }
        };
        let thread = thread::Builder::new().name("ransomware".to_owned()).spawn(run);
        let off = |error: &std::io::Error| {
            warn!("ransomware guard: off — {error}");
            is(&of_thread, SensorState::Off { reason: error.to_string() });
        };
        let thread = thread.inspect_err(off).ok();
        Self { stopping, thread }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Says how it is, for heartbeats: it is a protection of the device like its sensors.
fn is(court: &Court, state: SensorState) {
    court.note_sensor(SensorStatus {
        kind: SensorKind::RansomwareGuard,
        state,
        produced: 0,
        lost: 0,
        undecoded: 0,
    });
}

fn watch(mut guard: Guard, court: &Court, boot: BootId, stopping: &AtomicBool) {
    let mut stops = None;
    while !stopping.load(Ordering::Relaxed) {
        let may = court.may_kill();
        if stops != Some(may) {
            match guard.stop_families(may) {
                Ok(()) => stops = Some(may),
                Err(refused) => {
                    warn!("ransomware guard: {refused}");
                    is(court, SensorState::Degraded { reason: refused.to_string() });
                }
            }
        }
        match guard.poll(ASK) {
            Ok(alarms) => alarms.iter().for_each(|alarm| settle(&mut guard, court, boot, alarm)),
            Err(refused) => {
                warn!("ransomware guard: stopped working — {refused}");
                is(court, SensorState::Off { reason: refused.to_string() });
                return;
            }
        }
    }
}

/// Kills a family or lets it go.
fn settle(guard: &mut Guard, court: &Court, boot: BootId, alarm: &Alarm) {
    let killed = match judge(&alarm.evidence) {
        Verdict::Harmless { because } => {
            info!(pid = alarm.root.tgid, "ransomware guard: let go, because {because}");
            false
        }
        Verdict::Encryptor { signs } => {
            let key = |p: &ProcessId| ProcessKey { boot, start_ticks: p.start_ticks(), pid: p.tgid };
            court.on_encryptor(&Encryptor {
                root: key(&alarm.root),
                others: guard.stopped(alarm.family).iter().map(key).collect(),
                signs,
                files: alarm.evidence.iter().map(|e| e.path.clone()).collect(),
                boot_ns: alarm.time_ns,
            })
        }
    };
    let settled = if killed { guard.killed(alarm.family) } else { guard.release(alarm.family) };
    if let Err(refused) = settled {
        warn!("ransomware guard: {refused}");
    }
}
