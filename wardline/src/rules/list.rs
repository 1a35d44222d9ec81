//! `wardline rules list` and `show`.

use std::path::PathBuf;
use std::process::ExitCode;

use serde_json::json;
use wardline_sigma::Rule;

use super::load;
use crate::printable::{printable, printable_json};

/// The rules at the paths, or Wardline's own; what does not load is told on standard error.
fn rules(paths: &[PathBuf], no_cache: bool) -> (Vec<Rule>, bool) {
    let loaded = load::load(
        paths,
        no_cache,
        wardline_event::Severity::Informational,
        &wardline_sigma::LinkOptions::default(),
    );
    for fault in &loaded.faults {
        eprintln!("wardline rules: {}", printable(fault));
    }
    (loaded.rules.rules().to_vec(), loaded.faults.is_empty())
}

fn response(rule: &Rule) -> &str {
    rule.extra.get("wardline").and_then(|w| w.get("response")).and_then(|r| r.as_str()).unwrap_or("record")
}

/// A line for each rule.
pub fn list(paths: &[PathBuf], as_json: bool, no_cache: bool) -> ExitCode {
    let (rules, all_loaded) = rules(paths, no_cache);
    for rule in &rules {
        let techniques: Vec<String> = rule.techniques().into_iter().map(|t| t.0).collect();
        let source = &rule.log_source;
        if as_json {
            let line = json!({
                "id": rule.id, "title": rule.title, "level": rule.level, "status": rule.status,
                "product": source.product, "category": source.category, "service": source.service,
                "techniques": techniques, "response": response(rule), "file": rule.origin,
            });
            println!("{}", printable_json(line.to_string()));
        } else {
            let product = if source.product.is_empty() { "any" } else { &source.product };
            println!(
                "{:<13} {:<8} {:<6} {:<60} {}",
                rule.level.as_str(),
                printable(product),
                printable(response(rule)),
                printable(&rule.title),
                techniques.join(" ")
            );
        }
    }
    if !as_json {
        println!("{}", crate::scan::counted(rules.len() as u64, "rule"));
    }
    if all_loaded { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The text of the rules with this id or these words in their title.
pub fn show(wanted: &str, paths: &[PathBuf], no_cache: bool) -> ExitCode {
    let lower = wanted.to_lowercase();
    let (rules, _) = rules(paths, no_cache);
    let found: Vec<&Rule> =
        rules.iter().filter(|r| r.id == wanted || r.title.to_lowercase().contains(&lower)).collect();
    for rule in &found {
        println!("# {}\n{}", printable(&rule.origin), rule.source);
    }
    if found.is_empty() {
        eprintln!(
            "wardline: no rule has the id `{}` or these words in its title; see `wardline rules list`",
            printable(wanted)
        );
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}
