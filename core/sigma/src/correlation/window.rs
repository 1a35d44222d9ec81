//! The events of one group in one window, as far as the condition needs them.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use crate::correlation::bag::Bag;
use crate::correlation::ordered::Runs;
use crate::correlation::plan::{Plan, Test};
use crate::correlation::rule::CorrelationType;
use crate::correlation::sum::ExactSum;
use crate::limits;

/// What an entry of a window came from: an event, or a match of another correlation with its events.
#[derive(Clone, Debug)]
pub(crate) enum Origin {
    Event(u64),
    Match(Arc<Evidence>),
}

/// The events that led to a match.
#[derive(Debug, Default)]
pub(crate) struct Evidence {
    pub first: i64,
    pub last: i64,
    /// The last ones, oldest first, each once.
    pub events: Vec<u64>,
}

/// What is new in a window.
pub(crate) struct Entry<'a> {
    pub time: i64,
    /// A bit for each rule of the correlation that the event matches.
    pub rules: u64,
    /// For `value_count` and metrics.
    pub values: &'a [Box<str>],
    pub origin: Origin,
}

#[derive(Debug)]
pub(crate) struct Window {
    state: State,
    /// The newest event that was given up because the window held too many.
    forgotten: Option<i64>,
}

#[derive(Debug)]
enum State {
    Count(VecDeque<(i64, Origin)>),
    Distinct(Distinct),
    Metric(Metric),
    /// The last event of each rule.
    Temporal(Box<[Option<(i64, Origin)>]>),
    Ordered(Ordered),
}

/// Different values, each with its last event; the least recently seen first.
#[derive(Debug, Default)]
struct Distinct {
    by_age: BTreeMap<u64, (i64, Arc<str>, Origin)>,
    ages: HashMap<Arc<str>, u64>,
    next: u64,
    bytes: usize,
}

#[derive(Debug)]
struct Metric {
    values: VecDeque<(i64, f64, Origin)>,
    tally: Tally,
}

#[derive(Debug)]
enum Tally {
    Sum(ExactSum),
    Bag(Bag),
}

#[derive(Debug)]
struct Ordered {
    time: i64,
    /// What came at `time`.
    now: Vec<(u64, Origin)>,
    /// Rules that came at all, and when last.
    last: Vec<Option<i64>>,
    runs: Vec<Runs>,
}

impl Window {
    pub fn new(plan: &Plan) -> Self {
        let state = match plan.kind {
            CorrelationType::EventCount => State::Count(VecDeque::new()),
            CorrelationType::ValueCount => State::Distinct(Distinct::default()),
            CorrelationType::Temporal => State::Temporal(vec![None; plan.rules].into()),
            CorrelationType::TemporalOrdered => State::Ordered(Ordered {
                time: i64::MIN,
                now: Vec::new(),
                last: vec![None; plan.rules],
                runs: plan.orders.iter().map(Runs::new).collect(),
            }),
            CorrelationType::ValueSum | CorrelationType::ValueAvg => {
                State::Metric(Metric { values: VecDeque::new(), tally: Tally::Sum(ExactSum::default()) })
            }
            _ => State::Metric(Metric { values: VecDeque::new(), tally: Tally::Bag(Bag::default()) }),
        };
        Self { state, forgotten: None }
    }

    /// Takes in an event that is not older than any before it. Past `most` entries the oldest are given up; returns
    /// how many.
    pub fn add(&mut self, plan: &Plan, entry: Entry<'_>, most: usize) -> u64 {
        let most = most.max(plan.needs);
        let mut given_up = 0;
        match &mut self.state {
            State::Count(events) => {
                events.push_back((entry.time, entry.origin));
                while events.len() > most {
                    self.forgotten = events.pop_front().map(|(time, _)| time);
                    given_up += 1;
                }
            }
            State::Distinct(distinct) => {
                for value in entry.values {
                    distinct.add(entry.time, value, &entry.origin);
                }
                while distinct.ages.len() > most {
                    self.forgotten = distinct.drop_oldest();
                    given_up += 1;
                }
            }
            State::Metric(metric) => {
                for value in entry.values.iter().filter_map(|text| super::capture::number(text)) {
                    metric.values.push_back((entry.time, value, entry.origin.clone()));
                    match &mut metric.tally {
                        Tally::Sum(sum) => sum.add(value),
                        Tally::Bag(bag) => bag.insert(value),
                    }
                }
                while metric.values.len() > most {
                    self.forgotten = metric.drop_oldest();
                    given_up += 1;
                }
            }
            State::Temporal(last) => {
                for (_, slot) in last.iter_mut().enumerate().filter(|(bit, _)| entry.rules & (1 << bit) != 0)
                {
                    *slot = Some((entry.time, entry.origin.clone()));
                }
            }
            State::Ordered(ordered) => {
                if entry.time > ordered.time {
                    ordered.time = entry.time;
                    ordered.now.clear();
                }
                for (_, slot) in
                    ordered.last.iter_mut().enumerate().filter(|(bit, _)| entry.rules & (1 << bit) != 0)
                {
                    *slot = Some(entry.time);
                }
                // A rule that matched at this very moment already is no news.
                let known = ordered.now.iter().fold(0, |mask, (rules, _)| mask | rules);
                if entry.rules & !known != 0 {
                    ordered.now.push((entry.rules, entry.origin));
                    for (runs, order) in ordered.runs.iter_mut().zip(&plan.orders) {
                        runs.add(order, entry.time, &ordered.now);
                    }
                }
            }
        }
        given_up
    }

