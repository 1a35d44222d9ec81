//! Linux audit logs: lines of `type=… msg=audit(TIME:SERIAL): key=value …`, joined by serial into events.
//!
//! The lines of one event follow each other but may interleave with those of another. An event is complete at
//! its EOE line, at a type that is always alone, or when [`MAX_OPEN`] younger ones have begun.
//!
//! Encodings are those of the audit system: text that holds a blank, a quote or a control character is written
//! as hexadecimal digits without quotes; enriched values follow the byte 0x1D in capital names (`UID="root"`).

use std::borrow::Cow;
use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use memchr::memmem;
use serde_json::{Map, Value as Json};
use wardline_event::{Fields, LogRecord, LogSource, Timestamp};
use wardline_sigma::sources::{Source, Sources};

use super::{Fault, MAX_RECORD_BYTES, Place};

/// Events that may be open at the same time.
const MAX_OPEN: usize = 64;

/// Values that one field of one event may collect (`name` of several PATH records).
const MAX_VALUES: usize = 1024;

/// Arguments of one EXECVE that are kept.
const MAX_ARGS: usize = 8192;

/// Joins audit lines to events.
pub struct Assembler<'s> {
    open: VecDeque<OpenEvent>,
    /// What the log sources say of audit events.
    source: Option<&'s Source>,
}

/// A finished event, or what is wrong with it and where.
pub type Joined = Result<LogRecord, (Place, Fault)>;

struct OpenEvent {
    id: EventId,
    first_line: u64,
    bytes: usize,
    types: Vec<String>,
    fields: Map<String, Json>,
    args: BTreeMap<usize, String>,
}

#[derive(PartialEq, Eq)]
struct EventId {
    node: String,
    time_ms: i64,
    serial: u64,
}

impl<'s> Assembler<'s> {
    pub fn new(sources: &'s Sources) -> Self {
        Self { open: VecDeque::new(), source: sources.named("linux-auditd") }
    }

    /// Takes one line; hands events that are now complete to `out`.
    pub fn line(&mut self, number: u64, line: &[u8], out: &mut dyn FnMut(Joined)) -> Result<(), Fault> {
        let text = String::from_utf8_lossy(line);
        let (kind, id, body) = head(&text).ok_or_else(|| {
            Fault::Malformed("not an audit record: expected type=… msg=audit(TIME:SERIAL): …".into())
        })?;
        if kind == "EOE" {
            if let Some(at) = self.open.iter().position(|e| e.id == id)
                && let Some(event) = self.open.remove(at)
            {
                out(event.finish(self.source));
            }
            return Ok(());
        }
        let alone = !is_part_of_a_syscall_event(&kind);
        let at = self.open.iter().position(|e| e.id == id).unwrap_or_else(|| {
            self.open.push_back(OpenEvent::new(id, number));
            self.open.len() - 1
        });
        let event = &mut self.open[at];
        event.bytes += line.len();
        if event.bytes <= MAX_RECORD_BYTES {
            event.add(kind.into_owned(), body);
        }
        if alone && let Some(event) = self.open.remove(at) {
            out(event.finish(self.source));
        }
        if self.open.len() > MAX_OPEN
            && let Some(oldest) = self.open.pop_front()
        {
            out(oldest.finish(self.source));
        }
        Ok(())
    }

    /// Hands over what is still open at the end of the log.
    pub fn end(&mut self, out: &mut dyn FnMut(Joined)) {
        for event in self.open.drain(..) {
            out(event.finish(self.source));
        }
    }
}

