//! The records of logs as JSON lines, as rules see them.
//!
//!     cargo run -p wardline-sense --example dump -- PATH... > EVENTS.jsonl
//!
//! Paths are files or folders. Beside the fields there are `_logsource` (with further categories under `also`), `_file`,
//! `_record` (the record's number in its file) and `_time` (milliseconds since 1970). What cannot be read is told on
//! standard error.

use std::io::{self, BufWriter, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::{env, fs};

use serde_json::{Map, Value as Json, json};
use wardline_event::{Fields, LogRecord, Value};
use wardline_sense::log::{Options, Pieces, ReadError, Workspace, is_log_name};

fn main() -> io::Result<()> {
    let mut files = Vec::new();
    for path in env::args().skip(1) {
        collect(Path::new(&path), &mut files)?;
    }
    files.sort();
    let mut workspace = Workspace::default();
    let mut out = BufWriter::new(io::stdout().lock());
    for file in files {
        let mut failed = None;
        let mut each = |read: Result<&mut LogRecord, ReadError>| {
            match read {
                Ok(record) => {
                    if let Err(error) = writeln!(out, "{}", line(&file, record)) {
                        failed = Some(error);
                        return ControlFlow::Break(());
                    }
                }
                Err(error) => eprintln!("{error}"),
            }
            ControlFlow::Continue(())
        };
        for piece in Pieces::open(&file, &Options::default()) {
            if piece.read(&mut workspace, &mut each).is_break() {
                break;
            }
        }
        if let Some(error) = failed {
            return Err(error);
        }
    }
    out.flush()
}

fn line(file: &Path, record: &LogRecord) -> Json {
    let source = record.log_source();
    let mut fields = Map::new();
    record.each_field(&mut |name, value| drop(fields.insert(name.to_owned(), json_of(&value))));
    let head = json!({
        "_logsource": {"product": source.product, "category": source.category, "service": source.service, "also": record.also},
        "_file": file.display().to_string(),
        "_record": record.record_id,
        "_time": record.time.map(|t| t.0),
    });
    if let Json::Object(head) = head {
        fields.extend(head);
    }
    Json::Object(fields)
}

fn json_of(value: &Value<'_>) -> Json {
    match value {
        Value::Null => Json::Null,
        Value::Bool(b) => json!(b),
        Value::Int(n) => json!(n),
        Value::Float(n) => json!(n),
        Value::Str(text) => json!(text),
        Value::List(items) => items.iter().map(json_of).collect(),
    }
}

fn collect(path: &Path, out: &mut Vec<PathBuf>) -> io::Result<()> {
    if path.is_dir() {
        for entry in fs::read_dir(path)? {
            collect(&entry?.path(), out)?;
        }
    } else if is_log_name(path) {
        out.push(path.to_owned());
    }
    Ok(())
}
