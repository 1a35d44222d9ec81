//! What correlations find in streams of events, as JSON lines: what a comparison with another evaluation needs.
//!
//!     cargo run -p wardline-sigma --example correlate_lines < WORK.jsonl
//!
//! A line of WORK is `{"rules": TEXT, "streams": [{"wait": BOOL, "lateness": SECONDS, "events": [[MILLISECONDS, FIELDS],
//! …]}, …]}`, where TEXT is a file of rules and correlations. An event's log source is the category `test`. For each
//! line one is written: `{"refused": MESSAGE}`, or `{"streams": [{"found": [[MILLISECONDS, TITLE, GROUP, VALUE, EVENTS],
//! …], "late": N}, …]}`, where EVENTS are places in the stream's list.

use std::io::{self, BufRead, BufWriter, Write};
use std::time::Duration;

use serde_json::{Value as Json, json};
use wardline_event::{LogRecord, LogSource, Timestamp};
use wardline_sigma::{Collection, CorrelationSettings, CorrelationState, LinkOptions, Linked, Match};

fn main() -> io::Result<()> {
    let mut out = BufWriter::new(io::stdout().lock());
    for line in io::stdin().lock().lines() {
        let work: Json = serde_json::from_str(&line?)?;
        let text = work["rules"].as_str().unwrap_or_default();
        let answer = match link(text) {
            Err(message) => json!({"refused": message}),
            Ok(linked) => {
                let streams = work["streams"].as_array().into_iter().flatten();
                let streams: Vec<Json> = streams.map(|stream| run(&linked, stream)).collect();
                json!({"streams": streams})
            }
        };
        writeln!(out, "{answer}")?;
    }
    out.flush()
}

fn link(text: &str) -> Result<Linked, String> {
    let collection = Collection::parse(text, "rules").map_err(|error| error.to_string())?;
    let linked = collection.link(&LinkOptions::default());
    linked.faults.first().map_or(Ok(()), |fault| Err(fault.to_string()))?;
    Ok(linked)
}

fn run(linked: &Linked, stream: &Json) -> Json {
    let correlations = &linked.correlations;
    let settings = CorrelationSettings {
        lateness: Duration::from_secs(stream["lateness"].as_u64().unwrap_or_default()),
        wait: stream["wait"].as_bool().unwrap_or_default(),
        ..CorrelationSettings::default()
    };
    let mut state = CorrelationState::new(correlations.clone(), settings);
    let mut scratch = linked.rules.scratch();
    let mut found = Vec::new();
    let mut report = |m: Match| {
        let title = &correlations.correlations()[m.correlation].attributes.title;
        found.push(json!([m.time.0, title, m.group, m.value, m.events]));
    };
    let nothing = serde_json::Map::new();
    for (reference, event) in (0..).zip(stream["events"].as_array().into_iter().flatten()) {
        let fields = event[1].as_object().unwrap_or(&nothing);
        let record = LogRecord::from_json(LogSource::new("", "test", ""), fields);
        let mut rules = Vec::new();
        linked.rules.matches(&record, &mut scratch, &mut |rule| rules.push(rule));
        let time = Timestamp(event[0].as_i64().unwrap_or_default());
        state.observe(&rules, &record, time, reference, &mut report);
    }
    state.finish(&mut report);
    json!({"found": found, "late": state.stats().late_dropped})
}
