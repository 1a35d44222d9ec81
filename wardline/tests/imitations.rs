//! Harmless imitations of what attackers do on Linux, each with the finding that it must raise: content/imitations/linux.yml,
//! done under the real kernel, beside one real agent with our own rules that only watches. Needs root.
#![allow(clippy::unwrap_used)] // Helpers of tests, which clippy takes for code.

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use common::imitation::{Imitation, read};
use common::machine::Machine;
use common::watching::{Found, Watching};
use common::{alone, folder, is_root};
use wardline_sigma::Rule;

/// What the data promises for everybody to count.
const TECHNIQUES: usize = 100;

fn imitations() -> Vec<Imitation> {
    read(include_str!("../../content/imitations/linux.yml"))
}

/// Our own rules by the names of their files.
fn rules() -> BTreeMap<String, Rule> {
    let ours = wardline_content::rules().iter().filter(|file| file.path.starts_with("linux/"));
    let named = ours.map(|file| {
        let name = Path::new(file.path).file_stem().unwrap().to_str().unwrap().to_owned();
        (name, Rule::parse(file.text, file.path).unwrap().remove(0))
    });
    named.collect()
}

#[test]
fn each_imitation_names_a_technique_of_its_rule() {
    let (imitations, rules) = (imitations(), rules());
    let mut faults = Vec::new();
    for imitation in &imitations {
        match rules.get(&imitation.rule) {
            None => faults.push(format!("{}: there is no rule {}", imitation.technique, imitation.rule)),
            Some(rule) if !rule.techniques().iter().any(|t| t.0 == imitation.technique) => {
                faults.push(format!("{}: {} has no such tag", imitation.technique, imitation.rule));
            }
            Some(_) => {}
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    let techniques: BTreeSet<_> = imitations.iter().map(|i| &i.technique).collect();
    assert!(techniques.len() >= TECHNIQUES, "{} techniques", techniques.len());
}

#[test]
fn each_imitation_raises_its_finding() {
    if !is_root() {
        return;
    }
    let (_lock, dir) = (alone(), folder("imitations"));
    let Some(mut machine) = Machine::start(dir.path()) else { return };
    let (imitations, rules) = (imitations(), rules());
    let mut watching = Watching::start(dir.path());

    let stand_ins: BTreeSet<&str> = imitations.iter().flat_map(|i| i.stands_in.split_whitespace()).collect();
    let copies: Vec<_> =
        stand_ins.iter().map(|path| format!("cp --remove-destination /usr/bin/true {path}")).collect();
    let ended = machine.run("stand-ins", &format!("set -e\n{}", copies.join("\n")));
    assert_eq!(ended.code, 0, "{}", ended.said);
    let mut said = BTreeMap::new();
    for imitation in &imitations {
        said.insert(imitation.name(), machine.run(&imitation.name(), &imitation.act));
    }

    // All that the machine's processes raised, by the script that they came from.
    let mut found: Vec<Found> = Vec::new();
    let raised = |found: &[Found], imitation: &Imitation| {
        let (script, rule) = (imitation.script(), &rules[&imitation.rule].id);
        found.iter().find(|f| f.rule == *rule && f.came_from(&script)).cloned()
    };
    let mut missing = Vec::new();
    let complete = until_or_not(|| {
        found.extend(watching.fresh());
        missing = imitations.iter().filter(|i| raised(&found, i).is_none()).collect();
        missing.is_empty()
    });
    let mut table = vec![format!(
        "{:<10} {:<42} {:<9} {:>12} {:>12}",
        "technique", "rule", "level", "decided ms", "at hub ms"
    )];
    for imitation in &imitations {
        let Some(hit) = raised(&found, imitation) else { continue };
        table.push(format!(
            "{:<10} {:<42} {:<9} {:>12.1} {:>12}",
            imitation.technique, imitation.rule, hit.severity, hit.decided_ms, hit.at_hub_ms
        ));
        assert!(hit.techniques.contains(&imitation.technique), "{}: {hit:?}", imitation.technique);
        assert_eq!(hit.stopped, "", "an agent that only monitors stops nothing: {hit:?}");
    }
    eprintln!("{}", table.join("\n"));
    for imitation in &missing {
        let name = imitation.name();
        let instead: Vec<_> =
            found.iter().filter(|f| f.came_from(&imitation.script())).map(|f| &f.title).collect();
        eprintln!(
            "{name}: no finding of {}; others: {instead:?}; it ended so: {:?}",
            imitation.rule, said[&name]
        );
    }
    assert!(complete, "{} of {} imitations raised no finding", missing.len(), imitations.len());
    assert_eq!(watching.device()["accounting"]["kernel_lost"], 0);
}

fn until_or_not(mut ask: impl FnMut() -> bool) -> bool {
    let deadline = std::time::Instant::now() + common::PATIENCE;
    while !ask() {
        if std::time::Instant::now() > deadline {
            return false;
        }
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    true
}
