//! An event as the Linux audit system would have written it, so that rules for its log read what a sensor saw.
//!
//! The names are those of the audit system's dictionary of fields; as the reader of audit logs does, the records of one
//! event are joined: `type` lists them, `a0`, `a1`, … are the arguments of a program rather than pointers. What only
//! the audit system's own configuration knows (`key`) is not there, nor what programs write into its log themselves.

use std::borrow::Cow;

use crate::activity::{Body, Event, FileActivity, FileOp, NetworkOp, ProcessOp};
use crate::fields::{Fields, LogSource, Value};

/// Arguments of one program that are shown.
const MAX_ARGS: usize = 8192;
/// A task's name, `TASK_COMM_LEN` without its NUL.
const COMM: usize = 15;

/// The event in the terms of the audit system.
#[derive(Clone, Copy, Debug)]
pub struct AuditView<'e>(&'e Event);

/// The fields that every event has if it is known, in the order in which they are listed.
const FIELDS: [&str; 16] = [
    "type",
    "SYSCALL",
    "success",
    "exit",
    "exe",
    "comm",
    "proctitle",
    "cwd",
    "pid",
    "ppid",
    "uid",
    "euid",
    "auid",
    "name",
    "nametype",
    "argc",
];

impl<'e> AuditView<'e> {
    /// The view of an event that the audit system has a word for: programs started, files, connections, system calls
    /// of Linux.
    pub fn of(event: &'e Event) -> Option<Self> {
        let audited = match &event.body {
            Body::Process(p) => p.op == ProcessOp::Exec,
            Body::File(_) | Body::Network(_) | Body::Call(_) => true,
            // It sees that somebody sends, not what.
            Body::Dns(_) | Body::Log(_) | Body::Loss(_) => false,
        };
        (audited && event.product == "linux").then_some(Self(event))
    }

    /// The types of the records that the audit system would have written.
    pub fn types(self) -> &'static [&'static str] {
        match &self.0.body {
            Body::Process(_) => &["SYSCALL", "EXECVE", "CWD", "PATH", "PROCTITLE"],
            Body::File(_) => &["SYSCALL", "CWD", "PATH", "PROCTITLE"],
            Body::Network(_) => &["SYSCALL", "SOCKADDR", "PROCTITLE"],
            Body::Call(c) if !c.detail.is_empty() => &["SYSCALL", "PATH", "PROCTITLE"],
            Body::Call(_) => &["SYSCALL", "PROCTITLE"],
            Body::Dns(_) | Body::Log(_) | Body::Loss(_) => &[],
        }
    }

    fn call(self) -> &'e str {
        match &self.0.body {
            Body::Process(_) => "execve",
            Body::Network(n) => match (n.op, n.initiated, &*n.protocol) {
                (NetworkOp::Listen, ..) => "listen",
                (_, false, _) => "accept4",
                // Which of the calls it was is not told; the first packet to somebody is a connection of its kind.
                _ => "connect",
            },
            Body::File(f) => match f.op {
                FileOp::Create if f.detail.starts_with("mode ") => "mknod",
                FileOp::Create | FileOp::Update | FileOp::Read => "openat",
                FileOp::Delete => "unlinkat",
                FileOp::Rename => "renameat2",
                FileOp::Link if f.detail.starts_with("symbolic") => "symlinkat",
                FileOp::Link => "linkat",
                FileOp::Change => match f.detail.split(' ').next() {
                    Some("owner" | "group") => "fchownat",
                    Some("attribute") => "setxattr",
                    Some("times") => "utimensat",
                    _ => "fchmodat",
                },
            },
            Body::Call(c) => &c.call,
            Body::Dns(_) | Body::Log(_) | Body::Loss(_) => "",
        }
    }

    /// Names of files, and what each was to the call.
    fn names(self) -> Vec<(&'e str, &'static str)> {
        match &self.0.body {
            Body::Process(p) => {
                let script = p.launch.as_deref().and_then(|l| l.script.as_deref());
                script.into_iter().chain([p.process.image.as_str()]).map(|name| (name, "NORMAL")).collect()
            }
            Body::File(f) => file_names(f),
            Body::Call(c) if !c.detail.is_empty() => vec![(c.detail.as_str(), "NORMAL")],
            Body::Call(_) | Body::Network(_) | Body::Dns(_) | Body::Log(_) | Body::Loss(_) => Vec::new(),
        }
    }

    fn result(self) -> i64 {
        match &self.0.body {
            Body::Call(c) => c.result,
            Body::Network(n) if n.op == NetworkOp::Refuse => -1,
            _ => 0,
        }
    }

    /// `a0`, `a1`, …: of a program its arguments, of a call what the registers held.
    fn argument(self, name: &str) -> Option<Value<'e>> {
        let digits = name.strip_prefix('a').filter(|d| d.len() < 5)?;
        let index: usize = digits.parse().ok().filter(|i| *i < MAX_ARGS)?;
        match &self.0.body {
            Body::Process(p) => Some(Value::str(p.launch.as_deref()?.args.get(index)?)),
            // The records have four.
            Body::Call(c) if index < 4 => Some(Value::from(format!("{:x}", c.args.get(index)?))),
            _ => None,
        }
    }

    fn arguments(self) -> usize {
        match &self.0.body {
            Body::Process(p) => p.launch.as_deref().map_or(0, |l| l.args.len().min(MAX_ARGS)),
            Body::Call(c) => c.args.len().min(4),
            _ => 0,
        }
    }

    fn comm(self) -> Option<Value<'e>> {
        let process = self.0.process();
        let script = match &self.0.body {
            Body::Process(p) => p.launch.as_deref().and_then(|l| l.script.as_deref()),
            _ => None,
        };
        let path = script.unwrap_or(&process.image);
        let base = path.rsplit('/').next()?;
        let mut end = base.len().min(COMM);
        while !base.is_char_boundary(end) {
            end -= 1;
        }
        text(&base[..end])
    }
}

