//! Which bit of a rule is seen least often: the one that has to be seen before the rule is looked at.

use crate::compiled::class::Expr;
use crate::language::ast::Part;

/// Bits and probes of which one is set, or holds, whenever an expression holds.
#[derive(Debug)]
pub(crate) struct Witness {
    pub bits: Vec<u32>,
    pub probes: Vec<Probe>,
    /// About how many of a thousand events set one of them; only good for comparing.
    often: f32,
}

/// An expression that looks at one field only. It is worked out when a value of the field comes that is not
/// remembered, and is a bit of that value from then on.
#[derive(Clone, Debug)]
pub(crate) struct Probe {
    pub field: u32,
    pub expr: Expr,
}

/// Working out a probe costs more than searching for any literal, so any literal is better.
const PROBED: f32 = 950.0;
/// The most for a witness without a probe.
const RARE: f32 = 949.0;

impl Witness {
    /// For an expression that holds if one of several does; `None` if there are none.
    pub fn any(each: impl Iterator<Item = Self>) -> Option<Self> {
        each.reduce(|mut all, one| {
            // Many literals are still better than a probe.
            let most = if all.is_common() || one.is_common() { f32::MAX } else { RARE };
            all.often = (all.often + one.often).min(most);
            all.bits.extend(one.bits);
            all.probes.extend(one.probes);
            all
        })
    }

    /// For an expression that holds only if all of several do.
    pub fn rarest(each: impl Iterator<Item = Self>) -> Option<Self> {
        let size = |witness: &Self| witness.bits.len() + witness.probes.len();
        each.min_by(|a, b| a.often.total_cmp(&b.often).then(size(a).cmp(&size(b))))
    }

    /// For an expression that looks at one field only; `null` is the bit for the field being missing.
    pub fn probe(field: u32, expr: Expr, null: u32) -> Self {
        let bits: Vec<u32> = if holds_without(&expr) { vec![null] } else { Vec::new() };
        Self { often: PROBED + bits.len() as f32, bits, probes: vec![Probe { field, expr }] }
    }

    /// Whether events without number would nominate the rule.
    pub fn is_common(&self) -> bool {
        self.often >= PROBED
    }
}

/// Whether an expression about one field holds if the field is missing.
fn holds_without(expr: &Expr) -> bool {
    match expr {
        Expr::And(parts) => parts.iter().all(holds_without),
        Expr::Or(parts) => parts.iter().any(holds_without),
        Expr::Not(part) => !holds_without(part),
        Expr::Null(_) => true,
        Expr::Has(_)
        | Expr::Bit(_)
        | Expr::Late(..)
        | Expr::Any(_)
        | Expr::LateAny(..)
        | Expr::Byte(..)
        | Expr::Slow(_) => false,
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

    /// A new bit for a probe.
    pub fn probe(&mut self) -> u32 {
        self.push(PROBED)
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
        Witness { bits: vec![bit], probes: Vec::new(), often: often.max((often * uses).min(900.0)) }
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
    // A path that goes up again is unusual, whatever it names.
    !literal.contains("..")
        && literal.split(|c: char| !c.is_alphanumeric()).all(|word| word.is_empty() || WORDS.contains(&word))
}
