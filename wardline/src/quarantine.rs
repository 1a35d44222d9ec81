//! `wardline agent quarantine`: files that are kept where they harm nobody.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use wardline_agent::clock::{Clock, SystemClock};
use wardline_respond::linux::quarantine::{FOLDER, LIMIT, Store};
use wardline_respond::quarantine::Manifest;

use crate::data;
use crate::printable::printable;

#[derive(Args)]
#[command(after_help = "Examples:
  sudo wardline agent quarantine add /tmp/payload --reason 'seen on ward 3'
  sudo wardline agent quarantine list
  sudo wardline agent quarantine restore 0f1e2d3c4b5a6978")]
pub struct QuarantineArgs {
    #[command(subcommand)]
    command: QuarantineCommand,
    /// The agent's folder, or the one of `wardline up` [default: this machine's]
    #[arg(long, value_name = "DIR", global = true)]
    data: Option<PathBuf>,
    /// As JSON
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Subcommand)]
enum QuarantineCommand {
    /// Move a file into quarantine
    Add {
        /// The file
        path: PathBuf,
        /// Why, for whoever finds it there
        #[arg(long)]
        reason: String,
    },
    /// What is in quarantine
    List,
    /// All that is known of one file
    Show {
        /// Its id, from `list`
        id: String,
    },
    /// Give a file back as it was; nothing is overwritten
    Restore {
        /// Its id, from `list`
        id: String,
        /// To another path than its old one
        #[arg(long, value_name = "PATH")]
        to: Option<PathBuf>,
    },
    /// Destroy a file in quarantine, for ever
    Purge {
        /// Its id, from `list`
        id: String,
    },
}

fn folder(given: Option<&Path>) -> anyhow::Result<PathBuf> {
    let agent = |path: PathBuf| {
        let below = path.join("agent");
        if path.join(FOLDER).is_dir() || !below.is_dir() { path } else { below }
    };
    Ok(match given {
        Some(given) => agent(given.to_owned()),
        None => crate::containment::own_folder()?,
    })
}

pub fn run(args: &QuarantineArgs) -> anyhow::Result<()> {
    let folder = folder(args.data.as_deref())?;
    let adds = matches!(args.command, QuarantineCommand::Add { .. });
    if !adds && !folder.join(FOLDER).is_dir() {
        bail!("there is no quarantine in {}; name the agent's folder with --data", folder.display());
    }
    data::keep_private();
    let store = Store::open(&folder, LIMIT)?;
    match &args.command {
        QuarantineCommand::Add { path, reason } => {
            if reason.trim().is_empty() {
                bail!("taking a file needs a reason that others can read later");
            }
            let path = std::path::absolute(path).context("finding the file")?;
            let user = std::env::var("SUDO_USER").or_else(|_| std::env::var("USER")).unwrap_or_default();
            let by = if user.is_empty() { "someone at the machine" } else { user.as_str() };
            let taken = store.take(&path, by, reason, SystemClock.now())?;
            if args.json {
                let mut told = as_json(&taken.manifest);
                told["still_open_in"] = json!(taken.holders);
                println!("{told:#}");
            } else {
                println!("{}", printable(&taken.in_words()));
            }
        }
        QuarantineCommand::List => list(&store, args.json),
        QuarantineCommand::Show { id } => {
            let manifest = store.show(id)?;
            if args.json { println!("{:#}", as_json(&manifest)) } else { show(&manifest) }
        }
        QuarantineCommand::Restore { id, to } => {
            let to = to.as_deref().map(std::path::absolute).transpose().context("finding the place")?;
            let path = store.restore(id, to.as_deref())?;
            say(args.json, "restored", &path.to_string_lossy());
        }
        QuarantineCommand::Purge { id } => {
            let manifest = store.purge(id)?;
            say(args.json, "purged", &manifest.shown_path());
        }
    }
    Ok(())
}

fn say(as_json: bool, what: &str, path: &str) {
    if as_json { println!("{:#}", json!({what: path})) } else { println!("{what}: {}", printable(path)) }
}

fn list(store: &Store, as_json_text: bool) {
    let (mut held, mut faults) = (Vec::new(), Vec::new());
    for entry in store.list() {
        match entry {
            Ok(manifest) => held.push(manifest),
            Err(error) => faults.push(error.to_string()),
        }
    }
    if as_json_text {
        let files: Vec<Value> = held.iter().map(as_json).collect();
        println!(
            "{:#}",
            json!({"files": files, "used": store.used(), "limit": store.limit(), "faults": faults})
        );
        return;
    }
    for manifest in &held {
        println!(
            "{}  {}  {:>12}  {}",
            manifest.id,
            manifest.taken,
            manifest.size,
            printable(&manifest.shown_path())
        );
    }
    println!("{} files, {} of at most {} bytes", held.len(), store.used(), store.limit());
    for fault in &faults {
        eprintln!("wardline: {}", printable(fault));
    }
}

fn show(manifest: &Manifest) {
    println!("{}  {}", manifest.id, printable(&manifest.shown_path()));
    println!("  taken {} by {}: {}", manifest.taken, printable(&manifest.by), printable(&manifest.reason));
    println!("  {} bytes, SHA-256 {}", manifest.size, manifest.sha256);
    println!("  owner {}, group {}, mode {:04o}", manifest.uid, manifest.gid, manifest.mode);
    for attribute in &manifest.attributes {
        println!("  attribute {}", printable(&String::from_utf8_lossy(&attribute.name)));
    }
    if manifest.other_names > 0 {
        println!("  {} other names of the same file were left as they are", manifest.other_names);
    }
}

/// The manifest without its key, with the path for people beside its bytes.
fn as_json(manifest: &Manifest) -> Value {
    let mut told = serde_json::to_value(manifest).expect("a manifest holds only strings and numbers");
    if let Some(fields) = told.as_object_mut() {
        fields.remove("key");
        let bytes = fields.insert("path".to_owned(), json!(manifest.shown_path()));
        fields.insert("path_hex".to_owned(), bytes.unwrap_or_default());
    }
    told
}
