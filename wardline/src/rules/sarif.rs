//! Findings as SARIF 2.1.0 (OASIS Static Analysis Results Interchange Format), for code review tools.

use serde_json::{Value, json};
use wardline_sigma::lint::{CODES, Code, Diagnostic};

use super::lint::OUR_CODES;

fn all_codes() -> impl Iterator<Item = &'static Code> {
    CODES.iter().chain(OUR_CODES)
}

/// The log of one run.
pub fn log(found: &[Diagnostic]) -> Value {
    let rules: Vec<Value> = all_codes()
        .map(|code| {
            json!({
                "id": code.code,
                "shortDescription": {"text": code.what},
                "defaultConfiguration": {"level": code.level.as_str()},
            })
        })
        .collect();
    json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": {"driver": {
                "name": "wardline rules lint",
                "version": env!("CARGO_PKG_VERSION"),
                "rules": rules,
            }},
            "columnKind": "unicodeCodePoints",
            "results": found.iter().map(result).collect::<Vec<_>>(),
        }],
    })
}

fn result(found: &Diagnostic) -> Value {
    let mut text = found.message.clone();
    if !found.help.is_empty() {
        text.push_str("; ");
        text.push_str(&found.help);
    }
    let mut location = json!({"artifactLocation": {"uri": uri(&found.origin)}});
    // A file that could not be read has no places.
    if found.line > 0 {
        location["region"] = json!({
            "startLine": found.line,
            "startColumn": found.column,
            "endColumn": found.column + found.width,
        });
    }
    let mut result = json!({
        "ruleId": found.code,
        "level": found.level.as_str(),
        "message": {"text": text},
        "locations": [{"physicalLocation": location}],
    });
    if let Some(index) = all_codes().position(|c| c.code == found.code) {
        result["ruleIndex"] = json!(index);
    }
    result
}

/// The path as a URI reference (RFC 3986): relative stays relative.
fn uri(path: &str) -> String {
    let mut out = String::with_capacity(path.len());
    if path.starts_with('/') {
        out.push_str("file://");
    }
    for byte in path.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'/' | b'-' | b'_' | b'.' | b'~') {
            out.push(char::from(byte));
        } else {
            use std::fmt::Write;
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}
