//! Parts of a file, each with its digest, so that one can be taken without reading the others.
//!
//! A first line that names the format; the digest of the count and the table (8 bytes; all numbers are little-endian);
//! the number of parts (4 bytes); the table: of each part its length (4 bytes) and its digest (8 bytes); the parts, one
//! behind the other to the end. A digest is a 64-bit hash without a secret: it tells damage, not forgery.

use std::borrow::Cow;
use std::hash::{BuildHasher, Hasher};
use std::ops::Range;
use std::sync::Arc;

use foldhash::quality::FixedState;

use crate::cache::CacheError;

/// Bytes that were kept: all in memory, or read from where they lie when they are needed.
pub trait KeptBytes: Send + Sync {
    /// How many there are.
    fn length(&self) -> u64;

    /// Those of a range; `None` if they cannot be read, or are no longer there.
    fn range(&self, range: Range<u64>) -> Option<Cow<'_, [u8]>>;
}

impl KeptBytes for Vec<u8> {
    fn length(&self) -> u64 {
        self.len() as u64
    }

    fn range(&self, range: Range<u64>) -> Option<Cow<'_, [u8]>> {
        let (start, end) = (usize::try_from(range.start).ok()?, usize::try_from(range.end).ok()?);
        self.get(start..end).map(Cow::Borrowed)
    }
}

/// Bytes of an entry of the table.
const ENTRY: usize = 4 + 8;

/// A number that is another for other bytes; `seed` makes several of it.
pub(crate) fn digest(seed: u64, bytes: &[u8]) -> u64 {
    let mut hasher = FixedState::with_seed(seed).build_hasher();
    hasher.write(bytes);
    hasher.finish()
}

/// Writes parts.
pub(crate) struct ContainerWriter {
    first_line: &'static [u8],
    table: Vec<u8>,
    parts: Vec<u8>,
}

impl ContainerWriter {
    pub fn new(first_line: &'static [u8]) -> Self {
        Self { first_line, table: Vec::new(), parts: Vec::new() }
    }

    /// Adds what `write` appends as the next part.
    pub fn part(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        let start = self.parts.len();
        write(&mut self.parts);
        let part = &self.parts[start..];
        self.table.extend_from_slice(&(part.len() as u32).to_le_bytes());
        self.table.extend_from_slice(&digest(0, part).to_le_bytes());
    }

    pub fn finish(self) -> Vec<u8> {
        let count = ((self.table.len() / ENTRY) as u32).to_le_bytes();
        let table = [&count, &self.table[..]].concat();
        [self.first_line, &digest(0, &table).to_le_bytes(), &table, &self.parts].concat()
    }
}

/// Parts that were kept.
#[derive(Clone)]
pub(crate) struct Container {
    bytes: Arc<dyn KeptBytes>,
    parts: Arc<[Part]>,
}

#[derive(Clone, Copy)]
struct Part {
    start: u64,
    length: u32,
    digest: u64,
}

impl Container {
    /// Reads the table. The parts must fill the bytes to the end, of which there may be `most`.
    pub fn open(first_line: &'static [u8], most: u64, bytes: Arc<dyn KeptBytes>) -> Result<Self, CacheError> {
        let length = bytes.length();
        let range = |range: Range<u64>| bytes.range(range).ok_or(CacheError::Damaged);
        let start = first_line.len() as u64;
        if length < start || *range(0..start)? != *first_line {
            return Err(CacheError::Version);
        }
        if length > most {
            return Err(CacheError::Limit);
        }
        let head = range(start..start + 12)?;
        let (right, count) = head.split_first_chunk::<8>().ok_or(CacheError::Damaged)?;
        let count = u32::from_le_bytes(count.try_into().map_err(|_| CacheError::Damaged)?);
        let mut next = start + 12 + u64::from(count) * ENTRY as u64;
        if next > length {
            return Err(CacheError::Damaged);
        }
        let table = range(start + 8..next)?;
        if digest(0, &table) != u64::from_le_bytes(*right) {
            return Err(CacheError::Damaged);
        }
        let mut parts = Vec::with_capacity(count as usize);
        for entry in table[4..].as_chunks::<ENTRY>().0 {
            let [a, b, c, d, digest @ ..] = *entry;
            let length = u32::from_le_bytes([a, b, c, d]);
            parts.push(Part { start: next, length, digest: u64::from_le_bytes(digest) });
            next += u64::from(length);
        }
        drop((head, table));
        if next != length {
            return Err(CacheError::Damaged);
        }
        Ok(Self { bytes, parts: parts.into() })
    }

    pub fn count(&self) -> u32 {
        self.parts.len() as u32
    }

    /// The digest of a part.
    pub fn digest(&self, number: u32) -> Option<u64> {
        self.parts.get(number as usize).map(|part| part.digest)
    }

    /// A part, if its digest is right.
    pub fn part(&self, number: u32) -> Result<Cow<'_, [u8]>, CacheError> {
        let part = self.parts.get(number as usize).ok_or(CacheError::Damaged)?;
        let end = part.start + u64::from(part.length);
        let bytes = self.bytes.range(part.start..end).ok_or(CacheError::Damaged)?;
        if digest(0, &bytes) == part.digest { Ok(bytes) } else { Err(CacheError::Damaged) }
    }
}
