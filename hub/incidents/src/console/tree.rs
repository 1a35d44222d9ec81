//! The process tree as nested boxes.

use askama::Template;
use wardline_event::{Disposition, Finding};
use wardline_kernel::page::{Markup, base_name, filters};

use crate::domain::{NodeRole, ProcessNode};

/// The most processes drawn; a fork bomb must not become a page of a hundred megabytes.
const MOST_PROCESSES: usize = 150;
/// The deepest level drawn.
const DEEPEST: u32 = 40;

/// One process and what it started.
#[derive(Template, Clone, Debug, PartialEq)]
#[template(path = "tree_branch.html")]
pub struct Branch {
    /// Number within the page, for the copy button.
    pub number: usize,
    /// What people call it.
    pub name: String,
    /// Full path.
    pub image: String,
    /// Its process id.
    pub pid: u32,
    /// Who ran it.
    pub user: String,
    /// Its command line; empty if unknown.
    pub command_line: String,
    /// The rule matched on this one.
    pub hit: bool,
    /// It was killed.
    pub killed: bool,
    /// Its end was seen, and nobody killed it.
    pub ended: bool,
    /// What it started.
    pub children: Vec<Branch>,
}

impl Markup for Branch {}

/// The tree, and how many processes it leaves out.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Tree {
    /// Its roots: one, unless ancestors are unknown.
    pub roots: Vec<Branch>,
    /// Processes that are not drawn.
    pub left_out: usize,
}

impl Tree {
    /// Nests the nodes, which come depth first.
    pub fn of(finding: &Finding, nodes: &[ProcessNode]) -> Self {
        let killed =
            finding.action.disposition == Disposition::Stopped && finding.action.action.contains("kill");
        let drawn: Vec<&ProcessNode> =
            nodes.iter().filter(|n| n.depth < DEEPEST).take(MOST_PROCESSES).collect();
        let mut rest = drawn.as_slice();
        let mut roots = Vec::new();
        while let Some(first) = rest.first() {
            roots.push(grow(&mut rest, first.depth, killed, drawn.len()));
        }
        Self { roots, left_out: nodes.len() - drawn.len() }
    }
}

/// Takes one process and everything below it off the front of `rest`.
fn grow(rest: &mut &[&ProcessNode], depth: u32, killed_below: bool, total: usize) -> Branch {
    let node = rest[0];
    let number = total - rest.len() + 1;
    *rest = &rest[1..];
    let mut children = Vec::new();
    while let Some(next) = rest.first().filter(|next| next.depth > depth) {
        children.push(grow(rest, next.depth, killed_below, total));
    }
    let image = if node.image.is_empty() { "unknown program" } else { &node.image };
    let killed = killed_below && node.role != NodeRole::Ancestor;
    Branch {
        number,
        name: base_name(image).to_owned(),
        image: node.image.clone(),
        pid: node.pid,
        user: node.user.clone(),
        command_line: node.command_line.clone(),
        hit: node.role == NodeRole::Subject,
        killed,
        ended: node.ended_ms.is_some() && !killed,
        children,
    }
}
