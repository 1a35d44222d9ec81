//! JSON logs: one object on each line, arrays of objects, objects that span lines.

use std::io::{BufRead, Read};
use std::ops::ControlFlow;
use std::path::Path;

use super::decode::Utf8Reader;
use super::json_scan::{Bad, Scan};
use super::pieces::PIECE_BYTES;
use super::{Fault, MAX_RECORD_BYTES, Place, ReadError, Sink, Workspace};

/// A log of one object on each line, cut into runs of whole lines.
pub struct WholeLines<R> {
    reader: Utf8Reader<R>,
    /// Bytes of the line that was begun.
    begun: Vec<u8>,
    /// The number of that line.
    line: u64,
    /// The line is too long, and its rest is passed over.
    skipping: bool,
    ended: bool,
    /// Why the rest could not be read.
    last_word: Option<(Place, Fault)>,
}

/// Lines that follow each other.
pub struct LinesPiece {
    bytes: Vec<u8>,
    first: u64,
}

impl<R: Read> WholeLines<R> {
    pub fn new(input: R) -> Self {
        Self {
            reader: Utf8Reader::new(input),
            begun: Vec::new(),
            line: 1,
            skipping: false,
            ended: false,
            last_word: None,
        }
    }

    /// The next lines, or what is wrong.
    pub fn next(&mut self) -> Option<Result<LinesPiece, (Place, Fault)>> {
        let mut bytes = Vec::with_capacity(PIECE_BYTES + PIECE_BYTES / 8);
        bytes.append(&mut self.begun);
        // Where the last whole line ends.
        let mut whole = 0;
        while !self.ended && (bytes.len() < PIECE_BYTES || whole == 0) {
            let available = match self.reader.fill_buf() {
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(source) => {
                    // What came whole before is read all the same.
                    self.ended = true;
                    bytes.truncate(whole);
                    let line = self.line + memchr::memchr_iter(b'\n', &bytes).count() as u64;
                    self.last_word = Some((Place::Line(line), Fault::Io { doing: "reading", source }));
                    break;
                }
                Ok(available) => available,
            };
            let n = available.len();
            if n == 0 {
                self.ended = true;
            } else if self.skipping {
                // Only the line end is kept, so that the lines are counted right.
                let end = memchr::memchr(b'\n', available);
                self.skipping = end.is_none();
                self.reader.consume(end.unwrap_or(n));
            } else {
                if let Some(end) = memchr::memrchr(b'\n', available) {
                    whole = bytes.len() + end + 1;
                }
                bytes.extend_from_slice(available);
                self.reader.consume(n);
                if whole == 0 && bytes.len() > MAX_RECORD_BYTES {
                    self.skipping = true;
                    return Some(Err((Place::Line(self.line), Fault::TooLong)));
                }
            }
        }
        if self.ended {
            whole = bytes.len();
        }
        if whole == 0 {
            return self.last_word.take().map(Err);
        }
        self.begun.extend_from_slice(&bytes[whole..]);
        bytes.truncate(whole);
        let first = self.line;
        self.line += memchr::memchr_iter(b'\n', &bytes).count() as u64;
        Some(Ok(LinesPiece { bytes, first }))
    }
}

impl LinesPiece {
    pub fn read(&self, path: &Path, workspace: &mut Workspace, sink: &mut Sink<'_>) -> ControlFlow<()> {
        let mut rest = &*self.bytes;
        for number in self.first.. {
            if rest.is_empty() {
                break;
            }
            let end = memchr::memchr(b'\n', rest).unwrap_or(rest.len());
            let line = rest[..end].trim_ascii();
            rest = rest.get(end + 1..).unwrap_or_default();
            if line.len() > MAX_RECORD_BYTES {
                sink(Err(ReadError::new(path, Place::Line(number), Fault::TooLong)))?;
            } else if !line.is_empty() {
                hand_over(path, Place::Line(number), number, line, workspace, sink)?;
            }
        }
        ControlFlow::Continue(())
    }
}

