//! The ransomware guard beside a running agent: looks at what the kernel stopped, and has policy decide.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use tracing::{info, warn};
use wardline_agent::clock::{Clock, SystemClock};
use wardline_agent::guard::Encryptor;
use wardline_agent::running::Court;
use wardline_event::{BootId, ProcessKey, SensorKind, SensorState, SensorStatus};
use wardline_ransomware::canary::{self, Canary};
use wardline_ransomware::{Alarm, Guard, Kept, Limits, ProcessId, Verdict, judge};
use wardline_respond::linux::procfs::lineage;

/// How often it is asked whether policy lets a detection kill.
const ASK: Duration = Duration::from_millis(500);

/// How often canary files are looked after.
const LOOK_AGAIN: Duration = Duration::from_mins(10);

/// The guard's thread; ends with the value.
pub struct Watch {
    stopping: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Watch {
    /// Starts the guard in a thread of its own. Where it cannot run the agent goes on without, and says why.
    pub fn start(court: Court, boot: BootId, state_dir: &Path) -> Self {
        let stopping = Arc::new(AtomicBool::new(false));
        // Neither the agent nor what it runs under is ever stopped.
        let spared: Vec<u32> =
            lineage(std::process::id(), boot).unwrap_or_default().iter().map(|key| key.pid).collect();
        let theirs = Arc::clone(&stopping);
        // Loading takes a while; the agent need not wait for it.
        let (of_thread, state_dir) = (court.clone(), state_dir.to_owned());
        let run = move || match Guard::open(Limits::default(), &spared) {
            Ok(mut guard) => {
                info!("ransomware guard: live");
                match guard.keep_copies(&state_dir) {
                    Ok(()) => {
                        info!("ransomware guard: what is destroyed first is copied (wardline agent undo)");
                    }
                    Err(why) => warn!("ransomware guard: nothing is copied for undo — {why}"),
                }
                is(&court, SensorState::Live);
                watch(guard, &court, boot, &state_dir, &theirs);
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

fn watch(mut guard: Guard, court: &Court, boot: BootId, state_dir: &Path, stopping: &AtomicBool) {
    let mut stops = None;
    let mut planted = Planted::default();
    while !stopping.load(Ordering::Relaxed) {
        planted.look(&mut guard, court.canary_folders(), state_dir);
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
            Ok(alarms) => {
                for alarm in &alarms {
                    settle(&mut guard, court, boot, &planted.canaries, alarm);
                }
            }
            Err(refused) => {
                warn!("ransomware guard: stopped working — {refused}");
                is(court, SensorState::Off { reason: refused.to_string() });
                return;
            }
        }
    }
}

/// The canary files of this machine.
#[derive(Default)]
struct Planted {
    canaries: Vec<Canary>,
    folders: Option<Vec<String>>,
    looked: Option<Instant>,
}

impl Planted {
    /// Makes them what policy asks for, when that has changed, and now and then: some may have gone.
    fn look(&mut self, guard: &mut Guard, folders: Vec<String>, state_dir: &Path) {
        let same = self.folders.as_ref() == Some(&folders);
        if same && self.looked.is_some_and(|looked| looked.elapsed() < LOOK_AGAIN || folders.is_empty()) {
            return;
        }
        let (canaries, changed) = canary::plant(state_dir, &folders);
        if changed.planted + changed.removed > 0 {
            let (planted, removed) = (changed.planted, changed.removed);
            info!("ransomware guard: {planted} canary files planted, {removed} taken away");
        }
        for trouble in &changed.trouble {
            warn!("ransomware guard: canary files: {trouble}");
        }
        if let Err(refused) = guard.watch_canaries(&canaries) {
            warn!("ransomware guard: {refused}");
        }
        *self = Self { canaries, folders: Some(folders), looked: Some(Instant::now()) };
    }
}

/// Kills a family or lets it go.
fn settle(guard: &mut Guard, court: &Court, boot: BootId, canaries: &[Canary], alarm: &Alarm) {
    let killed = match judge(&alarm.evidence) {
        _ if canary::were_put_back(&alarm.evidence, canaries) => {
            info!(
                pid = alarm.root.tgid,
                "ransomware guard: let go, because it put canary files back as they were"
            );
            false
        }
        Verdict::Harmless { because } => {
            info!(pid = alarm.root.tgid, "ransomware guard: let go, because {because}");
            false
        }
        Verdict::Encryptor { signs } => {
            let key = |p: &ProcessId| ProcessKey { boot, start_ticks: p.start_ticks(), pid: p.tgid };
            let judged = court.on_encryptor(&Encryptor {
                root: key(&alarm.root),
                others: guard.stopped(alarm.family).iter().map(key).collect(),
                signs,
                files: alarm.evidence.iter().map(|e| e.path.clone()).collect(),
                boot_ns: alarm.time_ns,
                copies: guard.copies(alarm.family),
            });
            match guard.keep(alarm.family, &judged.finding, &judged.program, SystemClock.now()) {
                Ok(kept) if kept.files > 0 => {
                    let Kept { files, whole, missing, .. } = kept;
                    let short =
                        if missing > 0 { format!("; {missing} bytes are missing") } else { String::new() };
                    let id = &judged.finding;
                    info!(
                        "copies of {files} files, {whole} of them whole{short}; give them back: wardline agent undo {id}"
                    );
                }
                Ok(_) => {}
                Err(refused) => warn!("ransomware guard: {refused}"),
            }
            judged.killed
        }
    };
    let settled = if killed { guard.killed(alarm.family) } else { guard.release(alarm.family) };
    if let Err(refused) = settled {
        warn!("ransomware guard: {refused}");
    }
}
