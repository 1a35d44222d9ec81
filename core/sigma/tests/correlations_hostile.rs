//! Correlations under attack: floods of groups and events, absurd times and values, absurd rules, damaged bytes.

#![allow(clippy::unwrap_used, reason = "a test stops where it fails")]

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use proptest::prelude::*;
use serde_json::{Value as Json, json};
use wardline_event::{LogRecord, LogSource, Timestamp};
use wardline_sigma::{
    Collection, CorrelationSettings, CorrelationState, Correlations, Hit, Hits, LinkOptions, Match,
};

fn record(fields: &Json) -> LogRecord {
    LogRecord::from_json(LogSource::new("", "test", ""), fields.as_object().unwrap())
}

/// Correlations over one rule, the first one.
fn correlations(bodies: &[&str]) -> Correlations {
    let mut text = "title: A\nname: a\nlogsource: {category: test}\ndetection: {selection: {id: 1}, condition: selection}\n".to_owned();
    for body in bodies {
        writeln!(text, "---\ntitle: T\ncorrelation:\n  rules: a\n  {}", body.replace('\n', "\n  ")).unwrap();
    }
    let collection = Collection::parse(&text, "test").unwrap_or_else(|e| panic!("{e}"));
    let (correlations, faults) = Correlations::link(&collection.rules, collection.correlations);
    assert_eq!(faults, []);
    correlations
}

#[test]
fn a_flood_of_groups_takes_the_room_that_it_is_given_and_no_more() {
    let flooded = "type: event_count\ngroup-by: user\ntimespan: 10y\ncondition: {gte: 2}";
    let quiet = "type: event_count\ngroup-by: host\ntimespan: 10y\ncondition: {gte: 2}";
    for (groups, bytes) in [(5000, usize::MAX), (usize::MAX, 2 << 20)] {
        let settings = CorrelationSettings { groups, bytes, ..CorrelationSettings::default() };
        let mut state = CorrelationState::new(correlations(&[flooded, quiet]), settings);
        let mut found: Vec<Match> = Vec::new();
        let mut observe = |state: &mut CorrelationState, n: u64, fields: &Json| {
            state.observe(&[0], &record(fields), Timestamp(n as i64), n, &mut |m| found.push(m));
            let stats = state.stats();
            assert!(stats.groups <= groups && stats.bytes <= bytes, "{stats:?}");
        };
        observe(&mut state, 0, &json!({"user": "first", "host": "h"}));
        for n in 1..150_000 {
            let fields =
                json!({"user": format!("user {n}"), "host": if n == 75_000 { "other" } else { "x" }});
            observe(&mut state, n, &fields);
        }
        assert!(state.stats().evicted > 100_000, "what is given up is counted: {:?}", state.stats());
        // The flood did not wash away what another correlation knows.
        observe(&mut state, 200_000, &json!({"user": "last", "host": "h"}));
        let hosts: Vec<_> = found.iter().filter_map(|m| m.group[0].as_deref()).collect();
        assert_eq!(hosts, ["x", "h"]);
        state.advance(Timestamp(i64::MAX), &mut |_| {});
        assert_eq!((state.stats().groups, state.stats().bytes), (0, 0), "time frees all of it");
    }
}

#[test]
fn a_flood_of_events_in_one_group_is_counted_as_far_as_there_is_room() {
    let bodies = [
        "type: event_count\ntimespan: 1y\ncondition: {gte: 200000}",
        "type: value_count\ntimespan: 1y\ncondition: {field: n, gte: 3000}",
        "type: value_median\ntimespan: 1y\ncondition: {field: n, gt: 1e9}",
        "type: value_sum\ntimespan: 1y\ncondition: {field: n, gt: 1e12}",
    ];
    let settings = CorrelationSettings { window: 1000, ..CorrelationSettings::default() };
    let mut state = CorrelationState::new(correlations(&bodies), settings);
    let mut found = Vec::new();
    for n in 0..200_000 {
        let event = record(&json!({ "n": n }));
        state.observe(&[0], &event, Timestamp(n), n as u64, &mut |m| {
            found.push((m.correlation, m.value, m.events.len()));
        });
    }
    // A condition that needs more than the limit gets it.
    assert_eq!(found, [(1, 3000.0, 100), (0, 200_000.0, 100)]);
    let stats = state.stats();
    assert!(stats.forgotten >= 199_000 * 2 && stats.evicted == 0 && stats.bytes < 8 << 20, "{stats:?}");
}

