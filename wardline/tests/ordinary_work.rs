//! A day's ordinary work raises no finding above low: the scripts in `day/`, with the real programs, on a machine to throw
//! away, beside one real agent with our own rules that only watches. Needs root.
#![allow(clippy::unwrap_used)] // Helpers of tests, which clippy takes for code.

mod common;

use std::fs;
use std::path::Path;

use common::machine::Machine;
use common::watching::{Found, Watching};
use common::{alone, folder, is_root, until};

/// How a script says that what it is about is not on this machine.
const ABSENT: i32 = 77;

/// A line that a rule must see: when its finding is there, what came before it has been looked at.
const LAST: &str = "bash -c 'true # :(){ :|:& };:'";

#[test]
fn a_day_of_ordinary_work_raises_no_finding_above_low() {
    if !is_root() {
        return;
    }
    let (_lock, dir) = (alone(), folder("day"));
    let Some(mut machine) = Machine::start(dir.path()) else { return };
    let mut watching = Watching::start(dir.path());

    let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/day");
    let mut scripts: Vec<_> = fs::read_dir(scripts).unwrap().map(|entry| entry.unwrap().path()).collect();
    scripts.sort();
    let (mut done, mut failed) = (0, Vec::new());
    for path in scripts {
        let (name, text) =
            (path.file_stem().unwrap().to_str().unwrap().to_owned(), fs::read_to_string(&path).unwrap());
        let head = text.split("\n\n").next().unwrap();
        let comment = head.lines().map_while(|line| line.strip_prefix('#')).collect::<String>();
        let (what, needs) = comment.split_once(" needs: ").unwrap_or_else(|| panic!("{name} says no needs"));
        let check = format!(
            "for n in {needs}; do command -v $n > /dev/null || {{ echo \"absent: $n\"; exit {ABSENT}; }}; done"
        );
        let began = std::time::Instant::now();
        let ended = machine.run(&name, &format!("{check}\n{text}"));
        match ended.code {
            0 => {
                done += 1;
                eprintln!("{name}:{what} ({:.1} s)", began.elapsed().as_secs_f64());
            }
            ABSENT => eprintln!("{name}: skipped, {}", ended.said.lines().last().unwrap_or_default()),
            code => failed.push(format!("{name} ended with {code}: {}", ended.said)),
        }
    }
    machine.run("last", LAST);

    let mut found: Vec<Found> = Vec::new();
    until("the last line is found", || {
        found.extend(watching.fresh());
        found.iter().any(|f| f.came_from("/imitations/last.sh")).then_some(())
    });
    let ours = |f: &&Found| f.came_from(&machine.marker()) && !f.came_from("/imitations/last.sh");
    let (quiet, loud): (Vec<_>, Vec<_>) =
        found.iter().filter(ours).partition(|f| ["info", "low"].contains(&f.severity.as_str()));
    for finding in &quiet {
        eprintln!("{}: {} ({:?})", finding.severity, finding.title, finding.lines[0]);
    }
    let loud: Vec<_> =
        loud.iter().map(|f| format!("{}: {}: {:?}\n{}", f.severity, f.title, f.lines, f.event)).collect();
    assert!(loud.is_empty(), "findings above low:\n{}", loud.join("\n"));
    assert!(failed.is_empty(), "work that was not done:\n{}", failed.join("\n"));
    assert!(done >= 6, "only {done} of the day's scripts could run");
    assert_eq!(watching.device()["accounting"]["kernel_lost"], 0);
}
