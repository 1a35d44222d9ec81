//! Reads the files on all cores and hands the results over in the files' order.
//!
//! Workers take files in order, each with a short queue of its own; the caller empties the queues in that same
//! order. The first unfinished file is therefore always being worked on, nobody waits in a circle, and no more is
//! held than a few queues.

use std::collections::BTreeMap;
use std::io;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender, channel, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use wardline_event::{LogRecord, LogSource};
use wardline_sense::log::{Fault, ReadError, read_file};
use wardline_sigma::{RuleSet, Scratch};

use super::collect::Input;
use super::json;
use super::table::Row;

/// Messages that wait for one file; a message is a batch of lines or a whole file's groups.
const QUEUE: usize = 32;
/// Bytes of JSON lines in one message.
const BATCH_BYTES: usize = 64 * 1024;
/// Rows in one message when every match is shown.
const BATCH_ROWS: usize = 256;
/// Groups of one file by computer; what comes after is grouped by rule alone.
const MAX_GROUPS: usize = 10_000;

/// How matches are handed over.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// A JSON line for each.
    Json,
    /// A row for each.
    Every,
    /// A row for each rule in each file, with a count.
    Grouped,
}

/// What to do.
pub struct Job<'a> {
    /// The rules.
    pub rules: &'a RuleSet,
    /// The files, in the order of the results.
    pub files: &'a [Input],
    /// How matches are handed over.
    pub style: Style,
    /// The log source of records that do not tell theirs.
    pub fallback: Option<&'a LogSource<'static>>,
    /// How many errors of one file are told; all are counted.
    pub errors_per_file: usize,
    /// Counts for the progress bar.
    pub progress: &'a Progress,
}

/// How far the scan is, whichever thread does it.
#[derive(Default)]
pub struct Progress {
    bytes: AtomicU64,
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

/// A piece of a file's results.
pub enum Message {
    /// JSON lines, each with its line end.
    Json(String),
    /// Rows of the table.
    Rows(Vec<Row>),
    /// A line about what could not be read.
    Unreadable(String),
    /// The file is done.
    Done(Stats),
}

/// The counts of one file.
#[derive(Default)]
pub struct Stats {
    /// Its size when it was found.
    pub bytes: u64,
    /// False if nothing of it could be read.
    pub read: bool,
    /// It was found in a folder and is no log.
    pub not_a_log: bool,
    /// Records read.
    pub records: u64,
    /// Errors: records, chunks, lines, or the file.
    pub unreadable: u64,
    /// Matches of each rule, by its index.
    pub matches: BTreeMap<usize, u64>,
}

/// Runs the job; `each` gets the results in the order of the files, and `None` now and then to show progress.
///
/// # Errors
/// The first error of `each`, which ends the work.
pub fn run(job: &Job<'_>, each: &mut dyn FnMut(&Input, Option<Message>) -> io::Result<()>) -> io::Result<()> {
    let stop = AtomicBool::new(false);
    // The queue of a file is made when a worker takes it, and announced in order.
    let (announce, announced) = channel::<Receiver<Message>>();
    let next = Mutex::new((0, announce));
    let workers = thread::available_parallelism().map_or(1, usize::from).min(job.files.len());
    thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                let mut scratch = job.rules.scratch();
                while let Some((file, queue)) = take(job.files, &next) {
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                    File::new(job, file, &queue, &stop).scan(&mut scratch);
                }
            });
        }
        let result = job.files.iter().try_for_each(|file| {
            let Ok(results) = announced.recv() else { return Ok(()) };
            loop {
                match results.recv_timeout(Duration::from_millis(100)) {
                    Ok(message) => each(file, Some(message))?,
                    Err(RecvTimeoutError::Timeout) => each(file, None)?,
                    Err(RecvTimeoutError::Disconnected) => break each(file, None),
                }
            }
        });
        stop.store(true, Ordering::Relaxed);
        result
    })
}

/// The next file, and where its results go.
fn take<'a>(
    files: &'a [Input],
    next: &Mutex<(usize, Sender<Receiver<Message>>)>,
) -> Option<(&'a Input, SyncSender<Message>)> {
    let mut next = next.lock().unwrap_or_else(PoisonError::into_inner);
    let file = files.get(next.0)?;
    next.0 += 1;
    let (queue, results) = sync_channel(QUEUE);
    next.1.send(results).ok()?;
    Some((file, queue))
}

