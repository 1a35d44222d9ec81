//! Everything that rule files hold: detection rules, correlations and filters.

use crate::correlation::{self, Correlation};
use crate::error::{Fault, Pos, RuleError};
use crate::language::action;
use crate::language::aggregation;
use crate::language::attributes::{Attributes, log_source, missing};
use crate::language::detection;
use crate::language::rule::Rule;
use crate::language::yaml::{self, Document, Kind, Node};
use crate::linking::filter::Filter;

/// The documents of one rule file, or of many.
///
/// ```
/// use wardline_sigma::Collection;
///
/// let collection = Collection::parse(
///     r"
/// action: global
/// title: Backups deleted
/// level: high
/// detection:
///   selection: {CommandLine|contains: 'delete shadows'}
///   condition: selection
/// ---
/// logsource: {product: windows, category: process_creation}
/// ---
/// logsource: {product: windows, service: powershell}
/// ",
///     "backups.yml",
/// )?;
/// assert_eq!(collection.rules.len(), 2);
/// assert_eq!(collection.rules[1].title, "Backups deleted");
/// # Ok::<(), wardline_sigma::RuleError>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Collection {
    /// Detection rules, in the order written.
    pub rules: Vec<Rule>,
    /// Correlations, in the order written.
    pub correlations: Vec<Correlation>,
    /// Filters, in the order written.
    pub filters: Vec<Filter>,
}

impl Collection {
    /// Reads all documents of one file. `origin` names the file in messages.
    ///
    /// # Errors
    /// The first fault, with its place.
    pub fn parse(text: &str, origin: &str) -> Result<Self, RuleError> {
        Self::read(text, origin).map_err(|fault| fault.at(origin))
    }

    fn read(text: &str, origin: &str) -> Result<Self, Fault> {
        let documents = Self::documents(text)?;
        let mut out = Self::default();
        for document in &documents {
            out.add(document, origin)?;
        }
        Ok(out)
    }

    /// The documents of a file, their actions carried out; at least one.
    pub(crate) fn documents(text: &str) -> Result<Vec<Document<'_>>, Fault> {
        // A byte order mark is no part of the first key.
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let documents = action::carry_out(yaml::parse(text)?)?;
        if documents.is_empty() {
            let pos = Pos { line: 1, column: 1 };
            return Err(Fault::new("S003", pos, "the file holds no rule", ""));
        }
        Ok(documents)
    }

    /// Adds what a document holds.
    pub(crate) fn add(&mut self, document: &Document<'_>, origin: &str) -> Result<(), Fault> {
        match DocumentKind::of(document)? {
            DocumentKind::Rule => {
                let (rule, aggregation) = Rule::read(document, origin)?;
                let Some(aggregation) = aggregation else {
                    self.rules.push(rule);
                    return Ok(());
                };
                let has_level = document.root.get("level").is_some();
                let (rules, correlation) = aggregation::convert(rule, aggregation, has_level)?;
                self.rules.extend(rules);
                self.correlations.push(correlation);
            }
            DocumentKind::Correlation(body) => {
                self.correlations.push(correlation::parse(document, body, origin)?);
            }
            DocumentKind::Filter(body) => self.filters.push(Filter::read(document, body, origin)?),
        }
        Ok(())
    }

    /// The faults of a document that do not follow from each other.
    pub(crate) fn faults(document: &Document<'_>) -> Vec<Fault> {
        let root = &document.root;
        let kind = match DocumentKind::of(document) {
            Ok(kind) if matches!(root.kind, Kind::Mapping(_)) => kind,
            _ => return Vec::new(),
        };
        let mut out = Attributes::faults(root);
        match kind {
            DocumentKind::Rule => {
                out.extend(log_source(root).err());
                match root.get("detection") {
                    Some(detection) => out.extend(detection::faults(detection)),
                    None => out.push(missing(root, "detection")),
                }
            }
            DocumentKind::Correlation(body) => out.extend(correlation::faults(body)),
            DocumentKind::Filter(body) => {
                out.extend(log_source(root).err());
                out.extend(detection::filter_faults(body));
            }
        }
        out
    }

    /// Adds the documents of another collection.
    pub fn extend(&mut self, other: Self) {
        self.rules.extend(other.rules);
        self.correlations.extend(other.correlations);
        self.filters.extend(other.filters);
    }
}

/// What a document is, and the value of the attribute that says so.
enum DocumentKind<'a> {
    Rule,
    Correlation(&'a Node),
    Filter(&'a Node),
}

impl<'a> DocumentKind<'a> {
    fn of(document: &'a Document<'_>) -> Result<Self, Fault> {
        let root = &document.root;
        let bodies = ["detection", "correlation", "filter"].map(|name| root.get(name));
        match bodies {
            [_, None, None] => Ok(Self::Rule),
            [None, Some(body), None] => Ok(Self::Correlation(body)),
            [None, None, Some(body)] => Ok(Self::Filter(body)),
            _ => Err(Fault::new(
                "S003",
                root.pos,
                "one document holds more than one of `detection`, `correlation` and `filter`",
                "put each into a document of its own, parted by `---`",
            )),
        }
    }
}
