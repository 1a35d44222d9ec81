//! Correlations against an evaluation that keeps every event and looks at every window anew.

#![allow(clippy::unwrap_used, reason = "a test stops where it fails")]

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use proptest::prelude::*;
use serde_json::{Map, json};
use wardline_event::{LogRecord, LogSource, Timestamp};
use wardline_sigma::{Collection, CorrelationSettings, CorrelationState, Correlations};

/// An event, and which of the rules a, b, c it matches (a bit each).
#[derive(Clone, Debug)]
struct Event {
    time: i64,
    reference: u64,
    rules: u8,
    user: Option<u8>,
    number: Option<i8>,
}

impl Event {
    fn record(&self) -> LogRecord {
        let mut fields = Map::new();
        if let Some(user) = self.user {
            fields.insert("user".to_owned(), json!(user.to_string()));
        }
        if let Some(number) = self.number {
            fields.insert("n".to_owned(), json!(f64::from(number) / 2.0));
        }
        LogRecord::from_json(LogSource::new("", "test", ""), &fields)
    }
}

/// What a correlation reports: when, for whom, the count or metric, and the events.
type Report = (i64, Option<String>, String, Vec<u64>);

const RULES: &str = "
title: A
name: a
logsource: {category: test}
detection: {selection: {id: 1}, condition: selection}
---
title: B
name: b
logsource: {category: test}
detection: {selection: {id: 2}, condition: selection}
---
title: C
name: c
logsource: {category: test}
detection: {selection: {id: 3}, condition: selection}
";

fn link(correlations: &str) -> Correlations {
    let collection =
        Collection::parse(&format!("{RULES}{correlations}"), "test").unwrap_or_else(|e| panic!("{e}"));
    let (correlations, faults) = Correlations::link(&collection.rules, collection.correlations);
    assert_eq!(faults, []);
    correlations
}

fn evaluate(correlations: &Correlations, settings: CorrelationSettings, events: &[Event]) -> Vec<Report> {
    let mut state = CorrelationState::new(correlations.clone(), settings);
    let mut out = Vec::new();
    let matching = |event: &Event| (0..3).filter(|bit| event.rules & (1 << bit) != 0).collect::<Vec<usize>>();
    let mut report = |m: wardline_sigma::Match| {
        assert!(!m.capped && m.first <= m.last && m.last <= m.time);
        let last = events.iter().find(|event| Some(&event.reference) == m.events.last()).unwrap();
        let recalled = correlations.recalled_for(&matching(last)).as_millis() as i64;
        assert!(m.time.0 - last.time <= recalled, "{} - {} > {recalled}", m.time.0, last.time);
        out.push((m.time.0, m.group.first().cloned().flatten(), format!("{:.6}", m.value), m.events));
    };
    for event in events {
        state.observe(&matching(event), &event.record(), Timestamp(event.time), event.reference, &mut report);
    }
    state.finish(&mut report);
    assert_eq!(state.stats().late_dropped + state.stats().evicted + state.stats().forgotten, 0);
    // At one time, groups come in the order of their first events; that is not what is compared.
    out.sort();
    out
}

/// One way to look at a window: the count or metric and its events, if the condition holds.
type Look = fn(&[&Event]) -> Option<(f64, Vec<u64>)>;

struct Case {
    body: &'static str,
    /// The rules that it refers to.
    rules: u8,
    grouped: bool,
    closing: bool,
    look: Look,
}

const SPAN: i64 = 10_000;

fn all(window: &[&Event]) -> Vec<u64> {
    window.iter().map(|e| e.reference).collect()
}

fn numbers(window: &[&Event]) -> Vec<(f64, u64)> {
    window.iter().filter_map(|e| Some((f64::from(e.number?) / 2.0, e.reference))).collect()
}

fn seen(window: &[&Event]) -> u8 {
    window.iter().fold(0, |mask, e| mask | e.rules)
}

