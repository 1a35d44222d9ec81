//! Makes events of the kernel's records.

use std::borrow::Cow;
use std::net::SocketAddr;

use wardline_event::{
    Body, CallActivity, DnsActivity, FileActivity, FileOp, Identity, Launch, NetworkActivity, NetworkOp,
    Process, ProcessActivity, ProcessOp, Stopped,
};
use wardline_sense::Sensed;
use wardline_sense::dns::{Answer, Data, kind_name};

use super::{EbpfSensor, TRUNCATED};
use crate::identity::Wanted;
use crate::procfs::{self, Stat};
use crate::record::{
    Call, Dns, Exec, File, Kind, Network, NetworkWhat, ProcessId, Record, WalkedPath, What, command_line,
};

impl EbpfSensor {
    pub(super) fn sense(&mut self, record: Record) -> Sensed {
        let Record { time_ns, process, parent, what } = record;
        let kind = match &what {
            What::Fork { .. } => Kind::Fork,
            What::Exec(_) => Kind::Exec,
            What::Exit { .. } => Kind::Exit,
            What::Network(_) => Kind::Network,
            What::File(_) => Kind::File,
            What::Call(_) => Kind::Call,
            What::Dns(_) => Kind::Dns,
        };
        self.accounts.delivered[kind as usize] += 1;
        match what {
            What::Fork { creator } => {
                self.process(ProcessOp::Fork, process, parent, Some(creator), None, None, time_ns)
            }
            What::Exec(exec) if exec.refused => self.refused(process, parent, &exec, time_ns),
            What::Exec(exec) => {
                self.process(ProcessOp::Exec, process, parent, None, Some(*exec), None, time_ns)
            }
            What::Exit { status } => {
                self.process(ProcessOp::Exit, process, parent, None, None, Some(status), time_ns)
            }
            What::Network(network) => {
                let actor = self.actor(process);
                let mut activity = activity(actor, &network);
                if activity.initiated {
                    let host = self.hosts.name(network.remote.ip(), activity.actor.key, time_ns);
                    host.unwrap_or_default().clone_into(&mut activity.dst_host);
                }
                self.context.event(Body::Network(activity), time_ns)
            }
            What::File(file) => {
                let actor = self.actor(process);
                self.context.event(Body::File(file_activity(actor, &file)), time_ns)
            }
            What::Dns(dns) => {
                let actor = self.actor(process);
                let is_system = process.euid < FIRST_PERSON;
                self.hosts.learn(&dns.message, actor.key, is_system, time_ns);
                self.context.event(Body::Dns(dns_activity(actor, *dns)), time_ns)
            }
            What::Call(call) => {
                let actor = self.actor(process);
                let Call { name, args, result, detail } = *call;
                let args = args.to_vec();
                self.context
                    .event(Body::Call(CallActivity { call: name, args, result, detail, actor }), time_ns)
            }
        }
    }

    /// Who did it, as the process table knows them.
    fn actor(&mut self, id: ProcessId) -> Process {
        let key = self.context.key(id.start_ns, id.tgid);
        let started = self.context.utc(id.start_ns);
        self.context.actor(key, started, id.euid)
    }

    #[expect(clippy::too_many_arguments, reason = "each kind of record has its part of them")]
    fn process(
        &mut self,
        op: ProcessOp,
        process: ProcessId,
        parent: ProcessId,
        creator: Option<ProcessId>,
        exec: Option<Exec>,
        exit_code: Option<i32>,
        time_ns: u64,
    ) -> Sensed {
        let key = |id: ProcessId| self.context.key(id.start_ns, id.tgid);
        let creator = creator.map(key);
        let mut seen =
            Process { key: key(process), started: self.context.utc(process.start_ns), ..Process::default() };
        // The idle task "parents" init; it is no process.
        let mut known_parent = (parent.tgid != 0).then(|| Process { key: key(parent), ..Process::default() });
        if op != ProcessOp::Exit {
            seen.user = self.context.users.user(process.euid);
        }
        let (mut launch, mut file) = (None, None);
        if let Some(exec) = exec {
            file = exec.file;
            if let Some(known) = &mut known_parent {
                known.user = self.context.users.user(parent.euid);
            }
            launch = Some(Box::new(launch_of(&exec)));
            self.fill(&mut seen, exec);
        }
        let activity = ProcessActivity { op, process: seen, parent: known_parent, exit_code, launch };
        let mut sensed = self.context.sense(activity, creator.as_ref(), time_ns);
        if let (Some(identities), Some(state)) = (&self.identities, file)
            && let Body::Process(p) = &mut sensed.event.body
            && let Some(launch) = &mut p.launch
        {
            let path = (!launch.unnamed).then(|| p.process.image.clone());
            let wanted = Wanted { state, process: p.process.key, path };
            launch.identity = identities.ask(sensed.event.id, wanted);
        }
        sensed
    }

    /// A program that was not let in. The process goes on with what it ran before, so the table does not learn of it.
    fn refused(&mut self, process: ProcessId, parent: ProcessId, exec: &Exec, time_ns: u64) -> Sensed {
        let mut seen = self.actor(process);
        let launch = Some(Box::new(launch_of(exec)));
        seen.image = exec.exe.told();
        seen.cwd = exec.cwd.told();
        // Nobody knows it yet when the kernel asks.
        seen.command_line.clear();
        let parent = (parent.tgid != 0).then(|| self.actor(parent));
        let op = ProcessOp::Exec;
        let activity = ProcessActivity { op, process: seen, parent, exit_code: None, launch };
        self.context.event(Body::Process(activity), time_ns)
    }

