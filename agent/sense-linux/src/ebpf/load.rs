//! Loads the programs, and leaves out those that this kernel does not know.

use std::fs;
use std::os::fd::{AsFd, AsRawFd};
use std::path::Path;

use libbpf_rs::{Link, MapCore, MapFlags, MapHandle, Object, ObjectBuilder};

use crate::context::{Refused, chain};
use crate::watches::Watches;

/// The compiled programs; libbpf wants the ELF file's numbers aligned.
#[repr(align(8))]
pub(super) struct Aligned<T: ?Sized>(pub T);
static PROGRAMS: &Aligned<[u8]> = &Aligned(*include_bytes!(concat!(env!("OUT_DIR"), "/sensor.bpf.o")));

/// Programs that see one kind of thing, and are loaded together or not at all.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Family {
    Process,
    Network,
    File,
    Call,
    /// Questions and answers of DNS.
    Dns,
    /// Operations that go through io_uring and not through a system call of their own.
    Uring,
    /// Verdicts of rules about what is about to run; a part of processes.
    Verdict,
}

/// The program that sees what is executed, and the one that stops it, too.
const ON_EXEC: &str = "on_exec";
const ON_EXEC_DECIDES: &str = "on_exec_decides";
/// Places in `scratch` for programs of the gate, behind those of the processors; `GATE_SLOTS` there.
const GATE_SLOTS: u32 = 4;

/// The program that all ends of system calls go through.
const ON_CALL: &str = "on_call";

impl Family {
    pub const ALL: [Self; 7] =
        [Self::Process, Self::Network, Self::File, Self::Call, Self::Dns, Self::Uring, Self::Verdict];

    /// Programs that are attached.
    fn attached(self) -> &'static [&'static str] {
        match self {
            Self::Process => &[ON_EXEC, "on_fork", "on_exit"],
            Self::Verdict => &[ON_EXEC_DECIDES],
            Self::Network | Self::File | Self::Call | Self::Dns => &[ON_CALL],
            Self::Uring => &["on_uring"],
        }
    }

    /// Programs that [`ON_CALL`] hands calls to, and their places in `handlers`.
    fn handlers(self) -> &'static [(&'static str, u32)] {
        match self {
            Self::Process | Self::Uring | Self::Verdict => &[],
            Self::Network => &[("on_network", 1), ("on_unix", 6)],
            Self::File => &[("on_open", 2), ("on_path", 3)],
            Self::Call => &[("on_system", 4)],
            Self::Dns => &[("on_talk", 5)],
        }
    }

    fn has(self, program: &str) -> bool {
        self.attached().contains(&program) || self.handlers().iter().any(|(name, _)| *name == program)
    }
}

/// What is loaded and attached.
pub(super) struct Loaded {
    pub links: Vec<Link>,
    pub object: Object,
    /// Families that are left out, and why.
    pub refused: Vec<(Family, Refused)>,
}

impl Loaded {
    pub fn map(&self, name: &str) -> Result<MapHandle, Refused> {
        let map = self.object.maps().find(|m| m.name() == name);
        let map = map.ok_or_else(|| Refused(format!("the eBPF object has no map {name}")))?;
        MapHandle::try_from(&map).map_err(|e| refusal(&format!("opening the map {name}"), &e))
    }

    /// Writes entries into a map; one that no program of this build uses is left out of the object.
    fn fill<K: AsRef<[u8]>, V: AsRef<[u8]>>(
        &self,
        name: &str,
        entries: impl IntoIterator<Item = (K, V)>,
    ) -> Result<(), Refused> {
        let Ok(map) = self.map(name) else { return Ok(()) };
        for (key, value) in entries {
            map.update(key.as_ref(), value.as_ref(), MapFlags::ANY)
                .map_err(|e| refusal(&format!("filling the map {name}"), &e))?;
        }
        Ok(())
    }

    /// How often the kernel did not run a program at all, because it ran already on that CPU.
    pub fn missed(&self) -> u64 {
        self.object.progs().map(|p| recursion_misses(p.as_fd().as_raw_fd())).sum()
    }
}

