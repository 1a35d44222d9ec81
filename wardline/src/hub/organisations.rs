//! `wardline hub organisations`: list, import.

use std::io::{IsTerminal, Read, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::{Args, Subcommand, ValueEnum};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use wardline_hub::organisations::{Fault, Format, Query};

use crate::data::Folder;
use crate::printable::printable;

#[derive(Subcommand)]
pub enum OrganisationsCommand {
    /// List the organisations that share this hub, with their ODS codes
    List(ListArgs),
    /// Import a register of organisations: a JSON array or CSV with ods, name and kind
    #[command(
        long_about = "Import a register of organisations: a JSON array or CSV with ods, name and kind, and, if \
        known, parent (or region: the ODS code of the organisation above), town, postcode and status.\n\n\
        Organisations are known again by their ODS code: importing the same register twice changes nothing. Entries whose \
        status is not Active are left out. If an entry is wrong, nothing is imported and every fault is told with its \
        line; --despite-faults imports the others."
    )]
    #[command(after_help = "Example:
  wardline hub organisations import organisations.csv --under E38000001")]
    Import(ImportArgs),
}

#[derive(Args)]
pub struct ListArgs {
    #[command(flatten)]
    folder: Folder,
    /// Only those whose name begins with this, or that have this ODS code
    #[arg(value_name = "TEXT")]
    text: Option<String>,
}

#[derive(Args)]
pub struct ImportArgs {
    #[command(flatten)]
    folder: Folder,
    /// The file; `-` reads standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// ODS code of the organisation below which those come that name none above them; the hub's own if not said
    #[arg(long, value_name = "ODS")]
    under: Option<String>,
    /// How the file is written; by its name if not said
    #[arg(long, value_enum)]
    format: Option<FormatArg>,
    /// Import what is right although some entries are wrong
    #[arg(long)]
    despite_faults: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum FormatArg {
    Json,
    Csv,
}

/// Bytes that are read at most, one more than an import takes, so that it can say that there are too many.
const MOST_BYTES: u64 = (64 << 20) + 1;
/// Faults that are told; the rest is counted.
const MOST_FAULTS: usize = 50;

pub async fn run(command: &OrganisationsCommand) -> anyhow::Result<ExitCode> {
    match command {
        OrganisationsCommand::List(args) => list(args).await,
        OrganisationsCommand::Import(args) => import(args).await,
    }
}

async fn list(args: &ListArgs) -> anyhow::Result<ExitCode> {
    let folder = args.folder.path("hub")?;
    let mut query = Query { text: args.text.clone(), limit: 500, ..Query::default() };
    let mut out = std::io::stdout().lock();
    loop {
        let page = wardline_hub::list_organisations(&folder, &query).await?;
        for o in &page.organisations {
            let ods = o.ods.as_deref().unwrap_or("-");
            writeln!(out, "{ods:<12} {:<12} {}", o.kind.as_str(), printable(&o.name))?;
        }
        let Some(next) = page.next else { return Ok(ExitCode::SUCCESS) };
        query.after = wardline_hub::organisations::Place::parse(&next);
    }
}

fn read(args: &ImportArgs) -> anyhow::Result<String> {
    let mut bytes = Vec::new();
    if args.file.as_os_str() == "-" {
        std::io::stdin().take(MOST_BYTES).read_to_end(&mut bytes).context("cannot read standard input")?;
    } else {
        let cannot = || format!("cannot read {}", args.file.display());
        std::fs::File::open(&args.file)
            .with_context(cannot)?
            .take(MOST_BYTES)
            .read_to_end(&mut bytes)
            .with_context(cannot)?;
    }
    String::from_utf8(bytes).map_err(|error| {
        let good = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = good.split(|byte| *byte == b'\n').count();
        anyhow::anyhow!(
            "{} is not UTF-8 (line {line}); save it as UTF-8, for example with `iconv -f WINDOWS-1252 -t UTF-8`",
            args.file.display()
        )
    })
}

async fn import(args: &ImportArgs) -> anyhow::Result<ExitCode> {
    let folder = args.folder.path("hub")?;
    let text = read(args)?;
    let format = match args.format {
        Some(FormatArg::Json) => Format::Json,
        Some(FormatArg::Csv) => Format::Csv,
        None => Format::guess(&args.file.to_string_lossy(), &text),
    };
    let bar = ProgressBar::with_draw_target(
        None,
        if std::io::stderr().is_terminal() {
            ProgressDrawTarget::stderr()
        } else {
            ProgressDrawTarget::hidden()
        },
    );
    bar.set_style(ProgressStyle::with_template("{spinner} {pos} organisations imported, {elapsed}")?);
    let (under, despite) = (args.under.as_deref(), args.despite_faults);
    let progress = |done| bar.set_position(done as u64);
    let done = wardline_hub::import_organisations(&folder, &text, format, under, despite, progress);
    let (plan, imported) = done.await?;
    bar.finish_and_clear();
    tell_faults(&plan.faults, format);
    if plan.inactive > 0 {
        println!("left out because they are not active: {}", plan.inactive);
    }
    match imported {
        Some(i) => {
            println!("added {}, changed {}, moved {}, as before {}", i.added, i.changed, i.moved, i.same);
        }
        None => println!(
            "nothing was imported: {} of {} entries are wrong; mend them, or import the others with --despite-faults",
            plan.faults.len(),
            plan.faults.len() + plan.rows.len()
        ),
    }
    Ok(if plan.faults.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn tell_faults(faults: &[Fault], format: Format) {
    let place = match format {
        Format::Json => "entry",
        Format::Csv => "line",
    };
    for fault in faults.iter().take(MOST_FAULTS) {
        eprintln!("{place} {}: {}", fault.at, printable(&fault.what));
    }
    if let Some(more @ 1..) = faults.len().checked_sub(MOST_FAULTS) {
        eprintln!("and {more} more");
    }
}