#[test]
fn a_capped_count_says_so() {
    let body = "type: value_max\ntimespan: 1m\ncondition: {field: n, gte: 50}";
    let settings = CorrelationSettings { window: 10, ..CorrelationSettings::default() };
    let mut state = CorrelationState::new(correlations(&[body]), settings);
    let mut capped = Vec::new();
    for n in 0..200 {
        state.observe(&[0], &record(&json!({ "n": n % 60 })), Timestamp(n * 1000), 0, &mut |m| {
            capped.push(m.capped);
        });
    }
    assert!(!capped.is_empty() && capped.iter().all(|c| *c));
}

#[test]
fn absurd_times_and_values_do_no_harm() {
    let bodies = [
        "type: event_count\ngroup-by: v\ntimespan: 10y\ncondition: {gte: 2}",
        "type: event_count\ntimespan: 10y\ncondition: {lte: 2}",
        "type: value_sum\ntimespan: 10y\ncondition: {field: v, gte: 0}",
        "type: temporal_ordered\ntimespan: 10y",
        "type: value_count\ntimespan: 1s\ncondition: {field: [v, w], gte: 2}",
    ];
    let long = "x".repeat(10 << 20);
    let many: Vec<u32> = (0..100_000).collect();
    let values = [
        json!(1e290),
        json!(-1e290),
        json!(f64::MAX),
        json!(long),
        json!(many),
        json!([[[1]]]),
        json!(null),
        json!({"a": 1}),
        json!("0xffffffffffffffff"),
    ];
    for wait in [false, true] {
        let settings =
            CorrelationSettings { wait, lateness: Duration::MAX, ..CorrelationSettings::default() };
        let mut state = CorrelationState::new(correlations(&bodies), settings);
        let mut found = 0;
        for time in [0, i64::MAX, i64::MIN, -1, i64::MAX - 1, 5] {
            for value in &values {
                let event = record(&json!({ "v": value, "w": 1 }));
                state.observe(&[0, 0, 7, usize::MAX], &event, Timestamp(time), u64::MAX, &mut |m| {
                    assert!(m.value.is_finite());
                    found += 1;
                });
            }
            state.advance(Timestamp(time), &mut |_| found += 1);
        }
        assert!(state.stats().bytes < 1 << 20, "{:?}", state.stats());
        state.finish(&mut |_| found += 1);
        assert!(found > 0);
        assert_eq!((state.stats().groups, state.stats().waiting), (0, 0));
    }
}

#[test]
fn waiting_events_take_their_share_and_no_more() {
    let settings = CorrelationSettings {
        wait: true,
        lateness: Duration::from_secs(1 << 30),
        bytes: 1 << 20,
        ..CorrelationSettings::default()
    };
    let body = "type: event_count\ngroup-by: user\ntimespan: 1d\ncondition: {gte: 2}";
    let mut state = CorrelationState::new(correlations(&[body]), settings);
    let mut found = 0;
    for n in 0..50_000 {
        let event = record(&json!({"user": (n % 3).to_string()}));
        state.observe(&[0], &event, Timestamp(n), n as u64, &mut |_| found += 1);
        assert!(state.stats().bytes <= 1 << 20);
    }
    assert!(state.stats().hurried > 40_000 && found == 3, "{:?}", state.stats());
}

/// Thousands of correlations in circles, in chains and with thousands of references are linked or refused quickly.
#[test]
fn absurd_sets_of_correlations_are_refused_quickly() {
    let rule = "title: A\nname: a\nlogsource: {category: test}\ndetection: {selection: {id: 1}, condition: selection}\n";
    let set = |reference: &dyn Fn(usize) -> String| {
        let mut all = Collection::parse(rule, "test").unwrap();
        for file in 0..20 {
            let mut text = String::new();
            for i in file * 500..(file + 1) * 500 {
                write!(
                    text,
                    "---\ntitle: T\nname: c{i}\ncorrelation: {{type: event_count, rules: [{}], timespan: 1m, condition: {{gte: 2}}}}\n",
                    reference(i)
                )
                .unwrap();
            }
            all.extend(Collection::parse(&text, "test").unwrap());
        }
        let before = Instant::now();
        let linked = all.link(&LinkOptions::default());
        assert!(before.elapsed() < Duration::from_secs(20), "{:?}", before.elapsed());
        (linked.correlations.correlations().len(), linked.faults.len())
    };
    assert_eq!(set(&|i| format!("c{}", (i + 1) % 10_000)), (0, 10_000), "one circle");
    assert_eq!(set(&|i| if i == 0 { "a".to_owned() } else { format!("c{}", i - 1) }), (8, 9992), "one chain");
    assert_eq!(set(&|i| format!("c{}", i + 1)), (0, 10_000), "a chain from nowhere");
    assert_eq!(set(&|_| "a".to_owned()), (10_000, 0));
}

