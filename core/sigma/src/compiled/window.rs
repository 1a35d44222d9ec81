//! Literals that may stand anywhere in a text: every literal is known by short windows of its bytes.
//!
//! A small table in the first-level cache tells for nearly every place of the text that no literal's window is
//! there; only where the table cannot rule that out, the literals with this window are compared. Of a literal that is
//! long enough several windows in a row are in the table, so that only every second or fourth place of the text needs
//! looking at. One pass over the text, whatever the number of literals, and nothing to build but two hash tables.

use crate::compiled::commonness::Commonness;

/// Bytes of the longest window.
const WINDOW: usize = 4;
/// Bytes of text that are looked at before anything is decided: a miss of all their windows costs one branch.
const BLOCK: usize = 16;
/// Bytes that must follow a text in its buffer, whatever they are, so that whole blocks can be read.
pub(crate) const PADDING: usize = BLOCK + WINDOW;

/// One window of one literal.
#[derive(Clone, Copy, Debug)]
struct Entry {
    /// The window as a number; bytes past a shorter one are zero.
    window: u32,
    /// Where it stands in the literal.
    offset: u32,
    /// The literal is `text[start..start + len]`.
    start: u32,
    len: u32,
    bit: u32,
    /// The bytes at its other end, as a number: most texts that have the window differ there.
    end: u32,
}

impl Entry {
    /// Where its other end begins in a literal of [`WINDOW`] bytes or more, as seen from the window.
    fn end_at(&self) -> usize {
        if self.offset as usize >= WINDOW { 0 } else { (self.len as usize).saturating_sub(WINDOW) }
    }

    /// Whether the literal may stand in `text`, which is as long, as far as its other end tells.
    fn may_be(&self, text: &[u8]) -> bool {
        text.get(self.end_at()..)
            .and_then(<[u8]>::first_chunk)
            .is_none_or(|end| u32::from_le_bytes(*end) == self.end)
    }
}

/// Literals with windows of one length.
#[derive(Debug)]
struct Group {
    /// Bytes of a window.
    length: usize,
    /// Every place of the text that is a multiple of this is looked at; so many windows does each literal have.
    step: usize,
    filter: Filter,
    /// Shifts a hash to its bucket.
    shift: u32,
    /// The entries of bucket `b` are `entries[buckets[b]..buckets[b + 1]]`.
    buckets: Vec<u32>,
    entries: Vec<Entry>,
}

/// Whether an entry has a certain value of a part of the hash: a byte each for few entries, a bit each for many. At
/// least sixteen values for each entry.
#[derive(Debug)]
enum Filter {
    Few(Box<[u8; 4096]>),
    Some(Box<[u8; 16384]>),
    Many(Box<[u64; 4096]>),
}

/// All literals of one field that may stand anywhere.
#[derive(Debug)]
pub(crate) struct WindowIndex {
    ascii: Vec<Group>,
    /// Literals that no text in ASCII holds.
    others: Vec<Group>,
    /// The text of all literals.
    text: Vec<u8>,
    /// Whether a literal could be found in a number.
    numeric: bool,
}

/// A literal with its bit, and where the windows begin by which it is known.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Inner<'a> {
    pub literal: &'a str,
    pub bit: u32,
    pub first: u32,
}

/// Chooses the windows of literals, which are not empty: those that are thought to be the rarest in texts.
pub(crate) fn choose<'a>(literals: &[(&'a str, u32)], commonness: &Commonness) -> Vec<Inner<'a>> {
    let longest_step = longest_step(literals.iter().map(|(literal, _)| *literal));
    let mut each = Vec::new();
    let choose = |(literal, bit): &(&'a str, u32)| {
        let (length, step) = Kind::of(literal).windows(longest_step);
        let first = rarest(literal.as_bytes(), length, step, commonness, &mut each);
        Inner { literal, bit: *bit, first: first as u32 }
    };
    literals.iter().map(choose).collect()
}

