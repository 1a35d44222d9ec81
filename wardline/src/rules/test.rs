//! `wardline rules test`: recorded events that rules must match, in SigmaHQ's format.

use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use console::Style;
use serde_json::json;
use wardline_event::LogSource;
use wardline_sigma::{Collection, LinkOptions, RegressionTest, RegressionTests, RuleSet};

use super::files::Files;
use super::load::{Source, sources};
use super::{events, parallel};
use crate::printable::{printable, printable_json};

const EXAMPLES: &str = "\
Examples:
  wardline rules test sigma/regression_data
      Every test below the folder, with the rules that lie beside it (sigma/rules, sigma/rules-…).
  wardline rules test my-tests/ --rules my-rules/ --json
      Tests of rules that lie elsewhere; one JSON object for each.

A test is an `info.yml` that names rules by id and recordings with the number of events that the rules match:
  rule_metadata:
      - id: 5bed80b6-b3e8-428e-a3ae-d3c757589e41
  regression_tests_info:
      - {name: Positive Detection Test, type: evtx, match_count: 1, path: regression_data/…/5bed80b6.evtx}
`path` is relative to the folder that holds the rules and the tests, or to the info.yml.

Exit code: 0 every test came out as it should; 1 one did not; 2 there is no test, or wrong usage.";

/// Run the regression tests of rules.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct TestArgs {
    /// Folders that are searched for info.yml, or such files
    #[arg(required = true, value_name = "DIR")]
    paths: Vec<PathBuf>,
    /// Rule files or folders; may be given several times [default: the nearest folders rules* beside or above DIR]
    #[arg(short, long, value_name = "PATH")]
    rules: Vec<PathBuf>,
    /// One JSON object for each test and rule
    #[arg(long)]
    json: bool,
    /// Only tests that do not come out as they should, and the totals
    #[arg(short, long)]
    quiet: bool,
}

/// An info.yml.
struct Info {
    path: PathBuf,
    tests: Result<RegressionTests, String>,
}

/// What became of one rule in one test.
struct Outcome {
    rule_id: String,
    rule: String,
    test: String,
    path: String,
    expected: u64,
    /// How many events matched; `None` if it could not be found out.
    got: Option<u64>,
    /// What is known about why it is not as expected.
    why: String,
}

impl Outcome {
    fn passed(&self) -> bool {
        self.got == Some(self.expected)
    }
}

/// Whether a file is the description of a test.
pub fn is_info(path: &Path) -> bool {
    path.file_name().is_some_and(|n| n == "info.yml" || n == "info.yaml")
}

/// The tests at the paths, and what could not be looked at.
fn infos(paths: &[PathBuf]) -> (Vec<Info>, Vec<String>) {
    let files = Files::collect(paths);
    let named = |path: &PathBuf| paths.contains(path);
    let list: Vec<PathBuf> =
        files.list.into_iter().map(|f| f.path).filter(|p| is_info(p) || named(p)).collect();
    let read = |path: &PathBuf| {
        let text = fs::read_to_string(path).map_err(|e| format!("{}: cannot be read: {e}", path.display()));
        let tests = text.and_then(|text| {
            RegressionTests::parse(&text, &path.display().to_string()).map_err(|e| e.to_string())
        });
        Info { path: path.clone(), tests }
    };
    (parallel::map(&list, read), files.faults)
}

/// The ids of all rules that have a test at the paths.
pub fn tested_ids(paths: &[PathBuf]) -> BTreeSet<String> {
    let (infos, _) = infos(paths);
    let tests = infos.into_iter().filter_map(|info| info.tests.ok()).filter(|t| !t.tests.is_empty());
    tests.flat_map(|t| t.rules).map(|rule| rule.id).collect()
}

pub fn run(args: &TestArgs) -> ExitCode {
    let (infos, faults) = infos(&args.paths);
    for fault in &faults {
        eprintln!("wardline rules test: {}", printable(fault));
    }
    if infos.is_empty() {
        eprintln!("wardline rules test: there is no info.yml to read tests from; see --help for an example");
        return ExitCode::from(2);
    }
    let wanted: BTreeSet<&str> = infos
        .iter()
        .filter_map(|info| info.tests.as_ref().ok())
        .flat_map(|tests| tests.rules.iter().map(|rule| rule.id.as_str()))
        .collect();
    let rules = Rules::find(args, &wanted);
    let outcomes: Vec<Outcome> =
        parallel::map(&infos, |info| run_info(info, &rules)).into_iter().flatten().collect();
    let failed = outcomes.iter().filter(|o| !o.passed()).count() + faults.len();
    match write(args, &outcomes, infos.len()) {
        Err(e) if e.kind() != io::ErrorKind::BrokenPipe => {
            eprintln!("wardline rules test: the results could not be written: {e}");
            ExitCode::FAILURE
        }
        _ if failed > 0 => ExitCode::FAILURE,
        _ => ExitCode::SUCCESS,
    }
}

/// The rules that the tests name.
struct Rules {
    set: RuleSet,
    by_id: HashMap<String, usize>,
    /// Why a rule that was found cannot be used, by its id.
    faults: HashMap<String, String>,
}

