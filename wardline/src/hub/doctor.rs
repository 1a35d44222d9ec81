//! `wardline hub doctor`: how a hub's data is, for a person.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::ExitCode;

use clap::Args;
use wardline_hub::Look;

use crate::data::Folder;
use crate::doctor::State::{Degraded, Fault, Good, Unknown};
use crate::doctor::{Check, State, tell};

#[derive(Args)]
pub struct DoctorArgs {
    #[command(flatten)]
    folder: Folder,
    /// One JSON object on standard output
    #[arg(long)]
    json: bool,
}

/// With less room than this a hub is soon full.
const SCARCE: u64 = 2 << 30;
/// And with less than this it nearly is.
const GONE: u64 = 200 << 20;

type Found = (State, String, String);

fn good(what: impl Into<String>) -> Found {
    (Good, what.into(), String::new())
}

/// An error with its causes, in one line.
fn told(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        text = format!("{text}: {next}");
        cause = next.source();
    }
    text
}

fn schema(look: &Look) -> Found {
    match &look.lacking {
        Err(error) => (Fault, told(error), "start the version that wrote it".into()),
        Ok(steps) if steps.is_empty() => good("of this version"),
        Ok(steps) => (
            Degraded,
            format!("{} steps behind this version", steps.len()),
            "`wardline hub migrate`, or start the hub, which does the same".into(),
        ),
    }
}

fn audit(look: &Look) -> Found {
    match &look.audit {
        Err(error) => (Fault, told(error), "mend the database first".into()),
        Ok(Ok(entries)) => good(format!("whole: {entries} entries")),
        Ok(Err(broken)) => (
            Fault,
            broken.to_string(),
            "somebody changed it: keep the data as it is and compare it with a backup".into(),
        ),
    }
}

fn fences(look: &Look) -> Found {
    match &look.unfenced {
        Err(error) => (Unknown, told(error), String::new()),
        Ok(tables) if !tables.is_empty() => (
            Fault,
            format!("row-level security is off for {}", tables.join(", ")),
            "somebody switched it off; restore the database from a backup, or switch it on again".into(),
        ),
        Ok(_) => good(match look.kind {
            wardline_hub::Kind::Sqlite => "kept apart by every statement",
            wardline_hub::Kind::Postgres => "kept apart by every statement and by row-level security",
        }),
    }
}

fn keys(look: &Look) -> Found {
    match &look.keys {
        Ok(()) => good("there and readable"),
        Err(error) => (Fault, told(error), "put the folder `keys` back from a backup".into()),
    }
}

fn rights(folder: &Path) -> Found {
    let mut open = Vec::new();
    let mut paths = ["keys", "hub.db", "database"].map(|name| folder.join(name)).to_vec();
    let keys = std::fs::read_dir(folder.join("keys")).into_iter().flatten();
    paths.extend(keys.filter_map(Result::ok).map(|entry| entry.path()));
    for path in paths {
        if path.metadata().is_ok_and(|found| found.permissions().mode() & 0o077 != 0) {
            open.push(path.display().to_string());
        }
    }
    if open.is_empty() {
        return good("for their owner only");
    }
    (Fault, format!("others may read {}", open.join(", ")), format!("chmod -R go= {}", folder.display()))
}

fn room(folder: &Path) -> Found {
    let free = match rustix::fs::statvfs(folder) {
        Ok(found) => found.f_bavail.saturating_mul(found.f_frsize),
        Err(error) => return (Unknown, format!("cannot be told: {error}"), String::new()),
    };
    let what = format!("{} MiB free", free >> 20);
    match free {
        0..GONE => (Fault, what, "free space now: a full hub puts its devices off".into()),
        GONE..SCARCE => (Degraded, what, "free space, or give the hub a larger disk".into()),
        _ => good(what),
    }
}

fn checks(folder: &Path, look: &Look) -> Vec<Check> {
    let database = match &look.database {
        Ok(word) => good(word.clone()),
        Err(error) => (Fault, told(error), "restore it from a backup: `wardline hub restore FILE`".into()),
    };
    [
        ("database", "everything that the hub knows is in it", database),
        ("schema", "a hub works only on tables of its own version", schema(look)),
        ("audit log", "it says who did what, and proves that nothing was taken out", audit(look)),
        ("organisations", "nobody may see what belongs to another organisation", fences(look)),
        ("keys", "without them no enrolled device trusts this hub", keys(look)),
        ("rights", "who reads the keys can order every device", rights(folder)),
        ("room", "a full disk stores nothing; devices keep their records and wait", room(folder)),
    ]
    .into_iter()
    .map(|(name, why, (state, what, mend))| Check { name, state, what, why, mend })
    .collect()
}

pub async fn run(args: &DoctorArgs) -> anyhow::Result<ExitCode> {
    let folder = args.folder.path("hub")?;
    let (place, checks) = match wardline_hub::look(&folder).await {
        Ok(look) => (look.place.display().to_string(), checks(&folder, &look)),
        Err(error) => {
            let check = Check {
                name: "database",
                state: Fault,
                what: told(&error),
                why: "everything that the hub knows is in it",
                mend: "name the hub's folder with --data DIR; is the server up, if there is one?".into(),
            };
            (folder.display().to_string(), vec![check])
        }
    };
    Ok(tell("hub", &place, &checks, args.json))
}
