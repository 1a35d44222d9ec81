//! What matching takes from the allocator: nothing, for an event that no rule is about.

#![allow(clippy::unwrap_used, reason = "a test stops where it fails")]

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use allocation_counter::measure;
use wardline_event::{Fields, LogRecord, Value};
use wardline_sense::log::{Options, Pieces, Workspace};
use wardline_sigma::{Collection, LinkOptions, RuleSet};

fn files(folder: &Path, ending: &str, out: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, ending, out);
        } else if path.extension().is_some_and(|e| e == ending) {
            out.push(path);
        }
    }
}

/// Every public rule for Windows, or whose log source names no product.
fn rules(folder: &Path) -> RuleSet {
    let (mut paths, mut all) = (Vec::new(), Collection::default());
    files(folder, "yml", &mut paths);
    for path in paths {
        let text = fs::read_to_string(&path).unwrap();
        all.extend(Collection::parse(&text, &path.display().to_string()).unwrap());
    }
    all.rules.retain(|rule| matches!(&*rule.log_source.product, "windows" | ""));
    all.link(&LinkOptions::default()).rules
}

/// Each recorded event as the reader hands it over.
fn each_event(logs: &[PathBuf], workspace: &mut Workspace, visit: &mut dyn FnMut(&LogRecord)) {
    for piece in logs.iter().flat_map(|log| Pieces::open(log, &Options::default())) {
        let _ = piece.read(workspace, &mut |record| {
            if let Ok(record) = record {
                visit(record);
            }
            ControlFlow::Continue(())
        });
    }
}

#[test]
fn an_event_that_matches_nothing_costs_no_allocation() {
    let shared = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data");
    let (sigma, evtx) = (shared.join("sigma"), shared.join("evtx"));
    if !sigma.is_dir() || !evtx.is_dir() {
        println!("skipped: no shared data");
        return;
    }
    let set = rules(&sigma);
    assert!(set.rules().len() > 2500, "only {} rules", set.rules().len());
    let mut logs = Vec::new();
    files(&evtx, "evtx", &mut logs);
    let (mut scratch, mut workspace) = (set.scratch(), Workspace::default());
    let (mut quiet, mut with_made, mut of_made) = (0, 0, 0);
    let mut guilty: BTreeMap<String, (usize, u64)> = BTreeMap::new();
    each_event(&logs, &mut workspace, &mut |event| {
        // Rules are compiled, layouts are planned and buffers grow when an event comes for the first time.
        set.matches_in(event, &mut scratch, &mut |_| {});
        let mut matched = false;
        let taken = measure(|| set.matches_in(event, &mut scratch, &mut |_| matched = true)).count_total;
        if matched {
            return;
        }
        // Lists, and numbers that do not fit 63 bits, are made when somebody asks for them.
        let mut made = false;
        event.each_field(&mut |_, value| made |= matches!(value, Value::List(_) | Value::Str(Cow::Owned(_))));
        if made {
            (with_made, of_made) = (with_made + 1, of_made + taken);
            return;
        }
        quiet += 1;
        if taken > 0 {
            let of = format!("{:?} {:?}", event.source, event.field("EventID"));
            let known = guilty.entry(of).or_default();
            *known = (known.0 + 1, known.1 + taken);
        }
    });
    println!(
        "{quiet} events match nothing at no cost; {with_made} with made values at {of_made} allocations"
    );
    assert!(quiet > 5000 && with_made > 100, "only {quiet} and {with_made}");
    assert!(guilty.is_empty(), "kinds of events, how many of them, and their allocations: {guilty:#?}");
    assert!(of_made < 4 * with_made, "{of_made} allocations for {with_made} events with made values");
}