/// Type, event and the text behind the colon.
fn head(text: &str) -> Option<(Cow<'_, str>, EventId, &str)> {
    let at = memmem::find(text.as_bytes(), b"audit(")?;
    let (stamp, rest) = text[at + 6..].split_once(')')?;
    let (time, serial) = stamp.split_once(':')?;
    let (seconds, fraction) = time.split_once('.').unwrap_or((time, "0"));
    let fraction_ms: i64 = format!("{fraction:0<3}").get(..3)?.parse().ok()?;
    let time_ms = seconds.parse::<i64>().ok()?.checked_mul(1000)?.checked_add(fraction_ms)?;
    let before = &text[..at];
    let value = |key: &str| {
        let begin = before.rfind(key)? + key.len();
        before[begin..].split(|c: char| c.is_whitespace()).next()
    };
    let kind = value("type=").filter(|k| !k.is_empty())?;
    let kind = match kind.parse::<u32>() {
        Ok(number) => TYPE_NUMBERS
            .iter()
            .find(|(n, _)| *n == number)
            .map_or_else(|| Cow::Owned(format!("UNKNOWN[{number}]")), |(_, name)| Cow::Borrowed(*name)),
        Err(_) => Cow::Borrowed(kind),
    };
    let node = value("node=").unwrap_or_default().to_owned();
    Some((kind, EventId { node, time_ms, serial: serial.parse().ok()? }, rest.trim_start_matches(':')))
}

/// Record types by number, as the kernel's own log writes them (`linux/audit.h`).
const TYPE_NUMBERS: &[(u32, &str)] = &[
    (1300, "SYSCALL"),
    (1302, "PATH"),
    (1305, "CONFIG_CHANGE"),
    (1306, "SOCKADDR"),
    (1307, "CWD"),
    (1309, "EXECVE"),
    (1319, "TTY"),
    (1320, "EOE"),
    (1326, "SECCOMP"),
    (1327, "PROCTITLE"),
    (1400, "AVC"),
];

/// Types that the kernel writes as parts of one event (numbers 1300 to 1399 of `linux/audit.h`, and AVC).
fn is_part_of_a_syscall_event(kind: &str) -> bool {
    const PARTS: &[&str] = &[
        "SYSCALL",
        "PATH",
        "IPC",
        "SOCKETCALL",
        "CONFIG_CHANGE",
        "SOCKADDR",
        "CWD",
        "EXECVE",
        "IPC_SET_PERM",
        "MQ_OPEN",
        "MQ_SENDRECV",
        "MQ_NOTIFY",
        "MQ_GETSETATTR",
        "KERNEL_OTHER",
        "FD_PAIR",
        "OBJ_PID",
        "BPRM_FCAPS",
        "CAPSET",
        "MMAP",
        "NETFILTER_PKT",
        "NETFILTER_CFG",
        "PROCTITLE",
        "KERN_MODULE",
        "FANOTIFY",
        "BPF",
        "OPENAT2",
        "AVC",
        "INTEGRITY_RULE",
    ];
    PARTS.contains(&kind)
}

impl OpenEvent {
    fn new(id: EventId, first_line: u64) -> Self {
        Self { id, first_line, bytes: 0, types: Vec::new(), fields: Map::new(), args: BTreeMap::new() }
    }

    /// Adds one record of the event.
    fn add(&mut self, kind: String, body: &str) {
        let mut parts = body.splitn(2, '\u{1d}');
        let (plain, enriched) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        each_pair(plain, &mut |key, value| self.pair(&kind, key, value));
        each_pair(enriched, &mut |key, value| self.insert(key, Json::String(value.text().into_owned())));
        self.types.push(kind);
    }

    fn pair(&mut self, kind: &str, key: &str, value: Raw<'_>) {
        let is_execve = kind == "EXECVE";
        if is_execve && key.starts_with('a') {
            // a0, or a1[2]: the third piece of a long argument; a1_len says nothing that is not seen.
            let digits = key[1..].split('[').next().unwrap_or_default();
            if let Ok(index) = digits.parse::<usize>() {
                if index < MAX_ARGS {
                    self.args.entry(index).or_default().push_str(&value.decoded());
                }
                return;
            }
            if key.ends_with("_len") {
                return;
            }
        }
        let text = match (kind, key) {
            ("PROCTITLE", "proctitle") => value.decoded().replace('\0', " ").into(),
            (_, "key") => {
                // Several keys are written as one text with the byte 1 between them.
                for one in value.decoded().split('\u{1}').filter(|k| *k != "(null)") {
                    self.insert("key", Json::String(one.to_owned()));
                }
                return;
            }
            (_, key) if ENCODED.contains(&key) => value.decoded(),
            _ => value.text(),
        };
        self.insert(key, Json::String(text.into_owned()));
    }

