//! Which bit of a rule is seen least often: the one that has to be seen before the rule is looked at.

use crate::ast::Part;

/// Bits of which one is set whenever an expression holds.
#[derive(Debug)]
pub(crate) struct Witness {
    pub bits: Vec<u32>,
    /// About how many of a thousand events set one of them; only good for comparing.
    often: f32,
}

impl Witness {
    /// For an expression that holds if one of several does; `None` if there are none.
    pub fn any(each: impl Iterator<Item = Self>) -> Option<Self> {
        each.reduce(|mut all, one| {
            all.often += one.often;
            all.bits.extend(one.bits);
            all
        })
    }

    /// For an expression that holds only if all of several do.
    pub fn rarest(each: impl Iterator<Item = Self>) -> Option<Self> {
        each.min_by(|a, b| a.often.total_cmp(&b.often).then(a.bits.len().cmp(&b.bits.len())))
    }
}

/// How often each bit is thought to be set.
#[derive(Default)]
pub(crate) struct Scores {
    often: Vec<f32>,
    /// In how many places of the rules the bit is asked for.
    uses: Vec<u32>,
}

impl Scores {
    /// How many bits there are.
    pub fn len(&self) -> usize {
        self.often.len()
    }

    fn push(&mut self, often: f32) -> u32 {
        self.often.push(often);
        self.uses.push(0);
        self.often.len() as u32 - 1
    }

    /// A new bit for a field that is there.
    pub fn has(&mut self) -> u32 {
        self.push(1000.0)
    }

    /// A new bit for a field that is missing or null.
    pub fn null(&mut self) -> u32 {
        self.push(500.0)
    }

    /// A new bit for a literal: long ones are rarer, numbers (event ids) and words that are on every computer common.
    pub fn literal(&mut self, place: Part, literal: &str) -> u32 {
        let length = literal.chars().count().min(24) as f32;
        let place = match place {
            Part::Whole => 3.0,
            Part::Start | Part::End => 2.0,
            Part::Anywhere => 0.0,
        };
        let rarity = if is_everywhere(literal) {
            1.0
        } else if literal.bytes().all(|b| b.is_ascii_digit()) {
            2.0 + length / 4.0
        } else {
            3.0 + length + place
        };
        self.push(1000.0 * (-rarity / 2.0).exp2())
    }

    /// Counts one use of a bit: what many rules ask for is a program that many events are of.
    pub fn used(&mut self, bit: u32) {
        self.uses[bit as usize] += 1;
    }

    /// The witness of one bit.
    pub fn witness(&self, bit: u32) -> Witness {
        let often = self.often[bit as usize];
        let uses = self.uses[bit as usize].max(1) as f32;
        // No literal is as common as the field that it stands in.
        Witness { bits: vec![bit], often: often.max((often * uses).min(900.0)) }
    }
}

/// Whether a literal holds nothing but words of paths and names that every Windows computer has.
fn is_everywhere(literal: &str) -> bool {
    const WORDS: [&str; 12] = [
        "c",
        "corporation",
        "exe",
        "files",
        "microsoft",
        "operating",
        "program",
        "system",
        "system32",
        "users",
        "windows",
        "x86",
    ];
    literal.split(|c: char| !c.is_alphanumeric()).all(|word| word.is_empty() || WORDS.contains(&word))
}
