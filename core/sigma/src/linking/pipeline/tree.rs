//! A rule's detection taken back to what was written: keys and values, which pipelines change and which are then read
//! again.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::error::{Fault, Span};
use crate::language::ast::{Item, Node};
use crate::language::modifiers::FieldKey;
use crate::language::pattern::{Token, tokens};
use crate::language::yaml::{Scalar, Typed};
use crate::limits;

/// Keys and values, joined.
#[derive(Clone, Debug)]
pub(super) enum Tree {
    And(Vec<Tree>),
    Or(Vec<Tree>),
    Leaf(Leaf),
}

/// One detection item: a key and its values.
#[derive(Clone, Debug)]
pub(super) struct Leaf {
    /// `None` for keywords.
    pub field: Option<String>,
    pub modifiers: Vec<String>,
    pub values: Vec<Scalar>,
    pub span: Span,
    /// The ids of the steps that were applied to it.
    pub applied: BTreeSet<String>,
}

/// What a value is to a pipeline.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum Value {
    /// A Sigma string, with the wildcards that `contains` and its like add.
    Text(Vec<Token>),
    Number,
    Bool,
    Null,
    /// The name of a field.
    Field(String),
    /// Nothing that is changed as text: an expression, a network, a bound, a value of several spellings.
    Other,
    /// Text that is encoded before it is looked for.
    Encoded,
}

impl Tree {
    /// The items that tests were made of.
    pub fn of(node: &Node) -> Self {
        if let Some(leaf) = leaf_of(node) {
            return Self::Leaf(leaf);
        }
        match node {
            Node::And(parts) => Self::And(parts.iter().map(Self::of).collect()),
            Node::Or(parts) => Self::Or(parts.iter().map(Self::of).collect()),
            // One test is a leaf.
            Node::Test(_) | Node::Expand(_) => Self::And(Vec::new()),
        }
    }

    /// The tests for the items; `None` if nothing is left to be tested.
    pub fn into_node(self) -> Result<Option<Node>, Fault> {
        let join = |parts: Vec<Self>| -> Result<Vec<Node>, Fault> {
            parts.into_iter().filter_map(|part| part.into_node().transpose()).collect()
        };
        let (parts, all) = match self {
            Self::And(parts) => (join(parts)?, true),
            Self::Or(parts) => (join(parts)?, false),
            Self::Leaf(leaf) => return leaf.into_node().map(Some),
        };
        Ok(match parts.len() {
            0 => None,
            _ if all => Some(Node::And(parts)),
            _ => Some(Node::Or(parts)),
        })
    }

    /// Calls `change` for each item; what it gives stands in its place, nothing if it gives nothing.
    pub fn change(
        self,
        change: &mut dyn FnMut(Leaf) -> Result<Option<Self>, Fault>,
    ) -> Result<Option<Self>, Fault> {
        let mut each = |parts: Vec<Self>| -> Result<Vec<Self>, Fault> {
            parts.into_iter().filter_map(|part| part.change(change).transpose()).collect()
        };
        Ok(match self {
            Self::And(parts) => Some(each(parts)?).filter(|p| !p.is_empty()).map(Self::And),
            Self::Or(parts) => Some(each(parts)?).filter(|p| !p.is_empty()).map(Self::Or),
            Self::Leaf(leaf) => change(leaf)?,
        })
    }

    /// Whether one of the items is such.
    pub fn any(&self, is: &dyn Fn(&Leaf) -> bool) -> bool {
        match self {
            Self::And(parts) | Self::Or(parts) => parts.iter().any(|part| part.any(is)),
            Self::Leaf(leaf) => is(leaf),
        }
    }
}

/// The one item that all tests of a node were made of.
fn leaf_of(node: &Node) -> Option<Leaf> {
    let mut found: Option<(Arc<Item>, Vec<Scalar>)> = None;
    if !collect(node, &mut found) {
        return None;
    }
    let (item, values) = found?;
    Some(Leaf {
        field: item.field().map(str::to_owned),
        modifiers: item.modifiers().map(str::to_owned).collect(),
        values,
        span: item.span,
        applied: BTreeSet::new(),
    })
}

