//! What an exercise measured: accounting, latencies, actions.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Context;
use serde_json::{Value, json};
use wardline_event::{ActionState, Disposition, Finding};
use wardline_kernel::Kernel;
use wardline_kernel::views::{self, ActionQuery, FindingQuery};
use wardline_wire::proto::Counters;

use crate::machine::Prevented;

/// What came of a step.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// The audience was told something.
    Told(String),
    /// The step happened.
    Happened {
        /// What.
        what: String,
        /// True if a finding must follow.
        expected: bool,
    },
    /// The step could not happen.
    Prevented {
        /// What would have happened.
        what: String,
        /// Why it could not.
        why: Prevented,
    },
    /// A person's order, confirmed by the device.
    Ordered {
        /// What.
        what: String,
        /// How it ended.
        state: ActionState,
        /// From the order to the confirmation at the hub.
        took: Duration,
    },
}

/// What an exercise measured. All figures come from the agents' counters and the hub's store.
#[derive(Clone, Debug)]
pub struct Summary {
    /// Events that the simulated sensors produced.
    pub produced: u64,
    /// Of those, used on the devices only.
    pub kept_local: u64,
    /// Of those, lost at any stage.
    pub dropped: u64,
    /// Events in the hub's store.
    pub stored: u64,
    /// Findings in the hub's store.
    pub findings: Vec<Finding>,
    /// Actions by kind and state.
    pub actions: BTreeMap<(String, String), u64>,
    /// Steps of the attack that happened, and that were prevented.
    pub steps: (usize, usize),
    /// How long the exercise took, preparation included.
    pub took: Duration,
}

impl Summary {
    pub(crate) async fn gather(
        kernel: &Kernel,
        counters: impl Iterator<Item = Counters>,
        outcomes: &[Outcome],
        took: Duration,
    ) -> anyhow::Result<Self> {
        let (pool, scope) = (kernel.store().read(), kernel.home());
        let (mut produced, mut kept_local, mut dropped) = (0, 0, 0);
        for c in counters {
            produced += c.produced;
            kept_local += c.kept_local;
            dropped += c.kernel_lost + c.decode_lost + c.spool_dropped;
        }
        let stored = u64::try_from(kernel.events().counts(scope, None).await?.stored)?;
        let listed =
            views::findings(pool, scope, &FindingQuery { limit: 500, ..FindingQuery::default() }).await?;
        let mut findings = Vec::new();
        for summary in listed {
            let record = wardline_incidents::record(pool, scope, &summary.id).await?;
            findings.push(record.context("a listed finding has no record")?.finding);
        }
        let mut actions = BTreeMap::new();
        for action in
            views::actions(pool, scope, &ActionQuery { limit: 500, ..ActionQuery::default() }).await?
        {
            *actions.entry((action.kind, action.state)).or_default() += 1;
        }
        let happened = outcomes.iter().filter(|o| matches!(o, Outcome::Happened { .. })).count();
        let prevented = outcomes.iter().filter(|o| matches!(o, Outcome::Prevented { .. })).count();
        Ok(Self {
            produced,
            kept_local,
            dropped,
            stored,
            findings,
            actions,
            steps: (happened, prevented),
            took,
        })
    }

    /// True if every event is accounted for.
    pub fn accounts(&self) -> bool {
        self.produced == self.stored + self.kept_local + self.dropped
    }

    /// Median and worst of a latency of the findings, in milliseconds.
    fn latency(&self, of: impl Fn(&Finding) -> Option<u64>) -> Option<(f64, f64)> {
        let mut us: Vec<u64> = self.findings.iter().filter_map(of).collect();
        us.sort_unstable();
        let (middle, last) = (us.get(us.len().checked_sub(1)? / 2)?, us.last()?);
        Some((*middle as f64 / 1000.0, *last as f64 / 1000.0))
    }

    fn decided(&self) -> Option<(f64, f64)> {
        self.latency(|f| Some(f.action.decided_after_us))
    }

    fn stopped(&self) -> Option<(f64, f64)> {
        self.latency(|f| f.action.done_after_us.filter(|_| f.action.disposition == Disposition::Stopped))
    }

    fn dispositions(&self) -> BTreeMap<&'static str, usize> {
        let mut out = BTreeMap::new();
        for finding in &self.findings {
            let word = match finding.action.disposition {
                Disposition::Recorded => "recorded",
                Disposition::WouldAct => "would have killed (monitor mode)",
                Disposition::Withheld => "withheld (clinical device)",
                Disposition::Stopped => "killed",
                Disposition::Failed => "failed",
            };
            *out.entry(word).or_default() += 1;
        }
        out
    }

    /// One JSON object.
    pub fn to_json(&self) -> Value {
        let pair = |p: Option<(f64, f64)>| p.map(|(p50, max)| json!({"p50": p50, "max": max}));
        let actions: Vec<Value> = self
            .actions
            .iter()
            .map(|((kind, state), n)| json!({"kind": kind, "state": state, "count": n}))
            .collect();
        json!({
            "simulated": true,
            "events": {"produced": self.produced, "stored": self.stored, "kept_local": self.kept_local,
                       "dropped": self.dropped, "accounted_for": self.accounts()},
            "findings": self.dispositions(),
            "decision_ms": pair(self.decided()),
            "kill_ms": pair(self.stopped()),
            "actions": actions,
            "attack_steps": {"happened": self.steps.0, "prevented": self.steps.1},
            "took_s": self.took.as_secs_f64(),
        })
    }

    /// For people.
    pub fn to_text(&self) -> String {
        let adds_up = if self.accounts() { "" } else { "  (does NOT add up)" };
        let words = self.dispositions().iter().map(|(word, n)| format!("{n} {word}")).collect::<Vec<_>>();
        let mut rows = vec![
            (
                "events",
                format!(
                    "{} produced = {} stored + {} kept on devices + {} dropped{adds_up}",
                    self.produced, self.stored, self.kept_local, self.dropped
                ),
            ),
            ("findings", format!("{}: {}", self.findings.len(), words.join(", "))),
        ];
        if let Some((p50, max)) = self.decided() {
            rows.push(("event to decision", format!("{p50:.2} ms median, {max:.2} ms worst")));
        }
        if let Some((p50, max)) = self.stopped() {
            let text = format!("{p50:.2} ms median, {max:.2} ms worst (simulated processes)");
            rows.push(("event to confirmed kill", text));
        }
        for ((kind, state), n) in &self.actions {
            rows.push(("action", format!("{n} × {} {state}", kind.replace('_', " "))));
        }
        rows.push(("attack", format!("{} steps happened, {} were prevented", self.steps.0, self.steps.1)));
        rows.push(("took", format!("{:.1} s, preparation included", self.took.as_secs_f64())));
        let title = "Measured in this exercise (the machines are simulated; all else is real):\n".to_owned();
        rows.into_iter().fold(title, |text, (name, value)| text + &format!("  {name:<25}{value}\n"))
    }
}
