//! One finding, told from its first line for a person who was woken by it down to the evidence for an analyst.

use askama::Template;
use wardline_event::{Disposition, Event, Finding, MatchedField, Process, ProcessOp, Timestamp};
use wardline_kernel::page::{
    ActionRow, Ago, ContainForm, Exact, IsolateForm, KillForm, OrderedList, ReleaseForm, Tag, Tone,
    base_name, filters, spoken_us,
};
use wardline_kernel::views::{DeviceSummary, Presence};

use super::list::{name_or, state_tag};
use super::timeline::{Step, steps};
use super::tree::Tree;
use crate::domain::{NodeRole, ProcessNode};

/// What a person made of the finding.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Handling {
    /// `new`, `acknowledged`, `closed`.
    pub state: String,
    /// Who changed it last; empty if nobody.
    pub by: String,
    /// When.
    pub at: Option<Timestamp>,
    /// Why.
    pub reason: String,
}

/// What the page is made of.
pub struct Parts<'a> {
    /// The finding.
    pub finding: &'a Finding,
    /// The device's id.
    pub device_id: &'a str,
    /// The device; `None` if it is not known here.
    pub device: Option<&'a DeviceSummary>,
    /// Where the process came from and what it started, depth first.
    pub tree: &'a [ProcessNode],
    /// What it and its descendants did, oldest first.
    pub events: &'a [Event],
    /// What a person made of it.
    pub handling: Handling,
    /// What was ordered on this device since, newest first.
    pub actions: Vec<ActionRow>,
    /// When the hub received it.
    pub received: Option<Timestamp>,
    /// The OCSF finding.
    pub evidence: String,
    /// Now.
    pub now: Timestamp,
}

/// The page.
#[derive(Template)]
#[template(path = "finding.html")]
#[allow(clippy::struct_excessive_bools)] // What the template asks, yes or no.
pub struct FindingPage {
    id: String,
    here: String,
    title: String,
    severity: Tag,
    done: Tag,
    simulated: bool,
    happened: String,
    outcome: String,
    means: String,
    handling: Handling,
    handled: Option<Ago>,
    state: Tag,
    device_id: String,
    hostname: String,
    role: String,
    device_known: bool,
    presence: Tag,
    isolated: Option<Exact>,
    mode: String,
    process: String,
    image: String,
    user: String,
    cwd: String,
    container: String,
    pid: u32,
    process_key: String,
    when: Exact,
    ago: Ago,
    received: Option<Exact>,
    decided: String,
    ended: Option<String>,
    by: String,
    detail: String,
    rule_id: String,
    rule_source: String,
    techniques: Vec<String>,
    matched: Vec<MatchedField>,
    tree: Tree,
    steps: Vec<Step>,
    actions: Vec<ActionRow>,
    evidence: String,
    may_kill: bool,
    clinical: bool,
    silent: bool,
}

impl FindingPage {
    /// Tells the finding.
    pub fn of(parts: Parts<'_>) -> Self {
        let Parts { finding, device_id, device, tree, events, handling, actions, received, evidence, now } =
            parts;
        let process = finding.event.process();
        let hostname = device.map_or_else(
            || "a device that is not known here".to_owned(),
            |d| name_or(&d.hostname, "a device without a name"),
        );
        let id = finding.id.to_string();
        let later = later(&handling, &actions);
        Self {
            here: format!("/findings/{id}"),
            id,
            title: finding.rule.title.clone(),
            severity: Tag::severity(finding.severity),
            done: Tag::disposition(finding.action.disposition, &finding.action.action),
            simulated: finding.simulated,
            happened: happened(finding),
            outcome: outcome(finding),
            means: finding.rule.description.clone(),
            state: state_tag(&handling.state),
            handled: handling.at.map(|at| Ago { at, now }),
            handling,
            device_id: device_id.to_owned(),
            role: device.map_or_else(String::new, |d| d.role.clone()),
            device_known: device.is_some(),
            presence: presence(device),
            isolated: device.and_then(|d| d.isolated_until_ms).map(|ms| Exact(Timestamp(ms))),
            mode: device.map_or_else(
                || "unknown".to_owned(),
                |d| d.mode_in_force.clone().unwrap_or_else(|| "not confirmed by the device".to_owned()),
            ),
            hostname,
            process: called(process),
            image: process.image.clone(),
            user: user(process),
            cwd: process.cwd.clone(),
            container: process.container.clone().unwrap_or_default(),
            pid: process.key.pid,
            process_key: process.key.to_string(),
            when: Exact(finding.time),
            ago: Ago { at: finding.time, now },
            received: received.map(Exact),
            decided: spoken_us(finding.action.decided_after_us),
            ended: finding.action.done_after_us.map(spoken_us),
            by: name_or(&finding.action.by, "nobody"),
            detail: finding.action.detail.clone(),
            rule_id: finding.rule.id.clone(),
            rule_source: finding.rule.source.clone(),
            techniques: finding.techniques.iter().map(|t| t.0.clone()).collect(),
            matched: finding.matched.clone(),
            tree: Tree::of(finding, tree),
            steps: steps(finding, events, later),
            actions,
            evidence,
            may_kill: finding.action.disposition != Disposition::Stopped
                && tree.iter().all(|n| n.role != NodeRole::Subject || n.ended_ms.is_none()),
            clinical: device.is_some_and(|d| d.class == "clinical"),
            silent: device.is_none_or(|d| d.presence != Presence::Live),
        }
    }

