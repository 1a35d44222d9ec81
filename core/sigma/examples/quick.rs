//! Two minutes with the engine: read a rule, match events, ask why.
//!
//!     cargo run -p wardline-sigma --example quick

use serde_json::json;
use wardline_event::{LogRecord, LogSource};
use wardline_sigma::{Rule, RuleSet};

const RULES: &str = r"
title: Backups deleted
logsource:
  product: windows
  category: process_creation
level: high
tags: [attack.impact, attack.t1490]
detection:
  selection_tool:
    Image|endswith:
      - '\vssadmin.exe'
      - '\wmic.exe'
  selection_words:
    CommandLine|contains|all: [shadow, delete]
  filter_inventory:
    ParentImage|endswith: '\inventory.exe'
  condition: all of selection_* and not 1 of filter_*
";

fn main() {
    let rules = match Rule::parse(RULES, "quick.yml") {
        Ok(rules) => rules,
        // Says file, line, column, what is wrong and what to do.
        Err(error) => return eprintln!("{error}"),
    };
    let (set, errors) = RuleSet::compile_lossy(rules);
    for error in errors {
        eprintln!("left out: {error}");
    }

    // Anything that implements `wardline_event::Fields` can be matched; here it is JSON.
    let events = [
        json!({"Image": r"C:\Windows\System32\vssadmin.exe", "CommandLine": "vssadmin DELETE shadows /all /quiet"}),
        json!({"Image": r"C:\Windows\System32\vssadmin.exe", "CommandLine": "vssadmin list shadows"}),
    ];
    // One scratch per thread, used again for every event.
    let mut scratch = set.scratch();
    for fields in events {
        let serde_json::Value::Object(fields) = fields else { continue };
        let event = LogRecord::from_json(LogSource::new("windows", "process_creation", ""), &fields);
        let mut matched = Vec::new();
        set.matches(&event, &mut scratch, &mut |rule| matched.push(rule));
        println!("{} → {} match(es)", fields["CommandLine"], matched.len());
        for index in matched {
            let rule = &set.rules()[index];
            println!("  {} ({}, {:?})", rule.title, rule.level.as_str(), rule.techniques());
            for why in set.explain(index, &event) {
                println!(
                    "    {}: {} {} — the event has {:?}",
                    why.selection, why.field, why.pattern, why.value
                );
            }
        }
    }
}
