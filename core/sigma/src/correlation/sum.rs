//! A sum that stays exact while values come and go.

/// A running sum of floats without rounding: the parts hold what one float cannot (Shewchuk's expansion), so that a
/// value can be taken out again and leaves nothing behind. The order of values does not change the result.
#[derive(Clone, Debug, Default)]
pub(crate) struct ExactSum {
    parts: Vec<f64>,
}

impl ExactSum {
    /// Adds a value; its magnitude must be far enough below the largest float that no sum overflows.
    pub fn add(&mut self, value: f64) {
        let mut x = value;
        let mut kept = 0;
        for i in 0..self.parts.len() {
            let mut y = self.parts[i];
            if x.abs() < y.abs() {
                std::mem::swap(&mut x, &mut y);
            }
            let high = x + y;
            let low = y - (high - x);
            if low != 0.0 {
                self.parts[kept] = low;
                kept += 1;
            }
            x = high;
        }
        self.parts.truncate(kept);
        if x != 0.0 {
            self.parts.push(x);
        }
    }

    /// Takes a value out again.
    pub fn remove(&mut self, value: f64) {
        self.add(-value);
    }

    /// The sum, rounded once.
    pub fn value(&self) -> f64 {
        let mut rest = self.parts.iter().rev().copied();
        let Some(mut high) = rest.next() else { return 0.0 };
        let mut low = 0.0;
        for part in rest.by_ref() {
            let before = high;
            high += part;
            low = part - (high - before);
            if low != 0.0 {
                break;
            }
        }
        // Half way between two floats, what is left decides.
        if let Some(next) = rest.next()
            && (low < 0.0) == (next < 0.0)
        {
            let twice = low * 2.0;
            let up = high + twice;
            #[allow(clippy::float_cmp, reason = "asks whether the step was exact")]
            if low != 0.0 && twice == up - high {
                return up;
            }
        }
        high
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::float_cmp, reason = "the sum is exact")]

    use super::*;
    use proptest::prelude::*;

    #[test]
    fn nothing_is_left_behind() {
        let mut sum = ExactSum::default();
        sum.add(1e280);
        sum.add(0.1);
        sum.add(0.2);
        sum.remove(1e280);
        assert_eq!(sum.value(), 0.1 + 0.2);
        sum.remove(0.1);
        sum.remove(0.2);
        assert_eq!((sum.value(), sum.parts.len()), (0.0, 0));
    }

    proptest! {
        /// Whole numbers add up as whole numbers do, and thousandths of them to the nearest float, in any order.
        #[test]
        fn equals_whole_number_arithmetic(values in prop::collection::vec(-1_000_000_000_000_i64..1_000_000_000_000, 0..50), out in 0_usize..50) {
            let mut sum = ExactSum::default();
            let mut expected = 0_i64;
            for (i, value) in values.iter().enumerate() {
                sum.add(*value as f64 / 1024.0);
                expected += value;
                if i % 3 == out % 3 {
                    sum.remove(*value as f64 / 1024.0);
                    expected -= value;
                }
            }
            prop_assert_eq!(sum.value(), expected as f64 / 1024.0);
        }
    }
}
