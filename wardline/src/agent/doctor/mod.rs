//! `wardline agent doctor`: how this machine's agent is, for a person.

mod checks;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use serde::Serialize;

use crate::data::Folder;
use crate::printable::printable;

#[derive(Args)]
pub struct DoctorArgs {
    #[command(flatten)]
    folder: Folder,
    /// One JSON object on standard output
    #[arg(long)]
    json: bool,
}

/// What a check found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// As it should be.
    Good,
    /// It cannot be said.
    Unknown,
    /// Something is missing, and the agent protects all the same.
    Degraded,
    /// This machine is not protected, or will not be for long.
    Fault,
}

/// One check.
#[derive(Clone, Debug, Serialize)]
pub struct Check {
    pub name: &'static str,
    pub state: State,
    /// What was found.
    pub what: String,
    /// Why it matters.
    pub why: &'static str,
    /// What to do; empty if nothing.
    #[serde(rename = "do")]
    pub mend: String,
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
    let worst = checks.iter().map(|check| check.state).max().unwrap_or(State::Unknown);
    if args.json {
        let json =
            serde_json::json!({"folder": folder.display().to_string(), "state": worst, "checks": checks});
        println!("{json}");
    } else {
        println!("The agent of {}:\n", folder.display());
        for check in &checks {
            let mark = match check.state {
                State::Good => "✓",
                State::Unknown => "?",
                State::Degraded => "!",
                State::Fault => "✗",
            };
            println!("{mark} {}: {}", check.name, printable(&check.what));
            if check.state > State::Good {
                println!("    why it matters: {}", check.why);
                if !check.mend.is_empty() {
                    println!("    what to do: {}", printable(&check.mend));
                }
            }
        }
        let count = |state| checks.iter().filter(|check| check.state == state).count();
        println!(
            "\n{} checks: {} faults, {} degraded, {} unknown.",
            checks.len(),
            count(State::Fault),
            count(State::Degraded),
            count(State::Unknown)
        );
    }
    Ok(match worst {
        State::Good | State::Unknown => ExitCode::SUCCESS,
        State::Degraded => ExitCode::from(2),
        State::Fault => ExitCode::FAILURE,
    })
}
