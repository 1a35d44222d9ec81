//! Which fields a rule names.

use std::collections::BTreeSet;

use crate::compiled::discriminator::Known;
use crate::language::ast::{Detection, Matcher, Node};
use crate::language::rule::Rule;

impl Rule {
    /// The fields that the rule's detection names, those that it compares others with among them.
    pub fn field_names(&self) -> BTreeSet<&str> {
        self.detection.field_names()
    }

    /// Whether an event with this `EventID` may match, as far as that alone tells; `None` stands for an id that the rule
    /// does not name.
    pub fn may_match_event(&self, id: Option<i64>) -> bool {
        let text = id.map(|id| id.to_string());
        let known = Known { field: "EventID", value: text.as_deref() };
        known.condition(&self.detection.condition, &self.detection) != Some(false)
    }
}

impl Detection {
    /// The fields that it names.
    pub(crate) fn field_names(&self) -> BTreeSet<&str> {
        let mut names = BTreeSet::new();
        for selection in &self.selections {
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