    /// Adds a value; a second, different one makes a list.
    fn insert(&mut self, key: &str, value: Json) {
        match self.fields.get_mut(key) {
            None => {
                self.fields.insert(key.to_owned(), value);
            }
            Some(Json::Array(items)) => {
                if items.len() < MAX_VALUES && !items.contains(&value) {
                    items.push(value);
                }
            }
            Some(other) if *other == value => {}
            Some(other) => *other = Json::Array(vec![other.take(), value]),
        }
    }

    fn first(&self, key: &str) -> Option<&str> {
        match self.fields.get(key)? {
            Json::Array(items) => items.first()?.as_str(),
            other => other.as_str(),
        }
    }

    fn finish(mut self, source: Option<&Source>) -> Joined {
        if self.bytes > MAX_RECORD_BYTES {
            return Err((
                Place::AuditEvent { serial: self.id.serial, line: self.first_line },
                Fault::TooLong,
            ));
        }
        let arguments: Vec<String> = std::mem::take(&mut self.args).into_values().collect();
        if !arguments.is_empty() {
            // The SYSCALL record's a0 to a3 are pointers; the arguments are what rules mean.
            self.fields.retain(|name, _| !matches!(name.as_str(), "a0" | "a1" | "a2" | "a3"));
        }
        for (index, argument) in arguments.iter().enumerate() {
            self.fields.insert(format!("a{index}"), Json::String(argument.clone()));
        }
        if !self.fields.contains_key("SYSCALL")
            && self.first("arch") == Some("c000003e")
            && let Some(number) = self.first("syscall").and_then(|s| s.parse::<u32>().ok())
            && let Some((_, name)) = SYSCALLS_X86_64.iter().find(|(n, _)| *n == number)
        {
            self.insert("SYSCALL", Json::String((*name).to_owned()));
        }
        self.add_sigma_names(&arguments);
        let types = std::mem::take(&mut self.types);
        let mut fields = self.fields;
        let mut distinct: Vec<Json> = Vec::new();
        for kind in types.into_iter().map(Json::String) {
            if !distinct.contains(&kind) {
                distinct.push(kind);
            }
        }
        let kind = if distinct.len() == 1 { distinct.swap_remove(0) } else { Json::Array(distinct) };
        fields.insert("type".to_owned(), kind);
        if !self.id.node.is_empty() {
            fields.insert("Computer".to_owned(), Json::String(self.id.node));
        }
        let mut record = LogRecord::from_json(LogSource::default(), &fields);
        if let Some(source) = source {
            let kind = source.kind_of(&|name| record.field(name));
            let (own, also) = (kind.log_source.clone(), kind.also);
            record.source = own;
            record.also = also;
        }
        record.time = Some(Timestamp(self.id.time_ms));
        record.record_id = self.id.serial;
        Ok(record)
    }

    fn has(&self, key: &str, wanted: &str) -> bool {
        match self.fields.get(key) {
            Some(Json::Array(items)) => items.iter().any(|i| i.as_str() == Some(wanted)),
            Some(Json::String(text)) => text == wanted,
            _ => false,
        }
    }

