//! Reads the files on all cores and hands the results over in the files' order.
//!
//! Workers take files in order, each with a short queue of its own; the caller empties the queues in that same
//! order. The first unfinished file is therefore always being worked on, nobody waits in a circle, and no more is
//! held than the queues of a few files: who is too far ahead waits.

use std::collections::BTreeSet;
use std::io;
use std::mem;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use wardline_event::{LogRecord, LogSource};
use wardline_sense::log::{Fault, Options, Pieces, ReadError, Workspace};
use wardline_sigma::{Correlations, RuleSet, Scratch};

use super::catalog::Catalog;
use super::collect::Input;
use super::correlate::Captured;
use super::events::Event;
use super::filter::RecordFilter;
use super::hit::{self, Hit};
use super::lines::{Format, Match};
use super::totals::{Outcome, Stats};

/// Messages that wait for one file.
const QUEUE: usize = 4;
/// Files that are begun or done and whose results have not been taken yet.
const AHEAD: usize = 64;
/// Bytes of lines in one message.
const BATCH_BYTES: usize = 64 * 1024;
/// Matches in one message.
const BATCH_HITS: usize = 128;

/// What to do.
pub struct Job<'a> {
    /// The rules.
    pub rules: &'a RuleSet,
    /// Correlations over their matches.
    pub correlations: &'a Correlations,
    /// What is reported of them.
    pub catalog: &'a Catalog,
    /// The files, in the order of the results.
    pub files: &'a [Input],
    /// Which records are looked at.
    pub records: &'a RecordFilter,
    /// The lines that are written for other programs.
    pub format: Option<Format>,
    /// The first match of each rule on each computer in each file keeps its fields.
    pub keep_fields: bool,
    /// Records are counted by log source.
    pub count_sources: bool,
    /// The log source of records that do not tell theirs.
    pub fallback: Option<&'a LogSource<'static>>,
    /// How many errors of one file are told; all are counted.
    pub errors_per_file: usize,
    /// Threads that read.
    pub threads: usize,
    /// Counts for the progress bar.
    pub progress: &'a Progress,
    /// Once set, no more is read, and what was found is handed over.
    pub stop: &'a AtomicBool,
}

/// How far the scan is, whichever thread does it.
#[derive(Default)]
pub struct Progress {
    bytes: Arc<AtomicU64>,
    records: AtomicU64,
}

impl Progress {
    /// Bytes read so far.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Records read so far.
    pub fn records(&self) -> u64 {
        self.records.load(Ordering::Relaxed)
    }
}

/// Some matches of a file.
#[derive(Default)]
pub struct Batch {
    /// The matches that are reported, in their order.
    pub hits: Vec<Hit>,
    /// Their lines, if lines are written.
    pub lines: String,
    /// Records for correlations, in their order.
    pub captured: Vec<Captured>,
}

/// A piece of a file's results.
pub enum Message {
    /// Matches.
    Matches(Batch),
    /// A line about what could not be read.
    Unreadable(String),
    /// The file is done.
    Done(Stats),
}

/// Files to take, and where to say that one was taken.
struct Next {
    file: usize,
    announce: Option<SyncSender<Receiver<Message>>>,
}

/// Runs the job; `each` gets the results with their file's index, in the order of the files, and `None` now and then
/// to show progress.
///
/// # Errors
/// The first error of `each`, which ends the work.
pub fn run(job: &Job<'_>, each: &mut dyn FnMut(usize, Option<Message>) -> io::Result<()>) -> io::Result<()> {
    let abandoned = AtomicBool::new(false);
    // The queue of a file is made when a worker takes it, and announced in order.
    let (announce, announced) = sync_channel::<Receiver<Message>>(AHEAD);
    let next = Mutex::new(Next { file: 0, announce: Some(announce) });
    thread::scope(|scope| {
        for _ in 0..job.threads.min(job.files.len()) {
            scope.spawn(|| {
                let mut scratch = job.rules.scratch();
                while let Some((file, queue)) = take(job, &next) {
                    File::new(job, file, &queue, &abandoned).scan(&mut scratch);
                }
            });
        }
        let result = (0..job.files.len()).try_for_each(|file| {
            let Ok(results) = announced.recv() else { return Ok(()) };
            loop {
                match results.recv_timeout(Duration::from_millis(100)) {
                    Ok(message) => each(file, Some(message))?,
                    Err(RecvTimeoutError::Timeout) => each(file, None)?,
                    Err(RecvTimeoutError::Disconnected) => break each(file, None),
                }
            }
        });
        abandoned.store(true, Ordering::Relaxed);
        // Whoever waits to announce or to hand over learns that nobody listens.
        drop(announced);
        result
    })
}

