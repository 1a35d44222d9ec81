//! Loads the kernel half, hears of what it stopped, and settles it.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use libbpf_rs::{Link, MapCore, MapFlags, MapHandle, Object, ObjectBuilder, RingBuffer, RingBufferBuilder};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal};
use wardline_event::Timestamp;
use wardline_respond::linux::procfs::Stat;

use crate::canary::Canary;
use crate::intake::{Intake, Kept};
use crate::record::{Evidence, ProcessId, Record, What, decode};

/// The compiled programs; libbpf wants the ELF file's numbers aligned.
#[repr(align(8))]
struct Aligned<T: ?Sized>(T);
static PROGRAMS: &Aligned<[u8]> = &Aligned(*include_bytes!(concat!(env!("OUT_DIR"), "/guard.bpf.o")));

/// Pieces of evidence remembered until a family is stopped or they are old.
const MOST_EVIDENCE: usize = 1024;
/// Generations of programs between evidence and the family that it counts against; as in the kernel half.
const GENERATIONS: usize = 8;
/// `CONTROL_SETTLED`, `CONTROL_STOPS`.
const SETTLED: u32 = 0;
const STOPS: u32 = 1;

/// When a family is stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Files that one program, with what it forks, may destroy within ten minutes; the last of them stops it.
    pub own: u32,
    /// The same for a program with all that it executes, within 30 seconds.
    pub below: u32,
    /// Nobody counts but those below this process: for drills and tests.
    pub only_below: Option<u32>,
}

impl Default for Limits {
    /// Few enough that an encryptor with four threads has destroyed fewer than ten when all of it stands still.
    fn default() -> Self {
        Self { own: 4, below: 6, only_below: None }
    }
}

/// Why there is no guard here.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Refused(pub String);

/// A family at its limit. It stands still, if the guard stops families; it must be settled by [`Guard::killed`] or
/// [`Guard::release`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alarm {
    /// The family.
    pub family: u64,
    /// The program that it descends from; it may have ended.
    pub root: ProcessId,
    /// What it did, oldest first.
    pub evidence: Vec<Evidence>,
    /// When it was stopped, in nanoseconds since boot.
    pub time_ns: u64,
}

#[derive(Default)]
struct Heard {
    records: VecDeque<Record>,
    undecoded: u64,
}

/// Stops encryptors.
pub struct Guard {
    // Dropped in this order: programs are detached before the ring goes.
    links: Vec<Link>,
    ring: RingBuffer<'static>,
    ring_map: MapHandle,
    families: MapHandle,
    control: MapHandle,
    canaries: MapHandle,
    watched: Vec<(u64, u32)>,
    /// Copies for undo, if they are wanted and can be made.
    intake: Option<Intake>,
    object: Object,
    heard: Arc<Mutex<Heard>>,
    evidence: VecDeque<(u64, Evidence)>,
    /// Who of each family stands still.
    stopped: HashMap<u64, BTreeSet<ProcessId>>,
    settled: u32,
}

fn refuse(doing: &str, error: &dyn std::error::Error) -> Refused {
    let mut text = format!("{doing} failed: {error}");
    let mut at = error.source();
    while let Some(cause) = at {
        text = format!("{text}: {cause}");
        at = cause.source();
    }
    Refused(format!("{text} (needs root, and Linux 5.12 or newer with BTF)"))
}

impl Guard {
    /// Loads and attaches the kernel half. `spared` are processes that are never stopped, nor for what runs under them:
    /// the agent and what it runs under.
    ///
    /// It only tells, until [`Guard::stop_families`] lets it stop.
    pub fn open(limits: Limits, spared: &[u32]) -> Result<Self, Refused> {
        if cfg!(not(target_arch = "x86_64")) {
            return Err(Refused("the guard knows the system calls of x86_64 only".to_owned()));
        }
        let mut open = ObjectBuilder::default()
            .open_memory(&PROGRAMS.0)
            .map_err(|e| refuse("reading the programs", &e))?;
        for mut map in open.maps_mut() {
            // `limit_own`, `limit_below` and `only_below`, its first three numbers.
            if map.name().to_string_lossy().ends_with(".rodata")
                && let Some(numbers) = map.initial_value_mut()
                && let Some(first) = numbers.get_mut(..12)
            {
                first[..4].copy_from_slice(&limits.own.to_ne_bytes());
                first[4..8].copy_from_slice(&limits.below.to_ne_bytes());
                first[8..].copy_from_slice(&limits.only_below.unwrap_or(0).to_ne_bytes());
            }
        }
        let object = open.load().map_err(|e| refuse("loading the programs", &e))?;
        let map = |name: &str| -> Result<MapHandle, Refused> {
            let map = object.maps().find(|m| m.name() == name);
            let map = map.ok_or_else(|| Refused(format!("the eBPF object has no map {name}")))?;
            MapHandle::try_from(&map).map_err(|e| refuse(&format!("opening the map {name}"), &e))
        };
        let (ring_map, families, control) = (map("ring")?, map("families")?, map("control")?);
        let (canaries, spare) = (map("canaries")?, map("spared")?);
        for pid in spared {
            let put = spare.update(&pid.to_ne_bytes(), &1u64.to_ne_bytes(), MapFlags::ANY);
            put.map_err(|e| refuse("naming who is spared", &e))?;
        }
        let mut links = Vec::new();
        for program in object.progs_mut() {
            let name = program.name().to_string_lossy().into_owned();
            // Run once, by name.
            if name == "find_memory" {
                continue;
            }
            links.push(program.attach().map_err(|e| refuse(&format!("attaching {name}"), &e))?);
        }
        let heard = Arc::new(Mutex::new(Heard::default()));
        let mut builder = RingBufferBuilder::new();
        let into = Arc::clone(&heard);
        builder
            .add(&ring_map, move |bytes| {
                let mut heard = into.lock().unwrap_or_else(PoisonError::into_inner);
                match decode(bytes) {
                    Ok(record) => heard.records.push_back(record),
                    Err(error) => {
                        heard.undecoded += 1;
                        tracing::warn!(%error, "a record from the kernel could not be read");
                    }
                }
                0
            })
            .map_err(|e| refuse("opening the ring buffer", &e))?;
        let ring = builder.build().map_err(|e| refuse("opening the ring buffer", &e))?;
        Ok(Self {
            links,
            ring,
            ring_map,
            families,
            control,
            canaries,
            watched: Vec::new(),
            intake: None,
            object,
            heard,
            evidence: VecDeque::new(),
            stopped: HashMap::new(),
            settled: 0,
        })
    }

