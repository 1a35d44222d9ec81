//! `wardline rules lint`.

use std::collections::HashMap;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::ValueEnum;
use serde_json::json;
use wardline_sigma::lint::{self, CODES, Code, Diagnostic, Level, Linted, Linter};
use wardline_sigma::{Collection, LinkOptions, Rule};

use super::context::ContextArgs;
use super::load::{Source, sources};
use super::test::tested_ids;
use super::{nothing, parallel, render, sarif};
use crate::printable::{printable, printable_json};
use crate::scan::counted;

const EXAMPLES: &str = "\
Examples:
  wardline rules lint my-rules/
      Everything that is wrong or doubtful, each with its line and what to do.
  wardline rules lint my-rules/ --deny warnings --allow S102
      For a build: warnings fail it, too; rules need no date.
  wardline rules lint my-rules/ --sarif > rules.sarif
      For tools that show findings beside the code.

docs/rules.md explains every code. Exit code: 0 no errors; 1 errors, or findings of a level that is denied; 2 wrong \
usage, or no rule file.";

/// Find what is wrong or doubtful in rules.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct LintArgs {
    /// Rule files or folders
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// One JSON object for each finding
    #[arg(long, conflicts_with = "sarif")]
    json: bool,
    /// One SARIF 2.1.0 log
    #[arg(long)]
    sarif: bool,
    /// Fail on findings of this level, too
    #[arg(long, value_name = "LEVEL")]
    deny: Option<Deny>,
    /// Leave out the findings of this code; may be given several times
    #[arg(long, value_name = "CODE", value_parser = known_code)]
    allow: Vec<String>,
    /// Tell which rules have no regression test in this folder; may be given several times
    #[arg(long, value_name = "DIR")]
    tests: Vec<PathBuf>,
    #[command(flatten)]
    context: ContextArgs,
    /// Only the summary
    #[arg(short, long)]
    quiet: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum Deny {
    /// Warnings
    Warnings,
    /// Warnings and notes
    Notes,
}

fn known_code(text: &str) -> Result<String, String> {
    let code = text.to_ascii_uppercase();
    if CODES.iter().chain(OUR_CODES).any(|c| c.code == code) {
        return Ok(code);
    }
    Err("there is no such code; docs/rules.md lists them".to_owned())
}

const UNREADABLE: &str = "W001";
const RESPONSE: &str = "W002";
/// Codes beside those of the engine: what depends on files, or on what an agent does with a rule.
pub const OUR_CODES: &[Code] = &[
    Code { code: UNREADABLE, level: Level::Error, what: "a file that cannot be read, or is not UTF-8" },
    Code { code: RESPONSE, level: Level::Error, what: "a response that Wardline does not have" },
];

pub fn run(args: &LintArgs) -> ExitCode {
    let context = match args.context.read("rules lint") {
        Ok(context) => context,
        Err(why) => {
            eprintln!("wardline rules lint: {}", printable(&why));
            return ExitCode::from(2);
        }
    };
    let linter = Linter::new(context.sources());
    let (sources, faults) = sources(&args.paths);
    if sources.is_empty() && faults.is_empty() {
        return nothing("lint");
    }
    let mut found = Vec::new();
    found.extend(faults.iter().map(|fault| unreadable(fault.split(": ").next().unwrap_or_default(), fault)));
    let mut all = Collection::default();
    for linted in parallel::map(&sources, |source| lint_source(&linter, source)) {
        found.extend(linted.diagnostics);
        all.extend(linted.collection);
    }
    let (rules, documents) = (all.rules.len(), all.rules.len() + all.correlations.len() + all.filters.len());
    if !args.tests.is_empty() {
        let tested = tested_ids(&args.tests);
        found.extend(lint::untested(&all, &|id| tested.contains(id)));
    }
    found.extend(together(all, &context.options, &sources));
    found.retain(|d| !args.allow.iter().any(|code| code == d.code));
    // In the order of the files, whatever found it.
    let order: HashMap<&str, usize> =
        sources.iter().enumerate().map(|(i, s)| (s.origin.as_str(), i)).collect();
    found.sort_by_key(|d| (order.get(d.origin.as_str()).copied(), d.line, d.column));
    let denied = match args.deny {
        None => Level::Error,
        Some(Deny::Warnings) => Level::Warning,
        Some(Deny::Notes) => Level::Note,
    };
    let failed = found.iter().any(|d| d.level >= denied);
    let written = write(args, &found, &sources).and_then(|()| {
        let count = |level| found.iter().filter(|d| d.level == level).count();
        let others = match documents - rules {
            0 => String::new(),
            n => format!(", {n} correlations and filters"),
        };
        let counts = [(Level::Error, "error"), (Level::Warning, "warning"), (Level::Note, "note")]
            .map(|(level, name)| counted(count(level) as u64, name));
        let (files, rules) = (counted(sources.len() as u64, "file"), counted(rules as u64, "rule"));
        writeln!(io::stderr(), "{files}, {rules}{others}: {}", counts.join(", "))
    });
    match written {
        Err(e) if e.kind() != io::ErrorKind::BrokenPipe => {
            eprintln!("wardline rules lint: the findings could not be written: {e}");
            ExitCode::FAILURE
        }
        _ if failed => ExitCode::FAILURE,
        _ => ExitCode::SUCCESS,
    }
}

