//! The public rules that lie beside the project, for tests that want all of them.

use std::fs;
use std::path::Path;

/// Each rule file's path below the rules' folder and its text, in a fixed order. Without the folder it says that the
/// test is skipped.
pub fn public_rules() -> Option<Vec<(String, String)>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/sigma");
    if !root.is_dir() {
        println!("skipped: no shared data");
        return None;
    }
    let mut files = Vec::new();
    collect(&root, &root, &mut files);
    files.sort();
    assert!(files.len() > 3000, "only {} rule files in {}", files.len(), root.display());
    Some(files)
}

fn collect(root: &Path, folder: &Path, out: &mut Vec<(String, String)>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(root, &path, out);
        } else if path.extension().is_some_and(|e| e == "yml") {
            let origin = path.strip_prefix(root).unwrap().display().to_string();
            out.push((origin, fs::read_to_string(&path).unwrap()));
        }
    }
}
