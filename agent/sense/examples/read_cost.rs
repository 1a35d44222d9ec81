//! What it costs to read logs into records, beside what the EVTX parser alone takes to write them as JSON lines.
//!
//!     cargo run --release -p wardline-sense --example read_cost PATH [parse|read]
//!
//! PATH is a log or a folder; `./bench sigma --keep` leaves large ones in `target/bench/inputs`. Prints one `name value`
//! pair a line; times are those of one thread on the processor, where Linux tells. With `parse` or `read` only that part
//! runs, so that its instructions can be counted (`valgrind --tool=callgrind`) or its user time compared with that of
//! `wardline scan`. Logs of other formats are only read.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use std::{env, fs, io};

use evtx::{EvtxParser, ParserSettings};
use wardline_sense::log::{Format, Options, Pieces, Workspace};

fn main() -> io::Result<()> {
    let mut arguments = env::args().skip(1);
    let (Some(path), part) = (arguments.next(), arguments.next()) else {
        eprintln!("usage: read_cost PATH [parse|read]");
        std::process::exit(2);
    };
    let mut files = Vec::new();
    collect(Path::new(&path), &mut files)?;
    let wanted = |name: &str| part.as_deref().is_none_or(|part| part == name);
    if wanted("parse") {
        timed("parse", || files.iter().filter(|file| is_evtx(file)).map(|file| parse(file)).sum());
    }
    if wanted("read") {
        let mut workspace = Workspace::default();
        timed("read", || files.iter().map(|file| read(file, &mut workspace)).sum());
    }
    Ok(())
}

/// The files at a path in the order of their names.
fn collect(path: &Path, out: &mut Vec<PathBuf>) -> io::Result<()> {
    if !path.is_dir() {
        out.push(path.to_owned());
        return Ok(());
    }
    let mut entries = fs::read_dir(path)?.collect::<io::Result<Vec<_>>>()?;
    entries.sort_by_key(fs::DirEntry::path);
    entries.iter().try_for_each(|entry| collect(&entry.path(), out))
}

fn is_evtx(path: &Path) -> bool {
    Pieces::open(path, &Options::default()).format() == Some(Format::Evtx)
}

/// The parser's own JSON lines, thrown away; none of a file whose header it refuses.
fn parse(path: &Path) -> u64 {
    let Ok(parser) = EvtxParser::from_path(path) else { return 0 };
    let settings = ParserSettings::default().indent(false).num_threads(1);
    parser.with_configuration(settings).records_json_bytes().flatten().count() as u64
}

/// Records as the rules see them.
fn read(path: &Path, workspace: &mut Workspace) -> u64 {
    let mut events = 0;
    for piece in Pieces::open(path, &Options::default()) {
        let _ = piece.read(workspace, &mut |record| {
            events += u64::from(record.is_ok());
            ControlFlow::Continue(())
        });
    }
    events
}

fn timed(name: &str, work: impl FnOnce() -> u64) {
    let (started, busy) = (Instant::now(), cpu_time());
    let events = work();
    let time = match (busy, cpu_time()) {
        (Some(from), Some(to)) => to.saturating_sub(from),
        _ => started.elapsed(),
    };
    println!("{name}_events {events}");
    println!("{name}_us_per_event {:.3}", time.as_secs_f64() * 1e6 / events.max(1) as f64);
}

/// How long this thread has run on a processor, as Linux counts it; `None` elsewhere.
fn cpu_time() -> Option<Duration> {
    let text = fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    text.split(' ').next()?.parse().ok().map(Duration::from_nanos)
}
