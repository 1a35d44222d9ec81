//! Prefixes, suffixes and whole texts: a radix tree that is walked from one end of the text for as long as it goes.

use std::cmp::Ordering;

/// Stands for "no bit" and "no child".
const NONE: u32 = u32::MAX;
/// A node with more children than this finds them in a table of all bytes.
const SEARCHED: usize = 8;

/// A literal and its bit.
#[derive(Clone, Copy)]
pub(crate) struct Affix<'a> {
    pub literal: &'a str,
    /// It hits only where it is the whole text.
    pub whole: bool,
    pub bit: u32,
}

/// A tree of literals that are compared with texts from the front, or (`BACK`) from the back.
#[derive(Debug)]
pub(crate) struct AffixTree<const BACK: bool> {
    nodes: Vec<Node>,
    /// The labels of all nodes, each in the direction of the text.
    labels: Vec<u8>,
    /// The first byte of each child, for nodes that have few, and the child.
    edges: Vec<(u8, u32)>,
    /// The children by their first byte, for nodes that have many.
    tables: Vec<[u32; 256]>,
}

#[derive(Debug)]
struct Node {
    /// Its label is `labels[label..label + len]`.
    label: u32,
    len: u32,
    /// The bit of the literal that ends here, and of the one that is the whole text if that ends here too.
    partial: u32,
    whole: u32,
    /// Its children are `edges[first..first + count]`, or `tables[first]` if there are more than [`SEARCHED`].
    first: u32,
    count: u32,
}

impl<const BACK: bool> AffixTree<BACK> {
    /// Puts literals in the order of their tree.
    pub fn sort(affixes: &mut [Affix<'_>]) {
        let order = |a: &Affix<'_>, b: &Affix<'_>| order::<BACK>(a.literal.as_bytes(), b.literal.as_bytes());
        affixes.sort_unstable_by(|a, b| order(a, b).then(a.whole.cmp(&b.whole)));
    }

    /// Whether they are in the order of their tree, and no two of them equal in both literal and `whole`.
    pub fn is_sorted(affixes: &[Affix<'_>]) -> bool {
        affixes.array_windows().all(|[a, b]| {
            let order = order::<BACK>(a.literal.as_bytes(), b.literal.as_bytes());
            order.then(a.whole.cmp(&b.whole)) == Ordering::Less
        })
    }

    /// The tree of sorted literals, or `None` without any. No two of them may be equal in both literal and `whole`.
    pub fn build(affixes: &[Affix<'_>]) -> Option<Self> {
        if affixes.is_empty() {
            return None;
        }
        let mut tree = Self { nodes: Vec::new(), labels: Vec::new(), edges: Vec::new(), tables: Vec::new() };
        tree.nodes.push(Node { label: 0, len: 0, partial: NONE, whole: NONE, first: 0, count: 0 });
        // Nodes whose literals, all with the same first `depth` bytes, still have to be put below them.
        let mut open = vec![(0, 0, affixes)];
        while let Some((node, depth, affixes)) = open.pop() {
            tree.grow(node, depth, affixes, &mut open);
        }
        Some(tree)
    }

    fn grow<'t, 'a>(
        &mut self,
        node: usize,
        depth: usize,
        mut affixes: &'t [Affix<'a>],
        open: &mut Vec<(usize, usize, &'t [Affix<'a>])>,
    ) {
        // Sorted order puts the literals that end here first.
        while let Some((first, rest)) = affixes.split_first()
            && first.literal.len() == depth
        {
            let node = &mut self.nodes[node];
            *(if first.whole { &mut node.whole } else { &mut node.partial }) = first.bit;
            affixes = rest;
        }
        let first_edge = self.edges.len();
        for group in affixes.chunk_by(|a, b| at::<BACK>(a, depth) == at::<BACK>(b, depth)) {
            let (first, last) = (group[0].literal.as_bytes(), group[group.len() - 1].literal.as_bytes());
            let mut end = depth + 1;
            while end < first.len().min(last.len()) && byte::<BACK>(first, end) == byte::<BACK>(last, end) {
                end += 1;
            }
            let child = self.nodes.len();
            self.edges.push((byte::<BACK>(first, depth), child as u32));
            self.nodes.push(Node {
                label: self.labels.len() as u32,
                len: (end - depth) as u32,
                partial: NONE,
                whole: NONE,
                first: 0,
                count: 0,
            });
            let label = if BACK { first.len() - end..first.len() - depth } else { depth..end };
            self.labels.extend_from_slice(&first[label]);
            open.push((child, end, group));
        }
        let count = self.edges.len() - first_edge;
        self.nodes[node].count = count as u32;
        self.nodes[node].first = first_edge as u32;
        if count > SEARCHED {
            self.nodes[node].first = self.tables.len() as u32;
            let mut table = [NONE; 256];
            for (byte, child) in self.edges.drain(first_edge..) {
                table[usize::from(byte)] = child;
            }
            self.tables.push(table);
        }
    }

    /// Reports the bit of every literal with which the text begins (or ends), and of one that is the whole text.
    pub fn walk(&self, text: &[u8], hit: &mut impl FnMut(u32)) {
        let mut rest = text;
        let mut node = &self.nodes[0];
        loop {
            if node.partial != NONE {
                hit(node.partial);
            }
            let next = if BACK { rest.last() } else { rest.first() };
            let Some(next) = next else {
                if node.whole != NONE {
                    hit(node.whole);
                }
                return;
            };
            let child = if node.count as usize > SEARCHED {
                self.tables[node.first as usize][usize::from(*next)]
            } else {
                let edges = &self.edges[node.first as usize..][..node.count as usize];
                edges.iter().find(|(byte, _)| byte == next).map_or(NONE, |(_, child)| *child)
            };
            if child == NONE {
                return;
            }
            node = &self.nodes[child as usize];
            let label = &self.labels[node.label as usize..][..node.len as usize];
            let left = if BACK { rest.strip_suffix(label) } else { rest.strip_prefix(label) };
            let Some(left) = left else { return };
            rest = left;
        }
    }
}

/// The byte at a distance from the end where walks begin.
fn byte<const BACK: bool>(literal: &[u8], depth: usize) -> u8 {
    if BACK { literal[literal.len() - 1 - depth] } else { literal[depth] }
}

fn at<const BACK: bool>(affix: &Affix<'_>, depth: usize) -> u8 {
    byte::<BACK>(affix.literal.as_bytes(), depth)
}

fn order<const BACK: bool>(a: &[u8], b: &[u8]) -> Ordering {
    if BACK { a.iter().rev().cmp(b.iter().rev()) } else { a.cmp(b) }
}