/// The next file, and where its results go.
fn take(job: &Job<'_>, next: &Mutex<Next>) -> Option<(usize, SyncSender<Message>)> {
    let mut next = next.lock().unwrap_or_else(PoisonError::into_inner);
    if job.stop.load(Ordering::Relaxed) {
        next.announce = None;
    }
    let file = next.file;
    job.files.get(file)?;
    let (queue, results) = sync_channel(QUEUE);
    next.announce.as_ref()?.send(results).ok()?;
    next.file += 1;
    Some((file, queue))
}

/// One file at work.
struct File<'a> {
    job: &'a Job<'a>,
    index: usize,
    input: &'a Input,
    queue: &'a SyncSender<Message>,
    abandoned: &'a AtomicBool,
    stats: Stats,
    batch: Batch,
    /// Groups that have their fields.
    kept: BTreeSet<(u32, Box<str>)>,
    matched: Vec<usize>,
}

/// Groups of one file that may keep their fields.
const MAX_KEPT: usize = 1000;

impl<'a> File<'a> {
    fn new(
        job: &'a Job<'a>,
        index: usize,
        queue: &'a SyncSender<Message>,
        abandoned: &'a AtomicBool,
    ) -> Self {
        let file = &job.files[index];
        Self {
            job,
            index,
            input: file,
            queue,
            abandoned,
            stats: Stats { bytes: file.bytes, ..Stats::default() },
            batch: Batch::default(),
            kept: BTreeSet::new(),
            matched: Vec::new(),
        }
    }