impl WindowIndex {
    /// The index of these literals; `None` if there are none, or one does not have the windows that are said to be in
    /// it.
    pub fn build(literals: &[Inner<'_>]) -> Option<Self> {
        if literals.is_empty() {
            return None;
        }
        let mut index = Self { ascii: Vec::new(), others: Vec::new(), text: Vec::new(), numeric: false };
        let mut by_kind: Vec<(Kind, u32, &Inner<'_>)> = Vec::with_capacity(literals.len());
        for inner in literals {
            let literal = inner.literal;
            index.numeric |= literal.bytes().all(|b| b.is_ascii_digit() || b == b'-');
            by_kind.push((Kind::of(literal), index.text.len() as u32, inner));
            index.text.extend_from_slice(literal.as_bytes());
        }
        let longest_step = longest_step(literals.iter().map(|inner| inner.literal));
        by_kind.sort_by_key(|(kind, ..)| *kind);
        for group in by_kind.chunk_by(|a, b| a.0 == b.0) {
            let (length, step) = group[0].0.windows(longest_step);
            let mut entries = Vec::with_capacity(group.len() * step);
            for (_, start, inner) in group {
                let (literal, first) = (inner.literal.as_bytes(), inner.first as usize);
                let windows = literal.get(first..)?.windows(length);
                if length == 0 || windows.len() < step {
                    return None;
                }
                let (len, bit) = (literal.len() as u32, inner.bit);
                entries.extend(windows.zip(inner.first..).take(step).map(|(bytes, offset)| {
                    let mut entry = Entry { window: window(bytes), offset, start: *start, len, bit, end: 0 };
                    let end = literal[entry.end_at()..].first_chunk();
                    entry.end = end.map_or(0, |end| u32::from_le_bytes(*end));
                    entry
                }));
            }
            let built = Group::build(length, step, &entries);
            if group[0].0.ascii { index.ascii.push(built) } else { index.others.push(built) }
        }
        Some(index)
    }

    /// Whether a number can hold one of the literals.
    pub fn is_numeric(&self) -> bool {
        self.numeric
    }

    /// Reports the bit of each literal in `padded[..len]`; a bit may come several times. At least [`PADDING`] bytes
    /// must follow.
    pub fn scan(&self, padded: &[u8], len: usize, ascii: bool, hit: &mut impl FnMut(u32)) {
        for group in &self.ascii {
            group.scan(&self.text, padded, len, hit);
        }
        if !ascii {
            for group in &self.others {
                group.scan(&self.text, padded, len, hit);
            }
        }
    }
}

/// How a literal is searched for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Kind {
    ascii: bool,
    /// Bytes of its windows.
    length: usize,
}

impl Kind {
    fn of(literal: &str) -> Self {
        let (ascii, len) = (literal.is_ascii(), literal.len());
        // Few literals are short; one pass for all of them is cheaper than good windows for each length.
        let length = match len {
            0..=1 => len,
            2..=WINDOW if ascii => 2,
            _ if ascii => WINDOW,
            _ => len.min(3),
        };
        Self { ascii, length }
    }

    /// The length of the windows, and how many a literal has.
    fn windows(self, longest_step: usize) -> (usize, usize) {
        (self.length, if self.length == WINDOW { longest_step } else { 1 })
    }
}

/// How many of the longest windows each literal has that is long enough for such.
fn longest_step<'a>(mut literals: impl Iterator<Item = &'a str>) -> usize {
    let short = |literal: &str| Kind::of(literal).length == WINDOW && literal.len() < WINDOW + 3;
    if literals.any(short) { 2 } else { 4 }
}

/// Where the windows of a literal begin that are thought to be the rarest in texts; `each` is for working in.
fn rarest(literal: &[u8], length: usize, step: usize, commonness: &Commonness, each: &mut Vec<i32>) -> usize {
    each.clear();
    each.extend(literal.windows(length).map(|window| commonness.of(window)));
    let commonest = each.windows(step).map(|windows| windows.iter().max());
    commonest.enumerate().min_by_key(|(_, most)| *most).map_or(0, |(first, _)| first)
}

/// Up to four bytes as a number.
fn window(bytes: &[u8]) -> u32 {
    bytes.iter().rev().fold(0, |window, byte| window << 8 | u32::from(*byte))
}

impl Group {
    fn build(length: usize, step: usize, unsorted: &[Entry]) -> Self {
        let shift = 64 - unsorted.len().next_power_of_two().ilog2().max(1);
        let mut buckets = vec![0; (1 << (64 - shift)) + 1];
        for entry in unsorted {
            buckets[bucket(hash(entry.window), shift) + 1] += 1;
        }
        for i in 1..buckets.len() {
            buckets[i] += buckets[i - 1];
        }
        let mut next = buckets.clone();
        let mut entries = unsorted.to_vec();
        for entry in unsorted {
            let at = &mut next[bucket(hash(entry.window), shift)];
            entries[*at as usize] = *entry;
            *at += 1;
        }
        let hashes = || entries.iter().map(|entry| hash(entry.window));
        let filter = match entries.len() {
            0..=256 => Filter::Few(Box::new(bytes(hashes()))),
            257..=1024 => Filter::Some(Box::new(bytes(hashes()))),
            _ => Filter::Many(Box::new(bits(hashes()))),
        };
        Self { length, step, filter, shift, buckets, entries }
    }

