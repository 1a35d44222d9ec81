//! Records of programs that were started.

use super::path::{WalkedPath, walked};
use super::{Bytes, HEADER, RecordError};

/// Bytes of an `exec_record` before its data.
const EXEC: usize = 176;

const ARGS_CUT: u32 = 1;
const EXE_CUT: u32 = 2;
const CWD_CUT: u32 = 4;
const EXE_GONE: u32 = 8;
const REFUSED: u32 = 32;
const ENV_CUT: u32 = 64;

#[derive(PartialEq, Eq, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "they are bits that the kernel half sets one by one")]
pub(crate) struct Exec {
    /// Inode in cgroup v2.
    pub cgroup: u64,
    /// Of the pids or memory controller in cgroup v1.
    pub cgroup_v1: u64,
    /// Effective capabilities, a bit for each.
    pub capabilities: u64,
    /// The real user.
    pub uid: u32,
    /// Who signed in.
    pub login_uid: Option<u32>,
    /// As far as it could be walked.
    pub exe: WalkedPath,
    /// As far as it could be walked.
    pub cwd: WalkedPath,
    /// The name of a script, as it was asked for; then `exe` is its interpreter.
    pub script: Option<String>,
    /// Each ended by a NUL but for the last, if it is cut.
    pub args: Vec<u8>,
    /// `args` is not all of it.
    pub args_cut: bool,
    /// Bytes of the whole command line.
    pub args_total: u64,
    /// The executable has no name in the file system any more.
    pub exe_gone: bool,
    /// The number of the rule for which it was stopped.
    pub verdict: Option<u32>,
    /// How long the kernel took for that, in nanoseconds.
    pub verdict_ns: u64,
    /// It was not let in: the process goes on with what it ran before.
    pub refused: bool,
    /// Which file the executable is; `None` if there was none to ask.
    pub file: Option<FileState>,
    /// Each ended by a NUL but for the last, if it is cut.
    pub env: Vec<u8>,
    /// `env` is not all of it.
    pub env_cut: bool,
}

/// A file in one of its states: as long as all of it is the same, so are its bytes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct FileState {
    /// Major and minor number of the file system's device.
    pub device: (u32, u32),
    pub inode: u64,
    pub size: u64,
    /// Seconds and nanoseconds since 1970.
    pub modified: (i64, u32),
    /// The same of the last change of any kind, which only the kernel sets.
    pub changed: (i64, u32),
    /// What kind of file system it lies on.
    pub magic: u32,
}

pub(super) fn decode_exec(at: Bytes<'_>) -> Result<Exec, RecordError> {
    let flags = at.u32(HEADER + 32)?;
    let lengths = [
        at.u32(HEADER + 36)?,
        at.u32(HEADER + 40)?,
        at.u32(HEADER + 44)?,
        at.u32(HEADER + 48)?,
        at.u32(HEADER + 52)?,
    ];
    let [exe, cwd, script, args, env] = at.pieces(EXEC, lengths)?;
    let mut exe = walked(exe, flags & EXE_CUT == 0);
    if exe.path == "/" {
        // The root directory is no executable: there was none to walk to.
        exe.path.clear();
    }
    let script = script.split(|b| *b == 0).next().filter(|name| !name.is_empty());
    let login_uid = at.u32(HEADER + 28)?;
    Ok(Exec {
        cgroup: at.u64(HEADER)?,
        cgroup_v1: at.u64(HEADER + 8)?,
        capabilities: at.u64(HEADER + 16)?,
        uid: at.u32(HEADER + 24)?,
        login_uid: (login_uid != u32::MAX).then_some(login_uid),
        exe,
        cwd: walked(cwd, flags & CWD_CUT == 0),
        script: script.map(|name| String::from_utf8_lossy(name).into_owned()),
        args: args.to_vec(),
        args_cut: flags & ARGS_CUT != 0,
        args_total: at.u64(HEADER + 56)?,
        exe_gone: flags & EXE_GONE != 0,
        verdict: at.u32(HEADER + 120)?.checked_sub(1),
        verdict_ns: at.u64(HEADER + 112)?,
        refused: flags & REFUSED != 0,
        file: file_state(at)?,
        env: env.to_vec(),
        env_cut: flags & ENV_CUT != 0,
    })
}

