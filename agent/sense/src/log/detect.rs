//! Which format a file has, told by its first bytes.

use std::path::Path;

use memchr::memmem;

use super::decode;

/// How much of a file is looked at.
pub(super) const HEAD_BYTES: u64 = 64 * 1024;

/// A log format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// No bytes, or nothing but blanks.
    Empty,
    /// Windows event log, binary.
    Evtx,
    /// One JSON object on each line.
    JsonLines,
    /// A JSON array, or objects that span lines.
    JsonValues,
    /// Windows events (or Sysmon for Linux) as XML.
    Xml,
    /// Linux audit log.
    Auditd,
    /// Syslog; the lines of Sysmon for Linux and of auditd are read as theirs.
    Syslog,
    /// A zip archive of logs.
    Zip,
}

impl Format {
    /// The name a person reads.
    pub fn title(self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::Evtx => "EVTX",
            Self::JsonLines => "JSON lines",
            Self::JsonValues => "JSON",
            Self::Xml => "XML",
            Self::Auditd => "auditd",
            Self::Syslog => "syslog",
            Self::Zip => "zip archive",
        }
    }
}

/// The magic of an EVTX file (MS-EVEN6's file header signature).
const EVTX_MAGIC: &[u8] = b"ElfFile\0";

/// Tells the format of a file by its first bytes; `None` if it is none that is read.
pub fn detect(head: &[u8]) -> Option<Format> {
    if head.starts_with(EVTX_MAGIC) {
        return Some(Format::Evtx);
    }
    let text = decode::head_to_utf8(head);
    let text = text.trim_ascii_start();
    match text.first() {
        None => return Some(Format::Empty),
        Some(b'[') => return Some(Format::JsonValues),
        Some(b'{') => return Some(json_layout(text)),
        Some(b'<') if has_event_element(text) => return Some(Format::Xml),
        Some(_) => {}
    }
    if text.contains(&0) {
        return None;
    }
    let first_line = text.split(|b| *b == b'\n').next().unwrap_or_default();
    if is_audit_line(first_line) {
        return Some(Format::Auditd);
    }
    let has_ours = has_event_element(text) || memmem::find(text, b"audit(").is_some();
    (has_ours || looks_like_syslog(first_line)).then_some(Format::Syslog)
}

/// True if a directory walk should look into a file of this name.
pub fn is_log_name(path: &Path) -> bool {
    let name = unpacked_name(path);
    matches!(extension(&name), "evtx" | "json" | "jsonl" | "ndjson" | "xml" | "log" | "zip")
        || matches!(&*name, "syslog" | "messages")
}

/// True if a file of this name should be an event log.
pub(super) fn is_evtx_name(path: &Path) -> bool {
    extension(&unpacked_name(path)) == "evtx"
}

/// The name in small letters, without what says that it is packed.
fn unpacked_name(path: &Path) -> String {
    let mut name = path.file_name().map(|n| n.to_string_lossy().to_ascii_lowercase()).unwrap_or_default();
    let packed = [".gz", ".zst"].iter().find(|ending| name.ends_with(**ending));
    name.truncate(name.len() - packed.map_or(0, |ending| ending.len()));
    name
}

fn extension(name: &str) -> &str {
    name.rsplit_once('.').map_or("", |(_, extension)| extension)
}

/// A first line that is a whole object means one object on each line.
fn json_layout(text: &[u8]) -> Format {
    let first_line = text.split(|b| *b == b'\n').next().unwrap_or_default();
    let whole = serde_json::from_slice::<serde::de::IgnoredAny>(first_line).is_ok();
    // A first line of more than the head is a long record, not a pretty-printed one; and so is one that is
    // broken but followed by a line that begins an object at once.
    let one_line = first_line.len() == text.len();
    let next = text.get(first_line.len() + 1..).unwrap_or_default();
    if whole || (one_line && first_line.len() > 1024) || next.starts_with(b"{\"") {
        Format::JsonLines
    } else {
        Format::JsonValues
    }
}

fn has_event_element(text: &[u8]) -> bool {
    memmem::find_iter(text, b"<Event")
        .any(|at| matches!(text.get(at + 6), Some(b'>' | b' ' | b'\r' | b'\n' | b's')))
}

fn is_audit_line(line: &[u8]) -> bool {
    (line.starts_with(b"type=") || line.starts_with(b"node=")) && memmem::find(line, b"msg=audit(").is_some()
}

/// `Nov  3 07:01:02 host …`, `2026-11-03T07:01:02…`, `<34>1 …` (RFC 3164, RFC 5424).
fn looks_like_syslog(line: &[u8]) -> bool {
    const MONTHS: [&[u8]; 12] = [
        b"Jan ", b"Feb ", b"Mar ", b"Apr ", b"May ", b"Jun ", b"Jul ", b"Aug ", b"Sep ", b"Oct ", b"Nov ",
        b"Dec ",
    ];
    let dated =
        line.len() > 19 && line[..4].iter().all(u8::is_ascii_digit) && line[4] == b'-' && line[10] == b'T';
    let priority = || {
        let digits = line.strip_prefix(b"<").and_then(|rest| rest.split(|b| *b == b'>').next());
        digits.is_some_and(|d| (1..=3).contains(&d.len()) && d.iter().all(u8::is_ascii_digit))
    };
    dated || priority() || MONTHS.iter().any(|m| line.starts_with(m))
}
