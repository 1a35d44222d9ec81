//! Parsed [`Collection`]s as bytes, so that they need not be parsed again, and [compiled rules](compiled).
//!
//! # Format
//!
//! Both are a [`container`] of parts. Each part is a section: the text holds all strings one after the other, so that it
//! is checked for UTF-8 once; the structure holds their lengths, numbers and marks (see [`codec`]). Of a collection the
//! first part is an index, which says of each rule what is needed to sort it in, and holds correlations and filters as
//! they are. Two parts for each rule follow, its attributes and its detection; these are taken apart when they are first
//! needed ([`Deferred`]). There is no compatibility between versions: another first line is [`CacheError::Version`].
//!
//! Whoever reads a cache believes it as far as what the rules say; it is to be kept where only the user writes. Bytes
//! that were not written by [`Collection::to_bytes`] give an error, or a collection that is as safe to use as a parsed
//! one.

pub(crate) mod codec;
mod compiled;
mod container;
mod deferred;
#[cfg(test)]
mod tests;
mod types;

use std::sync::Arc;

use crate::language::ast::{Condition, Detection};
use crate::language::attributes::Attributes;
use crate::language::collection::Collection;
use crate::language::rule::{Brief, Rule};
use codec::{Reader, Stored, open_section, write_section};
pub(crate) use compiled::{Compiled, CompiledWriter, Outcome, store_class};
pub use container::KeptBytes;
pub(crate) use container::{Container, ContainerWriter, digest};
use deferred::Blob;
pub use deferred::Deferred;

/// The first line. The number is raised whenever what is stored changes.
const HEADER: &[u8] = concat!("wardline-sigma ", env!("CARGO_PKG_VERSION"), " rules 4\n").as_bytes();

/// The longest cache that is read: ten times what the public rules take.
const MOST_BYTES: u64 = 128 << 20;

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
    /// It is of other rules than those that it was asked for.
    #[error("it is of other rules")]
    OtherRules,
    /// Longer or nested deeper than any honest rules.
    #[error("it is past a limit")]
    Limit,
}

impl Collection {
    /// Everything that it holds, for [`Collection::from_bytes`] of the same version.
    pub fn to_bytes(&self) -> Vec<u8> {
        let Self { rules, correlations, filters } = self;
        let mut index = Vec::new();
        write_section(&mut index, |out| {
            rules.len().store(out);
            for rule in rules {
                rule.log_source.store(out);
                rule.stands_for.store(out);
                rule.brief().store(out);
            }
            correlations.store(out);
            filters.store(out);
        });
        let mut out = ContainerWriter::new(HEADER);
        out.part(|out| *out = index);
        for rule in rules {
            out.part(|out| write_section(out, |out| rule.attributes.store(out)));
            out.part(|out| write_section(out, |out| rule.detection.store(out)));
        }
        out.finish()
    }

    /// Reads what [`Collection::to_bytes`] wrote, all of it.
    ///
    /// # Errors
    /// The bytes are damaged, of another version, or none of these at all.
    pub fn from_bytes(bytes: Arc<dyn KeptBytes>) -> Result<Self, CacheError> {
        let out = Self::open(bytes)?;
        for rule in &out.rules {
            rule.attributes.check()?;
            rule.detection.check()?;
            if *rule.brief() != Brief::of(&rule.attributes, &rule.detection) {
                return Err(CacheError::Senseless);
            }
        }
        Ok(out)
    }

    /// The same for bytes that nobody else can have written: only what is needed to sort the rules in is read; their
    /// parts are read, checked and taken apart as they are needed. Where such a part turns out to be damaged, its rule
    /// is none that matches, and [`RuleSet::is_damaged`](crate::RuleSet::is_damaged) says so.
    ///
    /// # Errors
    /// The bytes are damaged, of another version, or none of these at all.
    pub fn open(bytes: Arc<dyn KeptBytes>) -> Result<Self, CacheError> {
        let parts = Container::open(HEADER, MOST_BYTES, bytes)?;
        let count = parts.count();
        let index = parts.part(0)?.into_owned();
        let blob = Arc::new(Blob::new(parts));
        let mut from = open_section(&index)?;
        let rules = from.list()?;
        if count as usize != 1 + 2 * rules {
            return Err(CacheError::Damaged);
        }
        let rules: Result<_, _> =
            (1..count).step_by(2).map(|part| open_rule(&mut from, &blob, part)).collect();
        let out =
            Self { rules: rules?, correlations: Stored::load(&mut from)?, filters: Stored::load(&mut from)? };
        if from.is_at_end() { Ok(out) } else { Err(CacheError::Damaged) }
    }
}

/// The next rule of the index, whose parts have this number and the next.
fn open_rule(from: &mut Reader<'_>, blob: &Arc<Blob>, part: u32) -> Result<Rule, CacheError> {
    let (log_source, stands_for, brief) = (Stored::load(from)?, Stored::load(from)?, Stored::load(from)?);
    let attributes = Deferred::kept(blob, part, Attributes::default);
    let never = || Detection { selections: Vec::new(), condition: Condition::Or(Vec::new()) };
    let detection = Deferred::kept(blob, part + 1, never);
    Ok(Rule::kept(attributes, log_source, detection, stands_for, brief))
}

/// A number that is another for another detection: the digest of what would be kept of it.
pub(crate) fn print_of(detection: &Detection) -> u64 {
    let mut section = Vec::new();
    write_section(&mut section, |out| detection.store(out));
    digest(0, &section)
}
