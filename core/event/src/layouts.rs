//! Layouts that many records share, found again while a record is read.
//!
//! The names seen so far form a tree: a record's fields are a path from its root. Each node remembers where the path
//! went on last time, so that a record like the one before costs one comparison a field, and no allocation.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use crate::fields::Layout;

/// Names that are remembered before all are forgotten: logs may be hostile, and name a field anew in each record.
const MAX_NODES: usize = 1 << 15;
/// Bytes of names that are remembered.
const MAX_NAME_BYTES: usize = 4 << 20;
/// Fields of a record up to which its names are compared one by one where a new path begins.
const FEW: u32 = 32;

/// The layouts of the records that one thread reads.
#[derive(Debug)]
pub struct Layouts {
    nodes: Vec<Node>,
    /// By the hash of a node and the name that leads on from it, the last node with that hash.
    ways: HashMap<u64, u32>,
    hasher: RandomState,
    name_bytes: usize,
    generation: u64,
    /// Positions of names on the path of the record that is being read, from the root to `seen_depth`; only for long
    /// paths on which something new came.
    seen: HashMap<Box<str>, u32>,
    seen_depth: u32,
}

/// A place in the tree: the names on the way to it are a record's fields so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LayoutId(u32);

impl LayoutId {
    /// A small number for this place, for tables.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

#[derive(Debug, Default)]
struct Node {
    /// The last name.
    name: Box<str>,
    parent: u32,
    /// How many names.
    depth: u32,
    /// Where the path went on last time; 0, the root, is nowhere.
    likely: u32,
    /// Another node whose way here has the same hash; 0 is none.
    same_hash: u32,
    layout: Option<Arc<Layout>>,
}

/// Where a name is in the record.
pub(crate) enum Step {
    /// It is the record's next field.
    New,
    /// The record has it already, at this position.
    Again(u32),
}

impl Default for Layouts {
    fn default() -> Self {
        Self {
            nodes: vec![Node::default()],
            ways: HashMap::new(),
            hasher: RandomState::new(),
            name_bytes: 0,
            generation: 0,
            seen: HashMap::new(),
            seen_depth: 0,
        }
    }
}

impl Layouts {
    /// A number that changes whenever every [`LayoutId`] given so far has lost its meaning, which happens between
    /// records only.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// The place of a record without fields.
    pub(crate) fn begin(&mut self) -> LayoutId {
        if self.nodes.len() > MAX_NODES || self.name_bytes > MAX_NAME_BYTES {
            *self = Self { generation: self.generation + 1, ..Self::default() };
        }
        if self.seen_depth > 0 {
            self.seen.clear();
            self.seen_depth = 0;
        }
        LayoutId(0)
    }

    /// Goes on from `at` by one name.
    pub(crate) fn step(&mut self, at: &mut LayoutId, name: &str) -> Step {
        let here = at.0 as usize;
        let likely = self.nodes[here].likely;
        if likely != 0 && *self.nodes[likely as usize].name == *name {
            at.0 = likely;
            return Step::New;
        }
        let way = self.hasher.hash_one((at.0, name));
        let same_hash = self.ways.get(&way).copied().unwrap_or(0);
        let mut child = same_hash;
        while child != 0 {
            let node = &self.nodes[child as usize];
            if node.parent == at.0 && *node.name == *name {
                self.nodes[here].likely = child;
                at.0 = child;
                return Step::New;
            }
            child = node.same_hash;
        }
        if let Some(position) = self.position_on_path(*at, name) {
            return Step::Again(position);
        }
        let child = u32::try_from(self.nodes.len()).expect("a record has fewer fields than 2^32");
        let depth = self.nodes[here].depth + 1;
        self.nodes.push(Node { name: name.into(), parent: at.0, depth, same_hash, ..Node::default() });
        self.name_bytes += name.len();
        self.ways.insert(way, child);
        self.nodes[here].likely = child;
        at.0 = child;
        Step::New
    }

