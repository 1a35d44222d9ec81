//! A rule as written: its attributes and its parsed detection.

use serde_json::Map;
use wardline_event::{LogSource, Severity, Technique};

use crate::ast::Detection;
use crate::detection;
use crate::error::{Fault, RuleError};
use crate::yaml::{self, Document, Kind, Node, Typed};

/// One Sigma rule.
#[derive(Clone, Debug)]
pub struct Rule {
    /// The rule's UUID; empty if it has none.
    pub id: String,
    /// Its title.
    pub title: String,
    /// A short name by which correlations refer to it; empty if it has none.
    pub name: String,
    /// What it means, for a person.
    pub description: String,
    /// `experimental`, `test`, `stable`, …
    pub status: String,
    /// Who wrote it.
    pub author: String,
    /// When it was written, as written.
    pub date: String,
    /// When it was last changed, as written.
    pub modified: String,
    /// How bad a match is; informational if the rule does not say.
    pub level: Severity,
    /// `attack.t1486`, `cve.2021-44228`, …
    pub tags: Vec<String>,
    /// Which events it is for; `""` where it does not say.
    pub log_source: LogSource<'static>,
    /// Harmless things that look the same.
    pub false_positives: Vec<String>,
    /// Where to read more.
    pub references: Vec<String>,
    /// Fields that an analyst wants to see.
    pub fields: Vec<String>,
    /// Its text as written.
    pub source: String,
    /// The file that it came from, or whatever else names its origin.
    pub origin: String,
    /// The line of `source`'s file in which it begins.
    pub line: usize,
    /// Top-level attributes that Sigma does not define, as JSON.
    pub extra: Map<String, serde_json::Value>,
    pub(crate) detection: Detection,
}

/// Top-level attributes that the specification defines.
const DEFINED: &[&str] = &[
    "title",
    "id",
    "name",
    "related",
    "taxonomy",
    "status",
    "description",
    "license",
    "author",
    "references",
    "date",
    "modified",
    "logsource",
    "detection",
    "fields",
    "falsepositives",
    "level",
    "tags",
    "scope",
];

impl Rule {
    /// Reads the rules of one file: one or several YAML documents.
    ///
    /// # Errors
    /// The first fault, with its place. Correlations, filters and collections are not supported yet and are
    /// faults too, so that nobody believes in a rule that never fires.
    pub fn parse(text: &str, origin: &str) -> Result<Vec<Self>, RuleError> {
        // A byte order mark is no part of the first key.
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let documents = yaml::parse(text).map_err(|fault| fault.at(origin))?;
        if documents.is_empty() {
            let pos = crate::error::Pos { line: 1, column: 1 };
            return Err(Fault::new("S003", pos, "the file holds no rule", "").at(origin));
        }
        documents.iter().map(|d| read(d, origin).map_err(|fault| fault.at(origin))).collect()
    }

    /// The ATT&CK techniques that its tags name, in their order, each once.
    pub fn techniques(&self) -> Vec<Technique> {
        let mut out: Vec<Technique> = Vec::new();
        for tag in &self.tags {
            let tag = tag.to_ascii_uppercase();
            let Some(id) = tag.strip_prefix("ATTACK.") else { continue };
            if is_technique(id) && !out.iter().any(|t| t.0 == id) {
                out.push(Technique(id.to_owned()));
            }
        }
        out
    }
}

/// `T1059` or `T1059.001`.
fn is_technique(id: &str) -> bool {
    let digits = |text: &str, n: usize| text.len() == n && text.bytes().all(|b| b.is_ascii_digit());
    let Some(rest) = id.strip_prefix('T') else { return false };
    match rest.split_once('.') {
        Some((technique, sub)) => digits(technique, 4) && digits(sub, 3),
        None => digits(rest, 4),
    }
}

