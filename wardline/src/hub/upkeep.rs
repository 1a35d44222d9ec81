//! `wardline hub migrate`, `backup` and `restore`.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::Args;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::json;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::data::{self, Folder};
use crate::printable::printable;

pub const BACKUP_EXAMPLES: &str = "Examples:
  wardline hub backup /mnt/backup/hub-2027-01-12.backup --passphrase-file /root/backup-passphrase
  wardline hub backup hub.backup --without-keys";
pub const RESTORE_EXAMPLES: &str = "Examples:
  wardline hub restore hub.backup --data /var/lib/wardline/hub --passphrase-file /root/backup-passphrase
  wardline hub restore hub.backup --database postgres://wardline@db.example/wardline --passphrase-file p
  wardline hub restore hub.backup --check";

/// The option that names a database server.
#[derive(Args)]
pub struct Database {
    /// Keep the data on a PostgreSQL server instead of in the folder, which remembers it: postgres://ROLE@HOST/NAME; also from WARDLINE_DATABASE. The
    /// password comes from PGPASSWORD or the file PGPASSFILE; `?sslmode=verify-full&sslrootcert=FILE` asks for TLS
    #[arg(long, value_name = "URL")]
    database: Option<String>,
}

impl Database {
    pub fn url(&self) -> Option<String> {
        self.database
            .clone()
            .or_else(|| std::env::var("WARDLINE_DATABASE").ok())
            .filter(|url| !url.is_empty())
    }
}

#[derive(Args)]
pub struct MigrateArgs {
    #[command(flatten)]
    folder: Folder,
    #[command(flatten)]
    database: Database,
    /// Only tell which steps the database lacks: exit code 2 if there are any
    #[arg(long)]
    dry_run: bool,
    /// One JSON object on standard output
    #[arg(long)]
    json: bool,
}

pub async fn migrate(args: &MigrateArgs) -> anyhow::Result<ExitCode> {
    let folder = args.folder.path("hub")?;
    let steps = if args.dry_run {
        wardline_hub::lacking(&folder).await?
    } else {
        data::keep_private();
        wardline_hub::migrate(&folder, args.database.url().as_deref()).await?
    };
    if args.json {
        let steps: Vec<_> = steps
            .iter()
            .map(|step| json!({"capability": step.capability, "version": step.version, "name": step.name}))
            .collect();
        println!("{}", json!({"dry_run": args.dry_run, "steps": steps}));
    } else {
        for step in &steps {
            println!("{} {}: {}", step.capability, step.version, step.name);
        }
        match (steps.len(), args.dry_run) {
            (0, _) => println!("the database is of this version: nothing to do"),
            (n, true) => println!("{n} steps are missing; nothing was changed"),
            (n, false) => println!("{n} steps were taken"),
        }
    }
    Ok(if args.dry_run && !steps.is_empty() { ExitCode::from(2) } else { ExitCode::SUCCESS })
}

/// The first line of a file that holds a passphrase.
fn passphrase(file: &Path) -> anyhow::Result<String> {
    let text = std::fs::read_to_string(file)
        .with_context(|| format!("cannot read the passphrase in {}", file.display()))?;
    Ok(text.lines().next().unwrap_or_default().to_owned())
}

#[derive(Args)]
pub struct BackupArgs {
    #[command(flatten)]
    folder: Folder,
    /// The file to write; there must be none of this name
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Put the hub's keys into the backup, sealed with the passphrase in the first line of this file
    #[arg(long, value_name = "FILE", required_unless_present = "without_keys")]
    passphrase_file: Option<PathBuf>,
    /// Leave the hub's keys out: who restores it needs the folder `keys` as well
    #[arg(long, conflicts_with = "passphrase_file")]
    without_keys: bool,
    /// One JSON object on standard output
    #[arg(long)]
    json: bool,
}

pub async fn back_up(args: &BackupArgs) -> anyhow::Result<ExitCode> {
    data::keep_private();
    let folder = args.folder.path("hub")?;
    let passphrase = args.passphrase_file.as_deref().map(passphrase).transpose()?;
    let target = if std::io::stderr().is_terminal() {
        ProgressDrawTarget::stderr()
    } else {
        ProgressDrawTarget::hidden()
    };
    let bar = ProgressBar::with_draw_target(None, target);
    bar.set_style(ProgressStyle::with_template("{spinner} {human_pos} rows saved, {elapsed}")?);
    let made =
        wardline_hub::back_up(&folder, &args.file, passphrase.as_deref(), |rows| bar.set_position(rows))
            .await?;
    bar.finish_and_clear();
    let bytes = std::fs::metadata(&args.file).map(|file| file.len())?;
    if args.json {
        println!(
            "{}",
            json!({"file": args.file.display().to_string(), "bytes": bytes, "rows": made.rows(),
                   "tables": made.tables, "keys": made.keys, "made_ms": made.made.0})
        );
    } else {
        println!("{} rows in {} tables, {bytes} bytes", made.rows(), made.tables.len());
        if !made.keys {
            println!("the hub's keys are not in it: keep a copy of {}", folder.join("keys").display());
        }
    }
    Ok(ExitCode::SUCCESS)
}

#[derive(Args)]
pub struct RestoreArgs {
    /// The backup
    #[arg(value_name = "FILE")]
    file: PathBuf,
    #[command(flatten)]
    folder: Folder,
    #[command(flatten)]
    database: Database,
    /// A file with the passphrase that opens the hub's keys
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
    /// Only read the backup from its first to its last byte, and tell what is in it
    #[arg(long)]
    check: bool,
    /// One JSON object on standard output
    #[arg(long)]
    json: bool,
}

pub async fn restore(args: &RestoreArgs) -> anyhow::Result<ExitCode> {
    data::keep_private();
    let (found, audit) = if args.check {
        (wardline_hub::check_backup(&args.file)?, None)
    } else {
        let passphrase = args.passphrase_file.as_deref().map(passphrase).transpose()?;
        let (folder, url) = (args.folder.path("hub")?, args.database.url());
        let (found, audit) =
            wardline_hub::restore(&args.file, &folder, url.as_deref(), passphrase.as_deref()).await?;
        match audit {
            Ok(entries) => (found, Some(entries)),
            Err(broken) => bail!(
                "the hub was restored, and its audit log is not whole: {broken}; it was so when the backup was made"
            ),
        }
    };
    let made = OffsetDateTime::from_unix_timestamp(found.made.0 / 1000)?.format(&Rfc3339)?;
    if args.json {
        println!(
            "{}",
            json!({"organisation": found.organisation, "made_ms": found.made.0, "rows": found.rows(),
                   "tables": found.tables, "keys": found.keys, "audit_entries": audit, "restored": !args.check})
        );
        return Ok(ExitCode::SUCCESS);
    }
    println!(
        "backup of {}, made {made}: {} rows in {} tables, {}",
        printable(&found.organisation),
        found.rows(),
        found.tables.len(),
        if found.keys { "with the hub's keys, sealed" } else { "without the hub's keys" }
    );
    match audit {
        None => println!("it is whole; nothing was restored"),
        Some(entries) => println!("restored; the audit log is whole: {entries} entries"),
    }
    Ok(ExitCode::SUCCESS)
}
