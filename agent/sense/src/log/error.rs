//! What could not be read, and where.

use std::fmt;
use std::path::{Path, PathBuf};

/// Where in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// The file as a whole.
    File,
    /// The record with this number in the file's own numbering (an exported EVTX file numbers its records anew).
    Record(u64),
    /// An EVTX chunk, counted from 0, and the byte within the file where it starts.
    Chunk {
        /// Its number.
        number: u64,
        /// Its offset in bytes.
        offset: u64,
    },
    /// A byte offset within the file.
    Byte(u64),
    /// A line, counted from 1.
    Line(u64),
    /// An audit event's serial number, and the line where it began.
    AuditEvent {
        /// The serial number.
        serial: u64,
        /// The line of its first record, counted from 1.
        line: u64,
    },
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File => f.write_str("the file"),
            Self::Record(id) => write!(f, "record {id}"),
            Self::Chunk { number, offset } => write!(f, "chunk {number} (byte {offset})"),
            Self::Byte(at) => write!(f, "byte {at}"),
            Self::Line(line) => write!(f, "line {line}"),
            Self::AuditEvent { serial, line } => write!(f, "audit event {serial} (line {line})"),
        }
    }
}

/// What is wrong there.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// The system would not give the bytes.
    #[error("{doing} failed")]
    Io {
        /// What was being tried.
        doing: &'static str,
        /// What the system answered.
        #[source]
        source: std::io::Error,
    },
    /// No bytes, where an event log has a header at least.
    #[error("it is empty, as no event log is: it was wiped, or not copied to its end")]
    Empty,
    /// Packed in a way that is not read.
    #[error("{0}")]
    Packed(&'static str),
    /// None of the formats that are read.
    #[error(
        "not a log that can be read: expected EVTX, JSON, Windows events as XML, auditd text, or syslog with \
         Sysmon or audit lines, plain or in .gz, .zst or .zip"
    )]
    UnknownFormat,
    /// Longer than is read.
    #[error("longer than {} MiB, skipped", super::MAX_RECORD_BYTES / 1024 / 1024)]
    TooLong,
    /// Nested deeper than is read.
    #[error("nested deeper than {} levels, skipped", super::MAX_NESTING)]
    TooDeep,
    /// The stored checksum and the bytes differ; what could be read of it was read.
    #[error("its checksum does not match its bytes: damaged or changed; what is readable was read")]
    Checksum,
    /// Nothing of the log can be read.
    #[error("{0}")]
    Nothing(String),
    /// The bytes are not what the format asks for.
    #[error("{0}")]
    Malformed(String),
}

/// A record, or more, that could not be read.
#[derive(Debug)]
pub struct ReadError {
    /// The file.
    pub file: PathBuf,
    /// Where in it.
    pub place: Place,
    /// What is wrong.
    pub what: Fault,
}

impl ReadError {
    pub(crate) fn new(file: &Path, place: Place, what: Fault) -> Self {
        Self { file: file.to_owned(), place, what }
    }
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}", self.file.display(), self.place, self.what)
    }
}

impl std::error::Error for ReadError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        // The fault's own text is part of this error's text; what lies behind it is the source.
        std::error::Error::source(&self.what)
    }
}
