//! `wardline verify`: proofs that need nobody's word.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use serde_json::json;
use wardline_event::Timestamp;
use wardline_hub::audit_copy::{Checker, Ends, Fault, LONGEST_LINE, Report};

use crate::data::{self, Folder};
use crate::logging;
use crate::printable::printable;

#[derive(Subcommand)]
pub enum VerifyCommand {
    /// Check an audit log: exit code 1 if an entry was changed, removed, moved or added
    #[command(
        long_about = "Check an audit log: exit code 1 if an entry was changed, removed, moved or added, and which is the \
        first.\n\nA FILE is a copy that `wardline hub audit export` or the console has made; it is checked without the \
        hub. Without FILE the log of the hub on this machine is checked in its database."
    )]
    #[command(after_help = "Examples:
  wardline verify audit                                    the log of the hub on this machine
  wardline verify audit audit.jsonl --key 4f1c…            a copy; the key as the hub's owner gave it to you
  wardline verify audit december.jsonl --earlier june.jsonl   also: nothing was taken out since June")]
    Audit(AuditArgs),
}

#[derive(Args)]
pub struct AuditArgs {
    /// The copy; `-` reads standard input
    #[arg(value_name = "FILE", conflicts_with = "data")]
    file: Option<PathBuf>,
    #[command(flatten)]
    folder: Folder,
    /// The key that must have signed it, 64 hexadecimal digits (`wardline hub audit key` shows it)
    #[arg(long, value_name = "KEY", requires = "file")]
    key: Option<String>,
    /// A copy from before: everything in it must be in this one too
    #[arg(long, value_name = "FILE", requires = "file")]
    earlier: Option<PathBuf>,
    /// Print the verdict as JSON
    #[arg(long)]
    json: bool,
}

pub fn run(command: &VerifyCommand) -> anyhow::Result<ExitCode> {
    let VerifyCommand::Audit(args) = command;
    logging::start(false);
    match &args.file {
        Some(file) => copy(args, file),
        None => database(args),
    }
}

/// The verdict for people or for programs.
fn tell(args: &AuditArgs, broken: Option<&str>, facts: &serde_json::Value, good: &str) -> ExitCode {
    if args.json {
        let mut verdict = json!({"whole": broken.is_none(), "broken": broken});
        if let (Some(verdict), Some(facts)) = (verdict.as_object_mut(), facts.as_object()) {
            verdict.extend(facts.clone());
        }
        println!("{verdict}");
    } else if let Some(broken) = broken {
        println!("the audit log was tampered with or damaged: {}", printable(broken));
    } else {
        println!("{good}");
    }
    if broken.is_none() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn database(args: &AuditArgs) -> anyhow::Result<ExitCode> {
    let verdict = data::runtime()?.block_on(wardline_hub::verify_audit(&args.folder.path("hub")?))?;
    Ok(match verdict {
        Ok(entries) => {
            let good = format!("the audit log is whole: {entries} entries");
            tell(args, None, &json!({"entries": entries}), &good)
        }
        Err(broken) => tell(args, Some(&broken.to_string()), &json!({}), ""),
    })
}

fn copy(args: &AuditArgs, file: &Path) -> anyhow::Result<ExitCode> {
    let key = args.key.as_deref().map(str::trim);
    if let Some(key) = key
        && wardline_event::unhex(key).is_none_or(|bytes| bytes.len() != 32)
    {
        bail!("--key takes 64 hexadecimal digits, as `wardline hub audit key` shows them");
    }
    let earlier = match &args.earlier {
        Some(earlier) => {
            check(earlier, key, Ends::new())?
                .with_context(|| format!("the earlier copy {} does not prove itself", earlier.display()))?
                .ends
        }
        None => Ends::new(),
    };
    Ok(match check(file, key, earlier)? {
        Ok(report) => {
            let made = Timestamp(report.made_ms);
            let mut good = format!(
                "the audit log is whole ({} entries, {} chains, {} checkpoints), copied at {made} from {}",
                report.entries,
                report.ends.len(),
                report.checkpoints,
                printable(&report.head.organisation),
            );
            if key.is_none() {
                good.push_str("\nsigned by the key ");
                good.push_str(&report.head.key);
                good.push_str(
                    ": compare it with the one that the hub's owner gave you, or name that with --key",
                );
            }
            let facts = json!({"entries": report.entries, "chains": report.ends.len(), "key": report.head.key,
                               "checkpoints": report.checkpoints, "made_ms": report.made_ms,
                               "key_was_given": key.is_some(), "hub": report.head.hub});
            tell(args, None, &facts, &good)
        }
        Err(fault) => tell(args, Some(&fault.to_string()), &json!({}), ""),
    })
}

/// Checks a file: outside, whether it could be read; inside, whether it proves itself.
fn check(file: &Path, key: Option<&str>, earlier: Ends) -> anyhow::Result<Result<Report, Fault>> {
    let cannot = || format!("cannot read {}", file.display());
    let mut reader: Box<dyn BufRead> = if file.as_os_str() == "-" {
        Box::new(std::io::stdin().lock())
    } else {
        Box::new(BufReader::new(File::open(file).with_context(cannot)?))
    };
    let mut checker = Checker::new(key.map(str::to_owned), earlier);
    let mut line = Vec::new();
    loop {
        line.clear();
        // One byte more than a line may have: the checker says that it is too long.
        let mut limited = reader.by_ref().take(LONGEST_LINE as u64 + 1);
        if limited.read_until(b'\n', &mut line).with_context(cannot)? == 0 {
            return Ok(checker.finish());
        }
        if let Err(fault) = checker.push(&line) {
            return Ok(Err(fault));
        }
    }
}
