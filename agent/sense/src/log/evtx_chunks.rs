//! EVTX, the Windows event log's binary format: a header of 4 KiB, then chunks of 64 KiB, each of which can be read by
//! itself. The crate `evtx` reads what is in a chunk.

use std::io::Read;
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;

use evtx::err::EvtxError;
use evtx::{EvtxChunkData, EvtxFileHeader, EvtxRecord, ParserSettings};
use wardline_event::Timestamp;

use super::pieces::PIECE_BYTES;
use super::{Fault, Place, ReadError, Sink, Workspace};

/// Bytes of a chunk, and of the header before the first.
const CHUNK_BYTES: usize = 64 * 1024;
const HEADER_BYTES: u64 = 4096;

/// The field by which a record is known that was found in unused space.
const RECOVERED: &str = "Recovered";

/// A log that is cut into runs of chunks.
pub struct Chunks<R> {
    input: R,
    settings: Arc<ParserSettings>,
    /// Chunks that the header tells of.
    told: u64,
    /// Chunks read; the header is read before the first.
    read: Option<u64>,
    ended: bool,
    /// What is wrong with the file as a whole.
    last_word: Option<(Place, Fault)>,
}

/// Chunks that follow each other.
pub struct ChunksPiece {
    bytes: Vec<u8>,
    first: u64,
    settings: Arc<ParserSettings>,
}

impl<R: Read> Chunks<R> {
    pub fn new(input: R, recover: bool) -> Self {
        let settings = Arc::new(ParserSettings::default().indent(false).recover_records(recover));
        Self { input, settings, told: 0, read: None, ended: false, last_word: None }
    }

    /// The next run of chunks, or what is wrong.
    pub fn next(&mut self) -> Option<Result<ChunksPiece, (Place, Fault)>> {
        if self.ended {
            return self.last_word.take().map(Err);
        }
        let first = match self.read {
            Some(read) => read,
            None => match self.header() {
                Ok(told) => {
                    self.told = told;
                    0
                }
                Err(what) => {
                    self.ended = true;
                    return Some(Err((Place::File, what)));
                }
            },
        };
        let mut bytes = Vec::with_capacity(PIECE_BYTES);
        let failed = self.input.by_ref().take(PIECE_BYTES as u64).read_to_end(&mut bytes).err();
        let cut = !bytes.len().is_multiple_of(CHUNK_BYTES);
        let all = first + bytes.len().div_ceil(CHUNK_BYTES) as u64;
        self.read = Some(all);
        if let Some(source) = failed {
            // What came before is read all the same.
            self.ended = true;
            let place = chunk_place(first + (bytes.len() / CHUNK_BYTES) as u64);
            self.last_word = Some((place, Fault::Io { doing: "reading", source }));
        } else if bytes.len() < PIECE_BYTES {
            self.ended = true;
            if cut || self.told > all {
                let what = Fault::Malformed(format!(
                    "the file ends in the middle of the log, which has {} chunks; what is there was read",
                    self.told.max(all)
                ));
                self.last_word = Some((if cut { chunk_place(all - 1) } else { Place::File }, what));
            }
        }
        if bytes.is_empty() {
            return self.last_word.take().map(Err);
        }
        // The records in a chunk that was cut off can be read if zeros follow them.
        bytes.resize(bytes.len().next_multiple_of(CHUNK_BYTES), 0);
        Some(Ok(ChunksPiece { bytes, first, settings: Arc::clone(&self.settings) }))
    }

    /// Reads the file's header; the number of chunks that it tells of.
    fn header(&mut self) -> Result<u64, Fault> {
        let mut header = Vec::with_capacity(HEADER_BYTES as usize);
        match self.input.by_ref().take(HEADER_BYTES).read_to_end(&mut header) {
            Err(source) => Err(Fault::Io { doing: "reading its header", source }),
            Ok(n) if n < HEADER_BYTES as usize => {
                Err(Fault::Nothing(format!("its EVTX header cannot be read: the file ends after {n} bytes")))
            }
            Ok(_) => match EvtxFileHeader::from_bytes(&header) {
                Ok(header) => Ok(header.chunk_count.into()),
                Err(e) => Err(Fault::Nothing(format!("its EVTX header cannot be read: {}", chain(&e)))),
            },
        }
    }
}

