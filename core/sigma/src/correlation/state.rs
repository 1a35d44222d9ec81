//! Correlations as a stream of events goes by.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::sync::Arc;
use std::time::Duration;

use wardline_event::{Fields, Timestamp};

use crate::correlation::capture::{self, Captured, Hit, Values};
use crate::correlation::groups::Groups;
use crate::correlation::link::{Correlations, Feed};
use crate::correlation::plan::Plan;
use crate::correlation::window::{Entry, Evidence, Origin, Window};

/// How correlations treat late events, and how much memory they may take.
#[derive(Clone, Debug)]
pub struct CorrelationSettings {
    /// How much older than the newest event an event may be; older ones are left out and counted.
    pub lateness: Duration,
    /// Whether events wait until none that is older can come any more. Then the order in which events come makes no
    /// difference, as long as none is late, and matches come `lateness` after their last event. Otherwise each
    /// event counts at once, and one that is out of order counts as if it had come with the newest.
    pub wait: bool,
    /// Groups of all correlations together. Past it the correlation that takes the most memory gives up its oldest
    /// group, so that a flood of groups costs only the correlation that it is for.
    pub groups: usize,
    /// Bytes that groups and waiting events may take together, about.
    pub bytes: usize,
    /// Events or values of one group, unless its condition needs more.
    pub window: usize,
}

impl Default for CorrelationSettings {
    fn default() -> Self {
        Self { lateness: Duration::ZERO, wait: false, groups: 100_000, bytes: 32 << 20, window: 65_536 }
    }
}

/// What a state holds, and what it had to give up.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct CorrelationStats {
    /// Groups that are held now.
    pub groups: usize,
    /// Bytes that they and the waiting events take, about.
    pub bytes: usize,
    /// Events that wait for older ones.
    pub waiting: usize,
    /// Groups that were given up for want of room; a match that they would have led to is missing.
    pub evicted: u64,
    /// Events that came too late and were left out.
    pub late_dropped: u64,
    /// Events or values that were given up because their group had too many; its counts may be too low.
    pub forgotten: u64,
    /// Events that waited no longer for older ones, for want of room.
    pub hurried: u64,
}

/// A correlation's condition was met.
#[derive(Clone, PartialEq, Debug)]
pub struct Match {
    /// Index of the correlation.
    pub correlation: usize,
    /// When it was decided: the time of the event that completed it, or the end of the window.
    pub time: Timestamp,
    /// The group's values, in the order of the correlation's `group_by`; `None` for a missing or null field. A list
    /// is joined by commas.
    pub group: Vec<Option<String>>,
    /// When its first event was.
    pub first: Timestamp,
    /// When its last event was.
    pub last: Timestamp,
    /// The count or metric that met the condition; of a temporal correlation the number of different rules.
    pub value: f64,
    /// True if events had to be forgotten, so that the count may be too low.
    pub capped: bool,
    /// The references of its events, oldest first; of more than 100 the last ones.
    pub events: Vec<u64>,
}

/// The memory of correlations: what was seen in the windows that are still open.
///
/// A few calls bring it everything: [`observe`](Self::observe) (or [`feed`](Self::feed)) with each event that matched
/// rules, [`advance`](Self::advance) when time goes by without any, [`finish`](Self::finish) at the end.
#[derive(Debug)]
pub struct CorrelationState {
    core: Core,
    waiting: BTreeMap<(i64, u64, u64), Hit>,
    waiting_bytes: usize,
    arrivals: u64,
    /// The time of the newest event.
    newest: i64,
    /// Everything before this time is settled.
    settled: i64,
    late_dropped: u64,
    hurried: u64,
}

#[derive(Debug)]
struct Core {
    correlations: Correlations,
    settings: CorrelationSettings,
    groups: Vec<Groups>,
    /// For each correlation with conditions that are looked at when a window is over: the end of its oldest one (or
    /// an earlier time), in the order in which they end.
    ends: BinaryHeap<Reverse<(i64, u32, usize)>>,
    has_end: Vec<bool>,
    total_groups: usize,
    total_bytes: usize,
    evicted: u64,
    forgotten: u64,
    key: Vec<u8>,
}

