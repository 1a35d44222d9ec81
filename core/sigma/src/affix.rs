//! Prefixes, suffixes and whole texts: a byte tree that is walked from one end for as long as it goes.

/// Stands for "no bit".
const NONE: u32 = u32::MAX;

/// One node while the tree is built.
#[derive(Default)]
struct Draft {
    children: Vec<(u8, u32)>,
    partial: Option<u32>,
    whole: Option<u32>,
}

/// Builds an [`AffixTree`].
pub(crate) struct AffixBuilder {
    nodes: Vec<Draft>,
}

impl Default for AffixBuilder {
    fn default() -> Self {
        Self { nodes: vec![Draft::default()] }
    }
}

impl AffixBuilder {
    /// Adds a pattern, given byte by byte from the end at which walks begin. `whole` patterns hit only where the
    /// text ends with them. Each pattern may be added once.
    pub fn add(&mut self, pattern: impl Iterator<Item = u8>, whole: bool, bit: u32) {
        let mut at = 0;
        for byte in pattern {
            let next = self.nodes.len() as u32;
            let node = &mut self.nodes[at];
            at = if let Some((_, child)) = node.children.iter().find(|(label, _)| *label == byte) {
                *child as usize
            } else {
                node.children.push((byte, next));
                self.nodes.push(Draft::default());
                next as usize
            };
        }
        let node = &mut self.nodes[at];
        *(if whole { &mut node.whole } else { &mut node.partial }) = Some(bit);
    }

    /// The tree, or `None` if nothing was added.
    pub fn build(self) -> Option<AffixTree> {
        let nothing =
            |node: &Draft| node.children.is_empty() && node.partial.is_none() && node.whole.is_none();
        if self.nodes.first().is_none_or(nothing) {
            return None;
        }
        let mut tree = AffixTree {
            root: Box::new([NONE; 256]),
            nodes: Vec::new(),
            labels: Vec::new(),
            targets: Vec::new(),
        };
        for (i, node) in self.nodes.into_iter().enumerate() {
            let first = tree.labels.len() as u32;
            for (label, child) in node.children {
                if i == 0 {
                    tree.root[usize::from(label)] = child;
                }
                tree.labels.push(label);
                tree.targets.push(child);
            }
            tree.nodes.push(Node {
                first,
                end: tree.labels.len() as u32,
                partial: node.partial.unwrap_or(NONE),
                whole: node.whole.unwrap_or(NONE),
            });
        }
        Some(tree)
    }
}

#[derive(Debug)]
struct Node {
    /// Its edges are `first..end` in `labels` and `targets`.
    first: u32,
    end: u32,
    partial: u32,
    whole: u32,
}

/// A tree of byte patterns. The root's edges are looked up, the others searched: there are few per node.
#[derive(Debug)]
pub(crate) struct AffixTree {
    root: Box<[u32; 256]>,
    nodes: Vec<Node>,
    labels: Vec<u8>,
    targets: Vec<u32>,
}

impl AffixTree {
    /// Reports the bit of every pattern with which the text begins, and of one that is the whole text.
    pub fn walk(&self, mut text: impl Iterator<Item = u8>, hit: &mut impl FnMut(u32)) {
        let mut at = 0;
        loop {
            let node = &self.nodes[at as usize];
            if node.partial != NONE {
                hit(node.partial);
            }
            let Some(byte) = text.next() else {
                if node.whole != NONE {
                    hit(node.whole);
                }
                return;
            };
            let next = if at == 0 {
                self.root[usize::from(byte)]
            } else {
                let edges = node.first as usize..node.end as usize;
                self.labels[edges.clone()]
                    .iter()
                    .position(|label| *label == byte)
                    .map_or(NONE, |i| self.targets[edges.start + i])
            };
            if next == NONE {
                return;
            }
            at = next;
        }
    }
}
