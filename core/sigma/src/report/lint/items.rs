//! A detection as its author wrote it: selections, fields with modifiers, values, each with its place.

use crate::language::yaml::{Key, Kind, Node, Scalar};

/// A selection.
pub(super) struct Selection<'a> {
    pub key: &'a Key,
    pub body: &'a Node,
    /// Items that must all hold; of several groups one is enough.
    pub groups: Vec<Vec<Item<'a>>>,
}

/// A field with modifiers and values, or a list of keywords.
pub(super) struct Item<'a> {
    /// `None` for keywords that stand directly in the selection.
    pub key: Option<&'a Key>,
    /// The field's name; empty for keywords.
    pub field: &'a str,
    pub modifiers: Vec<&'a str>,
    pub values: Vec<Value<'a>>,
}

/// One value.
pub(super) struct Value<'a> {
    pub node: &'a Node,
    pub scalar: &'a Scalar,
}

/// Modifiers that make a value something else than text.
const TYPES: &[&str] = &[
    "re", "cidr", "exists", "fieldref", "lt", "lte", "gt", "gte", "minute", "hour", "day", "week", "month",
    "year",
];
/// Modifiers that rewrite text.
const ENCODINGS: &[&str] = &["base64", "base64offset", "wide", "utf16", "utf16le", "utf16be"];

impl<'a> Item<'a> {
    fn new(key: Option<&'a Key>, values: Vec<Value<'a>>) -> Self {
        let mut parts = key.map_or("", |k| &k.text).split('|');
        let field = parts.next().unwrap_or_default();
        Self { key, field, modifiers: parts.collect(), values }
    }

    pub fn has(&self, modifier: &str) -> bool {
        self.modifiers.contains(&modifier)
    }

    /// Whether its values are compared as text.
    pub fn is_text(&self) -> bool {
        !self.modifiers.iter().any(|m| TYPES.contains(m))
    }

    /// Whether its values are encoded before they are compared.
    pub fn is_encoded(&self) -> bool {
        self.modifiers.iter().any(|m| ENCODINGS.contains(m))
    }

    /// Characters of the key before a modifier, and the modifier's length.
    pub fn place_of(&self, modifier: &str) -> Option<(usize, usize)> {
        let mut at = self.field.chars().count() + 1;
        for m in &self.modifiers {
            let width = m.chars().count();
            if *m == modifier {
                return Some((at, width));
            }
            at += width + 1;
        }
        None
    }
}

/// The selections of a `detection`.
pub(super) fn selections(detection: &Node) -> Vec<Selection<'_>> {
    let Kind::Mapping(pairs) = &detection.kind else { return Vec::new() };
    let is_selection = |key: &Key| !matches!(key.text.as_str(), "condition" | "timeframe");
    pairs
        .iter()
        .filter(|(key, _)| is_selection(key))
        .map(|(key, body)| Selection { key, body, groups: groups(body) })
        .collect()
}

fn groups(body: &Node) -> Vec<Vec<Item<'_>>> {
    match &body.kind {
        Kind::Scalar(scalar) => vec![vec![Item::new(None, vec![Value { node: body, scalar }])]],
        Kind::Mapping(pairs) => {
            vec![pairs.iter().map(|(key, value)| Item::new(Some(key), values(value))).collect()]
        }
        Kind::Sequence(parts) => {
            let mut out = Vec::new();
            let keywords = values(body);
            if !keywords.is_empty() {
                out.push(vec![Item::new(None, keywords)]);
            }
            let nested = parts.iter().filter(|p| !matches!(p.kind, Kind::Scalar(_)));
            out.extend(nested.flat_map(groups));
            out
        }
    }
}

fn values(node: &Node) -> Vec<Value<'_>> {
    fn scalar(node: &Node) -> Option<Value<'_>> {
        match &node.kind {
            Kind::Scalar(scalar) => Some(Value { node, scalar }),
            _ => None,
        }
    }
    match &node.kind {
        Kind::Sequence(items) => items.iter().filter_map(scalar).collect(),
        _ => scalar(node).into_iter().collect(),
    }
}
