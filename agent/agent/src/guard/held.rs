//! Events of which something is still being found out, such as the digest of an executable.
//!
//! They were matched and acted upon when they came. When the rest is known they are looked at a second time, by the
//! rules that did not match then, and only then do they leave the device.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use wardline_event::{Body, Event, EventId, Identity};

use super::Guard;
use super::correlate::bytes_of;

/// So many may wait …
const MOST: usize = 4096;
/// … and so many bytes.
const MOST_BYTES: usize = 8 << 20;
/// Nobody waits longer.
const PATIENCE: Duration = Duration::from_secs(10);
/// What is said then.
const LATE: &str = "it took too long";

/// An event that was looked at once.
struct Waiting {
    event: Event,
    boot_ns: u64,
    /// The rules that matched then.
    hits: Vec<usize>,
    bytes: usize,
}

/// Events that wait.
#[derive(Default)]
pub(super) struct Held {
    events: HashMap<EventId, Waiting>,
    /// By age, the oldest first: when, and which. Some have left since.
    order: VecDeque<(u64, EventId)>,
    bytes: usize,
}

impl Held {
    pub fn len(&self) -> usize {
        self.events.len()
    }

    fn keep(&mut self, waiting: Waiting) {
        self.bytes += waiting.bytes;
        self.order.push_back((waiting.boot_ns, waiting.event.id));
        self.events.insert(waiting.event.id, waiting);
    }

    fn take(&mut self, id: EventId) -> Option<Waiting> {
        let waiting = self.events.remove(&id)?;
        self.bytes -= waiting.bytes;
        Some(waiting)
    }

    /// The oldest that need not wait any more, if it waits since before `before_ns` or there are too many.
    fn due(&mut self, before_ns: u64) -> Option<Waiting> {
        loop {
            let (boot_ns, id) = self.order.front().copied()?;
            let crowded = self.events.len() > MOST || self.bytes > MOST_BYTES;
            if self.events.contains_key(&id) && boot_ns >= before_ns && !crowded {
                return None;
            }
            self.order.pop_front();
            if let Some(waiting) = self.take(id) {
                return Some(waiting);
            }
        }
    }
}

/// What is still being found out about an event.
fn awaited(event: &mut Event) -> Option<&mut Identity> {
    match &mut event.body {
        Body::Process(p) => p.launch.as_mut().map(|l| &mut l.identity).filter(|i| i.is_awaited()),
        _ => None,
    }
}

impl Guard {
    /// Keeps an event that was looked at back if something is still being found out about it; else it leaves.
    pub(super) fn ship_or_hold(&mut self, mut event: Event, boot_ns: u64, hits: Vec<usize>) {
        if awaited(&mut event).is_none() {
            self.ship(&event);
            return;
        }
        let bytes = bytes_of(&event);
        self.held.keep(Waiting { event, boot_ns, hits, bytes });
        self.let_go(0);
    }

    /// Something was found out about an event: the rules that did not match without it have a second look.
    pub fn on_learned(&mut self, id: EventId, identity: Identity) {
        let Some(mut waiting) = self.held.take(id) else { return };
        let Some(known) = awaited(&mut waiting.event) else { return };
        *known = identity;
        self.look_again(waiting);
    }

    fn look_again(&mut self, waiting: Waiting) {
        let Waiting { event, boot_ns, hits: before, .. } = waiting;
        let mut hits = Vec::new();
        // The terms of the audit system have nothing that is found out later.
        self.parts.rules.set.matches(&event, &mut self.scratch, &mut |rule| hits.push(rule));
        hits.retain(|rule| !before.contains(rule));
        self.act(hits, &event, boot_ns);
        self.ship(&event);
    }

    /// Lets go of what waits since before then; what it waited for is said to be unknown.
    fn let_go(&mut self, before_ns: u64) {
        while let Some(mut waiting) = self.held.due(before_ns) {
            if let Some(identity) = awaited(&mut waiting.event) {
                identity.give_up(LATE);
            }
            // A part may have been known already, and that it is unknown is something rules can ask for.
            self.look_again(waiting);
        }
    }

    /// Lets go of what waits too long.
    pub(super) fn let_go_of_late(&mut self, now_ns: u64) {
        let patience = u64::try_from(PATIENCE.as_nanos()).unwrap_or(u64::MAX);
        self.let_go(now_ns.saturating_sub(patience));
    }

    /// Lets go of all that waits: the agent stops.
    pub fn let_go_of_all(&mut self) {
        self.let_go(u64::MAX);
    }
}
