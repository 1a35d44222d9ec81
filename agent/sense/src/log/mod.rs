//! Readers of logs that somebody else wrote: EVTX, JSON, Windows events as XML, auditd.
//!
//! Every reader streams: it holds one record (for EVTX: one chunk of 64 KiB) at a time, within the limits
//! below. A record that cannot be read is handed over as a [`ReadError`] that names its place, and reading
//! goes on behind it.

mod auditd;
mod decode;
mod detect;
mod error;
mod evtx_file;
mod json;
mod lines;
mod windows_event;
mod windows_log;
mod xml;

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::ops::ControlFlow;
use std::path::Path;

use wardline_event::LogRecord;

pub use detect::{Format, detect, is_log_name};
pub use error::{Fault, Place, ReadError};

/// Longest line, JSON value or XML event that is read, in bytes.
pub const MAX_RECORD_BYTES: usize = 4 * 1024 * 1024;

/// Deepest nesting of a JSON value or XML event that is read.
pub const MAX_NESTING: usize = 64;

/// What a reader hands over, one by one; [`ControlFlow::Break`] ends the reading. The record is filled again when the
/// sink returns.
pub type Sink<'a> = dyn FnMut(Result<&mut LogRecord, ReadError>) -> ControlFlow<()> + 'a;

/// Hands over what a reader made.
fn hand_over(read: Result<LogRecord, ReadError>, sink: &mut Sink<'_>) -> ControlFlow<()> {
    match read {
        Ok(mut record) => sink(Ok(&mut record)),
        Err(error) => sink(Err(error)),
    }
}

/// Reads the log file at `path` to its end; its format is told by its content.
///
/// `progress` is called with the number of bytes read since its last call. Returns the format, or `None` if the
/// file could not be opened or its format is unknown (which `sink` was told).
pub fn read_file(path: &Path, progress: &mut dyn FnMut(u64), sink: &mut Sink<'_>) -> Option<Format> {
    let mut fail = |doing, source| {
        let _ = sink(Err(ReadError::new(path, Place::File, Fault::Io { doing, source })));
    };
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(source) => {
            fail("opening it", source);
            return None;
        }
    };
    let mut head = Vec::new();
    let begun = file
        .by_ref()
        .take(detect::HEAD_BYTES)
        .read_to_end(&mut head)
        .and_then(|_| file.seek(SeekFrom::Start(0)));
    if let Err(source) = begun {
        fail("reading its beginning", source);
        return None;
    }
    if head.is_empty() {
        return Some(Format::Empty);
    }
    let Some(format) = detect(&head) else {
        let _ = sink(Err(ReadError::new(path, Place::File, Fault::UnknownFormat)));
        return None;
    };
    read(path, format, Counting { inner: file, progress }, sink);
    Some(format)
}

/// Reads `input` as `format`; `path` is for the errors only.
pub fn read<R: Read + Seek>(path: &Path, format: Format, input: R, sink: &mut Sink<'_>) {
    // A reader ends early only because the sink said so, which the sink knows.
    let _ = match format {
        Format::Empty => ControlFlow::Continue(()),
        Format::Evtx => evtx_file::read(path, input, sink),
        Format::JsonLines => json::read_lines(path, input, sink),
        Format::JsonValues => json::read_values(path, input, sink),
        Format::Xml => xml::read_events(path, input, sink),
        Format::Auditd => lines::read(path, input, lines::Others::AreErrors, sink),
        Format::Syslog => lines::read(path, input, lines::Others::AreNotOurs, sink),
    };
}

/// Tells `progress` how much was read.
struct Counting<'a, R> {
    inner: R,
    progress: &'a mut dyn FnMut(u64),
}

impl<R: Read> Read for Counting<'_, R> {
    fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
        let n = self.inner.read(buf)?;
        (self.progress)(n as u64);
        Ok(n)
    }
}

impl<R: Seek> Seek for Counting<'_, R> {
    fn seek(&mut self, to: SeekFrom) -> std::io::Result<u64> {
        self.inner.seek(to)
    }
}
