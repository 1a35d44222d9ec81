//! JSON logs: one object on each line, arrays of objects, objects that span lines.

use std::io::{BufRead, Read};
use std::ops::ControlFlow;
use std::path::Path;

use serde_json::{Map, Value as Json};

use super::decode::{Line, Utf8Reader, next_line};
use super::{Fault, MAX_NESTING, MAX_RECORD_BYTES, Place, ReadError, Sink, windows_event};

/// One object on each line.
pub fn read_lines(path: &Path, input: impl Read, sink: &mut Sink<'_>) -> ControlFlow<()> {
    let mut reader = Utf8Reader::new(input);
    let mut line = Vec::new();
    for number in 1.. {
        let place = Place::Line(number);
        match next_line(&mut reader, &mut line) {
            Ok(Line::Whole) if line.trim_ascii().is_empty() => {}
            Ok(Line::Whole) => hand_over(path, place, number, &line, sink)?,
            Ok(Line::TooLong) => sink(Err(ReadError::new(path, place, Fault::TooLong)))?,
            Ok(Line::End) => break,
            Err(source) => {
                return sink(Err(ReadError::new(path, place, Fault::Io { doing: "reading", source })));
            }
        }
    }
    ControlFlow::Continue(())
}

/// Objects one after another or in an array, however they are laid out.
///
/// An array is not held whole: each object in it is cut out by its braces and read by itself.
pub fn read_values(path: &Path, input: impl Read, sink: &mut Sink<'_>) -> ControlFlow<()> {
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
                            hand_over(path, place, count, &value, sink)?;
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

/// Parses one value and hands over the records in it.
fn hand_over(path: &Path, place: Place, number: u64, bytes: &[u8], sink: &mut Sink<'_>) -> ControlFlow<()> {
    match parse(bytes) {
        Err(what) => sink(Err(ReadError::new(path, place, what))),
        Ok(Json::Object(object)) => record(number, object, sink),
        Ok(Json::Array(items)) => {
            for item in items {
                match item {
                    Json::Object(object) => record(number, object, sink)?,
                    other => {
                        let what = Fault::Malformed(format!("expected an object, found {}", kind(&other)));
                        sink(Err(ReadError::new(path, place, what)))?;
                    }
                }
            }
            ControlFlow::Continue(())
        }
        Ok(other) => {
            let what = Fault::Malformed(format!("expected an object, found {}", kind(&other)));
            sink(Err(ReadError::new(path, place, what)))
        }
    }
}

fn record(number: u64, object: Map<String, Json>, sink: &mut Sink<'_>) -> ControlFlow<()> {
    let mut record = windows_event::from_json(object);
    if record.record_id == 0 {
        record.record_id = number;
    }
    sink(Ok(&mut record))
}

/// Parses JSON that is not nested too deep.
pub fn parse(bytes: &[u8]) -> Result<Json, Fault> {
    // The parser recurses; the depth is bounded before it starts.
    if nesting(bytes) > MAX_NESTING {
        return Err(Fault::TooDeep);
    }
    let text = std::str::from_utf8(bytes).map_err(|e| {
        Fault::Malformed(format!(
            "not UTF-8 text: byte {} of the record is not part of a character",
            e.valid_up_to()
        ))
    })?;
    serde_json::from_str(text).map_err(|e| {
        // The parser's own place counts within the record.
        let full = e.to_string();
        let what = full.split(" at line ").next().unwrap_or_default();
        Fault::Malformed(format!("not JSON: {what} at its column {}", e.column()))
    })
}

fn nesting(bytes: &[u8]) -> usize {
    let (mut depth, mut deepest, mut in_text, mut escaped) = (0_usize, 0, false, false);
    for byte in bytes {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_text => escaped = true,
            b'"' => in_text = !in_text,
            b'{' | b'[' if !in_text => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b'}' | b']' if !in_text => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

fn kind(json: &Json) -> &'static str {
    match json {
        Json::Null => "null",
        Json::Bool(_) => "a truth value",
        Json::Number(_) => "a number",
        Json::String(_) => "text",
        Json::Array(_) => "an array",
        Json::Object(_) => "an object",
    }
}
