//! Reads the files on all cores and hands the results over in the files' order.
//!
//! Workers take pieces of files in order, each with a short queue of its own; the caller empties the queues in that
//! same order. The first unfinished piece is therefore always being worked on, nobody waits in a circle, and no more
//! is held than the queues of a few pieces: who is too far ahead waits.

use std::collections::BTreeSet;
use std::io;
use std::mem;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use wardline_event::{LogRecord, LogSource};
use wardline_sense::log::{Fault, Options, Piece, Pieces, Place, ReadError, Workspace};
use wardline_sigma::sources::Sources;
use wardline_sigma::{Correlations, RuleSet, Scratch};

use super::catalog::Catalog;
use super::collect::Input;
use super::correlate::Captured;
use super::events::Event;
use super::filter::RecordFilter;
use super::hit::{self, Hit};
use super::lines::{Format, Match};
use super::totals::{Outcome, Stats};

/// Messages that wait for one piece.
const QUEUE: usize = 4;
/// Pieces that are begun or done and whose results have not been taken yet.
const AHEAD: usize = 32;
/// Records between two steps of the progress bar.
const SHOWN: u64 = 64;
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
    /// The first match of each rule on each computer in each piece keeps its fields.
    pub keep_fields: bool,
    /// Records are counted by log source.
    pub count_sources: bool,
    /// What records are told by.
    pub sources: &'a Arc<Sources>,
    /// Deleted records are looked for, too.
    pub recover: bool,
    /// The log source of records that do not tell theirs.
    pub fallback: Option<&'a LogSource<'static>>,
    /// How many errors of one piece are told; all are counted.
    pub errors_per_piece: usize,
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
    files: AtomicUsize,
}

impl Progress {
    /// Bytes read so far.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Files begun so far.
    pub fn files(&self) -> usize {
        self.files.load(Ordering::Relaxed)
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

/// What the caller is told, in the order of the files.
pub enum Message {
    /// A log is begun: its name. Logs are numbered from 0 in this order; an archive may hold several.
    Log(Arc<str>),
    /// Matches.
    Matches(Batch),
    /// A line about what could not be read.
    Unreadable(String),
    /// The counts of a piece.
    Done(Stats),
    /// The log was read to its end.
    End,
}

/// What waits to be handed over.
enum Announced {
    Log(Arc<str>),
    Piece(Receiver<Message>),
    End,
}

/// What is to be read next, and where to say what was taken.
struct Next<'a> {
    file: usize,
    open: Option<(&'a Input, Pieces<'static>)>,
    /// The path of the log that was announced last in this file.
    path: Option<Arc<Path>>,
    name: Arc<str>,
    logs: usize,
    pieces: u64,
    announce: Option<SyncSender<Announced>>,
}

/// A piece that a worker took.
struct Taken<'a> {
    input: &'a Input,
    piece: Piece<'static>,
    name: Arc<str>,
    log: usize,
    number: u64,
    queue: SyncSender<Message>,
}

/// Runs the job; `each` gets the results, and `None` now and then to show progress.
///
/// # Errors
/// The first error of `each`, which ends the work.
pub fn run(job: &Job<'_>, each: &mut dyn FnMut(Option<Message>) -> io::Result<()>) -> io::Result<()> {
    let abandoned = AtomicBool::new(false);
    // The queue of a piece is made when a worker takes it, and announced in order.
    let (announce, announced) = sync_channel::<Announced>(AHEAD);
    let next = Mutex::new(Next {
        file: 0,
        open: None,
        path: None,
        name: "".into(),
        logs: 0,
        pieces: 0,
        announce: Some(announce),
    });
    thread::scope(|scope| {
        for _ in 0..job.threads {
            scope.spawn(|| {
                let mut scratch = job.rules.scratch();
                let mut workspace = Workspace::new(Arc::clone(job.sources));
                while let Some(taken) = take(job, &next) {
                    Work::new(job, &taken, &abandoned).scan(taken.piece, &mut scratch, &mut workspace);
                }
            });
        }
        let wait = Duration::from_millis(100);
        let result = loop {
            let result = match announced.recv_timeout(wait) {
                Ok(Announced::Log(name)) => each(Some(Message::Log(name))),
                Ok(Announced::End) => each(Some(Message::End)),
                Ok(Announced::Piece(results)) => loop {
                    let result = match results.recv_timeout(wait) {
                        Ok(message) => each(Some(message)),
                        Err(RecvTimeoutError::Timeout) => each(None),
                        Err(RecvTimeoutError::Disconnected) => break each(None),
                    };
                    if result.is_err() {
                        break result;
                    }
                },
                Err(RecvTimeoutError::Timeout) => each(None),
                Err(RecvTimeoutError::Disconnected) => break Ok(()),
            };
            if result.is_err() {
                break result;
            }
        };
        abandoned.store(true, Ordering::Relaxed);
        // Whoever waits to announce or to hand over learns that nobody listens.
        drop(announced);
        result
    })
}

