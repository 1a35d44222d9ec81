//! Steps that give fields other names.

use super::run::{Run, mark};
use super::step::{Step, Transformation};
use super::tree::{Leaf, Tree};
use crate::language::attributes::Attributes;
use crate::language::yaml::Scalar;

impl Transformation {
    pub fn renames(&self) -> bool {
        matches!(self, Self::Rename(_) | Self::RenamePrefix(_) | Self::AddPrefix(_) | Self::AddSuffix(_))
    }

    /// The names in the place of `name` (`None` for keywords); `None` if it stays.
    fn renamed(&self, name: Option<&str>) -> Option<Vec<String>> {
        match (self, name) {
            (Self::Rename(names), name) => names.get(&name.map(str::to_owned)).cloned(),
            (Self::RenamePrefix(prefixes), Some(name)) => prefixes.iter().find_map(|(old, new)| {
                let rest = name.strip_prefix(old.as_str())?;
                Some(new.iter().map(|prefix| format!("{prefix}{rest}")).collect())
            }),
            (Self::AddPrefix(prefix), Some(name)) => Some(vec![format!("{prefix}{name}")]),
            (Self::AddSuffix(suffix), Some(name)) => Some(vec![format!("{name}{suffix}")]),
            _ => None,
        }
    }
}

impl Run<'_> {
    /// The names in the place of a field's, where the step is for it.
    pub fn names_for(&mut self, name: &str, step: &Step) -> Option<Vec<String>> {
        let new = step.what.renamed(Some(name)).filter(|_| step.is_for_field(Some(name), self))?;
        self.mapped.insert(name.to_owned());
        self.mapped.extend(new.iter().cloned());
        if let Some(id) = &step.id
            && new != [name]
        {
            let mut applied = self.applied_to_fields.get(name).cloned().unwrap_or_default();
            applied.insert(id.clone());
            for name in &new {
                self.applied_to_fields.insert(name.clone(), applied.clone());
            }
        }
        Some(new)
    }

    /// Renames the fields that the rule wants an analyst to see.
    pub fn rename_list(&mut self, attributes: &mut Attributes, step: &Step) {
        let old = std::mem::take(&mut attributes.fields);
        for name in old {
            match self.names_for(&name, step) {
                Some(new) => attributes.fields.extend(new),
                None => attributes.fields.push(name),
            }
        }
    }

    /// Renames the field of a detection item, and those that it is compared with. A field that becomes several is asked
    /// for under any of the names.
    pub fn rename_item(&mut self, mut leaf: Leaf, step: &Step) -> Option<Tree> {
        let mut changed = false;
        if leaf.has("fieldref") {
            let mut values = Vec::with_capacity(leaf.values.len());
            for value in std::mem::take(&mut leaf.values) {
                let Some(new) = self.names_for(&value.text, step) else {
                    values.push(value);
                    continue;
                };
                changed = true;
                values.extend(new.into_iter().map(|text| Scalar { text, ..value.clone() }));
            }
            leaf.values = values;
        }
        let new = match leaf.field.clone() {
            Some(name) => self.names_for(&name, step),
            None => step.what.renamed(None).filter(|_| step.is_for_field(None, self)),
        };
        let Some(new) = new else {
            return Some(marked(Tree::Leaf(leaf), changed, step));
        };
        // A keyword is looked for anywhere in a field.
        if leaf.field.is_none() && !leaf.has("re") && !leaf.has("contains") {
            leaf.modifiers.insert(0, "contains".to_owned());
        }
        let mut leaves: Vec<Tree> =
            new.into_iter().map(|name| Tree::Leaf(Leaf { field: Some(name), ..leaf.clone() })).collect();
        let tree = match leaves.pop() {
            None => return None,
            Some(only) if leaves.is_empty() => only,
            Some(last) => {
                leaves.push(last);
                Tree::Or(leaves)
            }
        };
        Some(marked(tree, true, step))
    }
}

fn marked(mut tree: Tree, changed: bool, step: &Step) -> Tree {
    if changed && let Some(id) = &step.id {
        mark(&mut tree, id);
    }
    tree
}
