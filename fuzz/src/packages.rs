//! The package database of Debian.

use wardline_sense::dpkg::{self, Index};

/// Status, list and sums in one: whatever they say, names of files stay in their folder and what is listed is found.
pub fn database(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    for package in dpkg::packages(&text) {
        assert!(!package.name.is_empty());
        assert!(package.stems.iter().all(|stem| !stem.contains('/') && !stem.starts_with('.')));
    }
    let mut index = Index::default();
    index.add(0, &text);
    index.finish();
    for path in text.lines().take(64) {
        assert_eq!(index.candidates(path).next(), Some(0));
        assert!(dpkg::lists(&text, path));
        let _ = dpkg::digest(&text, path);
        assert!(dpkg::spellings(path).iter().any(|spelling| spelling == path));
    }
}
