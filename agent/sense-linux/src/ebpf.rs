//! The sensor on eBPF: facts from the kernel at the moment they happen.

use std::collections::VecDeque;
use std::fs;
use std::os::fd::{AsFd, AsRawFd};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use libbpf_rs::{Link, MapCore, MapFlags, MapHandle, Object, ObjectBuilder, RingBuffer, RingBufferBuilder};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use wardline_event::{Process, ProcessActivity, ProcessOp, SensorKind, SensorState, SensorStatus};
use wardline_sense::{Sensed, Sensor, SensorError};

use crate::context::{Context, Refused, SharedTable, chain, check_pid_namespace, off};
use crate::procfs::{self, Stat};
use crate::record::{Exec, KINDS, ProcessId, Record, What, decode};

/// The compiled programs; libbpf wants the ELF file's numbers aligned.
#[repr(align(8))]
struct Aligned<T: ?Sized>(T);
static PROGRAMS: &Aligned<[u8]> = &Aligned(*include_bytes!(concat!(env!("OUT_DIR"), "/sensor.bpf.o")));

/// Records decoded before the sink sees the first of them: few, so that the first does not wait for a storm.
const BATCH: usize = 32;
/// Batches before `poll` returns: whoever polls has other work too, and a storm may never end.
const BATCHES: usize = 64;
/// A quiet event may come without a wake-up until 2 ms after the last one (see `QUIET_NS` in the kernel half). So
/// after each delivery the ring is looked at once more after this time; what comes later wakes by itself.
const SETTLE: Duration = Duration::from_millis(3);
/// Appended to a command line of which the kernel half could not carry all.
pub const TRUNCATED: &str = " …[truncated]";

/// The sensor's books, by kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Accounts {
    /// Events that the kernel half tried to write.
    pub produced: [u64; 3],
    /// Of those, how many it could not write because the ring buffer was full.
    pub lost: [u64; 3],
    /// Handed to a sink.
    pub delivered: [u64; 3],
    /// Records that could not be decoded.
    pub undecoded: u64,
    /// Times that the kernel did not run a program at all, because it ran already on that CPU.
    pub missed: u64,
    /// Exec events with a cut command line.
    pub truncated: u64,
}

impl Accounts {
    /// All that happened, lost or not.
    pub fn total_produced(&self) -> u64 {
        self.produced.iter().sum::<u64>() + self.missed
    }

    /// All that did not arrive.
    pub fn total_lost(&self) -> u64 {
        self.lost.iter().sum::<u64>() + self.undecoded + self.missed
    }
}

#[derive(Default)]
struct Pending {
    records: VecDeque<Record>,
    undecoded: u64,
}

impl Pending {
    fn take(&mut self, bytes: &[u8]) {
        match decode(bytes) {
            Ok(record) => self.records.push_back(record),
            Err(error) => {
                self.undecoded += 1;
                tracing::warn!(%error, "a record from the kernel could not be read");
            }
        }
    }
}

/// The live sensor.
pub struct EbpfSensor {
    // Dropped in this order: programs are detached before the ring goes.
    _links: Vec<Link>,
    ring: RingBuffer<'static>,
    ring_map: MapHandle,
    counters: MapHandle,
    object: Object,
    pending: Arc<Mutex<Pending>>,
    context: Context,
    accounts: Accounts,
    /// When it is certain that the next event wakes by itself.
    settle_until: Option<Instant>,
    /// Why it does not work any more.
    failed: Option<String>,
}