    /// Forgets events before `cut`.
    pub fn expire(&mut self, cut: i64) {
        if self.forgotten.is_some_and(|time| time < cut) {
            self.forgotten = None;
        }
        match &mut self.state {
            State::Count(events) => while events.pop_front_if(|(time, _)| *time < cut).is_some() {},
            State::Distinct(distinct) => {
                while distinct.by_age.first_key_value().is_some_and(|(_, (time, _, _))| *time < cut) {
                    distinct.drop_oldest();
                }
            }
            State::Metric(metric) => {
                while metric.values.front().is_some_and(|(time, _, _)| *time < cut) {
                    metric.drop_oldest();
                }
            }
            State::Temporal(last) => {
                for slot in last.iter_mut().filter(|s| s.as_ref().is_some_and(|(time, _)| *time < cut)) {
                    *slot = None;
                }
            }
            State::Ordered(ordered) => {
                for slot in ordered.last.iter_mut().filter(|s| s.is_some_and(|time| time < cut)) {
                    *slot = None;
                }
                for runs in &mut ordered.runs {
                    runs.expire(cut);
                }
            }
        }
    }

    /// The count or metric, if it meets the condition; of a condition over rules, how many of them there are.
    pub fn verdict(&self, plan: &Plan) -> Option<f64> {
        match &self.state {
            State::Count(events) => Some(events.len() as f64).filter(|n| plan.holds(*n)),
            State::Distinct(distinct) => Some(distinct.ages.len() as f64).filter(|n| plan.holds(*n)),
            State::Metric(metric) => metric.value(plan).filter(|value| plan.holds(*value)),
            State::Temporal(last) => {
                let seen = mask(last.iter().map(Option::is_some));
                let count = f64::from(seen.count_ones());
                let holds = match &plan.test {
                    Test::Thresholds(_) => plan.holds(count),
                    Test::Expression(expression) => expression.holds(seen),
                };
                holds.then_some(count)
            }
            State::Ordered(ordered) => ordered.found(plan).map(|(runs, order)| {
                let length = plan.orders[order].steps.len();
                runs.longest(&plan.orders[order]).map_or(length, |run| run.length) as f64
            }),
        }
    }

    /// Whether events of this window were given up, so that a count may be too low.
    pub fn is_capped(&self) -> bool {
        self.forgotten.is_some()
    }

    /// The events that a match rests on.
    pub fn evidence(&self, plan: &Plan) -> Evidence {
        match &self.state {
            State::Count(events) => gather(events.iter().map(|(time, origin)| (*time, origin))),
            State::Distinct(d) => gather(d.by_age.values().map(|(time, _, origin)| (*time, origin))),
            State::Metric(m) => gather(m.values.iter().map(|(time, _, origin)| (*time, origin))),
            State::Temporal(last) => {
                let mut events: Vec<_> =
                    last.iter().flatten().map(|(time, origin)| (*time, origin)).collect();
                events.sort_by_key(|(time, _)| *time);
                gather(events.into_iter())
            }
            State::Ordered(ordered) => {
                let run = ordered.found(plan).and_then(|(runs, order)| runs.longest(&plan.orders[order]));
                run.map_or_else(Evidence::default, |run| gather(run.events().into_iter()))
            }
        }
    }

