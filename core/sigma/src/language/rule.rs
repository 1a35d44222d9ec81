//! A detection rule as written: its attributes and its parsed detection.

use std::borrow::Cow;
use std::fmt;
use std::ops::{Deref, DerefMut};

use wardline_event::{LogSource, Severity};

use crate::cache::{Deferred, print_of};
use crate::error::{Fault, Pos, RuleError};
use crate::language::aggregation::Aggregation;
use crate::language::ast::Detection;
use crate::language::attributes::{Attributes, log_source, missing};
use crate::language::collection::Collection;
use crate::language::detection;
use crate::language::yaml::Document;

/// One Sigma detection rule. Its [`Attributes`] are reached as if they were its own: `rule.title`.
#[derive(Clone)]
pub struct Rule {
    /// What it says of itself.
    pub attributes: Deferred<Attributes>,
    /// Which events it is for; `""` where it does not say.
    pub log_source: LogSource<'static>,
    pub(crate) detection: Deferred<Detection>,
    /// For a rule that was made of one with an aggregation: the id and name of that one, by which filters refer to it.
    pub(crate) stands_for: Option<Vec<String>>,
    /// Of a rule from a cache, as it was kept.
    brief: Option<Brief>,
}

/// What of a rule is needed to put it into a set.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Brief {
    pub id: String,
    pub level: Severity,
    /// See [`Detection::weight`].
    pub weight: usize,
    /// How many fields it names.
    pub fields: usize,
    /// It has placeholders without values.
    pub expands: bool,
}

impl Brief {
    pub fn of(attributes: &Attributes, detection: &Detection) -> Self {
        Self {
            id: attributes.id.clone(),
            level: attributes.level,
            weight: detection.weight(),
            fields: detection.field_names().len(),
            expands: detection.placeholder().is_some(),
        }
    }
}

impl Rule {
    /// Whether it was made of a rule with an aggregation of Sigma 1, for the events that this one counts. Only the
    /// correlation that was made of it too answers for what the rule asks for.
    pub fn is_part_of_aggregation(&self) -> bool {
        self.stands_for.is_some()
    }

    /// A rule from a cache.
    pub(crate) fn kept(
        attributes: Deferred<Attributes>,
        log_source: LogSource<'static>,
        detection: Deferred<Detection>,
        stands_for: Option<Vec<String>>,
        brief: Brief,
    ) -> Self {
        Self { attributes, log_source, detection, stands_for, brief: Some(brief) }
    }

    /// Without taking a rule from a cache apart, as long as nobody changed it.
    pub(crate) fn brief(&self) -> Cow<'_, Brief> {
        match &self.brief {
            Some(brief) if self.attributes.is_as_kept() && self.detection.is_as_kept() => {
                Cow::Borrowed(brief)
            }
            _ => Cow::Owned(Brief::of(&self.attributes, &self.detection)),
        }
    }

    /// A number that is another for another detection. A rule from a cache is not taken apart for it, as long as nobody
    /// changed it.
    pub(crate) fn print(&self) -> u64 {
        self.detection.digest().unwrap_or_else(|| print_of(&self.detection))
    }

    /// Whether it came from a cache that turned out to be damaged: then it may say less than it did.
    pub fn is_damaged(&self) -> bool {
        self.attributes.is_damaged() || self.detection.is_damaged()
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
        let (attributes, detection) = (attributes.into(), detection.into());
        Ok((Self { attributes, log_source, detection, stands_for: None, brief: None }, aggregation))
    }
}

impl fmt::Debug for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { attributes, log_source, detection, stands_for, brief: _ } = self;
        f.debug_struct("Rule")
            .field("attributes", attributes)
            .field("log_source", log_source)
            .field("detection", detection)
            .field("stands_for", stands_for)
            .finish()
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
