//! Events of absurd size against all public rules: the right verdict, and memory in proportion to the event.

#![allow(clippy::unwrap_used, reason = "a test stops where it fails")]

mod public_rules;

use allocation_counter::{AllocationInfo, measure};
use public_rules::public_rules;
use serde_json::{Map, Value as Json, json};
use wardline_event::{LogRecord, LogSource};
use wardline_sigma::{Collection, LinkOptions, RuleSet};

/// Found by the last bytes of the longest value only, so that nothing may be cut off.
const LAST: &str = "
title: Last
logsource: {product: windows, category: process_creation}
detection: {selection: {CommandLine|endswith: ' very-last-word'}, condition: selection}
---
title: Anywhere
logsource: {product: windows, category: process_creation}
detection: {keywords: ['very-last-word'], condition: keywords}
";

const MIB: u64 = 1 << 20;

fn rules() -> Option<RuleSet> {
    let mut all = Collection::parse(LAST, "last").unwrap();
    for (origin, text) in public_rules()? {
        all.extend(Collection::parse(&text, &origin).unwrap());
    }
    all.rules.retain(|rule| matches!(&*rule.log_source.product, "windows" | ""));
    Some(all.link(&LinkOptions::default()).rules)
}

fn record(fields: &Map<String, Json>) -> LogRecord {
    LogRecord::from_json(LogSource::new("windows", "process_creation", "sysmon"), fields)
}

/// The titles of the rules that an event matches, and what that takes until the next event.
fn matches(set: &RuleSet, event: &LogRecord) -> (Vec<String>, AllocationInfo) {
    let mut scratch = set.scratch();
    // What rules take when they are compiled is not the event's affair.
    let empty = record(&Map::new());
    set.matches(&empty, &mut scratch, &mut |_| {});
    let mut found = Vec::new();
    let taken = measure(|| {
        set.matches(event, &mut scratch, &mut |rule| found.push(rule));
        set.matches(&empty, &mut scratch, &mut |_| {});
    });
    assert!(taken.bytes_current < 16 * MIB as i64, "kept for the next event: {taken:?}");
    (found.into_iter().map(|rule| set.rules()[rule].title.clone()).collect(), taken)
}

#[test]
fn a_value_four_times_as_long_as_a_reader_allows_is_searched_to_its_end() {
    let Some(set) = rules() else { return };
    let part = r"C:\Windows\System32\svchost.exe -k netsvcs ÄÖ powershell -enc ";
    let mut long = part.repeat(16 * MIB as usize / part.len());
    long.push_str(" VERY-LAST-WORD");
    let bytes = long.len() as u64;
    let mut fields = Map::new();
    fields.insert("CommandLine".to_owned(), json!(long));
    fields.insert("Image".to_owned(), json!(r"C:\Windows\System32\cmd.exe"));
    let (found, taken) = matches(&set, &record(&fields));
    assert!(found.iter().any(|title| title == "Last") && found.iter().any(|title| title == "Anywhere"));
    // A few copies of it, folded for one search or another, in buffers that grow by doubling.
    assert!(taken.bytes_max < 9 * bytes, "{taken:?}");
}

#[test]
fn many_fields_and_many_values_are_all_looked_at() {
    let Some(set) = rules() else { return };
    let mut wide: Map<String, Json> = (0..100_000).map(|n| (format!("Field{n}"), json!("nothing"))).collect();
    wide.insert("Z".to_owned(), json!("the Very-Last-Word"));
    let mut list = vec![json!("nothing"); 100_000];
    list.push(json!("the Very-Last-Word"));
    let mut long = Map::new();
    long.insert("CommandLine".to_owned(), Json::Array(list));
    // As deep as JSON's reader goes.
    let mut deep = json!("the Very-Last-Word");
    for _ in 0..120 {
        deep = json!({ "a": deep });
    }
    let deep = Map::from_iter([("CommandLine".to_owned(), deep)]);
    for (fields, expected) in
        [(wide, &["Anywhere"][..]), (long, &["Last", "Anywhere"]), (deep, &["Anywhere"])]
    {
        let (found, taken) = matches(&set, &record(&fields));
        assert_eq!(found, expected);
        assert!(taken.bytes_max < 64 * MIB, "{taken:?}");
    }
}
