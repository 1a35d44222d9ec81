//! Correlations as a stream of events goes by.

use std::collections::BTreeMap;
use std::time::Duration;

use wardline_event::{Fields, Timestamp};

use crate::correlation::capture::{FARTHEST, Hit};
use crate::correlation::engine::{Engine, Report};
use crate::correlation::link::Correlations;
use crate::correlation::looks::{Look, Looks};

/// How correlations treat late events, and how much memory they may take.
#[derive(Clone, Debug)]
pub struct CorrelationSettings {
    /// How much older than the newest event an event may be; older ones are left out and counted. Only events that
    /// match a rule of a correlation count, and what [`CorrelationState::advance`] says.
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
        Self { lateness: Duration::ZERO, wait: false, groups: 100_000, bytes: 32 << 20, window: 16_384 }
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
    engine: Engine,
    settings: CorrelationSettings,
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

impl CorrelationState {
    /// An empty state.
    pub fn new(correlations: Correlations, settings: CorrelationSettings) -> Self {
        // Waiting events may take the other half.
        let bytes = if settings.wait { settings.bytes / 2 } else { settings.bytes };
        let engine = Engine::new(correlations, CorrelationSettings { bytes, ..settings.clone() });
        Self {
            engine,
            settings,
            waiting: BTreeMap::new(),
            waiting_bytes: 0,
            arrivals: 0,
            newest: i64::MIN,
            settled: i64::MIN,
            late_dropped: 0,
            hurried: 0,
        }
    }

    /// Keeps from now on how near each group comes to a match; see [`looks`](Self::looks). Costs time and memory, of a
    /// thousand groups at most.
    pub fn keep_looks(&mut self) {
        self.engine.looks.get_or_insert_default();
    }

    /// For each group of each correlation the look at which it met the condition or came nearest to that, in the order in
    /// which the groups came. None unless they are [kept](Self::keep_looks).
    pub fn looks(&self) -> &[Look] {
        self.engine.looks.as_ref().map_or(&[], Looks::list)
    }

    /// What it is the state of.
    pub fn correlations(&self) -> &Correlations {
        &self.engine.correlations
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
        if let Some(hit) = self.engine.correlations.capture(rules, event, time, reference) {
            self.feed(hit, on_match);
        }
    }

    /// Takes in an event that was captured before.
    pub fn feed(&mut self, mut hit: Hit, on_match: &mut dyn FnMut(Match)) {
        let lateness = millis(self.settings.lateness);
        if hit.time < self.newest.saturating_sub(lateness).max(self.settled) {
            self.late_dropped += 1;
            return;
        }
        if !self.settings.wait {
            hit.time = hit.time.max(self.newest);
            self.newest = hit.time;
            self.engine.close(hit.time, on_match);
            self.engine.take(&hit, on_match);
            return;
        }
        self.newest = self.newest.max(hit.time);
        self.arrivals += 1;
        self.waiting_bytes += hit.bytes();
        self.waiting.insert((hit.time, hit.reference, self.arrivals), hit);
        self.release(self.newest.saturating_sub(lateness), on_match);
        // Waiting events may take half of the room.
        while self.waiting_bytes > self.settings.bytes / 2
            && let Some((_, hit)) = self.waiting.pop_first()
        {
            self.hurried += 1;
            self.settle(&hit, on_match);
        }
    }

    /// Says that the time is now at least `time`: windows that are over are looked at, memory of what can no longer
    /// matter is freed. Events up to the allowed lateness older may still come.
    pub fn advance(&mut self, time: Timestamp, on_match: &mut dyn FnMut(Match)) {
        let lateness = millis(self.settings.lateness);
        let time = time.0.clamp(-FARTHEST, FARTHEST);
        let before = if self.settings.wait {
            self.newest = self.newest.max(time);
            self.newest.saturating_sub(lateness)
        } else {
            self.newest = self.newest.max(time.saturating_sub(lateness));
            self.newest
        };
        self.release(before, on_match);
        self.engine.close(before, on_match);
        self.engine.expire_all(before);
    }

    /// Says that no event will come any more: events that wait are taken in and every open window is looked at as
    /// if its time were over.
    pub fn finish(&mut self, on_match: &mut dyn FnMut(Match)) {
        self.release(i64::MAX, on_match);
        self.engine.close(i64::MAX, on_match);
        self.settled = i64::MAX;
        self.engine.clear();
    }

    /// What it holds now and what it had to give up.
    pub fn stats(&self) -> CorrelationStats {
        CorrelationStats {
            groups: self.engine.total_groups,
            bytes: self.engine.total_bytes + self.waiting_bytes,
            waiting: self.waiting.len(),
            evicted: self.engine.evicted,
            late_dropped: self.late_dropped,
            forgotten: self.engine.forgotten,
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
        self.engine.close(hit.time, on_match);
        self.engine.take(hit, on_match);
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
