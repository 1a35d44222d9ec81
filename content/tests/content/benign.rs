//! The ordinary day of a hospital raises no alarm.

use crate::support::{compiled, firing, source};
use serde_json::{Map, Value};
use wardline_event::Severity;

fn quiet(product: &'static str, corpus: &str) {
    let set = compiled();
    let mut scratch = set.scratch();
    let mut faults = Vec::new();
    let mut lines = 0;
    for (n, line) in corpus.lines().enumerate() {
        let mut json: Map<String, Value> =
            serde_json::from_str(line).unwrap_or_else(|e| panic!("{product}.jsonl line {}: {e}", n + 1));
        let category = json.get("category").and_then(Value::as_str).expect("a category").to_owned();
        let Some(Value::Object(event)) = json.remove("event") else {
            panic!("{product}.jsonl line {}: no event", n + 1);
        };
        let what = event.get("CommandLine").or_else(|| event.get("Image")).cloned();
        for hit in firing(&set, &mut scratch, source(product, &category), &event) {
            let rule = &set.rules()[hit];
            if rule.level >= Severity::High {
                faults.push(format!("line {}: {} fires on {what:?}", n + 1, rule.origin));
            }
        }
        lines += 1;
    }
    assert!(faults.is_empty(), "{product}.jsonl:\n{}", faults.join("\n"));
    assert!(lines >= 60, "the corpus of {product} has shrunk to {lines} lines");
}

#[test]
fn ordinary_work_on_linux_raises_no_high_finding() {
    quiet("linux", include_str!("../../benign/linux.jsonl"));
}

#[test]
fn ordinary_work_on_windows_raises_no_high_finding() {
    quiet("windows", include_str!("../../benign/windows.jsonl"));
}
