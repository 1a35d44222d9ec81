//! `wardline rules explain`.

use std::fmt::Write;
use std::io::{self, Cursor};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use console::Style;
use serde_json::{Value, json};
use wardline_event::{LogRecord, LogSource};
use wardline_sense::log::ReadError;
use wardline_sigma::sources::{FoundBy, Sources};
use wardline_sigma::{Collection, Cost, Explanation, Rule};

use super::{events, explain_tree, load};
use crate::printable::{printable, printable_json};

const EXAMPLES: &str = "\
Examples:
  wardline rules explain my-rule.yml event.json
      Why the rule matches the event, or what keeps it from matching.
  wardline rules explain d99b79d2-0a6f-4f46-ad8b-260b6e17f982 Security.evtx --rules sigma/rules
      The record of the log that comes nearest to a match; --record 17 takes the seventeenth.
  wardline rules explain 'log cleared' --rules sigma/rules
      Which events the rule can ever see, which fields it reads, and what it costs.

Exit code: 0 the rule matches (or no event was given); 1 it does not; 2 there is no such rule or event.";

/// Tell why a rule matches an event or not; or without an event, what the rule can see.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct ExplainArgs {
    /// A rule file, or the id of a rule or words of its title
    rule: String,
    /// A log file, `-` for standard input, or a JSON object
    event: Option<String>,
    /// Where a rule that is named by id or title is looked for [default: Wardline's own rules]
    #[arg(short, long, value_name = "PATH")]
    rules: Vec<PathBuf>,
    /// The record of the log, from 1 [default: the first that matches, or else comes nearest]
    #[arg(long, value_name = "N", requires = "event", value_parser = clap::value_parser!(u64).range(1..))]
    record: Option<u64>,
    /// One JSON object
    #[arg(long)]
    json: bool,
    /// Parse the rules anew: neither use nor keep what was parsed before
    #[arg(long)]
    no_cache: bool,
}

/// The exit code of a command that cannot be carried out.
fn refuse(why: &str) -> ExitCode {
    eprintln!("wardline rules explain: {}", printable(why));
    ExitCode::from(2)
}

pub fn run(args: &ExplainArgs) -> ExitCode {
    let file = Path::new(&args.rule).is_file();
    let paths = if file { &[PathBuf::from(&args.rule)][..] } else { &args.rules };
    let (all, faults) = load::collection(paths, args.no_cache);
    let lower = args.rule.to_lowercase();
    let wanted = |r: &Rule| file || r.id == args.rule || r.title.to_lowercase().contains(&lower);
    let found: Vec<&Rule> = all.rules.iter().filter(|r| wanted(r)).collect();
    let rule = match found.as_slice() {
        [] => {
            for fault in faults.iter().take(3) {
                eprintln!("wardline rules explain: {}", printable(fault));
            }
            if file {
                return refuse(&format!(
                    "{}: no detection rule can be read there (of a correlation, explain the rules that it counts)",
                    args.rule
                ));
            }
            if Path::new(&args.rule).is_dir() {
                return refuse(&format!("{} is a folder: name one rule in it, with --rules {0}", args.rule));
            }
            return refuse(&format!("no rule has the id `{}` or these words in its title", args.rule));
        }
        [rule] => *rule,
        several => {
            let exact = several.iter().find(|r| r.id == args.rule || r.title.to_lowercase() == lower);
            let Some(rule) = exact else {
                for rule in several.iter().take(5) {
                    eprintln!("  {}  {}", printable(&rule.id), printable(&rule.title));
                }
                return refuse(&format!(
                    "{} rules have these words in their title: give the id of one",
                    several.len()
                ));
            };
            *rule
        }
    };
    match &args.event {
        None => without_event(args, rule, &all),
        Some(event) => with_event(args, rule, event),
    }
}

/// A record and what the rule makes of it.
struct Explained {
    number: u64,
    log_source: LogSource<'static>,
    /// The record did not say what it is, so it is taken for what the rule is for.
    assumed: bool,
    explanation: Explanation,
}

impl Explained {
    fn of(rule: &Rule, record: &mut LogRecord, number: u64) -> Self {
        let assumed = record.source == LogSource::default();
        if assumed {
            record.source = rule.log_source.clone();
        }
        let explanation = rule.explanation(&*record);
        Self { number, log_source: record.source.clone(), assumed, explanation }
    }

    /// How near the record comes to a match.
    fn rank(&self) -> (bool, bool, bool, usize) {
        let condition = &self.explanation.condition;
        let (sees, holds) = (self.explanation.sees, condition.holds());
        (self.explanation.matches(), sees, holds, explain_tree::held(condition))
    }
}