impl ChunksPiece {
    pub fn read(&self, path: &Path, workspace: &mut Workspace, sink: &mut Sink<'_>) -> ControlFlow<()> {
        for (number, bytes) in (self.first..).zip(self.bytes.chunks(CHUNK_BYTES)) {
            // A log keeps room for chunks that are to come.
            if bytes.iter().any(|b| *b != 0) {
                self.read_chunk(number, bytes, path, workspace, sink)?;
            }
        }
        ControlFlow::Continue(())
    }

    fn read_chunk(
        &self,
        number: u64,
        bytes: &[u8],
        path: &Path,
        workspace: &mut Workspace,
        sink: &mut Sink<'_>,
    ) -> ControlFlow<()> {
        let broken = |what: String| ReadError::new(path, chunk_place(number), Fault::Malformed(what));
        let mut data = match EvtxChunkData::new(bytes.to_vec(), false) {
            Ok(data) => data,
            Err(e) => return sink(Err(broken(chain(&e)))),
        };
        data.number = Some(number);
        if !data.validate_checksum() {
            sink(Err(ReadError::new(path, chunk_place(number), Fault::Checksum)))?;
        }
        // The parser promises not to panic on hostile bytes; a chunk is not worth the whole log if it does.
        let gave_up = || broken("the EVTX parser gave up on it".to_owned());
        let mut chunk = match unwinding(|| data.parse(Arc::clone(&self.settings))) {
            Some(Ok(chunk)) => chunk,
            Some(Err(e)) => return sink(Err(broken(chain(&e)))),
            None => return sink(Err(gave_up())),
        };
        let mut records = chunk.iter();
        loop {
            let next = || {
                let record = records.next()?;
                let recovered = record.as_ref().is_ok_and(|r| r.recovered);
                Some((recovered, record.and_then(EvtxRecord::into_json_bytes)))
            };
            let (recovered, record) = match unwinding(next) {
                Some(Some(next)) => next,
                Some(None) => return ControlFlow::Continue(()),
                None => return sink(Err(gave_up())),
            };
            let written = match record {
                Ok(written) => written,
                // Bytes that only looked like a deleted record.
                Err(_) if recovered => continue,
                Err(e) => {
                    sink(Err(error(path, number, &e)))?;
                    continue;
                }
            };
            let id = written.event_record_id;
            let filled = std::str::from_utf8(&written.data)
                .map_err(|e| Fault::Malformed(e.to_string()))
                .and_then(|json| workspace.event(json));
            match filled {
                Ok(record) => {
                    // An exported log numbers its records anew; the event's own number is the one that people know.
                    if record.record_id == 0 {
                        record.record_id = id;
                    }
                    if recovered {
                        record.set(RECOVERED, "true");
                    }
                    record.time.get_or_insert(Timestamp(written.timestamp.as_millisecond()));
                    sink(Ok(record))?;
                }
                Err(what) => sink(Err(ReadError::new(path, Place::Record(id), what)))?,
            }
        }
    }
}

/// What `work` gives; `None` if it panicked.
fn unwinding<T>(work: impl FnOnce() -> T) -> Option<T> {
    catch_unwind(AssertUnwindSafe(work)).ok()
}

fn chunk_place(number: u64) -> Place {
    Place::Chunk { number, offset: HEADER_BYTES + number * CHUNK_BYTES as u64 }
}

fn error(path: &Path, chunk: u64, e: &EvtxError) -> ReadError {
    let (place, cause): (Place, String) = match e {
        EvtxError::FailedToParseChunk { source, .. } => (chunk_place(chunk), chain(source)),
        EvtxError::FailedToParseRecord { record_id, source } => (Place::Record(*record_id), chain(source)),
        EvtxError::FailedToReadRecordAt { offset, source, .. } => {
            let begin = HEADER_BYTES + chunk * CHUNK_BYTES as u64;
            (Place::Byte(begin + offset), format!("no record can be read here: {}", chain(source)))
        }
        other => (chunk_place(chunk), chain(other)),
    };
    ReadError::new(path, place, Fault::Malformed(cause))
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