    fn kill_form(&self) -> KillForm<'_> {
        KillForm {
            device: &self.device_id,
            hostname: &self.hostname,
            process_key: &self.process_key,
            process: &self.process,
            pid: self.pid,
            clinical: self.clinical,
            back: &self.here,
        }
    }

    fn isolate_form(&self) -> IsolateForm<'_> {
        IsolateForm {
            device: &self.device_id,
            hostname: &self.hostname,
            clinical: self.clinical,
            silent: self.silent,
            kept: None,
            back: &self.here,
        }
    }

    /// Cuts the network of the process, and lets it live.
    fn cut_form(&self) -> ContainForm<'_> {
        ContainForm {
            device: &self.device_id,
            hostname: &self.hostname,
            rung: format!("process/{}", self.process_key),
            process: &self.process,
            clinical: self.clinical,
            kept: None,
            break_glass: &[],
            back: &self.here,
        }
    }

    fn release_form(&self) -> ReleaseForm<'_> {
        ReleaseForm { device: &self.device_id, hostname: &self.hostname, back: &self.here }
    }

    fn ordered(&self) -> OrderedList<'_> {
        OrderedList { actions: &self.actions, back: &self.here }
    }
}

/// What people call a process.
fn called(process: &Process) -> String {
    name_or(base_name(&process.image), "a program without a name")
}

fn user(process: &Process) -> String {
    match (process.user.name.as_str(), process.user.uid.as_str()) {
        ("", "") => "unknown".to_owned(),
        ("", uid) => uid.to_owned(),
        (name, _) => name.to_owned(),
    }
}

/// Who did what: the middle of the first sentence, between the device and the full stop.
fn happened(finding: &Finding) -> String {
    use wardline_event::{Body, FileOp, NetworkOp};
    let event: &Event = &finding.event;
    let name = called(event.process());
    let by = match user(event.process()) {
        name if name == "unknown" => "an unknown user".to_owned(),
        name => format!("user {name}"),
    };
    match &event.body {
        Body::Process(p) => match (&p.parent, p.op) {
            (_, ProcessOp::Found) => format!("{name} was running as {by}"),
            (Some(parent), _) if !parent.image.is_empty() => {
                format!("{} started {name} as {by}", called(parent))
            }
            _ => format!("{name} was started as {by}"),
        },
        Body::File(f) => {
            let verb = match f.op {
                FileOp::Create => "created",
                FileOp::Update => "changed",
                FileOp::Delete => "deleted",
                FileOp::Rename => "renamed",
                FileOp::Link => "made a link to",
                FileOp::Change => "changed the attributes of",
                FileOp::Read => "read",
            };
            format!("{name} {verb} {} as {by}", base_name(&f.path))
        }
        Body::Network(n) => match n.op {
            NetworkOp::Listen => format!("{name} opened port {} as {by}", n.src_port),
            NetworkOp::Open if !n.initiated => format!("{name} was connected to from {} as {by}", n.src_ip),
            _ => {
                format!("{name} connected to {} port {} as {by}", name_or(&n.dst_host, &n.dst_ip), n.dst_port)
            }
        },
        Body::Dns(d) if d.response => format!("{name} learned where {} is as {by}", d.name),
        Body::Dns(d) => format!("{name} asked for {} as {by}", d.name),
        Body::Call(c) => format!("{name} called {} as {by}", c.call),
        Body::Log(l) => l.words(),
        Body::Loss(l) if l.lost == 0 => format!("the sensor {} sees no more", l.sensor.title()),
        Body::Loss(l) => format!("the sensor {} lost {} events", l.sensor.title(), l.lost),
    }
}

/// What was done about it and how fast, in one or two sentences.
fn outcome(finding: &Finding) -> String {
    let action = &finding.action;
    let kill = action.action.contains("kill");
    match action.disposition {
        Disposition::Stopped => {
            let what = if kill { "killed it and everything it started" } else { "stopped it" };
            match action.done_after_us {
                Some(us) => format!("Wardline {what}, {} after it began.", spoken_us(us)),
                None => format!("Wardline {what}."),
            }
        }
        Disposition::WouldAct if kill => {
            "It was not stopped: this device only monitors. In protect mode Wardline \
             would have killed it and everything it started."
                .to_owned()
        }
        Disposition::WouldAct => {
            format!(
                "It was not stopped: this device only monitors. In protect mode Wardline would {}.",
                action.action
            )
        }
        Disposition::Withheld => "It was not stopped: a safety rule held Wardline back.".to_owned(),
        Disposition::Failed => "Wardline tried to stop it and could not. It may still be running.".to_owned(),
        Disposition::Recorded => "It was recorded. This rule does not stop anything by itself.".to_owned(),
    }
}

fn presence(device: Option<&DeviceSummary>) -> Tag {
    match device.map(|d| d.presence) {
        Some(Presence::Live) => Tag::new(Tone::Good, "Online"),
        Some(Presence::Silent) => Tag::new(Tone::Bad, "Silent"),
        Some(Presence::NeverConnected) => Tag::new(Tone::Warn, "Never seen"),
        Some(Presence::Revoked) => Tag::new(Tone::Plain, "Revoked"),
        None => Tag::new(Tone::Warn, "Unknown"),
    }
}

/// What people did later.
fn later(handling: &Handling, actions: &[ActionRow]) -> Vec<Step> {
    use super::timeline::Mark;
    let mut steps: Vec<Step> = actions
        .iter()
        .map(|a| Step::new(a.when.at, Mark::Plain, format!("{} ordered: {}", a.by, a.what), a.reason.clone()))
        .collect();
    if let Some(at) = handling.at
        && !handling.by.is_empty()
    {
        let did = match handling.state.as_str() {
            "acknowledged" => "acknowledged this finding",
            "closed" => "closed this finding",
            _ => "opened this finding again",
        };
        steps.push(Step::new(at, Mark::Plain, format!("{} {did}", handling.by), handling.reason.clone()));
    }
    steps
}
