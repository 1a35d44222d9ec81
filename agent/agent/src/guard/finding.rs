//! From a match to a finding: decide, act, and say what was done.

use std::collections::HashSet;

use tracing::{info, warn};
use wardline_event::{
    ActionTaken, AuditView, Body, Disposition, Event, Finding, MatchedField, ProcessKey, RuleRef, Severity,
    ocsf,
};
use wardline_policy::{Decision, Response, decide};
use wardline_respond::{KillError, KillReport};
use wardline_sigma::{Attributes, Match};
use wardline_wire::proto::RecordKind;

use super::Guard;
use super::kernel::stopped_of;

/// What killing is called wherever people read it.
pub(super) const KILL: &str = "kill process tree";

/// Rule and process pairs that already led to a finding. A process that opens a thousand connections is one
/// finding per rule, not a thousand; each exec is a finding of its own.
#[derive(Default)]
pub struct Repeats(HashSet<(usize, ProcessKey)>);

/// Past this many pairs the memory of repeats starts afresh: a repeated finding is better than unbounded memory.
const REPEATS: usize = 10_000;

impl Repeats {
    fn is_new(&mut self, rule: usize, event: &Event) -> bool {
        if matches!(event.body, Body::Process(_)) {
            return true;
        }
        if self.0.len() >= REPEATS {
            self.0.clear();
        }
        self.0.insert((rule, event.process().key))
    }
}

/// What fired.
pub(super) enum Reason {
    /// The rule with this index.
    Rule(usize),
    /// A correlation, whose last event is the one that it fired on.
    Correlation(Match),
}

impl Guard {
    fn response(&self, reason: &Reason) -> Response {
        match reason {
            Reason::Rule(rule) => self.parts.rules.response(*rule),
            Reason::Correlation(found) => self.parts.rules.correlated_response(found.correlation),
        }
    }

    fn attributes(&self, reason: &Reason) -> &Attributes {
        match reason {
            Reason::Rule(rule) => &self.parts.rules.set.rules()[*rule].attributes,
            Reason::Correlation(found) => {
                &self.parts.rules.correlations.correlations()[found.correlation].attributes
            }
        }
    }

    fn explain(&self, reason: &Reason, event: &Event) -> Vec<MatchedField> {
        match reason {
            Reason::Rule(rule) => {
                let set = &self.parts.rules.set;
                let mut why = set.explain(*rule, event);
                if let Some(view) = AuditView::of(event).filter(|_| why.is_empty()) {
                    why = set.explain(*rule, &view);
                }
                why
            }
            Reason::Correlation(found) => self.parts.rules.correlations.explain(found),
        }
    }

    /// Rules or correlations fired on an event: respond once, then record a finding for each.
    pub(super) fn found(&mut self, event: &Event, boot_ns: u64, reasons: &[Reason]) {
        // The strictest response of all; the first rule that asks for it is named as its author.
        let author = reasons.iter().find(|reason| self.response(reason) == Response::Kill);
        let response = if author.is_some() { Response::Kill } else { Response::Record };
        let decision = decide(response, &self.policy);
        let (decided_after_us, (disposition, detail, done_after_us)) = match stopped_of(event) {
            Some(stopped) => (stopped.after_ns / 1000, self.stopped(event, stopped, boot_ns)),
            None => (self.since_us(boot_ns), self.respond(&decision, &event.process().key, &[], boot_ns)),
        };
        let ancestors = self.processes().ancestors(&event.process().key);
        for reason in reasons {
            // Correlations repeat themselves no more often than their timespan says.
            if let Reason::Rule(rule) = reason
                && !self.found.is_new(*rule, event)
            {
                continue;
            }
            let asks_to_kill = self.response(reason) == Response::Kill;
            let parsed = self.attributes(reason);
            let action = if asks_to_kill {
                ActionTaken {
                    disposition,
                    action: KILL.to_owned(),
                    by: format!("rule {}", parsed.title),
                    detail: detail.clone(),
                    decided_after_us,
                    done_after_us,
                }
            } else {
                let also = author.map(|author| &self.attributes(author).title);
                ActionTaken {
                    disposition: Disposition::Recorded,
                    action: String::new(),
                    by: format!("rule {}", parsed.title),
                    detail: also.map_or_else(
                        || "the rule only records".to_owned(),
                        |title| format!("the rule only records; on the same event, rule {title}: {detail}"),
                    ),
                    decided_after_us,
                    done_after_us: None,
                }
            };
            let finding = Finding {
                id: self.fresh_id(),
                time: event.time,
                simulated: event.simulated,
                severity: parsed.level,
                rule: RuleRef {
                    id: parsed.id.clone(),
                    title: parsed.title.clone(),
                    description: parsed.description.clone(),
                    source: parsed.source.clone(),
                },
                techniques: parsed.techniques(),
                matched: self.explain(reason, event),
                event: event.clone(),
                ancestors: ancestors.clone(),
                action,
            };
            self.record(&finding);
        }
    }

