//! How long the rules of a folder take to load: parsed, as bytes, and from these bytes, on one thread.
//!
//!     cargo run --release -p wardline-sigma --example load RULES-DIR
//!
//! Prints one `name value` pair a line; times are the best of ten, in milliseconds.

mod rule_files;

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;
use std::{env, io};

use rule_files::rule_files;
use wardline_event::{LogRecord, LogSource, Value};
use wardline_sigma::{Collection, KeptBytes, LinkOptions};

fn main() -> io::Result<()> {
    let Some(rules) = env::args().nth(1) else {
        eprintln!("usage: load RULES-DIR");
        std::process::exit(2);
    };
    let files = rule_files(Path::new(&rules))?;
    let parse = || {
        let mut all = Collection::default();
        for (origin, text) in &files {
            if let Ok(parsed) = Collection::parse(text, &origin.display().to_string()) {
                all.extend(parsed);
            }
        }
        all
    };
    let all = best("parse_ms", parse);
    let bytes = best("to_bytes_ms", || all.to_bytes());
    let bytes: Arc<dyn KeptBytes> = Arc::new(bytes);
    let _ = best_of("from_bytes_ms", &bytes, Collection::from_bytes);
    let Ok(read) = best_of("open_ms", &bytes, Collection::open) else {
        eprintln!("what was written cannot be read");
        std::process::exit(1);
    };
    let linked = best_of("link_ms", &read, |all| all.link(&LinkOptions::default()));
    // What has been taken apart once is not taken apart again.
    let parsed_linked = best_of("link_parsed_ms", &all, |all| all.link(&LinkOptions::default()));
    assert_eq!(parsed_linked.rules.rules().len(), linked.rules.rules().len());
    // A set that has seen no event yet, and the first one: a process that starts, as Sysmon tells it.
    let first = |classes: Option<Arc<dyn KeptBytes>>| {
        let set = read.clone().link(&LinkOptions::default()).rules;
        assert!(set.keep_compiled(classes).is_ok());
        let mut event = LogRecord::new(LogSource::new("windows", "process_creation", "sysmon"));
        event.set("EventID", Value::Int(1));
        event.set("Image", r"C:\a.exe");
        set.matches(&event, &mut set.scratch(), &mut |_| {});
        set
    };
    let compiled = best("link_and_first_event_ms", || first(None));
    let classes = best("compiled_ms", || compiled.compiled()).unwrap_or_default();
    println!("class_bytes {}", classes.len());
    let classes: Arc<dyn KeptBytes> = Arc::new(classes);
    best_of("link_and_first_event_kept_ms", &classes, |classes| first(Some(classes)));
    println!("bytes {}", bytes.length());
    println!("rules {}", linked.rules.rules().len());
    Ok(())
}

fn best<T>(name: &str, mut work: impl FnMut() -> T) -> T {
    best_of(name, &(), |()| work())
}

/// The shortest of ten runs, each with an input of its own; the last result.
fn best_of<I: Clone, T>(name: &str, input: &I, mut work: impl FnMut(I) -> T) -> T {
    let mut timed = || {
        let input = input.clone();
        let started = Instant::now();
        let out = work(input);
        (started.elapsed(), out)
    };
    let (mut shortest, mut out) = timed();
    for _ in 1..10 {
        let (took, again) = timed();
        shortest = shortest.min(took);
        out = again;
    }
    println!("{name} {:.2}", shortest.as_secs_f64() * 1e3);
    out
}
