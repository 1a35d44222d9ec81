//! What happened, in order: what the device saw, what the rule decided, what people did.

use wardline_event::{
    Body, Disposition, Event, FileOp, Finding, NetworkActivity, NetworkOp, Process, ProcessOp, Timestamp,
};
use wardline_kernel::page::{base_name, clock_time, spoken_us};

/// The most steps of the device's own events; the newest are left out first.
const MOST_EVENTS: usize = 60;

/// How a step is marked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mark {
    /// Something the device saw.
    Plain,
    /// What the rule matched.
    Hit,
    /// Done, and it worked.
    Done,
    /// It failed.
    Failed,
}

impl Mark {
    /// The class of the step.
    pub fn class(self) -> &'static str {
        match self {
            Self::Plain => "",
            Self::Hit => "wl-step--hit",
            Self::Done => "wl-step--done",
            Self::Failed => "wl-step--failed",
        }
    }
}

/// One step.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// When.
    pub at: Timestamp,
    /// Its mark.
    pub mark: Mark,
    /// A sentence.
    pub text: String,
    /// A command line, a path, an address; empty if there is none.
    pub code: String,
}

impl Step {
    /// A step of the device's own.
    pub fn new(at: Timestamp, mark: Mark, text: impl Into<String>, code: impl Into<String>) -> Self {
        Self { at, mark, text: text.into(), code: code.into() }
    }

    /// The time of day; steps of a person carry the whole date in their text.
    pub fn clock(&self) -> String {
        clock_time(self.at)
    }
}

fn who(process: &Process) -> String {
    let name = base_name(&process.image);
    if name.is_empty() { format!("process {}", process.key.pid) } else { name.to_owned() }
}

/// What an event says in a sentence; `None` for what only clutters (forks).
fn sentence(event: &Event) -> Option<(String, String)> {
    match &event.body {
        Body::Process(p) => {
            let (name, command) = (who(&p.process), p.process.command_line.clone());
            match p.op {
                ProcessOp::Fork => None,
                ProcessOp::Exec => Some((
                    match &p.parent {
                        Some(parent) => format!("{} started {name}", who(parent)),
                        None => format!("{name} started"),
                    },
                    command,
                )),
                ProcessOp::Found => Some((format!("{name} was already running"), command)),
                ProcessOp::Exit => Some((format!("{name} ended"), String::new())),
            }
        }
        Body::File(f) => {
            let verb = match f.op {
                FileOp::Create => "created a file",
                FileOp::Update => "wrote to a file",
                FileOp::Delete => "deleted a file",
                FileOp::Rename => "renamed a file",
                FileOp::Link => "linked a file",
                FileOp::Change => "changed a file's attributes",
                FileOp::Read => "read a file",
            };
            let path = match &f.old_path {
                Some(old) => format!("{old} → {}", f.path),
                None if !f.detail.is_empty() => format!("{} ({})", f.path, f.detail),
                None => f.path.clone(),
            };
            Some((format!("{} {verb}", who(&f.actor)), path))
        }
        Body::Network(n) => {
            let verb = match n.op {
                NetworkOp::Open if n.initiated => "connected to",
                NetworkOp::Open => "was connected to by",
                NetworkOp::Refuse => "was refused a connection to",
                NetworkOp::Listen => "began to listen on",
            };
            Some((format!("{} {verb}", who(&n.actor)), network_peer(n)))
        }
        Body::Dns(d) if d.response => {
            Some((format!("{} was answered about {}", who(&d.actor), d.name), d.answers.join(", ")))
        }
        Body::Dns(d) => Some((format!("{} asked for {}", who(&d.actor), d.name), d.kind.to_string())),
        Body::Call(c) => Some((format!("{} called {}", who(&c.actor), c.call), c.detail.clone())),
        Body::Log(l) => Some((l.words(), l.message.clone())),
        Body::Loss(l) if l.lost == 0 => Some((format!("{} sees no more", l.sensor.title()), String::new())),
        Body::Loss(l) => Some((
            format!("{} lost {} events", l.sensor.title(), l.lost),
            format!("{} since the agent started", l.total),
        )),
    }
}

