//! `wardline agent undo`: gives back what an encryptor destroyed before it was stopped.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::Args;
use serde_json::{Value, json};
use wardline_agent::clock::{Clock, SystemClock};
use wardline_respond::copies::{Copied, CopySet, Step};
use wardline_respond::linux::copies::{Copies, Done, FOLDER};

use crate::data;
use crate::printable::printable;

#[derive(Args)]
#[command(
    after_help = "What lies in a file's place now must be exactly what the encryptor left: it goes to quarantine, and the file\n\
comes back with its owner, permissions and time. Anything newer stays as it is, and is named.\n\n\
Exit codes: 0 all is given back, 2 some files were left alone, 1 nothing could be done.\n\n\
Examples:
  sudo wardline agent undo --list                what there is
  sudo wardline agent undo --dry-run             what would be done, with the newest finding
  sudo wardline agent undo 6d1f0f3e-3f0b-4d0e-9a57-0c4b6a2f8e11
  sudo wardline agent undo --to /root/rescued    write the copies there, and touch nothing else"
)]
#[allow(clippy::struct_excessive_bools, reason = "each is an option of its own")]
pub struct UndoArgs {
    /// The finding's id, from the console or `--list` [default: the newest with copies]
    finding: Option<String>,
    /// Say what would be done, and do nothing
    #[arg(long, conflicts_with_all = ["to", "purge"])]
    dry_run: bool,
    /// What copies there are
    #[arg(long, conflicts_with_all = ["finding", "dry_run", "to", "purge"])]
    list: bool,
    /// Write the copies into this folder, and leave what lies in their places
    #[arg(long, value_name = "DIR")]
    to: Option<PathBuf>,
    /// Destroy the copies of a finding, for ever
    #[arg(long, requires = "finding", conflicts_with = "to")]
    purge: bool,
    /// The agent's folder, or the one of `wardline up` [default: this machine's]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// As JSON
    #[arg(long)]
    json: bool,
}

fn folder(given: Option<&PathBuf>) -> anyhow::Result<PathBuf> {
    let Some(given) = given else { return crate::containment::own_folder() };
    let below = given.join("agent");
    Ok(if given.join(FOLDER).is_dir() || !below.is_dir() { given.clone() } else { below })
}

pub fn run(args: &UndoArgs) -> anyhow::Result<ExitCode> {
    let folder = folder(args.data.as_ref())?;
    if !folder.join(FOLDER).is_dir() {
        bail!("there are no copies in {}; name the agent's folder with --data", folder.display());
    }
    data::keep_private();
    let store = Copies::open(&folder)?;
    if args.list {
        list(&store, args.json);
        return Ok(ExitCode::SUCCESS);
    }
    let mut set = match &args.finding {
        Some(id) => store.show(id)?,
        None => {
            let newest = store.list().into_iter().flatten().next_back();
            newest.with_context(|| format!("nothing was copied yet in {}", folder.display()))?
        }
    };
    if args.purge {
        store.purge(&set.id)?;
        say(
            args.json,
            &json!({"purged": set.id}),
            &format!("purged: {} files of {}", set.files.len(), set.id),
        );
        return Ok(ExitCode::SUCCESS);
    }
    if let Some(to) = &args.to {
        let written = store.write_to(&set, &std::path::absolute(to).context("finding the folder")?)?;
        let paths: Vec<String> = written.iter().map(|path| path.to_string_lossy().into_owned()).collect();
        say(args.json, &json!({"finding": set.id, "written": paths}), &paths.join("\n"));
        return Ok(ExitCode::SUCCESS);
    }
    let user = std::env::var("SUDO_USER").or_else(|_| std::env::var("USER")).unwrap_or_default();
    let by = if user.is_empty() { "someone at the machine" } else { user.as_str() };
    let done = if args.dry_run { store.plan(&set) } else { store.undo(&mut set, by, SystemClock.now())? };
    let back = done.iter().filter(|d| d.trouble.is_none() && !matches!(d.step, Step::Leave(_))).count();
    if args.json {
        let files: Vec<Value> = done.iter().map(|done| as_json(done, args.dry_run)).collect();
        println!("{:#}", json!({"finding": set.id, "dry_run": args.dry_run, "files": files}));
    } else {
        println!("finding {} of {}, {}", set.id, set.taken, printable(&set.program));
        for done in &done {
            println!("  {}", printable(&in_words(done, args.dry_run)));
        }
        let what = if args.dry_run { "would be given back" } else { "given back" };
        println!("{back} of {} files {what}", done.len());
    }
    Ok(match back {
        _ if back == done.len() => ExitCode::SUCCESS,
        0 => ExitCode::FAILURE,
        _ => ExitCode::from(2),
    })
}