impl EbpfSensor {
    /// Loads and attaches the programs. `ring_bytes` becomes a power of two of pages.
    pub fn open(ring_bytes: u32, table: SharedTable) -> Result<Self, Refused> {
        check_pid_namespace()?;
        let context = Context::new(table).map_err(|e| Refused(chain(&e)))?;
        let object = load(ring_bytes)?;
        let mut links = Vec::new();
        for program in object.progs_mut() {
            let name = program.name().to_string_lossy().into_owned();
            links.push(program.attach().map_err(|e| refusal(&format!("attaching {name}"), &e))?);
        }
        let map = |name: &str| -> Result<MapHandle, Refused> {
            let map = object.maps().find(|m| m.name() == name);
            let map = map.ok_or_else(|| Refused(format!("the eBPF object has no map {name}")))?;
            MapHandle::try_from(&map).map_err(|e| refusal(&format!("opening the map {name}"), &e))
        };
        let (ring_map, counters) = (map("ring")?, map("counters")?);
        let pending = Arc::new(Mutex::new(Pending::default()));
        let ring = ring_buffer(&ring_map, Arc::clone(&pending))
            .map_err(|e| refusal("opening the ring buffer", &e))?;
        Ok(Self {
            _links: links,
            ring,
            ring_map,
            counters,
            object,
            pending,
            context,
            accounts: Accounts::default(),
            settle_until: Some(Instant::now() + SETTLE),
            failed: None,
        })
    }

