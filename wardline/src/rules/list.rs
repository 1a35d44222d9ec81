//! `wardline rules list` and `show`.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use console::{Alignment, pad_str, truncate_str};
use serde_json::json;
use wardline_event::Severity;
use wardline_sigma::{Attributes, Correlation};

use super::context::ContextArgs;
use super::kernel::{self, InKernel};
use super::load::{self, Loaded, UseOfCache};
use crate::printable::{printable, printable_json};
use crate::scan::{counted, style_of};

/// Which rules there are.
#[derive(clap::Args)]
struct SetArgs {
    /// Rule files or folders; may be given several times [default: Wardline's own rules]
    #[arg(short, long, value_name = "PATH")]
    rules: Vec<PathBuf>,
    #[command(flatten)]
    context: ContextArgs,
    /// Parse the rules anew: neither use nor keep what was parsed before
    #[arg(long)]
    no_cache: bool,
}

/// List rules.
#[derive(clap::Args)]
pub struct ListArgs {
    #[command(flatten)]
    set: SetArgs,
    /// One JSON object per rule
    #[arg(long)]
    json: bool,
}

/// Print a rule.
#[derive(clap::Args)]
pub struct ShowArgs {
    /// The rule: its id, or words of its title
    rule: String,
    #[command(flatten)]
    set: SetArgs,
}

/// The exit code if nothing can be looked at.
const NOTHING: u8 = 2;

/// Columns of the list: what stands before the titles, titles where there is room, a technique.
const BEFORE_TITLE: usize = 31;
const TITLE: usize = 60;
const TECHNIQUE: usize = 11;

/// A line of the list.
struct Entry<'a> {
    attributes: &'a Attributes,
    /// `rule`, or the type of a correlation.
    kind: &'static str,
    product: String,
    category: String,
    service: String,
    response: &'a str,
    /// Of a rule that asks for a kill.
    in_kernel: Option<InKernel>,
    /// What a correlation asks for.
    asked: Option<String>,
}

/// The rules that are asked for; what does not load is told on standard error. Without what they need from outside, the
/// command of this name says why, and ends with the exit code.
fn rules(args: &SetArgs, command: &str) -> Result<Loaded, ExitCode> {
    let context = args.context.read("rules").map_err(|why| {
        eprintln!("wardline rules {command}: {}", printable(&why));
        ExitCode::from(NOTHING)
    })?;
    let use_of_cache = UseOfCache::whole(args.no_cache);
    let loaded = load::load(&args.rules, use_of_cache, Severity::Informational, &context.options);
    for fault in loaded.faults.iter().chain(&loaded.warnings) {
        eprintln!("wardline rules: {}", printable(fault));
    }
    Ok(loaded)
}

fn response(attributes: &Attributes) -> &str {
    attributes
        .extra
        .get("wardline")
        .and_then(|w| w.get("response"))
        .and_then(|r| r.as_str())
        .unwrap_or("record")
}

/// The rules and then the correlations. What was made of one rule with an aggregation is one entry.
fn entries(loaded: &Loaded) -> Vec<Entry<'_>> {
    let rules = loaded.rules.rules();
    let mut kernel = kernel::of(rules);
    let own = rules.iter().enumerate().filter(|(_, rule)| !rule.is_part_of_aggregation());
    let own = own.map(|(at, rule)| Entry {
        in_kernel: kernel.remove(&at),
        attributes: &rule.attributes,
        kind: "rule",
        product: rule.log_source.product.clone().into_owned(),
        category: rule.log_source.category.clone().into_owned(),
        service: rule.log_source.service.clone().into_owned(),
        response: response(&rule.attributes),
        asked: None,
    });
    let over = loaded.correlations.correlations().iter().enumerate();
    own.chain(over.map(|(index, correlation)| of_correlation(loaded, index, correlation))).collect()
}

/// A correlation is for what all of its rules are for.
fn of_correlation<'a>(loaded: &'a Loaded, index: usize, correlation: &'a Correlation) -> Entry<'a> {
    let (mut under, mut open) = (Vec::new(), vec![index]);
    while let Some(index) = open.pop() {
        for reference in loaded.correlations.references(index) {
            under.extend(reference.rules.iter().map(|rule| &loaded.rules.rules()[*rule].log_source));
            open.extend(&reference.correlations);
        }
    }
    let common = |term: &dyn Fn(&wardline_event::LogSource<'static>) -> String| {
        let mut terms = under.iter().map(|source| term(source));
        let first = terms.next().unwrap_or_default();
        if terms.all(|term| term == first) { first } else { String::new() }
    };
    Entry {
        attributes: &correlation.attributes,
        kind: correlation.kind.as_str(),
        product: common(&|source| source.product.clone().into_owned()),
        category: common(&|source| source.category.clone().into_owned()),
        service: common(&|source| source.service.clone().into_owned()),
        response: response(&correlation.attributes),
        in_kernel: None,
        asked: Some(correlation.asked()),
    }
}