fn say(as_json: bool, value: &Value, words: &str) {
    if as_json {
        println!("{value:#}");
    } else {
        println!("{}", words.lines().map(printable).collect::<Vec<_>>().join("\n"));
    }
}

fn in_words(done: &Done, dry: bool) -> String {
    let Done { path, step, replaced, trouble, .. } = done;
    match (step, trouble) {
        (_, Some(why)) => format!("not given back  {path}: {why}"),
        (Step::Leave(why), None) => format!("left alone      {path}: {why}"),
        (Step::Create, None) if dry => format!("would make      {path}"),
        (Step::Replace, None) if dry => format!("would replace   {path}"),
        (Step::Create | Step::Replace, None) => match replaced {
            Some(id) => format!("given back      {path} (what lay there is in quarantine as {id})"),
            None => format!("given back      {path}"),
        },
    }
}

fn as_json(done: &Done, dry: bool) -> Value {
    let (step, why) = match &done.step {
        Step::Create => ("create", None),
        Step::Replace => ("replace", None),
        Step::Leave(why) => ("leave", Some(why)),
    };
    let given_back = !dry && done.trouble.is_none() && step != "leave";
    json!({
        "path": done.path, "step": step, "why": done.trouble.as_ref().or(why), "given_back": given_back,
        "quarantined": done.replaced,
    })
}

fn list(store: &Copies, as_json: bool) {
    let (mut sets, mut faults) = (Vec::new(), Vec::new());
    for entry in store.list() {
        match entry {
            Ok(set) => sets.push(set),
            Err(error) => faults.push(error.to_string()),
        }
    }
    let kept = |set: &CopySet| set.files.iter().map(Copied::kept_bytes).sum::<u64>();
    let back = |set: &CopySet| set.files.iter().filter(|f| f.given_back.is_some()).count();
    if as_json {
        let sets: Vec<Value> = sets
            .iter()
            .map(|set| {
                let file = |f: &Copied| {
                    json!({"path": f.shown_path(), "size": f.size, "kept": f.kept_bytes(), "missing": f.missing,
                           "given_back": f.given_back.is_some()})
                };
                json!({"finding": set.id, "taken": set.taken.to_string(), "program": set.program,
                       "files": set.files.iter().map(file).collect::<Vec<_>>()})
            })
            .collect();
        println!("{:#}", json!({"sets": sets, "faults": faults}));
        return;
    }
    for set in &sets {
        let (files, back) = (set.files.len(), back(set));
        println!("{}  {}  {files} files, {back} given back, {} bytes", set.id, set.taken, kept(set));
        for file in &set.files {
            let missing =
                if file.missing > 0 { format!(", {} bytes missing", file.missing) } else { String::new() };
            let others = match file.other_names {
                0 => String::new(),
                n => format!(", {n} other names of it stay as they are"),
            };
            println!("    {}  {} bytes{missing}{others}", printable(&file.shown_path()), file.size);
        }
    }
    if sets.is_empty() {
        println!("nothing was copied: no encryptor was stopped here, or it destroyed nothing");
    }
    for fault in &faults {
        eprintln!("wardline: {}", printable(fault));
    }
}