proptest! {
    /// What is written to a file is read back; feeding sorted runs one after another is feeding all at once.
    #[test]
    fn hits_survive_a_file(events in prop::collection::vec((0..1000_i64, "[a-z]{0,3}", any::<bool>()), 0..50)) {
        let correlations = correlations(&["type: value_count\ngroup-by: v\ntimespan: 1m\ncondition: {field: w, gte: 1}"]);
        let mut hits = Hits::with_limit(1 << 20);
        for (reference, (time, value, list)) in (0..).zip(events) {
            let value = if list { json!([value, null]) } else { json!(value) };
            let event = record(&json!({ "v": value, "w": time }));
            hits.push(correlations.capture(&[0], &event, Timestamp(time), reference).unwrap()).unwrap();
        }
        let sorted = hits.take_sorted();
        prop_assert!(sorted.is_sorted_by_key(|hit| (hit.time(), hit.reference())));
        let mut bytes = Vec::new();
        for hit in &sorted {
            hit.write(&mut bytes);
        }
        let mut rest = bytes.as_slice();
        let read: Vec<Hit> = std::iter::from_fn(|| if rest.is_empty() { None } else { Some(Hit::read(&mut rest).unwrap()) }).collect();
        prop_assert_eq!(&read, &sorted);
        for cut in 0..bytes.len().min(40) {
            prop_assert_eq!(Hit::read(&mut &bytes[..cut]), None);
        }
    }

    #[test]
    fn damaged_hits_are_refused_or_fed(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let mut state = CorrelationState::new(correlations(&["type: event_count\ngroup-by: v\ntimespan: 1m\ncondition: {gte: 1}"]), CorrelationSettings::default());
        let mut rest = bytes.as_slice();
        while let Some(hit) = Hit::read(&mut rest) {
            state.feed(hit, &mut |_| {});
        }
    }

    /// Any attributes make a correlation or an error.
    #[test]
    fn any_attributes_are_a_correlation_or_an_error(
        kind in prop::sample::select(vec!["event_count", "value_count", "temporal", "temporal_ordered", "value_sum", "value_percentile", "x"]),
        rules in prop::sample::select(vec!["a", "[a]", "[a, a]", "[]", "{a: b}", "null", "[[a]]"]),
        timespan in "[0-9]{0,25}[smhdwMyx]?",
        condition in prop::sample::select(vec!["a", "a and a", "not a", "{gte: 1}", "{gte: .inf}", "{eq: -1}", "{lt: 1e308, field: v}", "{field: [v, w], gte: 0}", "{percentile: 50, field: v, gt: -1e308}", "[]", "null", "((((a))))"]),
        group in prop::sample::select(vec!["v", "[v, v]", "[]", "{}", "null", "['']"]),
    ) {
        let text = format!("title: A\nname: a\nlogsource: {{category: test}}\ndetection: {{selection: {{id: 1}}, condition: selection}}\n---\ntitle: T\ncorrelation:\n  type: {kind}\n  rules: {rules}\n  timespan: '{timespan}'\n  condition: {condition}\n  group-by: {group}\n");
        if let Ok(collection) = Collection::parse(&text, "test") {
            let linked = collection.link(&LinkOptions::default());
            let mut state = CorrelationState::new(linked.correlations, CorrelationSettings::default());
            for time in [0, 1, i64::MAX] {
                state.observe(&[0], &record(&json!({"v": time, "w": [1, 2]})), Timestamp(time), 1, &mut |m| assert!(m.value.is_finite()));
            }
            state.finish(&mut |_| {});
        }
    }
}
