//! What every sensor of this host shares: turns raw facts into events.

use std::collections::HashMap;
use std::fs;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};
use wardline_event::{
    Body, BootId, Event, EventId, Process, ProcessActivity, ProcessKey, ProcessOp, SensorState, Timestamp,
};
use wardline_sense::{ProcessTable, Sensed, SensorError};

use crate::cgroups::Cgroups;
use crate::procfs::{self, Details, Stat};
use crate::users::Users;

/// The processes of this host, shared by its sensors and by whoever asks for ancestors.
///
/// Locked for a moment for each event and never while a sink runs, so a sink may ask.
pub type SharedTable = Arc<Mutex<ProcessTable>>;

/// Facts and caches of this host.
pub(crate) struct Context {
    pub boot: BootId,
    pub users: Users,
    pub cgroups: Cgroups,
    table: SharedTable,
    clocks: Clocks,
    refreshed: Instant,
    next_id: u128,
}

/// How far the clocks are apart, in nanoseconds.
struct Clocks {
    /// From boot to 1970.
    real: i128,
    /// From `CLOCK_MONOTONIC`, which stands still in suspend, to `CLOCK_BOOTTIME`.
    monotonic: i128,
}

impl Clocks {
    fn read() -> Self {
        let boot = now(ClockId::Boottime);
        Self { real: now(ClockId::Realtime) - boot, monotonic: boot - now(ClockId::Monotonic) }
    }
}

fn now(clock: ClockId) -> i128 {
    let time = clock_gettime(clock);
    i128::from(time.tv_sec) * 1_000_000_000 + i128::from(time.tv_nsec)
}

/// Nanoseconds since boot, now.
pub(crate) fn boot_now() -> u64 {
    u64::try_from(now(ClockId::Boottime)).unwrap_or(0)
}

impl Context {
    pub(crate) fn new(table: SharedTable) -> Result<Self, SensorError> {
        let os = |doing: &'static str| move |source| SensorError::Os { doing, source };
        let boot = procfs::boot_id().map_err(os("reading /proc/sys/kernel/random/boot_id"))?;
        // Random where it begins, then counted: unique, and one system call for all.
        let mut seed = [0; 16];
        rustix::rand::getrandom(&mut seed, rustix::rand::GetRandomFlags::empty())
            .map_err(|e| os("asking the kernel for random bytes")(e.into()))?;
        Ok(Self {
            boot,
            users: Users::new("/etc/passwd"),
            cgroups: Cgroups::new(),
            table,
            clocks: Clocks::read(),
            refreshed: Instant::now(),
            next_id: u128::from_be_bytes(seed),
        })
    }

    /// Follows changes of the clock and of the users, once a second at most; called between events.
    pub(crate) fn refresh(&mut self) {
        if self.refreshed.elapsed() < Duration::from_secs(1) {
            return;
        }
        self.refreshed = Instant::now();
        self.clocks = Clocks::read();
        self.users.refresh();
    }

    pub(crate) fn key(&self, start_ns: u64, pid: u32) -> ProcessKey {
        ProcessKey::new(self.boot, start_ns, pid)
    }

    /// The UTC time of a moment since boot.
    pub(crate) fn utc(&self, boot_ns: u64) -> Timestamp {
        let millis = (i128::from(boot_ns) + self.clocks.real).div_euclid(1_000_000);
        Timestamp(i64::try_from(millis).unwrap_or(i64::MAX))
    }

    /// Nanoseconds since boot of a moment on `CLOCK_MONOTONIC`.
    pub(crate) fn boot_ns(&self, monotonic_ns: u64) -> u64 {
        u64::try_from(i128::from(monotonic_ns) + self.clocks.monotonic).unwrap_or(0)
    }

    pub(crate) fn live_with_pid(&self, pid: u32) -> Option<ProcessKey> {
        self.lock().live_with_pid(pid)
    }

    /// What `/proc` says about a process.
    pub(crate) fn process(&mut self, key: ProcessKey, details: Details) -> Process {
        let cgroup_id = details.membership.as_ref().map_or(0, |m| self.cgroups.id(m));
        Process {
            key,
            image: details.image.unwrap_or_default(),
            command_line: details.command_line.unwrap_or_default(),
            cwd: details.cwd.unwrap_or_default(),
            user: details.euid.map(|uid| self.users.user(uid)).unwrap_or_default(),
            container: details.membership.and_then(|m| m.container),
            cgroup_id,
            started: self.utc(key.start_ticks * wardline_event::ids::NS_PER_TICK),
        }
    }

