//! Numeric conditions: `gte: 100`.

use std::fmt;

/// How a count or metric is compared.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Operator {
    /// `gt`
    Greater,
    /// `gte`
    GreaterOrEqual,
    /// `lt`
    Less,
    /// `lte`
    LessOrEqual,
    /// `eq`
    Equal,
    /// `neq`
    NotEqual,
}

impl Operator {
    const ALL: [(&'static str, &'static str, Self); 6] = [
        ("gt", ">", Self::Greater),
        ("gte", "≥", Self::GreaterOrEqual),
        ("lt", "<", Self::Less),
        ("lte", "≤", Self::LessOrEqual),
        ("eq", "=", Self::Equal),
        ("neq", "≠", Self::NotEqual),
    ];

    /// Reads `gte`.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|(w, _, _)| *w == word).map(|(_, _, op)| op)
    }

    fn sign(self) -> &'static str {
        Self::ALL.into_iter().find(|(_, _, op)| *op == self).map_or("", |(_, sign, _)| sign)
    }
}

/// One bound of a condition. Several must all hold.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Threshold {
    /// How to compare.
    pub operator: Operator,
    /// What to compare with; finite.
    pub bound: f64,
}

impl Threshold {
    /// Whether the value meets it.
    #[allow(clippy::float_cmp, reason = "`eq` asks for equality")]
    pub fn holds(self, value: f64) -> bool {
        match self.operator {
            Operator::Greater => value > self.bound,
            Operator::GreaterOrEqual => value >= self.bound,
            Operator::Less => value < self.bound,
            Operator::LessOrEqual => value <= self.bound,
            Operator::Equal => value == self.bound,
            Operator::NotEqual => value != self.bound,
        }
    }

    /// Whether a value that meets it may meet it no longer when it grows.
    pub(crate) fn limits_above(self) -> bool {
        !matches!(self.operator, Operator::Greater | Operator::GreaterOrEqual)
    }
}

impl fmt::Display for Threshold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.operator.sign(), self.bound)
    }
}

/// Whether any value meets all thresholds: a whole one from `least` on for a count, any for a metric.
pub(crate) fn can_hold(thresholds: &[Threshold], count_from: Option<f64>) -> bool {
    let mut candidates = vec![0.0];
    candidates.extend(count_from);
    for threshold in thresholds {
        let (below, above) = (threshold.bound.floor(), threshold.bound.ceil());
        candidates.extend([below - 1.0, below, threshold.bound, above, above + 1.0]);
        candidates.extend(thresholds.iter().map(|other| f64::midpoint(threshold.bound, other.bound)));
    }
    candidates.into_iter().any(|value| {
        count_from.is_none_or(|least| value >= least && value.fract() == 0.0)
            && thresholds.iter().all(|t| t.holds(value))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contradictions_are_found() {
        let all = |conditions: &[(&str, f64)]| -> Vec<Threshold> {
            conditions
                .iter()
                .map(|(op, bound)| Threshold { operator: Operator::parse(op).unwrap(), bound: *bound })
                .collect()
        };
        assert!(can_hold(&all(&[("gt", 100.0), ("lte", 200.0)]), Some(1.0)));
        assert!(can_hold(&all(&[("gt", 5.0), ("lt", 7.0)]), Some(1.0)));
        assert!(!can_hold(&all(&[("gt", 5.0), ("lt", 6.0)]), Some(1.0)), "no whole number lies between");
        assert!(can_hold(&all(&[("gt", 5.0), ("lt", 6.0)]), None));
        assert!(!can_hold(&all(&[("gt", 6.0), ("lt", 5.0)]), None));
        assert!(!can_hold(&all(&[("eq", 0.0)]), Some(1.0)), "a window has an event");
        assert!(can_hold(&all(&[("eq", 0.0)]), Some(0.0)));
        assert!(!can_hold(&all(&[("lt", 1.0)]), Some(1.0)));
        assert!(can_hold(&all(&[("neq", 1.0)]), Some(1.0)));
        assert!(!can_hold(&all(&[("eq", 2.5)]), Some(1.0)));
        assert!(can_hold(&all(&[("gte", 1e17)]), Some(1.0)));
    }
}
