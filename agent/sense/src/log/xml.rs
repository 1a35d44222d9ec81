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
    let mut held: Vec<u8> = Vec::new();
    // How far `held` was searched without success, and the line on which it starts.
    let (mut searched, mut line, mut count) = (0, 1_u64, 0);
    let mut skipping = false;
    loop {
        let ended = match reader.fill_buf() {
            Ok(available) => {
                held.extend_from_slice(available);
                let n = available.len();
                reader.consume(n);
                n == 0
            }
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(source) => {
                let what = Fault::Io { doing: "reading", source };
                return sink(Err(ReadError::new(path, Place::Line(line), what)));
            }
        };
        loop {
            if skipping {
                // The rest of an element that was too long.
                let Some(end) = memmem::find(&held, END) else {
                    let passed = held.len().saturating_sub(END.len() - 1);
                    drop_front(&mut held, passed, &mut line);
                    break;
                };
                drop_front(&mut held, end + END.len(), &mut line);
                skipping = false;
            }
            let Some(begin) = find_begin(&held) else {
                let passed = held.len().saturating_sub("<Event".len());
                drop_front(&mut held, passed, &mut line);
                searched = 0;
                break;
            };
            if begin > 0 {
                drop_front(&mut held, begin, &mut line);
                searched = 0;
            }
            if let Some(at) = memmem::find(&held[searched..], END) {
                let end = searched + at + END.len();
                count += 1;
                match read_event(&held[..end], workspace) {
                    Ok(record) => {
                        if record.record_id == 0 {
                            record.record_id = count;
                        }
                        sink(Ok(record))?;
                    }
                    Err(what) => sink(Err(ReadError::new(path, Place::Line(line), what)))?,
                }
                drop_front(&mut held, end, &mut line);
                searched = 0;
            } else {
                searched = held.len().saturating_sub(END.len() - 1);
                if held.len() > MAX_RECORD_BYTES {
                    sink(Err(ReadError::new(path, Place::Line(line), Fault::TooLong)))?;
                    skipping = true;
                    searched = 0;
                    continue;
                }
                break;
            }
        }
        if ended {
            if find_begin(&held) == Some(0) {
                let what = Fault::Malformed("the <Event> that begins here never ends".to_owned());
                return sink(Err(ReadError::new(path, Place::Line(line), what)));
            }
            return ControlFlow::Continue(());
        }
    }
}

fn drop_front(held: &mut Vec<u8>, n: usize, line: &mut u64) {
    *line += memchr::memchr_iter(b'\n', &held[..n]).count() as u64;
    held.drain(..n);
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
