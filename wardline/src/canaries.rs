//! `wardline agent canaries`: the files that nobody has reason to change.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use serde_json::{Value, json};
use wardline_ransomware::canary;

use crate::printable::printable;

#[derive(Args)]
pub struct CanariesArgs {
    /// Take all of them away. A running agent whose policy asks for them plants them again
    #[arg(long)]
    remove: bool,
    /// The agent's folder, or the one of `wardline up` [default: this machine's]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// As JSON
    #[arg(long)]
    json: bool,
}

pub fn run(args: &CanariesArgs) -> anyhow::Result<ExitCode> {
    let folder = match &args.data {
        Some(given) if given.join("agent").is_dir() => given.join("agent"),
        Some(given) => given.clone(),
        None => crate::containment::own_folder()?,
    };
    if args.remove {
        let (_, changed) = canary::plant(&folder, &[]);
        if args.json {
            println!("{:#}", json!({"removed": changed.removed, "trouble": changed.trouble}));
        } else {
            println!("{} canary files taken away", changed.removed);
            for trouble in &changed.trouble {
                eprintln!("wardline: {}", printable(trouble));
            }
        }
        return Ok(if changed.trouble.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(2) });
    }
    let planted = canary::planted(&folder);
    if args.json {
        let one = |c: &canary::Canary| json!({"path": c.path().to_string_lossy(), "whole": c.is_whole()});
        println!("{:#}", json!({"canaries": planted.iter().map(one).collect::<Vec<Value>>()}));
        return Ok(ExitCode::SUCCESS);
    }
    for canary in &planted {
        let state = if canary.is_whole() { "" } else { "  (gone or changed)" };
        println!("{}{state}", printable(&canary.path().to_string_lossy()));
    }
    println!("{} canary files", planted.len());
    Ok(ExitCode::SUCCESS)
}