    /// Tells of a finding: in the agent's own log, and to the hub.
    pub(super) fn record(&mut self, finding: &Finding) {
        self.findings += 1;
        report(finding);
        self.put(RecordKind::Finding, &ocsf::FindingObject(finding));
    }

    pub(super) fn since_us(&self, boot_ns: u64) -> u64 {
        self.parts.clock.boot_ns().saturating_sub(boot_ns) / 1000
    }

    /// Does what policy decided about a process tree: what was done, in words, and after how many microseconds.
    pub(super) fn respond(
        &mut self,
        decision: &Decision,
        target: &ProcessKey,
        others: &[ProcessKey],
        boot_ns: u64,
    ) -> (Disposition, String, Option<u64>) {
        match decision {
            Decision::Record => (Disposition::Recorded, "the rule only records".to_owned(), None),
            Decision::WouldKill => (
                Disposition::WouldAct,
                "policy is monitor: the process tree would have been killed".to_owned(),
                None,
            ),
            Decision::Withhold { because } => (Disposition::Withheld, (*because).to_owned(), None),
            Decision::Kill => self.kill(target, others, boot_ns),
        }
    }

    /// Kills a process and all that descends from it, and others of which the caller knows that they do.
    fn kill(
        &mut self,
        target: &ProcessKey,
        others: &[ProcessKey],
        boot_ns: u64,
    ) -> (Disposition, String, Option<u64>) {
        let mut extra = self.processes().live_descendants(target);
        extra.extend_from_slice(others);
        let result = self.parts.responder.kill_tree(target, &extra);
        let done = Some(self.since_us(boot_ns));
        let disposition = match &result {
            Ok(report) if report.succeeded() => Disposition::Stopped,
            // It ended by itself before it could be killed: nothing was stopped by us.
            Err(KillError::Gone(_)) => Disposition::Recorded,
            Err(KillError::Protected { .. }) => Disposition::Withheld,
            Ok(_) | Err(_) => Disposition::Failed,
        };
        (disposition, describe(&result), done)
    }
}

/// What a kill did, in words.
pub(super) fn describe(result: &Result<KillReport, KillError>) -> String {
    let list = |victims: &mut dyn Iterator<Item = String>| {
        let all: Vec<String> = victims.collect();
        match all.len() {
            0..=5 => all.join(", "),
            n => format!("{} and {} more", all[..5].join(", "), n - 5),
        }
    };
    match result {
        Ok(report) => {
            let mut text = format!(
                "killed {} process{}: {}",
                report.killed.len(),
                if report.killed.len() == 1 { "" } else { "es" },
                list(&mut report.killed.iter().map(ToString::to_string))
            );
            if !report.refused.is_empty() {
                text += "; spared ";
                text += &list(&mut report.refused.iter().map(|(v, why)| format!("{v}, because {why}")));
            }
            if !report.survivors.is_empty() {
                text += "; still alive: ";
                text += &list(&mut report.survivors.iter().map(ToString::to_string));
            }
            if !report.complete {
                text += "; the tree grew faster than it could be stopped, look again";
            }
            text
        }
        Err(error) => crate::chain(error),
    }
}

/// One line in the agent's own log, for whoever stands at the machine.
fn report(finding: &Finding) {
    let process = finding.event.process();
    let line = format!(
        "{} — {} (pid {}): {}",
        finding.rule.title, process.image, process.key.pid, finding.action.detail
    );
    if finding.severity >= Severity::High {
        warn!(target: "wardline::finding", severity = finding.severity.as_str(), "{line}");
    } else {
        info!(target: "wardline::finding", severity = finding.severity.as_str(), "{line}");
    }
}
