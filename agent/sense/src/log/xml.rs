//! Windows events as XML: exports of Windows' own tools and the events of Sysmon for Linux.

use std::io::{BufRead, Read};
use std::ops::ControlFlow;
use std::path::Path;

use memchr::memmem;
use quick_xml::events::{BytesStart, Event};
use quick_xml::{Reader, XmlVersion};
use serde_json::{Map, Value as Json};
use wardline_event::LogRecord;

use super::decode::Utf8Reader;
use super::{Fault, MAX_NESTING, MAX_RECORD_BYTES, Place, ReadError, Sink, Workspace};

const END: &[u8] = b"</Event>";

/// Reads every `<Event>` element of a file, whatever stands around them.
pub fn read_events(
    path: &Path,
    input: impl Read,
    workspace: &mut Workspace,
    sink: &mut Sink<'_>,
) -> ControlFlow<()> {
    let mut reader = Utf8Reader::new(input);
    let mut held = Held { bytes: Vec::new(), from: 0, line: 1 };
    // How far what is held was searched without success.
    let (mut searched, mut count) = (0, 0);
    let mut skipping = false;
    loop {
        let ended = match reader.fill_buf() {
            Ok(available) => {
                held.append(available);
                let n = available.len();
                reader.consume(n);
                n == 0
            }
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(source) => {
                let what = Fault::Io { doing: "reading", source };
                return sink(Err(ReadError::new(path, Place::Line(held.line), what)));
            }
        };
        loop {
            if skipping {
                // The rest of an element that was too long.
                let Some(end) = memmem::find(held.rest(), END) else {
                    held.pass(held.rest().len().saturating_sub(END.len() - 1));
                    break;
                };
                held.pass(end + END.len());
                skipping = false;
            }
            let Some(begin) = find_begin(held.rest()) else {
                held.pass(held.rest().len().saturating_sub("<Event".len()));
                searched = 0;
                break;
            };
            if begin > 0 {
                held.pass(begin);
                searched = 0;
            }
            if let Some(at) = memmem::find(&held.rest()[searched..], END) {
                let end = searched + at + END.len();
                count += 1;
                match read_event(&held.rest()[..end], workspace) {
                    Ok(record) => {
                        if record.record_id == 0 {
                            record.record_id = count;
                        }
                        sink(Ok(record))?;
                    }
                    Err(what) => sink(Err(ReadError::new(path, Place::Line(held.line), what)))?,
                }
                held.pass(end);
                searched = 0;
            } else {
                searched = held.rest().len().saturating_sub(END.len() - 1);
                if held.rest().len() > MAX_RECORD_BYTES {
                    sink(Err(ReadError::new(path, Place::Line(held.line), Fault::TooLong)))?;
                    skipping = true;
                    searched = 0;
                    continue;
                }
                break;
            }
        }
        if ended {
            if find_begin(held.rest()) == Some(0) {
                let what = Fault::Malformed("the <Event> that begins here never ends".to_owned());
                return sink(Err(ReadError::new(path, Place::Line(held.line), what)));
            }
            return ControlFlow::Continue(());
        }
    }
}

/// What was read and is not yet done with.
struct Held {
    bytes: Vec<u8>,
    /// Where the rest begins. What lies before it is dropped when more is appended, not with each element: a piece may
    /// hold thousands.
    from: usize,
    /// The line on which the rest begins.
    line: u64,
}

impl Held {
    fn rest(&self) -> &[u8] {
        &self.bytes[self.from..]
    }

    fn append(&mut self, more: &[u8]) {
        self.bytes.drain(..self.from);
        self.from = 0;
        self.bytes.extend_from_slice(more);
    }

    fn pass(&mut self, n: usize) {
        self.line += memchr::memchr_iter(b'\n', &self.rest()[..n]).count() as u64;
        self.from += n;
    }
}

/// Where the next `<Event>` begins; `<Events>`, `<EventData>` and `<EventID>` are others.
pub fn find_begin(bytes: &[u8]) -> Option<usize> {
    memmem::find_iter(bytes, b"<Event")
        .find(|at| bytes.get(at + 6).is_some_and(|b| *b == b'>' || b.is_ascii_whitespace()))
}

