//! One file of the spool.
//!
//! Format: the 8 bytes `WLSPOOL1`, then records, each
//! `length: u32 LE` (of the body), `crc: u32 LE` (CRC-32 over kind and body), `kind: u8`, body.
//! The file's name is the sequence number of its first record, 16 hexadecimal digits, `.seg`.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::{Kind, LAST_SEQ, SpoolError};

const MAGIC: &[u8; 8] = b"WLSPOOL1";
const HEAD: u64 = 9;
/// No record is larger; a length beyond it is damage. Somewhat above the wire's limit for a record.
const MAX_BODY: u32 = 1 << 20;

/// A segment: consecutive records from `first_seq` on.
#[derive(Debug)]
pub struct Segment {
    pub first_seq: u64,
    path: PathBuf,
    file: File,
    /// Offset of each record, and of the end.
    offsets: Vec<u64>,
    /// False once an append failed: later records would not be consecutive.
    writable: bool,
    /// True if something was written since the last sync.
    dirty: bool,
}

/// What opening a segment found.
pub struct Opened {
    pub segment: Segment,
    pub torn_bytes: u64,
    pub set_aside: Option<PathBuf>,
}

/// The first sequence number that a path names, if it is a segment's path.
pub fn first_seq_of(path: &Path) -> Option<u64> {
    let stem = path.file_name()?.to_str()?.strip_suffix(".seg")?;
    if stem.len() != 16 {
        return None;
    }
    u64::from_str_radix(stem, 16).ok().filter(|seq| *seq <= LAST_SEQ)
}

/// A new or renamed file is only there after a power cut if its folder was synced.
pub fn sync_folder(dir: &Path) -> Result<(), SpoolError> {
    File::open(dir).and_then(|d| d.sync_all()).map_err(SpoolError::io("syncing folder", dir))
}

fn crc(kind: Kind, body: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&[kind]);
    hasher.update(body);
    hasher.finalize()
}

impl Segment {
    pub fn create(dir: &Path, first_seq: u64) -> Result<Self, SpoolError> {
        let path = dir.join(format!("{first_seq:016x}.seg"));
        let mut file = OpenOptions::new()
            .create(true)
            .truncate(true)
            .read(true)
            .write(true)
            .open(&path)
            .map_err(SpoolError::io("creating", &path))?;
        if let Err(e) = file.write_all(MAGIC) {
            drop(file);
            let _ = fs::remove_file(&path);
            return Err(SpoolError::io("writing", &path)(e));
        }
        sync_folder(dir)?;
        Ok(Self { first_seq, path, file, offsets: vec![MAGIC.len() as u64], writable: true, dirty: true })
    }

    /// Opens a segment and walks its records. The newest may end in an unfinished record, which is cut off;
    /// anything else that does not add up is damage: the good beginning is kept, the original set aside.
    pub fn open(path: &Path, first_seq: u64, newest: bool) -> Result<Opened, SpoolError> {
        let mut file =
            OpenOptions::new().read(true).write(true).open(path).map_err(SpoolError::io("opening", path))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(SpoolError::io("reading", path))?;
        let (offsets, tail) = walk(&bytes);
        let good = *offsets.last().unwrap_or(&0);
        let (mut torn_bytes, mut set_aside) = (0, None);
        match tail {
            Tail::Clean => {}
            Tail::Torn if newest => torn_bytes = bytes.len() as u64 - good,
            Tail::Torn | Tail::Damaged => {
                let aside = path.with_extension("corrupt");
                fs::copy(path, &aside).map_err(SpoolError::io("setting aside", path))?;
                set_aside = Some(aside);
            }
        }
        let mut segment = Self {
            first_seq,
            path: path.to_owned(),
            file,
            offsets,
            writable: matches!(tail, Tail::Clean),
            dirty: true,
        };
        if segment.offsets.is_empty() {
            segment.offsets.push(good);
        }
        if torn_bytes > 0 {
            segment.file.set_len(good).map_err(SpoolError::io("cutting the torn tail of", path))?;
            segment.writable = good >= MAGIC.len() as u64;
        }
        Ok(Opened { segment, torn_bytes, set_aside })
    }

    pub fn count(&self) -> u64 {
        self.offsets.len() as u64 - 1
    }

