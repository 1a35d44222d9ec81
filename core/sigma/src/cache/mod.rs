//! A parsed [`Collection`] as bytes, so that it need not be parsed again.
//!
//! # Format
//!
//! A line that names the format and the crate's version; the CRC-32 of everything after it (4 bytes, little-endian);
//! the length of the text (8 bytes, little-endian); the text; the structure. The text holds all strings one after the
//! other, so that it is checked for UTF-8 once; the structure holds their lengths, numbers and marks (see
//! [`codec`]). There is no compatibility between versions: another first line is [`CacheError::Version`].
//!
//! Whoever reads a cache believes it as far as what the rules say; it is to be kept where only the user writes. Bytes
//! that were not written by [`Collection::to_bytes`] give an error, or a collection that is as safe to use as a parsed
//! one.

mod codec;
mod types;

use crate::collection::Collection;
use codec::{Reader, Stored, Writer};

/// The first line. The number is raised whenever what is stored changes.
const HEADER: &[u8] = concat!("wardline-sigma ", env!("CARGO_PKG_VERSION"), " rules 1\n").as_bytes();

/// The longest cache that is read: ten times what the public rules take.
const MOST_BYTES: usize = 128 << 20;

/// Why bytes are not read as a collection.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum CacheError {
    /// Another format, or written by another version.
    #[error("it was written by another version")]
    Version,
    /// Cut off, changed, or longer than it says.
    #[error("it is damaged")]
    Damaged,
    /// Right by its checksum, but it says what no parsed rule says.
    #[error("it holds what no rule says")]
    Senseless,
    /// Longer or nested deeper than any honest rules.
    #[error("it is past a limit")]
    Limit,
}

impl Collection {
    /// Everything that it holds, for [`Collection::from_bytes`] of the same version.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Writer::default();
        self.store(&mut out);
        let (text, structure) = out.parts();
        let length = (text.len() as u64).to_le_bytes();
        let mut checksum = crc32fast::Hasher::new();
        for part in [&length[..], text.as_bytes(), structure] {
            checksum.update(part);
        }
        [HEADER, &checksum.finalize().to_le_bytes(), &length, text.as_bytes(), structure].concat()
    }

    /// Reads what [`Collection::to_bytes`] wrote.
    ///
    /// # Errors
    /// The bytes are damaged, of another version, or none of these at all.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, CacheError> {
        let rest = bytes.strip_prefix(HEADER).ok_or(CacheError::Version)?;
        if rest.len() > MOST_BYTES {
            return Err(CacheError::Limit);
        }
        let (checksum, rest) = rest.split_first_chunk::<4>().ok_or(CacheError::Damaged)?;
        if crc32fast::hash(rest) != u32::from_le_bytes(*checksum) {
            return Err(CacheError::Damaged);
        }
        let (length, rest) = rest.split_first_chunk::<8>().ok_or(CacheError::Damaged)?;
        let length = usize::try_from(u64::from_le_bytes(*length)).map_err(|_| CacheError::Damaged)?;
        let (text, structure) = rest.split_at_checked(length).ok_or(CacheError::Damaged)?;
        let text = std::str::from_utf8(text).map_err(|_| CacheError::Damaged)?;
        let mut from = Reader::new(text, structure);
        let out = Self::load(&mut from)?;
        if from.is_at_end() { Ok(out) } else { Err(CacheError::Damaged) }
    }
}
