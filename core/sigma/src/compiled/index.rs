//! The text index of one field: one pass over a value finds every literal that any rule looks for there.

use std::collections::HashMap;

use crate::compiled::affix::{Affix, AffixTree};
use crate::compiled::commonness::Commonness;
use crate::compiled::window::{Inner, WindowIndex, choose};
use crate::language::ast::Part;

/// Collects literals; each (place, literal) pair has one bit.
#[derive(Default)]
pub(crate) struct IndexBuilder {
    /// By place.
    literals: [HashMap<Box<str>, u32>; PLACES],
}

/// How many places there are, which are numbered from 0.
const PLACES: usize = Part::Anywhere as usize + 1;

impl IndexBuilder {
    /// The bit of a folded literal; `fresh` makes one for a new literal.
    pub fn bit(&mut self, place: Part, literal: &str, fresh: impl FnOnce() -> u32) -> u32 {
        let literals = &mut self.literals[place as usize];
        if let Some(bit) = literals.get(literal) {
            return *bit;
        }
        let bit = fresh();
        literals.insert(literal.into(), bit);
        bit
    }

    /// The literals added so far.
    pub fn literals(&self) -> impl Iterator<Item = &str> {
        self.literals.iter().flat_map(HashMap::keys).map(|literal| &**literal)
    }

    /// The literals whose bits are `wanted`, ready to be made an index of.
    pub fn of(&self, wanted: impl Fn(u32) -> bool, commonness: &Commonness) -> Literals<'_> {
        let of_place = |place: Part| {
            let all = self.literals[place as usize].iter().map(|(literal, bit)| (&**literal, *bit));
            all.filter(|(_, bit)| wanted(*bit))
        };
        let affixes = |place, whole| of_place(place).map(move |(literal, bit)| Affix { literal, whole, bit });
        let mut front: Vec<_> = affixes(Part::Whole, true).chain(affixes(Part::Start, false)).collect();
        let mut back: Vec<_> = affixes(Part::End, false).collect();
        AffixTree::<false>::sort(&mut front);
        AffixTree::<true>::sort(&mut back);
        let mut inner: Vec<_> = of_place(Part::Anywhere).collect();
        inner.sort_unstable_by_key(|(_, bit)| *bit);
        Literals { front, back, inner: choose(&inner, commonness) }
    }

    /// What finds out whether a text holds any of the literals anywhere: none without literals, or if one may stand in
    /// a value that is no text.
    pub fn gate(&self, commonness: &Commonness) -> Vec<Inner<'_>> {
        if self.literals().any(in_a_number) {
            return Vec::new();
        }
        let mut literals: Vec<&str> = self.literals().collect();
        literals.sort_unstable();
        literals.dedup();
        let literals: Vec<(&str, u32)> = literals.into_iter().map(|literal| (literal, 0)).collect();
        choose(&literals, commonness)
    }
}

/// Whether the text of a number or of a truth value may hold a literal.
fn in_a_number(literal: &str) -> bool {
    literal.bytes().all(|b| b.is_ascii_digit() || b"+-.e".contains(&b))
        || ["true", "false", "nan", "inf"].iter().any(|word| word.contains(literal))
}

/// A folded text in a buffer, with at least [`PADDING`] bytes behind it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Folded<'a> {
    pub padded: &'a [u8],
    pub len: usize,
    /// It is all ASCII.
    pub ascii: bool,
    /// It was a number.
    pub number: bool,
}

/// Literals of one field by where they stand, with what was found out about them.
pub(crate) struct Literals<'a> {
    /// Beginnings and whole texts, in the order of their tree.
    pub front: Vec<Affix<'a>>,
    /// Ends, likewise.
    pub back: Vec<Affix<'a>>,
    pub inner: Vec<Inner<'a>>,
}

impl Literals<'_> {
    pub fn is_empty(&self) -> bool {
        self.front.is_empty() && self.back.is_empty() && self.inner.is_empty()
    }

    /// The bits of all literals.
    pub fn bits(&self) -> impl Iterator<Item = u32> {
        let affixes = self.front.iter().chain(&self.back).map(|affix| affix.bit);
        affixes.chain(self.inner.iter().map(|inner| inner.bit))
    }

    /// The index; `None` if a literal does not have the windows that are said to be in it.
    pub fn build(&self) -> Option<TextIndex> {
        let inner = WindowIndex::build(&self.inner);
        if inner.is_none() && !self.inner.is_empty() {
            return None;
        }
        Some(TextIndex { front: AffixTree::build(&self.front), back: AffixTree::build(&self.back), inner })
    }
}

/// Literals of one field, ready to be searched for.
#[derive(Debug)]
pub(crate) struct TextIndex {
    front: Option<AffixTree<false>>,
    back: Option<AffixTree<true>>,
    inner: Option<WindowIndex>,
}

impl TextIndex {
    /// Whether there is nothing to search for.
    pub fn is_empty(&self) -> bool {
        self.front.is_none() && self.back.is_none() && self.inner.is_none()
    }

    /// Reports the bit of each literal that the text holds in its place; a bit may come several times.
    pub fn scan(&self, folded: Folded<'_>, hit: &mut impl FnMut(u32)) {
        let text = &folded.padded[..folded.len];
        if let Some(front) = &self.front {
            front.walk(text, hit);
        }
        if let Some(back) = &self.back {
            back.walk(text, hit);
        }
        if let Some(inner) = self.inner.as_ref().filter(|inner| !folded.number || inner.is_numeric()) {
            inner.scan(folded.padded, folded.len, folded.ascii, hit);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compiled::window::PADDING;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

        /// Against the standard library's own searches. What stands behind the text must not be found.
        #[test]
        fn finds_what_a_plain_search_finds(
            literals in prop::collection::hash_set("[ab]{1,9}|[ab]{5,9}|[abé]{1,7}|[-1]{1,2}", 1..80),
            // Literals of few lengths use other steps than literals of all.
            shortest in 1..9usize,
            text in "[ab]{0,50}|[abé]{0,50}|-?1{1,5}",
            behind in "[ab1]{20}",
        ) {
            let mut builder = IndexBuilder::default();
            let mut wanted = Vec::new();
            let mut next = 0;
            for literal in literals.iter().filter(|literal| literal.len() >= shortest) {
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
            let all = Commonness::learn(builder.literals());
            let even = builder.of(|bit| bit % 2 == 0, &all).build().unwrap();
            let odd = builder.of(|bit| bit % 2 == 1, &all).build().unwrap();
            let mut found = Vec::new();
            prop_assert_eq!(behind.len(), PADDING);
            let number = text.parse::<i64>().is_ok_and(|number| number.to_string() == text);
            let padded = format!("{text}{behind}");
            let folded = Folded { padded: padded.as_bytes(), len: text.len(), ascii: text.is_ascii(), number };
            even.scan(folded, &mut |bit| found.push(bit));
            odd.scan(folded, &mut |bit| found.push(bit));
            found.sort_unstable();
            found.dedup();
            prop_assert_eq!(found, wanted);
        }
    }
}
