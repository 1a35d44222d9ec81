//! What searching a text came to, remembered for when the same text comes again.
//!
//! Computers say the same things over and over: images, users, hashes, whole command lines. Finding a text again costs
//! a hash and a comparison, whatever the number of literals that were looked for in it. Texts are compared in full, so
//! a memory of any size changes what an answer costs and never what it is. All of it is bounded, and forgotten at once
//! when it is full.

use std::hash::{BuildHasher, Hasher};

use foldhash::fast::FixedState;

/// Places (a power of two); of two texts that fall on one place the later stays.
const PLACES: usize = 1 << 14;
/// Bytes of remembered texts and bits before all are forgotten.
const KEPT_BYTES: usize = 2 << 20;
/// A longer text is unlikely to come again.
const LONGEST: usize = 1024;
/// Texts with more bits are not remembered.
const MOST_BITS: usize = 64;
/// How far a place's success is counted, either way.
const CREDIT: i8 = 16;
/// Of texts that hardly ever come again, one in so many is looked up all the same.
const SAMPLE: u8 = 8;
/// Bytes before the bits of an entry: the length of its text and the number of its bits, two bytes each. The first of
/// the bits is the number of the index.
const HEAD: usize = 4;
/// Bytes of a bit.
const BIT: usize = 4;

/// The memory of one thread.
#[derive(Debug, Default)]
pub(crate) struct Memo {
    /// For each place a part of the hash of what lies there (never 0; 0 is nothing), and where its entry begins. Made when
    /// the first text comes.
    places: Vec<[u32; 2]>,
    /// The entries: [`HEAD`], bits, text.
    entries: Vec<u8>,
    /// By index: how well its texts are found again.
    credits: Vec<Credit>,
    /// Lists for working in; a probe may search while a search goes on.
    lists: Vec<Vec<u32>>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Credit {
    balance: i8,
    /// Counts up to [`SAMPLE`].
    passed: u8,
}

/// What the memory says of a text.
pub(crate) enum Recall<'a> {
    /// It was searched before, and these bits were found.
    Known(&'a [[u8; BIT]]),
    /// It was not; what is found should be told with [`Memo::learn`], with this hash.
    New(u64),
    /// It is not worth remembering.
    Never,
}

impl Memo {
    /// What is known of a text in which the index of this number was looked for.
    pub fn recall(&mut self, index: u32, text: &str) -> Recall<'_> {
        if text.len() > LONGEST {
            return Recall::Never;
        }
        if self.places.is_empty() {
            self.places = vec![[0; 2]; PLACES];
        }
        if self.credits.len() <= index as usize {
            self.credits.resize(index as usize + 1, Credit::default());
        }
        let credit = &mut self.credits[index as usize];
        if credit.balance <= -CREDIT {
            credit.passed += 1;
            if credit.passed < SAMPLE {
                return Recall::Never;
            }
            credit.passed = 0;
        }
        let mut hasher = FixedState::with_seed(u64::from(index)).build_hasher();
        hasher.write(text.as_bytes());
        let hash = hasher.finish() | 1;
        let [there, at] = self.places[place(hash)];
        if there == hash as u32 {
            let (head, rest) = self.entries[at as usize..].split_at(HEAD);
            let length = usize::from(u16::from_le_bytes([head[0], head[1]]));
            let bits = usize::from(u16::from_le_bytes([head[2], head[3]]));
            let (bits, rest) = rest.split_at(bits * BIT);
            if rest[..length] == *text.as_bytes()
                && let ([of, found @ ..], []) = bits.as_chunks()
                && *of == index.to_le_bytes()
            {
                credit.balance = (credit.balance + 1).min(CREDIT);
                return Recall::Known(found);
            }
        }
        credit.balance = (credit.balance - 1).max(-CREDIT);
        Recall::New(hash)
    }

    /// A list for the bits that are found in a text.
    pub fn list(&mut self) -> Vec<u32> {
        self.lists.pop().unwrap_or_default()
    }

    /// Takes a list back; what was found in a new text (with its hash) is remembered.
    pub fn learn(&mut self, new: Option<(u64, &str)>, index: u32, mut found: Vec<u32>) {
        if let Some((hash, text)) = new {
            found.sort_unstable();
            found.dedup();
            if found.len() < MOST_BITS {
                self.keep(hash, text, index, &found);
            }
        }
        found.clear();
        self.lists.push(found);
    }

    fn keep(&mut self, hash: u64, text: &str, index: u32, found: &[u32]) {
        let size = HEAD + (found.len() + 1) * BIT + text.len();
        if self.entries.len() + size > KEPT_BYTES {
            self.entries.clear();
            self.places.fill([0; 2]);
        }
        self.places[place(hash)] = [hash as u32, self.entries.len() as u32];
        self.entries.extend_from_slice(&(text.len() as u16).to_le_bytes());
        self.entries.extend_from_slice(&(found.len() as u16 + 1).to_le_bytes());
        for bit in std::iter::once(&index).chain(found) {
            self.entries.extend_from_slice(&bit.to_le_bytes());
        }
        self.entries.extend_from_slice(text.as_bytes());
    }
}

fn place(hash: u64) -> usize {
    (hash >> (64 - PLACES.ilog2())) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the memo says of a text: the bits, if it knows it.
    fn known(memo: &mut Memo, index: u32, text: &str) -> Option<Vec<u32>> {
        match memo.recall(index, text) {
            Recall::Known(bits) => Some(bits.iter().map(|bit| u32::from_le_bytes(*bit)).collect()),
            Recall::New(hash) => {
                let list = memo.list();
                let found = bits_of(index, text);
                memo.learn(Some((hash, text)), index, [list, found.clone(), found].concat());
                None
            }
            Recall::Never => None,
        }
    }

    fn bits_of(index: u32, text: &str) -> Vec<u32> {
        (0..text.len() as u32 % 5).map(|n| n * 100 + index).collect()
    }

    #[test]
    fn a_text_that_comes_again_has_the_bits_it_had() {
        let mut memo = Memo::default();
        let mut hits = 0;
        // More texts than there is room for, each soon again, and the same text in two indices.
        for n in 0..60_000u32 {
            for text in [format!("{n} {}", "x".repeat(n as usize % 90)), format!("often {}", n % 50)] {
                for index in [1, 2, 1] {
                    if let Some(bits) = known(&mut memo, index, &text) {
                        assert_eq!(bits, bits_of(index, &text), "{index} {text}");
                        hits += 1;
                    }
                }
            }
            assert!(memo.entries.len() <= KEPT_BYTES);
        }
        assert!(hits > 150_000, "{hits}");
    }

    #[test]
    fn texts_that_never_come_again_are_hardly_looked_up() {
        let mut memo = Memo::default();
        let looked_up =
            (0..1000).filter(|n| !matches!(memo.recall(0, &n.to_string()), Recall::Never)).count();
        assert!(looked_up < 1000 / usize::from(SAMPLE) + 2 * CREDIT as usize, "{looked_up}");
        assert!(matches!(memo.recall(0, &"x".repeat(LONGEST + 1)), Recall::Never));
    }
}