/// Reads one `<Event>…</Event>`.
pub fn read_event<'a>(xml: &[u8], workspace: &'a mut Workspace) -> Result<&'a mut LogRecord, Fault> {
    workspace.event(&event_as_json(xml)?)
}

/// An event in the shape in which the EVTX reader's JSON comes, too.
fn event_as_json(xml: &[u8]) -> Result<String, Fault> {
    let text = String::from_utf8_lossy(xml);
    let mut reader = Reader::from_str(&text);
    let bad = |what: String| Fault::Malformed(format!("not an event in XML: {what}"));
    // Open elements: name, attributes, children, text.
    let mut open: Vec<Element> = Vec::new();
    loop {
        match reader.read_event().map_err(|e| bad(e.to_string()))? {
            Event::Start(start) => {
                if open.len() >= MAX_NESTING {
                    return Err(Fault::TooDeep);
                }
                open.push(Element::new(&start).map_err(bad)?);
            }
            Event::Empty(start) => {
                let element = Element::new(&start).map_err(bad)?;
                match open.last_mut() {
                    Some(parent) => parent.adopt(element),
                    None => return Err(bad("it is empty".to_owned())),
                }
            }
            Event::End(_) => {
                let Some(element) = open.pop() else {
                    return Err(bad("an end without a beginning".to_owned()));
                };
                let Some(parent) = open.last_mut() else {
                    let event = element.into_json();
                    if !event.is_object() {
                        return Err(bad("it is empty".to_owned()));
                    }
                    return Ok(Json::Object(Map::from_iter([("Event".to_owned(), event)])).to_string());
                };
                parent.adopt(element);
            }
            Event::Text(piece) => {
                if let Some(element) = open.last_mut() {
                    element.text.push_str(
                        &piece.xml_content(XmlVersion::Implicit1_0).map_err(|e| bad(e.to_string()))?,
                    );
                }
            }
            Event::CData(piece) => {
                if let Some(element) = open.last_mut() {
                    element.text.push_str(&piece.decode().map_err(|e| bad(e.to_string()))?);
                }
            }
            Event::GeneralRef(name) => {
                let Some(element) = open.last_mut() else { continue };
                let name_text = name.decode().map_err(|e| bad(e.to_string()))?;
                if let Some(c) = name.resolve_char_ref().map_err(|e| bad(e.to_string()))? {
                    element.text.push(c);
                } else if let Some(c) = quick_xml::escape::resolve_xml_entity(&name_text) {
                    element.text.push_str(c);
                } else {
                    return Err(bad(format!("unknown entity &{name_text};")));
                }
            }
            Event::Eof => return Err(bad("it ends in the middle".to_owned())),
            Event::Comment(_) | Event::Decl(_) | Event::PI(_) | Event::DocType(_) => {}
        }
    }
}

struct Element {
    name: String,
    attributes: Map<String, Json>,
    children: Map<String, Json>,
    text: String,
}

impl Element {
    fn new(start: &BytesStart<'_>) -> Result<Self, String> {
        let name = String::from_utf8_lossy(start.local_name().as_ref()).into_owned();
        let mut attributes = Map::new();
        for attribute in start.attributes() {
            let attribute = attribute.map_err(|e| e.to_string())?;
            let value = attribute.normalized_value(XmlVersion::Implicit1_0).map_err(|e| e.to_string())?;
            let key = String::from_utf8_lossy(attribute.key.local_name().as_ref()).into_owned();
            attributes.insert(key, Json::String(value.into_owned()));
        }
        Ok(Self { name, attributes, children: Map::new(), text: String::new() })
    }

    /// Adds a finished child; several of one name become an array.
    fn adopt(&mut self, mut child: Self) {
        let name = std::mem::take(&mut child.name);
        let value = child.into_json();
        match self.children.get_mut(&name) {
            None => {
                self.children.insert(name, value);
            }
            Some(Json::Array(items)) => items.push(value),
            Some(other) => *other = Json::Array(vec![other.take(), value]),
        }
    }

    fn into_json(self) -> Json {
        let Self { attributes, mut children, text, .. } = self;
        if attributes.is_empty() && children.is_empty() {
            return Json::String(text);
        }
        if children.is_empty() {
            children.insert("#text".to_owned(), Json::String(text));
        }
        if !attributes.is_empty() {
            children.insert("#attributes".to_owned(), Json::Object(attributes));
        }
        Json::Object(children)
    }
}
