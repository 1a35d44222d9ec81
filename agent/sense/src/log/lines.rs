//! Text logs line by line: auditd's own log, and syslog, in which auditd and Sysmon for Linux write, too.

use std::io::Read;
use std::ops::ControlFlow;
use std::path::Path;

use memchr::memmem;
use wardline_event::LogRecord;

use super::auditd::Assembler;
use super::decode::{Line, Utf8Reader, next_line};
use super::{Fault, Place, ReadError, Sink, Workspace, hand_over, xml};

/// What lines mean that are neither audit records nor events.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Others {
    /// The file should hold nothing else.
    AreErrors,
    /// Other programs' lines, each a record.
    AreRecords,
}

pub fn read(
    path: &Path,
    input: impl Read,
    others: Others,
    workspace: &mut Workspace,
    sink: &mut Sink<'_>,
) -> ControlFlow<()> {
    let mut reader = Utf8Reader::new(input);
    let mut line = Vec::new();
    let sources = workspace.sources();
    let mut audit = Assembler::new(&sources);
    let mut flow = ControlFlow::Continue(());
    for number in 1.. {
        let place = Place::Line(number);
        let fail = |what| Err(ReadError::new(path, place, what));
        match next_line(&mut reader, &mut line) {
            Ok(Line::End) => break,
            Ok(Line::TooLong) => sink(fail(Fault::TooLong))?,
            Err(source) => return sink(fail(Fault::Io { doing: "reading", source })),
            Ok(Line::Whole) => {
                if line.trim_ascii().is_empty() {
                } else if let Some(begin) = xml::find_begin(&line) {
                    match event(&line[begin..], number, workspace) {
                        Ok(record) => sink(Ok(record))?,
                        Err(what) => sink(fail(what))?,
                    }
                } else if memmem::find(&line, b"audit(").is_some() || others == Others::AreErrors {
                    let joined = audit.line(number, &line, &mut |joined| {
                        let joined = joined.map_err(|(place, what)| ReadError::new(path, place, what));
                        if flow.is_continue() {
                            flow = hand_over(joined, sink);
                        }
                    });
                    flow?;
                    match joined {
                        Ok(()) => {}
                        // In syslog other programs may write such words; only auditd's own log must keep the form.
                        Err(_) if others == Others::AreRecords => other(&line, number, workspace, sink)?,
                        Err(what) => sink(fail(what))?,
                    }
                } else {
                    other(&line, number, workspace, sink)?;
                }
            }
        }
    }
    audit.end(&mut |joined| {
        let joined = joined.map_err(|(place, what)| ReadError::new(path, place, what));
        if flow.is_continue() {
            flow = hand_over(joined, sink);
        }
    });
    flow
}

/// A line of another program. What is not laid out as syslog goes on from a line before, and is passed over.
fn other(line: &[u8], number: u64, workspace: &mut Workspace, sink: &mut Sink<'_>) -> ControlFlow<()> {
    match workspace.syslog(&String::from_utf8_lossy(line)) {
        Some(record) => {
            record.record_id = number;
            sink(Ok(record))
        }
        None => ControlFlow::Continue(()),
    }
}

/// The event in the rest of a syslog line.
fn event<'a>(text: &[u8], line: u64, workspace: &'a mut Workspace) -> Result<&'a mut LogRecord, Fault> {
    let end = memmem::rfind(text, b"</Event>")
        .ok_or_else(|| Fault::Malformed("the <Event> on this line does not end on it".to_owned()))?;
    let record = xml::read_event(&text[..end + b"</Event>".len()], workspace)?;
    if record.record_id == 0 {
        record.record_id = line;
    }
    Ok(record)
}
