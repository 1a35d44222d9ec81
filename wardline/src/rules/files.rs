//! Rule files on disk.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::parallel;

/// A rule file as it was found. Two walks that find equal lists have found the same rules.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RuleFile {
    /// Where it is.
    pub path: PathBuf,
    /// Its size in bytes.
    pub bytes: u64,
    /// When it was last written, in nanoseconds since 1970.
    pub modified: i128,
    /// When its content, name or rights were last changed, likewise. Nobody can set this back.
    pub changed: i128,
    /// Which file it is on its device.
    pub inode: u64,
    /// The device.
    pub device: u64,
}

/// The rule files at some paths.
#[derive(Debug, Default)]
pub struct Files {
    /// In the order of the paths; in folders by name.
    pub list: Vec<RuleFile>,
    /// What could not be looked at, one line each.
    pub faults: Vec<String>,
}

impl Files {
    /// A file that is named is taken whatever its name; in folders all `.yml` and `.yaml` are, at any depth. Links
    /// in folders are not followed, since they may lead in circles, and hidden folders are none of rules.
    pub fn collect(paths: &[PathBuf]) -> Self {
        let mut found = Found::default();
        for path in paths {
            match fs::metadata(path) {
                Ok(meta) if meta.is_dir() => found.walk(path),
                Ok(meta) => found.list.push((path.clone(), Some(meta))),
                Err(e) => found.faults.push(format!(
                    "{}: cannot be read: {e}; check the path, or the rights to it",
                    path.display()
                )),
            }
        }
        let Found { list, mut faults } = found;
        let looked_at = parallel::map(&list, |(path, meta)| match meta {
            Some(meta) => Ok(RuleFile::new(path, meta)),
            None => fs::symlink_metadata(path)
                .map(|meta| RuleFile::new(path, &meta))
                .map_err(|e| format!("{}: cannot be read: {e}", path.display())),
        });
        let mut list = Vec::with_capacity(looked_at.len());
        for file in looked_at {
            match file {
                Ok(file) => list.push(file),
                Err(fault) => faults.push(fault),
            }
        }
        Self { list, faults }
    }
}

impl RuleFile {
    fn new(path: &Path, meta: &fs::Metadata) -> Self {
        let ns = |seconds: i64, ns: i64| i128::from(seconds) * 1_000_000_000 + i128::from(ns);
        Self {
            path: path.to_owned(),
            bytes: meta.len(),
            modified: ns(meta.mtime(), meta.mtime_nsec()),
            changed: ns(meta.ctime(), meta.ctime_nsec()),
            inode: meta.ino(),
            device: meta.dev(),
        }
    }
}

/// Paths of rule files, and what is known of those that were named.
#[derive(Default)]
struct Found {
    list: Vec<(PathBuf, Option<fs::Metadata>)>,
    faults: Vec<String>,
}

impl Found {
    fn walk(&mut self, folder: &Path) {
        let shown = folder.display();
        let entries = match fs::read_dir(folder).and_then(Iterator::collect::<Result<Vec<_>, _>>) {
            Ok(entries) => entries,
            Err(e) => return self.faults.push(format!("{shown}: the folder cannot be read: {e}")),
        };
        let mut entries: Vec<_> = entries.into_iter().map(|entry| (entry.file_name(), entry)).collect();
        entries.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
        for (name, entry) in entries {
            let Ok(kind) = entry.file_type() else { continue };
            let bytes = name.as_encoded_bytes();
            if kind.is_dir() {
                if !bytes.starts_with(b".") {
                    self.walk(&folder.join(name));
                }
            } else if kind.is_file() {
                let path = folder.join(name);
                if path.extension().is_some_and(|e| e == "yml" || e == "yaml") {
                    self.list.push((path, None));
                }
            }
        }
    }
}
