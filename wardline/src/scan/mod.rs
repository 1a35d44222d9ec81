//! `wardline scan`: Sigma rules over log files.

mod args;
mod asked;
mod catalog;
mod collect;
mod correlate;
mod events;
mod filter;
mod histogram;
mod hit;
mod html;
mod incident;
mod interrupt;
mod lines;
mod output;
mod progress;
mod stats;
mod tally;
mod text;
mod totals;
mod work;

use std::collections::HashMap;
use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use wardline_event::{LogSource, Severity};
use wardline_sigma::RuleSet;
use wardline_sigma::sources::Sources;

pub use args::ScanArgs;
use catalog::Catalog;
use collect::Files;
use correlate::Correlating;
use hit::Hit;
use incident::Incidents;
use interrupt::INTERRUPTED;
use lines::Incident;
use output::Output;
use tally::Tally;
use text::Page;
pub use text::{counted, style_of, thousands};
use totals::{Outcome, Stats, Totals};
use work::{Message, Progress};

use crate::printable::printable;
use crate::rules::context::{Context, builtin_sources};
use crate::rules::load::{self, Loaded, UseOfCache};

/// Everything that was asked for was read.
const RAN: u8 = 0;
/// Something could not be read, or written.
const FAILED: u8 = 1;
/// There is nothing to do: no such path, no log, no rule.
const NOTHING_TO_DO: u8 = 2;

/// Runs `wardline scan`.
pub fn run(args: &ScanArgs) -> ExitCode {
    crate::logging::start_if_asked();
    match scan(args) {
        Ok(code) => ExitCode::from(code),
        // Whoever reads our output has seen enough.
        Err(e) if e.kind() == io::ErrorKind::BrokenPipe => ExitCode::from(RAN),
        Err(e) => {
            complain(&format!("the results could not be written: {e}"));
            ExitCode::from(FAILED)
        }
    }
}

/// Says something on standard error; file names and log content in it may be hostile.
fn complain(text: &str) {
    let _ = writeln!(io::stderr(), "wardline scan: {}", printable(text));
}

