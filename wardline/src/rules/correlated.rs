//! Correlations over the records of logs, for people who look at single ones.

use std::collections::{BTreeMap, BTreeSet};

use wardline_event::{LogRecord, LogSource};
use wardline_sigma::{
    Correlation, CorrelationSettings, CorrelationState, Correlations, Hit, Look, Match, Rule, RuleSet,
    Scratch,
};

/// Correlations, everything that they refer to, and nothing else.
pub struct Correlated {
    /// The rules under them.
    pub rules: RuleSet,
    /// The correlations, and those under them.
    pub correlations: Correlations,
}

impl Correlated {
    /// Of all rules and correlations over them those that `wanted` takes, with everything under them.
    pub fn of(rules: &[Rule], correlations: &Correlations, wanted: impl Fn(&Correlation) -> bool) -> Self {
        let all = correlations.correlations();
        let mut open: Vec<usize> = (0..all.len()).filter(|index| wanted(&all[*index])).collect();
        let (mut under, mut kept) = (BTreeSet::<usize>::new(), BTreeSet::<usize>::new());
        while let Some(index) = open.pop() {
            if kept.insert(index) {
                for reference in correlations.references(index) {
                    under.extend(&reference.rules);
                    open.extend(&reference.correlations);
                }
            }
        }
        let (rules, _) =
            RuleSet::compile_lossy(under.into_iter().map(|index| rules[index].clone()).collect());
        let kept = kept.into_iter().map(|index| all[index].clone()).collect();
        let (correlations, _) = Correlations::link(rules.rules(), kept);
        Self { rules, correlations }
    }
}

/// The records that rules of correlations matched, until all are there.
pub struct Records<'a> {
    of: &'a Correlated,
    scratch: Scratch,
    hits: Vec<Hit>,
    /// The numbers of the records that each rule matched.
    pub matched: BTreeMap<usize, Vec<u64>>,
    /// Records that correlations would count if they said when.
    pub untimed: u64,
    /// Records that did not say what they are, and were taken for what a rule is for.
    pub assumed: u64,
}

/// What came of the records.
pub struct Outcome {
    /// Matches of the correlations that no other one counts.
    pub matches: Vec<Match>,
    /// How near each group came to one.
    pub looks: Vec<Look>,
}

impl<'a> Records<'a> {
    /// None yet.
    pub fn new(of: &'a Correlated) -> Self {
        let scratch = of.rules.scratch();
        Self { of, scratch, hits: Vec::new(), matched: BTreeMap::new(), untimed: 0, assumed: 0 }
    }

    /// Takes in the record with this number; with `assume` a record that does not say what it is is taken for whatever
    /// a rule is for.
    pub fn add(&mut self, number: u64, record: &mut LogRecord, assume: bool) {
        let mut matched = super::events::matched(&self.of.rules, record, &mut self.scratch);
        if assume && record.source == LogSource::default() {
            let fits = |rule: &Rule| rule.explanation(&*record).condition.holds();
            let assumed = self.of.rules.rules().iter().enumerate().filter(|(_, rule)| fits(rule));
            let before = matched.len();
            matched.extend(assumed.map(|(index, _)| index));
            self.assumed += u64::from(matched.len() > before);
        }
        if matched.is_empty() {
            return;
        }
        for rule in &matched {
            self.matched.entry(*rule).or_default().push(number);
        }
        let matched: Vec<usize> = matched.into_iter().collect();
        match record.time {
            Some(time) => self.hits.extend(self.of.correlations.capture(&matched, record, time, number)),
            None => self.untimed += 1,
        }
    }

    /// What comes of all of them, in the order of time.
    pub fn correlate(&mut self) -> Outcome {
        let mut state = CorrelationState::new(self.of.correlations.clone(), CorrelationSettings::default());
        state.keep_looks();
        self.hits.sort_by_key(|hit| (hit.time(), hit.reference()));
        let mut matches = Vec::new();
        for hit in self.hits.drain(..) {
            state.feed(hit, &mut |found| matches.push(found));
        }
        state.finish(&mut |found| matches.push(found));
        Outcome { matches, looks: state.looks().to_vec() }
    }
}

/// Numbers as a person writes them: `1-4, 7, 9-10`, at most so many runs.
pub fn runs(numbers: &[u64], most: usize) -> String {
    let mut runs: Vec<(u64, u64)> = Vec::new();
    for n in numbers {
        match runs.last_mut() {
            Some((_, last)) if *last + 1 == *n => *last = *n,
            _ => runs.push((*n, *n)),
        }
    }
    let mut text: Vec<String> = runs
        .iter()
        .take(most)
        .map(|(first, last)| match last - first {
            0 => first.to_string(),
            1 => format!("{first}, {last}"),
            _ => format!("{first}-{last}"),
        })
        .collect();
    if runs.len() > most {
        text.push("…".to_owned());
    }
    text.join(", ")
}

#[cfg(test)]
mod tests {
    #[test]
    fn numbers_that_follow_each_other_are_one_run() {
        let runs = |numbers: &[u64]| super::runs(numbers, 3);
        assert_eq!(runs(&[]), "");
        assert_eq!(runs(&[7]), "7");
        assert_eq!(runs(&[1, 2, 3, 5, 6, 9]), "1-3, 5, 6, 9");
        assert_eq!(runs(&[1, 3, 5, 7]), "1, 3, 5, …");
    }
}
