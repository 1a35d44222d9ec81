//! Writes the beginnings of event logs as seeds for `log_evtx`, each of at most a chunk:
//!
//!     cargo run -p wardline-fuzz --example event_logs LOGS-DIR SEEDS-DIR
//!
//! Where the logs are others' work, the seeds are too, and belong outside of this repository's corpus.
#![allow(clippy::unwrap_used, reason = "a tool for developers stops where it fails")]

use std::path::PathBuf;
use std::{env, fs};

use wardline_fuzz::beginning_of_evtx;

fn main() {
    let [logs, seeds] =
        env::args().skip(1).map(PathBuf::from).collect::<Vec<_>>().try_into().unwrap_or_else(|_| {
            eprintln!("usage: event_logs LOGS-DIR SEEDS-DIR");
            std::process::exit(2);
        });
    fs::create_dir_all(&seeds).unwrap();
    let (mut folders, mut written) = (vec![logs], 0);
    while let Some(folder) = folders.pop() {
        for path in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                folders.push(path);
            } else if let Some(beginning) = beginning_of_evtx(&fs::read(&path).unwrap()) {
                fs::write(seeds.join(format!("{written:04}.evtx")), beginning).unwrap();
                written += 1;
            }
        }
    }
    println!("{written} seeds");
}