fn read(document: &Document<'_>, origin: &str) -> Result<Rule, Fault> {
    let root = &document.root;
    let Kind::Mapping(pairs) = &root.kind else {
        return Err(Fault::new(
            "S003",
            root.pos,
            "a rule is a mapping of attributes",
            "begin with `title: …`",
        ));
    };
    refuse_other_kinds(pairs)?;
    let title = text(root, "title")?;
    if title.is_empty() {
        return Err(missing(root, "title"));
    }
    let level = match root.get("level") {
        None => Severity::Informational,
        Some(node) => {
            let word = scalar(node, "level")?;
            Severity::parse(&word).ok_or_else(|| {
                Fault::new(
                    "S011",
                    node.pos,
                    format!("`{word}` is not a level"),
                    "levels: informational, low, medium, high, critical",
                )
            })?
        }
    };
    let log_source = log_source(root.get("logsource").ok_or_else(|| missing(root, "logsource"))?)?;
    let detection = detection::read(root.get("detection").ok_or_else(|| missing(root, "detection"))?)?;
    let extra = pairs
        .iter()
        .filter(|(key, _)| !DEFINED.contains(&key.text.as_str()))
        .map(|(key, value)| (key.text.clone(), value.to_json()))
        .collect();
    Ok(Rule {
        id: text(root, "id")?,
        title,
        name: text(root, "name")?,
        description: text(root, "description")?,
        status: text(root, "status")?,
        author: text(root, "author")?,
        date: text(root, "date")?,
        modified: text(root, "modified")?,
        level,
        tags: texts(root, "tags")?,
        log_source,
        false_positives: texts(root, "falsepositives")?,
        references: texts(root, "references")?,
        fields: texts(root, "fields")?,
        source: document.text.to_owned(),
        origin: origin.to_owned(),
        line: root.pos.line,
        extra,
        detection,
    })
}

fn refuse_other_kinds(pairs: &[(yaml::Key, Node)]) -> Result<(), Fault> {
    for (key, _) in pairs {
        let (code, what) = match key.text.as_str() {
            "correlation" => ("S020", "correlation rules are not supported yet"),
            "filter" => ("S021", "filters are not supported yet"),
            "action" => ("S022", "rule collections with `action` are not supported yet"),
            _ => continue,
        };
        let hint = "keep it in a file of its own, so that the plain rules beside it load";
        return Err(Fault::new(code, key.pos, what, hint));
    }
    Ok(())
}

fn missing(root: &Node, name: &str) -> Fault {
    Fault::new("S010", root.pos, format!("the rule has no `{name}`"), format!("add `{name}:`"))
}

fn scalar(node: &Node, name: &str) -> Result<String, Fault> {
    match &node.kind {
        Kind::Scalar(s) if s.typed() == Typed::Null => Ok(String::new()),
        Kind::Scalar(s) => Ok(s.text.clone()),
        _ => Err(Fault::new(
            "S011",
            node.pos,
            format!("`{name}` must be text"),
            "give one value, not a list or mapping",
        )),
    }
}

fn text(root: &Node, name: &str) -> Result<String, Fault> {
    root.get(name).map_or(Ok(String::new()), |node| scalar(node, name))
}

fn texts(root: &Node, name: &str) -> Result<Vec<String>, Fault> {
    match root.get(name).map(|node| (node, &node.kind)) {
        None => Ok(Vec::new()),
        Some((_, Kind::Sequence(items))) => items.iter().map(|item| scalar(item, name)).collect(),
        // A single value instead of a list is common and means the same.
        Some((node, _)) => Ok(Some(scalar(node, name)?).filter(|t| !t.is_empty()).into_iter().collect()),
    }
}

fn log_source(node: &Node) -> Result<LogSource<'static>, Fault> {
    if !matches!(node.kind, Kind::Mapping(_)) {
        return Err(Fault::new(
            "S011",
            node.pos,
            "`logsource` must be a mapping",
            "give `product`, `category` or `service`",
        ));
    }
    let term = |name| text(node, name).map(|t| std::borrow::Cow::Owned(t.trim().to_owned()));
    let source =
        LogSource { product: term("product")?, category: term("category")?, service: term("service")? };
    if source == LogSource::default() {
        return Err(Fault::new(
            "S011",
            node.pos,
            "`logsource` names no product, category or service",
            "give at least one of the three",
        ));
    }
    Ok(source)
}
