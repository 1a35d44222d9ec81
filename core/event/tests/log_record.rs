//! A flat record says what the JSON object says from which it was filled.

#![allow(clippy::unwrap_used, reason = "a test stops where it fails")]

use proptest::prelude::*;
use serde_json::{Map, Value as Json, json};
use wardline_event::{Fields, Layouts, LogRecord, LogSource, Value};

fn record(json: &Json) -> LogRecord {
    LogRecord::from_json(LogSource::default(), json.as_object().unwrap())
}

/// The meaning of a dotted name, straight from the object: the flat spelling wins at each level.
fn walk<'a>(object: &'a Map<String, Json>, name: &str) -> Option<&'a Json> {
    if let Some(value) = object.get(name) {
        return Some(value);
    }
    let (head, rest) = name.split_once('.')?;
    walk(object.get(head)?.as_object()?, rest)
}

fn says(json: &Json) -> Value<'_> {
    match json {
        Json::Null => Value::Null,
        Json::Bool(b) => Value::Bool(*b),
        // Past 63 bits a number is kept as it is written: as a float it would be another one.
        Json::Number(n) => match n.as_i64() {
            Some(n) => Value::Int(n),
            None if n.is_u64() => Value::from(n.to_string()),
            None => Value::Float(n.as_f64().unwrap_or(f64::NAN)),
        },
        Json::String(s) => Value::str(s),
        Json::Array(items) => Value::List(items.iter().map(says).collect()),
        Json::Object(_) => Value::from(json.to_string()),
    }
}

fn json() -> impl Strategy<Value = Json> {
    let leaf = prop_oneof![
        Just(Json::Null),
        any::<bool>().prop_map(Json::from),
        any::<i64>().prop_map(Json::from),
        any::<u64>().prop_map(Json::from),
        // Eighths, which every reader of numbers takes for the same.
        any::<i32>().prop_map(|n| Json::from(f64::from(n) / 8.0)),
        "\\PC{0,6}".prop_map(Json::from),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Json::from),
            object_of(inner).prop_map(Json::Object),
        ]
    })
}

/// Few names, so that paths and dotted names meet.
fn object_of(value: impl Strategy<Value = Json>) -> impl Strategy<Value = Map<String, Json>> {
    prop::collection::vec(("[ab](\\.[ab]){0,2}", value), 0..6).prop_map(|pairs| pairs.into_iter().collect())
}

/// A name that is asked for, and every way on from it.
fn names() -> impl Iterator<Item = String> {
    (1..=5_u32).flat_map(|n| {
        (0..1_u32 << n).map(move |bits| {
            (0..n).map(|i| if bits >> i & 1 == 0 { "a" } else { "b" }).collect::<Vec<_>>().join(".")
        })
    })
}

proptest! {
    #[test]
    fn every_name_means_what_it_means_in_the_object(object in object_of(json())) {
        let record = LogRecord::from_json(LogSource::default(), &object);
        prop_assert_eq!(&record.to_json(), &object);
        for name in names() {
            // An object under a dotted name cannot be walked into here, but in the record it can.
            if let Some(wanted) = walk(&object, &name) {
                prop_assert_eq!(record.field(&name), Some(says(wanted)), "{}", name);
            }
        }
        let layout = record.layout().unwrap();
        let mut seen = 0;
        for (position, name) in layout.names().iter().enumerate() {
            prop_assert_eq!(record.at(position), record.field(name));
            prop_assert!(record.field(name).is_some());
            prop_assert_eq!(layout.position(name), Some(position), "a name stands once");
        }
        record.each_field(&mut |name, value| {
            seen += 1;
            assert_eq!(record.field(name), Some(value));
        });
        prop_assert!(seen <= layout.names().len());
        prop_assert_eq!(record.at(layout.names().len()), None);
    }

    #[test]
    fn a_record_that_is_filled_again_forgets_what_it_held(objects in prop::collection::vec(object_of(json()), 1..6)) {
        let (mut layouts, mut record) = (Layouts::default(), LogRecord::default());
        for object in &objects {
            let mut fill = record.fill(&mut layouts);
            fill.object(object);
            fill.finish();
            prop_assert_eq!(&record, &LogRecord::from_json(LogSource::default(), object));
        }
    }
}

#[test]
fn nested_fields_are_reached_by_dotted_names() {
    let record = record(
        &json!({"a": {"b": {"c": 1}, "d.e": "x"}, "a.b": "flat", "n": null, "x.y": {"z": 2}, "l": [{"m": 1}]}),
    );
    assert_eq!(record.field("a.b.c"), Some(Value::Int(1)));
    assert_eq!(record.field("a.d.e"), Some(Value::str("x")));
    assert_eq!(record.field("a.b"), Some(Value::str("flat")));
    assert_eq!(record.field("a"), Some(Value::str(r#"{"b":{"c":1},"d.e":"x"}"#)));
    assert_eq!(record.field("x.y.z"), Some(Value::Int(2)));
    assert_eq!(record.field("l"), Some(Value::List(vec![Value::str(r#"{"m":1}"#)])));
    assert_eq!(record.field("n"), Some(Value::Null));
    assert_eq!(record.field("a.missing"), None);
    assert_eq!(record.field("missing"), None);
}

#[test]
fn a_single_field_can_be_set() {
    let mut record = record(&json!({"a": 1}));
    record.set("b", "x");
    record.set("a", Value::List(vec![Value::Int(2), Value::str("y")]));
    assert_eq!(Json::Object(record.to_json()), json!({"a": [2, "y"], "b": "x"}));
    assert_eq!(record.text("b"), Some("x"));
    assert_eq!(record.text("a"), None);
}

#[test]
fn a_filling_that_is_not_finished_leaves_no_fields() {
    let (mut layouts, mut record) = (Layouts::default(), record(&json!({"a": 1})));
    let mut fill = record.fill(&mut layouts);
    let cell = fill.text("x");
    fill.set("b", cell);
    drop(fill);
    assert_eq!((record.field("a"), record.field("b")), (None, None));
    assert!(record.to_json().is_empty());
}