    fn scan(&self, literals: &[u8], padded: &[u8], len: usize, hit: &mut impl FnMut(u32)) {
        let mut check = |at, window| self.check(literals, &padded[..len], at, window, hit);
        match &self.filter {
            Filter::Few(bytes) => self.sift(|hash| bytes[part::<4096>(hash)], padded, len, &mut check),
            Filter::Some(bytes) => self.sift(|hash| bytes[part::<16384>(hash)], padded, len, &mut check),
            Filter::Many(words) => self.sift(|hash| bit(words, hash), padded, len, &mut check),
        }
    }

    fn sift(&self, maybe: impl Fn(u64) -> u8, padded: &[u8], len: usize, check: &mut impl FnMut(usize, u32)) {
        match (self.length, self.step) {
            (WINDOW, 4) => sift::<4, 4>(maybe, padded, len, check),
            (WINDOW, 2) => sift::<4, 2>(maybe, padded, len, check),
            (3, _) => sift::<3, 1>(maybe, padded, len, check),
            (2, _) => sift::<2, 1>(maybe, padded, len, check),
            _ => sift::<1, 1>(maybe, padded, len, check),
        }
    }

    /// Compares the literals that have this window with the text around it.
    fn check(&self, literals: &[u8], text: &[u8], at: usize, window: u32, hit: &mut impl FnMut(u32)) {
        let bucket = bucket(hash(window), self.shift);
        let entries = self.buckets[bucket] as usize..self.buckets[bucket + 1] as usize;
        for entry in &self.entries[entries] {
            if entry.window != window {
                continue;
            }
            let Some(start) = at.checked_sub(entry.offset as usize) else { continue };
            let Some(held) = text.get(start..start + entry.len as usize) else { continue };
            if entry.may_be(held) && *held == literals[entry.start as usize..][..held.len()] {
                hit(entry.bit);
            }
        }
    }
}

/// Spreads a window over 64 bits (Fibonacci hashing); the upper ones depend on all of it.
fn hash(window: u32) -> u64 {
    u64::from(window).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// Bits of a hash that the filter does not use come first, so that a bucket tells more.
fn bucket(hash: u64, shift: u32) -> usize {
    (hash << 18 >> shift) as usize
}

/// As many upper bits of the hash as tell `N` values apart.
#[inline]
fn part<const N: usize>(hash: u64) -> usize {
    (hash >> (64 - N.ilog2())) as usize
}

fn bytes<const N: usize>(hashes: impl Iterator<Item = u64>) -> [u8; N] {
    let mut bytes = [0; N];
    hashes.for_each(|hash| bytes[part::<N>(hash)] = 1);
    bytes
}

fn bits<const N: usize>(hashes: impl Iterator<Item = u64>) -> [u64; N] {
    let mut words = [0; N];
    hashes.for_each(|hash| words[part::<N>(hash)] |= 1 << place(hash, N));
    words
}

/// The place of a hash in its word of `N`: the six bits below those that tell the word.
#[inline]
fn place(hash: u64, words: usize) -> u64 {
    hash >> (58 - words.ilog2()) & 63
}

#[inline]
fn bit<const N: usize>(words: &[u64; N], hash: u64) -> u8 {
    (words[part::<N>(hash)] >> place(hash, N)) as u8
}

/// Calls `check` with every place of the text, a multiple of `STEP`, where an entry's window of `LENGTH` bytes may
/// stand: where the lowest bit of `maybe` is set.
#[inline]
fn sift<const LENGTH: usize, const STEP: usize>(
    maybe: impl Fn(u64) -> u8,
    padded: &[u8],
    len: usize,
    check: &mut impl FnMut(usize, u32),
) {
    let window = |block: &[u8; PADDING], i: usize| {
        let window = u32::from_le_bytes([block[i], block[i + 1], block[i + 2], block[i + 3]]);
        window & (u32::MAX >> (8 * (WINDOW - LENGTH)))
    };
    let mut base = 0;
    while base < len
        && let Some(block) = padded[base..].first_chunk::<PADDING>()
    {
        let mut any = 0;
        for i in (0..BLOCK).step_by(STEP) {
            any |= maybe(hash(window(block, i)));
        }
        if any & 1 != 0 {
            for i in (0..BLOCK).step_by(STEP) {
                let window = window(block, i);
                if maybe(hash(window)) & 1 != 0 {
                    check(base + i, window);
                }
            }
        }
        base += BLOCK;
    }
}
