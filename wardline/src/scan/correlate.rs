//! Correlations over what was found: the files come in any order of time, so all is sorted before it is evaluated.
//!
//! What does not fit into memory is written to temporary files as sorted runs, which are merged in the end.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Seek, Write};
use std::mem;

use wardline_event::Timestamp;
use wardline_sigma::{
    CorrelationSettings, CorrelationState, CorrelationStats, Correlations, Hit, Hits, Match,
};

use super::events::{Event, Events};

/// Bytes of hits that are sorted in memory.
const RUN_BYTES: usize = 16 << 20;

/// A record that correlations want to know of.
pub struct Captured {
    /// What they compare of it.
    pub hit: Hit,
    /// What is shown of it.
    pub event: Event,
}

/// A correlation's match with its events.
pub struct Found {
    /// The match.
    pub found: Match,
    /// Its events, oldest first; of very many the last ones.
    pub events: Vec<Event>,
}

/// Everything that correlations wait for.
pub struct Correlating {
    correlations: Correlations,
    hits: Hits,
    runs: Vec<File>,
    events: Events,
}

impl Correlating {
    /// Nothing yet.
    pub fn new(correlations: Correlations) -> Self {
        Self { correlations, hits: Hits::with_limit(RUN_BYTES), runs: Vec::new(), events: Events::default() }
    }

    /// Adds a record; their references come in ascending order.
    ///
    /// # Errors
    /// A temporary file cannot be written.
    pub fn add(&mut self, captured: Captured) -> io::Result<()> {
        self.events.push(captured.hit.reference(), &captured.event)?;
        if let Err(hit) = self.hits.push(captured.hit) {
            self.runs.push(write_run(self.hits.take_sorted())?);
            // One that is larger than all the room there is goes by itself.
            if let Err(hit) = self.hits.push(hit) {
                self.runs.push(write_run(vec![hit])?);
            }
        }
        Ok(())
    }

    /// Evaluates the correlations; `on_match` gets the matches in the order of time.
    ///
    /// # Errors
    /// A temporary file cannot be read, or the first error of `on_match`.
    pub fn finish(
        mut self,
        on_match: &mut dyn FnMut(Found) -> io::Result<()>,
    ) -> io::Result<CorrelationStats> {
        let mut state = CorrelationState::new(self.correlations, CorrelationSettings::default());
        let mut matches = Vec::new();
        let events = &mut self.events;
        let mut report = |matches: &mut Vec<Match>| {
            matches.drain(..).try_for_each(|found| {
                let events = events.get(&found.events)?;
                on_match(Found { found, events })
            })
        };
        let mut last: Vec<Hit> = self.hits.take_sorted();
        last.reverse();
        let mut runs = self.runs.into_iter().map(Run::open).collect::<Vec<_>>();
        runs.push(Run { read: None, held: last });
        let mut heap = BinaryHeap::new();
        for (index, run) in runs.iter_mut().enumerate() {
            heap.extend(run.key()?.map(|(time, reference)| Reverse((time, reference, index))));
        }
        while let Some(Reverse((_, _, index))) = heap.pop() {
            if let Some(hit) = runs[index].held.pop() {
                state.feed(hit, &mut |found| matches.push(found));
                report(&mut matches)?;
            }
            heap.extend(runs[index].key()?.map(|(time, reference)| Reverse((time, reference, index))));
        }
        state.finish(&mut |found| matches.push(found));
        report(&mut matches)?;
        Ok(state.stats())
    }
}

fn write_run(hits: Vec<Hit>) -> io::Result<File> {
    let mut file = BufWriter::new(tempfile::tempfile()?);
    let mut bytes = Vec::new();
    for hit in hits {
        bytes.clear();
        hit.write(&mut bytes);
        file.write_all(&(bytes.len() as u32).to_le_bytes())?;
        file.write_all(&bytes)?;
    }
    let mut file = file.into_inner().map_err(io::IntoInnerError::into_error)?;
    file.rewind()?;
    Ok(file)
}

/// Hits in the order of time: those in `held`, the last one first, then those still to be read.
struct Run {
    read: Option<BufReader<File>>,
    held: Vec<Hit>,
}

impl Run {
    fn open(file: File) -> Self {
        Self { read: Some(BufReader::with_capacity(32 * 1024, file)), held: Vec::new() }
    }

    /// Time and reference of the next hit.
    fn key(&mut self) -> io::Result<Option<(Timestamp, u64)>> {
        if self.held.is_empty()
            && let Some(mut read) = mem::take(&mut self.read)
            && let Some(hit) = next_hit(&mut read)?
        {
            self.held.push(hit);
            self.read = Some(read);
        }
        Ok(self.held.last().map(|hit| (hit.time(), hit.reference())))
    }
}

fn next_hit(read: &mut impl Read) -> io::Result<Option<Hit>> {
    let mut length = [0; 4];
    match read.read_exact(&mut length) {
        Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        other => other?,
    }
    let mut bytes = vec![0; u32::from_le_bytes(length) as usize];
    read.read_exact(&mut bytes)?;
    Hit::read(&mut &*bytes)
        .map(Some)
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "a temporary file was changed"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use wardline_event::{LogRecord, LogSource};
    use wardline_sigma::Collection;

    const RULES: &str = "
title: Failed login
name: failed_login
logsource: {product: windows}
detection: {selection: {EventID: 4625}, condition: selection}
---
title: Many failed logins
level: high
correlation:
  type: event_count
  rules: failed_login
  group-by: Computer
  timespan: 1m
  condition: {gte: 3}
";

    #[test]
    fn what_lies_in_files_counts_like_what_lies_in_memory() {
        let parsed = Collection::parse(RULES, "logins.yml").unwrap();
        let (correlations, faults) = Correlations::link(&parsed.rules, parsed.correlations);
        assert!(faults.is_empty());
        let run = |limit: usize| {
            let mut correlating =
                Correlating { hits: Hits::with_limit(limit), ..Correlating::new(correlations.clone()) };
            for n in 0..2000u64 {
                let mut record = LogRecord::new(LogSource::new("windows", "", ""));
                record.set("Computer", format!("PC-{}", n % 7));
                // Out of order, as the records of several files are.
                let time = Timestamp((n as i64 * 7919 % 2000) * 4_000);
                let hit = correlations.capture(&[0], &record, time, n).unwrap();
                let event = Event {
                    log: 0,
                    record_id: n,
                    time,
                    computer: Box::default(),
                    what: Box::default(),
                    rules: vec![0],
                };
                correlating.add(Captured { hit, event }).unwrap();
            }
            let runs = correlating.runs.len();
            let mut found = Vec::new();
            correlating
                .finish(&mut |m| {
                    assert_eq!(m.events.len(), m.found.events.len());
                    assert!(m.events.iter().all(|e| e.time >= m.found.first && e.time <= m.found.last));
                    found.push((m.found.time, m.found.group, m.found.events));
                    Ok(())
                })
                .unwrap();
            (runs, found)
        };
        let (none, whole) = run(RUN_BYTES);
        let (many, merged) = run(5_000);
        assert!(none == 0 && many > 5, "{many} runs");
        assert!(whole.len() > 20, "{whole:?}");
        assert_eq!(whole, merged);
    }
}
