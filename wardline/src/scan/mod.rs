//! `wardline scan`: Sigma rules over log files.

mod collect;
mod json;
mod summary;
mod table;
mod work;

use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use wardline_event::{LogSource, Severity};

use collect::Files;
use summary::Totals;
use work::{Message, Progress, Style};

use crate::printable::printable;
use crate::rules::load::{self, Loaded};

/// Everything that was asked for was read.
const RAN: u8 = 0;
/// Something could not be read.
const UNREADABLE: u8 = 1;
/// There is nothing to do: no such path, no log, no rule.
const NOTHING_TO_DO: u8 = 2;

const EXAMPLES: &str = "\
Examples:
  wardline scan /evidence/ward-pc-7
      Every log in the folder, against Wardline's own rules.
  wardline scan C:/logs/Security.evtx --rules sigma/rules --level high
      One event log, against rules of yours, from level high up.
  wardline scan /var/log/audit/audit.log --json | jq -r .rule_title | sort | uniq -c
      Linux audit records; one JSON object for each match.

Reads EVTX, JSON lines and arrays (flat, winlogbeat, EvtxECmd, evtx dumps), Windows events as XML, Sysmon for \
Linux (syslog or XML) and auditd text. The format is told by the content, not by the name.

Exit code: 0 everything was read; 1 something could not be read (it is named on standard error, the rest was \
scanned); 2 wrong usage, or nothing to read, or no rule to read it with. Matches do not change the exit code.";

/// Match Sigma rules against log files.
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct ScanArgs {
    /// Log files, or folders that are searched for them
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Rules: a file or a folder of .yml files; may be given several times [default: Wardline's own rules]
    #[arg(short, long, value_name = "PATH")]
    rules: Vec<PathBuf>,
    /// Only rules of this level and above
    #[arg(short, long, value_name = "LEVEL", default_value = "informational", value_parser = parse_level)]
    level: Severity,
    /// One JSON object for each match, instead of the table
    #[arg(short, long)]
    json: bool,
    /// What a record is whose log source cannot be told, in Sigma's terms: PRODUCT/CATEGORY/SERVICE (each may be
    /// empty), for example linux/process_creation/
    #[arg(long, value_name = "SOURCE", value_parser = parse_source)]
    log_source: Option<LogSource<'static>>,
    /// No progress and no summary: only matches, and what could not be read
    #[arg(short, long)]
    quiet: bool,
    /// Every match, every unreadable record and every rule that did not load, not only the first of a kind
    #[arg(short, long, conflicts_with = "quiet")]
    verbose: bool,
}

fn parse_level(text: &str) -> Result<Severity, String> {
    Severity::parse(text).ok_or_else(|| {
        let all: Vec<_> = Severity::ALL.iter().map(|s| s.as_str()).collect();
        format!("expected one of {}", all.join(", "))
    })
}

fn parse_source(text: &str) -> Result<LogSource<'static>, String> {
    let parts: Vec<String> = text.split('/').map(str::to_owned).collect();
    let Ok([product, category, service]) = <[String; 3]>::try_from(parts) else {
        return Err("expected PRODUCT/CATEGORY/SERVICE, for example linux/process_creation/".to_owned());
    };
    Ok(LogSource { product: product.into(), category: category.into(), service: service.into() })
}

/// Runs `wardline scan`.
pub fn run(args: &ScanArgs) -> ExitCode {
    match scan(args) {
        Ok(code) => ExitCode::from(code),
        // Whoever reads our output has seen enough.
        Err(e) if e.kind() == io::ErrorKind::BrokenPipe => ExitCode::from(RAN),
        Err(e) => {
            complain(&format!("the results could not be written: {e}"));
            ExitCode::from(UNREADABLE)
        }
    }
}

/// Says something on standard error; file names and log content in it may be hostile.
fn complain(text: &str) {
    let _ = writeln!(io::stderr(), "wardline scan: {}", printable(text));
}

