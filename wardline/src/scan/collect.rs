//! Which files to scan.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use wardline_sense::log::{Format, detect, is_log_name};

/// A file to scan.
#[derive(Debug)]
pub struct Input {
    /// Where it is.
    pub path: PathBuf,
    /// How it is shown.
    pub shown: String,
    /// Its size in bytes when it was found.
    pub bytes: u64,
    /// A person named it, or it is named as an event log: an unknown format is worth a word.
    pub named: bool,
    /// It is standard input.
    pub stdin: bool,
}

/// What standard input is called.
const STDIN: &str = "standard input";

/// The files to scan, in the order in which they are reported.
#[derive(Debug, Default)]
pub struct Files {
    /// The files: in the order of the arguments, in folders by name.
    pub list: Vec<Input>,
    /// Folders and files that could not be looked at.
    pub faults: Vec<String>,
    written: Vec<PathBuf>,
    /// What was found already, where several paths may lead to one file.
    found: HashSet<PathBuf>,
    several: bool,
}

impl Files {
    /// Finds the files under `paths`; those in `written` are about to be written, and are no logs in folders.
    ///
    /// # Errors
    /// A path that does not exist is a mistake in the command, so nothing is begun.
    pub fn collect(paths: &[PathBuf], written: &[Option<&Path>]) -> Result<Self, String> {
        let mut files = Self {
            written: written.iter().flatten().filter_map(|path| fs::canonicalize(path).ok()).collect(),
            several: paths.len() > 1,
            ..Self::default()
        };
        for path in paths {
            if path.as_os_str() == "-" {
                if files.list.iter().any(|input| input.stdin) {
                    return Err("-: standard input can be read once only".to_owned());
                }
                let shown = STDIN.to_owned();
                files.list.push(Input { path: STDIN.into(), shown, bytes: 0, named: true, stdin: true });
                continue;
            }
            let meta = fs::metadata(path).map_err(|e| {
                format!("{}: cannot be scanned: {e}; check the path, or the rights to it", path.display())
            })?;
            if let Some(what) = not_a_file(&meta) {
                return Err(format!(
                    "{0}: it is {what}, not a file or folder; to read what comes out of it: wardline scan - < {0}",
                    path.display()
                ));
            }
            if meta.is_dir() {
                files.walk(path);
            } else {
                files.push(path.clone(), meta.len(), true);
            }
        }
        Ok(files)
    }

    /// The sum of the sizes.
    pub fn bytes(&self) -> u64 {
        self.list.iter().map(|f| f.bytes).sum()
    }

    fn is_written(&self, path: &Path) -> bool {
        !self.written.is_empty() && fs::canonicalize(path).is_ok_and(|path| self.written.contains(&path))
    }

    /// Adds a file, once: to count its records twice would double what is reported and correlated.
    fn push(&mut self, path: PathBuf, bytes: u64, named: bool) {
        if self.several && fs::canonicalize(&path).is_ok_and(|path| !self.found.insert(path)) {
            return;
        }
        let shown = path.display().to_string();
        self.list.push(Input { path, shown, bytes, named, stdin: false });
    }

    /// Adds a folder's logs, deepest last, by name. Links are not followed: they may lead in circles.
    fn walk(&mut self, root: &Path) {
        let mut folders = vec![root.to_owned()];
        while let Some(folder) = folders.pop() {
            let entries = match fs::read_dir(&folder).and_then(Iterator::collect::<Result<Vec<_>, _>>) {
                Ok(entries) => entries,
                Err(e) => {
                    self.faults.push(format!("{}: the folder cannot be read: {e}", folder.display()));
                    continue;
                }
            };
            let mut paths: Vec<_> =
                entries.iter().filter_map(|e| Some((e.path(), e.file_type().ok()?))).collect();
            paths.sort_by(|a, b| a.0.cmp(&b.0));
            let mut inner = Vec::new();
            for (path, kind) in paths {
                if kind.is_dir() {
                    inner.push(path);
                } else if kind.is_file() && (is_log_name(&path) || is_evtx(&path)) && !self.is_written(&path)
                {
                    let bytes = fs::metadata(&path).map_or(0, |m| m.len());
                    // One that is none may have been wiped.
                    let evtx = path.extension().is_some_and(|e| e.eq_ignore_ascii_case("evtx"));
                    self.push(path, bytes, evtx);
                }
            }
            // Popped last first.
            folders.extend(inner.into_iter().rev());
        }
    }
}

/// What something is that has no end to read to, or that is read once only.
fn not_a_file(meta: &fs::Metadata) -> Option<&'static str> {
    let kind = meta.file_type();
    if kind.is_fifo() {
        Some("a named pipe")
    } else if kind.is_char_device() || kind.is_block_device() {
        Some("a device")
    } else if kind.is_socket() {
        Some("a socket")
    } else {
        None
    }
}

/// An event log under another name (a copy without its extension).
fn is_evtx(path: &Path) -> bool {
    let mut magic = [0; 8];
    File::open(path).and_then(|mut f| f.read_exact(&mut magic)).is_ok()
        && detect(&magic) == Some(Format::Evtx)
}