    fn scan(mut self, scratch: &mut Scratch) {
        let file = self.input;
        let options = Options { bytes_read: Arc::clone(&self.job.progress.bytes), ..Options::default() };
        let pieces = Pieces::open(&file.path, &options);
        let format = pieces.format();
        let mut workspace = Workspace::default();
        let mut each = |item: Result<&mut LogRecord, ReadError>| {
            match item {
                Ok(record) => self.record(record, scratch),
                // A folder may hold other files under such names.
                Err(e) if !file.named && matches!(e.what, Fault::UnknownFormat) => {
                    self.stats.outcome = Outcome::NotALog;
                }
                Err(e) => self.unreadable(&e),
            }
            if self.job.stop.load(Ordering::Relaxed) {
                self.stats.outcome = Outcome::Cut;
                return ControlFlow::Break(());
            }
            if self.abandoned.load(Ordering::Relaxed) {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        };
        for piece in pieces {
            if piece.read(&mut workspace, &mut each).is_break() {
                break;
            }
        }
        if format.is_none() && self.stats.outcome == Outcome::Read {
            self.stats.outcome = Outcome::Unreadable;
        }
        let told = self.stats.unreadable.min(self.job.errors_per_file as u64);
        if self.stats.unreadable > told {
            let more = self.stats.unreadable - told;
            self.send(Message::Unreadable(format!("{}: … and {more} more; -v shows all", file.shown)));
        }
        self.flush();
        let stats = mem::take(&mut self.stats);
        self.send(Message::Done(stats));
    }

    /// Matches one record, once for each category that it belongs to.
    fn record(&mut self, record: &mut LogRecord, scratch: &mut Scratch) {
        let also = record.also;
        self.stats.records += 1;
        self.job.progress.records.fetch_add(1, Ordering::Relaxed);
        if let Some(fallback) = self.job.fallback
            && record.source == LogSource::default()
        {
            record.source = fallback.clone();
        }
        if self.job.count_sources {
            *self.stats.sources.entry(record.source.clone()).or_default() += 1;
        }
        let wanted = self.job.records;
        if !wanted.wants_time(record.time)
            || wanted.asks_for_computers() && !wanted.wants_computer(&hit::computer(record))
        {
            self.stats.left_out += 1;
            return;
        }
        let mut matched = mem::take(&mut self.matched);
        self.job.rules.matches_in(&*record, scratch, &mut |rule| matched.push(rule));
        for category in also {
            let first = mem::replace(&mut record.source.category, (*category).into());
            self.job.rules.matches_in(&*record, scratch, &mut |rule| matched.push(rule));
            record.source.category = first;
        }
        if !also.is_empty() {
            // A rule that names no category sees the record each time.
            matched.sort_unstable();
            matched.dedup();
        }
        if !matched.is_empty() && !self.job.correlations.is_empty() {
            self.capture(&matched, record);
        }
        for rule in matched.drain(..) {
            self.matched(rule as u32, record);
        }
        self.matched = matched;
        let Batch { hits, lines, captured } = &self.batch;
        if lines.len() >= BATCH_BYTES || hits.len() + captured.len() >= BATCH_HITS {
            self.flush();
        }
    }

    /// Keeps what correlations want to know of a record. Without a time it has no place among others.
    fn capture(&mut self, matched: &[usize], record: &LogRecord) {
        let correlations = self.job.correlations;
        let Some(time) = record.time else {
            self.stats.uncorrelated += u64::from(matched.iter().any(|rule| correlations.wants(*rule)));
            return;
        };
        // Ascending in the order of the results; no file has 2^36 records.
        let reference = (self.index as u64) << 36 | self.stats.records;
        if let Some(hit) = correlations.capture(matched, record, time, reference) {
            let rules =
                matched.iter().filter(|rule| correlations.wants(**rule)).map(|rule| *rule as u32).collect();
            let Hit { record_id, computer, what, .. } = Hit::new(0, record);
            let event = Event { file: self.index, record_id, time, computer, what, rules };
            self.batch.captured.push(Captured { hit, event });
        }
    }

    fn matched(&mut self, rule: u32, record: &LogRecord) {
        let entry = self.job.catalog.get(rule);
        if !entry.reported {
            return;
        }
        self.stats.matched = true;
        let mut hit = Hit::new(rule, record);
        if self.job.keep_fields
            && self.kept.len() < MAX_KEPT
            && self.kept.insert((rule, hit.computer.clone()))
        {
            hit.fields = Some(hit::shown_fields(record));
        }
        if let Some(format) = self.job.format {
            let found = Match { rule: entry, file: &self.input.shown, hit: &hit, record };
            format.write(&mut self.batch.lines, &found);
        }
        self.batch.hits.push(hit);
    }

    fn unreadable(&mut self, e: &ReadError) {
        self.stats.unreadable += 1;
        if self.stats.unreadable <= self.job.errors_per_file as u64 {
            let mut text = e.to_string();
            let mut cause = std::error::Error::source(e);
            while let Some(next) = cause {
                text.push_str(": ");
                text.push_str(&next.to_string());
                cause = next.source();
            }
            self.send(Message::Unreadable(text));
        }
    }

    fn flush(&mut self) {
        if !self.batch.hits.is_empty() || !self.batch.captured.is_empty() {
            let batch = mem::take(&mut self.batch);
            self.send(Message::Matches(batch));
        }
    }

    /// Hands a message over; nobody listening means that the scan is being abandoned.
    fn send(&self, message: Message) {
        if self.queue.send(message).is_err() {
            self.abandoned.store(true, Ordering::Relaxed);
        }
    }
}
