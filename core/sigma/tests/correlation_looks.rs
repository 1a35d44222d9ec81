//! How near groups came to a match, as `CorrelationState::looks` tells it.

#![allow(clippy::unwrap_used, reason = "a test stops where it fails")]

use std::fmt::Write;

use wardline_event::{LogRecord, LogSource, Timestamp};
use wardline_sigma::{Collection, CorrelationSettings, CorrelationState, LinkOptions};

const RULES: &str = "
title: A
name: a
logsource: {product: windows}
detection: {selection: {EventID: 1}, condition: selection}
---
title: B
name: b
logsource: {product: windows}
detection: {selection: {EventID: 2}, condition: selection}
---
title: C
name: c
logsource: {product: windows}
detection: {selection: {EventID: 3}, condition: selection}
---
title: T
correlation: ";

/// The looks after events of one kind (`1`, `2`, `3`) each at a second and on a computer.
fn looks(correlation: &str, events: &[(i64, i64, &str)]) -> String {
    let linked =
        Collection::parse(&format!("{RULES}{correlation}"), "r").unwrap().link(&LinkOptions::default());
    assert!(linked.faults.is_empty(), "{:?}", linked.faults);
    let mut state = CorrelationState::new(linked.correlations, CorrelationSettings::default());
    state.keep_looks();
    let mut scratch = linked.rules.scratch();
    let mut matches = 0;
    for (n, (second, id, computer)) in events.iter().enumerate() {
        let mut record = LogRecord::new(LogSource::new("windows", "", ""));
        record.set("EventID", id.to_string());
        record.set("n", second.to_string());
        record.set("Computer", *computer);
        let mut matched = Vec::new();
        linked.rules.matches_in(&record, &mut scratch, &mut |rule| matched.push(rule));
        state.observe(&matched, &record, Timestamp(second * 1000), n as u64, &mut |_| matches += 1);
    }
    state.finish(&mut |_| matches += 1);
    let mut out = format!("{matches} matches\n");
    for look in state.looks() {
        let computer = look.group[0].as_deref().unwrap_or("-");
        let holds = if look.holds { "holds" } else { "misses" };
        let (first, last) = (look.first.0 / 1000, look.last.0 / 1000);
        writeln!(out, "{computer} {holds} {} {:?} {:?} {first}..{last}", look.value, look.rules, look.events)
            .unwrap();
    }
    out
}

#[test]
fn of_each_group_the_nearest_look_is_kept() {
    let events: Vec<(i64, i64, &str)> = [
        (0, 1, "x"),
        (5, 1, "x"),
        (9, 1, "y"),
        (58, 1, "x"),
        (100, 2, "x"),
        (300, 1, "x"),
        (301, 1, "z"),
        (302, 1, "z"),
        (303, 1, "z"),
        (304, 1, "z"),
    ]
    .to_vec();
    let count = "{type: event_count, rules: a, group-by: Computer, timespan: 1m, condition: {gte: 4}}";
    assert_eq!(
        looks(count, &events),
        "1 matches\nx misses 3 [] [0, 1, 3] 0..58\ny misses 1 [] [2] 9..9\nz holds 4 [] [6, 7, 8, 9] 301..304\n"
    );
    // Looked at when the window is over.
    let few = "{type: event_count, rules: a, group-by: Computer, timespan: 1m, condition: {gte: 2, lt: 3}}";
    assert_eq!(
        looks(few, &events),
        "0 matches\nx misses 3 [] [0, 1, 3] 0..58\ny misses 1 [] [2] 9..9\nz misses 4 [] [6, 7, 8, 9] 301..304\n"
    );
    let average =
        "{type: value_avg, rules: a, group-by: Computer, timespan: 1m, condition: {field: n, gt: 305}}";
    let found = looks(average, &events);
    assert!(found.starts_with("0 matches\nx misses 300 [] [5] 300..300\n"), "{found}");
}

#[test]
fn temporal_correlations_tell_which_rules_came() {
    let events = [(0, 1, "x"), (1, 3, "x"), (2, 2, "y"), (3, 1, "y"), (50, 2, "y"), (200, 3, "y")];
    let temporal = "{type: temporal, rules: [a, b, c], group-by: Computer, timespan: 1m}";
    assert_eq!(
        looks(temporal, &events),
        "0 matches\nx misses 2 [0, 2] [0, 1] 0..1\ny misses 2 [0, 1] [2, 3] 2..3\n"
    );
    let ordered = "{type: temporal_ordered, rules: [a, b, c], group-by: Computer, timespan: 1m}";
    assert_eq!(
        looks(ordered, &events),
        "0 matches\nx misses 1 [0] [0] 0..0\ny misses 2 [0, 1] [3, 4] 3..50\n"
    );
    let expression = "{type: temporal, group-by: Computer, timespan: 1m, condition: a and b and not c}";
    assert_eq!(
        looks(expression, &events),
        "1 matches\nx misses 2 [0, 2] [0, 1] 0..1\ny holds 2 [0, 1] [3, 4] 3..50\n"
    );
}
