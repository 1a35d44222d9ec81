//! Finding tests, and the files that they name.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use wardline_sigma::RegressionTests;

use crate::rules::files::Files;
use crate::rules::parallel;

/// An info.yml.
pub struct Info {
    pub path: PathBuf,
    /// What it says, or why it cannot be read.
    pub tests: Result<RegressionTests, String>,
}

/// Whether a file is the description of a test.
pub fn is_info(path: &Path) -> bool {
    path.file_name().is_some_and(|n| n == "info.yml" || n == "info.yaml")
}

/// The tests at the paths, and what could not be looked at. Where there are rules only, the tests that these name by
/// `regression_tests_path`.
pub fn infos(paths: &[PathBuf]) -> (Vec<Info>, Vec<String>) {
    let Files { list, mut faults } = Files::collect(paths);
    let files: Vec<PathBuf> = list.into_iter().map(|file| file.path).collect();
    let (mut infos, others): (Vec<PathBuf>, Vec<PathBuf>) = files.into_iter().partition(|path| is_info(path));
    if infos.is_empty() {
        let named = parallel::map(&others, |rule| named_by(rule));
        let mut seen = BTreeSet::new();
        for (rule, named) in others.iter().zip(named) {
            for name in named {
                match below_a_folder_above(rule, &name) {
                    Some(path) => {
                        if seen.insert(fs::canonicalize(&path).unwrap_or_else(|_| path.clone())) {
                            infos.push(path);
                        }
                    }
                    None => faults.push(format!(
                        "{}: its regression_tests_path {name} is not there, below no folder above",
                        rule.display()
                    )),
                }
            }
        }
    }
    if infos.is_empty() {
        // Somebody who names a file means it, whatever its name.
        infos.extend(others.into_iter().filter(|path| paths.contains(path)));
    }
    let read = |path: &PathBuf| {
        let text = fs::read_to_string(path).map_err(|e| format!("{}: cannot be read: {e}", path.display()));
        let tests = text.and_then(|text| {
            RegressionTests::parse(&text, &path.display().to_string()).map_err(|e| e.to_string())
        });
        Info { path: path.clone(), tests }
    };
    (parallel::map(&infos, read), faults)
}

/// The ids of all rules that have a test at the paths.
pub fn tested_ids(paths: &[PathBuf]) -> BTreeSet<String> {
    let (infos, _) = infos(paths);
    let tests = infos.into_iter().filter_map(|info| info.tests.ok()).filter(|t| !t.tests.is_empty());
    tests.flat_map(|t| t.rules).map(|rule| rule.id).collect()
}

/// The tests that the rules of a file name.
fn named_by(rule: &Path) -> Vec<String> {
    let text = fs::read_to_string(rule).unwrap_or_default();
    let values = text.lines().filter_map(|line| line.strip_prefix("regression_tests_path:"));
    let bare = |value: &str| {
        let value = value.split(" #").next().unwrap_or_default().trim();
        value.trim_matches(['\'', '"']).to_owned()
    };
    values.map(bare).filter(|value| !value.is_empty()).collect()
}

/// A file that a test or rule names: relative to a folder above it, since nobody says which folder is that of the
/// repository.
fn below_a_folder_above(of: &Path, name: &str) -> Option<PathBuf> {
    let of = fs::canonicalize(of).ok()?;
    let name = with_slashes(name);
    of.ancestors().skip(1).map(|folder| folder.join(&*name)).find(|path| path.is_file())
}

/// Where a file lies that a test names: below a folder above the test, or beside the test.
///
/// # Errors
/// Why there is none.
pub fn named(info: &Path, name: &str) -> Result<PathBuf, String> {
    let beside = |name: &Path| info.parent().unwrap_or(Path::new("")).join(name);
    let file = PathBuf::from(&*with_slashes(name));
    let near = file.file_name().map(|name| beside(Path::new(name))).filter(|path| path.is_file());
    below_a_folder_above(info, name).or(near).ok_or_else(|| {
        let why = format!("{name} is not there, neither below a folder above nor beside the info.yml");
        let other = ["evtx", "json", "jsonl", "ndjson", "xml"].map(|ending| file.with_extension(ending));
        let other =
            other.iter().filter_map(|path| path.file_name()).find(|name| beside(Path::new(name)).is_file());
        other.map_or(why.clone(), |other| format!("{why}; {} is", other.to_string_lossy()))
    })
}

/// A path that may have been written on Windows.
fn with_slashes(path: &str) -> Cow<'_, str> {
    if path.contains('\\') && !path.contains('/') { path.replace('\\', "/").into() } else { path.into() }
}
