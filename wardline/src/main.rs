//! The `wardline` command.

mod scan;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Wardline sees an attack on the machine where it happens and stops it there.
#[derive(Parser)]
#[command(version, about, propagate_version = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Match Sigma rules against log files: EVTX, JSON, XML, auditd, Sysmon for Linux
    Scan(scan::ScanArgs),
}

fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Scan(args) => scan::run(&args),
    }
}