    /// The names of the fields so far and their positions, the last first.
    pub(crate) fn path(&self, at: LayoutId) -> impl Iterator<Item = (usize, &str)> {
        let mut node = &self.nodes[at.0 as usize];
        std::iter::from_fn(move || {
            let position = (node.depth as usize).checked_sub(1)?;
            let name = &*node.name;
            node = &self.nodes[node.parent as usize];
            Some((position, name))
        })
    }

    /// The position of a name in the fields so far.
    pub(crate) fn position(&self, at: LayoutId, name: &str) -> Option<usize> {
        self.path(at).find(|(_, n)| *n == name).map(|(position, _)| position)
    }

    /// The same as [`Layouts::position`], at a cost that stays small on the average for the longest of records.
    fn position_on_path(&mut self, at: LayoutId, name: &str) -> Option<u32> {
        if self.nodes[at.0 as usize].depth <= FEW {
            return self.position(at, name).map(|p| p as u32);
        }
        let mut node = &self.nodes[at.0 as usize];
        let depth = node.depth;
        while node.depth > self.seen_depth {
            self.seen.insert(node.name.clone(), node.depth - 1);
            node = &self.nodes[node.parent as usize];
        }
        self.seen_depth = depth;
        self.seen.get(name).copied()
    }

    /// The layout of a record that ends at `at`.
    pub(crate) fn layout(&mut self, at: LayoutId) -> &Arc<Layout> {
        let here = at.0 as usize;
        if self.nodes[here].layout.is_none() {
            let mut names: Vec<Box<str>> = Vec::with_capacity(self.nodes[here].depth as usize);
            let mut node = &self.nodes[here];
            while node.depth > 0 {
                names.push(node.name.clone());
                node = &self.nodes[node.parent as usize];
            }
            names.reverse();
            self.name_bytes += names.iter().map(|n| n.len()).sum::<usize>();
            self.nodes[here].layout = Some(Arc::new(Layout::new(names)));
        }
        self.nodes[here].layout.get_or_insert_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(layouts: &mut Layouts, names: &[&str]) -> (LayoutId, Arc<Layout>) {
        let mut at = layouts.begin();
        for name in names {
            layouts.step(&mut at, name);
        }
        (at, Arc::clone(layouts.layout(at)))
    }

    #[test]
    fn the_same_names_are_the_same_layout() {
        let mut layouts = Layouts::default();
        let (first, a) = record(&mut layouts, &["a", "b", "c"]);
        let (_, other) = record(&mut layouts, &["a", "c"]);
        let (again, b) = record(&mut layouts, &["a", "b", "a", "c", "b"]);
        assert!(Arc::ptr_eq(&a, &b) && first == again);
        assert!(!Arc::ptr_eq(&a, &other));
        assert_eq!(a.names().iter().map(|n| &**n).collect::<Vec<_>>(), ["a", "b", "c"]);
        assert_eq!(layouts.position(again, "b"), Some(1));
        assert_eq!(layouts.position(again, "d"), None);
    }

    #[test]
    fn repeated_names_are_found_in_long_records_too() {
        let names: Vec<String> = (0..200).map(|i| format!("f{i}")).collect();
        let mut layouts = Layouts::default();
        for round in 0..3 {
            let mut at = layouts.begin();
            for (i, name) in names.iter().enumerate() {
                assert!(matches!(layouts.step(&mut at, name), Step::New), "{round}: {name}");
                let earlier = &names[i / 2];
                assert!(
                    matches!(layouts.step(&mut at, earlier), Step::Again(p) if p as usize == i / 2),
                    "{round}: {earlier}"
                );
            }
        }
    }

    #[test]
    fn endless_new_names_are_forgotten() {
        let mut layouts = Layouts::default();
        let mut most = 0;
        for i in 0..3 * MAX_NODES {
            record(&mut layouts, &[&format!("f{i}")]);
            most = most.max(layouts.nodes.len());
        }
        assert!(layouts.generation() >= 2 && most <= MAX_NODES + 2, "{most}");
    }
}