/// Adds the node's values to those found; `false` if it has tests of another item.
fn collect(node: &Node, found: &mut Option<(Arc<Item>, Vec<Scalar>)>) -> bool {
    let (item, value) = match node {
        Node::And(parts) | Node::Or(parts) => return parts.iter().all(|part| collect(part, found)),
        Node::Test(test) => (&test.item, shown_value(&test.value, test.span)),
        Node::Expand(expand) => {
            (&expand.item, Scalar { text: expand.text.clone(), plain: false, span: expand.span })
        }
    };
    let (own, values) = found.get_or_insert_with(|| (Arc::clone(item), Vec::new()));
    if !Arc::ptr_eq(own, item) {
        return false;
    }
    // A value of several spellings has several tests.
    if values.last().is_none_or(|last| last.span != value.span || last.text != value.text) {
        values.push(value);
    }
    true
}

/// The value that an explanation shows, as it was written: text stands in quotes, numbers and flags do not.
fn shown_value(shown: &str, span: Span) -> Scalar {
    match shown.strip_prefix('\'').and_then(|s| s.strip_suffix('\'')) {
        Some(text) => Scalar { text: text.to_owned(), plain: false, span },
        None => Scalar { text: shown.to_owned(), plain: true, span },
    }
}

impl Leaf {
    pub fn has(&self, modifier: &str) -> bool {
        self.modifiers.iter().any(|m| m == modifier)
    }

    /// What a value is.
    pub fn value(&self, value: &Scalar) -> Value {
        let is = |names: &[&str]| self.modifiers.iter().any(|m| names.contains(&m.as_str()));
        if self.has("fieldref") {
            return Value::Field(value.text.clone());
        }
        // A value with placeholders is none yet.
        if is(&["re", "cidr", "exists", "lt", "lte", "gt", "gte", "windash", "base64offset", "expand"])
            || is(&["minute", "hour", "day", "week", "month", "year"])
        {
            return Value::Other;
        }
        if is(&["base64", "wide", "utf16", "utf16le", "utf16be"]) {
            return Value::Encoded;
        }
        let part = is(PARTS);
        match value.typed() {
            Typed::Null => Value::Null,
            Typed::Bool(_) if !part => Value::Bool,
            Typed::Int(_) | Typed::Float(_) if !part => Value::Number,
            _ => Value::Text(self.surrounded(value)),
        }
    }

    fn surrounded(&self, value: &Scalar) -> Vec<Token> {
        // A number is no string with escapes, but has none either.
        let mut string = tokens(&value.text);
        let anywhere = self.has("contains");
        if (anywhere || self.has("endswith")) && string.first() != Some(&Token::Many) {
            string.insert(0, Token::Many);
        }
        if (anywhere || self.has("startswith")) && string.last() != Some(&Token::Many) {
            string.push(Token::Many);
        }
        string
    }

    /// Writes what `contains` and its like say into the values, so that these can be changed one by one.
    pub fn write_out_parts(&mut self) {
        if !self.modifiers.iter().any(|m| PARTS.contains(&m.as_str())) {
            return;
        }
        let values =
            self.values.iter().map(|value| text_value(&self.surrounded(value), value.span)).collect();
        self.values = values;
        self.modifiers.retain(|m| !PARTS.contains(&m.as_str()));
    }

    fn into_node(mut self) -> Result<Node, Fault> {
        if self.values.is_empty() {
            // Of all values none is left: the field is asked to be missing, as pySigma does.
            self.values.push(Scalar { text: "null".to_owned(), plain: true, span: self.span });
            self.modifiers.clear();
        }
        if self.values.len() > limits::RULE_VALUES {
            return Err(Fault::new(
                "S002",
                self.span.pos(),
                format!(
                    "{} values after the pipeline, the limit is {}",
                    self.values.len(),
                    limits::RULE_VALUES
                ),
                "give placeholders fewer values",
            ));
        }
        let mut key = self.field.unwrap_or_default();
        for modifier in &self.modifiers {
            key.push('|');
            key.push_str(modifier);
        }
        let key = FieldKey::parse(Item { key, span: self.span }, self.span.pos())?;
        let mut parts = self.values.iter().map(|value| key.test(value)).collect::<Result<Vec<_>, _>>()?;
        Ok(match parts.pop() {
            Some(only) if parts.is_empty() => only,
            last => {
                parts.extend(last);
                if key.all || key.negated { Node::And(parts) } else { Node::Or(parts) }
            }
        })
    }
}

/// Modifiers that ask for a part of a text.
const PARTS: &[&str] = &["contains", "startswith", "endswith"];

/// A Sigma string as a value.
pub(super) fn text_value(string: &[Token], span: Span) -> Scalar {
    Scalar { text: super::text::written(string), plain: false, span }
}