fn scan(args: &ScanArgs) -> io::Result<u8> {
    let started = Instant::now();
    let loaded = load::load(&args.rules, args.level);
    report_faults(args, &loaded);
    if loaded.rules.rules().is_empty() {
        complain("no rule to scan with: name files or folders of Sigma rules with --rules");
        return Ok(NOTHING_TO_DO);
    }
    let files = match Files::collect(&args.paths) {
        Ok(files) => files,
        Err(e) => {
            complain(&e);
            return Ok(NOTHING_TO_DO);
        }
    };
    let mut totals = Totals::new(&loaded, files.faults.len() as u64);
    for fault in &files.faults {
        complain(fault);
    }
    if files.list.is_empty() {
        complain(
            "nothing to read: no file there is named like a log (.evtx .json .jsonl .ndjson .xml .log) or is one; \
             a file named itself is read whatever its name",
        );
        return Ok(NOTHING_TO_DO);
    }
    let style = match (args.json, args.verbose) {
        (true, _) => Style::Json,
        (false, true) => Style::Every,
        (false, false) => Style::Grouped,
    };
    let mut out = io::BufWriter::new(io::stdout());
    let bar = progress_bar(args, files.bytes());
    let progress = Progress::default();
    let layout = table::Layout::of_terminal();
    let job = work::Job {
        rules: &loaded.rules,
        files: &files.list,
        style,
        fallback: args.log_source.as_ref(),
        errors_per_file: if args.verbose { usize::MAX } else { 3 },
        progress: &progress,
    };
    let mut heading = false;
    let scanned = work::run(&job, &mut |file, message| {
        match message {
            None => {
                bar.set_position(progress.bytes().min(bar.length().unwrap_or(0)));
                bar.set_message(format!("{} records", summary::thousands(progress.records())));
            }
            Some(Message::Json(lines)) => bar.suspend(|| out.write_all(lines.as_bytes()))?,
            Some(Message::Unreadable(text)) => {
                bar.suspend(|| out.flush())?;
                bar.suspend(|| complain(&text));
            }
            Some(Message::Rows(rows)) => {
                if !heading {
                    heading = true;
                    bar.suspend(|| out.write_all(layout.heading().as_bytes()))?;
                }
                let text = layout.file(&file.shown, &rows, &loaded.rules);
                bar.suspend(|| out.write_all(text.as_bytes()).and_then(|()| out.flush()))?;
            }
            Some(Message::Done(stats)) => totals.add(&stats),
        }
        Ok(())
    });
    bar.finish_and_clear();
    scanned?;
    out.flush()?;
    if !args.quiet {
        let text = totals.text(&loaded, started.elapsed(), args.verbose);
        if args.json {
            // Standard output holds the matches only.
            io::stderr().write_all(text.as_bytes())?;
        } else {
            io::stdout().write_all(text.as_bytes())?;
        }
    }
    Ok(if totals.all_was_read() { RAN } else { UNREADABLE })
}

/// Tells which rules did not load; the scan goes on without them.
fn report_faults(args: &ScanArgs, loaded: &Loaded) {
    const SHOWN: usize = 3;
    if loaded.faults.is_empty() || args.quiet {
        return;
    }
    let shown = if args.verbose { usize::MAX } else { SHOWN };
    let n = loaded.faults.len();
    complain(&format!(
        "{n} {} did not load and {} left out:",
        plural(n, "rule"),
        if n == 1 { "is" } else { "are" }
    ));
    for fault in loaded.faults.iter().take(shown) {
        let _ = writeln!(io::stderr(), "  {}", printable(fault));
    }
    if n > shown {
        let _ = writeln!(io::stderr(), "  … and {} more; -v shows all", n - shown);
    }
}

fn plural(n: usize, noun: &str) -> String {
    if n == 1 { noun.to_owned() } else { format!("{noun}s") }
}

/// A bar on a terminal; nothing when standard error goes elsewhere.
fn progress_bar(args: &ScanArgs, bytes: u64) -> ProgressBar {
    if args.quiet || !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::with_draw_target(Some(bytes), ProgressDrawTarget::stderr_with_hz(10));
    let template = "{bar:24} {percent:>3}%  {binary_bytes} of {binary_total_bytes}  {binary_bytes_per_sec}  {msg}  {eta} left";
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style.progress_chars("━╸ "));
    }
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}