/// Loads and attaches what this kernel can run. Without processes nothing is worth having.
pub(super) fn load(ring_bytes: u32, watches: &Watches) -> Result<Loaded, Refused> {
    let (entries, names) = (watches.entries()?, watches.names()?);
    libbpf_rs::set_print(Some((libbpf_rs::PrintLevel::Warn, |_, text| {
        tracing::debug!(target: "libbpf", "{}", text.trim_end());
    })));
    let (families, refused, object) = load_families(ring_bytes)?;
    let mut loaded = Loaded { links: Vec::new(), object, refused };
    // A build without programs on system calls has no such map.
    if let Ok(config) = loaded.map("config") {
        configure(&config, 0)?;
    }
    loaded.fill("watches", entries)?;
    loaded.fill("names", names.into_iter().map(|(name, meaning)| (name, [meaning])))?;
    for (name, place) in families.iter().flat_map(|family| family.handlers()) {
        let program = loaded.object.progs().find(|p| p.name() == *name);
        let Some(fd) = program.map(|p| p.as_fd().as_raw_fd()) else { continue };
        loaded
            .map("handlers")?
            .update(&place.to_ne_bytes(), &fd.to_ne_bytes(), MapFlags::ANY)
            .map_err(|e| refusal("joining the programs", &e))?;
    }
    for program in loaded.object.progs_mut() {
        let name = program.name().to_string_lossy().into_owned();
        if is_wanted(&families, &name) && families.iter().any(|f| f.attached().contains(&name.as_str())) {
            loaded.links.push(program.attach().map_err(|e| refusal(&format!("attaching {name}"), &e))?);
        }
    }
    Ok(loaded)
}

/// Tells the programs whose doings to leave out: this process's, but for those of one thread.
pub(super) fn configure(config: &MapHandle, canary: u32) -> Result<(), Refused> {
    let value = [std::process::id().to_ne_bytes(), canary.to_ne_bytes()].concat();
    config
        .update(&0u32.to_ne_bytes(), &value, MapFlags::ANY)
        .map_err(|e| refusal("configuring the programs", &e))
}

/// Families that are loaded, and those that are left out and why.
type Sorted = (Vec<Family>, Vec<(Family, Refused)>, Object);

/// All families if the kernel takes them; else each is tried by itself, and those that fail are left out.
fn load_families(ring_bytes: u32) -> Result<Sorted, Refused> {
    let (mut families, mut refused) = (Vec::new(), Vec::new());
    for family in Family::ALL {
        if is_built(family)? {
            families.push(family);
        } else {
            let why = "this build knows the system calls of x86-64 processors only".to_owned();
            refused.push((family, Refused(why)));
        }
    }
    let all = match load_object(ring_bytes, &families) {
        Ok(object) => return Ok((families, refused, object)),
        Err(all) => all,
    };
    // Older kernels name its tracepoint otherwise: worth a try before each is tried by itself.
    let others: Vec<Family> = families.iter().copied().filter(|family| *family != Family::Uring).collect();
    if others.len() < families.len()
        && let Ok(object) = load_object(ring_bytes, &others)
    {
        refused.push((Family::Uring, all));
        return Ok((others, refused, object));
    }
    // What even processes need is missing: nobody else would fare better.
    load_object(ring_bytes, &[Family::Process])?;
    for family in families.split_off(1) {
        match load_object(ring_bytes, &[Family::Process, family]) {
            Ok(_) => families.push(family),
            Err(why) => refused.push((family, why)),
        }
    }
    tracing::warn!("not all programs can be loaded: {all}");
    let object = load_object(ring_bytes, &families)?;
    Ok((families, refused, object))
}

/// Whether one of these families has the program. Of the two that see what is executed only one is.
fn is_wanted(families: &[Family], program: &str) -> bool {
    let decides = families.contains(&Family::Verdict);
    families.iter().any(|family| family.has(program)) && !(decides && program == ON_EXEC)
}

/// Whether the programs of a family are part of this build.
fn is_built(family: Family) -> Result<bool, Refused> {
    let open =
        ObjectBuilder::default().open_memory(&PROGRAMS.0).map_err(|e| refusal("reading the programs", &e))?;
    Ok(family.attached().iter().all(|name| open.progs().any(|p| p.name() == *name)))
}

fn load_object(ring_bytes: u32, families: &[Family]) -> Result<Object, Refused> {
    let cpus = libbpf_rs::num_possible_cpus().map_err(|e| refusal("counting CPUs", &e))?;
    let mut open =
        ObjectBuilder::default().open_memory(&PROGRAMS.0).map_err(|e| refusal("reading the programs", &e))?;
    for mut map in open.maps_mut() {
        let entries = match map.name().to_str() {
            Some("ring") => ring_bytes.max(4096).next_power_of_two(),
            Some("scratch") => u32::try_from(cpus).unwrap_or(u32::MAX).saturating_add(GATE_SLOTS),
            _ => continue,
        };
        map.set_max_entries(entries).map_err(|e| refusal("sizing the maps", &e))?;
    }
    for mut program in open.progs_mut() {
        let name = program.name().to_string_lossy().into_owned();
        program.set_autoload(is_wanted(families, &name));
    }
    open.load().map_err(|e| refusal("loading the programs", &e))
}

/// Says what happened and what would mend it.
pub(super) fn refusal(doing: &str, error: &libbpf_rs::Error) -> Refused {
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
