//! The text index of one field: one pass over a value finds every literal that any rule looks for there.

use std::collections::HashMap;

use aho_corasick::{AhoCorasick, AhoCorasickKind, MatchKind};

use crate::affix::{AffixBuilder, AffixTree};
use crate::ast::Part;

/// Collects literals; each (place, literal) pair has one bit.
#[derive(Default)]
pub(crate) struct IndexBuilder {
    literals: HashMap<(Part, String), u32>,
}

impl IndexBuilder {
    /// The bit of a folded literal; `fresh` makes one for a new literal.
    pub fn bit(&mut self, place: Part, literal: &str, fresh: impl FnOnce() -> u32) -> u32 {
        // The key is made even for a known literal; this is not the hot path.
        *self.literals.entry((place, literal.to_owned())).or_insert_with(fresh)
    }

    /// The index of all literals.
    pub fn build(self) -> Result<TextIndex, aho_corasick::BuildError> {
        let mut literals: Vec<((Part, String), u32)> = self.literals.into_iter().collect();
        literals.sort_by_key(|(_, bit)| *bit);
        let (mut front, mut back) = (AffixBuilder::default(), AffixBuilder::default());
        let (mut inner, mut inner_bits) = (Vec::new(), Vec::new());
        for ((place, literal), bit) in literals {
            match place {
                Part::Whole => front.add(literal.bytes(), true, bit),
                Part::Start => front.add(literal.bytes(), false, bit),
                Part::End => back.add(literal.bytes().rev(), false, bit),
                Part::Anywhere => {
                    inner.push(literal);
                    inner_bits.push(bit);
                }
            }
        }
        let inner = if inner.is_empty() { None } else { Some((automaton(&inner)?, inner_bits)) };
        Ok(TextIndex { front: front.build(), back: back.build(), inner })
    }
}

fn automaton(literals: &[String]) -> Result<AhoCorasick, aho_corasick::BuildError> {
    // A full table is the fastest to walk as long as it stays in the cache.
    let small = literals.iter().map(String::len).sum::<usize>() <= 2048;
    // Prefilters look for rare bytes; among this many literals no byte is rare.
    let kind = if small { AhoCorasickKind::DFA } else { AhoCorasickKind::ContiguousNFA };
    AhoCorasick::builder().match_kind(MatchKind::Standard).kind(Some(kind)).prefilter(false).build(literals)
}

/// The literals of one field, ready to be searched for.
#[derive(Debug)]
pub(crate) struct TextIndex {
    front: Option<AffixTree>,
    back: Option<AffixTree>,
    inner: Option<(AhoCorasick, Vec<u32>)>,
}

impl TextIndex {
    /// Whether there is nothing to search for.
    pub fn is_empty(&self) -> bool {
        self.front.is_none() && self.back.is_none() && self.inner.is_none()
    }

    /// Reports the bit of each literal that the folded text holds in its place; a bit may come several times.
    pub fn scan(&self, folded: &str, hit: &mut impl FnMut(u32)) {
        if let Some(front) = &self.front {
            front.walk(folded.bytes(), hit);
        }
        if let Some(back) = &self.back {
            back.walk(folded.bytes().rev(), hit);
        }
        if let Some((automaton, bits)) = &self.inner {
            for found in automaton.find_overlapping_iter(folded) {
                hit(bits[found.pattern().as_usize()]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Against the standard library's own searches.
        #[test]
        fn finds_what_a_plain_search_finds(
            literals in prop::collection::hash_set("[abé]{1,3}", 1..12),
            text in "[abé]{0,12}",
        ) {
            let mut builder = IndexBuilder::default();
            let mut wanted = Vec::new();
            let mut next = 0;
            for literal in &literals {
                for (place, holds) in [
                    (Part::Whole, text == *literal),
                    (Part::Start, text.starts_with(literal.as_str())),
                    (Part::End, text.ends_with(literal.as_str())),
                    (Part::Anywhere, text.contains(literal.as_str())),
                ] {
                    let bit = builder.bit(place, literal, || next);
                    prop_assert_eq!(bit, next);
                    next += 1;
                    if holds {
                        wanted.push(bit);
                    }
                }
            }
            let mut found = Vec::new();
            builder.build().unwrap().scan(&text, &mut |bit| found.push(bit));
            found.sort_unstable();
            found.dedup();
            prop_assert_eq!(found, wanted);
        }
    }
}
