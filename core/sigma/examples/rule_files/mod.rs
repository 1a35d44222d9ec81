//! The rule files of a folder, for examples.

use std::path::{Path, PathBuf};
use std::{fs, io};

/// The path and the text of each rule file at or below a path, in no particular order.
pub fn rule_files(path: &Path) -> io::Result<Vec<(PathBuf, String)>> {
    let mut files = Vec::new();
    collect(path, &mut files)?;
    Ok(files)
}

fn collect(path: &Path, out: &mut Vec<(PathBuf, String)>) -> io::Result<()> {
    if path.is_dir() {
        for entry in fs::read_dir(path)? {
            collect(&entry?.path(), out)?;
        }
    } else if path.extension().is_some_and(|e| e == "yml" || e == "yaml") {
        out.push((path.to_owned(), fs::read_to_string(path)?));
    }
    Ok(())
}
