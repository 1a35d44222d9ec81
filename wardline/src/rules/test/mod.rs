//! `wardline rules test`: recorded events that rules must match, in SigmaHQ's format.

mod counts;
mod infos;
mod report;
mod rules;

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use wardline_event::LogSource;
use wardline_sigma::{Collection, Pipeline, RegressionTest};

use super::context::{Context, ContextArgs};
use super::parallel;
use crate::printable::printable;
use counts::{Count, Counts, Together};
pub use infos::tested_ids;
use infos::{Info, infos, named};
use rules::{Rules, Tested};

const EXAMPLES: &str = "\
Examples:
  wardline rules test sigma/regression_data
      Every test below the folder, with the rules that lie beside it (sigma/rules, sigma/rules-…).
  wardline rules test my-tests/ --rules my-rules/ --json
      Tests of rules that lie elsewhere; one JSON object for each.
  wardline rules test sigma/rules/windows/registry
      The tests that rules name by regression_tests_path.

A test is an `info.yml` that names rules by id and recordings with the number of events that the rules match:
  rule_metadata:
      - id: 5bed80b6-b3e8-428e-a3ae-d3c757589e41
  regression_tests_info:
      - {name: Positive Detection Test, type: evtx, match_count: 1, path: regression_data/…/5bed80b6.evtx}
`path` is relative to the folder that holds the rules and the tests, or to the info.yml. `match_count` is the least that \
is expected, and 0 that nothing matches; without it at least one match is. Of a correlation it is how often it matches; \
the rules that it counts are looked for where it lies.

Exit code: 0 every test came out as it should; 1 one did not; 2 there is no test, or wrong usage.";

/// Run the regression tests of rules.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct TestArgs {
    /// Folders that are searched for info.yml, or such files; or rules that name their tests
    #[arg(required = true, value_name = "DIR")]
    paths: Vec<PathBuf>,
    /// Rule files or folders; may be given several times [default: the folders rules* in, beside or above DIR, then DIR, then its repository]
    #[arg(short, long, value_name = "PATH")]
    rules: Vec<PathBuf>,
    #[command(flatten)]
    context: ContextArgs,
    /// More matches than `match_count` are as wrong as fewer
    #[arg(long)]
    exact: bool,
    /// One JSON object for each test and rule
    #[arg(long)]
    json: bool,
    /// Only tests that do not come out as they should, and the totals
    #[arg(short, long)]
    quiet: bool,
}

/// What became of one rule in one test.
struct Outcome {
    rule_id: String,
    rule: String,
    test: String,
    path: String,
    /// The least number of events; `None` if at least one must match.
    expected: Option<u64>,
    /// How many events matched; `None` if it could not be found out.
    got: Option<u64>,
    passed: bool,
    /// What is known about why it is not as expected.
    why: String,
}

impl Outcome {
    /// Whether more events matched than the test says.
    fn has_more(&self) -> bool {
        self.expected.is_some_and(|expected| self.got.is_some_and(|got| got > expected))
    }
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
    let wanted: BTreeSet<String> = infos
        .iter()
        .filter_map(|info| info.tests.as_ref().ok())
        .flat_map(|tests| tests.rules.iter().map(|rule| rule.id.to_ascii_lowercase()))
        .collect();
    let rules = Rules::find(args, &context.options, &wanted);
    let run = Run { rules: &rules, context: &context, exact: args.exact };
    let outcomes: Vec<Outcome> = parallel::map(&infos, |info| run.info(info)).into_iter().flatten().collect();
    let failed = outcomes.iter().filter(|o| !o.passed).count() + faults.len();
    let bare = infos.iter().filter(|info| info.tests.as_ref().is_ok_and(|t| t.tests.is_empty())).count();
    match report::write(args, &outcomes, infos.len(), bare) {
        Err(e) if e.kind() != io::ErrorKind::BrokenPipe => {
            eprintln!("wardline rules test: the results could not be written: {e}");
            ExitCode::FAILURE
        }
        _ if failed > 0 => ExitCode::FAILURE,
        _ => ExitCode::SUCCESS,
    }
}

/// What all tests are run with.
struct Run<'a> {
    rules: &'a Rules,
    context: &'a Context,
    exact: bool,
}

