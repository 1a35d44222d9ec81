//! A sorted bag of numbers, for percentiles of a sliding window.

/// Numbers in ascending order, in chunks, so that insertion and removal move few of them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Bag {
    chunks: Vec<Vec<f64>>,
    len: usize,
}

/// A chunk is split in two when it has this many numbers.
const CHUNK: usize = 512;

impl Bag {
    pub fn len(&self) -> usize {
        self.len
    }

    pub fn insert(&mut self, value: f64) {
        self.len += 1;
        let Some(last) = self.chunks.len().checked_sub(1) else {
            self.chunks.push(vec![value]);
            return;
        };
        let index = self.chunk_of(value).min(last);
        let chunk = &mut self.chunks[index];
        chunk.insert(chunk.partition_point(|v| v.total_cmp(&value).is_lt()), value);
        if chunk.len() >= CHUNK {
            let upper = chunk.split_off(CHUNK / 2);
            self.chunks.insert(index + 1, upper);
        }
    }

    /// Removes one of the numbers equal to this one.
    pub fn remove(&mut self, value: f64) {
        let index = self.chunk_of(value);
        let Some(chunk) = self.chunks.get_mut(index) else { return };
        let at = chunk.partition_point(|v| v.total_cmp(&value).is_lt());
        if chunk.get(at).is_some_and(|v| v.total_cmp(&value).is_eq()) {
            chunk.remove(at);
            self.len -= 1;
            if chunk.is_empty() {
                self.chunks.remove(index);
            }
        }
    }

    /// The first chunk that does not end below the value.
    fn chunk_of(&self, value: f64) -> usize {
        self.chunks.partition_point(|chunk| chunk.last().is_some_and(|last| last.total_cmp(&value).is_lt()))
    }

    fn nth(&self, mut n: usize) -> Option<f64> {
        for chunk in &self.chunks {
            match chunk.get(n) {
                Some(value) => return Some(*value),
                None => n -= chunk.len(),
            }
        }
        None
    }

    /// The percentile (0 to 100), interpolated linearly between the two nearest numbers. `None` if there are none.
    pub fn percentile(&self, percent: f64) -> Option<f64> {
        let rank = percent / 100.0 * self.len.checked_sub(1)? as f64;
        let (low, high) = (self.nth(rank.floor() as usize)?, self.nth(rank.ceil() as usize)?);
        Some(low + (high - low) * rank.fract())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::float_cmp, reason = "numbers come out as they went in")]

    use super::*;
    use proptest::prelude::*;

    #[test]
    fn interpolates_between_neighbours() {
        let mut bag = Bag::default();
        assert_eq!(bag.percentile(50.0), None);
        for value in [40.0, 10.0, 30.0, 20.0] {
            bag.insert(value);
        }
        let percentiles = [0.0, 25.0, 50.0, 95.0, 100.0].map(|p| bag.percentile(p).unwrap());
        assert_eq!(percentiles, [10.0, 17.5, 25.0, 38.5, 40.0]);
    }

    proptest! {
        #[test]
        fn equals_a_sorted_list(steps in prop::collection::vec((-50_i32..50, any::<bool>()), 0..3000)) {
            let mut bag = Bag::default();
            let mut list: Vec<f64> = Vec::new();
            for (value, remove) in steps {
                let value = f64::from(value);
                if remove {
                    bag.remove(value);
                    if let Some(at) = list.iter().position(|v| *v == value) {
                        list.swap_remove(at);
                    }
                } else {
                    bag.insert(value);
                    list.push(value);
                }
            }
            list.sort_by(f64::total_cmp);
            prop_assert_eq!(bag.len(), list.len());
            for (n, value) in list.iter().enumerate() {
                prop_assert_eq!(bag.nth(n), Some(*value));
            }
        }
    }
}
