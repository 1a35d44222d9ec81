//! Findings about the agent itself, which no rule file makes.

use std::borrow::Cow;

use wardline_event::{
    ActionTaken, Body, Disposition, Event, Finding, MatchedField, RuleRef, SensorKind, SensorLoss, Severity,
    Technique,
};

use super::Guard;

/// What the agent has to say about itself.
pub struct OwnFinding {
    /// Stands where a rule's id does.
    pub id: &'static str,
    /// What it is called.
    pub title: &'static str,
    /// What it means and what to do.
    pub description: Cow<'static, str>,
    /// How bad it is.
    pub severity: Severity,
    /// The sensor or part that it is about.
    pub part: SensorKind,
    /// What was seen: field, expected, found.
    pub matched: (String, String, String),
    /// What was done.
    pub detail: String,
}

impl Guard {
    /// Records a finding about the agent itself. Each is what MITRE ATT&CK calls Impair Defenses: whether somebody did
    /// it is for a person to find out.
    pub fn tell_of_itself(&mut self, own: OwnFinding) {
        let agent = self.own_process();
        let total = self.sensors.iter().find(|s| s.kind == own.part).map_or(0, |s| s.lost);
        let event = Event {
            id: self.fresh_id(),
            time: self.now(),
            product: "linux".into(),
            simulated: own.part == SensorKind::Simulated,
            body: Body::Loss(SensorLoss { sensor: own.part, lost: 0, total, agent }),
        };
        let (field, pattern, value) = own.matched;
        let finding = Finding {
            id: self.fresh_id(),
            time: event.time,
            simulated: event.simulated,
            severity: own.severity,
            rule: RuleRef {
                id: own.id.to_owned(),
                title: own.title.to_owned(),
                description: own.description.into_owned(),
                source: String::new(),
            },
            // Impair Defenses: Disable or Modify Tools.
            techniques: vec![Technique("T1562.001".to_owned())],
            matched: vec![MatchedField { selection: "agent".to_owned(), field, pattern, value }],
            event,
            ancestors: Vec::new(),
            action: ActionTaken {
                disposition: Disposition::Recorded,
                action: String::new(),
                by: "the agent itself".to_owned(),
                detail: own.detail,
                decided_after_us: 0,
                done_after_us: None,
            },
        };
        self.record(&finding);
    }

    /// A sensor that saw sees no more, or not for certain: somebody may have blinded it.
    pub(super) fn fell_silent(&mut self, sensor: SensorKind, reason: &str) {
        self.tell_of_itself(OwnFinding {
            id: "5b0f2c9e-6a0c-4c0b-9a3e-0d6f7c1f5e21",
            title: "A sensor of this device no longer sees",
            description:
                "What happens on the device may go unseen since then. Find out whether somebody did it."
                    .into(),
            severity: Severity::High,
            part: sensor,
            matched: (sensor.title().to_owned(), "was live".to_owned(), reason.to_owned()),
            detail: format!("{}: {reason}", sensor.title()),
        });
    }

    /// Somebody removed or changed a containment in force; it is whole again.
    pub(super) fn containment_was_weakened(&mut self, rung: &str) {
        self.tell_of_itself(OwnFinding {
            id: "f3c1a6d2-0b6e-4e0a-8a57-1d2b9c7e4f60",
            title: "The containment of this device was tampered with",
            description: "This device is contained by order, and what keeps it so was removed or changed by somebody else than \
                          the agent. The agent put it back."
                .into(),
            severity: Severity::High,
            part: SensorKind::LinuxNetwork,
            matched: (rung.to_owned(), "in force and whole".to_owned(), "missing or changed".to_owned()),
            detail: format!("containment {rung} was put back"),
        });
    }

    /// Somebody traces the agent: reads or changes its memory, or holds it up.
    pub(super) fn watch_itself(&mut self, event: &Event) {
        let Body::Call(call) = &event.body else { return };
        let own = std::process::id();
        // ptrace(2): the request, then the process.
        let traced = call.call == "ptrace" && call.args.get(1) == Some(&u64::from(own));
        if !traced || call.actor.key.pid == own {
            return;
        }
        let actor = format!("{} (pid {})", call.actor.image, call.actor.key.pid);
        let done = if call.result == 0 { "it was let" } else { "the kernel refused" };
        self.tell_of_itself(OwnFinding {
            id: "2b7e9d14-6f3a-4b8c-9c1d-5a0e8f4d7b32",
            title: "Somebody traced the agent",
            description: "A process attached itself to the agent with ptrace: it can read and change its memory, and hold it \
                          up."
                .into(),
            severity: Severity::High,
            part: SensorKind::LinuxCall,
            matched: ("ptrace".to_owned(), "by nobody".to_owned(), actor.clone()),
            detail: format!("{actor} asked to trace process {own}; {done}"),
        });
    }

    /// The courier ended or had to be ended, and nobody had asked it to.
    pub fn courier_ended(&mut self, how: &str) {
        self.tell_of_itself(OwnFinding {
            id: "8a1d4f0b-52c7-4c1e-9d55-3b0e7f6a2c90",
            title: "The courier of this device has ended",
            description: "The part of the agent that speaks with the hub ended without being asked to: somebody ended it, \
                          or it failed. The guard went on protecting, and started another. Find out whether somebody did \
                          it."
                .into(),
            severity: Severity::High,
            part: SensorKind::LinuxProc,
            matched: ("courier".to_owned(), "was at work".to_owned(), how.to_owned()),
            detail: format!("{how}; it is started again"),
        });
    }
}
