//! What was seen in one event: bits, and the rules that they nominate. Clearing it costs as much as was seen.

use crate::compiled::class::Class;

/// Bits and candidates of one event.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// One bit per literal of the class.
    bits: Vec<u64>,
    /// The words of `bits` that are not zero.
    touched: Vec<u32>,
    /// One bit per rule of the class: those in `candidates`.
    marked: Vec<u64>,
    /// The rules whose condition is to be looked at.
    candidates: Vec<u32>,
}

impl Seen {
    /// Forgets the last event and makes room for one of this class.
    pub fn begin(&mut self, class: &Class, always: &[u32]) {
        for word in self.touched.drain(..) {
            self.bits[word as usize] = 0;
        }
        for rule in self.candidates.drain(..) {
            self.marked[rule as usize / 64] = 0;
        }
        // Room is only ever added, so that events of several classes can take turns.
        if self.bits.len() * 64 < class.bits {
            self.bits.resize(class.bits.div_ceil(64), 0);
        }
        if self.marked.len() * 64 < class.rules.len() {
            self.marked.resize(class.rules.len().div_ceil(64), 0);
        }
        self.nominate_all(always);
    }

    /// Makes candidates of rules.
    pub fn nominate_all(&mut self, rules: &[u32]) {
        for rule in rules {
            let (word, bit) = place(*rule);
            if self.marked[word] & bit == 0 {
                self.marked[word] |= bit;
                self.candidates.push(*rule);
            }
        }
    }

    /// Sets a bit and nominates the rules of which it is a witness.
    pub fn set(&mut self, class: &Class, bit: u32) {
        let (word, mask) = place(bit);
        let before = self.bits[word];
        if before & mask != 0 {
            return;
        }
        self.bits[word] = before | mask;
        if before == 0 {
            self.touched.push(word as u32);
        }
        self.nominate_all(class.witnessed(bit));
    }

    /// Whether the bit is set.
    pub fn get(&self, bit: u32) -> bool {
        let (word, mask) = place(bit);
        self.bits[word] & mask != 0
    }

    /// Whether one of these bits is set.
    pub fn any(&self, bits: &[(u32, u64)]) -> bool {
        bits.iter().any(|(word, wanted)| self.bits[*word as usize] & wanted != 0)
    }

    /// Puts the candidates in ascending order and says how many there are.
    pub fn sort(&mut self) -> usize {
        self.candidates.sort_unstable();
        self.candidates.len()
    }

    /// The candidate at a place of that order.
    pub fn candidate(&self, at: usize) -> u32 {
        self.candidates[at]
    }
}

fn place(index: u32) -> (usize, u64) {
    (index as usize / 64, 1 << (index % 64))
}