fn scan(args: &ScanArgs) -> io::Result<u8> {
    let stop = interrupt::watch();
    let mut clock = stats::Clock::start();
    let format = match args.format() {
        Ok(format) => format,
        Err(e) => return Ok(nothing_to_do(&e)),
    };
    if let (Some(from), Some(to)) = (args.from, args.to)
        && from > to
    {
        return Ok(nothing_to_do("no record can be of both: --from is later than --to"));
    }
    // A rule that does not load is one less; a path that is not there is a mistake in the command.
    for path in &args.rules {
        if let Err(e) = std::fs::metadata(path) {
            let path = path.display();
            return Ok(nothing_to_do(&format!("{path}: no rules can be read there: {e}; check --rules")));
        }
    }
    // They are read at the same time as the rules; whoever needs them first waits for them.
    let use_of_cache = if args.no_cache { UseOfCache::None } else { UseOfCache::AsNeeded };
    let sources = thread::spawn(move || match use_of_cache {
        UseOfCache::None => {
            Sources::builtin();
            None
        }
        _ => builtin_sources(),
    });
    let context = match args.context.read("scan") {
        Ok(context) => context,
        Err(e) => return Ok(nothing_to_do(&e)),
    };
    // The process ends with the scan: to free the rules one by one would only take time.
    let loaded = load::load(&args.rules, use_of_cache, Severity::Informational, &context.options);
    let loaded: &'static Loaded = Box::leak(Box::new(loaded));
    report_faults(args, loaded);
    let catalog = Catalog::new(&loaded.rules, &loaded.correlations, &args.rule_filter());
    if catalog.len() == 0 {
        return Ok(nothing_to_do("no rule to scan with: name files or folders of Sigma rules with --rules"));
    }
    if catalog.reported() == 0 {
        return Ok(nothing_to_do(&format!(
            "no rule is left: none of {} has what --level, --tag and --rule ask for",
            catalog.len()
        )));
    }
    clock.lap("rules loaded");
    let files = match Files::collect(&args.paths, &[args.output.as_deref(), args.html.as_deref()]) {
        Ok(files) => files,
        Err(e) => return Ok(nothing_to_do(&e)),
    };
    for fault in &files.faults {
        complain(fault);
    }
    if files.list.is_empty() {
        return Ok(nothing_to_do(
            "nothing to read: no file there is named like a log (.evtx .json .jsonl .ndjson .xml .log, packed too) or is one; \
             a file named itself is read whatever its name",
        ));
    }
    clock.lap("files found");

    // Files that cannot be written are told before the work is done, not after.
    let mut out = match &args.output {
        Some(path) => Output::file(path)?,
        None => Output::stdout(),
    };
    let html = args.html.as_deref().map(Output::file).transpose()?;
    let mut report = Report {
        logs: Vec::new(),
        tally: Tally::default(),
        incidents: Incidents::default(),
        worst: args.html.is_some().then(html::Worst::default),
        unreadable: files.faults.iter().take(html::UNREADABLE).cloned().collect(),
        totals: Totals {
            files_unreadable: files.faults.len() as u64,
            rules_loaded: catalog.len() as u64,
            rules_reported: catalog.reported() as u64,
            rules_not_loaded: loaded.faults.len() as u64,
            rules_unseen: unseen(&loaded.rules, context.sources()),
            ..Totals::default()
        },
    };
    if let Some(format) = format {
        out.write(&format.header())?;
    }
    work(args, &context, format, loaded, &catalog, &files, stop, &mut out, &mut report)?;
    out.flush()?;
    clock.lap("files read and matched");

    let Report { logs, tally, incidents, worst, totals, unreadable } = report;
    let took = clock.total();
    if let (Some(mut html), Some(worst)) = (html, &worst) {
        let page = html::Page {
            catalog: &catalog,
            tally: &tally,
            worst,
            logs: &logs,
            asked: &asked::asked(args),
            counts: &text::summary::counts(&totals, &tally, took),
            not_loaded: &loaded.faults,
            doubtful: &loaded.warnings,
            unreadable: &unreadable,
            unreadable_places: totals.unreadable + totals.files_unreadable,
        };
        html.write(&html::page(&page))?;
        html.flush()?;
        clock.lap("page written");
    }
    if format.is_some_and(lines::Format::needs_time) && tally.untimed > 0 {
        let n = counted(tally.untimed, "match");
        complain(&format!("{n} without a time left out: Timesketch has no place for them"));
    }
    // Standard output holds the matches only, if they go there.
    let stdout_is_taken = format.is_some() && args.output.is_none();
    let page = Page::of_terminal(args.verbose);
    if !stdout_is_taken && !(args.quiet && (format.is_some() || args.html.is_some())) {
        let text = text::table::table(page, &tally.computers(&catalog), &catalog);
        io::stdout().write_all(text.as_bytes())?;
    }
    if !args.quiet {
        let mut text = String::new();
        if !stdout_is_taken {
            text += &text::timeline::timeline(page, &tally.histogram, tally.untimed);
        }
        text += &incidents.text(page);
        text += &text::attack::attack(page, &tally::attack(&tally, &catalog));
        text += &text::summary::rules(page, &tally, &catalog);
        if args.stats {
            text += &stats::text(page, &clock, &totals, loaded);
        }
        text += &text::summary::summary(&totals, &tally, took);
        if stdout_is_taken {
            io::stderr().write_all(text.as_bytes())?;
        } else {
            io::stdout().write_all(text.as_bytes())?;
        }
    }
    if !loaded.faults.is_empty() {
        let n = loaded.faults.len() as u64;
        complain(&format!(
            "{} did not load, so nothing was looked for that only {}; `wardline rules lint` tells more",
            counted(n, "rule"),
            if n == 1 { "it finds" } else { "they find" }
        ));
    }
    if !loaded.rules.is_damaged() {
        loaded.keep_compiled();
    }
    if let Ok(Some((place, sources))) = sources.join() {
        place.keep(&[sources]);
    }
    if stop.load(Ordering::Relaxed) {
        complain("interrupted: the results are those of what was read until then");
        return Ok(INTERRUPTED);
    }
    if loaded.rules.is_damaged() {
        load::set_aside(&args.rules);
        complain(
            "the rules kept from an earlier run are damaged, and matches may be missing: they are set aside now, scan \
             again",
        );
        return Ok(FAILED);
    }
    Ok(if totals.all_was_read() { RAN } else { FAILED })
}

/// What the scan comes to.
struct Report {
    /// The names of the logs, in order.
    logs: Vec<Arc<str>>,
    tally: Tally,
    incidents: Incidents,
    /// The matches that a page shows one by one, if a page is written.
    worst: Option<html::Worst>,
    totals: Totals,
    /// The first things that could not be read, for the page.
    unreadable: Vec<String>,
}

impl Report {
    fn add(&mut self, catalog: &Catalog, log: usize, hit: Hit) {
        if let Some(worst) = &mut self.worst {
            worst.add(catalog, log, &hit);
        }
        self.tally.add(catalog, log, hit);
    }
}

