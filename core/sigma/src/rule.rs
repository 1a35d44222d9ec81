//! A detection rule as written: its attributes and its parsed detection.

use std::ops::{Deref, DerefMut};

use wardline_event::LogSource;

use crate::aggregation::Aggregation;
use crate::ast::Detection;
use crate::attributes::{Attributes, log_source, missing};
use crate::collection::Collection;
use crate::detection;
use crate::error::{Fault, Pos, RuleError};
use crate::yaml::Document;

/// One Sigma detection rule. Its [`Attributes`] are reached as if they were its own: `rule.title`.
#[derive(Clone, Debug)]
pub struct Rule {
    /// What it says of itself.
    pub attributes: Attributes,
    /// Which events it is for; `""` where it does not say.
    pub log_source: LogSource<'static>,
    pub(crate) detection: Detection,
    /// For a rule that was made of one with an aggregation: the id and name of that one, by which filters refer to it.
    pub(crate) stands_for: Option<Vec<String>>,
}

impl Rule {
    /// Whether it was made of a rule with an aggregation of Sigma 1, for the events that this one counts. Only the
    /// correlation that was made of it too answers for what the rule asks for.
    pub fn is_part_of_aggregation(&self) -> bool {
        self.stands_for.is_some()
    }

    /// Reads the detection rules of one file: one or several YAML documents.
    ///
    /// # Errors
    /// The first fault, with its place. A correlation or filter is a fault here, since it means something only
    /// together with the rules that it names: [`Collection`] reads those too.
    pub fn parse(text: &str, origin: &str) -> Result<Vec<Self>, RuleError> {
        let collection = Collection::parse(text, origin)?;
        if let Some(rule) = collection.rules.iter().find(|rule| rule.is_part_of_aggregation()) {
            let pos = Pos { line: rule.line, column: 1 };
            let what = "a rule with an aggregation, where only detection rules are read";
            let hint = "write the rule without it and add a correlation rule that counts its matches";
            return Err(Fault::new("S023", pos, what, hint).at(origin));
        }
        let correlation = collection.correlations.first().map(|c| ("S020", "correlation", c.attributes.line));
        let filter = collection.filters.first().map(|f| ("S021", "filter", f.attributes.line));
        let Some((code, what, line)) = correlation.or(filter) else { return Ok(collection.rules) };
        let fault = Fault::new(
            code,
            Pos { line, column: 1 },
            format!("a {what}, where only detection rules are read"),
            "load it together with the rules that it names",
        );
        Err(fault.at(origin))
    }

    /// Reads one document: the rule, and the aggregation of Sigma 1 that its condition ends with.
    pub(crate) fn read(document: &Document<'_>, origin: &str) -> Result<(Self, Option<Aggregation>), Fault> {
        let attributes = Attributes::read(document, origin)?;
        let root = &document.root;
        let log_source = log_source(root)?;
        let (detection, aggregation) =
            detection::read(root.get("detection").ok_or_else(|| missing(root, "detection"))?)?;
        Ok((Self { attributes, log_source, detection, stands_for: None }, aggregation))
    }
}

impl Deref for Rule {
    type Target = Attributes;

    fn deref(&self) -> &Attributes {
        &self.attributes
    }
}

impl DerefMut for Rule {
    fn deref_mut(&mut self) -> &mut Attributes {
        &mut self.attributes
    }
}
