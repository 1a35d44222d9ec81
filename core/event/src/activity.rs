//! What a sensor saw: OCSF process, file and network activity.

use std::borrow::Cow;

use crate::fields::{Fields, LogSource, Value};
use crate::identity::{IDENTITY_FIELDS, Identity};
use crate::ids::{EventId, ProcessKey};
use crate::log::{LOG_FIELDS, LOGIN_LINE_FIELDS, LogActivity};
use crate::sensor::SensorKind;
use crate::time::Timestamp;

/// One thing that happened on a device.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// Made by the sensor; the same event always has the same id.
    pub id: EventId,
    /// When it happened.
    pub time: Timestamp,
    /// The operating system, in Sigma's word: `linux`, `windows`.
    pub product: Cow<'static, str>,
    /// True if a script of the exercise range produced it. Shown wherever the event is shown.
    pub simulated: bool,
    /// What happened.
    pub body: Body,
}

/// The OCSF class of an event.
#[derive(Clone, Debug, PartialEq)]
pub enum Body {
    /// Process Activity (class 1007).
    Process(ProcessActivity),
    /// File System Activity (class 1001).
    File(FileActivity),
    /// Network Activity (class 4001).
    Network(NetworkActivity),
    /// DNS Activity (class 4003).
    Dns(DnsActivity),
    /// Kernel Activity (class 1003): a system call that says more than what it does to files or connections.
    Call(CallActivity),
    /// Authentication (class 3002), or a line of a log that says nothing of who signed in (class 0).
    Log(LogActivity),
    /// Application Error (class 6008): a sensor lost events.
    Loss(SensorLoss),
}

/// A user as the operating system names it.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct User {
    /// `1000`, `S-1-5-…`.
    pub uid: String,
    /// `alice`, `TRUST\alice`; empty if unknown.
    pub name: String,
}

/// A process, as far as it is known.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Process {
    /// Its identity; survives pid reuse.
    pub key: ProcessKey,
    /// Full path of the executable.
    pub image: String,
    /// The command line, arguments joined by single spaces.
    pub command_line: String,
    /// Current directory; empty if unknown.
    pub cwd: String,
    /// Who runs it.
    pub user: User,
    /// Container id (64 hexadecimal digits), taken from the control group's path.
    pub container: Option<String>,
    /// Control group id (inode in cgroup v2); 0 if unknown.
    pub cgroup_id: u64,
    /// When it started.
    pub started: Timestamp,
}

/// What happened to a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProcessOp {
    /// It was copied from its parent, same program (OCSF Launch, launch type Fork).
    Fork,
    /// It began a new program (OCSF Launch, launch type Exec; Spawn on Windows).
    Exec,
    /// It ended (OCSF Terminate).
    Exit,
    /// It was already running when the sensor started (OCSF Other).
    Found,
}

/// A process was started, forked, found or ended.
#[derive(Clone, Debug, PartialEq)]
pub struct ProcessActivity {
    /// What happened.
    pub op: ProcessOp,
    /// To which process.
    pub process: Process,
    /// Its parent, as far as it is known.
    pub parent: Option<Process>,
    /// For [`ProcessOp::Exit`]: the wait status (Linux) or exit code (Windows).
    pub exit_code: Option<i32>,
    /// For [`ProcessOp::Exec`]: what is known of the moment when the program was started.
    pub launch: Option<Box<Launch>>,
}

/// How a program was started.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Launch {
    /// The arguments one by one, the program's name first. Not written to OCSF, whose command line is one text.
    pub args: Vec<String>,
    /// The script, as it was named; then the process's image is its interpreter.
    pub script: Option<String>,
    /// The executable has no name in the file system: it was deleted, or lives in memory only.
    pub unnamed: bool,
    /// The real user, where the process's own is the effective one.
    pub real_uid: String,
    /// Who signed in, whatever user the process has become since (audit's `auid`).
    pub login_uid: Option<String>,
    /// Effective capabilities, a bit for each as in `linux/capability.h`.
    pub capabilities: u64,
    /// What the executable is.
    pub identity: Identity,
    /// The kernel stopped it before it had run one instruction.
    pub stopped: Option<Stopped>,
}