    /// Bytes on the heap, about.
    pub fn bytes(&self) -> usize {
        match &self.state {
            State::Count(events) => events.capacity() * size_of::<(i64, Origin)>(),
            State::Distinct(distinct) => distinct.bytes,
            State::Metric(metric) => {
                metric.values.capacity() * size_of::<(i64, f64, Origin)>()
                    + match &metric.tally {
                        Tally::Sum(_) => 64,
                        Tally::Bag(bag) => bag.len() * 16,
                    }
            }
            State::Temporal(last) => last.len() * size_of::<Option<(i64, Origin)>>(),
            State::Ordered(ordered) => {
                ordered.last.len() * 16
                    + ordered.now.capacity() * 24
                    + ordered.runs.iter().map(Runs::bytes).sum::<usize>()
            }
        }
    }
}

impl Distinct {
    fn add(&mut self, time: i64, value: &str, origin: &Origin) {
        let age = self.next;
        self.next += 1;
        let text = match self.ages.get_mut(value) {
            Some(old) => {
                let known = self.by_age.remove(old);
                *old = age;
                known.map(|(_, text, _)| text)
            }
            None => None,
        };
        let text = text.unwrap_or_else(|| {
            let text: Arc<str> = value.into();
            self.bytes += text.len() + 160;
            self.ages.insert(Arc::clone(&text), age);
            text
        });
        self.by_age.insert(age, (time, text, origin.clone()));
    }

    fn drop_oldest(&mut self) -> Option<i64> {
        let (_, (time, text, _)) = self.by_age.pop_first()?;
        self.ages.remove(&text);
        self.bytes -= text.len() + 160;
        Some(time)
    }
}

impl Metric {
    fn drop_oldest(&mut self) -> Option<i64> {
        let (time, value, _) = self.values.pop_front()?;
        match &mut self.tally {
            Tally::Sum(sum) => sum.remove(value),
            Tally::Bag(bag) => bag.remove(value),
        }
        Some(time)
    }

    fn value(&self, plan: &Plan) -> Option<f64> {
        if self.values.is_empty() {
            return None;
        }
        match &self.tally {
            Tally::Sum(sum) if plan.kind == CorrelationType::ValueAvg => {
                Some(sum.value() / self.values.len() as f64)
            }
            Tally::Sum(sum) => Some(sum.value()),
            Tally::Bag(bag) => bag.percentile(plan.percentile),
        }
    }
}

impl Ordered {
    /// The first order whose run meets the condition, and its number.
    fn found(&self, plan: &Plan) -> Option<(&Runs, usize)> {
        let seen = mask(self.last.iter().map(Option::is_some));
        self.runs.iter().enumerate().find_map(|(i, runs)| {
            let order = &plan.orders[i];
            if seen & order.absent != 0 {
                return None;
            }
            let found = match &plan.test {
                Test::Thresholds(_) => runs.longest(order).is_some_and(|run| plan.holds(run.length as f64)),
                Test::Expression(_) => order.steps.is_empty() || runs.longest(order).is_some(),
            };
            found.then_some((runs, i))
        })
    }
}

fn mask(bits: impl Iterator<Item = bool>) -> u64 {
    bits.enumerate().fold(0, |mask, (bit, set)| mask | (u64::from(set) << bit))
}

/// Gathers events, oldest first.
fn gather<'a>(mut entries: impl DoubleEndedIterator<Item = (i64, &'a Origin)>) -> Evidence {
    let mut out = Evidence { first: i64::MAX, last: i64::MIN, events: Vec::new() };
    let take = |(time, origin): (i64, &Origin), out: &mut Evidence| {
        let (first, last, events) = match origin {
            Origin::Event(event) => (time, time, std::slice::from_ref(event)),
            Origin::Match(inner) => (inner.first, inner.last, inner.events.as_slice()),
        };
        (out.first, out.last) = (out.first.min(first), out.last.max(last));
        for event in events.iter().rev() {
            if out.events.len() < limits::MATCH_EVENTS && !out.events.contains(event) {
                out.events.push(*event);
            }
        }
    };
    while out.events.len() < limits::MATCH_EVENTS
        && let Some(entry) = entries.next_back()
    {
        take(entry, &mut out);
    }
    // Of those that are not named only the oldest matters, since the match began with it.
    if let Some(oldest) = entries.next() {
        take(oldest, &mut out);
    }
    if out.first > out.last {
        (out.first, out.last) = (0, 0);
    }
    out.events.reverse();
    out
}
