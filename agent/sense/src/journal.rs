//! Files of systemd's journal, read as they grow. Pure; whoever has the file passes reading in.
//!
//! The format is that of systemd's "Journal File Format", plain and compact. Of each entry only the fields that say who
//! logged what are read. Nothing that stands in a file is believed beyond limits: offsets may lead anywhere and chains
//! round in a circle.

use std::io::{self, Read};

/// A file's bytes.
pub trait Bytes {
    /// Fills the buffer from this offset on; an end of the file before it is full is an error.
    fn read_at(&self, at: u64, into: &mut [u8]) -> io::Result<()>;
}

impl Bytes for [u8] {
    fn read_at(&self, at: u64, into: &mut [u8]) -> io::Result<()> {
        let from = usize::try_from(at).ok().and_then(|at| self.get(at..at.checked_add(into.len())?));
        into.copy_from_slice(from.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }
}

/// Fields of an entry that are looked at, and bytes of one that are kept.
const MAX_ITEMS: u64 = 256;
/// Longer values are cut.
pub const MAX_VALUE: usize = 8 << 10;
/// Arrays of entries that are followed without finding one.
const MAX_ARRAYS: usize = 4096;

const HEADER: usize = 208;
const INCOMPATIBLE_KEYED: u32 = 4;
const INCOMPATIBLE_COMPACT: u32 = 16;
/// Compressions that a file may use; whether a value does, it says itself.
const INCOMPATIBLE_COMPRESSED: u32 = 1 | 2 | 8;
const OBJECT_DATA: u8 = 1;
const OBJECT_ENTRY: u8 = 3;
const OBJECT_ENTRY_ARRAY: u8 = 6;
/// Of a data object's flags: xz, lz4, zstd.
const COMPRESSED: u8 = 7;
const COMPRESSED_ZSTD: u8 = 4;

/// A file of the journal could not be read.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The file itself.
    #[error("reading the journal failed")]
    Io(#[from] io::Error),
    /// It is no journal, or a damaged one.
    #[error("not a journal that can be read: {0}")]
    Format(&'static str),
    /// A newer format.
    #[error("the journal has features that this build does not know ({0:#x})")]
    Features(u32),
}

/// One entry, as far as it is of interest.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entry {
    /// Microseconds since 1970, as the journal took it in.
    pub realtime_us: u64,
    /// Microseconds since that boot.
    pub monotonic_us: u64,
    /// What was logged.
    pub message: String,
    /// What the program calls itself; anybody may call himself anything.
    pub identifier: String,
    /// The name of the process, from the kernel.
    pub comm: String,
    /// Its executable, from the kernel.
    pub exe: String,
    /// The unit that it belongs to.
    pub unit: String,
    /// Its pid, from the kernel.
    pub pid: Option<u32>,
    /// Its user, from the kernel.
    pub uid: Option<u32>,
    /// Syslog's facility: 4 and 10 are about who may enter.
    pub facility: Option<u8>,
    /// Something of it could not be read.
    pub is_partial: bool,
}

/// A journal file that is read as it grows.
#[derive(Debug)]
pub struct Journal {
    /// Names this file among all.
    pub id: [u8; 16],
    compact: bool,
    /// Entries that were read or passed over.
    seen: u64,
    /// The array of entries that is being read, 0 before the first, and how many of it were.
    array: u64,
    index: u64,
}

fn u64_at<B: Bytes + ?Sized>(file: &B, at: u64) -> io::Result<u64> {
    let mut bytes = [0; 8];
    file.read_at(at, &mut bytes)?;
    Ok(u64::from_le_bytes(bytes))
}

/// The type, flags and size of the object at this offset.
fn object<B: Bytes + ?Sized>(file: &B, at: u64) -> Result<(u8, u8, u64), JournalError> {
    if !at.is_multiple_of(8) || at < HEADER as u64 {
        return Err(JournalError::Format("an offset is not that of an object"));
    }
    let mut bytes = [0; 16];
    file.read_at(at, &mut bytes)?;
    let size = u64::from_le_bytes(bytes[8..].try_into().unwrap_or_default());
    Ok((bytes[0], bytes[1], size))
}

impl Journal {
    /// Looks at a file's header. What it holds already is passed over by [`Journal::skip_to_end`].
    pub fn open<B: Bytes + ?Sized>(file: &B) -> Result<Self, JournalError> {
        let mut header = [0; HEADER];
        file.read_at(0, &mut header)?;
        if &header[..8] != b"LPKSHHRH" {
            return Err(JournalError::Format("its beginning is another one"));
        }
        let features = u32::from_le_bytes(header[12..16].try_into().unwrap_or_default());
        let known = INCOMPATIBLE_KEYED | INCOMPATIBLE_COMPACT | INCOMPATIBLE_COMPRESSED;
        if features & !known != 0 {
            return Err(JournalError::Features(features));
        }
        let id = header[24..40].try_into().unwrap_or_default();
        Ok(Self { id, compact: features & INCOMPATIBLE_COMPACT != 0, seen: 0, array: 0, index: 0 })
    }

