//! The events of one group in one window, as far as the condition needs them.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use crate::correlation::bag::Bag;
use crate::correlation::evidence::{Evidence, Origin, gather};
use crate::correlation::looks::Reading;
use crate::correlation::ordered::Runs;
use crate::correlation::plan::{Plan, Test};
use crate::correlation::rule::CorrelationType;
use crate::correlation::sum::ExactSum;
use crate::limits;

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
    Count(Count),
    Distinct(Distinct),
    Metric(Metric),
    Temporal(Temporal),
    Ordered(Ordered),
}

/// Events by their times alone, since there may be many; only the last ones are known themselves.
#[derive(Debug, Default)]
struct Count {
    times: VecDeque<i64>,
    last: VecDeque<Origin>,
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
struct Temporal {
    /// The last event of each rule: its time, its number, and itself.
    last: Box<[Option<(i64, u64, Origin)>]>,
    /// How many events came, so that events of one time stay in order.
    count: u64,
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
            CorrelationType::EventCount => State::Count(Count::default()),
            CorrelationType::ValueCount => State::Distinct(Distinct::default()),
            CorrelationType::Temporal => {
                State::Temporal(Temporal { last: vec![None; plan.rules].into(), count: 0 })
            }
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
            State::Count(count) => {
                count.times.push_back(entry.time);
                count.last.push_back(entry.origin);
                if count.last.len() > limits::MATCH_EVENTS {
                    count.last.pop_front();
                }
                while count.times.len() > most {
                    self.forgotten = count.times.pop_front();
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
            State::Temporal(temporal) => {
                temporal.count += 1;
                for slot in with_bits(&mut temporal.last, entry.rules) {
                    *slot = Some((entry.time, temporal.count, entry.origin.clone()));
                }
            }
            State::Ordered(ordered) => {
                if entry.time > ordered.time {
                    ordered.time = entry.time;
                    ordered.now.clear();
                }
                for slot in with_bits(&mut ordered.last, entry.rules) {
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
            State::Count(count) => {
                while count.times.pop_front_if(|time| *time < cut).is_some() {}
                let known = count.times.len().min(count.last.len());
                count.last.drain(..count.last.len() - known);
            }
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
            State::Temporal(temporal) => {
                let old = |slot: &&mut Option<_>| slot.as_ref().is_some_and(|(time, _, _)| *time < cut);
                for slot in temporal.last.iter_mut().filter(old) {
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
            State::Count(count) => Some(count.times.len() as f64).filter(|n| plan.holds(*n)),
            State::Distinct(distinct) => Some(distinct.ages.len() as f64).filter(|n| plan.holds(*n)),
            State::Metric(metric) => metric.value(plan).filter(|value| plan.holds(*value)),
            State::Temporal(temporal) => {
                let seen = mask(temporal.last.iter().map(Option::is_some));
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

    /// What the window holds, whether it meets the condition or not; `None` if there is nothing to compare.
    pub fn reading(&self, plan: &Plan) -> Option<Reading> {
        let metric = |value: f64| Reading { value, rules: 0, missing: plan.missing(value) };
        match &self.state {
            State::Count(count) => Some(metric(count.times.len() as f64)),
            State::Distinct(distinct) => Some(metric(distinct.ages.len() as f64)),
            State::Metric(of) => of.value(plan).map(metric),
            State::Temporal(temporal) => {
                let rules = mask(temporal.last.iter().map(Option::is_some));
                let value = f64::from(rules.count_ones());
                let missing = match &plan.test {
                    Test::Thresholds(_) => plan.missing(value),
                    Test::Expression(expression) => expression.missing(rules),
                };
                Some(Reading { value, rules, missing })
            }
            State::Ordered(ordered) => {
                let rules = mask(ordered.last.iter().map(Option::is_some));
                let runs = ordered.runs.iter().zip(&plan.orders).map(|(runs, order)| {
                    let value = runs.furthest(order).map_or(0, |run| run.length) as f64;
                    let missing = match &plan.test {
                        Test::Thresholds(_) => plan.missing(value),
                        Test::Expression(_) => {
                            order.steps.len() as f64 - value + f64::from((rules & order.absent).count_ones())
                        }
                    };
                    Reading { value, rules, missing }
                });
                runs.min_by(|a, b| a.missing.total_cmp(&b.missing))
            }
        }
    }

    /// Whether events of this window were given up, so that a count may be too low.
    pub fn is_capped(&self) -> bool {
        self.forgotten.is_some()
    }

    /// The events that a match rests on, or of those that did not come to a match the ones that came nearest.
    pub fn evidence(&self, plan: &Plan) -> Evidence {
        match &self.state {
            State::Count(count) => {
                let unknown = count.times.len() - count.last.len();
                let mut out = gather(count.times.iter().copied().skip(unknown).zip(&count.last));
                out.first = count.times.front().map_or(out.first, |first| out.first.min(*first));
                out
            }
            State::Distinct(d) => gather(d.by_age.values().map(|(time, _, origin)| (*time, origin))),
            State::Metric(m) => gather(m.values.iter().map(|(time, _, origin)| (*time, origin))),
            State::Temporal(temporal) => {
                let mut events: Vec<_> = temporal.last.iter().flatten().collect();
                events.sort_by_key(|(_, number, _)| *number);
                gather(events.into_iter().map(|(time, _, origin)| (*time, origin)))
            }
            State::Ordered(ordered) => {
                let run = match ordered.found(plan) {
                    Some((runs, order)) => runs.longest(&plan.orders[order]),
                    None => {
                        let runs = ordered.runs.iter().zip(&plan.orders).filter_map(|(r, o)| r.furthest(o));
                        runs.max_by_key(|run| run.length)
                    }
                };
                run.map_or_else(Evidence::default, |run| gather(run.events().into_iter()))
            }
        }
    }

    /// Bytes on the heap, about.
    pub fn bytes(&self) -> usize {
        match &self.state {
            State::Count(count) => {
                count.times.capacity() * size_of::<i64>() + count.last.capacity() * size_of::<Origin>()
            }
            State::Distinct(distinct) => distinct.bytes,
            State::Metric(metric) => {
                metric.values.capacity() * size_of::<(i64, f64, Origin)>()
                    + match &metric.tally {
                        Tally::Sum(_) => 64,
                        Tally::Bag(bag) => bag.len() * 16,
                    }
            }
            State::Temporal(temporal) => temporal.last.len() * size_of::<Option<(i64, u64, Origin)>>(),
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

/// The entries whose bit is set.
fn with_bits<T>(entries: &mut [T], bits: u64) -> impl Iterator<Item = &mut T> {
    entries.iter_mut().enumerate().filter(move |(bit, _)| bits & (1 << bit) != 0).map(|(_, entry)| entry)
}

fn mask(bits: impl Iterator<Item = bool>) -> u64 {
    bits.enumerate().fold(0, |mask, (bit, set)| mask | (u64::from(set) << bit))
}
