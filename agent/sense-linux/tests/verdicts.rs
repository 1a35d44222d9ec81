//! Programs that rules name are stopped by the kernel before they run. Needs root.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use common::{ended, options, root, table, tool, watch};
use wardline_event::{ProcessActivity, ProcessOp, SensorKind, SensorState, Stopped};
use wardline_sense::{KernelRules, Sensor};
use wardline_sense_linux::{EbpfSensor, TABLE_BYTES, Watches};
use wardline_sigma::Rule;
use wardline_sigma::verdict::{self, Terms, Verdicts};

/// Tables of rules that can meet only what is in this folder.
fn tables(folder: &str, spared: &[String]) -> Vec<u8> {
    let rule = |detection: &str| {
        let text = format!(
            "title: t\nlogsource: {{product: linux, category: process_creation}}\ndetection:\n  own: {{Image|startswith: {folder}/}}\n  {detection}\n"
        );
        Rule::parse(&text, "t").unwrap_or_else(|e| panic!("{e}\n{text}")).remove(0)
    };
    let rules = [
        rule("a: {Image|endswith: /REFUSED}\n  condition: own and a"),
        rule(
            r"a: {'CommandLine|re': '\sEVIL(\s|$)'}
  b: {CommandLine|contains: harmless}
  condition: own and a and not b",
        ),
        rule(
            "a: {CommandLine|contains|all: [one two, three], User: nobody}\n  b: {CommandLine|endswith: ' Last'}\n  condition: own and (a or b)",
        ),
    ];
    let (verdicts, results) = Verdicts::of(rules.iter().enumerate(), &Terms::linux_program(spared));
    assert!(results.iter().all(|(_, result)| result.is_ok()), "{results:?}");
    verdicts.to_bytes()
}

struct Bench {
    sensor: EbpfSensor,
    rules: Box<dyn KernelRules>,
}

impl Bench {
    fn new() -> Self {
        let mut sensor = EbpfSensor::open(&options(4 << 20, Watches::none()), table()).unwrap();
        let rules = sensor.kernel_rules().unwrap_or_else(|| panic!("{:?}", sensor.statuses()));
        Self { sensor, rules }
    }