    /// Copies audit's fields to the names that Sigma's categories use.
    fn add_sigma_names(&mut self, arguments: &[String]) {
        let mut add = Vec::new();
        for (theirs, ours) in
            [("exe", "Image"), ("cwd", "CurrentDirectory"), ("pid", "ProcessId"), ("ppid", "ParentProcessId")]
        {
            add.extend(self.first(theirs).map(|v| (ours, v.to_owned())));
        }
        if !arguments.is_empty() {
            add.push(("CommandLine", arguments.join(" ")));
        } else if let Some(title) = self.first("proctitle") {
            add.push(("CommandLine", title.to_owned()));
        }
        let user = match (self.first("UID"), self.first("uid")) {
            (Some(name), _) => Some(name),
            (None, Some("0")) => Some("root"),
            (None, other) => other,
        };
        add.extend(user.map(|u| ("User", u.to_owned())));
        if let Some((address, port)) = self.first("saddr").and_then(socket_address) {
            add.push(("DestinationIp", address.to_string()));
            add.push(("DestinationPort", port.to_string()));
            add.push(("Initiated", "true".to_owned()));
        }
        for (name, value) in add {
            self.fields.insert(name.to_owned(), Json::String(value));
        }
        if let Some(target) = self.target_files() {
            self.fields.insert("TargetFilename".to_owned(), target);
        }
    }

    /// The paths that an event created or removed. PATH records list the parent directory first, which is told
    /// from the target by its being the beginning of a longer path or ending in a slash.
    fn target_files(&self) -> Option<Json> {
        if !self.has("nametype", "CREATE") && !self.has("nametype", "DELETE") {
            return None;
        }
        let names: Vec<&str> = match self.fields.get("name")? {
            Json::Array(items) => items.iter().filter_map(Json::as_str).collect(),
            other => other.as_str().into_iter().collect(),
        };
        let cwd = self.first("cwd").unwrap_or_default();
        let targets: Vec<Json> = names
            .into_iter()
            .filter(|name| !name.ends_with('/') && !matches!(*name, "." | "(null)"))
            .map(|name| {
                if name.starts_with('/') {
                    Json::from(name)
                } else {
                    Json::from(format!("{}/{name}", cwd.trim_end_matches('/')))
                }
            })
            .collect();
        match targets.len() {
            0 => None,
            1 => targets.into_iter().next(),
            _ => Some(Json::Array(targets)),
        }
    }
}

/// Fields whose unquoted hexadecimal value is encoded text (`auparse` calls them escaped).
const ENCODED: &[&str] = &[
    "comm",
    "exe",
    "name",
    "cwd",
    "path",
    "dir",
    "file",
    "proctitle",
    "cmd",
    "acct",
    "data",
    "watch",
    "ocomm",
    "vm",
    "old-disk",
    "new-disk",
    "device",
    "sw",
    "grp",
    "new_group",
    "root_dir",
];

/// A value as it was written.
#[derive(Clone, Copy)]
struct Raw<'a> {
    text: &'a str,
    quoted: bool,
}

impl<'a> Raw<'a> {
    fn text(self) -> Cow<'a, str> {
        Cow::Borrowed(self.text)
    }

    /// The text that an unquoted run of hexadecimal digits stands for.
    fn decoded(self) -> Cow<'a, str> {
        let hex = !self.quoted
            && self.text.len() >= 2
            && self.text.len().is_multiple_of(2)
            && self.text.bytes().all(|b| b.is_ascii_digit() || (b'A'..=b'F').contains(&b));
        if !hex {
            return self.text();
        }
        Cow::Owned(String::from_utf8_lossy(&hex_bytes(self.text)).into_owned())
    }
}

fn hex_bytes(text: &str) -> Vec<u8> {
    let (pairs, _) = text.as_bytes().as_chunks::<2>();
    pairs.iter().map_while(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()).collect()
}