/// Reads all files; matches are written and added up.
#[allow(clippy::too_many_arguments)]
fn work(
    args: &ScanArgs,
    context: &Context,
    format: Option<lines::Format>,
    loaded: &Loaded,
    catalog: &Catalog,
    files: &Files,
    stop: &AtomicBool,
    out: &mut Output,
    report: &mut Report,
) -> io::Result<()> {
    let bar = progress::bar(args.quiet, files.bytes());
    let progress = Progress::default();
    let records = args.record_filter();
    let threads = args.threads.map_or_else(cores, usize::from);
    let job = work::Job {
        rules: &loaded.rules,
        correlations: &loaded.correlations,
        catalog,
        files: &files.list,
        records: &records,
        format,
        keep_fields: args.html.is_some(),
        count_sources: args.stats,
        sources: context.sources(),
        recover: args.recover,
        fallback: args.log_source.as_ref(),
        errors_per_piece: if args.verbose { usize::MAX } else { 3 },
        threads,
        progress: &progress,
        stop,
    };
    let mut open: Option<Stats> = None;
    let mut told = 0;
    let mut correlating = Correlating::new(loaded.correlations.clone());
    let result = work::run(&job, &mut |message| {
        match message {
            None => progress::show(&bar, &progress, report.tally.total()),
            Some(Message::Log(name)) => {
                report.logs.push(name);
                open = Some(Stats::default());
                told = 0;
            }
            Some(Message::Matches(batch)) => {
                if !batch.lines.is_empty() {
                    bar.suspend(|| out.write(&batch.lines))?;
                }
                let log = report.logs.len() - 1;
                for hit in batch.hits {
                    report.add(catalog, log, hit);
                }
                for captured in batch.captured {
                    correlating.add(captured).map_err(|e| temporary(&e))?;
                }
            }
            Some(Message::Unreadable(text)) => {
                told += 1;
                if args.html.is_some() && report.unreadable.len() < html::UNREADABLE {
                    report.unreadable.push(text.clone());
                }
                if told <= job.errors_per_piece {
                    bar.suspend(|| complain(&text));
                }
            }
            Some(Message::Done(stats)) => {
                if let Some(open) = &mut open {
                    open.add(stats);
                }
            }
            Some(Message::End) => {
                let stats = open.take().unwrap_or_default();
                if let Some(more) =
                    stats.unreadable.checked_sub(job.errors_per_piece as u64).filter(|n| *n > 0)
                {
                    let name = report.logs.last().map_or("", |name| &**name);
                    bar.suspend(|| complain(&format!("{name}: … and {more} more; -v shows all")));
                }
                report.totals.add(stats);
            }
        }
        Ok(())
    });
    bar.finish_and_clear();
    report.totals.bytes = progress.bytes();
    report.totals.files_not_read += files.list.len().saturating_sub(progress.files()) as u64;
    if let Some(open) = open {
        report.totals.add(Stats { outcome: Outcome::Cut, ..open });
    }
    result?;
    let over = loaded.correlations.correlations();
    let given_up = correlating.finish(&mut |found| {
        let correlation = &over[found.found.correlation];
        let hit = incident::hit(catalog, correlation, &found, &report.logs);
        let rule = catalog.get(hit.rule);
        if !rule.reported {
            return Ok(());
        }
        if let Some(format) = format {
            let logs = &report.logs;
            let mut line = String::new();
            let incident = Incident { rule, correlation, found: &found, hit: &hit, catalog, logs };
            format.write_incident(&mut line, &incident);
            out.write(&line)?;
        }
        let log = found.events.first().map_or(0, |e| e.log);
        report.incidents.add(catalog, &hit, &found, &report.logs);
        report.add(catalog, log, hit);
        Ok(())
    })?;
    if given_up.evicted > 0 {
        complain(&format!(
            "correlations had to give up {} for want of memory: matches of theirs may be missing",
            counted(given_up.evicted, "group")
        ));
    }
    Ok(())
}

/// Says that it is the temporary file that could not be written.
fn temporary(e: &io::Error) -> io::Error {
    output::named(&format!("a temporary file in {}", std::env::temp_dir().display()), e)
}

/// Rules for which no known source writes events.
fn unseen(rules: &RuleSet, sources: &Sources) -> u64 {
    let mut rules_of: HashMap<&LogSource<'static>, u64> = HashMap::new();
    for rule in rules.rules() {
        *rules_of.entry(&rule.log_source).or_default() += 1;
    }
    rules_of.iter().filter(|(source, _)| sources.events_for(source).is_empty()).map(|(_, n)| n).sum()
}

fn cores() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}

fn nothing_to_do(why: &str) -> u8 {
    complain(why);
    NOTHING_TO_DO
}

/// Tells which rules did not load; the scan goes on without them.
fn report_faults(args: &ScanArgs, loaded: &Loaded) {
    const SHOWN: usize = 3;
    let shown = if args.verbose { usize::MAX } else { SHOWN };
    let tell = |faults: &[String], what: &str| {
        if faults.is_empty() {
            return;
        }
        complain(what);
        for fault in faults.iter().take(shown) {
            let _ = writeln!(io::stderr(), "  {}", printable(fault));
        }
        if faults.len() > shown {
            let _ = writeln!(io::stderr(), "  … and {} more; -v shows all", faults.len() - shown);
        }
    };
    let n = loaded.faults.len();
    let left_out = if n == 1 { "is left out" } else { "are left out" };
    tell(&loaded.faults, &format!("{} did not load and {left_out}:", counted(n as u64, "rule")));
    tell(&loaded.warnings, "doubtful in the rules, which are used all the same:");
}
