//! Rule files on disk.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

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
        let mut files = Self::default();
        for path in paths {
            match fs::metadata(path) {
                Ok(meta) if meta.is_dir() => files.walk(path),
                Ok(meta) => files.push(path.clone(), &meta),
                Err(e) => files.faults.push(format!(
                    "{}: cannot be read: {e}; check the path, or the rights to it",
                    path.display()
                )),
            }
        }
        files
    }

    fn push(&mut self, path: PathBuf, meta: &fs::Metadata) {
        let ns = |seconds: i64, ns: i64| i128::from(seconds) * 1_000_000_000 + i128::from(ns);
        self.list.push(RuleFile {
            path,
            bytes: meta.len(),
            modified: ns(meta.mtime(), meta.mtime_nsec()),
            changed: ns(meta.ctime(), meta.ctime_nsec()),
            inode: meta.ino(),
            device: meta.dev(),
        });
    }

    fn walk(&mut self, folder: &Path) {
        let shown = folder.display();
        let mut entries = match fs::read_dir(folder).and_then(Iterator::collect::<Result<Vec<_>, _>>) {
            Ok(entries) => entries,
            Err(e) => return self.faults.push(format!("{shown}: the folder cannot be read: {e}")),
        };
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            let (path, Ok(kind)) = (entry.path(), entry.file_type()) else { continue };
            if kind.is_dir() {
                if !entry.file_name().as_encoded_bytes().starts_with(b".") {
                    self.walk(&path);
                }
            } else if kind.is_file() && path.extension().is_some_and(|e| e == "yml" || e == "yaml") {
                match entry.metadata() {
                    Ok(meta) => self.push(path, &meta),
                    Err(e) => self.faults.push(format!("{}: cannot be read: {e}", path.display())),
                }
            }
        }
    }
}
