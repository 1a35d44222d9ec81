//! Rules that the kernel half follows itself: their tables, and the gate that refuses what need not be killed.

use std::fs;
use std::mem::size_of;
use std::os::fd::{AsFd, AsRawFd};
use std::process::{Command, Stdio};

use libbpf_rs::{Link, MapCore, MapFlags, MapHandle, MapType, Object, ObjectBuilder};
use wardline_event::SensorKind;
use wardline_sense::KernelRules;

use super::load::{Aligned, Loaded, refusal};
use crate::context::{Refused, chain};
use crate::procfs::Stat;

static GATE: &Aligned<[u8]> = &Aligned(*include_bytes!(concat!(env!("OUT_DIR"), "/gate.bpf.o")));
/// Generations of processes above the agent that are looked at.
const ANCESTORS: usize = 64;

/// The tables in force.
pub(super) struct Tables {
    outer: MapHandle,
    bytes: u32,
    generation: u32,
}

impl Tables {
    /// Names who is spared: this process and what it runs under.
    pub fn open(loaded: &Loaded) -> Result<Self, Refused> {
        let spared = loaded.map("spared")?;
        let mut pid = std::process::id();
        for _ in 0..ANCESTORS {
            let Ok(stat) = Stat::read(pid) else { break };
            spared
                .update(&pid.to_ne_bytes(), &stat.start_ticks.to_ne_bytes(), MapFlags::ANY)
                .map_err(|e| refusal("naming who is spared", &e))?;
            pid = stat.ppid;
            if pid <= 1 {
                break;
            }
        }
        Ok(Self { outer: loaded.map("verdicts")?, bytes: TABLE_BYTES, generation: 0 })
    }

    fn put(&mut self, tables: &[u8]) -> Result<(), String> {
        let told = |doing: &str, error: &libbpf_rs::Error| format!("{doing} failed: {}", chain(error));
        if tables.len() != self.bytes as usize {
            return Err(format!("tables of {} bytes where the kernel half has {}", tables.len(), self.bytes));
        }
        self.generation = self.generation.wrapping_add(1);
        let mut own = tables.to_vec();
        own[4..8].copy_from_slice(&self.generation.to_ne_bytes());
        let options = libbpf_sys::bpf_map_create_opts {
            sz: size_of::<libbpf_sys::bpf_map_create_opts>() as _,
            ..Default::default()
        };
        let inner = MapHandle::create(MapType::Array, Some("verdict_table"), 4, self.bytes, 1, &options)
            .map_err(|e| told("making room for the tables", &e))?;
        inner.update(&[0; 4], &own, MapFlags::ANY).map_err(|e| told("writing the tables", &e))?;
        // The kernel takes a descriptor, puts the map in the other's place, and waits until nobody reads that any more.
        let fd = inner.as_fd().as_raw_fd().to_ne_bytes();
        self.outer.update(&[0; 4], &fd, MapFlags::ANY).map_err(|e| told("putting the tables into force", &e))
    }
}

impl KernelRules for Tables {
    fn follow(&mut self, tables: Option<&[u8]>) -> Result<(), String> {
        let put = tables.map_or(Ok(()), |tables| self.put(tables));
        if tables.is_none() || put.is_err() {
            // There may be none.
            let _ = self.outer.delete(&[0; 4]);
        }
        if matches!(self.outer.lookup(&[0; 4], MapFlags::ANY), Ok(Some(_)))
            != (tables.is_some() && put.is_ok())
        {
            return put.and(Err("the tables are not as they should be".to_owned()));
        }
        put
    }
}

/// Bytes of `struct verdict_table`.
pub const TABLE_BYTES: u32 = 8 + 512 * 8 + 256 * (8 + 128) + (1 << 20);

/// The programs that refuse.
pub(super) struct Gate {
    _links: Vec<Link>,
    _object: Object,
    pub kind: SensorKind,
}

/// Opens the gate in the best way that this kernel has and that proves to be asked.
pub(super) fn open_gate(loaded: &Loaded) -> Result<Gate, String> {
    let mut refused = Vec::new();
    for (program, kind, what) in [
        ("gate_lsm", SensorKind::VerdictLsm, "BPF LSM"),
        ("gate_return", SensorKind::VerdictReturn, "modified return"),
    ] {
        match try_gate(loaded, program, kind) {
            Ok(gate) => return Ok(gate),
            Err(why) => refused.push(format!("{what}: {why}")),
        }
    }
    Err(refused.join("; "))
}

fn try_gate(loaded: &Loaded, program: &str, kind: SensorKind) -> Result<Gate, String> {
    let told = |doing: &str, error: &libbpf_rs::Error| format!("{doing} failed ({})", chain(error));
    let cpus = libbpf_rs::num_possible_cpus().map_err(|e| told("counting CPUs", &e))?;
    let mut open =
        ObjectBuilder::default().open_memory(&GATE.0).map_err(|e| told("reading the programs", &e))?;
    for mut map in open.maps_mut() {
        let name = map.name().to_string_lossy().into_owned();
        if name.ends_with(".rodata") {
            // `first_slot`, its first number.
            if let Some(first) = map.initial_value_mut().and_then(|value| value.get_mut(..4)) {
                first.copy_from_slice(&u32::try_from(cpus).unwrap_or(u32::MAX).to_ne_bytes());
            }
        } else if !name.contains('.')
            && let Ok(shared) = loaded.map(&name)
        {
            map.reuse_fd(shared.as_fd()).map_err(|e| told("sharing the maps", &e))?;
        }
    }
    for mut each in open.progs_mut() {
        let wanted = each.name() == program;
        each.set_autoload(wanted);
    }
    let object = open.load().map_err(|e| told("loading it", &e))?;
    let mut links = Vec::new();
    for each in object.progs_mut().filter(|each| each.name() == program) {
        links.push(each.attach().map_err(|e| told("attaching it", &e))?);
    }
    let counts = object.maps().find(|map| map.name() == "gate_counts").ok_or("it counts nothing")?;
    let before = asked(&counts);
    // A kernel in which the BPF LSM is built and not in force takes programs for it, and never calls them.
    let _ = Command::new("/bin/true").stdin(Stdio::null()).stdout(Stdio::null()).status();
    if asked(&counts) == before {
        let lsms = fs::read_to_string("/sys/kernel/security/lsm").unwrap_or_default();
        return Err(format!("the kernel does not ask it (LSMs in force: {})", lsms.trim()));
    }
    Ok(Gate { _links: links, _object: object, kind })
}

/// How often the gate was asked.
fn asked(counts: &impl MapCore) -> u64 {
    let Ok(Some(cpus)) = counts.lookup_percpu(&[0; 4], MapFlags::ANY) else { return 0 };
    cpus.iter().filter_map(|value| value.first_chunk::<8>()).map(|n| u64::from_ne_bytes(*n)).sum()
}
