//! The rules to scan with.

use std::fs;
use std::path::{Path, PathBuf};

use wardline_event::Severity;
use wardline_sigma::{Rule, RuleSet};

/// Rules that loaded, and what is wrong with the others.
pub struct Loaded {
    /// The rules of the wanted level and above.
    pub rules: RuleSet,
    /// One line each: file, line, what, what to do.
    pub faults: Vec<String>,
}

/// Loads the rules at `paths`, or Wardline's own if there are none.
pub fn load(paths: &[PathBuf], level: Severity) -> Loaded {
    let mut rules = Vec::new();
    let mut faults = Vec::new();
    if paths.is_empty() {
        for file in wardline_content::rules() {
            parse(file.text, &format!("built-in {}", file.path), &mut rules, &mut faults);
        }
    }
    for path in paths {
        load_path(path, true, &mut rules, &mut faults);
    }
    rules.retain(|r| r.level >= level);
    let (rules, more) = RuleSet::compile_lossy(rules);
    faults.extend(more.iter().map(ToString::to_string));
    Loaded { rules, faults }
}

fn parse(text: &str, origin: &str, rules: &mut Vec<Rule>, faults: &mut Vec<String>) {
    match Rule::parse(text, origin) {
        Ok(parsed) => rules.extend(parsed),
        Err(e) => faults.push(e.to_string()),
    }
}

/// Loads a file, or the rule files of a folder and its folders, by name.
fn load_path(path: &Path, named: bool, rules: &mut Vec<Rule>, faults: &mut Vec<String>) {
    let shown = path.display();
    if path.is_dir() {
        let entries = match fs::read_dir(path).and_then(Iterator::collect::<Result<Vec<_>, _>>) {
            Ok(entries) => entries,
            Err(e) => return faults.push(format!("{shown}: the folder cannot be read: {e}")),
        };
        let mut paths: Vec<_> = entries
            .iter()
            .filter(|e| e.file_type().is_ok_and(|t| !t.is_symlink()))
            .map(fs::DirEntry::path)
            .collect();
        paths.sort();
        for path in paths {
            load_path(&path, false, rules, faults);
        }
    } else if named || path.extension().is_some_and(|e| e == "yml" || e == "yaml") {
        match fs::read_to_string(path) {
            Ok(text) => parse(&text, &shown.to_string(), rules, faults),
            Err(e) => faults.push(format!("{shown}: cannot be read: {e}")),
        }
    }
}
