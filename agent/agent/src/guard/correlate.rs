//! Correlations over what the rules of this machine find.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::time::Duration;

use tracing::warn;
use wardline_event::{Body, Event, Process, ProcessActivity, ProcessKey, ProcessOp, Timestamp};
use wardline_sigma::{CorrelationSettings, CorrelationState, Correlations, Match};

use super::Guard;
use super::finding::Reason;

/// Events of which correlations wait for the end of a window are looked up again: so many of them whole …
const KEPT_EVENTS: usize = 1000;

/// … and of so many at least whose they were, some 6 MB.
const KEPT_KEYS: usize = 50_000;

/// How much older than the newest an event may be. Sensors deliver in order but for the differences between the
/// processors' buffers.
const LATENESS: Duration = Duration::from_secs(2);

/// The state of the correlations, and the events that they may come back to.
pub(super) struct Correlating {
    state: CorrelationState,
    correlations: Correlations,
    next: u64,
    kept: VecDeque<Kept>,
    /// What the state had to give up when that was last said.
    told: u64,
}

/// An event that a correlation may come back to.
struct Kept {
    reference: u64,
    boot_ns: u64,
    what: Whole,
}

/// An event, or what is left of it.
enum Whole {
    Event(Box<Event>),
    /// Whose it was, and when.
    Key {
        process: ProcessKey,
        time: Timestamp,
        product: Cow<'static, str>,
        simulated: bool,
    },
}

impl Whole {
    fn shrink(&mut self) {
        if let Self::Event(event) = self {
            let process = event.process().key;
            let (time, simulated) = (event.time, event.simulated);
            *self = Self::Key { process, time, product: std::mem::take(&mut event.product), simulated };
        }
    }
}

/// A correlation that fired.
pub(super) struct Correlated {
    pub what: Match,
    /// Its last event is the one that was just observed.
    pub is_of_newest: bool,
}

/// Correlations go by the time since boot, which nobody sets back.
fn time(boot_ns: u64) -> Timestamp {
    Timestamp(i64::try_from(boot_ns / 1_000_000).unwrap_or(i64::MAX))
}

impl Correlating {
    pub fn new(correlations: &Correlations) -> Self {
        let settings = CorrelationSettings { lateness: LATENESS, ..CorrelationSettings::default() };
        Self {
            state: CorrelationState::new(correlations.clone(), settings),
            correlations: correlations.clone(),
            next: 0,
            kept: VecDeque::new(),
            told: 0,
        }
    }

    /// Takes in an event and the rules that it matches.
    pub fn observe(&mut self, rules: &[usize], event: &Event, boot_ns: u64) -> Vec<Correlated> {
        if !rules.iter().any(|rule| self.correlations.wants(*rule)) {
            return Vec::new();
        }
        let reference = self.next;
        self.next += 1;
        if self.kept.len() == KEPT_KEYS {
            self.kept.pop_front();
        }
        if let Some(old) = self.kept.len().checked_sub(KEPT_EVENTS) {
            self.kept[old].what.shrink();
        }
        self.kept.push_back(Kept { reference, boot_ns, what: Whole::Event(Box::new(event.clone())) });
        let mut found = Vec::new();
        self.state.observe(rules, event, time(boot_ns), reference, &mut |what| {
            let is_of_newest = what.events.last() == Some(&reference);
            found.push(Correlated { what, is_of_newest });
        });
        found
    }

    /// Says what time it is.
    pub fn advance(&mut self, boot_ns: u64) -> Vec<Correlated> {
        if self.correlations.is_empty() {
            return Vec::new();
        }
        let mut found = Vec::new();
        self.state.advance(time(boot_ns), &mut |what| found.push(Correlated { what, is_of_newest: false }));
        let stats = self.state.stats();
        let lost = stats.evicted + stats.late_dropped + stats.forgotten;
        if lost > self.told {
            warn!(
                evicted = stats.evicted,
                late = stats.late_dropped,
                forgotten = stats.forgotten,
                "correlations had to forget something; what it would have led to is missing"
            );
            self.told = lost;
        }
        found
    }

    /// The last event of a match, if it is still at hand.
    fn last_event(&self, what: &Match) -> Option<&Kept> {
        let reference = *what.events.last()?;
        // References ascend without gaps.
        let first = self.kept.front()?.reference;
        self.kept.get(usize::try_from(reference.checked_sub(first)?).ok()?)
    }
}

impl Guard {
    /// Correlations fired whose last event lies back: their windows are over.
    pub(super) fn correlated(&mut self, found: Vec<Correlated>) {
        for Correlated { what, .. } in found {
            let Some(kept) = self.correlating.last_event(&what) else {
                let title = &self.parts.rules.correlations.correlations()[what.correlation].attributes.title;
                warn!("correlation {title} fired, but its last event is no longer at hand");
                continue;
            };
            let boot_ns = kept.boot_ns;
            let event = match &kept.what {
                Whole::Event(event) => (**event).clone(),
                // What else the event held is on its way to the hub since it happened.
                Whole::Key { process, time, product, simulated } => {
                    let known = self.processes().get(process);
                    let process = known.unwrap_or_else(|| Process { key: *process, ..Process::default() });
                    let (op, parent, exit_code) = (ProcessOp::Found, None, None);
                    let body =
                        Body::Process(ProcessActivity { op, process, parent, exit_code, launch: None });
                    let (product, simulated) = (product.clone(), *simulated);
                    Event { id: self.fresh_id(), time: *time, product, simulated, body }
                }
            };
            self.found(&event, boot_ns, &[Reason::Correlation(what)]);
        }
    }
}