/// What the kernel did by a rule, before a program had run one instruction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stopped {
    /// It was not let in, and the process goes on with what it ran before. Else the process was killed.
    pub refused: bool,
    /// The rule's number among those in force on the device. Not written to OCSF: the finding names the rule.
    pub rule: usize,
    /// How long it took the kernel to decide.
    pub after_ns: u64,
}

/// What happened to a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileOp {
    /// Created (OCSF Create).
    Create,
    /// Written to (OCSF Update).
    Update,
    /// Removed (OCSF Delete).
    Delete,
    /// Given another name (OCSF Rename).
    Rename,
    /// Given a further name, by a hard or a symbolic link (OCSF Other).
    Link,
    /// Given another mode, owner, time or attribute (OCSF Set Attributes).
    Change,
    /// Opened for reading (OCSF Open).
    Read,
}

impl FileOp {
    /// Each of them.
    pub const ALL: [Self; 7] =
        [Self::Create, Self::Update, Self::Delete, Self::Rename, Self::Link, Self::Change, Self::Read];
}

/// A process touched a file.
#[derive(Clone, Debug, PartialEq)]
pub struct FileActivity {
    /// What happened.
    pub op: FileOp,
    /// Full path.
    pub path: String,
    /// For a rename: the full path before it. For a link: what it leads to.
    pub old_path: Option<String>,
    /// What was changed: `mode 4755`, `owner 0`, `attribute security.capability`; empty if nothing more is known.
    pub detail: String,
    /// Who did it.
    pub actor: Process,
}

/// What happened on the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NetworkOp {
    /// A connection was opened (OCSF Open).
    Open,
    /// A connection was refused or blocked (OCSF Refuse).
    Refuse,
    /// A listener was opened (OCSF Listen).
    Listen,
}

/// A process used the network.
#[derive(Clone, Debug, PartialEq)]
pub struct NetworkActivity {
    /// What happened.
    pub op: NetworkOp,
    /// Who did it.
    pub actor: Process,
    /// `tcp` or `udp`.
    pub protocol: Cow<'static, str>,
    /// True if this device opened the connection.
    pub initiated: bool,
    /// Address of the side that opened the connection, or of the listener; empty if unknown.
    pub src_ip: String,
    /// Its port.
    pub src_port: u16,
    /// Address of the side to which the connection was opened; empty if there is none.
    pub dst_ip: String,
    /// Its port.
    pub dst_port: u16,
    /// Its name; empty if unknown.
    pub dst_host: String,
}

/// A process asked for a name, or was answered.
#[derive(Clone, Debug, PartialEq)]
pub struct DnsActivity {
    /// True for an answer (OCSF Response), false for a question (OCSF Query).
    pub response: bool,
    /// Who asked.
    pub actor: Process,
    /// The name asked for, without the dot at its end.
    pub name: String,
    /// What kind of record: `A`, `AAAA`, `TXT`.
    pub kind: Cow<'static, str>,
    /// How it ended: 0 no error, 2 server failed, 3 no such name, 5 refused. 0 for a question.
    pub status: u8,
    /// Addresses, names and texts of the answer.
    pub answers: Vec<String>,
    /// Address of the server; empty if unknown.
    pub server_ip: String,
    /// Its port.
    pub server_port: u16,
}

/// A process asked the kernel for something that changes what it or the machine may do.
#[derive(Clone, Debug, PartialEq)]
pub struct CallActivity {
    /// The name of the system call: `ptrace`, `init_module`.
    pub call: Cow<'static, str>,
    /// Its arguments, as the registers held them.
    pub args: Vec<u64>,
    /// What it returned: an error as a negative number.
    pub result: i64,
    /// The name or path that belongs to it: of a module, a mount, a namespace; empty if there is none.
    pub detail: String,
    /// Who did it.
    pub actor: Process,
}

/// A sensor lost events: what is missing is known, and is told like anything else that happened.
#[derive(Clone, Debug, PartialEq)]
pub struct SensorLoss {
    /// Which sensor.
    pub sensor: SensorKind,
    /// How many since the last such event; 0 if it fell silent, and nobody knows how many.
    pub lost: u64,
    /// How many since the agent started.
    pub total: u64,
    /// The agent that tells it.
    pub agent: Process,
}