/// The last event of each of these rules, oldest first.
fn last_of(window: &[&Event], rules: u8) -> Vec<u64> {
    let mut last: Vec<(usize, u64)> = (0..3)
        .filter(|bit| rules & (1 << bit) != 0)
        .filter_map(|bit| window.iter().rposition(|e| e.rules & (1 << bit) != 0))
        .map(|at| (at, window[at].reference))
        .collect();
    last.sort_unstable();
    last.dedup();
    last.into_iter().map(|(_, reference)| reference).collect()
}

/// Whether these rules matched one after another, each at its own or the same time.
fn in_order(window: &[&Event], rules: &[u8], after: i64) -> bool {
    let Some((first, rest)) = rules.split_first() else { return true };
    window.iter().any(|e| e.time >= after && e.rules & (1 << first) != 0 && in_order(window, rest, e.time))
}

fn percentile(window: &[&Event], percent: f64) -> Option<f64> {
    let mut values: Vec<f64> = numbers(window).into_iter().map(|(n, _)| n).collect();
    values.sort_by(f64::total_cmp);
    let rank = percent / 100.0 * values.len().checked_sub(1)? as f64;
    let (low, high) = (values[rank.floor() as usize], values[rank.ceil() as usize]);
    Some(low + (high - low) * rank.fract())
}

fn with_numbers(
    window: &[&Event],
    value: Option<f64>,
    holds: impl Fn(f64) -> bool,
) -> Option<(f64, Vec<u64>)> {
    let value = value.filter(|v| holds(*v))?;
    Some((value, numbers(window).into_iter().map(|(_, reference)| reference).collect()))
}

fn sum(window: &[&Event]) -> Option<f64> {
    let numbers = numbers(window);
    (!numbers.is_empty()).then(|| numbers.iter().map(|(n, _)| n).sum())
}

fn users(window: &[&Event]) -> (f64, Vec<u64>) {
    let mut last = BTreeMap::new();
    for (at, event) in window.iter().enumerate() {
        if let Some(user) = event.user {
            last.insert(user, at);
        }
    }
    let order: BTreeSet<usize> = last.values().copied().collect();
    (last.len() as f64, order.into_iter().map(|at| window[at].reference).collect())
}

/// Where no event has a value, the last one stands for the window.
fn or_last(window: &[&Event], events: Vec<u64>) -> Vec<u64> {
    if events.is_empty() { window.last().map(|e| e.reference).into_iter().collect() } else { events }
}

fn of_rules(window: &[&Event], holds: bool) -> Option<(f64, Vec<u64>)> {
    holds.then(|| (f64::from(seen(window).count_ones()), last_of(window, 7)))
}

/// The length of the longest run, without its events: which of several equal runs is shown is not specified.
fn longest(window: &[&Event], holds: fn(usize) -> bool) -> Option<(f64, Vec<u64>)> {
    let runs: [&[u8]; 7] = [&[0, 1, 2], &[0, 1], &[0, 2], &[1, 2], &[0], &[1], &[2]];
    let length = runs.iter().find(|run| in_order(window, run, i64::MIN)).map_or(0, |run| run.len());
    holds(length).then(|| (length as f64, Vec::new()))
}

