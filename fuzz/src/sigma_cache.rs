//! What is kept of rules between runs: parsed, and compiled.

use std::hash::{BuildHasher, Hasher};
use std::sync::{Arc, LazyLock};

use foldhash::quality::FixedState;
use wardline_event::{LogRecord, LogSource, Value};
use wardline_sigma::{Collection, LinkOptions, RuleSet};

use crate::sigma_files::feed;

/// Rules with everything that is compiled in a way of its own.
const RULES: &str = r"
title: One
logsource: {product: windows}
detection:
  a:
    EventID: [1, 2]
    Image|endswith: ['\vssadmin.exe', '\wmic?exe']
    CommandLine|contains|windash: ' -delete'
    CommandLine|re: '(?i)delete\s+shadows'
  b: {Address|cidr: 10.0.0.0/8, Size|gte: 5.5, User: null}
  condition: a and not b
---
title: Two
logsource: {product: windows, category: process_creation}
detection:
  a: {EventID: 1, Note|contains: [évasion, x], Image|startswith: 'C:\'}
  b: {Image|fieldref: ParentImage, Image|exists: true}
  condition: a or b
---
title: Three
logsource: {product: windows}
detection: {a: [word, 'w*d'], b: {EventID: 3, Path|contains: '.'}, condition: a or b}
---
title: Four
logsource: {product: windows}
detection: {a: {EventID: 4, Image|re: '\w'}, b: {Image|contains: q}, condition: a and not b}
";

/// The bytes of a file with right digests, of which `data` is the rest: behind the first line how many parts there are
/// and how long each is (4 bytes each), and the parts. `change` may change the first part.
fn sealed(first_line: &[u8], data: &[u8], change: impl FnOnce(&mut [u8])) -> Vec<u8> {
    let digest = |bytes: &[u8]| {
        let mut hasher = FixedState::with_seed(0).build_hasher();
        hasher.write(bytes);
        hasher.finish().to_le_bytes()
    };
    let (count, rest) = data.split_first_chunk::<4>().unwrap_or((&[0; 4], &[]));
    let lengths = (u32::from_le_bytes(*count) as usize).min(rest.len() / 4) * 4;
    let (lengths, parts) = rest.split_at(lengths);
    let mut parts = parts.to_vec();
    let mut table = count.to_vec();
    let (mut next, mut change) = (0, Some(change));
    for length in lengths.as_chunks::<4>().0 {
        let end = next + u32::from_le_bytes(*length) as usize;
        let part = parts.get_mut(next..end).unwrap_or_default();
        if let Some(change) = change.take() {
            change(part);
        }
        table.extend_from_slice(length);
        table.extend_from_slice(&digest(part));
        next = end;
    }
    [first_line, &digest(&table), &table, &parts].concat()
}

fn first_line(bytes: &[u8]) -> Vec<u8> {
    bytes.split_inclusive(|byte| *byte == b'\n').next().unwrap_or_default().to_vec()
}

/// What of a file [`sealed`] is given.
fn rest(bytes: &[u8]) -> Vec<u8> {
    let table = first_line(bytes).len() + 8;
    let Some((count, _)) = bytes[table..].split_first_chunk::<4>() else { return Vec::new() };
    let parts = table + 4 + 12 * u32::from_le_bytes(*count) as usize;
    let lengths = bytes[table + 4..parts].as_chunks::<12>().0.iter().flat_map(|entry| &entry[..4]);
    count.iter().chain(lengths).chain(&bytes[parts..]).copied().collect()
}

/// Parsed rules as bytes: what is read is written as the same bytes, and can be used.
pub fn rules(data: &[u8]) {
    let bytes = sealed(&first_line(&Collection::default().to_bytes()), data, |_| {});
    let Ok(collection) = Collection::from_bytes(Arc::new(bytes.clone())) else { return };
    assert!(collection.to_bytes() == bytes, "written again it is another one");
    feed(collection);
}

/// The rules of a file as [`rules`] takes them.
pub fn rules_seed(text: &str) -> Option<Vec<u8>> {
    Some(rest(&Collection::parse(text, "fuzz").ok()?.to_bytes()))
}

fn set() -> RuleSet {
    static ALL: LazyLock<Collection> =
        LazyLock::new(|| Collection::parse(RULES, "fuzz").unwrap_or_else(|error| panic!("{error}")));
    ALL.clone().link(&LinkOptions::default()).rules
}

/// Which rules match some events of each kind.
fn use_it(set: &RuleSet) -> Vec<Vec<usize>> {
    let mut scratch = set.scratch();
    let mut found = Vec::new();
    for category in ["", "process_creation"] {
        for id in 0..5 {
            let mut event = LogRecord::new(LogSource::new("windows", category, ""));
            event.set("EventID", Value::Int(id));
            for (name, text) in [
                ("Image", r"C:\Windows\vssadmin.exe"),
                ("CommandLine", "vssadmin -Delete  Shadows"),
                ("Note", "x \u{c9}vasion"),
                ("Path", "word."),
                ("Size", "7"),
            ] {
                event.set(name, text);
            }
            event.set("ParentImage", Value::List(vec![Value::Null, Value::str("q")]));
            let mut matched = Vec::new();
            set.matches_in(&event, &mut scratch, &mut |rule| matched.push(rule));
            found.push(matched);
        }
    }
    found
}

/// Compiled rules as bytes: whatever they say, matching ends, and names rules that there are, each once and in order.
pub fn classes(data: &[u8]) {
    static FIRST_LINE: LazyLock<Vec<u8>> = LazyLock::new(|| first_line(&compiled()));
    let set = set();
    // They are of these rules, whatever the input says, as far as it leaves room for that.
    let print = |part: &mut [u8]| {
        if let Some(place) = part.get_mut(4..20) {
            place.copy_from_slice(&set.print());
        }
    };
    let bytes = sealed(&FIRST_LINE, data, print);
    let _ = set.keep_compiled(Some(Arc::new(bytes)));
    for matched in use_it(&set) {
        assert!(matched.is_sorted_by(|a, b| a < b), "each rule once, in order: {matched:?}");
        assert!(
            matched.iter().all(|rule| *rule < set.rules().len()),
            "a rule that is not there: {matched:?}"
        );
    }
}

fn compiled() -> Vec<u8> {
    let set = set();
    let _ = set.keep_compiled(None);
    use_it(&set);
    set.compiled().unwrap_or_default()
}

/// The compiled rules as [`classes`] takes them.
pub fn classes_seed() -> Vec<u8> {
    rest(&compiled())
}
