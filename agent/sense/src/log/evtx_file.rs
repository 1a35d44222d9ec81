//! EVTX, the Windows event log's binary format, by the crate `evtx`, chunk by chunk.

use std::io::{self, Read, Seek, SeekFrom};
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;

use evtx::err::EvtxError;
use evtx::{EvtxChunkData, EvtxParser, EvtxRecord, ParserSettings};
use serde_json::Value as Json;
use wardline_event::{LogRecord, Timestamp};

use super::{Fault, Place, ReadError, Sink, hand_over, windows_event};

/// Bytes of a chunk, and of the header before the first.
const CHUNK_BYTES: u64 = 64 * 1024;
const HEADER_BYTES: u64 = 4096;

pub fn read<R: Read + Seek>(path: &Path, input: R, sink: &mut Sink<'_>) -> ControlFlow<()> {
    let input = match Padded::new(input) {
        Ok(input) => input,
        Err(source) => {
            let what = Fault::Io { doing: "finding its end", source };
            return sink(Err(ReadError::new(path, Place::File, what)));
        }
    };
    let chunks = input.end.saturating_sub(HEADER_BYTES) / CHUNK_BYTES;
    let cut = input.end != input.length;
    let parser = match EvtxParser::from_read_seek(input) {
        Ok(parser) => parser,
        Err(e) => {
            let what = Fault::Malformed(format!("its EVTX header cannot be read: {}", chain(&e)));
            return sink(Err(ReadError::new(path, Place::File, what)));
        }
    };
    if cut || u64::from(parser.header().chunk_count) > chunks {
        // A log that is still being written may hold more chunks than its header says, but never fewer.
        let last = chunks.checked_sub(1).filter(|_| cut);
        let what = Fault::Malformed(format!(
            "the file ends in the middle of the log, which has {} chunks; what is there was read",
            u64::from(parser.header().chunk_count).max(chunks)
        ));
        sink(Err(ReadError::new(path, chunk_place(last), what)))?;
    }
    let settings = Arc::new(ParserSettings::default().indent(false));
    for chunk in parser.with_configuration((*settings).clone()).into_chunks() {
        let mut chunk = match chunk {
            Ok(chunk) => chunk,
            Err(e) => {
                sink(Err(error(path, None, &e)))?;
                continue;
            }
        };
        let number = chunk.number;
        if !chunk.validate_checksum() {
            sink(Err(ReadError::new(path, chunk_place(number), Fault::Checksum)))?;
        }
        // The parser promises not to panic on hostile bytes; a chunk is not worth the whole scan if it does.
        let records = catch_unwind(AssertUnwindSafe(|| read_chunk(path, &mut chunk, &settings)));
        let Ok(records) = records else {
            let what = Fault::Malformed("the EVTX parser gave up on it".to_owned());
            sink(Err(ReadError::new(path, chunk_place(number), what)))?;
            continue;
        };
        for record in records {
            hand_over(record, sink)?;
        }
    }
    ControlFlow::Continue(())
}

fn read_chunk(
    path: &Path,
    data: &mut EvtxChunkData,
    settings: &Arc<ParserSettings>,
) -> Vec<Result<LogRecord, ReadError>> {
    let number = data.number;
    let mut chunk = match data.parse(Arc::clone(settings)) {
        Ok(chunk) => chunk,
        Err(e) => {
            let what = Fault::Malformed(chain(&e));
            return vec![Err(ReadError::new(path, chunk_place(number), what))];
        }
    };
    chunk
        .iter()
        .map(|record| {
            let record = record.and_then(EvtxRecord::into_json_bytes).map_err(|e| error(path, number, &e))?;
            let id = record.event_record_id;
            let malformed = |what: String| ReadError::new(path, Place::Record(id), Fault::Malformed(what));
            let Json::Object(mut root) =
                serde_json::from_slice(&record.data).map_err(|e| malformed(e.to_string()))?
            else {
                return Err(malformed("it holds no event".to_owned()));
            };
            let Some(Json::Object(event)) = root.swap_remove("Event") else {
                return Err(malformed("it holds no event".to_owned()));
            };
            let mut read = windows_event::from_event(event);
            // An exported log numbers its records anew; the event's own number is the one that people know.
            if read.record_id == 0 {
                read.record_id = id;
            }
            read.time.get_or_insert(Timestamp(record.timestamp.as_millisecond()));
            Ok(read)
        })
        .collect()
}

fn chunk_place(number: Option<u64>) -> Place {
    number.map_or(Place::File, |number| Place::Chunk { number, offset: HEADER_BYTES + number * CHUNK_BYTES })
}

fn error(path: &Path, chunk: Option<u64>, e: &EvtxError) -> ReadError {
    let (place, cause): (Place, String) = match e {
        EvtxError::FailedToParseChunk { chunk_id, source } => (chunk_place(Some(*chunk_id)), chain(source)),
        EvtxError::FailedToParseRecord { record_id, source } => (Place::Record(*record_id), chain(source)),
        EvtxError::FailedToReadRecordAt { chunk: at, offset, source } => {
            let begin = at.or(chunk).map_or(0, |n| HEADER_BYTES + n * CHUNK_BYTES);
            (Place::Byte(begin + offset), format!("no record can be read here: {}", chain(source)))
        }
        other => (chunk_place(chunk), chain(other)),
    };
    ReadError::new(path, place, Fault::Malformed(cause))
}

/// A file that is followed by zeros to the end of its last chunk, so that the records in a chunk that was cut
/// off can be read.
struct Padded<R> {
    inner: R,
    at: u64,
    /// Bytes that are there.
    length: u64,
    /// Where the padding ends.
    end: u64,
}

impl<R: Read + Seek> Padded<R> {
    fn new(mut inner: R) -> io::Result<Self> {
        let length = inner.seek(SeekFrom::End(0))?;
        inner.seek(SeekFrom::Start(0))?;
        let in_chunks = length.saturating_sub(HEADER_BYTES);
        let end =
            if in_chunks == 0 { length } else { HEADER_BYTES + in_chunks.next_multiple_of(CHUNK_BYTES) };
        Ok(Self { inner, at: 0, length, end })
    }
}

impl<R: Read> Read for Padded<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = if self.at < self.length {
            self.inner.read(buf)?
        } else {
            let n = usize::try_from(self.end.saturating_sub(self.at)).unwrap_or(usize::MAX).min(buf.len());
            buf[..n].fill(0);
            n
        };
        self.at += n as u64;
        Ok(n)
    }
}

impl<R: Seek> Seek for Padded<R> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let at = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::End(by) => self.end.checked_add_signed(by),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
        };
        self.at = at.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "before the beginning"))?;
        self.inner.seek(SeekFrom::Start(self.at.min(self.length)))?;
        Ok(self.at)
    }
}

/// An error and its causes on one line.
fn chain(e: &dyn std::error::Error) -> String {
    let mut text = e.to_string();
    let mut next = e.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        next = cause.source();
    }
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