const CASES: &[Case] = &[
    Case {
        body: "type: event_count\nrules: a\ngroup-by: user\ntimespan: 10s\ncondition: {gte: 3}",
        rules: 1,
        grouped: true,
        closing: false,
        look: |w| (w.len() >= 3).then(|| (w.len() as f64, all(w))),
    },
    Case {
        body: "type: event_count\nrules: [a, b]\ntimespan: 10s\ncondition: {gt: 1.5}",
        rules: 3,
        grouped: false,
        closing: false,
        look: |w| (w.len() >= 2).then(|| (w.len() as f64, all(w))),
    },
    Case {
        body: "type: event_count\nrules: [a, b]\ngroup-by: user\ntimespan: 10s\ncondition: {gt: 1, lte: 3}",
        rules: 3,
        grouped: true,
        closing: true,
        look: |w| (2..=3).contains(&w.len()).then(|| (w.len() as f64, all(w))),
    },
    Case {
        body: "type: event_count\nrules: c\ngroup-by: user\ntimespan: 10s\ncondition: {neq: 2}",
        rules: 4,
        grouped: true,
        closing: true,
        look: |w| (w.len() != 2).then(|| (w.len() as f64, all(w))),
    },
    Case {
        body: "type: value_count\nrules: [a, c]\ntimespan: 10s\ncondition: {field: user, gte: 3}",
        rules: 5,
        grouped: false,
        closing: false,
        look: |w| Some(users(w)).filter(|(n, _)| *n >= 3.0),
    },
    Case {
        body: "type: value_count\nrules: [a, b, c]\ntimespan: 10s\ncondition: {field: user, lt: 3}",
        rules: 7,
        grouped: false,
        closing: true,
        look: |w| Some(users(w)).filter(|(n, _)| *n < 3.0).map(|(n, events)| (n, or_last(w, events))),
    },
    Case {
        body: "type: value_sum\nrules: [a, b]\ngroup-by: user\ntimespan: 10s\ncondition: {field: n, gte: 20}",
        rules: 3,
        grouped: true,
        closing: false,
        look: |w| with_numbers(w, sum(w), |v| v >= 20.0),
    },
    Case {
        body: "type: value_sum\nrules: [a, b]\ngroup-by: user\ntimespan: 10s\ncondition: {field: n, lt: 5}",
        rules: 3,
        grouped: true,
        closing: true,
        look: |w| with_numbers(w, sum(w), |v| v < 5.0),
    },
    Case {
        body: "type: value_avg\nrules: [a, b]\ngroup-by: user\ntimespan: 10s\ncondition: {field: n, lt: 1}",
        rules: 3,
        grouped: true,
        closing: false,
        look: |w| with_numbers(w, sum(w).map(|s| s / numbers(w).len() as f64), |v| v < 1.0),
    },
    Case {
        body: "type: value_percentile\nrules: [a, b, c]\ntimespan: 10s\ncondition: {field: n, percentile: 80, gt: 20}",
        rules: 7,
        grouped: false,
        closing: false,
        look: |w| with_numbers(w, percentile(w, 80.0), |v| v > 20.0),
    },
    Case {
        body: "type: value_median\nrules: [a, b, c]\ngroup-by: user\ntimespan: 10s\ncondition: {field: n, eq: 4.5}",
        rules: 7,
        grouped: true,
        closing: false,
        look: |w| with_numbers(w, percentile(w, 50.0), |v| (v - 4.5).abs() < 1e-9),
    },
    Case {
        body: "type: value_max\nrules: [a, b]\ngroup-by: user\ntimespan: 10s\ncondition: {field: n, lte: 3}",
        rules: 3,
        grouped: true,
        closing: false,
        look: |w| with_numbers(w, percentile(w, 100.0), |v| v <= 3.0),
    },
    Case {
        body: "type: temporal\nrules: [a, b, c]\ngroup-by: user\ntimespan: 10s",
        rules: 7,
        grouped: true,
        closing: false,
        look: |w| of_rules(w, seen(w) == 7),
    },
    Case {
        body: "type: temporal\nrules: [a, b, c]\ngroup-by: user\ntimespan: 10s\ncondition: {eq: 2}",
        rules: 7,
        grouped: true,
        closing: true,
        look: |w| of_rules(w, seen(w).count_ones() == 2),
    },
    Case {
        body: "type: temporal\nrules: [a, b, c]\ngroup-by: user\ntimespan: 10s\ncondition: a and (b or c)",
        rules: 7,
        grouped: true,
        closing: false,
        look: |w| of_rules(w, seen(w) & 1 != 0 && seen(w) & 6 != 0),
    },
    Case {
        body: "type: temporal\nrules: [a, b, c]\ngroup-by: user\ntimespan: 10s\ncondition: not (a and b) and c",
        rules: 7,
        grouped: true,
        closing: true,
        look: |w| of_rules(w, seen(w) & 3 != 3 && seen(w) & 4 != 0),
    },
    Case {
        body: "type: temporal_ordered\nrules: [a, b, c]\ngroup-by: user\ntimespan: 10s",
        rules: 7,
        grouped: true,
        closing: false,
        look: |w| longest(w, |n| n == 3),
    },
    Case {
        body: "type: temporal_ordered\nrules: [a, b, c]\ntimespan: 10s\ncondition: {gte: 2}",
        rules: 7,
        grouped: false,
        closing: false,
        look: |w| longest(w, |n| n >= 2),
    },
    Case {
        body: "type: temporal_ordered\nrules: [a, b, c]\ngroup-by: user\ntimespan: 10s\ncondition: {eq: 2}",
        rules: 7,
        grouped: true,
        closing: true,
        look: |w| longest(w, |n| n == 2),
    },
    Case {
        body: "type: temporal_ordered\nrules: [a, b, c]\ngroup-by: user\ntimespan: 10s\ncondition: a and c and not b",
        rules: 7,
        grouped: true,
        closing: true,
        look: |w| (in_order(w, &[0, 2], i64::MIN) && seen(w) & 2 == 0).then(|| (2.0, Vec::new())),
    },
    Case {
        body: "type: temporal_ordered\nrules: [a, b, c]\ngroup-by: user\ntimespan: 10s\ncondition: (a or b) and c",
        rules: 7,
        grouped: true,
        closing: false,
        look: |w| {
            (in_order(w, &[0, 2], i64::MIN) || in_order(w, &[1, 2], i64::MIN)).then(|| (2.0, Vec::new()))
        },
    },
];