/// Objects one after another or in an array, however they are laid out.
///
/// An array is not held whole: each object in it is cut out by its braces and read by itself.
pub fn read_values(
    path: &Path,
    input: impl Read,
    workspace: &mut Workspace,
    sink: &mut Sink<'_>,
) -> ControlFlow<()> {
    let mut reader = Utf8Reader::new(input);
    let mut cut = Cut::default();
    let mut value = Vec::new();
    let mut overlong = false;
    let (mut line, mut begun_at, mut count) = (1, 1, 0);
    loop {
        let available = match reader.fill_buf() {
            Ok([]) => break,
            Ok(available) => available,
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(source) => {
                let what = Fault::Io { doing: "reading", source };
                return sink(Err(ReadError::new(path, Place::Line(line), what)));
            }
        };
        let length = available.len();
        for byte in available.iter().copied() {
            line += u64::from(byte == b'\n');
            match cut.step(byte) {
                Step::Outside => {}
                Step::Stray => {
                    let what = format!("expected an object, found {:?}", char::from(byte));
                    sink(Err(ReadError::new(path, Place::Line(line), Fault::Malformed(what))))?;
                }
                Step::Inside { first, last } => {
                    if first {
                        value.clear();
                        overlong = false;
                        begun_at = line;
                    }
                    if value.len() < MAX_RECORD_BYTES {
                        value.push(byte);
                    } else {
                        overlong = true;
                    }
                    if last {
                        count += 1;
                        let place = Place::Line(begun_at);
                        if overlong {
                            sink(Err(ReadError::new(path, place, Fault::TooLong)))?;
                        } else {
                            hand_over(path, place, count, &value, workspace, sink)?;
                        }
                    }
                }
            }
        }
        reader.consume(length);
    }
    if cut.depth > 0 {
        let what = Fault::Malformed("the object that begins here never ends".to_owned());
        return sink(Err(ReadError::new(path, Place::Line(begun_at), what)));
    }
    ControlFlow::Continue(())
}

/// Cuts a stream of bytes into top-level objects.
#[derive(Default)]
struct Cut {
    depth: usize,
    in_text: bool,
    escaped: bool,
    /// A stray byte was told already; further ones are told only after the next object.
    stray: bool,
}

enum Step {
    /// Between objects.
    Outside,
    /// Something between objects that has no place there.
    Stray,
    /// Part of an object.
    Inside { first: bool, last: bool },
}

impl Cut {
    fn step(&mut self, byte: u8) -> Step {
        if self.depth == 0 {
            return match byte {
                b'{' => {
                    *self = Self { depth: 1, ..Self::default() };
                    Step::Inside { first: true, last: false }
                }
                b'[' | b']' | b',' => Step::Outside,
                _ if byte.is_ascii_whitespace() || self.stray => Step::Outside,
                _ => {
                    self.stray = true;
                    Step::Stray
                }
            };
        }
        if self.in_text {
            match byte {
                _ if self.escaped => self.escaped = false,
                b'\\' => self.escaped = true,
                b'"' => self.in_text = false,
                _ => {}
            }
        } else {
            match byte {
                b'"' => self.in_text = true,
                b'{' | b'[' => self.depth += 1,
                b'}' | b']' => self.depth -= 1,
                _ => {}
            }
        }
        Step::Inside { first: false, last: self.depth == 0 }
    }
}

/// Hands over the record in one object, or those in an array of objects on one line.
fn hand_over(
    path: &Path,
    place: Place,
    number: u64,
    bytes: &[u8],
    workspace: &mut Workspace,
    sink: &mut Sink<'_>,
) -> ControlFlow<()> {
    let fail = |what| Err(ReadError::new(path, place, what));
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(e) => {
            let at = e.valid_up_to();
            let what = format!("not UTF-8 text: byte {at} of the record is not part of a character");
            return sink(fail(Fault::Malformed(what)));
        }
    };
    let mut scan = Scan::new(text);
    if scan.peek() != b'[' {
        return one(path, place, number, text, workspace, sink);
    }
    // The whole line is right, or nothing of it is read.
    if let Err(bad) = scan.skip() {
        return sink(fail(bad.into()));
    }
    if !scan.ended() {
        return sink(fail(Bad::Expected("nothing more", scan.place()).into()));
    }
    let mut flow = ControlFlow::Continue(());
    let _ = Scan::new(text).array(|scan| {
        let from = scan.place();
        scan.skip()?;
        if flow.is_continue() {
            flow = one(path, place, number, scan.since(from), workspace, sink);
        }
        Ok(())
    });
    flow
}

fn one(
    path: &Path,
    place: Place,
    number: u64,
    text: &str,
    workspace: &mut Workspace,
    sink: &mut Sink<'_>,
) -> ControlFlow<()> {
    let mut scan = Scan::new(text);
    if scan.peek() != b'{' {
        let what = scan.skip().map_or_else(Fault::from, |()| {
            Fault::Malformed(format!("expected an object, found {}", kind(text.as_bytes()[0])))
        });
        return sink(Err(ReadError::new(path, place, what)));
    }
    match workspace.object(text) {
        Ok(record) => {
            if record.record_id == 0 {
                record.record_id = number;
            }
            sink(Ok(record))
        }
        Err(what) => sink(Err(ReadError::new(path, place, what))),
    }
}

/// What a value is, by its first byte.
fn kind(first: u8) -> &'static str {
    match first {
        b'n' => "null",
        b't' | b'f' => "a truth value",
        b'"' => "text",
        b'[' => "an array",
        _ => "a number",
    }
}
