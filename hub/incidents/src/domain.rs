//! Rules about findings, and the growing of process trees. Pure.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use wardline_event::{Body, Event, Finding, Process, ProcessKey, ProcessOp};

/// What a person has made of a finding.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum FindingState {
    /// Nobody has looked at it.
    New,
    /// Somebody is on it.
    Acknowledged,
    /// Done with.
    Closed,
}

impl FindingState {
    /// All states.
    pub const ALL: [Self; 3] = [Self::New, Self::Acknowledged, Self::Closed];

    /// `new`, `acknowledged` or `closed`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Acknowledged => "acknowledged",
            Self::Closed => "closed",
        }
    }

    /// Reads [`FindingState::as_str`].
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|s| s.as_str() == text)
    }

    /// Whether a person may move it there: on, or back from closed to acknowledged; never to unseen.
    pub fn may_become(self, next: Self) -> bool {
        next != self && next != Self::New
    }
}

/// Where a process stands in a finding's tree.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum NodeRole {
    /// Above the process that the finding is about.
    Ancestor,
    /// The process that the finding is about.
    Subject,
    /// Started by it, directly or not.
    Descendant,
}

/// A process in a finding's tree.
#[derive(Clone, PartialEq, Debug, Serialize, ToSchema)]
pub struct ProcessNode {
    /// Its key.
    pub key: String,
    /// Its parent's key, if the parent is in the tree.
    pub parent: Option<String>,
    /// How deep it stands; 0 for the root.
    pub depth: u32,
    /// Where it stands.
    pub role: NodeRole,
    /// Its process id.
    pub pid: u32,
    /// Its executable; empty if unknown.
    pub image: String,
    /// Its command line; empty if unknown.
    pub command_line: String,
    /// Its user's name, or id if the name is unknown.
    pub user: String,
    /// When it started, by the device's clock.
    pub started_ms: i64,
    /// When it ended; absent if no end was seen.
    pub ended_ms: Option<i64>,
}

fn node(process: &Process, role: NodeRole) -> ProcessNode {
    let user = if process.user.name.is_empty() { &process.user.uid } else { &process.user.name };
    ProcessNode {
        key: process.key.to_string(),
        parent: None,
        depth: 0,
        role,
        pid: process.key.pid,
        image: process.image.clone(),
        command_line: process.command_line.clone(),
        user: user.clone(),
        started_ms: process.started.0,
        ended_ms: None,
    }
}

