//! Every public rule loads, or is listed here with the reason why it does not.

#![allow(clippy::unwrap_used, reason = "a test stops where it fails")]

use std::fs;
use std::path::{Path, PathBuf};

use wardline_sigma::{Rule, RuleSet};

/// The rules that do not load, as (beginning of the path, code, reason).
///
/// "Placeholders must be handled appropriately by a tool that uses Sigma rules. If the tool isn't able to handle
/// placeholders, it must reject the rule." (Sigma specification, "Placeholders")
const EXCEPTIONS: &[(&str, &str, &str)] = &[
    ("rules-placeholder/", "S033", "placeholders have no values yet"),
    (
        "rules-emerging-threats/2026/Exploits/CVE-2026-54121/win_security_adcs_certighost_c",
        "S033",
        "placeholder %known_cdcs%",
    ),
];

fn shared() -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/sigma");
    root.is_dir().then_some(root)
}

fn rule_files(dir: &Path, out: &mut Vec<PathBuf>) {
    let mut entries: Vec<PathBuf> = fs::read_dir(dir).unwrap().map(|e| e.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            rule_files(&path, out);
        } else if path.extension().is_some_and(|e| e == "yml") {
            out.push(path);
        }
    }
}

#[test]
fn every_public_rule_loads_or_is_listed() {
    let Some(root) = shared() else {
        println!("skipped: no shared data");
        return;
    };
    let mut files = Vec::new();
    rule_files(&root, &mut files);
    assert!(files.len() > 3000, "only {} rule files in {}", files.len(), root.display());
    let mut rules = Vec::new();
    let mut faults = Vec::new();
    for file in &files {
        let text = fs::read_to_string(file).unwrap();
        let origin = file.strip_prefix(&root).unwrap().display().to_string();
        match Rule::parse(&text, &origin) {
            Ok(found) => rules.extend(found),
            Err(error) => faults.push(error),
        }
    }
    let unlisted: Vec<String> = faults
        .iter()
        .filter(|f| !EXCEPTIONS.iter().any(|(file, code, _)| f.origin.starts_with(file) && f.code == *code))
        .map(ToString::to_string)
        .collect();
    assert!(unlisted.is_empty(), "{} rules do not load:\n{}", unlisted.len(), unlisted.join("\n"));
    for (file, code, reason) in EXCEPTIONS {
        assert!(
            faults.iter().any(|f| f.origin.starts_with(file) && f.code == *code),
            "{file} is listed as failing with {code} ({reason}) and loads: take it off the list"
        );
    }
    let count = rules.len();
    let (set, faults) = RuleSet::compile_lossy(rules);
    assert_eq!(faults, []);
    assert_eq!(set.rules().len(), count);
}
