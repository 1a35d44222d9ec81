//! Lists every rule under `rules/` in a table that `src/lib.rs` includes, so that a new file needs no line of code.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

fn main() {
    println!("cargo:rerun-if-changed=rules");
    println!("cargo:rerun-if-changed=build.rs");
    if let Err(message) = write_table() {
        println!("cargo::error={message}");
    }
}

fn write_table() -> Result<(), String> {
    let home =
        PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").ok_or("cargo did not name the crate's folder")?);
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or("cargo did not name the output folder")?);
    let root = home.join("rules");

    // Sorted by path, so that the same tree always gives the same binary.
    let mut rules = BTreeMap::new();
    collect(&root, &root, &mut rules).map_err(|e| format!("cannot list {}: {e}", root.display()))?;

    let mut table = String::from("&[\n");
    for (path, file) in &rules {
        let tests = file.with_extension("tests.jsonl");
        if !tests.is_file() {
            return Err(format!("the rule {path} has no tests; write {} beside it", tests.display()));
        }
        writeln!(
            table,
            "    RuleFile {{ path: {path:?}, text: include_str!({:?}), tests: include_str!({:?}) }},",
            file.to_string_lossy(),
            tests.to_string_lossy(),
        )
        .map_err(|e| e.to_string())?;
    }
    table.push(']');
    let target = out.join("rules.rs");
    fs::write(&target, table).map_err(|e| format!("cannot write {}: {e}", target.display()))
}

/// Adds the `.yml` files of a folder and its sub-folders, by their path below `root` with `/` between its parts.
fn collect(root: &Path, folder: &Path, rules: &mut BTreeMap<String, PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            collect(root, &path, rules)?;
        } else if path.extension().is_some_and(|e| e == "yml") {
            let below = path.strip_prefix(root).unwrap_or(&path);
            let name = below.iter().map(|part| part.to_string_lossy()).collect::<Vec<_>>().join("/");
            rules.insert(name, path);
        }
    }
    Ok(())
}