    /// Makes an event of an activity, completed from the table.
    pub(crate) fn sense(
        &mut self,
        mut activity: ProcessActivity,
        creator: Option<&ProcessKey>,
        boot_ns: u64,
    ) -> Sensed {
        self.lock().observe(&mut activity, creator, boot_ns);
        self.event(Body::Process(activity), boot_ns)
    }

    /// Makes an event.
    pub(crate) fn event(&mut self, body: Body, boot_ns: u64) -> Sensed {
        let id = EventId(self.next_id);
        self.next_id = self.next_id.wrapping_add(1);
        let time = self.utc(boot_ns);
        Sensed { event: Event { id, time, product: "linux".into(), simulated: false, body }, boot_ns }
    }

    /// A process that did something, as far as it is known.
    pub(crate) fn actor(&mut self, key: ProcessKey, started: Timestamp, euid: u32) -> Process {
        let known = self.lock().get(&key);
        let mut actor = known.unwrap_or_else(|| Process { key, started, ..Process::default() });
        actor.user = self.users.user(euid);
        actor
    }

    /// A process that did something, as it is known; with its pid alone, if it is not.
    pub(crate) fn with_pid(&self, pid: u32) -> Process {
        let table = self.lock();
        let known = table.live_with_pid(pid).and_then(|key| table.get(&key));
        let key = ProcessKey { boot: self.boot, start_ticks: 0, pid };
        known.unwrap_or_else(|| Process { key, ..Process::default() })
    }

    fn lock(&self) -> MutexGuard<'_, ProcessTable> {
        // The table's books are right between calls, whoever panicked elsewhere.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All processes that there are, oldest first, and of how many the executable may not be read.
    pub(crate) fn snapshot(&mut self) -> (Vec<Sensed>, u64) {
        let boot_ns = boot_now();
        let mut found: Vec<(u32, Stat)> =
            procfs::pids().into_iter().filter_map(|pid| Some((pid, Stat::read(pid).ok()?))).collect();
        found.sort_by_key(|(pid, stat)| (stat.start_ticks, *pid));
        let keys: HashMap<u32, ProcessKey> =
            found.iter().map(|(pid, stat)| (*pid, stat.key(self.boot, *pid))).collect();
        let mut events = Vec::with_capacity(found.len());
        let mut forbidden = 0;
        for (pid, stat) in found {
            let details = Details::read(pid, Some(&stat));
            forbidden += u64::from(details.forbidden);
            let process = self.process(keys[&pid], details);
            let parent = keys.get(&stat.ppid).map(|key| Process { key: *key, ..Process::default() });
            let activity =
                ProcessActivity { op: ProcessOp::Found, process, parent, exit_code: None, launch: None };
            events.push(self.sense(activity, None, boot_ns));
        }
        (events, forbidden)
    }
}

/// Off, because of this.
pub(crate) fn off(reason: impl Into<String>) -> SensorState {
    SensorState::Off { reason: reason.into() }
}

/// Why a sensor cannot work here, and what would mend it; for a person.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Refused(pub String);

/// An error with its causes, in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut at = error.source();
    while let Some(source) = at {
        text = format!("{text}: {source}");
        at = source.source();
    }
    text
}

/// The kernel tells pids of the root namespace. Elsewhere they would name other processes, and a kill the wrong one.
pub(crate) fn check_pid_namespace() -> Result<(), Refused> {
    // PROC_PID_INIT_INO, a constant of the kernel's: 0xEFFFFFFC.
    const ROOT: &str = "pid:[4026531836]";
    match fs::read_link("/proc/self/ns/pid") {
        Ok(link) if link.as_os_str() == ROOT => Ok(()),
        Ok(_) => Err(Refused(
            "runs in a container's pid namespace, where the kernel's pids mean other processes: run the agent on \
             the host, or share the host's pid namespace (--pid=host)"
                .to_owned(),
        )),
        Err(error) => Err(Refused(format!("reading /proc/self/ns/pid failed ({error}): mount /proc"))),
    }
}