fn file_state(at: Bytes<'_>) -> Result<Option<FileState>, RecordError> {
    let device = at.u32(HEADER + 104)?;
    let state = FileState {
        device: (device >> 20, device & 0xf_ffff),
        inode: at.u64(HEADER + 64)?,
        size: at.u64(HEADER + 72)?,
        modified: (at.u64(HEADER + 80)?.cast_signed(), at.u32(HEADER + 96)?),
        changed: (at.u64(HEADER + 88)?.cast_signed(), at.u32(HEADER + 100)?),
        magic: at.u32(HEADER + 108)?,
    };
    Ok((state.inode != 0).then_some(state))
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
    use crate::record::written::Written;
    use crate::record::{ProcessId, What, decode};

    /// Rule 4's, plus one.
    const VERDICT: u32 = 5;

    fn exec(exe: &[u8], cwd: &[u8], script: &[u8], args: &[u8], flags: u32) -> Vec<u8> {
        let data = [exe, cwd, script, args, b"A=b\0C"];
        let mut out = Written::new(1);
        out.u64(1).u64(2).u64(0x2100).u32(1000).u32(u32::MAX).u32(flags);
        for piece in data {
            out.u32(piece.len() as u32);
        }
        out.u64(args.len() as u64);
        // Inode, size, two times, their nanoseconds, device 8:1, ext4.
        out.u64(77).u64(9).u64(100).u64(200).u32(1).u32(2).u32(8 << 20 | 1).u32(0xef53);
        out.u64(1234).u32(VERDICT).u32(0).at(EXEC);
        for piece in data {
            out.bytes(piece);
        }
        out.end()
    }

    #[test]
    fn an_exec_is_read_as_it_was_written() {
        let bytes = exec(b"nc\0bin\0usr\0", b"", b"./run \xff\0", b"nc\0-l\0a b\n\xff\0\0", EXE_GONE);
        let record = decode(&bytes).unwrap();
        assert_eq!(record.process, ProcessId { start_ns: 5, tgid: 6, euid: 7 });
        assert_eq!(record.parent, ProcessId { start_ns: 3, tgid: 4, euid: 8 });
        let What::Exec(exec_read) = record.what else { panic!("not an exec") };
        assert_eq!(exec_read.exe, WalkedPath { path: "/usr/bin/nc".into(), complete: true });
        assert_eq!(exec_read.cwd, WalkedPath { path: "/".into(), complete: true });
        assert_eq!(exec_read.script.as_deref(), Some("./run \u{fffd}"));
        assert_eq!(command_line(&exec_read.args), "nc -l a b\n\u{fffd}");
        assert_eq!((exec_read.cgroup, exec_read.cgroup_v1, exec_read.capabilities), (1, 2, 0x2100));
        assert_eq!((exec_read.uid, exec_read.login_uid), (1000, None));
        assert!(exec_read.exe_gone && !exec_read.args_cut && !exec_read.refused && !exec_read.env_cut);
        assert_eq!((exec_read.verdict, exec_read.verdict_ns), (Some(4), 1234));
        assert_eq!(exec_read.env, b"A=b\0C");
        let state = FileState {
            device: (8, 1),
            inode: 77,
            size: 9,
            modified: (100, 1),
            changed: (200, 2),
            magic: 0xef53,
        };
        assert_eq!(exec_read.file, Some(state));

        let cut = decode(&exec(b"nc\0bin\0", b"x\0", b"", b"", EXE_CUT | ARGS_CUT | REFUSED)).unwrap();
        let What::Exec(cut) = cut.what else { panic!("not an exec") };
        assert_eq!(cut.exe, WalkedPath { path: "bin/nc".into(), complete: false });
        assert!(cut.args_cut && cut.script.is_none() && cut.refused);
    }

    proptest! {
        #[test]
        fn lengths_beyond_the_record_are_refused(lengths: [u32; 5], small: bool, cut in 0usize..190) {
            let lengths = if small { lengths.map(|len| len % 4) } else { lengths };
            let mut bytes = exec(b"a\0", b"b\0", b"c\0", b"d\0", 0);
            for (n, len) in lengths.into_iter().enumerate() {
                let at = HEADER + 36 + 4 * n;
                bytes[at..at + 4].copy_from_slice(&len.to_ne_bytes());
            }
            let fits = lengths.iter().map(|len| u64::from(*len)).sum::<u64>() <= 13;
            prop_assert_eq!(decode(&bytes).is_ok(), fits);
            prop_assert!(cut >= bytes.len() || decode(&bytes[..cut]).is_err());
        }
    }
}
