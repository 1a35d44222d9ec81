//! Every target on its whole corpus, and on some thousand inputs made from it by a fixed sequence of changes.
//!
//! This finds less than coverage-guided fuzzing (see `README.md`), but it runs with the other tests, and a fault that
//! was found once and lies in the corpus never comes back unseen.

#![allow(clippy::unwrap_used, reason = "a test stops where it fails")]

use std::collections::BTreeSet;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use wardline_fuzz::{TARGETS, beginning_of_evtx, classes_seed, rules_seed};

/// Changed inputs for each target, unless time is up before.
const MUTATIONS: usize = 3000;
/// Time for them; it bounds how much is tried, never the verdict.
const AT_MOST: Duration = Duration::from_secs(5);
/// Longest input that is made.
const LONGEST: usize = 256 << 10;

macro_rules! replay {
    ($($name:ident),* $(,)?) => {
        $(#[test] fn $name() { replay(stringify!($name)); })*

        /// A target without a test, a corpus, or a fuzzing binary would be thought to be covered.
        #[test]
        fn every_target_is_whole() {
            let root = Path::new(env!("CARGO_MANIFEST_DIR"));
            let expected: BTreeSet<String> = TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
            let tested: BTreeSet<String> = [$(stringify!($name)),*].map(str::to_owned).into();
            assert_eq!(expected, tested, "the list in tests/replay.rs");
            assert_eq!(expected, names(&root.join("corpus"), ""), "the folders in corpus/");
            assert_eq!(expected, names(&root.join("targets/bin"), ".rs"), "the files in targets/bin/");
            let manifest = fs::read_to_string(root.join("targets/Cargo.toml")).unwrap();
            for name in &expected {
                let entry = format!("[[bin]]\nname = \"{name}\"\npath = \"bin/{name}.rs\"\n");
                assert!(manifest.contains(&entry), "targets/Cargo.toml has no [[bin]] {name}");
                let bin = fs::read_to_string(root.join(format!("targets/bin/{name}.rs"))).unwrap();
                assert!(bin.contains(&format!("run(\"{name}\", data)")), "targets/bin/{name}.rs runs another target");
            }
        }
    };
}

replay!(
    action_update,
    audit_copy,
    command,
    dns,
    dpkg,
    enrolment_token,
    hub_backup,
    isolation_record,
    journal,
    link,
    log_evtx,
    log_json,
    log_lines,
    log_xml,
    netlink,
    ocsf,
    policy,
    sigma_cache,
    sigma_classes,
    sigma_condition,
    sigma_files,
    sigma_format,
    sigma_hits,
    sigma_match,
    sigma_pipeline,
    sigma_rule,
    sigma_sources,
    spool,
    spool_notes,
    state,
    wire_batch,
);

fn names(folder: &Path, suffix: &str) -> BTreeSet<String> {
    let entries = fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap());
    entries.filter_map(|name| name.strip_suffix(suffix).map(str::to_owned)).collect()
}

fn replay(name: &str) {
    let mut seeds = Vec::new();
    for path in files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(name)) {
        let bytes = fs::read(&path).unwrap();
        try_one(name, &path.display().to_string(), &bytes);
        seeds.push(bytes);
    }
    match name {
        "log_evtx" => seeds.extend(shared_event_logs()),
        "sigma_match" => seeds.extend(golden_rules_with_events()),
        "sigma_cache" => {
            seeds.extend(
                engine_files(name, "tests/golden", ".rule.yml").iter().filter_map(|text| stored(text)),
            );
            seeds.extend(
                engine_files(name, "tests/correlation", ".rules.yml").iter().filter_map(|text| stored(text)),
            );
        }
        "sigma_classes" => {
            let seed = classes_seed();
            try_one(name, "the compiled rules", &seed);
            seeds.push(seed);
        }
        "sigma_files" => {
            seeds.extend(engine_files(name, "tests/golden", ".rule.yml"));
            seeds.extend(engine_files(name, "tests/correlation", ".rules.yml"));
        }
        "sigma_format" => seeds.extend(engine_files(name, "tests/format", ".yml")),
        "sigma_pipeline" => seeds.extend(engine_files(name, "tests/pipelines", ".yml")),
        "sigma_sources" => seeds.extend(engine_files(name, "sources", ".yml")),
        _ => {}
    }
    assert!(!seeds.is_empty(), "corpus/{name} is empty");
    let mut random = Random(0x5EED);
    let end = Instant::now() + AT_MOST;
    let mut tried = 0;
    while tried < MUTATIONS && Instant::now() < end {
        let input = mutate(&seeds, &mut random);
        try_one(name, &format!("mutation {tried}"), &input);
        tried += 1;
    }
    println!("{name}: {} seeds, {tried} mutations", seeds.len());
}

/// The rules of a file as bytes.
fn stored(text: &[u8]) -> Option<Vec<u8>> {
    rules_seed(std::str::from_utf8(text).ok()?)
}