    /// From now on families at their limit are stopped, or only told of: in a policy that acts, or in one that watches.
    pub fn stop_families(&self, stop: bool) -> Result<(), Refused> {
        self.set(STOPS, u32::from(stop))
    }

    /// Copies what families destroy, from now on, so that it can be given back: below `state_dir`, which must be root's
    /// alone. Where that cannot be done the guard goes on without.
    pub fn keep_copies(&mut self, state_dir: &Path) -> Result<(), Refused> {
        self.intake = Some(Intake::begin(&self.object, state_dir)?);
        Ok(())
    }

    /// Of how many files that a family is about to destroy, or has destroyed, there are copies.
    pub fn copies(&mut self, family: u64) -> usize {
        let Some(mut intake) = self.intake.take() else { return 0 };
        intake.drain();
        let count = intake.count(|id| self.descends(id, family));
        self.intake = Some(intake);
        count
    }

    /// Keeps for good what a stopped family has destroyed, under the id of the finding. `program` is for people. To be
    /// called once the family is dead, and before [`Guard::killed`] or [`Guard::release`].
    pub fn keep(&mut self, family: u64, id: &str, program: &str, now: Timestamp) -> Result<Kept, Refused> {
        let Some(mut intake) = self.intake.take() else { return Ok(Kept::default()) };
        let kept = intake.keep(|id| self.descends(id, family), id, program, now);
        self.intake = Some(intake);
        kept
    }

    fn set(&self, index: u32, value: u32) -> Result<(), Refused> {
        let put = self.control.update(&index.to_ne_bytes(), &value.to_ne_bytes(), MapFlags::ANY);
        put.map_err(|e| refuse("telling the kernel half", &e))
    }

    /// Files that nobody has reason to touch, instead of those named before: who reads and overwrites one, writes over it
    /// what looks random, or removes it beside a random-looking file, is stopped at once. Gives how many are watched.
    pub fn watch_canaries(&mut self, canaries: &[Canary]) -> Result<usize, Refused> {
        let key = |(ino, dev): &(u64, u32)| [&ino.to_ne_bytes()[..], &dev.to_ne_bytes(), &[0; 4]].concat();
        for gone in self.watched.drain(..) {
            let _ = self.canaries.delete(&key(&gone));
        }
        for canary in canaries {
            let Some(dev) = canary.device() else { continue };
            let file = (canary.inode, dev);
            let name = canary.name_hash().to_ne_bytes();
            let put = self.canaries.update(&key(&file), &name, MapFlags::ANY);
            put.map_err(|e| refuse("naming a canary", &e))?;
            self.watched.push(file);
        }
        Ok(self.watched.len())
    }

