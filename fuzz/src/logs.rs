//! Logs of other programs, in every format that is read.

use std::io::Cursor;
use std::ops::ControlFlow;
use std::path::Path;

use wardline_event::{Fields, LogRecord, Value};
use wardline_sense::log::{Format, detect, read};

/// EVTX; the header need not be right for the fuzzer to get past it.
pub fn evtx(data: &[u8]) {
    read_as(Format::Evtx, data);
}

/// JSON, however it is laid out.
pub fn json(data: &[u8]) {
    read_as(Format::JsonLines, data);
    read_as(Format::JsonValues, data);
}

/// Windows events and Sysmon for Linux as XML.
pub fn xml(data: &[u8]) {
    read_as(Format::Xml, data);
}

/// auditd's own log, and syslog with lines of auditd and Sysmon for Linux.
pub fn lines(data: &[u8]) {
    read_as(Format::Auditd, data);
    read_as(Format::Syslog, data);
}

fn can_be_asked_for(record: &LogRecord) {
    // Numbers that are no numbers differ from themselves.
    let alike = |a: Option<Value<'_>>, b: Option<Value<'_>>| format!("{a:?}") == format!("{b:?}");
    record.each_field(&mut |name, value| assert!(alike(record.field(name), Some(value)), "{name}"));
    let layout = record.layout().expect("a record has a layout");
    for (position, name) in layout.names().iter().enumerate() {
        assert!(record.at(position).is_some() && alike(record.at(position), record.field(name)), "{name}");
    }
    assert!(record.at(layout.names().len()).is_none());
}

fn read_as(format: Format, data: &[u8]) {
    let _ = detect(data);
    let mut handed_over = 0_usize;
    read(Path::new("log"), format, Cursor::new(data), &mut |item| {
        handed_over += 1;
        match item {
            // What is read can be asked for.
            Ok(record) => can_be_asked_for(record),
            Err(error) => assert!(!error.to_string().is_empty()),
        }
        ControlFlow::Continue(())
    });
    // EVTX stores a value once and refers to it; elsewhere everything that is handed over stood there.
    if format != Format::Evtx {
        assert!(handed_over <= data.len() + 1, "{handed_over} records out of {} bytes", data.len());
    }
    // A sink that has enough is not asked again.
    let mut asked = 0;
    read(Path::new("log"), format, Cursor::new(data), &mut |_| {
        asked += 1;
        ControlFlow::Break(())
    });
    assert!(asked <= 1, "the reader went on after the sink had enough");
}

/// The beginning of an event log: its header and of the first chunk what is in use. Changes in the empty rest would change
/// nothing. `None` of what is no such log, or holds no record.
pub fn beginning_of_evtx(log: &[u8]) -> Option<&[u8]> {
    const HEADER: usize = 4096;
    /// Behind the chunk's own header, its table of texts and its table of templates.
    const FIRST_RECORD: usize = 512;
    let chunk = log.get(HEADER..)?.strip_prefix(b"ElfChnk\0")?;
    // The place of the first free byte of the chunk, at its byte 48.
    let free = chunk.get(40..44)?.first_chunk::<4>()?;
    let free = u32::from_le_bytes(*free) as usize;
    if free <= FIRST_RECORD { None } else { log.get(..HEADER + free) }
}
