//! `wardline rules explain`.

mod correlation;
mod rule;
mod sight;
mod tree;

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Cursor};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde_json::{Value, json};
use wardline_event::{LogRecord, LogSource};
use wardline_sense::log::{ReadError, Workspace};
use wardline_sigma::{Attributes, Linked};

use super::context::{Context, ContextArgs};
use super::{events, load};
use crate::printable::printable;

const EXAMPLES: &str = "\
Examples:
  wardline rules explain my-rule.yml event.json
      Why the rule matches the event, or what keeps it from matching.
  wardline rules explain d99b79d2-0a6f-4f46-ad8b-260b6e17f982 Security.evtx --rules sigma/rules
      The record of the log that comes nearest to a match; --record 17 takes the seventeenth.
  wardline rules explain 'many failed logins' Security.evtx System.evtx --rules sigma/rules
      For a correlation: which records its rules matched, and what that came to in each group.
  wardline rules explain 'log cleared' --rules sigma/rules
      Which events the rule can ever see, which fields it reads, and what it costs.

Exit code: 0 the rule matches (or no event was given); 1 it does not; 2 there is no such rule or event.";

/// Tell why a rule matches events or not; or without an event, what the rule can see.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct ExplainArgs {
    /// A rule file, or the id of a rule or words of its title
    rule: String,
    /// Log files, `-` for standard input, or JSON objects; their records are numbered from 1, through all of them
    #[arg(value_name = "EVENT")]
    events: Vec<String>,
    /// Where a rule that is named by id or title is looked for; may be given several times [default: Wardline's own rules]
    #[arg(short, long, value_name = "PATH")]
    rules: Vec<PathBuf>,
    /// The record that is explained [default: the first that matches, or else comes nearest]
    #[arg(long, value_name = "N", requires = "events", value_parser = clap::value_parser!(u64).range(1..))]
    record: Option<u64>,
    #[command(flatten)]
    context: ContextArgs,
    /// One JSON object
    #[arg(long)]
    json: bool,
    /// Parse the rules anew: neither use nor keep what was parsed before
    #[arg(long)]
    no_cache: bool,
}

/// The exit code of a command that cannot be carried out.
const REFUSED: u8 = 2;

/// A rule, or a correlation, by its index.
#[derive(Clone, Copy)]
enum Target {
    Rule(usize),
    Correlation(usize),
}

pub fn run(args: &ExplainArgs) -> ExitCode {
    match explain(args) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(why) => {
            eprintln!("wardline rules explain: {}", printable(&why));
            ExitCode::from(REFUSED)
        }
    }
}

/// Whether the rule matches; nothing is asked of it without an event.
fn explain(args: &ExplainArgs) -> Result<bool, String> {
    let context = args.context.read("rules explain")?;
    let file = fs::canonicalize(&args.rule).ok().filter(|path| path.is_file());
    let mut paths = args.rules.clone();
    if let Some(file) = &file {
        // A correlation may lie elsewhere than the rules that it counts; what lies among them is not loaded twice.
        let is_there = |path: &PathBuf| fs::canonicalize(path).is_ok_and(|path| file.starts_with(path));
        if !paths.iter().any(is_there) {
            paths.insert(0, PathBuf::from(&args.rule));
        }
    }
    let (all, mut faults) = load::collection(&paths, load::UseOfCache::whole(args.no_cache));
    let linked = all.link(&context.options);
    faults.extend(linked.faults.iter().map(ToString::to_string));
    let target = find(args, &linked, file.as_deref(), &faults)?;
    let reader = Reader { args, context: &context };
    let text = match (target, args.events.is_empty()) {
        (Target::Rule(index), true) => {
            let rule = &linked.rules.rules()[index];
            let over = correlations_over(&linked, index);
            if args.json {
                sight::rule_json(rule, &over, context.sources()).to_string()
            } else {
                sight::rule(rule, &over, context.sources())
            }
        }
        (Target::Correlation(index), true) => {
            if args.json {
                sight::correlation_json(&linked, index, context.sources()).to_string()
            } else {
                sight::correlation(&linked, index, context.sources())
            }
        }
        (Target::Rule(index), false) => {
            let (matches, text) = rule::explain(&linked.rules.rules()[index], &reader)?;
            return Ok(show(args, &text, matches));
        }
        (Target::Correlation(index), false) => {
            let (matches, text) = correlation::explain(&linked, index, &reader)?;
            return Ok(show(args, &text, matches));
        }
    };
    Ok(show(args, &text, true))
}

fn show(args: &ExplainArgs, text: &str, outcome: bool) -> bool {
    if args.json {
        println!("{}", crate::printable::printable_json(text.to_owned()));
    } else {
        print!("{text}");
    }
    outcome
}

/// The titles of the correlations that count a rule.
fn correlations_over(linked: &Linked, rule: usize) -> Vec<String> {
    let all = linked.correlations.correlations();
    let over = |index: &usize| linked.correlations.references(*index).iter().any(|r| r.rules.contains(&rule));
    (0..all.len()).filter(over).map(|index| all[index].attributes.title.clone()).collect()
}