/// Runs the target; an input that breaks it is kept for whoever looks into it.
fn try_one(name: &str, origin: &str, input: &[u8]) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| wardline_fuzz::run(name, input))) {
        let kept = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("fuzz-{name}"));
        let told = match fs::write(&kept, input) {
            Ok(()) => format!("the input is in {}", kept.display()),
            Err(error) => format!("the input could not be kept: {error}"),
        };
        eprintln!("target {name} failed on {origin}; {told}");
        std::panic::resume_unwind(panic);
    }
}

/// The rule engine's own golden cases, each rule with each of its events.
fn golden_rules_with_events() -> Vec<Vec<u8>> {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("../core/sigma/tests/golden");
    let mut seeds = Vec::new();
    for path in files(&golden) {
        let Some(base) = path.to_str().and_then(|p| p.strip_suffix(".rule.yml")) else { continue };
        let rule = fs::read_to_string(&path).unwrap();
        for event in fs::read_to_string(format!("{base}.events.jsonl")).unwrap().lines() {
            let seed = format!("{rule}\n=== event ===\n{event}").into_bytes();
            try_one("sigma_match", base, &seed);
            seeds.push(seed);
        }
    }
    assert!(seeds.len() > 100, "only {} golden cases in {}", seeds.len(), golden.display());
    seeds
}

/// Files of the rule engine's own tests.
fn engine_files(target: &str, folder: &str, ending: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../core/sigma").join(folder);
    let mut seeds = Vec::new();
    for path in files(&folder) {
        let origin = path.display().to_string();
        if origin.ends_with(ending) {
            let seed = fs::read(&path).unwrap();
            try_one(target, &origin, &seed);
            seeds.push(seed);
        }
    }
    assert!(seeds.len() > 5, "only {} files in {}", seeds.len(), folder.display());
    seeds
}

/// The shortest beginnings of the shared event logs, which are others' work and not in this repository: few of each
/// folder, so that they are of many kinds.
fn shared_event_logs() -> Vec<Vec<u8>> {
    const OF_A_FOLDER: usize = 3;
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data/evtx")];
    let mut seeds = Vec::new();
    while let Some(folder) = folders.pop() {
        let Ok(entries) = fs::read_dir(&folder) else { continue };
        folders.extend(entries.map(|e| e.unwrap().path()).filter(|path| path.is_dir()));
        let logs = files(&folder).into_iter().filter(|path| path.extension().is_some_and(|e| e == "evtx"));
        let mut logs: Vec<Vec<u8>> =
            logs.filter_map(|path| beginning_of_evtx(&fs::read(path).unwrap()).map(<[u8]>::to_vec)).collect();
        logs.sort_by_key(Vec::len);
        seeds.extend(logs.into_iter().take(OF_A_FOLDER));
    }
    if seeds.is_empty() {
        println!("skipped: no shared data");
    }
    for log in &seeds {
        try_one("log_evtx", "the beginning of a shared event log", log);
    }
    seeds
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut files: Vec<PathBuf> = entries.map(|e| e.unwrap().path()).filter(|p| p.is_file()).collect();
    files.sort();
    files
}

/// A seed with up to eight changes.
fn mutate(seeds: &[Vec<u8>], random: &mut Random) -> Vec<u8> {
    let mut bytes = seeds[random.below(seeds.len())].clone();
    for _ in 0..=random.below(8) {
        let at = random.below(bytes.len() + 1);
        let reach = 1 << random.below(7);
        let to = (at + random.below(reach)).min(bytes.len());
        match random.below(8) {
            0 if at < bytes.len() => bytes[at] ^= 1 << random.below(8),
            1 if at < bytes.len() => bytes[at] = random.below(256) as u8,
            2 => drop(bytes.drain(at..to)),
            3 => {
                let again = bytes[at..to].repeat(1 << random.below(6));
                bytes.splice(to..to, again);
            }
            4 => bytes.truncate(at),
            5 => {
                let other = &seeds[random.below(seeds.len())];
                let from = random.below(other.len() + 1);
                let until = (from + random.below(200)).min(other.len());
                bytes.splice(at..to, other[from..until].iter().copied());
            }
            6 => {
                let word: [u8; 8] =
                    [0, 1, u64::MAX, 1 << 63, 0xFFFF_FFFF, 0x7FFF_FFFF][random.below(6)].to_le_bytes();
                bytes.splice(at..to, word.into_iter().take(1 << random.below(4)));
            }
            _ => {
                const WORDS: &[&str] = &[
                    "",
                    "-1",
                    "18446744073709551615",
                    "1e999",
                    "\"",
                    "\\",
                    "{",
                    "[",
                    "<",
                    "\u{e9}",
                    "*",
                    "0",
                ];
                bytes.splice(at..to, WORDS[random.below(WORDS.len())].bytes());
            }
        }
        bytes.truncate(LONGEST);
    }
    bytes
}

/// xorshift64 (Marsaglia, "Xorshift RNGs", 2003): the same sequence on every run.
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % n as u64) as usize
    }
}
