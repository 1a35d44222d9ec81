//! Records of files.

use wardline_event::FileOp;

use super::path::{WalkedPath, resolve, walked};
use super::{Bytes, HEADER, RecordError};

/// Bytes of a `file_record` before its data.
const FILE: usize = 80;

const PATH_CUT: u32 = 1;
const PATH2_CUT: u32 = 2;
const PATH_UNREAD: u32 = 4;

/// Operations in the kernel half's numbers, which are also the bits of a watch.
pub(crate) const OPS: [FileOp; 7] = [
    FileOp::Create,
    FileOp::Update,
    FileOp::Delete,
    FileOp::Rename,
    FileOp::Link,
    FileOp::Change,
    FileOp::Read,
];

#[derive(PartialEq, Eq, Debug)]
pub(crate) struct File {
    pub op: FileOp,
    /// The system call, in the numbers of x86-64.
    pub call: u16,
    /// What the call said: flags of open, the mode, the user.
    pub value: u64,
    /// What was acted on; of a symbolic link, what it says.
    pub path: WalkedPath,
    /// The second name: where something was moved or linked to, or an attribute.
    pub second: Option<WalkedPath>,
}

pub(super) fn decode(at: Bytes<'_>) -> Result<File, RecordError> {
    let op = at.u16(HEADER)?;
    let value = || RecordError::Value { what: "kind of file event", value: op.into() };
    let op = *OPS.get(usize::from(op)).ok_or_else(value)?;
    let flags = at.u32(HEADER + 4)?;
    let lengths = [at.u32(HEADER + 16)?, at.u32(HEADER + 20)?, at.u32(HEADER + 24)?, at.u32(HEADER + 28)?];
    let [base, name, base2, name2] = at.pieces(FILE, lengths)?;
    let unread = flags & PATH_UNREAD != 0;
    let path = |base: &[u8], name: &[u8], cut: u32| {
        let base = walked(base, flags & cut == 0);
        let mut path = resolve(&base, name);
        if unread && name.is_empty() {
            // The directory is known, the name in it is not.
            path.complete = false;
        }
        path
    };
    let text = |name: &[u8]| {
        let name = name.split(|b| *b == 0).next().unwrap_or_default();
        WalkedPath { path: String::from_utf8_lossy(name).into_owned(), complete: true }
    };
    let second = match (base2.is_empty(), name2.is_empty()) {
        (true, true) => None,
        // An attribute's name is relative to nothing.
        (true, false) if op == FileOp::Change => Some(text(name2)),
        _ => Some(path(base2, name2, PATH2_CUT)),
    };
    let call = at.u16(HEADER + 2)?;
    let is_symbolic = SYMLINKS.contains(&call);
    Ok(File {
        op,
        call,
        value: at.u64(HEADER + 8)?,
        path: if is_symbolic { text(name) } else { path(base, name, PATH_CUT) },
        second,
    })
}

/// symlink and symlinkat.
const SYMLINKS: [u16; 2] = [88, 266];