impl Run<'_> {
    fn info(&self, info: &Info) -> Vec<Outcome> {
        let fault = |why: &str| Outcome {
            rule_id: String::new(),
            rule: String::new(),
            test: String::new(),
            path: info.path.display().to_string(),
            expected: None,
            got: None,
            passed: false,
            why: why.to_owned(),
        };
        let tests = match &info.tests {
            Ok(tests) => tests,
            Err(e) => return vec![fault(e)],
        };
        if tests.rules.is_empty() && !tests.tests.is_empty() {
            return vec![fault("the tests name no rule: add `rule_metadata` with the rule's id")];
        }
        let ids: Vec<String> = tests.rules.iter().map(|rule| rule.id.to_ascii_lowercase()).collect();
        let mut out = Vec::new();
        for test in &tests.tests {
            let counts = self.counts(info, test, &ids);
            for (i, (rule, id)) in tests.rules.iter().zip(&ids).enumerate() {
                let known = self.rules.tested(id);
                let title = known.map_or(rule.title.as_str(), |tested| self.rules.title(tested));
                let (got, why) = self.verdict(id, known, &counts, i, test);
                let exactly = || !self.exact || test.match_count.is_none() || got == test.match_count;
                out.push(Outcome {
                    rule_id: rule.id.clone(),
                    rule: title.to_owned(),
                    test: test.name.clone(),
                    path: test.path.clone(),
                    expected: test.match_count,
                    got,
                    passed: got.is_some_and(|got| test.accepts(got)) && exactly(),
                    why,
                });
            }
        }
        out
    }

    /// What the rules with these ids find in the recording of a test.
    fn counts(&self, info: &Info, test: &RegressionTest, ids: &[String]) -> Result<Counts, String> {
        let path = named(&info.path, &test.path)?;
        // They make rules fit recordings with other names of fields, which EVTX does not have.
        let other_names = test.format.to_ascii_lowercase().contains("json");
        let (mut options, mut filters) = (self.context.options.clone(), Collection::default());
        let wanted = || ids.iter().cloned().collect::<BTreeSet<String>>();
        let read = |name: &str| {
            let path = named(&info.path, name)?;
            fs::read_to_string(&path).map_err(|e| format!("{}: cannot be read: {e}", path.display()))
        };
        for name in test.filters.iter().filter(|_| other_names) {
            filters.extend(Collection::parse(&read(name)?, name).map_err(|e| e.to_string())?);
        }
        let filtered = (!filters.filters.is_empty()).then(|| self.rules.again(&options, &filters, &wanted()));
        for name in test.pipelines.iter().filter(|_| other_names) {
            options.pipelines.add(Pipeline::parse(&read(name)?, name).map_err(|e| e.to_string())?);
        }
        let piped = (other_names && !test.pipelines.is_empty())
            .then(|| self.rules.again(&options, &filters, &wanted()));
        let together = Together { plain: filtered.as_ref().unwrap_or(self.rules), piped: piped.as_ref() };
        Ok(Counts::of(&path, &together, self.context.sources(), ids))
    }

    /// How many events matched, and what else there is to say.
    fn verdict(
        &self,
        id: &str,
        rule: Option<Tested>,
        counts: &Result<Counts, String>,
        place: usize,
        test: &RegressionTest,
    ) -> (Option<u64>, String) {
        let Some(rule) = rule else {
            let why = self.rules.fault(id).map(str::to_owned);
            return (
                None,
                why.unwrap_or_else(|| format!("no rule has the id {id}; name their folder with --rules")),
            );
        };
        let counts = match counts {
            Ok(counts) => counts,
            Err(why) => return (None, why.clone()),
        };
        let Count { matches: got, elsewhere, untimed } = &counts.rules[place];
        if test.match_count.map_or(*got > 0, |expected| *got == expected) {
            return (Some(*got), String::new());
        }
        let mut why = if test.accepts(*got) && !self.exact {
            "more match than the test says; with --exact that is a failure".to_owned()
        } else {
            format!("{} in the recording", crate::scan::counted(counts.records, "record"))
        };
        if *untimed > 0 {
            let n = crate::scan::counted(*untimed, "record");
            why = format!("{why}; {n} not correlated, since they say no time");
        }
        if let Tested::Rule(rule) = rule
            && let Some((n, source)) = elsewhere
        {
            let wanted = shown(&self.rules.set.rules()[rule].log_source);
            why = format!(
                "{why}; {n} match but for their log source: {}, the rule is for {wanted}",
                shown(source)
            );
        }
        if let Some(fault) = &counts.fault {
            why = format!("{why}; {fault}");
            // A recording of which nothing can be read says nothing about the rule.
            return (Some(*got).filter(|_| counts.records > 0), why);
        }
        (Some(*got), why)
    }
}

fn shown(source: &LogSource<'_>) -> String {
    let term = |text: &str| if text.is_empty() { "-".to_owned() } else { text.to_owned() };
    format!("{}/{}/{}", term(&source.product), term(&source.category), term(&source.service))
}
