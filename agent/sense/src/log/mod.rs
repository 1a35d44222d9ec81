//! Readers of logs that somebody else wrote: EVTX, JSON, Windows events as XML, auditd.
//!
//! Every reader streams: it holds one record (for EVTX: one chunk of 64 KiB) at a time, within the limits
//! below. A record that cannot be read is handed over as a [`ReadError`] that names its place, and reading
//! goes on behind it.

mod auditd;
mod decode;
mod detect;
mod error;
mod evtx_chunks;
mod json;
mod json_scan;
mod kind_plan;
mod lines;
#[cfg(test)]
mod oracle;
mod pieces;
mod syslog;
mod unpack;
mod windows_event;
mod windows_map;
mod xml;

use std::io::Read;
use std::ops::ControlFlow;
use std::path::Path;

use wardline_event::LogRecord;

pub use detect::{Format, detect, is_log_name};
pub use error::{Fault, Place, ReadError};
pub use pieces::{Options, Piece, Pieces};
pub use windows_event::Workspace;

/// Longest line, JSON value or XML event that is read, in bytes.
pub const MAX_RECORD_BYTES: usize = 4 * 1024 * 1024;

/// Deepest nesting of a JSON value or XML event that is read.
pub const MAX_NESTING: usize = 64;

/// Most bytes that the dotted names of a JSON value's nested fields and the texts of its objects may have together. A
/// long name stands in the name of every field below it, so that a small record could else fill the memory.
pub const MAX_NESTED_BYTES: usize = 4 * MAX_RECORD_BYTES;

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

/// Reads `input` as `format` to its end, on this thread; `path` is for the errors only.
pub fn read<R: Read + Send>(path: &Path, format: Format, input: R, sink: &mut Sink<'_>) {
    let mut workspace = Workspace::default();
    for piece in Pieces::of_format(path, format, input, &Options::default()) {
        // A piece ends early only because the sink said so.
        if piece.read(&mut workspace, sink).is_break() {
            return;
        }
    }
}