impl Event {
    /// The process that the event is about: the one started, the one that acted, or the agent itself.
    pub fn process(&self) -> &Process {
        match &self.body {
            Body::Process(p) => &p.process,
            Body::File(f) => &f.actor,
            Body::Network(n) => &n.actor,
            Body::Dns(d) => &d.actor,
            Body::Call(c) => &c.actor,
            Body::Log(l) => &l.actor,
            Body::Loss(l) => &l.agent,
        }
    }

    /// Sigma's category for this event.
    pub fn category(&self) -> &'static str {
        match &self.body {
            Body::Process(p) => match p.op {
                ProcessOp::Exec => "process_creation",
                ProcessOp::Exit => "process_termination",
                // No Sigma category: a fork runs no new program, and a found process started unseen.
                ProcessOp::Fork | ProcessOp::Found => "",
            },
            Body::File(f) => match f.op {
                FileOp::Create | FileOp::Update | FileOp::Link => "file_event",
                FileOp::Delete => "file_delete",
                FileOp::Rename => "file_rename",
                FileOp::Change => "file_change",
                FileOp::Read => "file_access",
            },
            Body::Network(n) => match n.op {
                NetworkOp::Open | NetworkOp::Refuse => "network_connection",
                // Not Sigma's: its connections have two ends.
                NetworkOp::Listen => "network_listen",
            },
            Body::Dns(_) => "dns_query",
            // Sigma has no category for it.
            Body::Call(_) => "system_call",
            // What a service writes has a service and no category.
            Body::Log(_) | Body::Loss(_) => "",
        }
    }
}

/// The field names that events answer to, in the order in which they are listed.
const PROCESS_FIELDS: &[&str] =
    &["Image", "CommandLine", "CurrentDirectory", "User", "ProcessId", "ProcessGuid"];
const PARENT_FIELDS: &[&str] =
    &["ParentImage", "ParentCommandLine", "ParentUser", "ParentProcessId", "ParentProcessGuid"];
const LAUNCH_FIELDS: &[&str] = &["LogonId", "Script", "ImageState"];
const FILE_FIELDS: &[&str] = &["TargetFilename", "SourceFilename", "Details"];
const CALL_FIELDS: &[&str] = &["SystemCall", "Arguments", "Result", "Details"];
/// Sysmon's names, and those of Sigma's category `dns`.
const DNS_FIELDS: &[&str] = &[
    "QueryName",
    "QueryStatus",
    "QueryResults",
    "query",
    "answer",
    "record_type",
    "DestinationIp",
    "DestinationPort",
];
const NETWORK_FIELDS: &[&str] = &[
    "Protocol",
    "Initiated",
    "SourceIp",
    "SourcePort",
    "DestinationIp",
    "DestinationPort",
    "DestinationHostname",
];

/// Every field that an event of a program's start may have.
pub fn process_creation_fields() -> impl Iterator<Item = &'static str> {
    PROCESS_FIELDS.iter().chain(PARENT_FIELDS).chain(LAUNCH_FIELDS).copied()
}

