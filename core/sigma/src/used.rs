//! Which fields a rule names.

use std::collections::BTreeSet;

use crate::ast::{Matcher, Node};
use crate::rule::Rule;

impl Rule {
    /// The fields that the rule's detection names, those that it compares others with among them.
    pub fn field_names(&self) -> BTreeSet<&str> {
        let mut names = BTreeSet::new();
        for selection in &self.detection.selections {
            collect(&selection.body, &mut names);
        }
        names
    }
}

fn collect<'r>(node: &'r Node, names: &mut BTreeSet<&'r str>) {
    match node {
        Node::And(parts) | Node::Or(parts) => parts.iter().for_each(|part| collect(part, names)),
        Node::Test(test) => {
            names.extend(test.field());
            if let Matcher::FieldRef { other, .. } = &test.matcher {
                names.insert(other);
            }
        }
        Node::Expand(expand) => names.extend(expand.item.field()),
    }
}