    /// Waits for alarms, at most so long.
    pub fn poll(&mut self, timeout: Duration) -> Result<Vec<Alarm>, Refused> {
        let until = Instant::now() + timeout;
        loop {
            let alarms = self.hear()?;
            let left = until.saturating_duration_since(Instant::now());
            if !alarms.is_empty() || left.is_zero() {
                return Ok(alarms);
            }
            let wait = Timespec { tv_sec: left.as_secs() as i64, tv_nsec: i64::from(left.subsec_nanos()) };
            let mut fds = [PollFd::new(&self.ring_map, PollFlags::IN)];
            match poll(&mut fds, Some(&wait)) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(e) => return Err(refuse("waiting for the ring buffer", &e)),
            }
        }
    }

    fn hear(&mut self) -> Result<Vec<Alarm>, Refused> {
        self.ring.consume().map_err(|e| refuse("reading the ring buffer", &e))?;
        if let Some(intake) = &mut self.intake {
            intake.drain();
        }
        let records = std::mem::take(&mut self.heard.lock().unwrap_or_else(PoisonError::into_inner).records);
        let mut alarms = Vec::new();
        for Record { family, root, process, time_ns, what } in records {
            match what {
                What::Evidence(evidence) => {
                    if self.evidence.len() == MOST_EVIDENCE {
                        self.evidence.pop_front();
                    }
                    self.evidence.push_back((family, evidence));
                }
                What::Stopped => {
                    self.stopped.entry(family).or_default().insert(process);
                }
                What::Alarm => {
                    self.stopped.entry(family).or_default();
                    let evidence = self.evidence_against(family);
                    alarms.push(Alarm { family, root, evidence, time_ns });
                }
            }
        }
        Ok(alarms)
    }

    /// What this family and those below it have done.
    fn evidence_against(&self, family: u64) -> Vec<Evidence> {
        self.evidence.iter().filter(|(id, _)| self.descends(*id, family)).map(|(_, e)| e.clone()).collect()
    }

    /// True if a family is another one or below it.
    fn descends(&self, mut id: u64, family: u64) -> bool {
        for _ in 0..GENERATIONS {
            if id == family {
                return true;
            }
            // Its first number is the parent.
            match self.families.lookup(&id.to_ne_bytes(), MapFlags::ANY) {
                Ok(Some(value)) => match value.first_chunk::<8>() {
                    Some(parent) => id = u64::from_ne_bytes(*parent),
                    None => return false,
                },
                _ => return false,
            }
        }
        false
    }

    /// The processes of a family that stand still, as far as was heard.
    pub fn stopped(&mut self, family: u64) -> Vec<ProcessId> {
        // What stopped meanwhile is told in the ring; an alarm among it is kept for the next poll.
        if let Ok(alarms) = self.hear() {
            let mut heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
            for Alarm { family, root, time_ns, .. } in alarms {
                heard.records.push_back(Record { family, root, process: root, time_ns, what: What::Alarm });
            }
        }
        self.stopped.get(&family).into_iter().flatten().copied().collect()
    }

    /// The family was killed.
    pub fn killed(&mut self, family: u64) -> Result<(), Refused> {
        self.forget(family, false)
    }

    /// Sets a family free: it was something else. Each time that happens its limits double.
    pub fn release(&mut self, family: u64) -> Result<(), Refused> {
        let freed = self.forget(family, true);
        let mut woken = BTreeSet::new();
        // Who was about to stop when the mark was taken away has stopped by the second time.
        for _ in 0..2 {
            for process in self.stopped(family) {
                wake(&process);
                woken.insert(process);
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        self.stopped.remove(&family);
        tracing::info!(processes = woken.len(), "set a family of processes free");
        freed
    }

    fn forget(&mut self, family: u64, again: bool) -> Result<(), Refused> {
        self.evidence.retain(|(id, _)| *id != family);
        if let Some(mut intake) = self.intake.take() {
            intake.forget(|id| self.descends(id, family));
            self.intake = Some(intake);
        }
        let key = family.to_ne_bytes();
        // `struct family`: own and below at 24, their beginnings at 32, stopped at 48, grace at 52.
        if let Ok(Some(mut value)) = self.families.lookup(&key, MapFlags::ANY)
            && value.len() == 72
        {
            let was_stopped = value[48..52] != [0; 4];
            value[24..32].fill(0);
            value[48..52].fill(0);
            let grace = value[52].saturating_add(u8::from(again)).min(8);
            value[52] = grace;
            self.families.update(&key, &value, MapFlags::ANY).map_err(|e| refuse("freeing a family", &e))?;
            if !was_stopped {
                return Ok(());
            }
        }
        if !again {
            self.stopped.remove(&family);
        }
        self.settled += 1;
        self.set(SETTLED, self.settled)
    }
}

impl Drop for Guard {
    /// Nobody is left standing.
    fn drop(&mut self) {
        let _ = self.stop_families(false);
        let families: Vec<u64> = self.stopped.keys().copied().collect();
        for family in families {
            let _ = self.release(family);
        }
        self.links.clear();
    }
}

/// Sends SIGCONT to a process that is proven to be the one.
fn wake(process: &ProcessId) {
    let Some(pid) = i32::try_from(process.tgid).ok().and_then(Pid::from_raw) else { return };
    let Ok(fd) = rustix::process::pidfd_open(pid, PidfdFlags::empty()) else { return };
    // The start is read while the pidfd is open: the number cannot pass to another meanwhile.
    let same = matches!(Stat::of(process.tgid), Ok(Some(stat)) if stat.start_ticks == process.start_ticks());
    if same {
        let _ = rustix::process::pidfd_send_signal(fd.as_fd(), Signal::CONT);
    }
}