fn network_peer(n: &NetworkActivity) -> String {
    let (host, port) = match n.op {
        NetworkOp::Listen => (&n.src_ip, n.src_port),
        NetworkOp::Open if !n.initiated => (&n.src_ip, n.src_port),
        _ if n.dst_host.is_empty() => (&n.dst_ip, n.dst_port),
        _ => (&n.dst_host, n.dst_port),
    };
    let host = if host.contains(':') { format!("[{host}]") } else { host.clone() };
    format!("{host}:{port} ({})", n.protocol)
}

/// The steps of a finding: the device's events around it, the match, the decision and its end, and `later`.
pub fn steps(finding: &Finding, events: &[Event], later: Vec<Step>) -> Vec<Step> {
    let mut steps = ancestry(finding);
    let device_steps =
        events.iter().filter(|event| event.id != finding.event.id).take(MOST_EVENTS).filter_map(|event| {
            sentence(event).map(|(text, code)| Step::new(event.time, Mark::Plain, text, code))
        });
    steps.extend(device_steps);
    let (text, code) = sentence(&finding.event)
        .unwrap_or_else(|| (format!("{} was copied", who(finding.event.process())), String::new()));
    steps.push(Step::new(finding.time, Mark::Hit, format!("{text}: this matched the rule"), code));
    steps.extend(response(finding));
    steps.extend(later);
    // Stable: steps of one millisecond stay in the order of cause and effect.
    steps.sort_by_key(|step| step.at);
    steps
}

/// When the process's ancestors started, as far as that is known.
fn ancestry(finding: &Finding) -> Vec<Step> {
    let line = &finding.ancestors;
    let starter =
        |i: usize| line.get(i + 1).map_or_else(String::new, |parent| format!("{} started ", who(parent)));
    line.iter()
        .enumerate()
        .filter(|(_, process)| process.started.0 > 0)
        .map(|(i, process)| {
            let text = match starter(i).as_str() {
                "" => format!("{} started", who(process)),
                by => format!("{by}{}", who(process)),
            };
            Step::new(process.started, Mark::Plain, text, process.command_line.clone())
        })
        .collect()
}

fn response(finding: &Finding) -> Vec<Step> {
    let action = &finding.action;
    let after =
        |us: u64| Timestamp(finding.time.0.saturating_add(i64::try_from(us / 1000).unwrap_or(i64::MAX)));
    let decided = after(action.decided_after_us);
    let took = spoken_us(action.decided_after_us);
    let mut steps = vec![match action.disposition {
        Disposition::Recorded => {
            Step::new(decided, Mark::Plain, format!("Recorded; this rule stops nothing (after {took})"), "")
        }
        Disposition::WouldAct => Step::new(
            decided,
            Mark::Plain,
            format!("Decided after {took}: would {}, but this device only monitors", action.action),
            "",
        ),
        Disposition::Withheld => Step::new(
            decided,
            Mark::Failed,
            format!("Decided after {took} not to {}{}", action.action, after_colon(&action.detail)),
            "",
        ),
        Disposition::Stopped | Disposition::Failed => {
            Step::new(decided, Mark::Plain, format!("Decided after {took}: {}", action.action), "")
        }
    }];
    match (action.disposition, action.done_after_us) {
        (Disposition::Stopped, Some(us)) => steps.push(Step::new(
            after(us),
            Mark::Done,
            format!("Done, confirmed after {}{}", spoken_us(us), after_colon(&action.detail)),
            "",
        )),
        (Disposition::Stopped, None) => {
            steps.push(Step::new(decided, Mark::Done, format!("Done{}", after_colon(&action.detail)), ""));
        }
        (Disposition::Failed, us) => steps.push(Step::new(
            after(us.unwrap_or(action.decided_after_us)),
            Mark::Failed,
            format!("Failed{}", after_colon(&action.detail)),
            "",
        )),
        _ => {}
    }
    steps
}

fn after_colon(detail: &str) -> String {
    if detail.is_empty() { String::new() } else { format!(": {detail}") }
}