/// What reaches a correlation.
struct Arrival<'a> {
    time: i64,
    rules: u64,
    values: &'a [Box<str>],
    captured: &'a [(u32, Captured)],
    origin: Origin,
}

/// Where matches go.
type Report<'a> = &'a mut dyn FnMut(Match);

impl CorrelationState {
    /// An empty state.
    pub fn new(correlations: Correlations, settings: CorrelationSettings) -> Self {
        let count = correlations.plans().len();
        Self {
            core: Core {
                correlations,
                settings,
                groups: std::iter::repeat_with(Groups::default).take(count).collect(),
                ends: BinaryHeap::new(),
                has_end: vec![false; count],
                total_groups: 0,
                total_bytes: 0,
                evicted: 0,
                forgotten: 0,
                key: Vec::new(),
            },
            waiting: BTreeMap::new(),
            waiting_bytes: 0,
            arrivals: 0,
            newest: i64::MIN,
            settled: i64::MIN,
            late_dropped: 0,
            hurried: 0,
        }
    }

    /// What it is the state of.
    pub fn correlations(&self) -> &Correlations {
        &self.core.correlations
    }

    /// Takes in an event and the indices of all rules that it matched; see [`Correlations::capture`].
    pub fn observe(
        &mut self,
        rules: &[usize],
        event: &(impl Fields + ?Sized),
        time: Timestamp,
        reference: u64,
        on_match: &mut dyn FnMut(Match),
    ) {
        if let Some(hit) = self.core.correlations.capture(rules, event, time, reference) {
            self.feed(hit, on_match);
        }
    }

    /// Takes in an event that was captured before.
    pub fn feed(&mut self, mut hit: Hit, on_match: &mut dyn FnMut(Match)) {
        let lateness = millis(self.core.settings.lateness);
        if hit.time < self.newest.saturating_sub(lateness).max(self.settled) {
            self.late_dropped += 1;
            return;
        }
        if !self.core.settings.wait {
            hit.time = hit.time.max(self.newest);
            self.newest = hit.time;
            self.core.close(hit.time, on_match);
            self.core.take(&hit, on_match);
            return;
        }
        self.newest = self.newest.max(hit.time);
        self.arrivals += 1;
        self.waiting_bytes += hit.bytes();
        self.waiting.insert((hit.time, hit.reference, self.arrivals), hit);
        self.release(self.newest.saturating_sub(lateness), on_match);
        // Waiting events may take half of the room.
        while self.waiting_bytes > self.core.settings.bytes / 2
            && let Some((_, hit)) = self.waiting.pop_first()
        {
            self.hurried += 1;
            self.settle(&hit, on_match);
        }
    }

    /// Says that the time is now at least `time`: windows that are over are looked at, memory of what can no longer
    /// matter is freed. Events up to the allowed lateness older may still come.
    pub fn advance(&mut self, time: Timestamp, on_match: &mut dyn FnMut(Match)) {
        let lateness = millis(self.core.settings.lateness);
        let time = time.0.clamp(-capture::FARTHEST, capture::FARTHEST);
        let before = if self.core.settings.wait {
            self.newest = self.newest.max(time);
            self.newest.saturating_sub(lateness)
        } else {
            self.newest = self.newest.max(time.saturating_sub(lateness));
            self.newest
        };
        self.release(before, on_match);
        self.core.close(before, on_match);
        self.core.expire_all(before);
    }

    /// Says that no event will come any more: events that wait are taken in and every open window is looked at as
    /// if its time were over.
    pub fn finish(&mut self, on_match: &mut dyn FnMut(Match)) {
        self.release(i64::MAX, on_match);
        self.core.close(i64::MAX, on_match);
        self.settled = i64::MAX;
        for groups in &mut self.core.groups {
            *groups = Groups::default();
        }
        (self.core.total_groups, self.core.total_bytes) = (0, 0);
    }

