//! The `wardline` command.

mod agent;
mod canaries;
mod containment;
mod data;
mod demo;
mod doctor;
mod drill;
mod hub;
mod logging;
mod printable;
mod quarantine;
mod ransomware;
mod rules;
mod scan;
mod undo;
mod up;
mod verify;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Wardline sees an attack on the machine where it happens and stops it there.
#[derive(Parser)]
#[command(version, propagate_version = true, after_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "Examples:
  wardline up                      a hub, this machine's agent and the console; Ctrl-C ends them
  wardline demo                    a made-up trust under attack: no root, no network, nothing real is touched
  wardline drill                   a harmless process that looks like an attack, to see it stopped
  wardline scan /evidence --json   the same rules over log files
  wardline agent release --local   undo all containment at the machine, without a network";

#[derive(Subcommand)]
enum Command {
    /// Start a hub, an agent on this machine and the console, in the foreground
    Up(up::UpArgs),
    /// Show a scripted attack on a simulated trust, in the console and in figures
    Demo(demo::DemoArgs),
    /// Start a harmless process that looks like an attack, and see what becomes of it
    Drill(drill::DrillArgs),
    /// Match Sigma rules against log files: EVTX, JSON, XML, auditd, Sysmon for Linux
    Scan(Box<scan::ScanArgs>),
    /// List, show and check detection rules
    #[command(subcommand)]
    Rules(rules::RulesCommand),
    /// The agent on this machine: enrol, run, status, release
    #[command(subcommand)]
    Agent(agent::AgentCommand),
    /// A hub: run, sign-in links, enrolment tokens, audit
    #[command(subcommand)]
    Hub(hub::HubCommand),
    /// Check what proves itself: an audit log
    #[command(subcommand)]
    Verify(verify::VerifyCommand),
}

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Scan(args) => return scan::run(&args),
        Command::Rules(command) => return rules::run(&command),
        Command::Drill(args) => drill::run(&args),
        Command::Up(args) => up::run(&args),
        Command::Demo(args) => demo::run(&args),
        Command::Agent(command) => agent::run(&command),
        Command::Hub(command) => hub::run(&command),
        Command::Verify(command) => verify::run(&command),
    };
    match result {
        Ok(code) => code,
        Err(error) => {
            // Each cause on a line of its own: what happened, to what, why.
            eprintln!("wardline: {error}");
            for cause in error.chain().skip(1) {
                eprintln!("  because: {cause}");
            }
            ExitCode::FAILURE
        }
    }
}