    /// Runs a program: what came of it, and what was told of it. Not as a child of the test, which no verdict is about.
    fn run(&mut self, program: &Path, args: &[&str]) -> (Came, Vec<ProcessActivity>) {
        let mut shell = Command::new("/bin/sh");
        shell.args(["-c", r#""$@"; exit $?"#, "sh"]).arg(program).args(args);
        shell.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = shell.spawn().unwrap();
        let (pid, status) = (child.id(), child.wait().unwrap());
        let events = watch(&mut self.sensor, |seen| ended(seen, pid));
        let told = events.into_iter().filter(|e| {
            e.op == ProcessOp::Exec && e.parent.as_ref().is_some_and(|parent| parent.key.pid == pid)
        });
        let came = match status.code() {
            Some(137) => Came::Killed,
            Some(126) => Came::Refused,
            _ => Came::Ran,
        };
        (came, told.collect())
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Came {
    Ran,
    Killed,
    Refused,
}

fn stopped(exec: &ProcessActivity) -> Option<Stopped> {
    exec.launch.as_deref().unwrap().stopped
}

fn live(bench: &Bench) -> SensorKind {
    let statuses = bench.sensor.statuses();
    let tier = statuses.iter().find(|s| {
        matches!(s.kind, SensorKind::VerdictLsm | SensorKind::VerdictReturn | SensorKind::VerdictSignal)
    });
    let tier = tier.unwrap();
    assert_eq!(tier.state, SensorState::Live, "{statuses:?}");
    tier.kind
}

#[test]
fn both_halves_agree_on_the_size_of_tables() {
    assert_eq!(TABLE_BYTES as usize, verdict::TABLE_BYTES);
}

#[test]
fn what_rules_name_does_not_run() {
    if !root() {
        return;
    }
    let (_folder, path) = tool();
    let (program, folder) = (path.join("tool"), path.to_str().unwrap().to_owned());
    let mut bench = Bench::new();
    println!("tier: {:?}", live(&bench));

    // Without tables everything runs.
    let (came, execs) = bench.run(&program, &["EVIL"]);
    assert_eq!((came, execs.len(), stopped(&execs[0])), (Came::Ran, 1, None));

    bench.rules.follow(Some(&tables(&folder, &[]))).unwrap();
    for (args, rule) in [
        (&["EVIL"][..], Some(1)),
        (&["a", "EVIL", "b", "", ""], Some(1)),
        (&["a EVIL b"], Some(1)),
        (&["evil"], None),
        (&["EVILS"], None),
        (&["EVIL", "HARMLESS"], None),
        (&["x", "lAST"], Some(2)),
        (&["x", "last", ""], Some(2)),
        (&["x", "last", "y"], None),
        // It would take the user's name, or letters beyond ASCII: the engine's business.
        (&["One Two", "three"], None),
        (&["EVIL", "\u{e9}"], None),
        (&[], None),
    ] {
        let (came, execs) = bench.run(&program, args);
        let told = stopped(&execs[0]);
        let expected = rule.map_or(Came::Ran, |_| Came::Killed);
        assert_eq!((came, told.map(|s| s.rule)), (expected, rule), "{args:?} {told:?}");
        assert!(told.is_none_or(|s| !s.refused && s.after_ns > 0 && s.after_ns < 1_000_000_000));
        assert_eq!(execs[0].process.image, program.to_str().unwrap());
    }
    // The longest line about which something is decided, and one that is longer.
    for (padding, expected) in [(4000, Came::Killed), (5000, Came::Ran)] {
        assert_eq!(bench.run(&program, &["EVIL", &"x".repeat(padding)]).0, expected, "{padding}");
    }
    // A verdict is never about what the agent starts itself.
    let own = Command::new(&program).arg("EVIL").stdin(Stdio::null()).stderr(Stdio::null()).status().unwrap();
    assert_eq!(own.code(), Some(1));

    // Who is spared runs; tables take each other's place, and go.
    bench.rules.follow(Some(&tables(&folder, &[format!("{folder}/*")]))).unwrap();
    assert_eq!(bench.run(&program, &["EVIL"]).0, Came::Ran);
    bench.rules.follow(Some(&tables(&folder, &[]))).unwrap();
    assert_eq!(bench.run(&program, &["EVIL"]).0, Came::Killed);
    bench.rules.follow(None).unwrap();
    assert_eq!(bench.run(&program, &["EVIL"]).0, Came::Ran);
    assert!(bench.rules.follow(Some(&[0; 100])).unwrap_err().contains("100 bytes"));
    assert_eq!(bench.run(&program, &["EVIL"]).0, Came::Ran);
}

/// By the executable alone: refused where the kernel lets programs be refused, else killed.
#[test]
fn a_path_that_rules_name_does_not_run() {
    if !root() {
        return;
    }
    let (_folder, path) = tool();
    let named = path.join("Refused");
    fs::rename(path.join("tool"), &named).unwrap();
    let script = path.join("script");
    fs::write(&script, format!("#!{} \n", named.display())).unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    let mut bench = Bench::new();
    bench.rules.follow(Some(&tables(path.to_str().unwrap(), &[]))).unwrap();
    let refuses = live(&bench) != SensorKind::VerdictSignal;
    // Of a script the interpreter is what would run.
    for program in [&named, &script] {
        let (came, told) = bench.run(program, &[]);
        assert_eq!(came, if refuses { Came::Refused } else { Came::Killed });
        assert_eq!(told.len(), 1, "{told:?}");
        let by = stopped(&told[0]).unwrap();
        assert_eq!((by.rule, by.refused), (0, refuses));
        assert_eq!(told[0].process.image, named.to_str().unwrap());
    }
    // Another program in the same folder is another program.
    fs::rename(&named, path.join("refuse")).unwrap();
    assert_eq!(bench.run(&path.join("refuse"), &[]).0, Came::Ran);
}
