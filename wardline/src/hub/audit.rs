//! `wardline hub audit`: export, key.

use std::fs::File;
use std::io::{BufWriter, IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::{Args, Subcommand};

use crate::data::Folder;

#[derive(Subcommand)]
pub enum AuditCommand {
    /// Write a signed copy of the whole audit log, which proves itself without the hub
    #[command(after_help = "Examples:
  wardline hub audit export audit.jsonl
  wardline verify audit audit.jsonl --key $(wardline hub audit key)")]
    Export(ExportArgs),
    /// Show the public key that signs the log: give it to whoever inspects
    Key(Folder),
}

#[derive(Args)]
pub struct ExportArgs {
    #[command(flatten)]
    folder: Folder,
    /// The file to write, which must not be there yet; `-` writes to standard output
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

pub async fn run(command: &AuditCommand) -> anyhow::Result<ExitCode> {
    match command {
        AuditCommand::Key(folder) => {
            println!("{}", wardline_hub::audit_key(&folder.path("hub")?).await?);
            Ok(ExitCode::SUCCESS)
        }
        AuditCommand::Export(args) => export(args).await,
    }
}

async fn export(args: &ExportArgs) -> anyhow::Result<ExitCode> {
    let folder = args.folder.path("hub")?;
    if args.file.as_os_str() == "-" {
        let mut out = std::io::stdout().lock();
        wardline_hub::export_audit(&folder, |piece| out.write_all(piece.as_bytes())).await?;
        return Ok(ExitCode::SUCCESS);
    }
    let cannot = || format!("cannot write {}: name a file that is not there yet", args.file.display());
    let mut out = BufWriter::new(File::create_new(&args.file).with_context(cannot)?);
    let done = wardline_hub::export_audit(&folder, |piece| out.write_all(piece.as_bytes())).await;
    let written = done.map_err(anyhow::Error::from).and_then(|entries| {
        out.into_inner().map_err(std::io::IntoInnerError::into_error)?.sync_all()?;
        Ok(entries)
    });
    let entries = match written {
        Ok(entries) => entries,
        Err(error) => {
            // Half a copy is none. That it cannot be removed either changes nothing about the error.
            let _ = std::fs::remove_file(&args.file);
            return Err(error);
        }
    };
    if std::io::stdout().is_terminal() {
        println!("{entries} entries in {}", args.file.display());
    }
    Ok(ExitCode::SUCCESS)
}
