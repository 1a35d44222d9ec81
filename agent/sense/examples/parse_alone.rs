//! What parsing EVTX costs by itself: every record to JSON with the crate `evtx`, on one core, and nothing else.
//!
//!     cargo run --release -p wardline-sense --example parse_alone -- PATH...
//!
//! Paths are files or folders. Prints the number of records and of bytes of JSON. This is what `wardline scan` is
//! measured against.

use std::path::{Path, PathBuf};
use std::{env, fs, io};

use evtx::{EvtxParser, ParserSettings};

fn main() -> io::Result<()> {
    let mut files = Vec::new();
    for path in env::args().skip(1) {
        collect(Path::new(&path), &mut files)?;
    }
    let (mut records, mut bytes) = (0u64, 0);
    for file in &files {
        let Ok(parser) = EvtxParser::from_path(file) else { continue };
        let settings = ParserSettings::default().indent(false).num_threads(1);
        for record in parser.with_configuration(settings).records_json_bytes().flatten() {
            records += 1;
            bytes += record.data.len();
        }
    }
    println!("records {records}\nbytes {bytes}");
    Ok(())
}

fn collect(path: &Path, out: &mut Vec<PathBuf>) -> io::Result<()> {
    if path.is_dir() {
        for entry in fs::read_dir(path)? {
            collect(&entry?.path(), out)?;
        }
    } else if path.extension().is_some_and(|e| e == "evtx") {
        out.push(path.to_owned());
    }
    Ok(())
}
