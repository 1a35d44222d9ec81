//! The events that correlations may name, kept until it is known which they do.
//!
//! A scan may hold more of them than memory should: beyond a few megabytes they lie in a temporary file that has no
//! name and goes with the process.

use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};

use serde::{Deserialize, Serialize};
use tempfile::{SpooledTempFile, spooled_tempfile};
use wardline_event::Timestamp;

/// Bytes that stay in memory.
const IN_MEMORY: usize = 8 << 20;
/// Every so many events the place is remembered.
const STRIDE: u64 = 256;

/// An event of a correlation.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Event {
    /// The log's index.
    pub log: usize,
    /// The record's number in it.
    pub record_id: u64,
    /// When.
    pub time: Timestamp,
    /// Where; empty if the record does not say.
    pub computer: Box<str>,
    /// What happened, in one line.
    pub what: Box<str>,
    /// The rules that it matched.
    pub rules: Vec<u32>,
}

/// Events by their references, which only ever grow.
pub struct Events {
    file: SpooledTempFile,
    length: u64,
    count: u64,
    places: Vec<(u64, u64)>,
}

impl Default for Events {
    fn default() -> Self {
        Self { file: spooled_tempfile(IN_MEMORY), length: 0, count: 0, places: Vec::new() }
    }
}

impl Events {
    /// Adds an event with a reference that is larger than those before.
    ///
    /// # Errors
    /// The temporary file cannot be written.
    pub fn push(&mut self, reference: u64, event: &Event) -> io::Result<()> {
        if self.count.is_multiple_of(STRIDE) {
            self.places.push((reference, self.length));
        }
        self.count += 1;
        let mut line = serde_json::to_vec(&(reference, event))?;
        line.push(b'\n');
        self.length += line.len() as u64;
        self.file.write_all(&line)
    }

    /// The events with these references; one that is not there is left out.
    ///
    /// # Errors
    /// The temporary file cannot be read.
    pub fn get(&mut self, references: &[u64]) -> io::Result<Vec<Event>> {
        let mut out = Vec::with_capacity(references.len());
        for reference in references {
            let block = self.places.partition_point(|(first, _)| first <= reference);
            let Some((_, from)) = block.checked_sub(1).map(|at| self.places[at]) else { continue };
            let to = self.places.get(block).map_or(self.length, |(_, at)| *at);
            self.file.seek(SeekFrom::Start(from))?;
            let lines = BufReader::new((&mut self.file).take(to - from)).lines();
            for line in lines {
                let (found, event): (u64, Event) = serde_json::from_str(&line?)?;
                if found == *reference {
                    out.push(event);
                    break;
                }
            }
        }
        Ok(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_found_again() {
        let mut events = Events::default();
        let event = |n: u64| Event {
            log: 3,
            record_id: n,
            time: Timestamp(n as i64),
            computer: "a\nb".into(),
            what: "x".repeat(20).into(),
            rules: vec![1, 2],
        };
        for n in 0..2000 {
            events.push(n * 10, &event(n)).unwrap();
        }
        let found = events.get(&[19_990, 0, 2560, 2570, 5, 99_999]).unwrap();
        assert_eq!(found.iter().map(|e| e.record_id).collect::<Vec<_>>(), [1999, 0, 256, 257]);
        assert_eq!(&*found[0].computer, "a\nb");
    }
}