    fn item(&self) -> u64 {
        if self.compact { 4 } else { 8 }
    }

    /// How many entries an array has room for, and where the next one is.
    fn array<B: Bytes + ?Sized>(&self, file: &B, at: u64) -> Result<(u64, u64), JournalError> {
        let (kind, _, size) = object(file, at)?;
        if kind != OBJECT_ENTRY_ARRAY || size < 24 {
            return Err(JournalError::Format("a chain of entries leads to something else"));
        }
        Ok(((size - 24) / self.item(), u64_at(file, at + 16)?))
    }

    /// Steps to the place of the next entry, if there is one.
    fn step<B: Bytes + ?Sized>(&mut self, file: &B) -> Result<Option<u64>, JournalError> {
        if self.seen >= u64_at(file, 152)? {
            return Ok(None);
        }
        for _ in 0..MAX_ARRAYS {
            if self.array == 0 {
                self.array = u64_at(file, 176)?;
                self.index = 0;
                if self.array == 0 {
                    return Ok(None);
                }
            }
            let (room, next) = self.array(file, self.array)?;
            if self.index < room {
                let at = self.array + 24 + self.index * self.item();
                let offset = if self.compact {
                    let mut bytes = [0; 4];
                    file.read_at(at, &mut bytes)?;
                    u64::from(u32::from_le_bytes(bytes))
                } else {
                    u64_at(file, at)?
                };
                // Counted, and not yet written.
                if offset == 0 {
                    return Ok(None);
                }
                self.index += 1;
                self.seen += 1;
                return Ok(Some(offset));
            }
            if next == 0 {
                return Ok(None);
            }
            // Chains lead on: one that leads back is none.
            if next <= self.array {
                return Err(JournalError::Format("a chain of entries leads back"));
            }
            (self.array, self.index) = (next, 0);
        }
        Err(JournalError::Format("a chain of entries does not end"))
    }

    /// Passes over what is there already.
    pub fn skip_to_end<B: Bytes + ?Sized>(&mut self, file: &B) -> Result<(), JournalError> {
        let all = u64_at(file, 152)?;
        let mut array = u64_at(file, 176)?;
        let mut before = 0;
        for _ in 0..MAX_ARRAYS {
            if array == 0 {
                return Ok(());
            }
            let (room, next) = self.array(file, array)?;
            (self.array, self.index, self.seen) = (array, room.min(all - before), (before + room).min(all));
            before = self.seen;
            if before >= all {
                return Ok(());
            }
            if next != 0 && next <= array {
                return Err(JournalError::Format("a chain of entries leads back"));
            }
            array = next;
        }
        Err(JournalError::Format("a chain of entries does not end"))
    }

    /// How many entries wait.
    pub fn waiting<B: Bytes + ?Sized>(&self, file: &B) -> Result<u64, JournalError> {
        Ok(u64_at(file, 152)?.saturating_sub(self.seen))
    }

    /// Passes over the next entry without reading it; false if there is none.
    pub fn skip<B: Bytes + ?Sized>(&mut self, file: &B) -> Result<bool, JournalError> {
        self.step(file).map(|at| at.is_some())
    }