impl File {
    /// What a change changed, or what kind of link it is, in words.
    pub(crate) fn change(&self) -> String {
        match (self.call, &self.second) {
            (_, Some(attribute)) if self.op == FileOp::Change => {
                let removed = if matches!(self.call, 197..=199) { " removed" } else { "" };
                format!("attribute {}{removed}", attribute.path)
            }
            (90 | 91 | 268 | 452, _) => format!("mode {:04o}", self.value & 0o7777),
            (92 | 93 | 94 | 260, _) if self.value as u32 == u32::MAX => "group".to_owned(),
            (92 | 93 | 94 | 260, _) => format!("owner {}", self.value as u32),
            (132 | 235 | 261 | 280, _) => "times".to_owned(),
            (86 | 265, _) => "hard link".to_owned(),
            (88 | 266, _) => "symbolic link".to_owned(),
            (133 | 259, _) => format!("mode {:06o}", self.value & 0o177_777),
            _ => String::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::record::written::Written;
    use crate::record::{What, decode};

    fn written(op: u16, call: u16, flags: u32, value: u64, pieces: [&[u8]; 4]) -> Vec<u8> {
        let mut out = Written::new(4);
        out.u16(op).u16(call).u32(flags).u64(value);
        for piece in pieces {
            out.u32(piece.len() as u32);
        }
        out.at(FILE);
        for piece in pieces {
            out.bytes(piece);
        }
        out.end()
    }

    fn file(bytes: &[u8]) -> File {
        let What::File(file) = decode(bytes).unwrap().what else { panic!("not a file") };
        *file
    }

    #[test]
    fn names_are_resolved_against_their_directories() {
        // op, call, flags, base, name, base2, name2 → path, second
        type Case = (u16, u16, u32, [&'static [u8]; 4], &'static str, Option<&'static str>);
        const ALICE: &[u8] = b"alice\0home\0";
        let cases: &[Case] = &[
            (0, 257, 0, [b"x\0tmp\0", b"", b"", b""], "/tmp/x", None),
            (2, 87, 0, [ALICE, b"a/../.b/./c\0", b"", b""], "/home/alice/.b/c", None),
            (2, 87, 0, [b"", b"//etc//passwd\0", b"", b""], "/etc/passwd", None),
            (2, 87, 0, [b"jail\0srv\0", b"/etc/../../x\0", b"", b""], "/srv/jail/x", None),
            (2, 87, 0, [b"", b"../../../x\0", b"", b""], "/x", None),
            (2, 87, 1, [b"c\0b\0", b"x\0", b"", b""], "…/b/c/x", None),
            (2, 87, 4, [ALICE, b"", b"", b""], "…/home/alice", None),
            (3, 82, 0, [ALICE, b"a\0", b"etc\0", b"a\n\xff\0"], "/home/alice/a", Some("/etc/a\n\u{fffd}")),
            (4, 88, 0, [b"", b"../x\0", ALICE, b"l\0"], "../x", Some("/home/alice/l")),
            (
                5,
                188,
                0,
                [ALICE, b"p\0", b"", b"security.capability\0"],
                "/home/alice/p",
                Some("security.capability"),
            ),
            (5, 91, 0, [b"p\0bin\0", b"", b"", b""], "/bin/p", None),
        ];
        for (op, call, flags, pieces, path, second) in cases {
            let file = file(&written(*op, *call, *flags, 0o4755, *pieces));
            assert_eq!(file.path.told(), *path, "{pieces:?}");
            assert_eq!(file.second.as_ref().map(WalkedPath::told).as_deref(), *second, "{pieces:?}");
        }
    }

    #[test]
    fn changes_are_told_in_words() {
        let change =
            |call, value, name2: &[u8]| file(&written(5, call, 0, value, [b"x\0", b"", b"", name2])).change();
        assert_eq!(change(90, 0o104_755, b""), "mode 4755");
        assert_eq!(change(92, 1000, b""), "owner 1000");
        assert_eq!(change(93, u64::MAX, b""), "group");
        assert_eq!(change(280, 0, b""), "times");
        assert_eq!(change(188, 0, b"user.x\0"), "attribute user.x");
        assert_eq!(change(199, 0, b"user.x\0"), "attribute user.x removed");
    }

    proptest! {
        #[test]
        fn lengths_beyond_the_record_are_refused(lengths: [u32; 4], small: bool) {
            let lengths = if small { lengths.map(|len| len % 4) } else { lengths };
            let mut bytes = written(3, 82, 0, 0, [b"a\0", b"b\0", b"c\0", b"d\0"]);
            for (n, len) in lengths.into_iter().enumerate() {
                bytes[HEADER + 16 + 4 * n..][..4].copy_from_slice(&len.to_ne_bytes());
            }
            let fits = lengths.iter().map(|len| u64::from(*len)).sum::<u64>() <= 8;
            prop_assert_eq!(decode(&bytes).is_ok(), fits);
        }

        #[test]
        fn hostile_names_stay_below_the_root(name in prop::collection::vec(any::<u8>(), 0..100), base in "[a-z\\x00./]{0,20}") {
            let path = file(&written(2, 87, 0, 0, [base.as_bytes(), &name, b"", b""])).path.path;
            prop_assert!(path.starts_with('/'), "{path}");
            prop_assert!(path.split('/').skip(1).all(|c| c != ".." || base.contains("..")), "{path}");
        }
    }
}