    /// What it holds now and what it had to give up.
    pub fn stats(&self) -> CorrelationStats {
        CorrelationStats {
            groups: self.core.total_groups,
            bytes: self.core.total_bytes + self.waiting_bytes,
            waiting: self.waiting.len(),
            evicted: self.core.evicted,
            late_dropped: self.late_dropped,
            forgotten: self.core.forgotten,
            hurried: self.hurried,
        }
    }

    /// Takes in waiting events from before a time.
    fn release(&mut self, before: i64, on_match: Report<'_>) {
        while let Some(entry) = self.waiting.first_entry()
            && entry.key().0 < before
        {
            let hit = entry.remove();
            self.settle(&hit, on_match);
        }
        self.settled = self.settled.max(before);
    }

    fn settle(&mut self, hit: &Hit, on_match: Report<'_>) {
        self.waiting_bytes -= hit.bytes();
        self.settled = self.settled.max(hit.time);
        self.core.close(hit.time, on_match);
        self.core.take(hit, on_match);
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

impl Core {
    /// Takes in an event; no older one comes after it.
    fn take(&mut self, hit: &Hit, report: Report<'_>) {
        let correlations = self.correlations.clone();
        let feeds = hit.rules.iter().flat_map(|rule| correlations.feeds_of_rule(*rule));
        let origin = Origin::Event(hit.reference);
        if hit.rules.len() == 1 {
            for feed in feeds {
                self.arrive(feed, feed.rules, hit.time, &hit.values, &origin, report);
            }
            return;
        }
        // An event that matches several rules of one correlation comes to it once.
        let mut once: Vec<(&Feed, u64)> = Vec::new();
        for feed in feeds {
            let same = |known: &&mut (&Feed, u64)| {
                known.0.correlation == feed.correlation
                    && same_values(&known.0.group, &feed.group, &hit.values)
                    && same_values(&known.0.values, &feed.values, &hit.values)
            };
            match once.iter_mut().find(same) {
                Some((_, rules)) => *rules |= feed.rules,
                None => once.push((feed, feed.rules)),
            }
        }
        once.sort_by_key(|(feed, _)| correlations.plans()[feed.correlation].rank);
        for (feed, rules) in once {
            self.arrive(feed, rules, hit.time, &hit.values, &origin, report);
        }
    }

    /// Brings something to a correlation.
    fn arrive(
        &mut self,
        feed: &Feed,
        rules: u64,
        time: i64,
        captured: &[(u32, Captured)],
        origin: &Origin,
        report: Report<'_>,
    ) {
        let mut key = std::mem::take(&mut self.key);
        key.clear();
        capture::write_key(&mut key, &feed.group, captured);
        let combined;
        let values = match feed.values.as_slice() {
            [] => &[],
            [field] => capture::find(captured, *field).map_or(&[][..], Captured::each),
            fields => {
                combined = combination(fields, captured);
                combined.as_slice()
            }
        };
        let arrival = Arrival { time, rules, values, captured, origin: origin.clone() };
        let before = self.weight(feed.correlation);
        let slot = self.place(feed.correlation, &key, time);
        self.key = key;
        let found = self.look(feed.correlation, slot, arrival);
        self.account(feed.correlation, before);
        if let Some((found, fresh, carried)) = found {
            self.found(found, fresh, &carried, report);
        }
        self.make_room();
    }

    /// Groups and bytes of a correlation.
    fn weight(&self, correlation: usize) -> (usize, usize) {
        (self.groups[correlation].len(), self.groups[correlation].bytes())
    }

    /// Brings the totals up to date after a correlation changed.
    fn account(&mut self, correlation: usize, before: (usize, usize)) {
        let (groups, bytes) = self.weight(correlation);
        self.total_groups = self.total_groups + groups - before.0;
        self.total_bytes = self.total_bytes + bytes - before.1;
    }

    /// The group's slot; made if there is none.
    fn place(&mut self, correlation: usize, key: &[u8], time: i64) -> u32 {
        let plan = &self.correlations.plans()[correlation];
        let groups = &mut self.groups[correlation];
        if !plan.closing {
            expire(groups, time.saturating_sub(plan.span), 2);
        }
        if let Some(slot) = groups.find(key) {
            if !plan.closing {
                groups.touch(slot, time);
            }
            return slot;
        }
        let slot = groups.add(key, Window::new(plan), time);
        if plan.closing && !self.has_end[correlation] {
            self.has_end[correlation] = true;
            self.ends.push(Reverse((time.saturating_add(plan.span), plan.rank, correlation)));
        }
        slot
    }

    /// Puts an arrival into a group's window and looks at the condition. If it is met: how, whether that is to be
    /// reported, and the values that outer correlations ask for.
    fn look(&mut self, correlation: usize, slot: u32, arrival: Arrival<'_>) -> Option<(Found, bool, Values)> {
        let plan = &self.correlations.plans()[correlation];
        let groups = &mut self.groups[correlation];
        let group = groups.get(slot)?;
        let time = arrival.time;
        if plan.closing {
            if !plan.carries.is_empty() {
                group.carried = carried(&plan.carries, arrival.captured);
            }
        } else {
            group.window.expire(time.saturating_sub(plan.span));
        }
        let entry = Entry { time, rules: arrival.rules, values: arrival.values, origin: arrival.origin };
        self.forgotten += group.window.add(plan, entry, self.settings.window);
        let verdict = if plan.closing { None } else { group.window.verdict(plan) };
        let found = verdict.and_then(|value| {
            let fresh = group.reported.is_none_or(|at| time > at.saturating_add(plan.span));
            if fresh {
                group.reported = Some(time);
            }
            (fresh || plan.every_moment).then(|| {
                let found = Found::new(correlation, time, value, plan, &group.window, &group.key);
                (found, fresh, carried(&plan.carries, arrival.captured))
            })
        });
        groups.weigh(slot);
        found
    }

    /// A condition is met: reports it and brings it to the correlations over it. `fresh` if it is to be reported;
    /// otherwise it is one more moment of what was reported.
    fn found(&mut self, found: Found, fresh: bool, carried: &Values, report: Report<'_>) {
        let correlations = self.correlations.clone();
        let plan = &correlations.plans()[found.correlation];
        let feeds = correlations.feeds_of_correlation(found.correlation);
        let group = capture::read_key(&found.key);
        let (correlation, time) = (found.correlation, found.time);
        let mut values: Vec<(u32, Captured)> = carried.to_vec();
        values.extend(plan.exposes.iter().filter_map(|(at, id)| Some((*id, group.get(*at)?.clone()?))));
        values.sort_unstable_by_key(|(id, _)| *id);
        if fresh && !plan.silent {
            report(Match {
                correlation,
                time: Timestamp(time),
                group: group.iter().map(|value| value.as_ref().map(|v| v.each().join(", "))).collect(),
                first: Timestamp(found.evidence.first),
                last: Timestamp(found.evidence.last),
                value: found.value,
                capped: found.capped,
                events: found.evidence.events.clone(),
            });
        }
        let origin = Origin::Match(Arc::new(found.evidence));
        for feed in feeds {
            if fresh || correlations.correlations()[feed.correlation].kind.is_temporal() {
                self.arrive(feed, feed.rules, time, &values, &origin, report);
            }
        }
    }

    /// Looks at every window that ended before a time, in the order of their ends; at one time inner correlations
    /// before outer ones.
    fn close(&mut self, before: i64, report: Report<'_>) {
        while let Some(Reverse((end, rank, correlation))) = self.ends.peek().copied()
            && end < before
        {
            self.ends.pop();
            self.has_end[correlation] = false;
            let correlations = self.correlations.clone();
            let plan = &correlations.plans()[correlation];
            let weight = self.weight(correlation);
            let groups = &mut self.groups[correlation];
            let mut closed = None;
            if let Some((slot, group)) = groups.oldest()
                && group.time.saturating_add(plan.span) == end
            {
                closed = groups.remove(slot);
            }
            if let Some((_, next)) = groups.oldest() {
                self.has_end[correlation] = true;
                self.ends.push(Reverse((next.time.saturating_add(plan.span), rank, correlation)));
            }
            self.account(correlation, weight);
            let Some(group) = closed else { continue };
            if let Some(value) = group.window.verdict(plan) {
                let mut found = Found::new(correlation, end, value, plan, &group.window, &group.key);
                if found.evidence.events.is_empty() {
                    (found.evidence.first, found.evidence.last) = (group.time, group.time);
                }
                self.found(found, true, &group.carried, report);
            }
        }
    }

    /// Forgets groups in whose windows nothing lies any more.
    fn expire_all(&mut self, before: i64) {
        for (plan, groups) in self.correlations.plans().iter().zip(&mut self.groups) {
            if !plan.closing {
                expire(groups, before.saturating_sub(plan.span), usize::MAX);
            }
        }
        self.total_groups = self.groups.iter().map(Groups::len).sum();
        self.total_bytes = self.groups.iter().map(Groups::bytes).sum();
    }

    /// Gives up groups until the limits are kept again.
    fn make_room(&mut self) {
        // Waiting events may take the other half.
        let most = if self.settings.wait { self.settings.bytes / 2 } else { self.settings.bytes };
        while self.total_groups > self.settings.groups || self.total_bytes > most {
            let biggest = (0..self.groups.len()).max_by_key(|index| self.groups[*index].bytes());
            let Some(biggest) = biggest else { return };
            let before = self.weight(biggest);
            let Some((slot, _)) = self.groups[biggest].oldest() else { return };
            self.groups[biggest].remove(slot);
            self.account(biggest, before);
            self.evicted += 1;
        }
    }
}

/// A condition that was met.
struct Found {
    correlation: usize,
    time: i64,
    key: Arc<[u8]>,
    value: f64,
    capped: bool,
    evidence: Evidence,
}

impl Found {
    fn new(correlation: usize, time: i64, value: f64, plan: &Plan, window: &Window, key: &Arc<[u8]>) -> Self {
        let (capped, evidence) = (window.is_capped(), window.evidence(plan));
        Self { correlation, time, key: Arc::clone(key), value, capped, evidence }
    }
}

/// Removes up to `most` groups whose last event is from before a time.
fn expire(groups: &mut Groups, before: i64, most: usize) {
    for _ in 0..most {
        match groups.oldest() {
            Some((slot, group)) if group.time < before => drop(groups.remove(slot)),
            _ => return,
        }
    }
}

/// Of the last event, the values that outer correlations ask for.
fn carried(fields: &[u32], captured: &[(u32, Captured)]) -> Values {
    fields.iter().filter_map(|id| Some((*id, capture::find(captured, *id)?.clone()))).collect()
}

fn same_values(a: &[u32], b: &[u32], captured: &[(u32, Captured)]) -> bool {
    a == b
        || a.len() == b.len()
            && a.iter().zip(b).all(|(a, b)| capture::find(captured, *a) == capture::find(captured, *b))
}

/// The values of several fields as one; none if one of them is missing.
fn combination(fields: &[u32], captured: &[(u32, Captured)]) -> Vec<Box<str>> {
    if fields.iter().any(|field| capture::find(captured, *field).is_none()) {
        return Vec::new();
    }
    let mut text = String::new();
    for field in fields {
        for value in capture::find(captured, *field).map_or(&[][..], Captured::each) {
            // The length before each value keeps `a, bc` and `ab, c` apart.
            text.push_str(&value.len().to_string());
            text.push(':');
            text.push_str(value);
        }
        text.push(';');
    }
    vec![text.into()]
}
