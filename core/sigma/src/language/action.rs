//! Rule collections: documents with `action: global`, `reset` or `repeat`.
//!
//! From Sigma 1, still written and still read by the readers of today. `global` gives attributes to every document
//! after it in the file (several of them add up), `reset` takes them back, `repeat` is the previous rule again with
//! changes. Where both sides give an attribute, the one that is merged in (the global's, the repeat's) wins.

use std::collections::HashMap;

use crate::error::{Fault, Pos};
use crate::language::attributes::scalar;
use crate::language::yaml::{Document, Kind, Node};
use crate::limits;

/// The documents that a file means once its actions are carried out. Without actions, the documents as they are.
pub(crate) fn carry_out(documents: Vec<Document<'_>>) -> Result<Vec<Document<'_>>, Fault> {
    if documents.iter().all(|d| d.root.get("action").is_none()) {
        return Ok(documents);
    }
    let mut out = Vec::new();
    let mut global: Option<Node> = None;
    let mut previous: Option<Node> = None;
    let mut budget = Budget { nodes: limits::YAML_NODES, bytes: limits::COLLECTION_BYTES };
    for Document { mut root, text } in documents {
        let Some(action) = take_action(&mut root) else {
            if let Some(global) = &global {
                merge(&mut root, global, &mut budget)?;
            }
            budget.spend(&root)?;
            previous = Some(root.clone());
            out.push(Document { root, text });
            continue;
        };
        match scalar(&action, "action")?.as_str() {
            "global" => {
                let mut all =
                    global.take().unwrap_or(Node { pos: root.pos, kind: Kind::Mapping(Vec::new()) });
                merge(&mut all, &root, &mut budget)?;
                previous = Some(all.clone());
                global = Some(all);
            }
            "reset" => global = None,
            "repeat" => {
                let Some(mut again) = previous.take() else {
                    return Err(Fault::new(
                        "S022",
                        action.pos,
                        "there is no rule before this one to repeat",
                        "put the rule to repeat before it, in the same file",
                    ));
                };
                merge(&mut again, &root, &mut budget)?;
                budget.spend(&again)?;
                again.pos = root.pos;
                previous = Some(again.clone());
                out.push(Document { root: again, text });
            }
            other => {
                return Err(Fault::new(
                    "S022",
                    action.pos,
                    format!("`{other}` is not an action"),
                    "actions: global, reset, repeat",
                ));
            }
        }
    }
    Ok(out)
}

fn take_action(root: &mut Node) -> Option<Node> {
    let Kind::Mapping(pairs) = &mut root.kind else { return None };
    let at = pairs.iter().position(|(key, _)| key.text == "action")?;
    Some(pairs.remove(at).1)
}

/// What the merged documents of one file may hold together: a large global, given to many documents, would else
/// make of a small file a rule set that fills the memory.
struct Budget {
    nodes: usize,
    bytes: usize,
}

impl Budget {
    fn spend(&mut self, node: &Node) -> Result<(), Fault> {
        self.take(node).ok_or_else(|| too_much(node.pos))
    }

    fn take(&mut self, node: &Node) -> Option<()> {
        self.nodes = self.nodes.checked_sub(1)?;
        match &node.kind {
            Kind::Scalar(scalar) => self.bytes = self.bytes.checked_sub(scalar.text.len())?,
            Kind::Sequence(items) => {
                for item in items {
                    self.take(item)?;
                }
            }
            Kind::Mapping(pairs) => {
                for (key, value) in pairs {
                    self.bytes = self.bytes.checked_sub(key.text.len())?;
                    self.take(value)?;
                }
            }
        }
        Some(())
    }
}

fn too_much(at: Pos) -> Fault {
    Fault::new(
        "S002",
        at,
        format!(
            "the documents of this collection have more than {} nodes or {} bytes once they are merged",
            limits::YAML_NODES,
            limits::COLLECTION_BYTES
        ),
        "share less by `action: global`, or split the file",
    )
}

/// Puts the attributes of `from` into `into`, mapping by mapping.
fn merge(into: &mut Node, from: &Node, budget: &mut Budget) -> Result<(), Fault> {
    let Kind::Mapping(given) = &from.kind else { return Ok(()) };
    let Kind::Mapping(pairs) = &mut into.kind else {
        return Err(Fault::new(
            "S003",
            into.pos,
            "a rule is a mapping of attributes",
            "begin with `title: …`",
        ));
    };
    let known: HashMap<String, usize> =
        pairs.iter().enumerate().map(|(at, (key, _))| (key.text.clone(), at)).collect();
    for (key, value) in given {
        match known.get(&key.text).map(|at| &mut pairs[*at]) {
            Some((_, old)) if is_mapping(old) && is_mapping(value) => merge(old, value, budget)?,
            Some(pair) => {
                budget.spend(value)?;
                *pair = (key.clone(), value.clone());
            }
            None => {
                budget.spend(value)?;
                pairs.push((key.clone(), value.clone()));
            }
        }
    }
    Ok(())
}

fn is_mapping(node: &Node) -> bool {
    matches!(node.kind, Kind::Mapping(_))
}
