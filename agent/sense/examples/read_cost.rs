//! What it costs to read an EVTX file into records, beside what the parser alone takes to write it as JSON lines.
//!
//!     python3 scripts/dense_evtx.py FOLDER-OF-EVTX /tmp/dense.evtx 256
//!     cargo run --release -p wardline-sense --example read_cost /tmp/dense.evtx [parse|read]
//!
//! Prints one `name value` pair a line; times are those of one thread on the processor, where Linux tells. With `parse`
//! or `read` only that part runs, so that its instructions can be counted (`valgrind --tool=callgrind`). A file of
//! another format is only read.

use std::error::Error;
use std::fs::{self, File};
use std::ops::ControlFlow;
use std::path::Path;
use std::time::{Duration, Instant};
use std::{env, io};

use evtx::{EvtxParser, ParserSettings};
use wardline_sense::log::{Format, Options, Pieces, Workspace};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args().skip(1);
    let (Some(path), part) = (arguments.next(), arguments.next()) else {
        eprintln!("usage: read_cost FILE [parse|read]");
        std::process::exit(2);
    };
    let path = Path::new(&path);
    let wanted = |name: &str| part.as_deref().is_none_or(|part| part == name);
    let pieces = Pieces::open(path, &Options::default());
    if wanted("parse") && pieces.format() == Some(Format::Evtx) {
        let (events, time) = timed(|| parse(path))?;
        report("parse", events, time);
    }
    if wanted("read") {
        let (events, time) = timed(|| Ok(read(pieces)))?;
        report("read", events, time);
    }
    Ok(())
}

/// The parser's own JSON lines, thrown away.
fn parse(path: &Path) -> io::Result<u64> {
    let mut parser = EvtxParser::from_read_seek(File::open(path)?)
        .map_err(io::Error::other)?
        .with_configuration(ParserSettings::default().indent(false).num_threads(1));
    Ok(parser.records_json_bytes().flatten().count() as u64)
}

/// Records as the rules see them.
fn read(pieces: Pieces<'_>) -> u64 {
    let mut workspace = Workspace::default();
    let mut events = 0;
    for piece in pieces {
        let _ = piece.read(&mut workspace, &mut |record| {
            events += u64::from(record.is_ok());
            ControlFlow::Continue(())
        });
    }
    events
}

fn timed(work: impl FnOnce() -> io::Result<u64>) -> io::Result<(u64, Duration)> {
    let (started, busy) = (Instant::now(), cpu_time());
    let events = work()?;
    let time = match (busy, cpu_time()) {
        (Some(from), Some(to)) => to.saturating_sub(from),
        _ => started.elapsed(),
    };
    Ok((events, time))
}

fn report(name: &str, events: u64, time: Duration) {
    println!("{name}_events {events}");
    println!("{name}_us_per_event {:.3}", time.as_secs_f64() * 1e6 / events.max(1) as f64);
}

/// How long this thread has run on a processor, as Linux counts it; `None` elsewhere.
fn cpu_time() -> Option<Duration> {
    let text = fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    text.split(' ').next()?.parse().ok().map(Duration::from_nanos)
}
