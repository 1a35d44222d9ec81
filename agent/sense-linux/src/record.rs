//! What the kernel half writes into the ring buffer, decoded. The layout is that of `bpf/record.h`.

/// Bytes of `struct header`, `fork_record`, `exit_record`, and of an `exec_record` before its data.
const HEADER: usize = 48;
const FORK: usize = 72;
const EXIT: usize = 56;
const EXEC: usize = 96;

const ARGS_CUT: u32 = 1;
const EXE_CUT: u32 = 2;
const CWD_CUT: u32 = 4;
const EXE_GONE: u32 = 8;

/// Kinds of records, in the kernel half's numbers; also the index of a kind's counters.
pub(crate) const KINDS: [&str; 3] = ["fork", "exec", "exit"];

/// A process as the kernel names it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct ProcessId {
    /// Start of the thread group leader, in nanoseconds since boot.
    pub start_ns: u64,
    /// In the root pid namespace.
    pub tgid: u32,
}

/// One record.
#[derive(PartialEq, Eq, Debug)]
pub(crate) struct Record {
    /// Nanoseconds since boot.
    pub time_ns: u64,
    pub process: ProcessId,
    /// The parent at that moment.
    pub parent: ProcessId,
    pub what: What,
}

#[derive(PartialEq, Eq, Debug)]
pub(crate) enum What {
    Fork { creator: ProcessId, euid: u32 },
    Exec(Exec),
    Exit { status: i32 },
}

#[derive(PartialEq, Eq, Debug)]
pub(crate) struct Exec {
    /// Inode in cgroup v2.
    pub cgroup: u64,
    /// Of the pids or memory controller in cgroup v1.
    pub cgroup_v1: u64,
    pub euid: u32,
    pub parent_euid: u32,
    /// As far as it could be walked.
    pub exe: WalkedPath,
    /// As far as it could be walked.
    pub cwd: WalkedPath,
    /// Arguments joined by spaces.
    pub args: String,
    /// `args` is not all of it.
    pub args_cut: bool,
    /// Bytes of the whole command line.
    pub args_total: u64,
    /// The executable has no name in the file system any more.
    pub exe_gone: bool,
}

/// A path put together from its components.
#[derive(PartialEq, Eq, Debug)]
pub(crate) struct WalkedPath {
    /// Absolute if `complete`, else the end of it.
    pub path: String,
    pub complete: bool,
}

/// A record that the kernel half cannot have written.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RecordError {
    #[error("a record of {0} bytes is shorter than its kind needs")]
    Short(usize),
    #[error("a record says that it has {said} bytes and has {has}")]
    Size { said: u32, has: usize },
    #[error("unknown kind of record {0}")]
    Kind(u32),
}

/// Reads numbers at fixed offsets; the caller has checked that they are there.
struct Bytes<'a>(&'a [u8]);

impl Bytes<'_> {
    fn u32(&self, at: usize) -> Result<u32, RecordError> {
        let bytes = self.0.get(at..at + 4).and_then(|b| b.try_into().ok());
        bytes.map(u32::from_ne_bytes).ok_or(RecordError::Short(self.0.len()))
    }

    fn u64(&self, at: usize) -> Result<u64, RecordError> {
        let bytes = self.0.get(at..at + 8).and_then(|b| b.try_into().ok());
        bytes.map(u64::from_ne_bytes).ok_or(RecordError::Short(self.0.len()))
    }

    fn process(&self, at: usize) -> Result<ProcessId, RecordError> {
        Ok(ProcessId { start_ns: self.u64(at)?, tgid: self.u32(at + 8)? })
    }
}

/// Decodes one record.
pub(crate) fn decode(bytes: &[u8]) -> Result<Record, RecordError> {
    let at = Bytes(bytes);
    let (kind, size) = (at.u32(0)?, at.u32(4)?);
    if size as usize != bytes.len() {
        return Err(RecordError::Size { said: size, has: bytes.len() });
    }
    let needed = match kind {
        0 => FORK,
        1 => EXEC,
        2 => EXIT,
        _ => return Err(RecordError::Kind(kind)),
    };
    if bytes.len() < needed {
        return Err(RecordError::Short(bytes.len()));
    }
    let what = match kind {
        0 => What::Fork { creator: at.process(HEADER)?, euid: at.u32(HEADER + 16)? },
        1 => What::Exec(decode_exec(bytes)?),
        _ => What::Exit { status: at.u32(HEADER)?.cast_signed() },
    };
    Ok(Record { time_ns: at.u64(8)?, process: at.process(16)?, parent: at.process(32)?, what })
}

fn decode_exec(bytes: &[u8]) -> Result<Exec, RecordError> {
    let at = Bytes(bytes);
    let flags = at.u32(72)?;
    let lengths = [at.u32(76)? as usize, at.u32(80)? as usize, at.u32(84)? as usize];
    let mut rest = &bytes[EXEC..];
    let mut take = |len: usize| {
        let (taken, left) = rest.split_at_checked(len).ok_or(RecordError::Short(bytes.len()))?;
        rest = left;
        Ok(taken)
    };
    let (exe, cwd, args) = (take(lengths[0])?, take(lengths[1])?, take(lengths[2])?);
    let mut exe = walked(exe, flags & EXE_CUT == 0);
    if exe.path == "/" {
        // The root directory is no executable: there was none to walk to.
        exe.path.clear();
    }
    Ok(Exec {
        cgroup: at.u64(48)?,
        cgroup_v1: at.u64(56)?,
        euid: at.u32(64)?,
        parent_euid: at.u32(68)?,
        exe,
        cwd: walked(cwd, flags & CWD_CUT == 0),
        args: command_line(args),
        args_cut: flags & ARGS_CUT != 0,
        args_total: at.u64(88)?,
        exe_gone: flags & EXE_GONE != 0,
    })
}

