//! Keeps a courier at work for as long as the agent runs.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ExitStatus};
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use serde::{Deserialize, Serialize};
use tracing::{error, info, warn};
use wardline_event::BootId;
use wardline_respond::linux::procfs::Stat;

use crate::clock::Clock;
use crate::courier::{self, Place};
use crate::desk::{Desk, End};
use crate::state::StateDir;

/// Starts a courier's process with this end of the line as its standard input.
pub type Launch = Box<dyn FnMut(OwnedFd) -> io::Result<Child> + Send>;

/// Where the courier runs.
pub enum CourierHost {
    /// In a thread of this process: for exercises, in which many agents share one, and for tests.
    Thread,
    /// In a process of its own.
    Process(Launch),
}

/// Waits before a courier is started again: doubling, and short again after one that lasted.
const AGAIN_MIN: Duration = Duration::from_millis(250);
const AGAIN_MAX: Duration = Duration::from_mins(1);
const LASTED: Duration = Duration::from_mins(1);
/// How long a courier that hung up may take to end.
const END_WITHIN: Duration = Duration::from_secs(1);
/// How long a courier of a guard that is gone may take to leave.
const LEAVE_WITHIN: Duration = Duration::from_millis(1500);
/// Names the process, so that the next guard finds it if this one has no time to end it.
const FILE: &str = "courier.json";

/// What a courier takes over from its surroundings.
#[derive(Clone)]
pub struct Means {
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// 16 random bytes.
    pub random: fn() -> [u8; 16],
}

/// Runs until [`Desk::closing`] is set and the courier has left.
pub fn keep(desk: &Desk, host: CourierHost, means: &Means) {
    match host {
        CourierHost::Thread => in_thread(desk, means),
        CourierHost::Process(mut launch) => in_process(desk, &mut launch),
    }
}

fn in_thread(desk: &Desk, means: &Means) {
    let start = || -> io::Result<_> {
        let (ours, theirs) = UnixStream::pair()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let place = Place {
            socket: theirs,
            unconfined: "it is a thread of the guard's process".to_owned(),
            guard: None,
            clock: Arc::clone(&means.clock),
            random: means.random,
        };
        let thread = thread::Builder::new().name("courier".to_owned()).spawn(move || {
            if let Err(error) = runtime.block_on(courier::run(place)) {
                error!("the courier ended: {error}");
            }
            // A name may still be asked for, which can take long.
            runtime.shutdown_background();
        })?;
        Ok((ours, thread))
    };
    match start() {
        Ok((ours, thread)) => {
            let end = desk.serve(&ours);
            drop(ours);
            if thread.join().is_err() || end != End::Stopped {
                error!(
                    "the courier ended ({end:?}); nothing reaches the hub until the agent is started again"
                );
            }
        }
        Err(error) => error!("the courier cannot be started: {error}"),
    }
}

fn in_process(desk: &Desk, launch: &mut Launch) {
    dismiss_orphan(&desk.state, desk.boot);
    let mut wait = AGAIN_MIN;
    let closing = || desk.closing.load(Ordering::Relaxed);
    while !closing() {
        let began = Instant::now();
        match start(desk, launch) {
            Ok((ours, mut child)) => {
                let end = desk.serve(&ours);
                drop(ours);
                let status = ended(&mut child, if end == End::Stopped { LEAVE_WITHIN } else { END_WITHIN });
                desk.courier().pid = None;
                let how = match end {
                    End::Stopped => break,
                    End::HungUp => describe(status),
                    End::Misbehaved(what) => format!("it was ended, because {what}"),
                };
                desk.courier().restarts += 1;
                desk.guard.lock().unwrap_or_else(PoisonError::into_inner).courier_ended(&how);
            }
            Err(failed) => warn!("the courier cannot be started ({failed}); records wait on disk"),
        }
        if began.elapsed() >= LASTED {
            wait = AGAIN_MIN;
        }
        let until = Instant::now() + wait;
        while !closing() && Instant::now() < until {
            thread::sleep(Duration::from_millis(50));
        }
        wait = (wait * 2).min(AGAIN_MAX);
    }
    let _ = std::fs::remove_file(desk.state.path().join(FILE));
}

fn start(desk: &Desk, launch: &mut Launch) -> io::Result<(UnixStream, Child)> {
    let (ours, theirs) = UnixStream::pair()?;
    let child = launch(theirs.into())?;
    let pid = child.id();
    {
        let mut courier = desk.courier();
        (courier.pid, courier.unconfined) = (Some(pid), None);
    }
    if let Ok(Some(stat)) = Stat::of(pid) {
        let known = KnownCourier { boot: desk.boot.0.to_string(), pid, start_ticks: stat.start_ticks };
        let json = serde_json::to_vec(&known).expect("numbers and a text");
        if let Err(error) = desk.state.write(FILE, &json) {
            warn!("the courier's process could not be noted: {}", crate::chain(&error));
        }
    }
    info!(pid, "the courier is at work");
    Ok((ours, child))
}

/// Waits for a child to end by itself, then ends it.
fn ended(child: &mut Child, within: Duration) -> io::Result<ExitStatus> {
    let until = Instant::now() + within;
    while Instant::now() < until {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        thread::sleep(Duration::from_millis(10));
    }
    child.kill()?;
    child.wait()
}

fn describe(status: io::Result<ExitStatus>) -> String {
    match status {
        Ok(status) => match status.signal() {
            Some(signal) => format!("it was ended by signal {signal}"),
            None => format!("it ended ({status})"),
        },
        Err(error) => format!("it hung up, and how it ended is unknown ({error})"),
    }
}

#[derive(Serialize, Deserialize)]
struct KnownCourier {
    boot: String,
    pid: u32,
    start_ticks: u64,
}

/// Ends the courier of a guard that is gone: it has told the hub, or goes on trying; this guard's own courier takes over.
fn dismiss_orphan(state: &StateDir, boot: BootId) {
    let Ok(Some(bytes)) = state.read(FILE) else { return };
    let Ok(known) = serde_json::from_slice::<KnownCourier>(&bytes) else { return };
    let Some(pid) = i32::try_from(known.pid).ok().and_then(Pid::from_raw) else { return };
    if known.boot != boot.0.to_string() {
        return;
    }
    let Ok(process) = pidfd_open(pid, PidfdFlags::empty()) else { return };
    // The start is read while the pidfd is open: the number cannot pass to another meanwhile.
    if !matches!(Stat::of(known.pid), Ok(Some(stat)) if stat.start_ticks == known.start_ticks) {
        return;
    }
    info!(pid = known.pid, "ending the courier of the guard before");
    for signal in [Signal::TERM, Signal::KILL] {
        let _ = pidfd_send_signal(&process, signal);
        let wait = Timespec { tv_sec: 1, tv_nsec: 500_000_000 };
        let mut fds = [PollFd::new(&process, PollFlags::IN)];
        if matches!(poll(&mut fds, Some(&wait)), Ok(n) if n > 0) {
            return;
        }
    }
}
