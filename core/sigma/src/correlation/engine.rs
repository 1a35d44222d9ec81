//! The evaluation of events that come in the order of time.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;

use wardline_event::Timestamp;

use crate::correlation::capture::{self, Captured, Hit, Values};
use crate::correlation::evidence::{Evidence, Origin, gather};
use crate::correlation::groups::Groups;
use crate::correlation::link::{Correlations, Feed};
use crate::correlation::looks::Looks;
use crate::correlation::plan::Plan;
use crate::correlation::state::{CorrelationSettings, Match};
use crate::correlation::window::{Entry, Window};

/// The windows of all groups of all correlations.
#[derive(Debug)]
pub(crate) struct Engine {
    pub correlations: Correlations,
    /// Limits of groups, bytes and entries.
    settings: CorrelationSettings,
    groups: Vec<Groups>,
    /// For each correlation with conditions that are looked at when a window is over: the end of its oldest one (or
    /// an earlier time), in the order in which they end.
    ends: BinaryHeap<Reverse<(i64, u32, usize)>>,
    has_end: Vec<bool>,
    pub total_groups: usize,
    pub total_bytes: usize,
    /// Groups that were given up.
    pub evicted: u64,
    /// Entries that were given up.
    pub forgotten: u64,
    key: Vec<u8>,
    /// Kept only if somebody asks for them.
    pub looks: Option<Looks>,
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
pub(crate) type Report<'a> = &'a mut dyn FnMut(Match);

impl Engine {
    /// `settings.bytes` is what the windows may take.
    pub fn new(correlations: Correlations, settings: CorrelationSettings) -> Self {
        let count = correlations.plans().len();
        Self {
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
            looks: None,
        }
    }

    /// Takes in an event; no older one comes after it.
    pub fn take(&mut self, hit: &Hit, report: Report<'_>) {
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
        if plan.closing {
            group.last = Some((time, arrival.origin.clone()));
        }
        let entry = Entry { time, rules: arrival.rules, values: arrival.values, origin: arrival.origin };
        self.forgotten += group.window.add(plan, entry, self.settings.window);
        let verdict = if plan.closing { None } else { group.window.verdict(plan) };
        if let Some(looks) = &mut self.looks
            && !plan.closing
            && let Some(reading) = group.window.reading(plan)
        {
            let evidence = || group.window.evidence(plan);
            looks.note(correlation, &group.key, time, (reading, verdict.is_some()), evidence);
        }
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
    pub fn close(&mut self, before: i64, report: Report<'_>) {
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
            // What rests on what was not there: the last event of the window stands for it.
            let or_last = |evidence: Evidence| match evidence.events.as_slice() {
                [] => gather(group.last.iter().map(|(time, origin)| (*time, origin))),
                _ => evidence,
            };
            let verdict = group.window.verdict(plan);
            if let Some(looks) = &mut self.looks
                && let Some(reading) = group.window.reading(plan)
            {
                let evidence = || or_last(group.window.evidence(plan));
                looks.note(correlation, &group.key, end, (reading, verdict.is_some()), evidence);
            }
            if let Some(value) = verdict {
                let mut found = Found::new(correlation, end, value, plan, &group.window, &group.key);
                found.evidence = or_last(found.evidence);
                self.found(found, true, &group.carried, report);
            }
        }
    }

    /// Forgets groups in whose windows nothing lies any more.
    pub fn expire_all(&mut self, before: i64) {
        for (plan, groups) in self.correlations.plans().iter().zip(&mut self.groups) {
            if !plan.closing {
                expire(groups, before.saturating_sub(plan.span), usize::MAX);
            }
        }
        self.total_groups = self.groups.iter().map(Groups::len).sum();
        self.total_bytes = self.groups.iter().map(Groups::bytes).sum();
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        for groups in &mut self.groups {
            *groups = Groups::default();
        }
        self.ends.clear();
        self.has_end.fill(false);
        (self.total_groups, self.total_bytes) = (0, 0);
    }

    /// Gives up groups until the limits are kept again.
    fn make_room(&mut self) {
        while self.total_groups > self.settings.groups || self.total_bytes > self.settings.bytes {
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

/// The values of several fields as one; none if one of them is missing. A list is one value, as in `group-by`.
fn combination(fields: &[u32], captured: &[(u32, Captured)]) -> Vec<Box<str>> {
    let mut text = String::new();
    for field in fields {
        let Some(found) = capture::find(captured, *field) else { return Vec::new() };
        text.push(if matches!(found, Captured::Many(_)) { 'l' } else { 't' });
        for value in found.each() {
            // The length before each value keeps `a, bc` and `ab, c` apart.
            text.push_str(&value.len().to_string());
            text.push(':');
            text.push_str(value);
        }
        text.push(';');
    }
    vec![text.into()]
}
