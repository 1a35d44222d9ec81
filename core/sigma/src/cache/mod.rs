//! Parsed [`Collection`]s as bytes, so that they need not be parsed again.
//!
//! # Format
//!
//! A line that names the format and the crate's version; the CRC-32 of everything after it (4 bytes, little-endian);
//! the length of the index (8 bytes, little-endian); the index; the parts of the rules. The index and each part are
//! sections: the text holds all strings one after the other, so that it is checked for UTF-8 once; the structure holds
//! their lengths, numbers and marks (see [`codec`]). The index says of each rule what is needed to sort it in, and how
//! long its two parts are, its attributes and its detection; these are taken apart when they are first needed
//! ([`Deferred`]). Correlations and filters stand in the index as they are. There is no compatibility between versions:
//! another first line is [`CacheError::Version`].
//!
//! Whoever reads a cache believes it as far as what the rules say; it is to be kept where only the user writes. Bytes
//! that were not written by [`Collection::to_bytes`] give an error, or a collection that is as safe to use as a parsed
//! one.

mod codec;
mod deferred;
#[cfg(test)]
mod tests;
mod types;

use std::sync::Arc;

use crate::ast::{Condition, Detection};
use crate::attributes::Attributes;
use crate::collection::Collection;
use crate::rule::{Brief, Rule};
use codec::{Reader, Stored, open_section, write_section};
use deferred::Blob;
pub use deferred::Deferred;

/// The first line. The number is raised whenever what is stored changes.
const HEADER: &[u8] = concat!("wardline-sigma ", env!("CARGO_PKG_VERSION"), " rules 2\n").as_bytes();

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
        let Self { rules, correlations, filters } = self;
        let (mut index, mut parts) = (Vec::new(), Vec::new());
        write_section(&mut index, |out| {
            rules.len().store(out);
            for rule in rules {
                let mut length = parts.len();
                rule.log_source.store(out);
                rule.stands_for.store(out);
                rule.brief().store(out);
                write_section(&mut parts, |part| rule.attributes.store(part));
                (parts.len() - length).store(out);
                length = parts.len();
                write_section(&mut parts, |part| rule.detection.store(part));
                (parts.len() - length).store(out);
            }
            correlations.store(out);
            filters.store(out);
        });
        let length = (index.len() as u64).to_le_bytes();
        let mut checksum = crc32fast::Hasher::new();
        for part in [&length[..], &index, &parts] {
            checksum.update(part);
        }
        [HEADER, &checksum.finalize().to_le_bytes(), &length, &index, &parts].concat()
    }

    /// Reads what [`Collection::to_bytes`] wrote, all of it.
    ///
    /// # Errors
    /// The bytes are damaged, of another version, or none of these at all.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, CacheError> {
        let out = Self::open(bytes.to_vec())?;
        for rule in &out.rules {
            rule.attributes.check()?;
            rule.detection.check()?;
            if *rule.brief() != Brief::of(&rule.attributes, &rule.detection) {
                return Err(CacheError::Senseless);
            }
        }
        Ok(out)
    }

    /// The same for bytes that nobody else can have written: checked as a whole, and taken apart as far as it is
    /// needed. Where such a part turns out to be damaged, its rule is none that matches, and
    /// [`RuleSet::is_damaged`](crate::RuleSet::is_damaged) says so.
    ///
    /// # Errors
    /// The bytes are damaged, of another version, or none of these at all.
    pub fn open(bytes: Vec<u8>) -> Result<Self, CacheError> {
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
        let (_, parts) = rest.split_at_checked(length).ok_or(CacheError::Damaged)?;
        let mut next = bytes.len() - parts.len();
        let index = next - length..next;
        let blob = Arc::new(Blob::new(bytes));
        let mut from = open_section(&blob.bytes[index])?;
        let mut out = Self { rules: Vec::with_capacity(from.list()?), ..Self::default() };
        for _ in 0..out.rules.capacity() {
            out.rules.push(open_rule(&mut from, &blob, &mut next)?);
        }
        out.correlations = Stored::load(&mut from)?;
        out.filters = Stored::load(&mut from)?;
        if from.is_at_end() && next == blob.bytes.len() { Ok(out) } else { Err(CacheError::Damaged) }
    }
}

/// The next rule of the index, whose parts begin at `next`.
fn open_rule(from: &mut Reader<'_>, blob: &Arc<Blob>, next: &mut usize) -> Result<Rule, CacheError> {
    let (log_source, stands_for, brief) = (Stored::load(from)?, Stored::load(from)?, Stored::load(from)?);
    let mut part = || {
        let start = *next;
        *next = start
            .checked_add(from.size()?)
            .filter(|end| *end <= blob.bytes.len())
            .ok_or(CacheError::Damaged)?;
        Ok(start..*next)
    };
    let attributes = Deferred::kept(blob, part()?, Attributes::default);
    let never = || Detection { selections: Vec::new(), condition: Condition::Or(Vec::new()) };
    let detection = Deferred::kept(blob, part()?, never);
    Ok(Rule::kept(attributes, log_source, detection, stands_for, brief))
}
