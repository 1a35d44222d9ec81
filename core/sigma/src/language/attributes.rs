//! What every Sigma document says of itself: detection rules, correlations and filters alike.

use serde_json::Map;
use wardline_event::{LogSource, Severity, Technique};

use crate::error::{Fault, Pos};
use crate::language::yaml::{Document, Kind, Node, Typed};

/// The attributes that detection rules, correlations and filters share.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Attributes {
    /// The document's UUID; empty if it has none.
    pub id: String,
    /// Its title.
    pub title: String,
    /// A short name by which correlations and filters refer to it; empty if it has none.
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
    /// Its licence, as an SPDX expression.
    pub license: String,
    /// The taxonomy of its names; empty for Sigma's own.
    pub taxonomy: String,
    /// How bad a match is; informational if the document does not say.
    pub level: Severity,
    /// `attack.t1486`, `cve.2021-44228`, …
    pub tags: Vec<String>,
    /// The kinds of machine that it is meant for.
    pub scope: Vec<String>,
    /// Other rules that it has to do with.
    pub related: Vec<Related>,
    /// Harmless things that look the same.
    pub false_positives: Vec<String>,
    /// Where to read more.
    pub references: Vec<String>,
    /// Fields that an analyst wants to see.
    pub fields: Vec<String>,
    /// Its text as written; of a collection with `action`, its own document.
    pub source: String,
    /// The file that it came from, or whatever else names its origin.
    pub origin: String,
    /// The line of `source`'s file in which it begins.
    pub line: usize,
    /// Top-level attributes that Sigma does not define, as JSON.
    pub extra: Map<String, serde_json::Value>,
    /// Where the id stands. Rules that one `action: global` gives one id are told apart from double ones by it.
    pub(crate) id_at: Pos,
}

/// Another rule, and what it is to this one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Related {
    /// The other rule's id.
    pub id: String,
    /// `derived`, `obsolete`, `merged`, `renamed` or `similar`.
    pub kind: String,
}

/// Top-level attributes that the specification defines for every kind of document.
pub(crate) const DEFINED: &[&str] = &[
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
    "correlation",
    "filter",
    "action",
    "fields",
    "falsepositives",
    "level",
    "tags",
    "scope",
];

impl Attributes {
    /// Reads them. Only the title must be there.
    pub(crate) fn read(document: &Document<'_>, origin: &str) -> Result<Self, Fault> {
        let root = &document.root;
        let Kind::Mapping(pairs) = &root.kind else {
            return Err(Fault::new(
                "S003",
                root.pos,
                "a rule is a mapping of attributes",
                "begin with `title: …`",
            ));
        };
        let title = text(root, "title")?;
        if title.is_empty() {
            return Err(missing(root, "title"));
        }
        let extra = pairs
            .iter()
            .filter(|(key, _)| !DEFINED.contains(&key.text.as_str()))
            .map(|(key, value)| (key.text.clone(), value.to_json()))
            .collect();
        Ok(Self {
            id: text(root, "id")?,
            title,
            name: text(root, "name")?,
            description: text(root, "description")?,
            status: text(root, "status")?,
            author: text(root, "author")?,
            date: text(root, "date")?,
            modified: text(root, "modified")?,
            license: text(root, "license")?,
            taxonomy: text(root, "taxonomy")?,
            level: level(root)?,
            tags: texts(root, "tags")?,
            scope: texts(root, "scope")?,
            related: related(root)?,
            false_positives: texts(root, "falsepositives")?,
            references: texts(root, "references")?,
            fields: texts(root, "fields")?,
            source: document.text.to_owned(),
            origin: origin.to_owned(),
            line: root.pos.line,
            extra,
            id_at: root.get("id").map_or(Pos::default(), |node| node.pos),
        })
    }

    /// The faults of each attribute alone.
    pub(crate) fn faults(root: &Node) -> Vec<Fault> {
        let title = text(root, "title");
        let mut out: Vec<Fault> = Vec::new();
        if title.as_ref().is_ok_and(String::is_empty) {
            out.push(missing(root, "title"));
        }
        out.extend(title.err());
        for name in
            ["id", "name", "description", "status", "author", "date", "modified", "license", "taxonomy"]
        {
            out.extend(text(root, name).err());
        }
        out.extend(level(root).err());
        for name in ["tags", "scope", "falsepositives", "references", "fields"] {
            out.extend(texts(root, name).err());
        }
        out.extend(related(root).err());
        out
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

fn level(root: &Node) -> Result<Severity, Fault> {
    let Some(node) = root.get("level") else { return Ok(Severity::Informational) };
    let word = scalar(node, "level")?;
    Severity::parse(&word).ok_or_else(|| {
        Fault::new(
            "S011",
            node.pos,
            format!("`{word}` is not a level"),
            "levels: informational, low, medium, high, critical",
        )
    })
}

fn related(root: &Node) -> Result<Vec<Related>, Fault> {
    let Some(node) = root.get("related") else { return Ok(Vec::new()) };
    let wrong = |node: &Node| {
        Fault::new("S011", node.pos, "`related` must be a list of rules", "write `- {id: …, type: derived}`")
    };
    match &node.kind {
        Kind::Scalar(s) if s.typed() == Typed::Null => Ok(Vec::new()),
        Kind::Sequence(items) => items
            .iter()
            .map(|item| match &item.kind {
                Kind::Mapping(_) => Ok(Related { id: text(item, "id")?, kind: text(item, "type")? }),
                _ => Err(wrong(item)),
            })
            .collect(),
        _ => Err(wrong(node)),
    }
}

/// The fault of a document without one of its mandatory attributes.
pub(crate) fn missing(root: &Node, name: &str) -> Fault {
    Fault::new("S010", root.pos, format!("the rule has no `{name}`"), format!("add `{name}:`"))
}

/// The text of an attribute that holds one value; null is an empty text.
pub(crate) fn scalar(node: &Node, name: &str) -> Result<String, Fault> {
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

/// The text of the mapping's attribute; empty if it is not there.
pub(crate) fn text(root: &Node, name: &str) -> Result<String, Fault> {
    root.get(name).map_or(Ok(String::new()), |node| scalar(node, name))
}

/// The texts of the mapping's attribute; a single value instead of a list is common and means the same.
pub(crate) fn texts(root: &Node, name: &str) -> Result<Vec<String>, Fault> {
    match root.get(name).map(|node| (node, &node.kind)) {
        None => Ok(Vec::new()),
        Some((_, Kind::Sequence(items))) => items.iter().map(|item| scalar(item, name)).collect(),
        Some((node, _)) => Ok(Some(scalar(node, name)?).filter(|t| !t.is_empty()).into_iter().collect()),
    }
}

/// The `logsource` of a rule or filter.
pub(crate) fn log_source(root: &Node) -> Result<LogSource<'static>, Fault> {
    let node = root.get("logsource").ok_or_else(|| missing(root, "logsource"))?;
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