fn decided(entry: &Entry<'_>) -> bool {
    entry.in_kernel.as_ref().is_some_and(InKernel::is_decided)
}

/// A line for each rule.
pub fn list(args: &ListArgs) -> ExitCode {
    let loaded = match rules(&args.set, "list") {
        Ok(loaded) => loaded,
        Err(refused) => return refused,
    };
    match write(args, &entries(&loaded)) {
        Err(e) if e.kind() != io::ErrorKind::BrokenPipe => {
            eprintln!("wardline rules list: the list could not be written: {e}");
            ExitCode::FAILURE
        }
        _ if loaded.faults.is_empty() => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}

fn write(args: &ListArgs, entries: &[Entry<'_>]) -> io::Result<()> {
    let mut out = io::BufWriter::new(io::stdout().lock());
    let room = super::columns().unwrap_or(usize::MAX);
    for entry in entries {
        let attributes = entry.attributes;
        let techniques: Vec<String> = attributes.techniques().into_iter().map(|t| t.0).collect();
        if args.json {
            let line = json!({
                "id": attributes.id, "title": attributes.title, "level": attributes.level,
                "status": attributes.status, "type": entry.kind, "product": entry.product,
                "category": entry.category, "service": entry.service, "asked": entry.asked,
                "techniques": techniques, "response": entry.response, "kernel": entry.in_kernel.as_ref().map(InKernel::json), "file": attributes.origin,
            });
            writeln!(out, "{}", printable_json(line.to_string()))?;
            continue;
        }
        let product = if entry.product.is_empty() { "any" } else { &entry.product };
        let kind = if entry.asked.is_some() { format!("{}: ", entry.kind) } else { String::new() };
        // On a narrow terminal titles are cut, so that each has a line and its technique can be seen.
        let title = format!("{kind}{}", attributes.title);
        let title = printable(&title);
        let title = truncate_str(&title, room - BEFORE_TITLE - TECHNIQUE, "…");
        let line = format!(
            "{} {} {:<7} {} {}",
            style_of(attributes.level).apply_to(format!("{:<13}", attributes.level.as_str())),
            pad_str(&printable(product), 8, Alignment::Left, None),
            printable(entry.response) + if decided(entry) { "+" } else { "" },
            pad_str(&title, TITLE.min(room - BEFORE_TITLE - TECHNIQUE), Alignment::Left, None),
            techniques.join(" ")
        );
        writeln!(out, "{}", truncate_str(line.trim_end(), room, "…"))?;
    }
    if !args.json {
        writeln!(out, "{}", counted(entries.len() as u64, "rule"))?;
        let kernel = entries.iter().filter(|entry| decided(entry)).count();
        if kernel > 0 {
            let rules = counted(kernel as u64, "rule");
            writeln!(out, "kill+: on Linux the kernel itself stops the program before it runs ({rules})")?;
        }
    }
    out.flush()
}

/// The text of the rules with this id or these words in their title.
pub fn show(args: &ShowArgs) -> ExitCode {
    let loaded = match rules(&args.set, "show") {
        Ok(loaded) => loaded,
        Err(refused) => return refused,
    };
    let lower = args.rule.to_lowercase();
    let wanted =
        |a: &Attributes| a.id.eq_ignore_ascii_case(&args.rule) || a.title.to_lowercase().contains(&lower);
    let entries = entries(&loaded);
    let found: Vec<&Attributes> = entries.iter().map(|e| e.attributes).filter(|a| wanted(a)).collect();
    let mut out = io::stdout().lock();
    for (at, attributes) in found.iter().enumerate() {
        let parted = if at > 0 { "---\n" } else { "" };
        // Whoever reads the output may have seen enough.
        let _ =
            writeln!(out, "{parted}# {}\n{}", printable(&attributes.origin), attributes.source.trim_end());
    }
    if found.is_empty() {
        eprintln!(
            "wardline rules show: no rule has the id `{0}` or these words in its title; see `wardline rules list`",
            printable(&args.rule)
        );
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}
