//! Reading YAML of a known shape: which keys a mapping may have, and what kind of value each holds.
//!
//! For files that are not Sigma rules: log sources and pipelines. A key that nobody knows is a fault, since
//! something that was written to have an effect would have none.

use crate::error::Fault;
use crate::language::yaml::{Key, Kind, Node, Scalar, Typed};
use crate::suggest;

/// What is being read: the code of its faults.
#[derive(Clone, Copy)]
pub(crate) struct Shape {
    pub code: &'static str,
}

impl Shape {
    pub fn fault(self, node: &Node, message: impl Into<String>, hint: impl Into<String>) -> Fault {
        Fault::new(self.code, node.pos, message, hint)
    }

    /// The pairs of a mapping, whatever their keys.
    pub fn pairs<'n>(self, node: &'n Node, what: &str) -> Result<&'n [(Key, Node)], Fault> {
        match &node.kind {
            Kind::Mapping(pairs) => Ok(pairs),
            _ => Err(self.fault(node, format!("{what} must be a mapping"), "write `key: value` lines")),
        }
    }

    /// Refuses keys that are not `known`.
    pub fn only(self, node: &Node, what: &str, known: &[&str]) -> Result<(), Fault> {
        for (key, _) in self.pairs(node, what)? {
            if !known.contains(&key.text.as_str()) {
                let near = suggest::nearest(&key.text, known.iter().copied());
                let hint = match near {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => format!("it may have: {}", known.join(", ")),
                };
                return Err(Fault::new(
                    self.code,
                    key.pos,
                    format!("{what} has no attribute `{}`", key.text),
                    hint,
                ));
            }
        }
        Ok(())
    }

    /// The items of a list; a single value counts as a list of one.
    pub fn items(node: &Node) -> &[Node] {
        match &node.kind {
            Kind::Sequence(items) => items,
            Kind::Scalar(s) if s.typed() == Typed::Null => &[],
            _ => std::slice::from_ref(node),
        }
    }

    /// The items of a list.
    pub fn list<'n>(self, node: &'n Node, what: &str) -> Result<&'n [Node], Fault> {
        match &node.kind {
            Kind::Sequence(items) => Ok(items),
            _ => Err(self.fault(node, format!("{what} must be a list"), "write `- …` lines")),
        }
    }

    pub fn scalar<'n>(self, node: &'n Node, what: &str) -> Result<&'n Scalar, Fault> {
        match &node.kind {
            Kind::Scalar(scalar) => Ok(scalar),
            _ => Err(self.fault(node, format!("{what} must be one value"), "not a list or mapping")),
        }
    }

    /// Text that is not empty.
    pub fn text(self, node: &Node, what: &str) -> Result<String, Fault> {
        let scalar = self.scalar(node, what)?;
        if scalar.text.is_empty() || scalar.typed() == Typed::Null {
            return Err(self.fault(node, format!("{what} is empty"), "write a value"));
        }
        Ok(scalar.text.clone())
    }

    /// The text of a mapping's key; `None` if the key is not there.
    pub fn text_of(self, node: &Node, key: &str) -> Result<Option<String>, Fault> {
        node.get(key).map(|value| self.text(value, &format!("`{key}`"))).transpose()
    }

    /// One text or a list of them.
    pub fn texts(self, node: &Node, what: &str) -> Result<Vec<String>, Fault> {
        Self::items(node).iter().map(|item| self.text(item, what)).collect()
    }

    /// The texts of a mapping's key; none if the key is not there.
    pub fn texts_of(self, node: &Node, key: &str) -> Result<Vec<String>, Fault> {
        node.get(key).map_or(Ok(Vec::new()), |value| self.texts(value, &format!("`{key}`")))
    }

    /// A flag; `false` if the key is not there.
    pub fn flag_of(self, node: &Node, key: &str) -> Result<bool, Fault> {
        let Some(value) = node.get(key) else { return Ok(false) };
        match &value.kind {
            Kind::Scalar(scalar) if matches!(scalar.typed(), Typed::Bool(_)) => {
                Ok(scalar.typed() == Typed::Bool(true))
            }
            _ => Err(self.fault(value, format!("`{key}` must be `true` or `false`"), "")),
        }
    }
}