impl Rules {
    /// The rules named on the command line, or those in the nearest folder above the tests that has some of them.
    fn find(args: &TestArgs, wanted: &BTreeSet<&str>) -> Self {
        if !args.rules.is_empty() {
            return Self::load(&args.rules, wanted);
        }
        for path in &args.paths {
            let Ok(path) = fs::canonicalize(path) else { continue };
            for folder in path.ancestors() {
                let folders = rule_folders(folder);
                if folders.is_empty() {
                    continue;
                }
                let rules = Self::load(&folders, wanted);
                if !rules.by_id.is_empty() || !rules.faults.is_empty() {
                    return rules;
                }
            }
        }
        Self::load(&[], &BTreeSet::new())
    }

    fn load(paths: &[PathBuf], wanted: &BTreeSet<&str>) -> Self {
        let (sources, _) = if wanted.is_empty() { Default::default() } else { sources(paths) };
        let parse = |source: &Source| match &source.text {
            Ok(text) if !is_info(Path::new(&source.origin)) => {
                Collection::parse(text, &source.origin).map_err(|e| e.to_string())
            }
            Ok(_) => Ok(Collection::default()),
            Err(e) => Err(e.clone()),
        };
        let (mut all, mut faults) = (Collection::default(), HashMap::new());
        for (parsed, source) in parallel::map(&sources, parse).into_iter().zip(&sources) {
            match parsed {
                Ok(parsed) => all.extend(parsed),
                Err(fault) => {
                    // A rule that does not load still says which rule it is.
                    let text = source.text.as_deref().unwrap_or_default();
                    let id = text.lines().filter_map(|l| l.strip_prefix("id:")).map(str::trim).next();
                    faults.extend(id.filter(|id| wanted.contains(id)).map(|id| (id.to_owned(), fault)));
                }
            }
        }
        all.rules.retain(|rule| wanted.contains(rule.id.as_str()));
        for correlation in std::mem::take(&mut all.correlations) {
            let id = &correlation.attributes.id;
            if wanted.contains(id.as_str()) {
                let why =
                    "a correlation: its tests cannot be run yet, only those of the rules that it counts";
                faults.insert(id.clone(), why.to_owned());
            }
        }
        let ids: Vec<(String, String)> =
            all.rules.iter().map(|r| (r.id.clone(), format!("{}:{}:", r.origin, r.line))).collect();
        let linked = all.link(&LinkOptions::default());
        for fault in linked.faults.iter().filter(|f| !f.is_warning()) {
            let text = fault.to_string();
            let of =
                ids.iter().find(|(_, origin)| text.starts_with(origin.split(':').next().unwrap_or(origin)));
            faults.extend(of.map(|(id, _)| (id.clone(), text)));
        }
        let by_id = linked.rules.rules().iter().enumerate().map(|(i, r)| (r.id.clone(), i)).collect();
        Self { set: linked.rules, by_id, faults }
    }
}

/// The folders of rules in a repository: `rules`, `rules-emerging-threats`, …
fn rule_folders(root: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(root).into_iter().flatten().flatten();
    let mut found: Vec<PathBuf> = entries
        .filter(|e| e.file_name().as_encoded_bytes().starts_with(b"rules"))
        .map(|e| e.path())
        .filter(|path| path.is_dir())
        .collect();
    found.sort();
    found
}

fn run_info(info: &Info, rules: &Rules) -> Vec<Outcome> {
    let fault = |why: &str| Outcome {
        rule_id: String::new(),
        rule: String::new(),
        test: String::new(),
        path: info.path.display().to_string(),
        expected: 0,
        got: None,
        why: why.to_owned(),
    };
    let tests = match &info.tests {
        Ok(tests) => tests,
        Err(e) => return vec![fault(e)],
    };
    if tests.rules.is_empty() && !tests.tests.is_empty() {
        return vec![fault("the tests name no rule: add `rule_metadata` with the rule's id")];
    }
    let named: Vec<usize> = tests.rules.iter().filter_map(|r| rules.by_id.get(&r.id).copied()).collect();
    let mut out = Vec::new();
    for test in &tests.tests {
        let counted = recording(&info.path, &test.path)
            .ok_or_else(|| {
                format!("{} is not there, neither below a folder above nor beside the info.yml", test.path)
            })
            .map(|path| Counts::of(&path, rules, &named));
        for rule in &tests.rules {
            let known = rules.by_id.get(&rule.id);
            let title = known.map_or(rule.title.as_str(), |i| &rules.set.rules()[*i].title);
            let (got, why) = verdict(&rule.id, known.copied(), &counted, test, rules);
            out.push(Outcome {
                rule_id: rule.id.clone(),
                rule: title.to_owned(),
                test: test.name.clone(),
                path: test.path.clone(),
                expected: test.match_count,
                got,
                why,
            });
        }
    }
    out
}