fn naive(case: &Case, events: &[Event]) -> Vec<Report> {
    let mut sorted: Vec<&Event> = events.iter().filter(|e| e.rules & case.rules != 0).collect();
    sorted.sort_by_key(|e| (e.time, e.reference));
    let key = |e: &Event| if case.grouped { e.user.map(|u| u.to_string()) } else { None };
    let groups: BTreeSet<Option<String>> = sorted.iter().map(|e| key(e)).collect();
    let mut out = Vec::new();
    for group in groups {
        let of_group: Vec<&Event> = sorted.iter().copied().filter(|e| key(e) == group).collect();
        let mut report = |time, found: Option<(f64, Vec<u64>)>| {
            if let Some((value, events)) = found {
                out.push((time, group.clone(), format!("{value:.6}"), events));
                return true;
            }
            false
        };
        if case.closing {
            let mut rest = of_group.as_slice();
            while let Some(first) = rest.first() {
                let end = first.time + SPAN;
                let (window, after) = rest.split_at(rest.partition_point(|e| e.time <= end));
                report(end, (case.look)(window));
                rest = after;
            }
        } else {
            let mut reported = None;
            for (i, event) in of_group.iter().enumerate() {
                let from = of_group.partition_point(|e| e.time < event.time - SPAN);
                let due = reported.is_none_or(|at| event.time > at + SPAN);
                if due && report(event.time, (case.look)(&of_group[from..=i])) {
                    reported = Some(event.time);
                }
            }
        }
    }
    out.sort();
    out
}

