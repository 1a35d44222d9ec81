//! Lints: what a rule that loads should still not say.
//!
//! [`Linter::file`] looks at the text of one file, [`set`] at rules together. Both are pure; whoever calls them shows the
//! [`Diagnostic`]s. Every code stands in [`CODES`]. A fault that keeps a rule from loading
//! ([`RuleError`]) becomes a diagnostic too, so that there is one list to show.

mod attributes;
mod condition;
mod items;
mod log_source;
mod modifiers;
mod regexes;
mod report;
mod selections;
mod set;
mod table;
mod tags;
mod values;

use crate::error::RuleError;
use crate::language::collection::Collection;
use crate::language::yaml::Node;
use crate::sources::Sources;

pub use set::{set, untested};
pub use table::{CODES, Code};

use report::Report;

/// How much a finding matters.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Level {
    /// A matter of style: the rule does what it says.
    Note,
    /// The rule very likely does not do what its author meant, or not as well as it could.
    Warning,
    /// The rule cannot be used.
    Error,
}

impl Level {
    /// `note`, `warning`, `error`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

/// One finding.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Diagnostic {
    /// One of [`CODES`].
    pub code: &'static str,
    /// How much it matters.
    pub level: Level,
    /// The file name or whatever else the rule came from.
    pub origin: String,
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// How many characters it is about, at least 1.
    pub width: usize,
    /// What is wrong.
    pub message: String,
    /// What to do about it; empty if there is nothing useful to say.
    pub help: String,
}

/// What a file holds.
#[derive(Debug)]
pub struct Linted {
    /// The rules, correlations and filters that can be read.
    pub collection: Collection,
    /// Findings in the order of the lines.
    pub diagnostics: Vec<Diagnostic>,
}

/// Lints rules against the log sources that there are.
pub struct Linter<'s> {
    known: log_source::Known<'s>,
}

impl<'s> Linter<'s> {
    /// A linter that knows these sources of events. Share it: it remembers what it asked of them.
    pub fn new(sources: &'s Sources) -> Self {
        Self { known: log_source::Known::new(sources) }
    }

    /// Reads a file of rules and lints each of them alone. `origin` names the file in the findings.
    pub fn file(&self, text: &str, origin: &str) -> Linted {
        let mut report = Report::new(origin);
        let mut collection = Collection::default();
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        match Collection::documents(text) {
            Ok(documents) => {
                for document in &documents {
                    if let Err(first) = collection.add(document, origin) {
                        report.faults(text, first, Collection::faults(document));
                    }
                    self.document(&document.root, &mut report);
                }
            }
            Err(fault) => report.error(text, fault.at(origin)),
        }
        let mut diagnostics = report.out;
        diagnostics.sort_by(|a, b| {
            (a.line, a.column, a.code, &a.message).cmp(&(b.line, b.column, b.code, &b.message))
        });
        // What `action: global` says, each of its rules says at the same place.
        diagnostics.dedup();
        Linted { collection, diagnostics }
    }

    fn document(&self, root: &Node, report: &mut Report<'_>) {
        attributes::check(root, report);
        let Some(detection) = root.get("detection") else { return };
        let selections = items::selections(detection);
        condition::check(detection, &selections, report);
        selections::check(&selections, report);
        self.known.check(root, &selections, report);
        for item in selections.iter().flat_map(|s| s.groups.iter().flatten()) {
            modifiers::check(item, report);
            values::check(item, report);
            regexes::check(item, report);
        }
    }
}

impl Diagnostic {
    /// A fault as a finding. `text` is that of the file, to tell how long the faulty word is.
    pub fn of_error(error: RuleError, text: &str) -> Self {
        let width = report::word_width(text, error.line, error.column);
        Self {
            code: error.code,
            level: table::level_of(error.code),
            origin: error.origin,
            line: error.line,
            column: error.column,
            width,
            message: error.message,
            help: error.hint,
        }
    }
}
