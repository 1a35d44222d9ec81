//! Pipelines: rules written for one naming of fields, made to fit another.
//!
//! Two formats are read: this project's own, and the YAML of pySigma's processing pipelines. Both are described in
//! `docs/pipelines.md`. A pipeline is applied to the rules when they are put together
//! ([`crate::LinkOptions::pipelines`]), after the filters and before placeholders get their values.
//!
//! ```
//! use wardline_sigma::{Collection, LinkOptions, Pipeline};
//!
//! let mut options = LinkOptions::default();
//! options.pipelines.add(Pipeline::parse(
//!     "
//! pipeline: our-json
//! steps:
//!   - for: {product: windows, category: process_creation}
//!     rename: {Image: process.executable, CommandLine: process.command_line}
//! ",
//!     "our-json.yml",
//! )?);
//! let rules = Collection::parse(
//!     r"
//! title: Backups deleted
//! logsource: {product: windows, category: process_creation}
//! detection:
//!   selection: {Image|endswith: '\vssadmin.exe', CommandLine|contains: shadows}
//!   condition: selection
//! ",
//!     "backups.yml",
//! )?;
//! let linked = rules.link(&options);
//! let fields = linked.rules.rules()[0].field_names();
//! assert!(fields.contains("process.executable") && !fields.contains("Image"));
//! # Ok::<(), wardline_sigma::RuleError>(())
//! ```

mod applies;
mod conditions;
mod correlation;
mod fields;
mod own;
mod pysigma;
mod regexes;
mod run;
mod step;
mod text;
mod tree;
mod values;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use crate::correlation::Correlation;
use crate::error::{Fault, Pos, RuleError};
use crate::language::rule::Rule;
use crate::language::shape::Shape;
use crate::language::yaml;

use wardline_event::LogSource;

pub(crate) use run::AskedAndApplied;
use run::Run;
use step::Step;

pub(crate) const SHAPE: Shape = Shape { code: "S080" };

/// One pipeline.
#[derive(Clone, Debug)]
pub struct Pipeline {
    /// Its name; that of its file if it has none.
    pub name: String,
    /// Pipelines of a lower priority are applied first.
    pub priority: i64,
    /// What is in the file and has no effect here, one sentence each.
    pub notices: Vec<String>,
    steps: Vec<Step>,
    /// Values of placeholders.
    vars: BTreeMap<String, Vec<String>>,
}

/// Pipelines in the order in which they are applied.
#[derive(Clone, Debug, Default)]
pub struct Pipelines {
    list: Vec<Pipeline>,
    vars: BTreeMap<String, Vec<String>>,
}

impl Pipeline {
    /// Reads a file with one pipeline, of either format.
    ///
    /// # Errors
    /// The first fault, with its place. A transformation that cannot be applied is one: it is never left out.
    pub fn parse(text: &str, origin: &str) -> Result<Self, RuleError> {
        Self::read(text, origin).map_err(|fault| fault.at(origin))
    }

    fn read(text: &str, origin: &str) -> Result<Self, Fault> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let documents = yaml::parse(text)?;
        let [document] = &*documents else {
            let pos = documents.get(1).map_or(Pos { line: 1, column: 1 }, |d| d.root.pos);
            let found = documents.len();
            return Err(Fault::new(
                "S080",
                pos,
                format!("the file holds {found} documents instead of one pipeline"),
                "keep each pipeline in a file of its own",
            ));
        };
        let root = &document.root;
        let mut pipeline =
            if root.get("pipeline").is_some() { own::read(root) } else { pysigma::read(root) }?;
        if pipeline.name.is_empty() {
            origin.clone_into(&mut pipeline.name);
        }
        Ok(pipeline)
    }
}

impl Pipelines {
    /// Adds a pipeline, behind those of the same or a lower priority.
    pub fn add(&mut self, pipeline: Pipeline) {
        self.vars.extend(pipeline.vars.iter().map(|(name, values)| (name.clone(), values.clone())));
        let at = self.list.partition_point(|p| p.priority <= pipeline.priority);
        self.list.insert(at, pipeline);
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// The pipelines in their order.
    pub fn iter(&self) -> impl Iterator<Item = &Pipeline> {
        self.list.iter()
    }

    /// Applies all of them to a rule; gives what correlations over it need to know.
    pub(crate) fn apply(&self, rule: &mut Rule) -> Result<AskedAndApplied, RuleError> {
        let mut run = Run::new(&self.vars);
        run.rule(rule, self.steps())?;
        Ok(run.asked_and_applied)
    }

    /// Applies all of them to a correlation over rules of these log sources, to which these steps were applied.
    pub(crate) fn apply_to_correlation(
        &self,
        correlation: &mut Correlation,
        sources: Vec<LogSource<'static>>,
        asked_and_applied: AskedAndApplied,
    ) -> Result<(), RuleError> {
        let mut run = Run::new(&self.vars);
        run.asked_and_applied = asked_and_applied;
        run.correlation(correlation, sources, self.steps())
    }

    /// Names and steps.
    fn steps(&self) -> impl Iterator<Item = (&str, &[Step])> {
        self.list.iter().map(|p| (&*p.name, &*p.steps))
    }
}
