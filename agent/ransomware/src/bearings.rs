//! Finds out where the kernel keeps its descriptions of pages, and where it sees all of memory.
//!
//! Both places are chosen by chance at each boot, and no interface tells them; but both begin at a multiple of 1 GiB below
//! what lies in them. So a file is made whose content is known, the kernel half tells where its page is described, and
//! then tries one place after the other until it reads what the file has, in both of its pages. Where nothing fits, nothing
//! is ever copied.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::AsRawFd;

use libbpf_rs::{MapCore, MapFlags, MapHandle, Object, ProgramInput};

use crate::guard::Refused;

const PAGE: usize = 4096;
const STEP: u64 = 1 << 30;
/// What the kernel half writes and reads; see `bpf/record.h`.
pub(crate) const PAGES: u32 = 0;
pub(crate) const MEMORY: u32 = 1;
pub(crate) const TAKEN: u32 = 2;
pub(crate) const GIVEN: u32 = 3;
pub(crate) const LOST: u32 = 4;
const PAGE_AT: u32 = 5;
const TASK_AT: u32 = 6;

/// So many gigabytes below what is known it is looked for: on a machine with 16 TiB of memory it is still found.
const MOST_MEMORY: u64 = 16 << 10;

pub(crate) fn get(map: &MapHandle, index: u32) -> u64 {
    let value = map.lookup(&index.to_ne_bytes(), MapFlags::ANY).ok().flatten();
    value.and_then(|v| v.first_chunk().copied()).map_or(0, u64::from_ne_bytes)
}

pub(crate) fn set(map: &MapHandle, index: u32, value: u64) -> Result<(), Refused> {
    let put = map.update(&index.to_ne_bytes(), &value.to_ne_bytes(), MapFlags::ANY);
    put.map_err(|e| Refused(format!("telling the kernel half: {e}")))
}

/// Gigabytes of memory that the kernel may see, holes included; generous.
fn gigabytes() -> u64 {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kib =
        text.lines().find_map(|l| l.strip_prefix("MemTotal:")?.trim().split(' ').next()?.parse::<u64>().ok());
    (kib.unwrap_or(0) >> 20) * 2 + 16
}

/// Finds both places and tells the kernel half, which copies from then on.
pub(crate) fn take(object: &Object, bearings: &MapHandle) -> Result<(), Refused> {
    let fail = |doing: &str, e: &dyn std::error::Error| Refused(format!("{doing} failed: {e}"));
    let program = object.progs_mut().find(|p| p.name() == "find_memory");
    let program = program.ok_or_else(|| Refused("the eBPF object has no program find_memory".to_owned()))?;
    let mut marks = [0; 16];
    File::open("/dev/urandom")
        .and_then(|mut f| f.read_exact(&mut marks))
        .map_err(|e| fail("reading random bytes", &e))?;
    let fd = rustix::fs::memfd_create("wardline-bearings", rustix::fs::MemfdFlags::CLOEXEC)
        .map_err(|e| fail("making a file in memory", &e))?;
    let mut file = File::from(fd);
    let mut content = vec![0; 2 * PAGE];
    content[..8].copy_from_slice(&marks[..8]);
    content[PAGE..PAGE + 8].copy_from_slice(&marks[8..]);
    file.write_all(&content).map_err(|e| fail("writing to a file in memory", &e))?;
    let mark = |n: usize| u64::from_ne_bytes(marks[8 * n..8 * n + 8].try_into().unwrap_or_default());
    let run = |pages: u64, memory: u64| {
        let args = [file.as_raw_fd().cast_unsigned().into(), pages, memory, mark(0), mark(1)];
        let mut context: Vec<u8> = args.iter().flat_map(|n: &u64| n.to_ne_bytes()).collect();
        let input = ProgramInput { context_in: Some(&mut context), ..ProgramInput::default() };
        program.test_run(input).map(|out| out.return_value == 1)
    };
    let tell = |e: libbpf_rs::Error| fail("running a program in the kernel", &e);
    if !run(0, 0).map_err(tell)? {
        return Err(Refused(
            "the page cache of this kernel is built in a way that is not known here".to_owned(),
        ));
    }
    let down = |at: u64| at & !(STEP - 1);
    let (pages, memory) = (down(get(bearings, PAGE_AT)), down(get(bearings, TASK_AT)));
    let most = gigabytes().min(MOST_MEMORY);
    // A description takes 64 bytes for 4,096.
    for i in 0..=most / 64 {
        for k in 0..=most {
            let place = (pages.wrapping_sub(i * STEP), memory.wrapping_sub(k * STEP));
            if run(place.0, place.1).map_err(tell)? {
                set(bearings, MEMORY, place.1)?;
                return set(bearings, PAGES, place.0);
            }
        }
    }
    Err(Refused("it was not found where this kernel sees its memory".to_owned()))
}
