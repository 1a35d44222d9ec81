//! Which rules match which events, as JSON lines: what a comparison with another engine needs.
//!
//!     cargo run -p wardline-sigma --example match_lines -- RULES < EVENTS.jsonl
//!
//! RULES is a file or folder. An event is a JSON object of fields; `_logsource` in it holds `product`, `category`,
//! `service` and `also`, a list of further categories. The first line written is `{"rules": [KEY, …], "refused": {FILE:
//! MESSAGE, …}}`; then comes a list of indices into `rules` for each event. A rule's key is `FILE#N`: the file's path
//! below RULES and the rule's number in it, from 0.
//!
//! Each event is matched twice, as the record that readers make and as something that answers only when asked for a
//! field by name. It is an error if that makes a difference.

mod rule_files;

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::io::{self, BufRead, BufWriter, Write};
use std::path::Path;

use rule_files::rule_files;
use serde_json::{Map, Value as Json, json};
use wardline_event::{ByName, Layouts, LogRecord, LogSource};
use wardline_sigma::{Collection, LinkOptions};

fn main() -> io::Result<()> {
    let Some(rules) = env::args().nth(1) else {
        eprintln!("usage: match_lines RULES < EVENTS.jsonl");
        std::process::exit(2);
    };
    let mut out = BufWriter::new(io::stdout().lock());
    let (collection, mut refused) = read(Path::new(&rules))?;
    let linked = collection.link(&LinkOptions::default());
    for fault in linked.faults.iter().filter(|fault| !fault.is_warning()) {
        refused.insert(fault.origin.clone(), fault.to_string().into());
    }
    let set = linked.rules;
    let mut count: BTreeMap<&str, usize> = BTreeMap::new();
    let keys: Vec<String> = set
        .rules()
        .iter()
        .map(|rule| {
            let n = count.entry(&rule.origin).or_default();
            *n += 1;
            format!("{}#{}", rule.origin, *n - 1)
        })
        .collect();
    writeln!(out, "{}", json!({"rules": keys, "refused": refused}))?;
    let mut scratch = set.scratch();
    let mut layouts = Layouts::default();
    let mut names = Names::default();
    for line in io::stdin().lock().lines() {
        let line = line?;
        let record = event(&line, &mut layouts, &mut names)?;
        let (mut as_record, mut as_plain) = (BTreeSet::new(), BTreeSet::new());
        set.matches_in(&record, &mut scratch, &mut |rule| _ = as_record.insert(rule));
        set.matches(&ByName(&record), &mut scratch, &mut |rule| _ = as_plain.insert(rule));
        if as_record != as_plain {
            let what = format!("{as_record:?} as a record, {as_plain:?} by name: {line}");
            return Err(io::Error::other(what));
        }
        writeln!(out, "{}", json!(as_record))?;
    }
    out.flush()
}

/// All rule files at a path, and why files were refused.
fn read(path: &Path) -> io::Result<(Collection, Map<String, Json>)> {
    let mut files = rule_files(path)?;
    files.sort();
    let (mut collection, mut refused) = (Collection::default(), Map::new());
    for (file, text) in &files {
        let below = file.strip_prefix(path).ok().filter(|below| !below.as_os_str().is_empty());
        let origin = below.unwrap_or(file).display().to_string();
        match Collection::parse(text, &origin) {
            Ok(found) => collection.extend(found),
            Err(error) => drop(refused.insert(origin, error.to_string().into())),
        }
    }
    Ok((collection, refused))
}

fn event(line: &str, layouts: &mut Layouts, names: &mut Names) -> io::Result<LogRecord> {
    let mut fields: Map<String, Json> = serde_json::from_str(line)?;
    let source = fields.remove("_logsource").unwrap_or_default();
    let term = |name: &str| source[name].as_str().unwrap_or_default().to_owned().into();
    let also = source["also"].as_array().into_iter().flatten().filter_map(Json::as_str);
    let also = names.of(also.map(str::to_owned).collect());
    let source = LogSource { product: term("product"), category: term("category"), service: term("service") };
    let mut record = LogRecord::new(source);
    record.also = also;
    let mut fill = record.fill(layouts);
    fill.object(&fields);
    fill.finish();
    Ok(record)
}

/// Lists of categories, each made once: readers have them as constants.
#[derive(Default)]
struct Names(BTreeMap<Vec<String>, &'static [&'static str]>);

impl Names {
    fn of(&mut self, names: Vec<String>) -> &'static [&'static str] {
        self.0.entry(names).or_insert_with_key(|names| {
            let each: Vec<&'static str> = names.iter().map(|name| &*name.clone().leak()).collect();
            each.leak()
        })
    }
}
