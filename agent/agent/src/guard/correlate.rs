//! Correlations over what the rules of this machine find.

use std::borrow::Cow;
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use tracing::warn;
use wardline_event::{Body, Event, Process, ProcessActivity, ProcessKey, ProcessOp, Timestamp};
use wardline_sigma::{CorrelationSettings, CorrelationState, Correlations, Match};

use super::Guard;
use super::finding::Reason;

/// Events that correlations come back to when a window is over are kept: the newest whole, up to so many bytes …
const WHOLE_BYTES: usize = 4 << 20;

/// … and of so many whose they were, some 10 MB. It is as many as correlations hold groups, each of which comes back to
/// its last event at most.
const KEPT: usize = 100_000;

/// How much older than the newest an event may be. Sensors deliver in order but for the differences between the
/// processors' buffers.
const LATENESS: Duration = Duration::from_secs(2);

/// The state of the correlations, and the events that they may come back to.
pub(super) struct Correlating {
    state: CorrelationState,
    correlations: Correlations,
    next: u64,
    kept: Recent,
    /// Findings whose last event was no longer at hand.
    lost: u64,
    /// What was lost when that was last said.
    told: u64,
}

/// Events that correlations may come back to, by how long they may: those of one wait in a queue, oldest first, so that
/// a flood for one correlation costs no event of another that waits longer or shorter.
struct Recent {
    queues: BTreeMap<Duration, VecDeque<Kept>>,
    /// The events that are still whole, oldest first: where they wait, their references, and about how many bytes they
    /// take.
    whole: VecDeque<(Duration, u64, usize)>,
    whole_bytes: usize,
    len: usize,
    most: usize,
    /// Every window that ended before it has been looked at.
    settled: Timestamp,
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

impl Recent {
    /// Room for so many events.
    fn new(most: usize) -> Self {
        let settled = Timestamp(i64::MIN);
        Self { queues: BTreeMap::new(), whole: VecDeque::new(), whole_bytes: 0, len: 0, most, settled }
    }

    /// Keeps an event for so long; its reference is larger than all before.
    fn keep(&mut self, wait: Duration, reference: u64, event: &Event, boot_ns: u64) {
        self.forget();
        let what = Whole::Event(Box::new(event.clone()));
        self.queues.entry(wait).or_default().push_back(Kept { reference, boot_ns, what });
        self.len += 1;
        let bytes = bytes_of(event);
        self.whole.push_back((wait, reference, bytes));
        self.whole_bytes += bytes;
        while self.whole_bytes > WHOLE_BYTES
            && let Some((wait, reference, bytes)) = self.whole.pop_front()
        {
            self.whole_bytes -= bytes;
            if let Some(queue) = self.queues.get_mut(&wait)
                && let Some(at) = find(queue, reference)
            {
                queue[at].what.shrink();
            }
        }
        // Whoever has the most gives up the oldest.
        if self.len > self.most
            && let Some(queue) = self.queues.values_mut().max_by_key(|queue| queue.len())
            && queue.pop_front().is_some()
        {
            self.len -= 1;
        }
    }

    /// Forgets what no correlation comes back to any more.
    fn forget(&mut self) {
        for (wait, queue) in &mut self.queues {
            // An event may come late and count as if it had come with the newest, and windows end as much later.
            let last = *wait + 2 * LATENESS;
            while queue.pop_front_if(|kept| time(kept.boot_ns).plus(last) < self.settled).is_some() {
                self.len -= 1;
            }
        }
        self.queues.retain(|_, queue| !queue.is_empty());
    }