fn lint_source(linter: &Linter<'_>, source: &Source) -> Linted {
    let mut linted = match &source.text {
        Ok(text) => linter.file(text, &source.origin),
        Err(e) => {
            Linted { collection: Collection::default(), diagnostics: vec![unreadable(&source.origin, e)] }
        }
    };
    let responses = linted.collection.rules.iter().filter_map(response_fault);
    linted.diagnostics.extend(responses.collect::<Vec<_>>());
    linted
}

/// What is wrong with rules because of other rules.
fn together(all: Collection, options: &LinkOptions, sources: &[Source]) -> Vec<Diagnostic> {
    let mut found = lint::set(&all);
    let texts: HashMap<&str, &str> =
        sources.iter().filter_map(|s| Some((s.origin.as_str(), s.text.as_deref().ok()?))).collect();
    for fault in all.link(options).faults {
        // Double ids are among the lints.
        if fault.code != "S060" {
            let text = texts.get(fault.origin.as_str()).copied().unwrap_or_default();
            found.push(Diagnostic::of_error(fault, text));
        }
    }
    found
}

/// A finding about a whole file.
fn unreadable(origin: &str, message: &str) -> Diagnostic {
    Diagnostic {
        code: UNREADABLE,
        level: Level::Error,
        origin: origin.to_owned(),
        line: 0,
        column: 1,
        width: 1,
        message: message.to_owned(),
        help: String::new(),
    }
}

fn response_fault(rule: &Rule) -> Option<Diagnostic> {
    let fault = wardline_policy::Response::from_rule(&rule.extra).err()?;
    let at = rule.source.lines().position(|l| l.starts_with("wardline:")).unwrap_or_default();
    Some(Diagnostic {
        code: RESPONSE,
        level: Level::Error,
        origin: rule.origin.clone(),
        line: rule.line + at,
        column: 1,
        width: 1,
        message: fault,
        help: String::new(),
    })
}

fn write(args: &LintArgs, found: &[Diagnostic], sources: &[Source]) -> io::Result<()> {
    let mut out = io::BufWriter::new(io::stdout().lock());
    if args.quiet {
        return Ok(());
    }
    if args.sarif {
        writeln!(out, "{}", printable_json(sarif::log(found).to_string()))?;
        return out.flush();
    }
    let texts: HashMap<&str, &Source> = sources.iter().map(|s| (s.origin.as_str(), s)).collect();
    for d in found {
        if args.json {
            let line = json!({
                "code": d.code, "level": d.level.as_str(), "message": d.message, "help": d.help,
                "file": d.origin, "line": d.line, "column": d.column, "end_column": d.column + d.width,
            });
            writeln!(out, "{}", printable_json(line.to_string()))?;
        } else {
            let text = texts.get(d.origin.as_str()).and_then(|s| s.text.as_deref().ok()).unwrap_or_default();
            writeln!(out, "{}", render::render(d, text))?;
        }
    }
    out.flush()
}