    /// The next entry, if there is one. After an error in an entry the next call goes on with the next entry.
    pub fn next<B: Bytes + ?Sized>(&mut self, file: &B) -> Result<Option<Entry>, JournalError> {
        let Some(at) = self.step(file)? else { return Ok(None) };
        let (kind, _, size) = object(file, at)?;
        if kind != OBJECT_ENTRY || size < 64 {
            return Err(JournalError::Format("where an entry should be is something else"));
        }
        let mut entry = Entry {
            realtime_us: u64_at(file, at + 24)?,
            monotonic_us: u64_at(file, at + 32)?,
            ..Entry::default()
        };
        let step = if self.compact { 4 } else { 16 };
        let items = (size - 64) / step;
        entry.is_partial = items > MAX_ITEMS;
        for n in 0..items.min(MAX_ITEMS) {
            let place = at + 64 + n * step;
            let data = if self.compact {
                let mut bytes = [0; 4];
                file.read_at(place, &mut bytes)?;
                u64::from(u32::from_le_bytes(bytes))
            } else {
                u64_at(file, place)?
            };
            if !self.take(file, data, &mut entry)? {
                entry.is_partial = true;
            }
        }
        Ok(Some(entry))
    }

    /// Takes in one field; false if it could not be read.
    fn take<B: Bytes + ?Sized>(&self, file: &B, at: u64, entry: &mut Entry) -> Result<bool, JournalError> {
        let (kind, flags, size) = object(file, at)?;
        let header = if self.compact { 72 } else { 64 };
        if kind != OBJECT_DATA || size < header {
            return Err(JournalError::Format("where a field should be is something else"));
        }
        let most = MAX_VALUE + NAME;
        let len = usize::try_from(size - header).unwrap_or(usize::MAX).min(most);
        let mut bytes = vec![0; len];
        file.read_at(at + header, &mut bytes)?;
        if flags & COMPRESSED != 0 {
            if flags & COMPRESSED != COMPRESSED_ZSTD {
                return Ok(false);
            }
            let mut plain = Vec::new();
            let Ok(decoder) = ruzstd::decoding::StreamingDecoder::new(bytes.as_slice()) else {
                return Ok(false);
            };
            if decoder.take(most as u64).read_to_end(&mut plain).is_err() && plain.is_empty() {
                return Ok(false);
            }
            bytes = plain;
        }
        let Some(equals) = bytes.iter().position(|b| *b == b'=') else { return Ok(false) };
        let text = || {
            let value = &bytes[equals + 1..];
            String::from_utf8_lossy(&value[..value.len().min(MAX_VALUE)]).into_owned()
        };
        match &bytes[..equals] {
            b"MESSAGE" => entry.message = text(),
            b"SYSLOG_IDENTIFIER" => entry.identifier = text(),
            b"_COMM" => entry.comm = text(),
            b"_EXE" => entry.exe = text(),
            b"_SYSTEMD_UNIT" => entry.unit = text(),
            b"_PID" => entry.pid = text().parse().ok(),
            b"_UID" => entry.uid = text().parse().ok(),
            b"SYSLOG_FACILITY" => entry.facility = text().parse().ok(),
            _ => {}
        }
        Ok(true)
    }
}

/// The longest name of a field, with its equals sign.
const NAME: usize = 65;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A file with these entries, each a list of fields, as journald lays it out.
    pub(super) fn written(compact: bool, entries: &[&[&str]], room: usize) -> Vec<u8> {
        let mut file = vec![0; 208];
        file[..8].copy_from_slice(b"LPKSHHRH");
        let features: u32 = if compact { 16 | 4 } else { 0 };
        file[12..16].copy_from_slice(&features.to_le_bytes());
        file[24..40].copy_from_slice(&[7; 16]);
        file[152..160].copy_from_slice(&(entries.len() as u64).to_le_bytes());
        let item = if compact { 4 } else { 8 };
        let put = |file: &mut Vec<u8>, kind: u8, body: &[u8]| {
            while !file.len().is_multiple_of(8) {
                file.push(0);
            }
            let at = file.len() as u64;
            file.extend([kind, 0, 0, 0, 0, 0, 0, 0]);
            file.extend((body.len() as u64 + 16).to_le_bytes());
            file.extend(body);
            at
        };
        let number =
            |n: u64| if compact { (n as u32).to_le_bytes().to_vec() } else { n.to_le_bytes().to_vec() };
        let mut offsets = Vec::new();
        for (n, fields) in entries.iter().enumerate() {
            let mut body = vec![0; 48];
            body[8..16].copy_from_slice(&(1_000_000 + n as u64).to_le_bytes());
            body[16..24].copy_from_slice(&(5 + n as u64).to_le_bytes());
            for field in *fields {
                let data = [vec![0; if compact { 56 } else { 48 }], field.as_bytes().to_vec()].concat();
                let at = put(&mut file, OBJECT_DATA, &data);
                body.extend(number(at));
                if !compact {
                    body.extend([0; 8]);
                }
            }
            offsets.push(put(&mut file, OBJECT_ENTRY, &body));
        }
        let mut link = 176;
        for chunk in offsets.chunks(room) {
            let mut body = vec![0; 8];
            for offset in chunk {
                body.extend(number(*offset));
            }
            body.resize(8 + room * item, 0);
            let at = put(&mut file, OBJECT_ENTRY_ARRAY, &body);
            file[link..link + 8].copy_from_slice(&at.to_le_bytes());
            link = at as usize + 16;
        }
        file
    }