/// How many events matched, and what else there is to say.
fn verdict(
    id: &str,
    rule: Option<usize>,
    counted: &Result<Counts, String>,
    test: &RegressionTest,
    rules: &Rules,
) -> (Option<u64>, String) {
    let Some(rule) = rule else {
        let why = rules.faults.get(id).cloned();
        return (
            None,
            why.unwrap_or_else(|| format!("no rule has the id {id}; name their folder with --rules")),
        );
    };
    let counts = match counted {
        Ok(counts) => counts,
        Err(why) => return (None, why.clone()),
    };
    let got = counts.matches.get(&rule).copied().unwrap_or_default();
    if got == test.match_count {
        return (Some(got), String::new());
    }
    let mut why = format!("{} in the recording", crate::scan::counted(counts.records, "record"));
    if let Some((n, source)) = counts.elsewhere.get(&rule) {
        let wanted = shown(&rules.set.rules()[rule].log_source);
        why =
            format!("{why}; {n} match but for their log source: {}, the rule is for {wanted}", shown(source));
    }
    if let Some(fault) = &counts.fault {
        why = format!("{why}; {fault}");
        // A recording of which nothing can be read says nothing about the rule.
        return (Some(got).filter(|_| counts.records > 0), why);
    }
    (Some(got), why)
}

fn shown(source: &LogSource<'_>) -> String {
    let term = |text: &str| if text.is_empty() { "-".to_owned() } else { text.to_owned() };
    format!("{}/{}/{}", term(&source.product), term(&source.category), term(&source.service))
}

/// Where a recording lies: below a folder above the test, or below the test's own folder.
fn recording(info: &Path, path: &str) -> Option<PathBuf> {
    let path = Path::new(path);
    let info = fs::canonicalize(info).ok()?;
    let above = info.ancestors().skip(1).map(|folder| folder.join(path));
    let beside = path.file_name().map(|name| info.with_file_name(name));
    above.chain(beside).find(|path| path.is_file())
}

/// What the rules of a test make of its recording.
#[derive(Default)]
struct Counts {
    records: u64,
    matches: HashMap<usize, u64>,
    /// Events that a rule would match if it were for their log source, and the first one's.
    elsewhere: HashMap<usize, (u64, LogSource<'static>)>,
    /// The first thing that could not be read.
    fault: Option<String>,
}

impl Counts {
    fn of(path: &Path, rules: &Rules, named: &[usize]) -> Self {
        let mut counts = Self::default();
        let mut scratch = rules.set.scratch();
        events::of_file(path, &mut |item| match item {
            Ok(record) => {
                counts.records += 1;
                let matched = events::matched(&rules.set, record, &mut scratch);
                for &rule in named {
                    if matched.contains(&rule) {
                        *counts.matches.entry(rule).or_default() += 1;
                    } else if rules.set.rules()[rule].explanation(&*record).condition.holds() {
                        counts.elsewhere.entry(rule).or_insert_with(|| (0, record.source.clone())).0 += 1;
                    }
                }
            }
            Err(e) => {
                counts.fault.get_or_insert_with(|| e.to_string());
            }
        });
        counts
    }
}

fn write(args: &TestArgs, outcomes: &[Outcome], infos: usize) -> io::Result<()> {
    let mut out = io::BufWriter::new(io::stdout().lock());
    let count = |f: &dyn Fn(&Outcome) -> bool| outcomes.iter().filter(|o| f(o)).count();
    let (passed, broken) = (count(&Outcome::passed), count(&|o| o.got.is_none()));
    if !args.json && !outcomes.is_empty() {
        writeln!(out, "{:<6} {:>8} {:>6}  {:<60} TEST", "RESULT", "EXPECTED", "GOT", "RULE")?;
    }
    for o in outcomes.iter().filter(|o| !args.quiet || !o.passed()) {
        if args.json {
            let line = json!({
                "rule_id": o.rule_id, "rule": o.rule, "test": o.test, "path": o.path, "expected": o.expected,
                "got": o.got, "passed": o.passed(), "why": o.why,
            });
            writeln!(out, "{}", printable_json(line.to_string()))?;
            continue;
        }
        let (word, style) =
            if o.passed() { ("ok", Style::new().green()) } else { ("FAILED", Style::new().red().bold()) };
        let got = o.got.map_or_else(|| "-".to_owned(), |n| n.to_string());
        let name = if o.rule.is_empty() { &o.rule_id } else { &o.rule };
        writeln!(
            out,
            "{} {:>8} {got:>6}  {:<60} {}",
            style.apply_to(format!("{word:<6}")),
            o.expected,
            printable(name),
            printable(&o.test)
        )?;
        if !o.why.is_empty() {
            // What is wrong with an info.yml names its place by itself.
            let path = if o.why.starts_with(&o.path) { String::new() } else { format!("{}: ", o.path) };
            writeln!(out, "       {}{}", printable(&path), printable(&o.why))?;
        }
    }
    out.flush()?;
    let failed = outcomes.len() - passed - broken;
    let total = format!(
        "{}: {passed} as expected, {failed} not, {broken} could not be run",
        crate::scan::counted(infos as u64, "file")
    );
    if args.json {
        writeln!(io::stderr(), "{total}")
    } else {
        writeln!(out, "{total}").and_then(|()| out.flush())
    }
}
