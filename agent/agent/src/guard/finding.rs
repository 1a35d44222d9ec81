//! From a match to a finding: decide, act, and say what was done.

use std::collections::HashSet;

use tracing::{info, warn};
use wardline_event::{ActionTaken, Body, Disposition, Event, Finding, ProcessKey, RuleRef, Severity, ocsf};
use wardline_policy::{Decision, Response, decide};
use wardline_respond::{KillError, KillReport};
use wardline_wire::proto::RecordKind;

use super::Guard;

/// What killing is called wherever people read it.
const KILL: &str = "kill process tree";

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

impl Guard {
    /// Rules fired on an event: respond once, then record a finding for each.
    pub(super) fn found(&mut self, event: &Event, boot_ns: u64, hits: &[usize]) {
        let kills = |rule: &usize| self.parts.rules.responses[*rule] == Response::Kill;
        // The strictest response of all; the first rule that asks for it is named as its author.
        let author = hits.iter().copied().find(kills);
        let response = if author.is_some() { Response::Kill } else { Response::Record };
        let decision = decide(response, &self.policy);
        let decided_after_us = self.since_us(boot_ns);
        let (disposition, detail, done_after_us) = match &decision {
            Decision::Record => (Disposition::Recorded, "the rule only records".to_owned(), None),
            Decision::WouldKill => (
                Disposition::WouldAct,
                "policy is monitor: the process tree would have been killed".to_owned(),
                None,
            ),
            Decision::Withhold { because } => (Disposition::Withheld, (*because).to_owned(), None),
            Decision::Kill => self.kill(&event.process().key, boot_ns),
        };
        let ancestors = self.processes().ancestors(&event.process().key);
        for &rule in hits {
            if !self.found.is_new(rule, event) {
                continue;
            }
            let asks_to_kill = kills_rule(self, rule);
            let parsed = &self.parts.rules.set.rules()[rule];
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
                let also = author.map(|a| &self.parts.rules.set.rules()[a].title);
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
                matched: self.parts.rules.set.explain(rule, event),
                event: event.clone(),
                ancestors: ancestors.clone(),
                action,
            };
            self.findings += 1;
            report(&finding);
            self.put(RecordKind::Finding, &ocsf::finding_to_json(&finding));
        }
    }

    fn since_us(&self, boot_ns: u64) -> u64 {
        self.parts.clock.boot_ns().saturating_sub(boot_ns) / 1000
    }

    /// Kills a process and all that descends from it.
    fn kill(&mut self, target: &ProcessKey, boot_ns: u64) -> (Disposition, String, Option<u64>) {
        let extra = self.processes().live_descendants(target);
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

fn kills_rule(guard: &Guard, rule: usize) -> bool {
    guard.parts.rules.responses[rule] == Response::Kill
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
