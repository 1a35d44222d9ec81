//! What the kernel half tells, decoded. The layout is that of `bpf/record.h`.

/// Bytes of a record before its path, and of the longest path.
const HEAD: usize = 80;
const PATH: usize = 1024 + 256;

/// A process as the kernel names it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ProcessId {
    /// Start of the thread group leader, in nanoseconds since boot.
    pub start_ns: u64,
    /// In the root pid namespace.
    pub tgid: u32,
}

impl ProcessId {
    /// The start in clock ticks since boot, as `/proc` and [`wardline_event::ProcessKey`] have it.
    pub fn start_ticks(&self) -> u64 {
        self.start_ns / 10_000_000
    }
}

/// How a file was destroyed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum How {
    /// From its beginning, by what looks random.
    Overwritten,
    /// In its middle, where it did not look random before.
    Patched,
    /// By a random-looking file that was renamed over it.
    Replaced,
    /// Unlinked, with a random-looking file made beside it.
    Removed,
    /// Through shared memory.
    Mapped,
    /// It was a canary, and it was overwritten.
    Canary,
}

/// A file that was destroyed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Evidence {
    /// How.
    pub how: How,
    /// When, in nanoseconds since boot.
    pub time_ns: u64,
    /// Who did it.
    pub process: ProcessId,
    /// The file's number in its file system; 0 if only the name is known.
    pub ino: u64,
    /// The file system, in the kernel's own encoding: 12 bits of major, 20 bits of minor number.
    pub dev: u32,
    /// Its path within the file system; only the name if it was removed or replaced.
    pub path: String,
}

/// One record.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Record {
    /// Against, or of, this family.
    pub family: u64,
    /// What the family descends from.
    pub root: ProcessId,
    pub process: ProcessId,
    pub time_ns: u64,
    pub what: What,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum What {
    Evidence(Evidence),
    Alarm,
    Stopped,
}

/// A record that the kernel half cannot have written.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RecordError {
    #[error("a record of {0} bytes")]
    Size(usize),
    #[error("unknown kind of record {0}")]
    Kind(u32),
    #[error("unknown way to destroy a file {0}")]
    How(u32),
}

/// Decodes one record.
pub(crate) fn decode(bytes: &[u8]) -> Result<Record, RecordError> {
    let size = || RecordError::Size(bytes.len());
    let u32_at = |at: usize| {
        bytes.get(at..at + 4).and_then(|b| b.try_into().ok()).map(u32::from_ne_bytes).ok_or_else(size)
    };
    let u64_at = |at: usize| {
        bytes.get(at..at + 8).and_then(|b| b.try_into().ok()).map(u64::from_ne_bytes).ok_or_else(size)
    };
    let process_at =
        |at: usize| Ok::<_, RecordError>(ProcessId { start_ns: u64_at(at)?, tgid: u32_at(at + 8)? });
    let (time_ns, root, process) = (u64_at(8)?, process_at(24)?, process_at(40)?);
    let what = match u32_at(0)? {
        0 => {
            let length = (u32_at(72)? as usize).min(PATH);
            let components = bytes.get(HEAD..HEAD + length).ok_or_else(size)?;
            What::Evidence(Evidence {
                how: how(u32_at(4)?)?,
                time_ns,
                process,
                ino: u64_at(56)?,
                dev: u32_at(64)?,
                path: path(components),
            })
        }
        1 => What::Alarm,
        2 => What::Stopped,
        kind => return Err(RecordError::Kind(kind)),
    };
    Ok(Record { family: u64_at(16)?, root, process, time_ns, what })
}

fn how(number: u32) -> Result<How, RecordError> {
    Ok(match number {
        0 => How::Overwritten,
        1 => How::Patched,
        2 => How::Replaced,
        3 => How::Removed,
        4 => How::Mapped,
        5 => How::Canary,
        other => return Err(RecordError::How(other)),
    })
}

/// Components come leaf first, each ended by a NUL. A single one is a name, or the path that a call was given.
fn path(components: &[u8]) -> String {
    let parts: Vec<_> = components.split(|b| *b == 0).filter(|c| !c.is_empty()).rev().collect();
    match parts[..] {
        [name] => String::from_utf8_lossy(name).into_owned(),
        _ => parts.iter().flat_map(|part| ["/".into(), String::from_utf8_lossy(part)]).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn record(kind: u32, how: u32, components: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        out.extend(kind.to_ne_bytes());
        out.extend(how.to_ne_bytes());
        out.extend(77u64.to_ne_bytes());
        out.extend(5u64.to_ne_bytes());
        for (start, tgid) in [(1u64, 2u32), (3, 4)] {
            out.extend(start.to_ne_bytes());
            out.extend(tgid.to_ne_bytes());
            out.extend([0; 4]);
        }
        out.extend(9u64.to_ne_bytes());
        for number in [8u32, 1, components.len() as u32, 0] {
            out.extend(number.to_ne_bytes());
        }
        assert_eq!(out.len(), HEAD);
        out.extend(components);
        out.resize(HEAD + PATH, 0);
        out
    }

    #[test]
    fn evidence_is_read_as_it_was_written() {
        let read = decode(&record(0, 1, b"a.txt\0docs\0home\0")).unwrap();
        assert_eq!((read.family, read.root), (5, ProcessId { start_ns: 1, tgid: 2 }));
        let What::Evidence(evidence) = read.what else { panic!("not evidence") };
        assert_eq!((evidence.how, evidence.ino, evidence.dev), (How::Patched, 9, 8));
        assert_eq!((evidence.path.as_str(), evidence.process.tgid), ("/home/docs/a.txt", 4));
        let What::Evidence(evidence) = decode(&record(0, 3, b"a.txt\0")).unwrap().what else {
            panic!("not evidence")
        };
        assert_eq!(evidence.path, "a.txt");
        assert_eq!(decode(&record(2, 0, b"")).unwrap().what, What::Stopped);
        assert_eq!(decode(&record(0, 9, b"")), Err(RecordError::How(9)));
    }

    proptest! {
        #[test]
        fn hostile_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), kind in 0u32..4, how in 0u32..8) {
            let _ = decode(&bytes);
            let mut whole = record(kind, how, &bytes);
            whole[72..76].copy_from_slice(&u32::MAX.to_ne_bytes());
            let _ = decode(&whole);
        }
    }
}