/// Makes a finding's tree: its ancestors in one line, the process, and what it started, depth first.
///
/// `events` are the process events of the subject and its descendants in the order in which they happened; any
/// others are left out.
pub fn grow_tree(finding: &Finding, events: &[Event]) -> Vec<ProcessNode> {
    let subject = finding.event.process();
    let mut nodes: Vec<ProcessNode> = Vec::new();
    for (depth, ancestor) in finding.ancestors.iter().rev().enumerate() {
        let mut next = node(ancestor, NodeRole::Ancestor);
        next.depth = depth as u32;
        next.parent = nodes.last().map(|above| above.key.clone());
        nodes.push(next);
    }

    let mut known: BTreeMap<ProcessKey, ProcessNode> = BTreeMap::new();
    let mut children: BTreeMap<ProcessKey, Vec<ProcessKey>> = BTreeMap::new();
    known.insert(subject.key, node(subject, NodeRole::Subject));
    for event in events {
        let Body::Process(activity) = &event.body else { continue };
        let key = activity.process.key;
        // The parent that made it: later ones adopted it.
        let born = !known.contains_key(&key);
        if let Some(parent) = activity.parent.as_ref().filter(|parent| born && parent.key != key) {
            let of_parent = children.entry(parent.key).or_default();
            if !of_parent.contains(&key) {
                of_parent.push(key);
            }
        }
        let entry = known.entry(key).or_insert_with(|| node(&activity.process, NodeRole::Descendant));
        match activity.op {
            ProcessOp::Exit => entry.ended_ms = Some(event.time.0),
            // A process may run one program after another; the finding's own stays as the rule saw it.
            _ if key != subject.key && !activity.process.image.is_empty() => {
                let ended_ms = entry.ended_ms;
                *entry = ProcessNode { ended_ms, ..node(&activity.process, NodeRole::Descendant) };
            }
            _ => {}
        }
    }

    // Depth first; each process once, so that a hostile loop of parents ends.
    let mut seen: BTreeSet<ProcessKey> = finding.ancestors.iter().map(|a| a.key).collect();
    let mut stack = vec![(subject.key, nodes.last().map(|above| above.key.clone()), nodes.len() as u32)];
    while let Some((key, parent, depth)) = stack.pop() {
        if !seen.insert(key) {
            continue;
        }
        let Some(mut next) = known.remove(&key) else { continue };
        (next.parent, next.depth) = (parent, depth);
        let below = children.remove(&key).unwrap_or_default();
        stack.extend(below.into_iter().rev().map(|child| (child, Some(next.key.clone()), depth + 1)));
        nodes.push(next);
    }
    nodes
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use wardline_event::{
        ActionTaken, BootId, Disposition, EventId, ProcessActivity, RuleRef, Severity, Timestamp, User,
    };

    pub(crate) fn process(pid: u32, image: &str) -> Process {
        Process {
            key: ProcessKey { boot: BootId(1), start_ticks: u64::from(pid), pid },
            image: image.into(),
            command_line: format!("{image} -x"),
            user: User { uid: "0".into(), name: "root".into() },
            started: Timestamp(i64::from(pid)),
            ..Process::default()
        }
    }

    pub(crate) fn event(op: ProcessOp, process: Process, parent: Option<Process>) -> Event {
        Event {
            id: EventId(u128::from(process.key.pid)),
            time: Timestamp(i64::from(process.key.pid) * 10),
            product: "linux".into(),
            simulated: false,
            body: Body::Process(ProcessActivity { op, process, parent, exit_code: None, launch: None }),
        }
    }

    pub(crate) fn finding() -> Finding {
        Finding {
            id: EventId(99),
            time: Timestamp(30),
            simulated: false,
            severity: Severity::High,
            rule: RuleRef {
                id: "r".into(),
                title: "t".into(),
                description: String::new(),
                source: String::new(),
            },
            techniques: Vec::new(),
            matched: Vec::new(),
            event: event(ProcessOp::Exec, process(3, "/bin/sh"), Some(process(2, "/usr/sbin/nginx"))),
            ancestors: vec![process(2, "/usr/sbin/nginx"), process(1, "/sbin/init")],
            action: ActionTaken {
                disposition: Disposition::Recorded,
                action: String::new(),
                by: "rule t".into(),
                detail: String::new(),
                decided_after_us: 1,
                done_after_us: None,
            },
        }
    }

    fn drawn(nodes: &[ProcessNode]) -> Vec<String> {
        nodes
            .iter()
            .map(|n| {
                format!("{}{}{}", " ".repeat(n.depth as usize), n.image, n.ended_ms.map_or("", |_| " †"))
            })
            .collect()
    }

    #[test]
    fn a_tree_has_its_roots_its_subject_and_what_it_started() {
        let (sh, curl, perl, tr) = (
            process(3, "/bin/sh"),
            process(4, "/bin/sh"),
            process(5, "/usr/bin/perl"),
            process(6, "/usr/bin/tr"),
        );
        let events = [
            event(ProcessOp::Fork, curl.clone(), Some(sh.clone())),
            event(
                ProcessOp::Exec,
                Process { image: "/usr/bin/curl".into(), ..curl.clone() },
                Some(sh.clone()),
            ),
            event(ProcessOp::Exec, perl.clone(), Some(sh.clone())),
            event(ProcessOp::Exec, tr, Some(curl.clone())),
            event(ProcessOp::Exit, curl, Some(sh)),
            // Nobody's child.
            event(ProcessOp::Exec, process(9, "/usr/bin/top"), Some(process(8, "/bin/zsh"))),
        ];
        assert_eq!(
            drawn(&grow_tree(&finding(), &events)),
            [
                "/sbin/init",
                " /usr/sbin/nginx",
                "  /bin/sh",
                "   /usr/bin/curl †",
                "    /usr/bin/tr",
                "   /usr/bin/perl",
            ]
        );
    }

    #[test]
    fn a_loop_of_parents_ends() {
        let (a, b) = (process(3, "/a"), process(4, "/b"));
        let events = [
            event(ProcessOp::Exec, b.clone(), Some(a.clone())),
            event(ProcessOp::Exec, a.clone(), Some(b.clone())),
            event(ProcessOp::Exec, a.clone(), Some(a)),
        ];
        assert_eq!(grow_tree(&finding(), &events).len(), 4);
    }
}
