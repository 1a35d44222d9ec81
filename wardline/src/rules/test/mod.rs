//! `wardline rules test`: recorded events that rules must match, in SigmaHQ's format.

mod counts;
mod rules;

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use console::{Alignment, Style, pad_str, truncate_str};
use serde_json::json;
use wardline_event::LogSource;
use wardline_sigma::{RegressionTest, RegressionTests};

use super::context::{Context, ContextArgs};
use super::files::Files;
use super::parallel;
use counts::Counts;
use rules::{Rules, Tested};

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
`path` is relative to the folder that holds the rules and the tests, or to the info.yml. Of a correlation, `match_count` \
is how often it matches; the rules that it counts are looked for where it lies.

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
    #[command(flatten)]
    context: ContextArgs,
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
    let context = match args.context.read("rules test") {
        Ok(context) => context,
        Err(why) => {
            eprintln!("wardline rules test: {}", printable(&why));
            return ExitCode::from(2);
        }
    };
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
    let rules = Rules::find(args, &context.options, &wanted);
    let outcomes: Vec<Outcome> =
        parallel::map(&infos, |info| run_info(info, &rules, &context)).into_iter().flatten().collect();
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

fn run_info(info: &Info, rules: &Rules, context: &Context) -> Vec<Outcome> {
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
    let named: Vec<Tested> = tests.rules.iter().filter_map(|r| rules.tested(&r.id)).collect();
    let mut out = Vec::new();
    for test in &tests.tests {
        let counted = recording(&info.path, &test.path)
            .ok_or_else(|| {
                format!("{} is not there, neither below a folder above nor beside the info.yml", test.path)
            })
            .map(|path| Counts::of(&path, rules, context.sources(), &named));
        for rule in &tests.rules {
            let known = rules.tested(&rule.id);
            let title = known.map_or(rule.title.as_str(), |tested| rules.title(tested));
            let (got, why) = verdict(&rule.id, known, &counted, test, rules);
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
    rule: Option<Tested>,
    counted: &Result<Counts, String>,
    test: &RegressionTest,
    rules: &Rules,
) -> (Option<u64>, String) {
    let Some(rule) = rule else {
        let why = rules.fault(id).map(str::to_owned);
        return (
            None,
            why.unwrap_or_else(|| format!("no rule has the id {id}; name their folder with --rules")),
        );
    };
    let counts = match counted {
        Ok(counts) => counts,
        Err(why) => return (None, why.clone()),
    };
    let (got, untimed) = match rule {
        Tested::Rule(rule) => (counts.matches.get(&rule).copied().unwrap_or_default(), 0),
        Tested::Correlation(place) => counts.correlated.get(&place).copied().unwrap_or_default(),
    };
    if got == test.match_count {
        return (Some(got), String::new());
    }
    let mut why = format!("{} in the recording", crate::scan::counted(counts.records, "record"));
    if untimed > 0 {
        let n = crate::scan::counted(untimed, "record");
        why = format!("{why}; {n} not correlated, since they say no time");
    }
    if let Tested::Rule(rule) = rule
        && let Some((n, source)) = counts.elsewhere.get(&rule)
    {
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

/// Columns of the table: what stands before the rules, and rules where there is room.
const BEFORE_RULE: usize = 25;
const RULE: usize = 60;

fn write(args: &TestArgs, outcomes: &[Outcome], infos: usize) -> io::Result<()> {
    let mut out = io::BufWriter::new(io::stdout().lock());
    let count = |f: &dyn Fn(&Outcome) -> bool| outcomes.iter().filter(|o| f(o)).count();
    let (passed, broken) = (count(&Outcome::passed), count(&|o| o.got.is_none()));
    // On a narrow terminal a rule and its test have a line all the same.
    let narrow = super::columns().map(|columns| columns.saturating_sub(BEFORE_RULE));
    let rule = narrow.map_or(RULE, |room| RULE.min(room * 2 / 3));
    let cut = |text: &str, most: Option<usize>| {
        let text = printable(text);
        most.map_or(text.clone(), |most| truncate_str(&text, most, "…").into_owned().into()).into_owned()
    };
    let cell =
        |text: &str| pad_str(&cut(text, narrow.map(|_| rule)), rule, Alignment::Left, None).into_owned();
    if !args.json && !outcomes.is_empty() {
        writeln!(out, "{:<6} {:>8} {:>6}  {} TEST", "RESULT", "EXPECTED", "GOT", cell("RULE"))?;
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
            "{} {:>8} {got:>6}  {} {}",
            style.apply_to(format!("{word:<6}")),
            o.expected,
            cell(name),
            cut(&o.test, narrow.map(|room| room.saturating_sub(rule + 1)))
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
