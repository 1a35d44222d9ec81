//! How golden cases are read.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value as Json};
use wardline_event::{LogRecord, LogSource};

/// The files in a folder of `tests` whose names have this ending, in their order.
pub fn cases(folder: &str, ending: &str) -> Vec<PathBuf> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(folder);
    let mut out: Vec<PathBuf> = fs::read_dir(&dir)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.to_str().unwrap().ends_with(ending))
        .collect();
    out.sort();
    out
}

/// Reads an event; `_logsource` is taken out of its fields.
pub fn event(line: &str, default: &LogSource<'static>) -> LogRecord {
    let mut fields: Map<String, Json> = serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
    let source = match fields.remove("_logsource") {
        None => default.clone(),
        Some(source) => {
            let term = |name: &str| source[name].as_str().unwrap_or_default().to_owned().into();
            LogSource { product: term("product"), category: term("category"), service: term("service") }
        }
    };
    LogRecord::from_json(source, &fields)
}
