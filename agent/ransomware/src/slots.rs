//! Copies as the kernel half hands them over, decoded. The layout is that of `struct slot` in `bpf/record.h`.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

/// Bytes of a page.
pub(crate) const PAGE: usize = 4096;
/// How many slots there are.
pub(crate) const SLOTS: u64 = 2048;
/// Bytes of a slot before its data.
const HEAD: usize = 48;
/// Bytes of a slot.
pub(crate) const SLOT: usize = HEAD + PAGE;
/// In the data of one about a file: where its path begins.
const PATH_AT: usize = 40;

/// Which file, destroyed by whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct FileKey {
    pub family: u64,
    pub ino: u64,
    pub dev: u32,
}

/// What a file was before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FileHead {
    pub size: u64,
    pub modified: (i64, u32),
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    pub links: u32,
    /// Within its file system.
    pub path: PathBuf,
}

/// One slot.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Slot<'a> {
    /// A file is about to be destroyed.
    File(FileHead),
    /// A page of it.
    Page(u64, &'a [u8]),
    /// A page of it that could not be copied.
    Missing(u64),
    /// From this page on nothing more of it is copied.
    Short(u64),
}

/// Decodes slot `number`; none if it is not written yet, an error in words if it cannot have been written so.
pub(crate) fn decode(bytes: &[u8], number: u64) -> Result<Option<(FileKey, u64, Slot<'_>)>, String> {
    if bytes.len() != SLOT {
        return Err(format!("a slot of {} bytes", bytes.len()));
    }
    let u32_at = |at: usize| bytes[at..].first_chunk().copied().map_or(0, u32::from_ne_bytes);
    let u64_at = |at: usize| bytes[at..].first_chunk().copied().map_or(0, u64::from_ne_bytes);
    if u64_at(0) != number + 1 {
        return Ok(None);
    }
    let key = FileKey { family: u64_at(8), ino: u64_at(16), dev: u32_at(24) };
    let (index, time_ns, data) = (u64_at(32), u64_at(40), &bytes[HEAD..]);
    let slot = match u32_at(28) {
        0 => Slot::Missing(index),
        1 => {
            let length = (u32_at(HEAD + 36) as usize).min(PAGE - PATH_AT);
            Slot::File(FileHead {
                size: u64_at(HEAD),
                modified: (u64_at(HEAD + 8).cast_signed(), u32_at(HEAD + 16)),
                mode: u32_at(HEAD + 20),
                uid: u32_at(HEAD + 24),
                gid: u32_at(HEAD + 28),
                links: u32_at(HEAD + 32),
                path: path(&data[PATH_AT..PATH_AT + length]),
            })
        }
        2 => Slot::Page(index, data),
        3 => Slot::Short(index),
        kind => return Err(format!("unknown kind of slot {kind}")),
    };
    Ok(Some((key, time_ns, slot)))
}

/// Components come leaf first, each ended by a NUL.
fn path(components: &[u8]) -> PathBuf {
    let parts = components.split(|b| *b == 0).filter(|c| !c.is_empty()).rev();
    let bytes = parts.flat_map(|part| b"/".iter().chain(part).copied()).collect();
    PathBuf::from(OsString::from_vec(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn slot(kind: u32, index: u64, data: &[u8]) -> Vec<u8> {
        let mut out: Vec<u8> = [8u64, 5, 9].iter().flat_map(|n| n.to_ne_bytes()).collect();
        out.extend(3u32.to_ne_bytes());
        out.extend(kind.to_ne_bytes());
        out.extend(index.to_ne_bytes());
        out.extend(77u64.to_ne_bytes());
        out.extend(data);
        out.resize(SLOT, 0);
        out
    }

    #[test]
    fn slots_are_read_as_they_were_written() {
        let key = FileKey { family: 5, ino: 9, dev: 3 };
        let page = slot(2, 6, &[7; PAGE]);
        assert_eq!(decode(&page, 7).unwrap(), Some((key, 77, Slot::Page(6, &[7; PAGE]))));
        assert_eq!(decode(&page, 8).unwrap(), None, "it is an older one");
        let mut head: Vec<u8> = Vec::new();
        head.extend(10_000u64.to_ne_bytes());
        head.extend((-3i64).to_ne_bytes());
        for number in [4u32, 0o100_644, 1000, 1001, 1, 11] {
            head.extend(number.to_ne_bytes());
        }
        head.extend(b"a.txt\0home\0");
        let bytes = slot(1, 0, &head);
        let Some((_, _, Slot::File(file))) = decode(&bytes, 7).unwrap() else { panic!("not a file") };
        assert_eq!((file.size, file.modified, file.mode), (10_000, (-3, 4), 0o100_644));
        assert_eq!((file.uid, file.gid, file.links), (1000, 1001, 1));
        assert_eq!(file.path, PathBuf::from("/home/a.txt"));
        assert!(decode(&slot(9, 0, &[]), 7).is_err());
    }

    proptest! {
        #[test]
        fn hostile_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300), kind in 0u32..6) {
            let _ = decode(&bytes, 7);
            let mut whole = slot(kind, u64::MAX, &bytes);
            whole[HEAD + 36..HEAD + 40].copy_from_slice(&u32::MAX.to_ne_bytes());
            let _ = decode(&whole, 7);
        }
    }
}