/// One file at work.
struct File<'a> {
    job: &'a Job<'a>,
    input: &'a Input,
    queue: &'a SyncSender<Message>,
    stop: &'a AtomicBool,
    stats: Stats,
    lines: String,
    rows: Vec<Row>,
    /// The first match of each rule on each computer.
    groups: BTreeMap<(usize, String), Row>,
    matched: Vec<usize>,
}

impl<'a> File<'a> {
    fn new(job: &'a Job<'a>, file: &'a Input, queue: &'a SyncSender<Message>, stop: &'a AtomicBool) -> Self {
        Self {
            job,
            input: file,
            queue,
            stop,
            stats: Stats { bytes: file.bytes, ..Stats::default() },
            lines: String::new(),
            rows: Vec::new(),
            groups: BTreeMap::new(),
            matched: Vec::new(),
        }
    }

    fn scan(mut self, scratch: &mut Scratch) {
        let bytes = &self.job.progress.bytes;
        let mut count = |n: u64| {
            bytes.fetch_add(n, Ordering::Relaxed);
        };
        let mut not_a_log = false;
        let file = self.input;
        let format = read_file(&file.path, &mut count, &mut |item| {
            match item {
                Ok(record) => self.record(record, scratch),
                // A folder may hold other files under such names.
                Err(e) if !file.named && matches!(e.what, Fault::UnknownFormat) => not_a_log = true,
                Err(e) => self.unreadable(&e),
            }
            if self.stop.load(Ordering::Relaxed) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        self.stats.read = format.is_some();
        self.stats.not_a_log = not_a_log;
        let told = self.stats.unreadable.min(self.job.errors_per_file as u64);
        if self.stats.unreadable > told {
            let more = self.stats.unreadable - told;
            self.send(Message::Unreadable(format!("{}: … and {more} more; -v shows all", file.shown)));
        }
        self.flush();
        let mut groups: Vec<Row> = std::mem::take(&mut self.groups).into_values().collect();
        if !groups.is_empty() {
            // Worst first, then by time.
            let level = |row: &Row| self.job.rules.rules()[row.rule].level;
            groups.sort_by(|a, b| {
                let by_time = || a.time.cmp(&b.time).then(a.rule.cmp(&b.rule));
                a.computer.cmp(&b.computer).then(level(b).cmp(&level(a))).then_with(by_time)
            });
            self.send(Message::Rows(groups));
        }
        let stats = std::mem::take(&mut self.stats);
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
        let mut matched = std::mem::take(&mut self.matched);
        self.job.rules.matches_in(&*record, scratch, &mut |rule| matched.push(rule));
        for category in also {
            let first = std::mem::replace(&mut record.source.category, (*category).into());
            self.job.rules.matches_in(&*record, scratch, &mut |rule| matched.push(rule));
            record.source.category = first;
        }
        if !also.is_empty() {
            // A rule that names no category sees the record each time.
            matched.sort_unstable();
            matched.dedup();
        }
        for rule in matched.drain(..) {
            self.matched(rule, record);
        }
        self.matched = matched;
    }

    fn matched(&mut self, rule: usize, record: &LogRecord) {
        *self.stats.matches.entry(rule).or_default() += 1;
        match self.job.style {
            Style::Json => {
                let line = json::line(&self.job.rules.rules()[rule], &self.input.shown, record);
                self.lines.push_str(&line);
                self.lines.push('\n');
            }
            Style::Every => self.rows.push(Row::new(rule, record)),
            Style::Grouped => {
                let mut row = Row::new(rule, record);
                // A forged log may name a computer for each record; memory stays bounded.
                if self.groups.len() >= MAX_GROUPS {
                    row.computer.clear();
                }
                let key = (rule, row.computer.clone());
                self.groups.entry(key).and_modify(|row| row.count += 1).or_insert(row);
            }
        }
        if self.lines.len() >= BATCH_BYTES || self.rows.len() >= BATCH_ROWS {
            self.flush();
        }
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
        if !self.lines.is_empty() {
            let lines = std::mem::take(&mut self.lines);
            self.send(Message::Json(lines));
        }
        if !self.rows.is_empty() {
            let rows = std::mem::take(&mut self.rows);
            self.send(Message::Rows(rows));
        }
    }

    /// Hands a message over; nobody listening means that the scan is being ended.
    fn send(&self, message: Message) {
        if self.queue.send(message).is_err() {
            self.stop.store(true, Ordering::Relaxed);
        }
    }
}
