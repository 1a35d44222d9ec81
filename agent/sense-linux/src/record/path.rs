//! Paths: put together from components, and from what a process wrote relative to a directory.

/// A path put together from its components.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct WalkedPath {
    /// Absolute if `complete`, else the end of it.
    pub path: String,
    pub complete: bool,
}

/// Components come leaf first, each ended by a NUL.
pub(super) fn walked(components: &[u8], complete: bool) -> WalkedPath {
    let mut path = String::new();
    for component in components.split(|b| *b == 0).rev().filter(|c| !c.is_empty()) {
        if complete || !path.is_empty() {
            path.push('/');
        }
        path.push_str(&String::from_utf8_lossy(component));
    }
    if complete && path.is_empty() {
        path.push('/');
    }
    WalkedPath { path, complete }
}