fn file_names(f: &FileActivity) -> Vec<(&str, &'static str)> {
    let old = f.old_path.as_deref();
    match f.op {
        FileOp::Create => vec![(&f.path, "CREATE")],
        FileOp::Delete => vec![(&f.path, "DELETE")],
        FileOp::Rename => {
            old.into_iter().map(|o| (o, "DELETE")).chain([(f.path.as_str(), "CREATE")]).collect()
        }
        FileOp::Link => old.into_iter().map(|o| (o, "NORMAL")).chain([(f.path.as_str(), "CREATE")]).collect(),
        FileOp::Update | FileOp::Change | FileOp::Read => vec![(&f.path, "NORMAL")],
    }
}

/// One value as itself, several as a list: so the reader of audit logs has it.
fn joined(mut values: Vec<Value<'_>>) -> Option<Value<'_>> {
    match values.len() {
        0 => None,
        1 => values.pop(),
        _ => Some(Value::List(values)),
    }
}

fn text(text: &str) -> Option<Value<'_>> {
    if text.is_empty() { None } else { Some(Value::str(text)) }
}

impl Fields for AuditView<'_> {
    fn log_source(&self) -> LogSource<'_> {
        LogSource::new("linux", "", "auditd")
    }

    fn field(&self, name: &str) -> Option<Value<'_>> {
        let process = self.0.process();
        let launch = match &self.0.body {
            Body::Process(p) => p.launch.as_deref(),
            _ => None,
        };
        match name {
            "type" => joined(self.types().iter().map(|t| Value::str(t)).collect()),
            "SYSCALL" => text(self.call()),
            "success" => Some(Value::str(if self.result() < 0 { "no" } else { "yes" })),
            "exit" => Some(Value::from(self.result().to_string())),
            "exe" => text(&process.image),
            "comm" => self.comm(),
            "proctitle" => text(&process.command_line),
            "cwd" => text(&process.cwd),
            "pid" => Some(Value::from(process.key.pid.to_string())),
            "ppid" => match &self.0.body {
                Body::Process(p) => p.parent.as_ref().map(|parent| Value::from(parent.key.pid.to_string())),
                _ => None,
            },
            "uid" => launch.and_then(|l| text(&l.real_uid)),
            "euid" => text(&process.user.uid),
            "auid" => launch.and_then(|l| text(l.login_uid.as_deref()?)),
            "name" => joined(self.names().into_iter().filter_map(|(name, _)| text(name)).collect()),
            "nametype" => {
                let mut kinds: Vec<&str> = self.names().into_iter().map(|(_, kind)| kind).collect();
                kinds.dedup();
                joined(kinds.into_iter().map(Value::str).collect())
            }
            "argc" => launch.map(|l| Value::from(l.args.len().to_string())),
            _ => self.argument(name),
        }
    }

    fn each_field(&self, visit: &mut dyn FnMut(&str, Value<'_>)) {
        let arguments = (0..self.arguments()).map(|n| Cow::Owned(format!("a{n}")));
        for name in FIELDS.into_iter().map(Cow::Borrowed).chain(arguments) {
            if let Some(value) = self.field(&name) {
                visit(&name, value);
            }
        }
    }
}