    /// One past the last record's number.
    pub fn end_seq(&self) -> u64 {
        self.first_seq + self.count()
    }

    pub fn bytes(&self) -> u64 {
        *self.offsets.last().unwrap_or(&0)
    }

    pub fn writable(&self) -> bool {
        self.writable
    }

    pub fn append(&mut self, kind: Kind, body: &[u8]) -> Result<(), SpoolError> {
        let Ok(length) = u32::try_from(body.len()) else { return Err(self.too_large(body.len())) };
        if length > MAX_BODY {
            return Err(self.too_large(body.len()));
        }
        let mut record = Vec::with_capacity(body.len() + HEAD as usize);
        record.extend(length.to_le_bytes());
        record.extend(crc(kind, body).to_le_bytes());
        record.push(kind);
        record.extend(body);
        let at = self.bytes();
        if let Err(e) = self.file.write_all_at(&record, at) {
            // Whatever part was written lies behind the good end; cut it, and go on in a new segment.
            let _ = self.file.set_len(at);
            self.writable = false;
            return Err(SpoolError::io("writing", &self.path)(e));
        }
        self.offsets.push(at + record.len() as u64);
        self.dirty = true;
        Ok(())
    }

    fn too_large(&mut self, bytes: usize) -> SpoolError {
        // The number is spent; the next record must start a new segment to stay consecutive.
        self.writable = false;
        let source = io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("a record of {bytes} bytes is larger than {MAX_BODY}"),
        );
        SpoolError::Io { doing: "writing", path: self.path.clone(), source }
    }

    pub fn sync(&mut self) -> Result<(), SpoolError> {
        if self.dirty {
            self.file.sync_data().map_err(SpoolError::io("syncing", &self.path))?;
            self.dirty = false;
        }
        Ok(())
    }

    /// Reads records from number `from` on, at most `max_bytes` of bodies but at least one record.
    pub fn read(&self, from: u64, max_bytes: usize) -> Result<Vec<(Kind, Vec<u8>)>, SpoolError> {
        let start = (from - self.first_seq) as usize;
        let mut end = start + 1;
        while end < self.offsets.len() - 1
            && (self.offsets[end + 1] - self.offsets[start]) as usize <= max_bytes
        {
            end += 1;
        }
        let mut bytes = vec![0; (self.offsets[end] - self.offsets[start]) as usize];
        self.file
            .read_exact_at(&mut bytes, self.offsets[start])
            .map_err(SpoolError::io("reading", &self.path))?;
        let base = self.offsets[start];
        Ok(self.offsets[start..=end]
            .windows(2)
            .map(|w| &bytes[(w[0] - base) as usize..(w[1] - base) as usize])
            .map(|record| (record[8], record[HEAD as usize..].to_vec()))
            .collect())
    }

    pub fn remove(self) -> Result<(), SpoolError> {
        fs::remove_file(&self.path).map_err(SpoolError::io("removing", &self.path))
    }
}

enum Tail {
    Clean,
    /// The last record is cut short.
    Torn,
    /// A checksum or a length is wrong.
    Damaged,
}

/// Offsets of all good records and of their end; what follows them.
fn walk(bytes: &[u8]) -> (Vec<u64>, Tail) {
    if bytes.len() < MAGIC.len() {
        return (vec![0], Tail::Torn);
    }
    if &bytes[..MAGIC.len()] != MAGIC {
        return (vec![0], Tail::Damaged);
    }
    let mut offsets = vec![MAGIC.len() as u64];
    let mut at = MAGIC.len();
    loop {
        let rest = &bytes[at..];
        if rest.is_empty() {
            return (offsets, Tail::Clean);
        }
        if rest.len() < HEAD as usize {
            return (offsets, Tail::Torn);
        }
        let word = |i: usize| u32::from_le_bytes([rest[i], rest[i + 1], rest[i + 2], rest[i + 3]]);
        let (length, said, kind) = (word(0), word(4), rest[8]);
        if length > MAX_BODY {
            return (offsets, Tail::Damaged);
        }
        let end = HEAD as usize + length as usize;
        if rest.len() < end {
            return (offsets, Tail::Torn);
        }
        if crc(kind, &rest[HEAD as usize..end]) != said {
            return (offsets, Tail::Damaged);
        }
        at += end;
        offsets.push(at as u64);
    }
}