impl Fields for Event {
    fn log_source(&self) -> LogSource<'_> {
        let service = match &self.body {
            Body::Log(log) => log.services()[0],
            _ => "",
        };
        LogSource::new(&self.product, self.category(), service)
    }

    fn field(&self, name: &str) -> Option<Value<'_>> {
        let process = self.process();
        let value = match name {
            "Image" => text(&process.image),
            "CommandLine" => text(&process.command_line),
            "CurrentDirectory" => text(&process.cwd),
            "User" => text(&process.user.name),
            "ProcessId" => Some(Value::Int(i64::from(process.key.pid))),
            "ProcessGuid" => Some(Value::from(process.key.to_string())),
            _ => None,
        };
        if value.is_some() {
            return value;
        }
        match &self.body {
            Body::Process(p) if LAUNCH_FIELDS.contains(&name) => {
                p.launch.as_deref().and_then(|launch| launch.field(name, &p.process.image))
            }
            Body::Process(p) if IDENTITY_FIELDS.contains(&name) => {
                p.launch.as_deref().and_then(|launch| launch.identity.field(name))
            }
            Body::Process(p) => p.parent.as_ref().and_then(|parent| match name {
                "ParentImage" => text(&parent.image),
                "ParentCommandLine" => text(&parent.command_line),
                "ParentUser" => text(&parent.user.name),
                "ParentProcessId" => Some(Value::Int(i64::from(parent.key.pid))),
                "ParentProcessGuid" => Some(Value::from(parent.key.to_string())),
                _ => None,
            }),
            Body::Log(l) => l.field(name),
            Body::Loss(_) => None,
            Body::File(f) => match name {
                "TargetFilename" => text(&f.path),
                "SourceFilename" => f.old_path.as_deref().and_then(text),
                "Details" => text(&f.detail),
                _ => None,
            },
            Body::Call(c) => match name {
                "SystemCall" => text(&c.call),
                // As strace(1) and audit write them.
                "Arguments" => {
                    Some(Value::List(c.args.iter().map(|a| Value::from(format!("{a:x}"))).collect()))
                }
                "Result" => Some(Value::Int(c.result)),
                "Details" => text(&c.detail),
                _ => None,
            },
            Body::Dns(d) => match name {
                "QueryName" | "query" => text(&d.name),
                // What was not answered has no status.
                "QueryStatus" if d.response => Some(Value::Int(i64::from(d.status))),
                "QueryResults" if !d.answers.is_empty() => Some(Value::from(d.answers.join(";"))),
                "answer" if !d.answers.is_empty() => {
                    Some(Value::List(d.answers.iter().map(|a| Value::str(a)).collect()))
                }
                "record_type" => text(&d.kind),
                "DestinationIp" => text(&d.server_ip),
                "DestinationPort" => Some(Value::Int(i64::from(d.server_port))),
                _ => None,
            },
            Body::Network(n) => match name {
                "Protocol" => text(&n.protocol),
                // Sysmon writes this flag as text, and so rules compare it.
                "Initiated" => Some(Value::str(if n.initiated { "true" } else { "false" })),
                "SourceIp" => text(&n.src_ip),
                "SourcePort" => Some(Value::Int(i64::from(n.src_port))),
                "DestinationIp" => text(&n.dst_ip),
                "DestinationPort" => Some(Value::Int(i64::from(n.dst_port))),
                "DestinationHostname" => text(&n.dst_host),
                _ => None,
            },
        }
    }

    fn also(&self) -> &'static [&'static str] {
        match &self.body {
            // A name came to be, as with a file that was created.
            Body::File(f) if f.op == FileOp::Rename => &["file_event"],
            Body::Dns(_) => &["dns"],
            _ => &[],
        }
    }

    fn each_field(&self, visit: &mut dyn FnMut(&str, Value<'_>)) {
        if matches!(self.body, Body::Process(_)) {
            for name in LAUNCH_FIELDS.iter().chain(IDENTITY_FIELDS) {
                if let Some(value) = self.field(name) {
                    visit(name, value);
                }
            }
        }
        let own = match &self.body {
            Body::Process(_) => PARENT_FIELDS,
            Body::File(_) => FILE_FIELDS,
            Body::Network(_) => NETWORK_FIELDS,
            Body::Dns(_) => DNS_FIELDS,
            Body::Call(_) => CALL_FIELDS,
            Body::Log(l) if l.login.is_none() => LOG_FIELDS,
            Body::Log(_) => LOGIN_LINE_FIELDS,
            Body::Loss(_) => &[],
        };
        for name in PROCESS_FIELDS.iter().chain(own) {
            if let Some(value) = self.field(name) {
                visit(name, value);
            }
        }
    }
}

impl Launch {
    fn field<'a>(&'a self, name: &str, image: &str) -> Option<Value<'a>> {
        match name {
            // As Sysmon for Linux has it: the user who signed in, or whose the process is where nobody did.
            "LogonId" => text(self.login_uid.as_deref().unwrap_or(&self.real_uid)),
            "Script" => self.script.as_deref().and_then(text),
            "ImageState" => Some(Value::str(match (self.unnamed, image.starts_with("/memfd:")) {
                (false, _) => "named",
                (true, false) => "deleted",
                (true, true) => "memory",
            })),
            _ => None,
        }
    }
}

/// Unknown text is a missing field, not an empty one: a rule for an empty command line must not fire on it.
fn text(text: &str) -> Option<Value<'_>> {
    if text.is_empty() { None } else { Some(Value::str(text)) }
}
