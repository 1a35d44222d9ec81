//! The constructs of the specification, and the cases that show them.

use std::fs;
use std::path::{Path, PathBuf};

use super::{correlations, golden};

/// A construct of the specification.
pub struct Construct {
    /// The part of the specification.
    pub section: String,
    /// What it is.
    pub name: String,
    /// Its cases: of the folder `golden`, unless they name another.
    pub cases: Vec<String>,
}

fn tests() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests")
}

/// All of them, as `constructs.txt` has them.
pub fn constructs() -> Vec<Construct> {
    let text = fs::read_to_string(tests().join("constructs.txt")).unwrap();
    let (mut section, mut out) = (String::new(), Vec::new());
    for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            name.clone_into(&mut section);
            continue;
        }
        let (name, cases) =
            line.rsplit_once(": ").unwrap_or_else(|| panic!("`construct: cases`, not {line}"));
        let cases = cases.split_whitespace().map(str::to_owned).collect();
        out.push(Construct { section: section.clone(), name: name.to_owned(), cases });
    }
    out
}

impl Construct {
    /// What does not come out as written.
    pub fn wrong(&self) -> Vec<String> {
        self.cases.iter().flat_map(|case| wrong(case)).collect()
    }
}

fn wrong(case: &str) -> Vec<String> {
    if !case.starts_with("correlation/") {
        return golden(&tests().join(format!("golden/{case}.rule.yml")));
    }
    let path = tests().join(format!("{case}.rules.yml"));
    let (got, expected) = (correlations::run(&path), correlations::beside(&path, ".expected"));
    if got == expected { Vec::new() } else { vec![format!("{case}:\n{got}  expected:\n{expected}")] }
}