/// Calls `each` with the pairs of `key=value key="value" key='nested=pairs'`.
fn each_pair<'a>(mut text: &'a str, each: &mut dyn FnMut(&'a str, Raw<'a>)) {
    loop {
        text = text.trim_start();
        let Some((before, after)) = text.split_once('=') else { return };
        // Words without a value (`avc:  denied  { read } for`) stand before the key.
        let key = before.rsplit(char::is_whitespace).next().unwrap_or_default();
        let (value, rest, quoted) = match after.as_bytes().first() {
            Some(b'"') => {
                let (value, rest) = after[1..].split_once('"').unwrap_or((&after[1..], ""));
                (value, rest, true)
            }
            Some(b'\'') => {
                let (value, rest) = after[1..].split_once('\'').unwrap_or((&after[1..], ""));
                (value, rest, true)
            }
            _ => {
                let end = after.find(char::is_whitespace).unwrap_or(after.len());
                (&after[..end], &after[end..], false)
            }
        };
        if key == "msg" && quoted && value.contains('=') {
            // User-space messages put their own pairs in there; they hold no further `msg`.
            let mut inner = value;
            while let Some(next) = one_pair(inner, each) {
                inner = next;
            }
        } else if !key.is_empty() {
            each(key, Raw { text: value, quoted });
        }
        text = rest;
    }
}

/// One pair of a nested message; the text behind it.
fn one_pair<'a>(text: &'a str, each: &mut dyn FnMut(&'a str, Raw<'a>)) -> Option<&'a str> {
    let (before, after) = text.split_once('=')?;
    let key = before.trim_start().rsplit(char::is_whitespace).next().unwrap_or_default();
    let (value, rest, quoted) = if let Some(inner) = after.strip_prefix('"') {
        let (value, rest) = inner.split_once('"').unwrap_or((inner, ""));
        (value, rest, true)
    } else {
        let end = after.find(char::is_whitespace).unwrap_or(after.len());
        (&after[..end], &after[end..], false)
    };
    if !key.is_empty() {
        each(key, Raw { text: value, quoted });
    }
    Some(rest)
}

/// Address and port in a SOCKADDR record: `struct sockaddr_in` or `sockaddr_in6` in hexadecimal digits.
fn socket_address(saddr: &str) -> Option<(IpAddr, u16)> {
    let bytes = hex_bytes(saddr);
    let port = u16::from_be_bytes(*bytes.get(2..4)?.as_array::<2>()?);
    match u16::from_le_bytes(*bytes.get(..2)?.as_array::<2>()?) {
        2 => Some((Ipv4Addr::from(*bytes.get(4..8)?.as_array::<4>()?).into(), port)),
        10 => Some((Ipv6Addr::from(*bytes.get(8..24)?.as_array::<16>()?).into(), port)),
        _ => None,
    }
}

/// System calls of x86-64 that rules name, for logs that are not enriched (`syscall_64.tbl` of Linux).
const SYSCALLS_X86_64: &[(u32, &str)] = &[
    (2, "open"),
    (41, "socket"),
    (42, "connect"),
    (43, "accept"),
    (49, "bind"),
    (50, "listen"),
    (56, "clone"),
    (57, "fork"),
    (58, "vfork"),
    (59, "execve"),
    (62, "kill"),
    (63, "uname"),
    (76, "truncate"),
    (77, "ftruncate"),
    (82, "rename"),
    (83, "mkdir"),
    (84, "rmdir"),
    (85, "creat"),
    (86, "link"),
    (87, "unlink"),
    (88, "symlink"),
    (90, "chmod"),
    (92, "chown"),
    (99, "sysinfo"),
    (101, "ptrace"),
    (103, "syslog"),
    (105, "setuid"),
    (133, "mknod"),
    (165, "mount"),
    (175, "init_module"),
    (176, "delete_module"),
    (257, "openat"),
    (259, "mknodat"),
    (263, "unlinkat"),
    (264, "renameat"),
    (265, "linkat"),
    (266, "symlinkat"),
    (268, "fchmodat"),
    (288, "accept4"),
    (313, "finit_module"),
    (316, "renameat2"),
    (319, "memfd_create"),
    (321, "bpf"),
    (322, "execveat"),
];
