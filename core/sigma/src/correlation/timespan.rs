//! `timespan`: a whole number and a unit.

use std::fmt;

use crate::error::{Fault, Pos};

/// A length of time as Sigma writes it: `90m`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Timespan {
    seconds: u64,
}

/// Units and their seconds. A month is a twelfth of a year, a year 365.2425 days, as the reference implementation
/// has them.
const UNITS: [(char, u64); 7] =
    [('y', 31_556_952), ('M', 2_629_746), ('w', 604_800), ('d', 86_400), ('h', 3600), ('m', 60), ('s', 1)];

/// The longest timespan, in seconds: ten years. Past that a correlation is a question for an archive.
const LONGEST: u64 = 10 * 31_556_952;

impl Timespan {
    /// A timespan of so many seconds; `None` for zero and for more than ten years.
    pub fn from_seconds(seconds: u64) -> Option<Self> {
        (1..=LONGEST).contains(&seconds).then_some(Self { seconds })
    }

    /// Its length in seconds.
    pub fn seconds(self) -> u64 {
        self.seconds
    }

    /// Its length in milliseconds.
    pub(crate) fn millis(self) -> i64 {
        i64::try_from(self.seconds).unwrap_or(i64::MAX).saturating_mul(1000)
    }

    /// Reads `5m`. `at` is where the text stands.
    pub(crate) fn parse(text: &str, at: Pos) -> Result<Self, Fault> {
        let wrong = || {
            Fault::new(
                "S011",
                at,
                format!("`{text}` is not a timespan"),
                "write a whole number above zero and one of s, m, h, d, w, M (months), y: `5m`",
            )
        };
        let unit = text.chars().last().ok_or_else(wrong)?;
        let (_, seconds) = UNITS.into_iter().find(|(u, _)| *u == unit).ok_or_else(wrong)?;
        let digits = &text[..text.len() - unit.len_utf8()];
        if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
            return Err(wrong());
        }
        let total = digits.parse::<u64>().ok().and_then(|n| n.checked_mul(seconds));
        if total == Some(0) {
            return Err(wrong());
        }
        total.and_then(Self::from_seconds).ok_or_else(|| {
            Fault::new("S002", at, format!("the timespan `{text}` is longer than ten years"), "shorten it")
        })
    }
}

impl fmt::Display for Timespan {
    /// In the largest unit that divides it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (unit, seconds) =
            UNITS.into_iter().find(|(_, s)| self.seconds.is_multiple_of(*s)).unwrap_or(('s', 1));
        write!(f, "{}{unit}", self.seconds / seconds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_every_unit_and_prints_it_again() {
        let seconds = |text| Timespan::parse(text, Pos::default()).map(Timespan::seconds).map_err(|f| f.code);
        for (text, expected) in [
            ("30s", 30),
            ("90m", 5400),
            ("1h", 3600),
            ("2d", 172_800),
            ("3w", 1_814_400),
            ("1M", 2_629_746),
            ("1y", 31_556_952),
        ] {
            assert_eq!(seconds(text), Ok(expected));
            assert_eq!(Timespan::from_seconds(expected).unwrap().to_string(), text);
        }
        for text in ["", "5", "m", "0m", "-1m", "+1m", "1.5h", "5 m", "5min", "1H", "５m", "1ü"] {
            assert_eq!(seconds(text), Err("S011"), "{text}");
        }
        for text in ["11y", "99999999999999999999s", "18446744073709551615w"] {
            assert_eq!(seconds(text), Err("S002"), "{text}");
        }
    }
}