/// The rule or correlation that is meant.
fn find(
    args: &ExplainArgs,
    linked: &Linked,
    file: Option<&Path>,
    faults: &[String],
) -> Result<Target, String> {
    let lower = args.rule.to_lowercase();
    let exact = |a: &Attributes| a.id.eq_ignore_ascii_case(&args.rule) || a.title.to_lowercase() == lower;
    let wanted = |a: &Attributes| match file {
        Some(file) => is_same(&a.origin, file),
        None => exact(a) || a.title.to_lowercase().contains(&lower),
    };
    // What is made of one rule with an aggregation is that rule to its author.
    let rules = linked.rules.rules().iter().enumerate().filter(|(_, rule)| !rule.is_part_of_aggregation());
    let rules = rules.map(|(i, rule)| (Target::Rule(i), &*rule.attributes));
    let correlations = linked.correlations.correlations().iter().enumerate();
    let correlations = correlations.map(|(i, c)| (Target::Correlation(i), &c.attributes));
    let found: Vec<(Target, &Attributes)> =
        rules.chain(correlations).filter(|(_, attributes)| wanted(attributes)).collect();
    match found.as_slice() {
        [] => Err(none(args, file.is_some(), faults)),
        [(only, _)] => Ok(*only),
        several => {
            let (rules, correlations) = referred(linked);
            let outer = |target: &Target| match target {
                Target::Rule(index) => !rules.contains(index),
                Target::Correlation(index) => !correlations.contains(index),
            };
            // Of a file the correlation over its other rules, otherwise the one that is named in full.
            let mut fits =
                several.iter().filter(|(target, a)| if file.is_some() { outer(target) } else { exact(a) });
            if let (Some((only, _)), None) = (fits.next(), fits.next()) {
                return Ok(*only);
            }
            for (_, attributes) in several.iter().take(5) {
                eprintln!("  {}  {}", printable(&attributes.id), printable(&attributes.title));
            }
            let n = several.len();
            Err(if file.is_some() {
                format!("{} holds {n} rules: give the id or title of one, and --rules {0}", args.rule)
            } else {
                format!("{n} rules have these words in their title: give the id of one")
            })
        }
    }
}

/// Whether a rule came from this file, which is named in full.
fn is_same(origin: &str, file: &Path) -> bool {
    let origin = Path::new(origin);
    origin.file_name() == file.file_name() && fs::canonicalize(origin).is_ok_and(|origin| origin == file)
}

/// The rules and correlations that correlations refer to.
fn referred(linked: &Linked) -> (BTreeSet<usize>, BTreeSet<usize>) {
    let (mut rules, mut correlations) = (BTreeSet::new(), BTreeSet::new());
    for index in 0..linked.correlations.correlations().len() {
        for reference in linked.correlations.references(index) {
            rules.extend(reference.rules.iter().copied());
            correlations.extend(reference.correlations.iter().copied());
        }
    }
    (rules, correlations)
}

/// Why there is no such rule.
fn none(args: &ExplainArgs, file: bool, faults: &[String]) -> String {
    let about = |fault: &&String| !file || fault.starts_with(&args.rule);
    for fault in faults.iter().filter(about).take(3) {
        eprintln!("wardline rules explain: {}", printable(fault));
    }
    if file {
        format!("{}: no rule can be read there", args.rule)
    } else if Path::new(&args.rule).is_dir() {
        format!("{} is a folder: name one rule in it, with --rules {0}", args.rule)
    } else {
        format!("no rule has the id `{}` or these words in its title", args.rule)
    }
}

/// Reads what was given as events.
struct Reader<'a> {
    args: &'a ExplainArgs,
    context: &'a Context,
}

impl Reader<'_> {
    /// Hands over every record with its number, or the one that was asked for; how many there are. What cannot be read is
    /// told on standard error.
    fn each(&self, take: &mut dyn FnMut(u64, &mut LogRecord)) -> Result<u64, String> {
        let mut number = 0;
        let only = self.args.record;
        let mut workspace = Workspace::new(std::sync::Arc::clone(self.context.sources()));
        for event in &self.args.events {
            let mut told = false;
            let mut each = |item: Result<&mut LogRecord, ReadError>| match item {
                Ok(record) => {
                    number += 1;
                    if only.is_none_or(|n| n == number) {
                        take(number, record);
                    }
                }
                Err(e) if !told => {
                    told = true;
                    eprintln!("wardline rules explain: {}", printable(&e.to_string()));
                }
                Err(_) => {}
            };
            if event == "-" {
                events::of_input(Path::new("standard input"), io::stdin(), &mut workspace, &mut each);
            } else if event.trim_start().starts_with('{') {
                let input = Cursor::new(event.clone());
                events::of_input(Path::new("the event"), input, &mut workspace, &mut each);
            } else {
                events::of_file(Path::new(event), &mut workspace, &mut each);
            }
        }
        match only {
            Some(n) if number > 0 && n > number => Err(format!("there is no record {n}: there are {number}")),
            _ if number == 0 => Err("there is no record to explain".to_owned()),
            _ => Ok(number),
        }
    }
}

fn source_json(source: &LogSource<'_>) -> Value {
    json!({"product": source.product, "category": source.category, "service": source.service})
}

/// `product windows, category process_creation`.
fn shown(source: &LogSource<'_>) -> String {
    let terms = [("product", &source.product), ("category", &source.category), ("service", &source.service)];
    let said: Vec<String> =
        terms.iter().filter(|(_, t)| !t.is_empty()).map(|(name, t)| format!("{name} {t}")).collect();
    if said.is_empty() { "unknown".to_owned() } else { printable(&said.join(", ")).into_owned() }
}