/// The next piece; it is read from its file here, one worker at a time.
fn take<'a>(job: &Job<'a>, next: &Mutex<Next<'a>>) -> Option<Taken<'a>> {
    let mut next = next.lock().unwrap_or_else(PoisonError::into_inner);
    let next = &mut *next;
    loop {
        if job.stop.load(Ordering::Relaxed) {
            next.announce = None;
        }
        let Some((input, pieces)) = &mut next.open else {
            let Some(input) = job.files.get(next.file) else {
                // Nothing more comes; the caller waits for the end of the announcements.
                next.announce = None;
                return None;
            };
            next.announce.as_ref()?;
            next.file += 1;
            job.progress.files.fetch_add(1, Ordering::Relaxed);
            next.path = None;
            let options = Options { recover: job.recover, bytes_read: Arc::clone(&job.progress.bytes) };
            let pieces = if input.stdin {
                Pieces::new(&input.path, io::stdin(), &options)
            } else {
                Pieces::open(&input.path, &options)
            };
            next.open = Some((input, pieces));
            continue;
        };
        let input: &'a Input = input;
        let piece = pieces.next();
        let announce = next.announce.as_ref()?;
        let path = piece.as_ref().map(|piece| Arc::clone(piece.path()));
        if next.path.is_none() || path.is_some() && path != next.path {
            // Another log, or one of which there is nothing to read.
            if next.path.is_some() {
                announce.send(Announced::End).ok()?;
            }
            next.name =
                path.as_ref().map_or_else(|| input.shown.as_str().into(), |p| p.display().to_string().into());
            next.path = path.or_else(|| Some(input.path.as_path().into()));
            announce.send(Announced::Log(Arc::clone(&next.name))).ok()?;
            next.logs += 1;
        }
        let Some(piece) = piece else {
            announce.send(Announced::End).ok()?;
            next.open = None;
            continue;
        };
        let (queue, results) = sync_channel(QUEUE);
        announce.send(Announced::Piece(results)).ok()?;
        next.pieces += 1;
        return Some(Taken {
            input,
            piece,
            name: Arc::clone(&next.name),
            log: next.logs - 1,
            number: next.pieces,
            queue,
        });
    }
}

/// One piece at work.
struct Work<'a> {
    job: &'a Job<'a>,
    /// An unknown format is worth a word.
    named: bool,
    name: Arc<str>,
    log: usize,
    number: u64,
    queue: SyncSender<Message>,
    abandoned: &'a AtomicBool,
    stats: Stats,
    batch: Batch,
    /// Groups that have their fields.
    kept: BTreeSet<(u32, Box<str>)>,
    matched: Vec<usize>,
}

/// Groups of one piece that may keep their fields.
const MAX_KEPT: usize = 1000;

impl<'a> Work<'a> {
    fn new(job: &'a Job<'a>, taken: &Taken<'_>, abandoned: &'a AtomicBool) -> Self {
        Self {
            job,
            named: taken.input.named,
            name: Arc::clone(&taken.name),
            log: taken.log,
            number: taken.number,
            queue: taken.queue.clone(),
            abandoned,
            stats: Stats::default(),
            batch: Batch::default(),
            kept: BTreeSet::new(),
            matched: Vec::new(),
        }
    }

    fn scan(mut self, piece: Piece<'_>, scratch: &mut Scratch, workspace: &mut Workspace) {
        // Who broke off is asked below.
        let _ = piece.read(workspace, &mut |item| {
            match item {
                Ok(record) => self.record(record, scratch),
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
        });
        self.flush();
        self.job.progress.records.fetch_add(self.stats.records % SHOWN, Ordering::Relaxed);
        let stats = mem::take(&mut self.stats);
        self.send(Message::Done(stats));
    }

    /// Matches one record, in all categories that it belongs to.
    fn record(&mut self, record: &mut LogRecord, scratch: &mut Scratch) {
        self.stats.records += 1;
        if self.stats.records.is_multiple_of(SHOWN) {
            self.job.progress.records.fetch_add(SHOWN, Ordering::Relaxed);
        }
        if self.job.recover && record.text("Recovered").is_some() {
            self.stats.recovered += 1;
        }
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
        // Ascending in the order of the results; no piece has 2^36 records.
        let reference = self.number << 36 | self.stats.records;
        if let Some(hit) = correlations.capture(matched, record, time, reference) {
            let rules =
                matched.iter().filter(|rule| correlations.wants(**rule)).map(|rule| *rule as u32).collect();
            let Hit { record_id, computer, what, .. } = Hit::new(0, record);
            let event = Event { log: self.log, record_id, time, computer, what, rules };
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
            let found = Match { rule: entry, file: &self.name, hit: &hit, record };
            format.write(&mut self.batch.lines, &found);
        }
        self.batch.hits.push(hit);
    }

    fn unreadable(&mut self, e: &ReadError) {
        let whole = matches!(e.place, Place::File)
            && matches!(
                e.what,
                Fault::UnknownFormat | Fault::Io { .. } | Fault::Packed(_) | Fault::Empty | Fault::Nothing(_)
            );
        if whole && self.stats.records == 0 {
            // A folder may hold other files under the names of logs.
            let a_log = self.named || !matches!(e.what, Fault::UnknownFormat);
            self.stats.outcome = if a_log { Outcome::Unreadable } else { Outcome::NotALog };
            if !a_log {
                return;
            }
        }
        self.stats.unreadable += 1;
        if self.stats.unreadable <= self.job.errors_per_piece as u64 {
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
