//! `wardline agent status` and `wardline agent release`: what is contained on this machine, and how it ends.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::Args;
use serde_json::{Value, json};
use wardline_agent::clock::{Clock, SystemClock};
use wardline_respond::linux::{LocalRelease, note, release_local};
use wardline_respond::{
    ContainError, Due, Holds, LinuxResponder, Protected, Record, Responder, Rung, due, record,
};

use crate::data;
use crate::printable::printable;

#[derive(Args)]
pub struct ReleaseArgs {
    /// The agent's folder, or the one of `wardline up` [default: the folder of the agent that contained this machine]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// At this machine (the only way there is: from afar, use the console)
    #[arg(long, required = true)]
    local: bool,
    /// Only these: isolation, east-west, logons, process/KEY
    #[arg(long, value_name = "WHAT", value_delimiter = ',')]
    only: Vec<Rung>,
}

#[derive(Args)]
pub struct StatusArgs {
    /// The agent's folder, or the one of `wardline up` [default: the folder of the agent that contained this machine]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// As JSON
    #[arg(long)]
    json: bool,
}

/// A containment as people call it.
pub fn in_words(rung: &Rung) -> String {
    match rung {
        Rung::Process(key) => format!("the network cut of process {}", key.pid),
        Rung::EastWest => "the cut of SMB, RDP, SSH and WinRM".to_owned(),
        Rung::Isolation => "the isolation of this machine".to_owned(),
        Rung::Logons => "the suspension of logons".to_owned(),
    }
}

/// What a person has back once it has ended.
fn is_back(rung: &Rung) -> String {
    match rung {
        Rung::Process(key) => format!("process {} has its network again", key.pid),
        Rung::EastWest => "SMB, RDP, SSH and WinRM are open again".to_owned(),
        Rung::Isolation => "the network is open again".to_owned(),
        Rung::Logons => "everybody may log on again".to_owned(),
    }
}

/// The agent's folder: the one given (that of `wardline up` holds the agent's), else the one that was noted.
fn folder(given: Option<&Path>) -> anyhow::Result<PathBuf> {
    Ok(match (given, note::find()) {
        (Some(given), _) if record::recorded(given).is_empty() && given.join("agent").is_dir() => {
            given.join("agent")
        }
        (Some(given), _) => given.to_owned(),
        (None, Some(noted)) => noted,
        (None, None) => own_folder()?,
    })
}

/// The folder of the packaged agent if it is there, or the user's own.
pub fn own_folder() -> anyhow::Result<PathBuf> {
    let packaged = PathBuf::from(crate::agent::PACKAGED);
    if packaged.is_dir() { Ok(packaged) } else { Ok(data::folder(None)?.join("agent")) }
}

fn responder() -> anyhow::Result<LinuxResponder> {
    LinuxResponder::new(Protected::default()).context("reading /proc")
}

/// Undoes what is contained. Fails if it will not last, because it is not of this folder.
pub fn release(args: &ReleaseArgs) -> anyhow::Result<ExitCode> {
    let (noted, path) = (note::find(), folder(args.data.as_deref())?);
    let by = std::env::var("SUDO_USER").or_else(|_| std::env::var("USER")).unwrap_or_default();
    let by = if by.is_empty() { "someone at the machine".to_owned() } else { format!("{by} at the machine") };
    let only = (!args.only.is_empty()).then_some(args.only.as_slice());
    let done = release_local(&mut responder()?, &path, SystemClock.now(), &by, only);
    for release in done.iter().filter(|release| release.was_in_force && release.trouble.is_none()) {
        println!("released: {}", is_back(&release.rung));
    }
    let mut troubles = Vec::new();
    let mut any = false;
    for LocalRelease { rung, was_in_force, lasts, trouble } in done {
        any |= was_in_force;
        if let Some(trouble) = trouble {
            troubles.push(anyhow::Error::new(trouble).context(format!("releasing {}", in_words(&rung))));
        } else if !lasts {
            let hint = noted.as_ref().map(|of| format!(" {}", of.display())).unwrap_or_default();
            bail!(
                "no {rung} record in {}; the agent that contained this machine will do it again within seconds; name its folder with --data{hint}",
                path.display()
            );
        }
    }
    let mut troubles = troubles.into_iter();
    if let Some(first) = troubles.next() {
        for other in troubles {
            eprintln!("wardline: {other:#}");
        }
        return Err(first);
    }
    if !any {
        println!("nothing was contained: this machine was not isolated");
    }
    Ok(ExitCode::SUCCESS)
}

/// What the kernel says; unknown without the right to ask.
fn in_force(responder: &mut LinuxResponder, record: &Record) -> Result<bool, ContainError> {
    responder.holds(&record.measure).map(|holds| holds == Holds::Yes)
}

pub fn status(args: &StatusArgs) -> anyhow::Result<()> {
    let path = folder(args.data.as_deref())?;
    let (now, mut responder) = (SystemClock.now(), responder()?);
    let (mut told, mut faults) = (Vec::new(), Vec::new());
    for rung in record::recorded(&path) {
        match record::load(&path, &rung) {
            Ok(Some(record)) if due(&record, now) == Due::Keep => {
                let holds = in_force(&mut responder, &record);
                if let Err(error) = &holds {
                    faults.push(format!("whether {} is in force is unknown: {error}", in_words(&rung)));
                }
                told.push((record, holds.ok()));
            }
            Ok(_) => {}
            Err(error) => faults.push(error.to_string()),
        }
    }
    if args.json {
        let containments: Vec<Value> = told.iter().map(|(record, holds)| as_json(record, *holds)).collect();
        let out = json!({"folder": path.to_string_lossy(), "containments": containments, "faults": faults});
        println!("{out:#}");
        return Ok(());
    }
    if told.is_empty() {
        println!("Nothing is contained on this machine.");
    }
    for (record, holds) in &told {
        let state = match holds {
            Some(true) => "in force",
            Some(false) => {
                "NOT in force: somebody has undone it, or no agent runs; an agent restores it within seconds"
            }
            None => "ordered; ask as root whether it is in force",
        };
        println!("{}: {state}", in_words(&record.rung()));
        println!("  until {}, since {}", record.expires, record.since);
        println!("  by order of {}: {}", printable(&record.by), printable(&record.reason));
        for flow in record.measure.kept() {
            println!("  stays open: {} ({flow}), because {}", printable(&flow.name), printable(&flow.reason));
        }
    }
    if !told.is_empty() {
        println!("To end all of it at this machine: sudo wardline agent release --local");
    }
    for fault in &faults {
        eprintln!("wardline: {fault}");
    }
    Ok(())
}

fn as_json(record: &Record, holds: Option<bool>) -> Value {
    json!({
        "rung": record.rung(),
        "in_force": holds,
        "since": record.since.to_string(),
        "expires": record.expires.to_string(),
        "by": record.by,
        "reason": record.reason,
        "action": record.action_id,
        "keeps": record.measure.kept(),
    })
}
