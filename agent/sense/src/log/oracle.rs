//! The fields that [`super::windows_event`] reads, found on a slow and simple way: through a tree of JSON.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use evtx::EvtxParser;
use serde_json::{Map, Value as Json};

use super::windows_event::Workspace;
use super::{Options, Pieces};

type Object = Map<String, Json>;

/// Reads an `Event` element: `System`, `EventData`, `UserData`.
fn fields_of(mut event: Object) -> Object {
    let mut fields = Object::new();
    let system = event.swap_remove("System");
    if let Some(Json::Object(system)) = system {
        add_system(&mut fields, system);
    }
    if let Some(data) = event.swap_remove("EventData") {
        add_event_data(&mut fields, data);
    }
    if let Some(data) = event.swap_remove("UserData") {
        add_user_data(&mut fields, data, 0);
    }
    if let Some(Json::String(id)) = fields.get("EventID")
        && let Ok(number) = id.trim().parse::<i64>()
    {
        fields.insert("EventID".to_owned(), number.into());
    }
    fields
}

/// Adds the fields of `System` under Sigma's names.
fn add_system(fields: &mut Object, system: Object) {
    for (name, value) in system {
        match name.as_str() {
            "Provider" => {
                copy_attribute(fields, &value, "Name", "Provider_Name");
                copy_attribute(fields, &value, "Guid", "Provider_Guid");
            }
            "TimeCreated" => copy_attribute(fields, &value, "SystemTime", "TimeCreated"),
            "Execution" => {
                copy_attribute(fields, &value, "ProcessID", "Execution_ProcessID");
                copy_attribute(fields, &value, "ThreadID", "Execution_ThreadID");
            }
            "Security" => copy_attribute(fields, &value, "UserID", "UserID"),
            "Correlation" => copy_attribute(fields, &value, "ActivityID", "ActivityID"),
            _ if name.ends_with("_attributes") || name.starts_with(['#', '@']) => {}
            _ => {
                fields.insert(name, text_of(value));
            }
        }
    }
}

fn copy_attribute(fields: &mut Object, element: &Json, attribute: &str, name: &str) {
    let value = element
        .get("#attributes")
        .and_then(|a| a.get(attribute))
        .or_else(|| element.get(format!("@{attribute}")))
        .or_else(|| element.get(attribute));
    if let Some(value) = value {
        fields.insert(name.to_owned(), value.clone());
    }
}

/// The content of an element that may carry attributes beside it.
fn text_of(value: Json) -> Json {
    match value {
        Json::Object(mut object) => object.swap_remove("#text").unwrap_or(Json::Null),
        other => other,
    }
}

/// Adds the fields of `EventData`: named values; `Data` elements with a `Name`; unnamed ones as the list `Data`.
fn add_event_data(fields: &mut Object, data: Json) {
    let Json::Object(data) = data else { return };
    let mut unnamed = Vec::new();
    for (name, value) in data {
        match (name.as_str(), value) {
            ("Data", Json::Array(items)) => {
                for item in items {
                    add_data_element(fields, item, &mut unnamed);
                }
            }
            ("Data", item) => add_data_element(fields, item, &mut unnamed),
            (_, _) if name.starts_with(['#', '@']) => {}
            (_, value) => insert(fields, name, text_of(value)),
        }
    }
    match unnamed.len() {
        0 => {}
        1 => fields.extend([("Data".to_owned(), unnamed.swap_remove(0))]),
        _ => fields.extend([("Data".to_owned(), Json::Array(unnamed))]),
    }
}

fn add_data_element(fields: &mut Object, element: Json, unnamed: &mut Vec<Json>) {
    let name = element
        .get("#attributes")
        .and_then(|a| a.get("Name"))
        .or_else(|| element.get("@Name"))
        .and_then(Json::as_str)
        .map(str::to_owned);
    let value = text_of(element);
    match (name, value) {
        (Some(name), value) => insert(fields, name, value),
        (None, Json::Array(items)) => unnamed.extend(items),
        (None, Json::Null) => {}
        (None, value) => unnamed.push(value),
    }
}

/// Windows writes GUIDs in braces; a dump without them gets them back, so that rules compare equal.
fn insert(fields: &mut Object, name: String, value: Json) {
    let value = match value {
        Json::String(text) if text.len() == 36 && is_guid_name(&name) => Json::String(format!("{{{text}}}")),
        other => other,
    };
    fields.insert(name, value);
}

fn is_guid_name(name: &str) -> bool {
    name.len() >= 4
        && name.is_char_boundary(name.len() - 4)
        && name[name.len() - 4..].eq_ignore_ascii_case("guid")
}

/// Adds the leaves of `UserData` under their own names, whatever element wraps them.
fn add_user_data(fields: &mut Object, data: Json, depth: usize) {
    let Json::Object(data) = data else { return };
    for (name, value) in data {
        if name.starts_with(['#', '@']) {
            continue;
        }
        match value {
            Json::Object(inner) if !inner.contains_key("#text") && depth < 64 => {
                add_user_data(fields, Json::Object(inner), depth + 1);
            }
            other => insert(fields, name, text_of(other)),
        }
    }
}

fn event_logs(folder: &Path, out: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            event_logs(&path, out);
        } else if path.extension().is_some_and(|e| e == "evtx") {
            out.push(path);
        }
    }
}

/// Every recorded event log beside the project: each record's fields, one by one, and as many records as the parser
/// finds in the whole file.
#[test]
fn every_recorded_event_has_the_fields_of_the_parsers_own_json() {
    let mut logs = Vec::new();
    event_logs(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/evtx"), &mut logs);
    if logs.is_empty() {
        println!("skipped: no shared data");
        return;
    }
    let (mut workspace, mut records) = (Workspace::default(), 0);
    for path in logs {
        let mut ids = Vec::new();
        for record in EvtxParser::from_path(&path).unwrap().records_json() {
            let Ok(record) = record else { continue };
            let Ok(Json::Object(mut whole)) = serde_json::from_str(&record.data) else {
                panic!("{}: no object", path.display())
            };
            let Some(Json::Object(event)) = whole.remove("Event") else {
                panic!("{}: no event", path.display())
            };
            let wanted = fields_of(event);
            let read = workspace.unmapped(&record.data).unwrap();
            assert_eq!(read.to_json(), wanted, "{}, record {}", path.display(), record.event_record_id);
            ids.push(wanted["EventRecordID"].as_u64().unwrap_or_default());
            records += 1;
        }
        let mut read = Vec::new();
        for piece in Pieces::open(&path, &Options::default()) {
            let _ = piece.read(&mut workspace, &mut |record| {
                read.extend(record.map(|r| r.record_id));
                ControlFlow::Continue(())
            });
        }
        // A log that was written around is read in the order of its chunks here, and of its records there.
        ids.sort_unstable();
        read.sort_unstable();
        assert_eq!(read, ids, "{}", path.display());
    }
    assert!(records > 8000, "only {records} records");
}
