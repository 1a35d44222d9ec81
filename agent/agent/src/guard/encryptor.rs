//! An encryptor that the ransomware guard has stopped: policy decides what becomes of it.

use wardline_event::{
    ActionTaken, Body, Disposition, Event, FileActivity, FileOp, Finding, MatchedField, Process, ProcessKey,
    RuleRef, Severity, Technique,
};
use wardline_policy::{Decision, Response, decide};

use super::Guard;
use super::finding::KILL;

/// Findings of the guard carry this id for a rule's.
const RULE_ID: &str = "6d1f0f3e-3f0b-4d0e-9a57-0c4b6a2f8e11";

/// A family of processes that destroys files, as the ransomware guard tells of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Encryptor {
    /// What the family descends from; it may have ended.
    pub root: ProcessKey,
    /// Its other processes, as far as they are known.
    pub others: Vec<ProcessKey>,
    /// What speaks against it, a sentence each.
    pub signs: Vec<String>,
    /// Files that it destroyed.
    pub files: Vec<String>,
    /// When it was stopped, in nanoseconds since boot.
    pub boot_ns: u64,
    /// Files that were copied before they were destroyed.
    pub copies: usize,
}

/// What became of an encryptor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judged {
    /// It is to stay stopped, because it was killed; else it must be let go.
    pub killed: bool,
    /// The finding's id.
    pub finding: String,
    /// Its program, as far as it is known.
    pub program: String,
}

impl Guard {
    /// True if policy lets a detection kill. Where it does not, nobody is so much as stopped.
    pub fn may_kill(&self) -> bool {
        decide(Response::Kill, &self.policy) == Decision::Kill
    }

    /// Kills an encryptor if policy says so, and records a finding.
    pub fn on_encryptor(&mut self, case: &Encryptor) -> Judged {
        let decided_after_us = self.since_us(case.boot_ns);
        let decision = decide(Response::Kill, &self.policy);
        let (disposition, detail, done_after_us) =
            self.respond(&decision, &case.root, &case.others, case.boot_ns);
        let killed = matches!(disposition, Disposition::Stopped | Disposition::Failed);
        let (actor, ancestors) = {
            let processes = self.processes();
            let unknown = Process { key: case.root, ..Process::default() };
            (processes.get(&case.root).unwrap_or(unknown), processes.ancestors(&case.root))
        };
        let program = actor.image.clone();
        let path = case.files.first().cloned().unwrap_or_default();
        let time = self.now();
        let activity =
            FileActivity { op: FileOp::Update, path, old_path: None, detail: String::new(), actor };
        let body = Body::File(activity);
        let event = Event { id: self.fresh_id(), time, product: "linux".into(), simulated: false, body };
        let because = |pattern: &str, value: &String| MatchedField {
            selection: "ransomware guard".to_owned(),
            field: String::new(),
            pattern: pattern.to_owned(),
            value: value.chars().take(1000).collect(),
        };
        let matched = case.signs.iter().map(|sign| because("sign", sign));
        let matched = matched.chain(case.files.iter().map(|file| because("destroyed", file)));
        let id = self.fresh_id();
        // Said before they are kept for good, which takes as long as a disk does.
        let (files, undo) = (case.copies, format!("sudo wardline agent undo {id}"));
        let copies =
            (files > 0).then(|| because("copies", &format!("{files} files; give them back with: {undo}")));
        let matched = matched.chain(copies).collect();
        let judged = Judged { killed, finding: id.to_string(), program };
        let finding = Finding {
            id,
            time,
            simulated: false,
            severity: Severity::Critical,
            rule: RuleRef {
                id: RULE_ID.to_owned(),
                title: "Files are being encrypted".to_owned(),
                description: "A program reads people's files and puts what looks random in their place."
                    .to_owned(),
                source: String::new(),
            },
            techniques: vec![Technique("T1486".to_owned())],
            matched,
            event,
            ancestors,
            action: ActionTaken {
                disposition,
                action: KILL.to_owned(),
                by: "ransomware guard".to_owned(),
                detail,
                decided_after_us,
                done_after_us,
            },
        };
        self.record(&finding);
        judged
    }
}
