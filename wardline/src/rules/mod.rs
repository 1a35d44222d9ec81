//! `wardline rules`: list, show, check.

pub mod files;
pub mod load;
mod parallel;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Subcommand;
use serde_json::json;
use wardline_sigma::{Rule, RuleSet};

#[derive(Subcommand)]
pub enum RulesCommand {
    /// List Wardline's own rules
    List {
        /// One JSON object per rule
        #[arg(long)]
        json: bool,
    },
    /// Print one of Wardline's own rules, by id or part of its title
    Show {
        /// The rule
        rule: String,
    },
    /// Check rules: exit code 1 if one cannot be used
    #[command(after_help = "Example:\n  wardline rules check my-rules/")]
    Check {
        /// Rule files or folders
        #[arg(required = true)]
        paths: Vec<PathBuf>,
    },
}

/// Wardline's own rules. Each was checked when this build was tested.
fn own() -> Vec<Rule> {
    let parsed = wardline_content::rules().iter().filter_map(|f| Rule::parse(f.text, f.path).ok());
    parsed.flatten().collect()
}

fn response(rule: &Rule) -> &str {
    rule.extra.get("wardline").and_then(|w| w.get("response")).and_then(|r| r.as_str()).unwrap_or("record")
}

pub fn run(command: &RulesCommand) -> ExitCode {
    match command {
        RulesCommand::List { json } => list(*json),
        RulesCommand::Show { rule } => show(rule),
        RulesCommand::Check { paths } => check(paths),
    }
}

fn list(as_json: bool) -> ExitCode {
    let rules = own();
    for rule in &rules {
        let techniques: Vec<String> = rule.techniques().into_iter().map(|t| t.0).collect();
        if as_json {
            println!(
                "{}",
                json!({"id": rule.id, "title": rule.title, "level": rule.level, "product": rule.log_source.product,
                       "techniques": techniques, "response": response(rule), "file": rule.origin})
            );
        } else {
            println!(
                "{:<13} {:<8} {:<6} {:<60} {}",
                rule.level.as_str(),
                rule.log_source.product,
                response(rule),
                rule.title,
                techniques.join(" ")
            );
        }
    }
    if !as_json {
        println!("{} rules", rules.len());
    }
    ExitCode::SUCCESS
}

fn show(wanted: &str) -> ExitCode {
    let lower = wanted.to_lowercase();
    let found: Vec<Rule> =
        own().into_iter().filter(|r| r.id == wanted || r.title.to_lowercase().contains(&lower)).collect();
    for rule in &found {
        println!("# {}\n{}", rule.origin, rule.source);
    }
    if found.is_empty() {
        eprintln!(
            "wardline: no rule has the id `{wanted}` or these words in its title; see `wardline rules list`"
        );
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

fn check(paths: &[PathBuf]) -> ExitCode {
    let (mut rules, mut problems) = (Vec::new(), 0);
    let mut report = |text: String| {
        eprintln!("{text}");
        problems += 1;
    };
    let (sources, faults) = load::sources(paths);
    faults.into_iter().for_each(&mut report);
    for source in sources {
        match source.text.and_then(|text| Rule::parse(&text, &source.origin).map_err(|e| e.to_string())) {
            Err(e) => report(e),
            Ok(parsed) => {
                for rule in parsed {
                    if let Err(e) = wardline_policy::Response::from_rule(&rule.extra) {
                        report(format!("{}: {e}", rule.origin));
                    }
                    rules.push(rule);
                }
            }
        }
    }
    let (set, errors) = RuleSet::compile_lossy(rules);
    for error in errors {
        report(error.to_string());
    }
    println!("{} rules are usable, {problems} problems", set.rules().len());
    if problems == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
