//! A record read from somebody else's log, with its fields as they were written.

use serde_json::{Map, Value as Json};

use crate::fields::{Fields, LogSource, Value};
use crate::time::Timestamp;

/// One record of a log: Windows event, audit line, JSON object.
///
/// Field names are Sigma's where the log's own differ (a reader renames them); nested JSON objects are reached
/// by dotted names (`winlog.event_data.Image`).
#[derive(Clone, Debug, PartialEq, Default)]
pub struct LogRecord {
    /// Where it came from.
    pub source: LogSource<'static>,
    /// When it was written, if the record says so.
    pub time: Option<Timestamp>,
    /// The record's number within its file.
    pub record_id: u64,
    /// The fields.
    pub fields: Map<String, Json>,
}

impl Fields for LogRecord {
    fn log_source(&self) -> LogSource<'_> {
        LogSource::new(&self.source.product, &self.source.category, &self.source.service)
    }

    fn field(&self, name: &str) -> Option<Value<'_>> {
        if let Some(value) = self.fields.get(name) {
            return Some(from_json(value));
        }
        // A dotted name walks into nested objects; the flat spelling above wins.
        let (head, mut rest) = name.split_once('.')?;
        let mut at = self.fields.get(head)?;
        loop {
            let object = at.as_object()?;
            if let Some(value) = object.get(rest) {
                return Some(from_json(value));
            }
            let (head, tail) = rest.split_once('.')?;
            at = object.get(head)?;
            rest = tail;
        }
    }

    fn each_field(&self, visit: &mut dyn FnMut(&str, Value<'_>)) {
        for (name, value) in &self.fields {
            visit(name, from_json(value));
        }
    }
}

/// A borrowed view of a JSON value. An object becomes its compact JSON text, so that keywords can be found in it.
pub fn from_json(json: &Json) -> Value<'_> {
    match json {
        Json::Null => Value::Null,
        Json::Bool(b) => Value::Bool(*b),
        Json::Number(n) => {
            n.as_i64().map_or_else(|| Value::Float(n.as_f64().unwrap_or(f64::NAN)), Value::Int)
        }
        Json::String(s) => Value::str(s),
        Json::Array(items) => Value::List(items.iter().map(from_json).collect()),
        Json::Object(_) => Value::from(json.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn nested_fields_are_reached_by_dotted_names() {
        let Json::Object(fields) = json!({"a": {"b": {"c": 1}, "d.e": "x"}, "a.b": "flat", "n": null}) else {
            unreachable!()
        };
        let record = LogRecord { fields, ..LogRecord::default() };
        assert_eq!(record.field("a.b.c"), Some(Value::Int(1)));
        assert_eq!(record.field("a.d.e"), Some(Value::str("x")));
        assert_eq!(record.field("a.b"), Some(Value::str("flat")));
        assert_eq!(record.field("n"), Some(Value::Null));
        assert_eq!(record.field("a.missing"), None);
        assert_eq!(record.field("missing"), None);
    }
}
