//! How common a short piece of text is thought to be, told from the rules' own literals.
//!
//! What rules look for is made of the same words, paths and separators as what events hold, so pairs of bytes that
//! are common in literals are taken to be common in events. That needs no sample of events, and it is the same
//! wherever the rules are compiled. A bad guess costs time only.

/// Counts of pairs of bytes.
#[derive(Debug)]
pub(crate) struct Commonness {
    /// Logarithms (base 2, in sixteenths) of how often byte `b` follows byte `a`, at `a << 8 | b`.
    pairs: Vec<u16>,
    /// The same for single bytes.
    bytes: [u16; 256],
}

impl Commonness {
    /// Learns from texts.
    pub fn learn<'a>(texts: impl Iterator<Item = &'a str>) -> Self {
        let mut pairs = vec![0u32; 1 << 16];
        let mut bytes = [0u32; 256];
        for text in texts {
            for [a, b] in text.as_bytes().array_windows() {
                pairs[usize::from(*a) << 8 | usize::from(*b)] += 1;
                bytes[usize::from(*a)] += 1;
            }
        }
        Self { pairs: pairs.into_iter().map(log).collect(), bytes: bytes.map(log) }
    }

    /// A number that is the greater, the commoner the bytes are: the logarithm of their probability as a chain of
    /// pairs, and a constant. Only good for comparing texts of one length.
    pub fn of(&self, bytes: &[u8]) -> i32 {
        let pairs = bytes.array_windows().map(|[a, b]| {
            i32::from(self.pairs[usize::from(*a) << 8 | usize::from(*b)])
                - i32::from(self.bytes[usize::from(*a)])
        });
        bytes.first().map_or(0, |first| i32::from(self.bytes[usize::from(*first)])) + pairs.sum::<i32>()
    }
}

/// The logarithm of a count and a half, with four binary places.
fn log(count: u32) -> u16 {
    let doubled = u64::from(count) * 2 + 1;
    let whole = doubled.ilog2();
    let places = (doubled << 4 >> whole) & 15;
    whole as u16 * 16 + places as u16
}
