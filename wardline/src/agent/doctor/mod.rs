//! `wardline agent doctor`: how this machine's agent is, for a person.

mod checks;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use crate::data::Folder;
use crate::doctor::{Check, State, tell};

#[derive(Args)]
pub struct DoctorArgs {
    #[command(flatten)]
    folder: Folder,
    /// One JSON object on standard output
    #[arg(long)]
    json: bool,
}

/// The folder that is meant: the one given, or else that of the package if it is there, or the user's own.
fn folder(given: &Folder) -> anyhow::Result<PathBuf> {
    let packaged = PathBuf::from(super::PACKAGED);
    if given.is_default() && packaged.exists() {
        return Ok(packaged);
    }
    given.path("agent")
}

pub fn run(args: &DoctorArgs) -> anyhow::Result<ExitCode> {
    let folder = folder(&args.folder)?;
    let checks = checks::all(&folder);
    Ok(tell("agent", &folder.display().to_string(), &checks, args.json))
}
