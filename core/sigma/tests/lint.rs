//! Lints: `lint/NAME.rule.yml` is a rule, `lint/NAME.expected` what is said of it, a finding a line:
//! `line:column+width: code message; help`.

#![allow(clippy::unwrap_used, reason = "a test stops where it fails")]

mod public_rules;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use public_rules::public_rules;
use wardline_sigma::Collection;
use wardline_sigma::lint::{self, CODES, Diagnostic, Level, Linter};
use wardline_sigma::sources::Sources;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/lint")
}

fn shown(found: &[Diagnostic]) -> String {
    let mut out = String::new();
    for d in found {
        let place = format!("{}:{}+{}", d.line, d.column, d.width);
        writeln!(out, "{place}: {} {} {}; {}", d.level.as_str(), d.code, d.message, d.help).unwrap();
    }
    out
}

/// `UPDATE_EXPECTED=1 cargo test -p wardline-sigma --test lint` writes the expected findings anew.
#[test]
fn every_rule_gets_the_findings_that_are_written_beside_it() {
    let mut files: Vec<PathBuf> = fs::read_dir(folder()).unwrap().map(|e| e.unwrap().path()).collect();
    files.retain(|path| path.to_str().unwrap().ends_with(".rule.yml"));
    files.sort();
    let linter = Linter::new(Sources::builtin());
    let mut wrong = Vec::new();
    let mut seen = BTreeSet::new();
    for path in files {
        let text = fs::read_to_string(&path).unwrap();
        let name = path.file_name().unwrap().to_str().unwrap();
        let linted = linter.file(&text, name);
        let mut found = linted.diagnostics;
        found.extend(lint::set(&linted.collection));
        seen.extend(found.iter().map(|d| d.code));
        let expected = path.with_file_name(name.replace(".rule.yml", ".expected"));
        if std::env::var_os("UPDATE_EXPECTED").is_some() {
            fs::write(&expected, shown(&found)).unwrap();
        }
        let expected = fs::read_to_string(expected).unwrap_or_default();
        if shown(&found) != expected {
            wrong.push(format!("{name}:\n{}  expected:\n{expected}", shown(&found)));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
    // Known only to whoever sees the tests of rules.
    let elsewhere = ["S161"];
    for code in CODES.iter().filter(|c| c.code >= "S100" && !elsewhere.contains(&c.code)) {
        assert!(seen.contains(code.code), "no case shows {}: {}", code.code, code.what);
    }
}

/// Whoever reads a code in a message finds it in the table.
#[test]
fn every_code_of_the_source_is_in_the_table() {
    fn visit(dir: &Path, found: &mut BTreeSet<String>) {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                visit(&path, found);
            } else {
                let text = fs::read_to_string(&path).unwrap();
                let quoted = text.split('"').filter(|t| t.len() == 4 && t.starts_with('S'));
                found.extend(quoted.filter(|t| t[1..].parse::<u16>().is_ok()).map(str::to_owned));
            }
        }
    }
    let mut found = BTreeSet::new();
    visit(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut found);
    let table: BTreeSet<String> = CODES.iter().map(|c| c.code.to_owned()).collect();
    assert!(found.len() > 40);
    assert_eq!(found.difference(&table).collect::<Vec<_>>(), Vec::<&String>::new());
}

/// Rules that many people have read are nearly free of mistakes, so a lint that finds many in them is wrong itself.
#[test]
fn public_rules_raise_few_alarms() {
    let Some(files) = public_rules() else { return };
    let linter = Linter::new(Sources::builtin());
    let mut all = Collection::default();
    let mut found = Vec::new();
    for (origin, text) in &files {
        let linted = linter.file(text, origin);
        all.extend(linted.collection);
        found.extend(linted.diagnostics);
    }
    found.extend(lint::set(&all));
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for d in &found {
        *counts.entry(d.code).or_default() += 1;
    }
    println!("{counts:?}");
    if std::env::var_os("SHOW_FINDINGS").is_some() {
        for d in &found {
            println!("{}\n  {}", d.origin, shown(std::slice::from_ref(d)).trim_end());
        }
    }
    let warnings = found.iter().filter(|d| d.level == Level::Warning).count();
    assert!(warnings * 20 < files.len(), "{warnings} warnings in {} files: {counts:?}", files.len());
}
