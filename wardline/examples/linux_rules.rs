//! Which Sigma rules for Linux can fire on what our own sensor tells: a table for `docs/linux.md`.
//!
//! `cargo run -p wardline --example linux_rules -- ../shared/data/sigma/rules/linux [--missing]`
//!
//! A rule can fire if some kind of event of the sensor is of its log source and has the fields, and where these can hold
//! only certain values, one of those, that its condition needs. `--missing` lists the others.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use wardline_event::{
    AuditView, Body, CallActivity, Event, EventId, Fields, FileActivity, FileOp, Launch, NetworkActivity,
    NetworkOp, Process, ProcessActivity, ProcessKey, ProcessOp, Timestamp, User, Value,
};
use wardline_sigma::sources::Sources;
use wardline_sigma::{Collection, Known, Rule};

/// Fields of the audit system that are the same in every event of a kind.
const FIXED: [&str; 4] = ["type", "SYSCALL", "nametype", "success"];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut folder = None;
    let mut list_missing = false;
    for argument in std::env::args().skip(1) {
        match argument.as_str() {
            "--missing" => list_missing = true,
            path => folder = Some(PathBuf::from(path)),
        }
    }
    let folder = folder.ok_or("say where the rules are: linux_rules FOLDER [--missing]")?;
    let mut files = Vec::new();
    collect(&folder, &mut files)?;
    files.sort();
    let samples = samples();
    // By log source: how many there are, and those that cannot fire.
    let mut table: BTreeMap<String, (usize, Vec<String>)> = BTreeMap::new();
    let mut unreadable = 0;
    for file in &files {
        let text = std::fs::read_to_string(file)?;
        let Ok(parsed) = Collection::parse(&text, &file.display().to_string()) else {
            unreadable += 1;
            continue;
        };
        for rule in &parsed.rules {
            let source = &rule.log_source;
            let name = if source.category.is_empty() {
                format!("service: {}", if source.service.is_empty() { "(none)" } else { &source.service })
            } else {
                format!("category: {}", source.category)
            };
            let (all, missing) = table.entry(name).or_default();
            *all += 1;
            if !can_fire(rule, &samples) {
                missing.push(format!("{} ({})", rule.title, file.display()));
            }
        }
    }
    println!("| log source | rules | can fire |\n|---|---|---|");
    let (mut all, mut firing) = (0, 0);
    for (name, (rules, missing)) in &table {
        println!("| {name} | {rules} | {} |", rules - missing.len());
        all += rules;
        firing += rules - missing.len();
    }
    println!("| all | {all} | {firing} |");
    if unreadable > 0 {
        println!("\n{unreadable} files could not be read as rules.");
    }
    if list_missing {
        for (name, (_, missing)) in &table {
            for rule in missing {
                println!("{name}: {rule}");
            }
        }
    }
    Ok(())
}

fn collect(folder: &Path, out: &mut Vec<PathBuf>) -> std::io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, out)?;
        } else if path.extension().is_some_and(|e| e == "yml") {
            out.push(path);
        }
    }
    Ok(())
}

fn can_fire(rule: &Rule, samples: &[Event]) -> bool {
    let own = Sources::builtin().events_for(&rule.log_source);
    let plain = own
        .iter()
        .filter(|r| r.kind.source.starts_with("wardline-linux-") && r.kind.source != "wardline-linux-audit")
        .any(|reached| {
            rule.could_match(&|field| match field {
                // A connection is opened by one side or the other.
                "Initiated" if reached.kind.has_field(field) => {
                    Known::OneOf(vec![Value::str("true"), Value::str("false")])
                }
                _ if reached.kind.has_field(field) => Known::Anything,
                _ => Known::Absent,
            })
        });
    let audited = own.iter().any(|r| r.kind.source == "wardline-linux-audit")
        && samples.iter().filter_map(AuditView::of).any(|view| {
            rule.could_match(&|field| match view.field(field) {
                Some(value) if FIXED.contains(&field) => Known::OneOf(vec![owned(&value)]),
                Some(_) => Known::Anything,
                None => Known::Absent,
            })
        });
    plain || audited
}

fn owned(value: &Value<'_>) -> Value<'static> {
    match value {
        Value::List(items) => Value::List(items.iter().map(owned).collect()),
        other => Value::from(other.as_text().unwrap_or_default().into_owned()),
    }
}

/// One event of each kind that the sensor tells, every field filled.
fn samples() -> Vec<Event> {
    let actor = || Process {
        key: ProcessKey::default(),
        image: "/x".into(),
        command_line: "x".into(),
        cwd: "/".into(),
        user: User { uid: "0".into(), name: "root".into() },
        ..Process::default()
    };
    let mut bodies = vec![Body::Process(ProcessActivity {
        op: ProcessOp::Exec,
        process: actor(),
        parent: Some(actor()),
        exit_code: None,
        launch: Some(Box::new(Launch {
            args: vec!["x".into(); 64],
            real_uid: "0".into(),
            login_uid: Some("0".into()),
            ..Launch::default()
        })),
    })];
    let files = [
        (FileOp::Create, ""),
        (FileOp::Create, "mode 010600"),
        (FileOp::Update, ""),
        (FileOp::Delete, ""),
        (FileOp::Rename, ""),
        (FileOp::Link, "hard link"),
        (FileOp::Link, "symbolic link"),
        (FileOp::Change, "mode 0755"),
        (FileOp::Change, "owner 0"),
        (FileOp::Change, "times"),
        (FileOp::Change, "attribute user.x"),
        (FileOp::Read, ""),
    ];
    bodies.extend(files.map(|(op, detail)| {
        let old_path = matches!(op, FileOp::Rename | FileOp::Link).then(|| "/y".to_owned());
        Body::File(FileActivity { op, path: "/x".into(), old_path, detail: detail.into(), actor: actor() })
    }));
    for (op, initiated) in [
        (NetworkOp::Open, true),
        (NetworkOp::Open, false),
        (NetworkOp::Refuse, true),
        (NetworkOp::Listen, false),
    ] {
        bodies.push(Body::Network(NetworkActivity {
            op,
            actor: actor(),
            protocol: "tcp".into(),
            initiated,
            src_ip: "192.0.2.1".into(),
            src_port: 1,
            dst_ip: "192.0.2.2".into(),
            dst_port: 2,
            dst_host: String::new(),
        }));
    }
    for call in wardline_sense_linux::system_calls() {
        bodies.push(Body::Call(CallActivity {
            call: call.into(),
            args: vec![0; 5],
            result: 0,
            detail: "/x".into(),
            actor: actor(),
        }));
    }
    let event =
        |body| Event { id: EventId(1), time: Timestamp(0), product: "linux".into(), simulated: false, body };
    bodies.into_iter().map(event).collect()
}