    const ENTRIES: &[&[&str]] = &[
        &["MESSAGE=one", "_PID=12", "_UID=0", "SYSLOG_FACILITY=10", "SYSLOG_IDENTIFIER=sshd", "OTHER=x=y"],
        &["MESSAGE=two", "_COMM=su", "_EXE=/usr/bin/su", "_SYSTEMD_UNIT=ssh.service", "_PID=x"],
        &["MESSAGE=three"],
        &["MESSAGE=four"],
        &["MESSAGE=five"],
    ];

    fn messages(journal: &mut Journal, file: &[u8]) -> Vec<String> {
        std::iter::from_fn(|| journal.next(file).unwrap()).map(|entry| entry.message).collect()
    }

    #[test]
    fn entries_are_read_in_order_and_as_they_come() {
        for compact in [false, true] {
            let file = written(compact, ENTRIES, 2);
            let file = file.as_slice();
            let mut journal = Journal::open(file).unwrap();
            assert_eq!(journal.id, [7; 16]);
            let first = journal.next(file).unwrap().unwrap();
            let expected = Entry {
                realtime_us: 1_000_000,
                monotonic_us: 5,
                message: "one".into(),
                identifier: "sshd".into(),
                pid: Some(12),
                uid: Some(0),
                facility: Some(10),
                ..Entry::default()
            };
            assert_eq!(first, expected);
            let second = journal.next(file).unwrap().unwrap();
            assert_eq!(
                (second.exe.as_str(), second.unit.as_str(), second.pid),
                ("/usr/bin/su", "ssh.service", None)
            );
            assert_eq!(messages(&mut journal, file), ["three", "four", "five"]);
            let mut late = Journal::open(file).unwrap();
            for (entries, rest) in [(3, 2), (4, 1), (5, 0)] {
                let part = written(compact, &ENTRIES[..entries], 2);
                late = Journal::open(part.as_slice()).unwrap();
                late.skip_to_end(part.as_slice()).unwrap();
                assert_eq!(late.waiting(part.as_slice()).unwrap(), 0);
                // The same file, later: arrays of the shorter one lie elsewhere, so only its count is followed.
                let mut again = Journal::open(file).unwrap();
                for _ in 0..entries {
                    assert!(again.skip(file).unwrap());
                }
                assert_eq!(again.waiting(file).unwrap(), rest);
                assert_eq!(messages(&mut again, file).len() as u64, rest);
            }
            late = Journal { seen: 0, array: 0, index: 0, ..late };
            late.skip_to_end(file).unwrap();
            assert_eq!(messages(&mut late, file), Vec::<String>::new());
        }
    }

    #[test]
    fn what_is_no_journal_is_refused() {
        let mut file = written(true, ENTRIES, 2);
        file[12] |= 0x20;
        assert!(matches!(Journal::open(file.as_slice()), Err(JournalError::Features(_))));
        file[0] = b'X';
        assert!(matches!(Journal::open(file.as_slice()), Err(JournalError::Format(_))));
        assert!(matches!(Journal::open(&[0; 9][..]), Err(JournalError::Io(_))));
    }

    proptest! {
        #[test]
        fn hostile_files_end(changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..40), compact: bool) {
            let mut file = written(compact, ENTRIES, 2);
            for (at, byte) in changes {
                let at = at.index(file.len());
                file[at] = byte;
            }
            let file = file.as_slice();
            let Ok(mut journal) = Journal::open(file) else { return Ok(()) };
            for _ in 0..50 {
                match journal.next(file) {
                    Ok(Some(entry)) => prop_assert!(entry.message.len() <= 3 * MAX_VALUE),
                    Ok(None) => break,
                    Err(_) => {}
                }
            }
            let _ = journal.skip_to_end(file);
        }
    }
}
