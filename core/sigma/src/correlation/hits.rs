//! Events of many files, brought into the order of time.

use crate::correlation::capture::{Captured, FARTHEST, Hit};
use crate::correlation::state::{CorrelationState, Match};

/// A bounded collection of [`Hit`]s, for files that are read in parallel and in any order.
///
/// Each thread captures hits and puts them here (a collection for each thread, joined by [`Hits::append`], or one
/// behind a lock); in the end they are fed in the order of time:
///
/// ```
/// use wardline_event::{LogRecord, Timestamp};
/// use wardline_sigma::{Collection, CorrelationSettings, CorrelationState, Correlations, Hits};
///
/// let collection = Collection::parse(
///     "
/// title: Failed login
/// name: failed_login
/// logsource: {product: windows, service: security}
/// detection: {selection: {EventID: 4625}, condition: selection}
/// ---
/// title: Many failed logins
/// level: high
/// correlation:
///   type: event_count
///   rules: failed_login
///   group-by: Computer
///   timespan: 1m
///   condition: {gte: 3}
/// ",
///     "logins.yml",
/// )?;
/// let (correlations, faults) = Correlations::link(&collection.rules, collection.correlations);
/// assert!(faults.is_empty());
///
/// // What each reading thread does with an event that matched rules (here: rule 0).
/// let mut hits = Hits::with_limit(16 << 20);
/// let event = LogRecord::default();
/// for (reference, second) in [(0, 30), (1, 5), (2, 10)] {
///     if let Some(hit) = correlations.capture(&[0], &event, Timestamp(second * 1000), reference) {
///         assert!(hits.push(hit).is_ok(), "full: write the hits out, sorted, and merge the runs in the end");
///     }
/// }
///
/// // When all files are read.
/// let mut state = CorrelationState::new(correlations, CorrelationSettings::default());
/// let mut found = Vec::new();
/// hits.feed_to(&mut state, &mut |m| found.push(m));
/// state.finish(&mut |m| found.push(m));
/// assert_eq!(found.len(), 1);
/// assert_eq!(found[0].events, [1, 2, 0]);
/// # Ok::<(), wardline_sigma::RuleError>(())
/// ```
///
/// Should the hits of a very large input not fit, [`Hits::take_sorted`] gives a sorted run that can be written to a
/// file with [`Hit::write`] and read back with [`Hit::read`]; merging the runs by [`Hit::time`] and
/// [`Hit::reference`] and feeding the result is the same as feeding all at once.
#[derive(Clone, Debug, Default)]
pub struct Hits {
    held: Vec<Hit>,
    bytes: usize,
    limit: usize,
}

impl Hits {
    /// An empty collection that may take so many bytes.
    pub fn with_limit(bytes: usize) -> Self {
        Self { held: Vec::new(), bytes: 0, limit: bytes }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.held.len()
    }

    /// True if there is none.
    pub fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    /// Adds one.
    ///
    /// # Errors
    /// Gives it back if there is no room for it.
    pub fn push(&mut self, hit: Hit) -> Result<(), Hit> {
        let bytes = hit.bytes();
        if self.bytes + bytes > self.limit {
            return Err(hit);
        }
        self.bytes += bytes;
        self.held.push(hit);
        Ok(())
    }

    /// Takes over all of another collection, and its limit on top.
    pub fn append(&mut self, mut other: Self) {
        self.bytes += other.bytes;
        self.limit = self.limit.saturating_add(other.limit);
        self.held.append(&mut other.held);
    }

    /// Empties it; the hits come by time, then reference.
    pub fn take_sorted(&mut self) -> Vec<Hit> {
        self.bytes = 0;
        let mut hits = std::mem::take(&mut self.held);
        hits.sort_by_key(|hit| (hit.time, hit.reference));
        hits
    }

    /// Feeds all in the order of time.
    pub fn feed_to(mut self, state: &mut CorrelationState, on_match: &mut dyn FnMut(Match)) {
        for hit in self.take_sorted() {
            state.feed(hit, on_match);
        }
    }
}

impl Hit {
    /// Appends it as bytes, for a temporary file: numbers in little-endian order, each text after its length.
    pub fn write(&self, out: &mut Vec<u8>) {
        let count = |n: usize, out: &mut Vec<u8>| out.extend_from_slice(&(n as u32).to_le_bytes());
        let text = |text: &str, out: &mut Vec<u8>| {
            count(text.len(), out);
            out.extend_from_slice(text.as_bytes());
        };
        out.extend_from_slice(&self.time.to_le_bytes());
        out.extend_from_slice(&self.reference.to_le_bytes());
        count(self.rules.len(), out);
        for rule in &self.rules {
            out.extend_from_slice(&rule.to_le_bytes());
        }
        count(self.values.len(), out);
        for (field, value) in &self.values {
            out.extend_from_slice(&field.to_le_bytes());
            match value {
                Captured::One(one) => {
                    out.push(1);
                    text(one, out);
                }
                Captured::Many(items) => {
                    out.push(2);
                    count(items.len(), out);
                    for item in items {
                        text(item, out);
                    }
                }
            }
        }
    }

    /// Reads one from the front of the bytes, which then begin after it; `None` if they end too early or are no hit.
    pub fn read(bytes: &mut &[u8]) -> Option<Self> {
        fn eight(bytes: &mut &[u8]) -> Option<[u8; 8]> {
            let (head, rest) = bytes.split_first_chunk()?;
            *bytes = rest;
            Some(*head)
        }
        fn four(bytes: &mut &[u8]) -> Option<u32> {
            let (head, rest) = bytes.split_first_chunk()?;
            *bytes = rest;
            Some(u32::from_le_bytes(*head))
        }
        fn text(bytes: &mut &[u8]) -> Option<Box<str>> {
            let length = four(bytes)? as usize;
            let (text, rest) = bytes.split_at_checked(length)?;
            *bytes = rest;
            std::str::from_utf8(text).ok().map(Into::into)
        }
        let time = i64::from_le_bytes(eight(bytes)?).clamp(-FARTHEST, FARTHEST);
        let reference = u64::from_le_bytes(eight(bytes)?);
        let rules = (0..four(bytes)?).map(|_| four(bytes)).collect::<Option<Box<[u32]>>>()?;
        let mut values: Vec<(u32, Captured)> = Vec::new();
        for _ in 0..four(bytes)? {
            let field = four(bytes)?;
            let (mark, rest) = bytes.split_first()?;
            *bytes = rest;
            let value = match mark {
                1 => Captured::One(text(bytes)?),
                2 => Captured::Many((0..four(bytes)?).map(|_| text(bytes)).collect::<Option<_>>()?),
                _ => return None,
            };
            if values.last().is_some_and(|(last, _)| *last >= field) {
                return None;
            }
            values.push((field, value));
        }
        Some(Self { time, reference, rules, values: values.into() })
    }
}