    fn get(&self, reference: u64) -> Option<&Kept> {
        self.queues.values().find_map(|queue| queue.get(find(queue, reference)?))
    }
}

/// Where the event with this reference is; they ascend.
fn find(queue: &VecDeque<Kept>, reference: u64) -> Option<usize> {
    queue.binary_search_by_key(&reference, |kept| kept.reference).ok()
}

/// Bytes that an event takes, about. Only processes have texts that may be long.
pub(super) fn bytes_of(event: &Event) -> usize {
    let texts = |process: &Process| process.image.len() + process.command_line.len() + process.cwd.len();
    let more = match &event.body {
        Body::Process(activity) => {
            let launch = activity.launch.iter().flat_map(|launch| &launch.args);
            let args: usize = launch.map(|arg| size_of::<String>() + arg.len()).sum();
            activity.parent.as_ref().map_or(0, texts) + args
        }
        _ => 0,
    };
    size_of::<Event>() + texts(event.process()) + more
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
            kept: Recent::new(KEPT),
            lost: 0,
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
        let wait = self.correlations.recalled_for(rules);
        if !wait.is_zero() {
            self.kept.keep(wait, reference, event, boot_ns);
        }
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
        // What the windows that ended before the last call led to has been looked up since.
        self.kept.forget();
        let mut found = Vec::new();
        self.state.advance(time(boot_ns), &mut |what| found.push(Correlated { what, is_of_newest: false }));
        self.kept.settled = time(boot_ns);
        let stats = self.state.stats();
        if self.lost() > self.told {
            warn!(
                evicted = stats.evicted,
                late = stats.late_dropped,
                forgotten = stats.forgotten,
                findings = self.lost,
                "correlations had to forget something; what it would have led to is missing"
            );
            self.told = self.lost();
        }
        found
    }

    /// What correlations had to give up since the agent started: groups, events, and findings.
    pub fn lost(&self) -> u64 {
        let stats = self.state.stats();
        stats.evicted + stats.late_dropped + stats.forgotten + self.lost
    }
}

impl Guard {
    /// Correlations fired whose last event lies back: their windows are over.
    pub(super) fn correlated(&mut self, found: Vec<Correlated>) {
        for Correlated { what, .. } in found {
            let Some(kept) = what.events.last().and_then(|last| self.correlating.kept.get(*last)) else {
                self.correlating.lost += 1;
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

#[cfg(test)]
mod tests {
    use wardline_event::EventId;

    use super::*;

    fn event(pid: u32, command_line: &str) -> Event {
        let key = ProcessKey { pid, ..ProcessKey::default() };
        let process = Process { key, command_line: command_line.to_owned(), ..Process::default() };
        let activity =
            ProcessActivity { op: ProcessOp::Exec, process, parent: None, exit_code: None, launch: None };
        let (id, time, product) = (EventId::from_bytes([0; 16]), Timestamp(0), "linux".into());
        Event { id, time, product, simulated: false, body: Body::Process(activity) }
    }

    fn keep(recent: &mut Recent, wait_s: u64, reference: u64, at_s: u64) {
        recent.keep(
            Duration::from_secs(wait_s),
            reference,
            &event(reference as u32, "x"),
            at_s * 1_000_000_000,
        );
    }

    #[test]
    fn a_flood_for_one_correlation_costs_no_event_of_another() {
        let mut recent = Recent::new(100);
        keep(&mut recent, 60, 0, 0);
        for reference in 1..1000 {
            keep(&mut recent, 10, reference, 1);
        }
        assert_eq!(recent.len, 100);
        assert!(recent.get(0).is_some() && recent.get(1).is_none() && recent.get(999).is_some());
    }

    #[test]
    fn events_are_kept_as_long_as_their_correlations_wait() {
        let mut recent = Recent::new(100);
        keep(&mut recent, 10, 0, 0);
        keep(&mut recent, 60, 1, 0);
        for (now_s, expected) in
            [(10, [true, true]), (14, [true, true]), (15, [false, true]), (65, [false, false])]
        {
            recent.settled = time(now_s * 1_000_000_000);
            recent.forget();
            assert_eq!([0, 1].map(|reference| recent.get(reference).is_some()), expected, "after {now_s} s");
        }
        assert_eq!((recent.len, recent.queues.len()), (0, 0));
    }

    #[test]
    fn long_events_are_reduced_to_whose_they_were() {
        let mut recent = Recent::new(100);
        for reference in 0..10 {
            recent.keep(
                Duration::from_secs(10),
                reference,
                &event(reference as u32, &"x".repeat(1 << 20)),
                0,
            );
        }
        assert!(recent.whole_bytes <= WHOLE_BYTES);
        let Some(Kept { what: Whole::Key { process, .. }, .. }) = recent.get(0) else {
            panic!("not reduced")
        };
        assert_eq!(process.pid, 0);
        assert!(matches!(recent.get(9), Some(Kept { what: Whole::Event(_), .. })));
    }
}