fn with_event(args: &ExplainArgs, rule: &Rule, event: &str) -> ExitCode {
    let (mut best, mut number, mut fault): (Option<Explained>, u64, Option<String>) = (None, 0, None);
    let mut each = |item: Result<&mut LogRecord, ReadError>| match item {
        Ok(record) => {
            number += 1;
            if args.record.is_some_and(|n| n != number) {
                return;
            }
            let explained = Explained::of(rule, record, number);
            if best.as_ref().is_none_or(|b| explained.rank() > b.rank()) {
                best = Some(explained);
            }
        }
        Err(e) => {
            fault.get_or_insert_with(|| e.to_string());
        }
    };
    if event == "-" {
        events::of_input(Path::new("standard input"), io::stdin(), &mut each);
    } else if event.trim_start().starts_with('{') {
        events::of_input(Path::new("the event"), Cursor::new(event.to_owned()), &mut each);
    } else {
        events::of_file(Path::new(event), &mut each);
    }
    if let Some(fault) = &fault {
        eprintln!("wardline rules explain: {}", printable(fault));
    }
    let Some(best) = best else {
        return refuse(&match args.record {
            Some(n) if number > 0 => format!("there is no record {n}: there are {number}"),
            _ => "there is no record to explain".to_owned(),
        });
    };
    let matches = best.explanation.matches();
    if args.json {
        let line = json!({
            "rule_id": rule.id, "rule": rule.title, "record": best.number, "records": number, "matches": matches,
            "log_source_fits": best.explanation.sees, "log_source_assumed": best.assumed,
            "event_log_source": source_json(&best.log_source), "rule_log_source": source_json(&rule.log_source),
            "condition": explain_tree::json(&best.explanation.condition),
        });
        println!("{}", printable_json(line.to_string()));
    } else {
        print!("{}", text(rule, &best, number));
    }
    if matches { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn source_json(source: &LogSource<'_>) -> Value {
    json!({"product": source.product, "category": source.category, "service": source.service})
}

fn shown(source: &LogSource<'_>) -> String {
    let terms = [("product", &source.product), ("category", &source.category), ("service", &source.service)];
    let said: Vec<String> =
        terms.iter().filter(|(_, t)| !t.is_empty()).map(|(name, t)| format!("{name} {t}")).collect();
    if said.is_empty() { "unknown".to_owned() } else { printable(&said.join(", ")).into_owned() }
}

fn text(rule: &Rule, found: &Explained, records: u64) -> String {
    let mut out = String::new();
    let (word, style) = if found.explanation.matches() {
        ("matches", Style::new().green().bold())
    } else {
        ("does not match", Style::new().red().bold())
    };
    let which =
        if records > 1 { format!("record {} of {records}", found.number) } else { "the event".to_owned() };
    let _ = writeln!(out, "{} {} {which}", printable(&rule.title), style.apply_to(word));
    let mark = explain_tree::mark(found.explanation.sees);
    let note = if found.assumed { ", taken for what the rule is for, since it does not say" } else { "" };
    let _ = writeln!(out, "{mark} log source: the event is {}{note}", shown(&found.log_source));
    if !found.explanation.sees {
        let _ = writeln!(out, "    the rule is for {}", shown(&rule.log_source));
    }
    out.push_str(&explain_tree::text(&found.explanation.condition));
    out
}

fn without_event(args: &ExplainArgs, rule: &Rule, all: &Collection) -> ExitCode {
    let sources = Sources::builtin();
    let reached = sources.events_for(&rule.log_source);
    let known = sources.fields_of(&rule.log_source);
    let fields: Vec<(&str, bool)> = rule.field_names().into_iter().map(|f| (f, known.may_have(f))).collect();
    let cost = match rule.cost() {
        Cost::OnText => "low: it is looked at only when one of its texts is seen",
        Cost::EveryEvent => {
            "medium: it is looked at for every event of its log source, since no text must be there"
        }
        Cost::EveryEventWithRegex => {
            "high: for every event of its log source, and it runs regular expressions without a text of their own"
        }
    };
    let names =
        |reference: &String| *reference == rule.id || (!rule.name.is_empty() && *reference == rule.name);
    let correlations: Vec<&str> = all
        .correlations
        .iter()
        .filter(|c| c.rules.iter().any(names))
        .map(|c| c.attributes.title.as_str())
        .collect();
    if args.json {
        let event = |r: &wardline_sigma::sources::Reached<'_>| json!({"source": r.kind.source, "title": r.kind.title, "event_ids": r.kind.ids, "found_by": by(r.found_by)});
        let line = json!({
            "rule_id": rule.id, "rule": rule.title, "log_source": source_json(&rule.log_source),
            "events": reached.iter().map(event).collect::<Vec<_>>(),
            "fields": fields.iter().map(|(name, known)| json!({"name": name, "known": known})).collect::<Vec<_>>(),
            "cost": cost.split(':').next(), "correlations": correlations,
        });
        println!("{}", printable_json(line.to_string()));
        return ExitCode::SUCCESS;
    }
    println!("{}", Style::new().bold().apply_to(printable(&rule.title)));
    println!("for {}", shown(&rule.log_source));
    println!("\nEvents that it can see:");
    if reached.is_empty() {
        println!("  none: no known source writes events of this log source, so the rule can never match");
    }
    for r in &reached {
        let ids: Vec<String> = r.kind.ids.iter().map(ToString::to_string).collect();
        let ids = if ids.is_empty() { String::new() } else { format!(", event {}", ids.join(", ")) };
        println!("  {}{ids}: {} ({})", printable(&r.kind.source), printable(&r.kind.title), by(r.found_by));
    }
    println!("\nFields that it reads:");
    for (field, known) in &fields {
        let note = if *known || reached.is_empty() { "" } else { "  no event that it can see has it" };
        println!("  {}{note}", printable(field));
    }
    if fields.is_empty() {
        println!("  every field: it looks for keywords");
    }
    println!("\nCost: {cost}");
    if !correlations.is_empty() {
        println!("\nCorrelations that count it:");
        for title in correlations {
            println!("  {}", printable(title));
        }
    }
    ExitCode::SUCCESS
}

fn by(found_by: FoundBy) -> &'static str {
    match found_by {
        FoundBy::Channel => "known by channel or provider",
        FoundBy::Fields => "known by its fields",
        FoundBy::Reader => "known by its reader or sensor",
        FoundBy::Nothing => "known only if you say so",
    }
}
