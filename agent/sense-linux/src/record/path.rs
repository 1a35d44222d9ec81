//! Paths: put together from components, and from what a process wrote relative to a directory.

/// A path put together from its components.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct WalkedPath {
    /// Absolute if `complete`, else the end of it.
    pub path: String,
    pub complete: bool,
}

impl WalkedPath {
    /// As it is told; what is missing is an ellipsis.
    pub(crate) fn told(&self) -> String {
        if self.complete { self.path.clone() } else { format!("…/{}", self.path.trim_start_matches('/')) }
    }
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

/// Where a name leads that a process wrote, from the directory that it is relative to (of an absolute one: the
/// process's root). Symbolic links in the name are not followed: nobody knows any more what they said.
pub(super) fn resolve(base: &WalkedPath, name: &[u8]) -> WalkedPath {
    let name = name.split(|b| *b == 0).next().unwrap_or_default();
    let mut path = base.path.trim_end_matches('/').to_owned();
    // No name leads out of the root, be it that of a chroot.
    let floor = if name.starts_with(b"/") { path.len() } else { 0 };
    for component in name.split(|b| *b == b'/') {
        match component {
            b"" | b"." => {}
            b".." => {
                let up = path.rfind('/').unwrap_or(0);
                path.truncate(up.max(floor));
            }
            other => {
                if base.complete || !path.is_empty() {
                    path.push('/');
                }
                path.push_str(&String::from_utf8_lossy(other));
            }
        }
    }
    if base.complete && path.is_empty() {
        path.push('/');
    }
    WalkedPath { path, complete: base.complete }
}