    /// The books at this moment. Events that wait in the ring are in `produced` only.
    pub fn accounts(&self) -> Accounts {
        let mut accounts = self.accounts;
        for kind in 0..KINDS.len() {
            let key = u32::try_from(kind).unwrap_or(0).to_ne_bytes();
            // Fails only for a key beyond the map's end.
            let Ok(Some(cpus)) = self.counters.lookup_percpu(&key, MapFlags::ANY) else { continue };
            let sum = |at: usize| -> u64 {
                cpus.iter().filter_map(|c| c.get(at..at + 8)?.try_into().ok()).map(u64::from_ne_bytes).sum()
            };
            accounts.lost[kind] = sum(8);
            accounts.produced[kind] = sum(0);
        }
        accounts.missed = self.object.progs().map(|p| recursion_misses(p.as_fd().as_raw_fd())).sum();
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
                sink(sensed);
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
                Some(settled) if now < settled => self.wait(left.min(settled - now))?,
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

    fn sense(&mut self, record: Record) -> Sensed {
        let Record { time_ns, process, parent, what } = record;
        let key = |id: ProcessId| self.context.key(id.start_ns, id.tgid);
        let (process_key, parent_key) = (key(process), key(parent));
        // The idle task "parents" init; it is no process.
        let mut parent = (parent.tgid != 0).then(|| Process { key: parent_key, ..Process::default() });
        let started = self.context.utc(process.start_ns);
        let mut seen = Process { key: process_key, started, ..Process::default() };
        let mut creator_key = None;
        let (op, exit_code) = match what {
            What::Fork { creator, euid } => {
                creator_key = Some(key(creator));
                seen.user = self.context.users.user(euid);
                (ProcessOp::Fork, None)
            }
            What::Exec(exec) => {
                if let Some(parent) = &mut parent {
                    parent.user = self.context.users.user(exec.parent_euid);
                }
                self.fill(&mut seen, exec);
                (ProcessOp::Exec, None)
            }
            What::Exit { status } => (ProcessOp::Exit, Some(status)),
        };
        self.accounts.delivered[match op {
            ProcessOp::Fork => 0,
            ProcessOp::Exec | ProcessOp::Found => 1,
            ProcessOp::Exit => 2,
        }] += 1;
        let activity = ProcessActivity { op, process: seen, parent, exit_code };
        self.context.sense(activity, creator_key.as_ref(), time_ns)
    }

    /// Everything comes from the kernel; `/proc` is asked only for what did not fit.
    fn fill(&mut self, process: &mut Process, exec: Exec) {
        let key = process.key;
        let from_proc = |name: &str| {
            let path = procfs::link(key.pid, name).ok()?;
            let same = Stat::read(key.pid).is_ok_and(|stat| stat.start_ticks == key.start_ticks);
            same.then_some(path)
        };
        let complete = |walked: crate::record::WalkedPath, name: &str| {
            if walked.complete {
                return walked.path;
            }
            from_proc(name).unwrap_or_else(|| format!("…/{}", walked.path))
        };
        process.image = complete(exec.exe, "exe");
        if exec.exe_gone && !process.image.ends_with(" (deleted)") {
            // As /proc/PID/exe shows it.
            process.image.push_str(" (deleted)");
        }
        process.cwd = complete(exec.cwd, "cwd");
        process.command_line = exec.args;
        if exec.args_cut {
            process.command_line.push_str(TRUNCATED);
            self.accounts.truncated += 1;
        }
        process.user = self.context.users.user(exec.euid);
        process.cgroup_id = exec.cgroup;
        process.container = self.context.cgroups.container(exec.cgroup, exec.cgroup_v1, key.pid);
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

    fn status(&self) -> SensorStatus {
        let accounts = self.accounts();
        SensorStatus {
            kind: SensorKind::LinuxEbpf,
            state: self.failed.as_ref().map_or(SensorState::Live, |reason| off(reason.as_str())),
            produced: accounts.total_produced(),
            lost: accounts.total_lost(),
        }
    }
}

fn ring_buffer(map: &MapHandle, pending: Arc<Mutex<Pending>>) -> libbpf_rs::Result<RingBuffer<'static>> {
    let mut builder = RingBufferBuilder::new();
    builder.add(map, move |bytes| {
        pending.lock().unwrap_or_else(PoisonError::into_inner).take(bytes);
        0
    })?;
    builder.build()
}

fn load(ring_bytes: u32) -> Result<Object, Refused> {
    libbpf_rs::set_print(Some((libbpf_rs::PrintLevel::Warn, |_, text| {
        tracing::debug!(target: "libbpf", "{}", text.trim_end());
    })));
    let cpus = libbpf_rs::num_possible_cpus().map_err(|e| refusal("counting CPUs", &e))?;
    let mut open =
        ObjectBuilder::default().open_memory(&PROGRAMS.0).map_err(|e| refusal("reading the programs", &e))?;
    for mut map in open.maps_mut() {
        let entries = match map.name().to_str() {
            Some("ring") => ring_bytes.max(4096).next_power_of_two(),
            Some("scratch") => u32::try_from(cpus).unwrap_or(u32::MAX),
            _ => continue,
        };
        map.set_max_entries(entries).map_err(|e| refusal("sizing the maps", &e))?;
    }
    open.load().map_err(|e| refusal("loading the programs", &e))
}

/// Says what happened and what would mend it.
fn refusal(doing: &str, error: &libbpf_rs::Error) -> Refused {
    let because = chain(error);
    let mend = if error.kind() == libbpf_rs::ErrorKind::PermissionDenied {
        "needs root, or CAP_BPF and CAP_PERFMON".to_owned()
    } else if !Path::new("/sys/kernel/btf/vmlinux").exists() {
        "this kernel does not describe its types (/sys/kernel/btf/vmlinux is missing); needs one that is built with \
         CONFIG_DEBUG_INFO_BTF"
            .to_owned()
    } else {
        let release = rustix::system::uname().release().to_string_lossy().into_owned();
        format!("this is Linux {release}; needs 5.8 or newer, with eBPF not forbidden by lockdown")
    };
    Refused(format!("{doing} failed ({because}): {mend}"))
}

/// How often the kernel skipped a program; 0 where the kernel does not tell (before 5.12).
fn recursion_misses(fd: std::os::fd::RawFd) -> u64 {
    let text = fs::read_to_string(format!("/proc/self/fdinfo/{fd}")).unwrap_or_default();
    let misses = text.lines().find_map(|line| line.strip_prefix("recursion_misses:"));
    misses.and_then(|n| n.trim().parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_that_cannot_be_read_is_counted() {
        let mut pending = Pending::default();
        pending.take(&[0; 3]);
        pending.take(&[0xff; 200]);
        assert_eq!((pending.records.len(), pending.undecoded), (0, 2));
        let accounts =
            Accounts { produced: [4, 3, 2], lost: [1, 0, 0], undecoded: 2, missed: 1, ..Accounts::default() };
        assert_eq!((accounts.total_produced(), accounts.total_lost()), (10, 4));
    }
}