/// Of ordered correlations the events of the match are left out, as the naive evaluation does not say them.
fn comparable(case: &Case, mut reports: Vec<Report>) -> Vec<Report> {
    if case.body.contains("ordered") {
        for report in &mut reports {
            report.3.clear();
        }
    }
    reports
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let event =
        (0..50_i64, 1..8_u8, prop::option::weighted(0.9, 0..3_u8), prop::option::weighted(0.8, -4..60_i8));
    prop::collection::vec(event, 0..60).prop_map(|events| {
        (0..)
            .zip(events)
            // Half seconds, so that times are often equal and window edges often hit.
            .map(|(reference, (time, rules, user, number))| Event {
                time: time * 500,
                reference,
                rules,
                user,
                number,
            })
            .collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    /// Whatever comes in whatever order within the allowed lateness, exactly the windows that hold are reported.
    #[test]
    fn windows_are_exact(events in events(), delays in prop::collection::vec(0..=8_i64, 60)) {
        let mut sorted = events.clone();
        sorted.sort_by_key(|e| (e.time, e.reference));
        let mut mixed = events.clone();
        // Up to the very last moment that is allowed.
        mixed.sort_by_key(|e| (e.time + delays[e.reference as usize] * 500, std::cmp::Reverse(e.time), e.reference));
        let wait = CorrelationSettings { lateness: Duration::from_secs(4), wait: true, ..CorrelationSettings::default() };
        for case in CASES {
            let correlations = link(&format!("---\ntitle: T\ncorrelation:\n  {}\n", case.body.replace('\n', "\n  ")));
            let expected = naive(case, &events);
            let got = evaluate(&correlations, CorrelationSettings::default(), &sorted);
            prop_assert_eq!(comparable(case, got.clone()), expected, "{}", case.body);
            let waited = evaluate(&correlations, wait.clone(), &mixed);
            prop_assert_eq!(waited, got, "the order of arrival matters: {}", case.body);
        }
    }

    /// A login that follows many failures is seen at whatever moment of the failures it comes; bursts are counted
    /// once for each report.
    #[test]
    fn chains_are_exact(events in events()) {
        let mut sorted = events;
        sorted.sort_by_key(|e| (e.time, e.reference));
        let inner = "---\ntitle: I\nname: many\ncorrelation:\n  type: event_count\n  rules: a\n  group-by: user\n  timespan: 3s\n  condition: {gte: 2}\n";
        let then = "---\ntitle: T\ncorrelation:\n  type: temporal_ordered\n  rules: [many, c]\n  group-by: user\n  timespan: 5s\n";
        let count = "---\ntitle: T\ncorrelation:\n  type: event_count\n  rules: many\n  group-by: user\n  timespan: 10s\n  condition: {gte: 2}\n";
        let key = |e: &Event| e.user.map(|u| u.to_string());
        let mut expected_then = Vec::new();
        let mut expected_count = Vec::new();
        for group in sorted.iter().map(key).collect::<BTreeSet<_>>() {
            let of_group: Vec<&Event> = sorted.iter().filter(|e| key(e) == group).collect();
            let (mut moments, mut reports): (Vec<i64>, Vec<i64>) = (Vec::new(), Vec::new());
            let (mut then, mut counted): (Option<i64>, Option<i64>) = (None, None);
            for (i, event) in of_group.iter().enumerate() {
                if event.rules & 1 != 0 {
                    let recent = of_group[..=i].iter().filter(|e| e.rules & 1 != 0 && e.time >= event.time - 3000);
                    if recent.count() >= 2 {
                        moments.push(event.time);
                        if reports.last().is_none_or(|at| event.time > at + 3000) {
                            reports.push(event.time);
                            let close = reports.iter().filter(|at| **at >= event.time - 10_000).count();
                            if close >= 2 && counted.is_none_or(|at| event.time > at + 10_000) {
                                counted = Some(event.time);
                                expected_count.push((event.time, group.clone()));
                            }
                        }
                    }
                }
                let follows = of_group[..=i].iter().any(|c| {
                    c.rules & 4 != 0 && moments.iter().any(|at| *at <= c.time && *at >= event.time - 5000)
                });
                if follows && event.rules & 5 != 0 && then.is_none_or(|at| event.time > at + 5000) {
                    // Only what reaches the outer correlation is a moment at which it is looked at.
                    if event.rules & 4 != 0 || moments.last() == Some(&event.time) {
                        then = Some(event.time);
                        expected_then.push((event.time, group.clone()));
                    }
                }
            }
        }
        let short = |reports: Vec<Report>| reports.into_iter().map(|(time, group, _, _)| (time, group)).collect::<Vec<_>>();
        expected_then.sort();
        expected_count.sort();
        let got = short(evaluate(&link(&format!("{inner}{then}")), CorrelationSettings::default(), &sorted));
        prop_assert_eq!(got, expected_then);
        let got = short(evaluate(&link(&format!("{inner}{count}")), CorrelationSettings::default(), &sorted));
        prop_assert_eq!(got, expected_count);
    }
}
