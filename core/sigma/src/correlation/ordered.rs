//! Rules that matched one after another.

use std::sync::Arc;

use crate::correlation::evidence::Origin;
use crate::correlation::plan::Order;

/// The end of a run of events, each of a later rule than the one before.
#[derive(Debug)]
struct Link {
    /// When the run began.
    start: i64,
    time: i64,
    origin: Origin,
    before: Option<Arc<Link>>,
}

/// For one [`Order`], the runs worth keeping: of each length and last step the one that began last, since it stays
/// in a window longest.
#[derive(Debug)]
pub(crate) struct Runs {
    /// `best[(length - 1) * steps + last step]`.
    best: Vec<Option<Arc<Link>>>,
    steps: usize,
}

/// A run that was found.
pub(crate) struct Run<'a> {
    pub length: usize,
    last: &'a Link,
}

impl Runs {
    pub fn new(order: &Order) -> Self {
        let steps = order.steps.len();
        Self { best: vec![None; steps * if order.whole { 1 } else { steps }], steps }
    }

    /// Takes in what happened at one moment: for each rule that matched at `time` an event. Called again with all of
    /// the moment's events when another one of the same time comes.
    pub fn add(&mut self, order: &Order, time: i64, now: &[(u64, Origin)]) {
        let seen = now.iter().fold(0, |mask, (rules, _)| mask | rules);
        let steps = self.steps;
        // Of the runs of each length that end in a step before the present one, that which began last.
        let mut before: Vec<Option<Arc<Link>>> = vec![None; if order.whole { 1 } else { steps }];
        for (step, bit) in order.steps.iter().enumerate() {
            let lengths = if order.whole { step..step + 1 } else { 0..step + 1 };
            for length in lengths.rev() {
                let row = if order.whole { 0 } else { length };
                let at = row * steps + step;
                if seen & (1 << bit) != 0 {
                    let prefix = if order.whole {
                        &before[0]
                    } else {
                        before.get(length.wrapping_sub(1)).unwrap_or(&None)
                    };
                    let start = if length == 0 { Some(time) } else { prefix.as_ref().map(|link| link.start) };
                    if let Some(start) = start
                        && self.best[at].as_ref().is_none_or(|best| start > best.start)
                    {
                        let origin =
                            now.iter().find(|(rules, _)| rules & (1 << bit) != 0).map(|(_, o)| o.clone());
                        let before = if length == 0 { None } else { prefix.clone() };
                        self.best[at] = origin.map(|origin| Arc::new(Link { start, time, origin, before }));
                    }
                }
            }
            // Afterwards, since a length must not be built on itself within one step.
            if order.whole {
                before[0].clone_from(&self.best[step]);
            } else {
                for (length, longest) in before.iter_mut().enumerate().take(step + 1) {
                    let here = &self.best[length * steps + step];
                    if here.as_ref().is_some_and(|h| longest.as_ref().is_none_or(|l| h.start > l.start)) {
                        longest.clone_from(here);
                    }
                }
            }
        }
    }

    /// Forgets runs that began before `cut`.
    pub fn expire(&mut self, cut: i64) {
        for slot in &mut self.best {
            if slot.as_ref().is_some_and(|link| link.start < cut) {
                *slot = None;
            }
        }
    }

    /// The longest run; of a whole order the run of all its steps.
    pub fn longest(&self, order: &Order) -> Option<Run<'_>> {
        if order.whole {
            return self.best.last()?.as_deref().map(|last| Run { length: self.steps, last });
        }
        (0..self.steps).rev().find_map(|length| {
            let row = &self.best[length * self.steps..(length + 1) * self.steps];
            let last = row.iter().flatten().max_by_key(|link| link.start)?;
            Some(Run { length: length + 1, last })
        })
    }

    /// How many of its steps the run has that came furthest, and that run.
    pub fn furthest(&self, order: &Order) -> Option<Run<'_>> {
        if !order.whole {
            return self.longest(order);
        }
        let (step, last) =
            self.best.iter().enumerate().rev().find_map(|(i, best)| Some((i, best.as_deref()?)))?;
        Some(Run { length: step + 1, last })
    }

    pub fn bytes(&self) -> usize {
        // Runs share their beginnings; each entry has at most one link of its own.
        self.best.len() * 8 + self.best.iter().flatten().count() * 80
    }
}

impl<'a> Run<'a> {
    /// Its events, the first one first.
    pub fn events(&self) -> Vec<(i64, &'a Origin)> {
        let links = std::iter::successors(Some(self.last), |link| link.before.as_deref());
        let mut events: Vec<_> = links.map(|link| (link.time, &link.origin)).collect();
        events.reverse();
        events
    }
}
