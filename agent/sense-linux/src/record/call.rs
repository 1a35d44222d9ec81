//! Records of system calls.

use std::borrow::Cow;

use super::path::walked;
use super::{Bytes, HEADER, RecordError};

/// Bytes of a `call_record` before its data.
const CALL: usize = 112;
/// `TEXT_COMPONENTS`: the text is a walked path.
const TEXT_COMPONENTS: u32 = 1;

#[derive(PartialEq, Eq, Debug)]
pub(crate) struct Call {
    pub name: Cow<'static, str>,
    pub args: [u64; 5],
    pub result: i64,
    /// A name or path that belongs to the call.
    pub detail: String,
}

/// The calls that the kernel half tells, by the numbers of x86-64.
const NAMES: [(u16, &str); 33] = [
    (41, "socket"),
    // To a socket in the file system.
    (42, "connect"),
    (101, "ptrace"),
    (103, "syslog"),
    (105, "setuid"),
    (106, "setgid"),
    (113, "setreuid"),
    (114, "setregid"),
    (117, "setresuid"),
    (119, "setresgid"),
    (126, "capset"),
    (135, "personality"),
    (155, "pivot_root"),
    (161, "chroot"),
    (164, "settimeofday"),
    (165, "mount"),
    (166, "umount2"),
    (169, "reboot"),
    (170, "sethostname"),
    (175, "init_module"),
    (176, "delete_module"),
    (227, "clock_settime"),
    (246, "kexec_load"),
    (272, "unshare"),
    (308, "setns"),
    (311, "process_vm_writev"),
    (313, "finit_module"),
    (319, "memfd_create"),
    (320, "kexec_file_load"),
    (321, "bpf"),
    (425, "io_uring_setup"),
    (426, "io_uring_enter"),
    (429, "move_mount"),
];

/// The names of the system calls that the sensor tells by themselves.
pub fn system_calls() -> impl Iterator<Item = &'static str> {
    NAMES.into_iter().map(|(_, name)| name)
}

/// What was given to io_uring, by `IORING_OP_*`.
const URING: [(u64, &str); 11] = [
    (13, "accept"),
    (16, "connect"),
    (18, "openat"),
    (28, "openat2"),
    (35, "renameat"),
    (36, "unlinkat"),
    (38, "symlinkat"),
    (39, "linkat"),
    (41, "fsetxattr"),
    (42, "setxattr"),
    (57, "listen"),
];

pub(super) fn decode(at: Bytes<'_>) -> Result<Call, RecordError> {
    let number = at.u16(HEADER)?;
    let name = NAMES.iter().find(|(known, _)| *known == number);
    let (_, name) = name.ok_or(RecordError::Value { what: "system call", value: number.into() })?;
    let mut args = [0; 5];
    for (n, arg) in args.iter_mut().enumerate() {
        *arg = at.u64(HEADER + 16 + 8 * n)?;
    }
    let [text] = at.pieces(CALL, [at.u32(HEADER + 56)?])?;
    let detail = if at.u32(HEADER + 60)? == TEXT_COMPONENTS {
        if text.is_empty() { String::new() } else { walked(text, true).path }
    } else if *name == "io_uring_enter" {
        let operation = URING.iter().find(|(known, _)| *known == args[0]);
        operation.map_or_else(|| args[0].to_string(), |(_, name)| (*name).to_owned())
    } else {
        let text = text.split(|b| *b == 0).next().unwrap_or_default();
        String::from_utf8_lossy(text).into_owned()
    };
    Ok(Call { name: Cow::Borrowed(name), args, result: at.u64(HEADER + 8)?.cast_signed(), detail })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::record::written::Written;
    use crate::record::{What, decode};

    fn written(call: u16, first: u64, text: &[u8], text_len: u32, kind: u32) -> Vec<u8> {
        let mut out = Written::new(5);
        out.u16(call).u16(0).u32(0).u64(-1i64 as u64).u64(first).u64(2).u64(3).u64(4).u64(5);
        out.u32(text_len).u32(kind).at(CALL).bytes(text).end()
    }

    #[test]
    fn calls_are_read_with_what_belongs_to_them() {
        type Case = (u16, u64, &'static [u8], u32, &'static str, &'static str);
        let cases: &[Case] = &[
            (101, 16, b"", 0, "ptrace", ""),
            (165, 0, b"/mnt\n\xff\0", 0, "mount", "/mnt\n\u{fffd}"),
            (313, 3, b"evil.ko\0tmp\0", 1, "finit_module", "/tmp/evil.ko"),
            (313, 3, b"", 1, "finit_module", ""),
            (321, 5, b"prog\0\0\0\0garbage\0", 0, "bpf", "prog"),
            (426, 18, b"", 0, "io_uring_enter", "openat"),
            (426, 60, b"", 0, "io_uring_enter", "60"),
        ];
        for (call, first, text, kind, name, detail) in cases {
            let record = decode(&written(*call, *first, text, text.len() as u32, *kind)).unwrap();
            let What::Call(call) = record.what else { panic!("{record:?}") };
            assert_eq!((&*call.name, call.detail.as_str(), call.result), (*name, *detail, -1));
            assert_eq!(call.args, [*first, 2, 3, 4, 5]);
        }
        let unknown = RecordError::Value { what: "system call", value: 59 };
        assert_eq!(decode(&written(59, 0, b"", 0, 0)), Err(unknown));
    }

    proptest! {
        #[test]
        fn a_text_beyond_the_record_is_refused(len in 0u32..20, kind in 0u32..3, wide: u32) {
            prop_assert_eq!(decode(&written(165, 0, b"12345678", len, kind)).is_ok(), len <= 8);
            prop_assert_eq!(decode(&written(165, 0, b"12345678", wide, kind)).is_ok(), wide <= 8);
        }
    }
}