/// Components come leaf first, each ended by a NUL.
fn walked(components: &[u8], complete: bool) -> WalkedPath {
    let mut path = String::new();
    for component in components.split(|b| *b == 0).rev().filter(|c| !c.is_empty()) {
        if complete || !path.is_empty() {
            path.push('/');
        }
        path.push_str(&String::from_utf8_lossy(component));
    }
    if complete && path.is_empty() {
        path.push('/');
    }
    WalkedPath { path, complete }
}

/// Arguments, each ended by a NUL, joined by single spaces; bytes that are not UTF-8 become U+FFFD.
pub(crate) fn command_line(args: &[u8]) -> String {
    let end = args.iter().rposition(|b| *b != 0).map_or(0, |at| at + 1);
    let joined: Vec<u8> = args[..end].iter().map(|b| if *b == 0 { b' ' } else { *b }).collect();
    String::from_utf8(joined).unwrap_or_else(|e| String::from_utf8_lossy(e.as_bytes()).into_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Writes a record as the kernel half does.
    fn exec_record(exe: &[u8], cwd: &[u8], args: &[u8], flags: u32) -> Vec<u8> {
        let mut out = Vec::new();
        out.extend(1u32.to_ne_bytes());
        out.extend(((EXEC + exe.len() + cwd.len() + args.len()) as u32).to_ne_bytes());
        out.extend(77u64.to_ne_bytes());
        for (start, tgid) in [(5u64, 6u32), (3, 4)] {
            out.extend(start.to_ne_bytes());
            out.extend(tgid.to_ne_bytes());
            out.extend([0; 4]);
        }
        out.extend(1u64.to_ne_bytes());
        out.extend(2u64.to_ne_bytes());
        for number in [1000, 0, flags, exe.len() as u32, cwd.len() as u32, args.len() as u32] {
            out.extend(number.to_ne_bytes());
        }
        out.extend((args.len() as u64).to_ne_bytes());
        assert_eq!(out.len(), EXEC);
        out.extend(exe);
        out.extend(cwd);
        out.extend(args);
        out
    }

    #[test]
    fn an_exec_is_read_as_it_was_written() {
        let bytes = exec_record(b"nc\0bin\0usr\0", b"", b"nc\0-l\0a b\n\xff\0\0", EXE_GONE);
        let record = decode(&bytes).unwrap();
        assert_eq!(record.process, ProcessId { start_ns: 5, tgid: 6 });
        assert_eq!(record.parent, ProcessId { start_ns: 3, tgid: 4 });
        let What::Exec(exec) = record.what else { panic!("not an exec") };
        assert_eq!(exec.exe, WalkedPath { path: "/usr/bin/nc".into(), complete: true });
        assert_eq!(exec.cwd, WalkedPath { path: "/".into(), complete: true });
        assert_eq!(exec.args, "nc -l a b\n\u{fffd}");
        assert_eq!((exec.cgroup, exec.cgroup_v1, exec.euid, exec.parent_euid), (1, 2, 1000, 0));
        assert!(exec.exe_gone && !exec.args_cut);

        let cut = decode(&exec_record(b"nc\0bin\0", b"x\0", b"", EXE_CUT | ARGS_CUT)).unwrap();
        let What::Exec(cut) = cut.what else { panic!("not an exec") };
        assert_eq!(cut.exe, WalkedPath { path: "bin/nc".into(), complete: false });
        assert!(cut.args_cut);
    }

    proptest! {
        #[test]
        fn hostile_bytes_never_panic(mut bytes in prop::collection::vec(any::<u8>(), 0..300), kind in 0u32..4) {
            prop_assert!(decode(&bytes).is_err() || bytes.len() >= EXIT);
            // With a header that is believed.
            if bytes.len() >= 8 {
                let len = bytes.len() as u32;
                bytes[..4].copy_from_slice(&kind.to_ne_bytes());
                bytes[4..8].copy_from_slice(&len.to_ne_bytes());
                let _ = decode(&bytes);
            }
        }

        #[test]
        fn lengths_beyond_the_record_are_refused(exe: u32, cwd: u32, args: u32, cut in 0usize..120) {
            let mut bytes = exec_record(b"a\0", b"b\0", b"c\0", 0);
            bytes[76..80].copy_from_slice(&exe.to_ne_bytes());
            bytes[80..84].copy_from_slice(&cwd.to_ne_bytes());
            bytes[84..88].copy_from_slice(&args.to_ne_bytes());
            let fits = u64::from(exe) + u64::from(cwd) + u64::from(args) <= 6;
            prop_assert_eq!(decode(&bytes).is_ok(), fits);
            prop_assert!(cut >= bytes.len() || decode(&bytes[..cut]).is_err());
        }
    }
}