    /// Everything comes from the kernel; `/proc` is asked only for what did not fit.
    fn fill(&mut self, process: &mut Process, exec: Exec) {
        let key = process.key;
        let from_proc = |name: &str| {
            let path = procfs::link(key.pid, name).ok()?;
            let same = Stat::read(key.pid).is_ok_and(|stat| stat.start_ticks == key.start_ticks);
            same.then_some(path)
        };
        let complete = |walked: WalkedPath, name: &str| {
            if walked.complete {
                return walked.path;
            }
            from_proc(name).unwrap_or_else(|| format!("…/{}", walked.path))
        };
        process.image = complete(exec.exe, "exe");
        if exec.exe_gone && !process.image.ends_with(" (deleted)") {
            // As /proc/PID/exe shows it.
            process.image.push_str(" (deleted)");
        }
        process.cwd = complete(exec.cwd, "cwd");
        process.command_line = command_line(&exec.args);
        if exec.args_cut {
            process.command_line.push_str(TRUNCATED);
            self.accounts.truncated += 1;
        }
        process.cgroup_id = exec.cgroup;
        process.container = self.context.cgroups.container(exec.cgroup, exec.cgroup_v1, key.pid);
    }
}

fn launch_of(exec: &Exec) -> Launch {
    let mut args: Vec<&[u8]> = exec.args.split(|b| *b == 0).collect();
    // Behind the last NUL stands nothing, if the last argument is whole.
    args.pop_if(|last| last.is_empty());
    Launch {
        args: args.into_iter().map(|arg| String::from_utf8_lossy(arg).into_owned()).collect(),
        script: exec.script.clone(),
        unnamed: exec.exe_gone,
        real_uid: exec.uid.to_string(),
        login_uid: exec.login_uid.map(|uid| uid.to_string()),
        capabilities: exec.capabilities,
        stopped: exec.verdict.map(|rule| Stopped {
            refused: exec.refused,
            rule: rule as usize,
            after_ns: exec.verdict_ns,
        }),
        identity: Identity::default(),
    }
}

/// Users below this number are the system's own, as Debian and others have it (`UID_MIN` of login.defs).
const FIRST_PERSON: u32 = 1000;

fn dns_activity(actor: Process, dns: Dns) -> DnsActivity {
    let Dns { server, message } = dns;
    let answer = |answer: Answer| match answer.data {
        Data::Address(ip) => Some(ip.to_string()),
        Data::Name(text) | Data::Text(text) => Some(text),
        Data::Other => None,
    };
    DnsActivity {
        response: message.response,
        actor,
        name: message.name,
        kind: kind_name(message.kind).into(),
        status: if message.response { message.status } else { 0 },
        answers: message.answers.into_iter().filter_map(answer).collect(),
        server_ip: if server.ip().is_unspecified() { String::new() } else { server.ip().to_string() },
        server_port: server.port(),
    }
}

fn file_activity(actor: Process, file: &File) -> FileActivity {
    let (path, old_path) = match (&file.second, file.op) {
        // What it became, and what it was.
        (Some(second), FileOp::Rename | FileOp::Link) => (second.told(), Some(file.path.told())),
        _ => (file.path.told(), None),
    };
    FileActivity { op: file.op, path, old_path, detail: file.change(), actor }
}

/// Errors of connect(2) after which an attempt is still under way.
const EINTR: i32 = 4;
const EAGAIN: i32 = 11;
const EINPROGRESS: i32 = 115;

/// The event of a network record. The source is who opened the connection.
fn activity(actor: Process, network: &Network) -> NetworkActivity {
    let under_way = [0, -EINTR, -EAGAIN, -EINPROGRESS].contains(&network.result);
    let op = match network.what {
        NetworkWhat::Listen => NetworkOp::Listen,
        NetworkWhat::Connect if !under_way => NetworkOp::Refuse,
        NetworkWhat::Connect | NetworkWhat::Accept | NetworkWhat::Send => NetworkOp::Open,
    };
    let initiated = matches!(network.what, NetworkWhat::Connect | NetworkWhat::Send);
    let (source, destination) = match network.what {
        NetworkWhat::Accept => (Some(network.remote), Some(network.local)),
        NetworkWhat::Listen => (Some(network.local), None),
        NetworkWhat::Connect | NetworkWhat::Send => (Some(network.local), Some(network.remote)),
    };
    let protocol = match network.protocol {
        1 => Cow::Borrowed("icmp"),
        6 => Cow::Borrowed("tcp"),
        17 => Cow::Borrowed("udp"),
        58 => Cow::Borrowed("icmp6"),
        132 => Cow::Borrowed("sctp"),
        other => Cow::Owned(format!("ip-{other}")),
    };
    // A listener on every address has one: the wildcard. Elsewhere zeros say that it is not chosen yet.
    let ip = |end: Option<SocketAddr>| match end {
        Some(end) if op == NetworkOp::Listen || !end.ip().is_unspecified() => end.ip().to_string(),
        _ => String::new(),
    };
    let port = |end: Option<SocketAddr>| end.map_or(0, |end| end.port());
    NetworkActivity {
        op,
        actor,
        protocol,
        initiated,
        src_ip: ip(source),
        src_port: port(source),
        dst_ip: ip(destination),
        dst_port: port(destination),
        dst_host: String::new(),
    }
}
