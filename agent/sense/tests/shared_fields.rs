//! The built-in log sources against recorded Windows logs: what they say of an event's fields is so.

#![allow(clippy::unwrap_used, reason = "a test stops where it fails")]

use std::collections::BTreeMap;
use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use wardline_event::{Fields, Value};
use wardline_sense::log::{Options, Pieces, Workspace};
use wardline_sigma::sources::Sources;

fn logs(dir: &Path, out: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            logs(&path, out);
        } else if path.extension().is_some_and(|e| e == "evtx") {
            out.push(path);
        }
    }
}

#[test]
fn every_recorded_field_of_a_described_event_is_on_its_list() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/evtx");
    if !root.is_dir() {
        println!("skipped: no shared data");
        return;
    }
    let mut files = Vec::new();
    logs(&root, &mut files);
    let sources = Sources::builtin();
    let mut workspace = Workspace::default();
    // Source, id and field → how many records.
    let mut unknown: BTreeMap<(String, i64, String), usize> = BTreeMap::new();
    let (mut records, mut described, mut made) = (0, 0, 0);
    for file in &files {
        for piece in Pieces::open(file, &Options::default()) {
            let _ = piece.read(&mut workspace, &mut |record| {
                let Ok(record) = record else { return ControlFlow::Continue(()) };
                records += 1;
                let text = |name: &str| record.text(name).unwrap_or_default().to_owned();
                let Some(Value::Int(id)) = record.field("EventID") else { panic!("{record:?}") };
                let Some(kind) = sources.lookup(&text("Channel"), &text("Provider_Name"), id) else {
                    panic!("no source: {record:?}")
                };
                if !kind.fields.open {
                    described += 1;
                }
                made += usize::from(kind.derive.iter().any(|d| record.field(&d.to).is_some()));
                for name in record.names() {
                    if !kind.has_field(name) {
                        *unknown.entry((kind.source.clone(), id, name.to_string())).or_default() += 1;
                    }
                }
                ControlFlow::Continue(())
            });
        }
    }
    println!(
        "{records} records, {described} of events whose fields are listed, {made} with fields that were made"
    );
    assert!(records > 8000 && described > 6000 && made > 1500, "{records} {described} {made}");
    assert!(unknown.is_empty(), "fields on no list: {unknown:#?}");
}
