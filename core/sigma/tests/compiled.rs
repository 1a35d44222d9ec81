//! Compiled rules as bytes: with them rules match as without, nothing is compiled again, and no bytes do harm.

#![allow(clippy::unwrap_used, reason = "a test stops where it fails")]

mod cases;

use std::borrow::Cow;
use std::fs;
use std::hash::{BuildHasher, Hasher};
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};

use cases::{cases, event};
use foldhash::quality::FixedState;
use proptest::prelude::*;
use wardline_event::LogRecord;
use wardline_sigma::{CacheError, Collection, KeptBytes, LinkOptions, RuleSet};

/// The rules of all golden cases in one collection, and their events.
fn golden() -> &'static (Collection, Vec<LogRecord>) {
    static GOLDEN: LazyLock<(Collection, Vec<LogRecord>)> = LazyLock::new(|| {
        let (mut all, mut events) = (Collection::default(), Vec::new());
        for path in cases("golden", ".rule.yml") {
            let base = path.to_str().unwrap().strip_suffix(".rule.yml").unwrap();
            let rules = Collection::parse(&fs::read_to_string(&path).unwrap(), base).unwrap();
            let lines = fs::read_to_string(format!("{base}.events.jsonl")).unwrap();
            events.extend(lines.lines().map(|line| event(line, &rules.rules[0].log_source)));
            all.extend(rules);
        }
        (all, events)
    });
    &GOLDEN
}

/// The set of the golden rules, of which earlier runs compiled this.
fn set(earlier: Option<Vec<u8>>) -> (RuleSet, Result<(), CacheError>) {
    let set = golden().0.clone().link(&LinkOptions::default()).rules;
    let result = set.keep_compiled(earlier.map(|bytes| Arc::new(bytes) as _));
    (set, result)
}

/// Which rules match each of the golden events.
fn matches(set: &RuleSet) -> Vec<Vec<usize>> {
    let mut scratch = set.scratch();
    let of = |event: &LogRecord| {
        let mut found = Vec::new();
        set.matches(event, &mut scratch, &mut |rule| found.push(rule));
        found
    };
    golden().1.iter().map(of).collect()
}

/// What the golden rules match, and what was compiled for it.
fn compiled() -> &'static (Vec<Vec<usize>>, Vec<u8>) {
    static COMPILED: LazyLock<(Vec<Vec<usize>>, Vec<u8>)> = LazyLock::new(|| {
        let (set, _) = set(None);
        assert!(set.compiled().is_none(), "nothing was compiled yet");
        let found = matches(&set);
        (found, set.compiled().unwrap())
    });
    &COMPILED
}

/// Bytes in memory that count how often they are asked for.
struct Counted(Vec<u8>, Arc<AtomicUsize>);

impl KeptBytes for Counted {
    fn length(&self) -> u64 {
        self.0.length()
    }

    fn range(&self, range: Range<u64>) -> Option<Cow<'_, [u8]>> {
        self.1.fetch_add(1, Ordering::Relaxed);
        self.0.range(range)
    }
}

#[test]
fn what_was_compiled_is_not_compiled_again() {
    let (wanted, bytes) = compiled();
    assert!(wanted.iter().filter(|found| !found.is_empty()).count() > 50);
    // Of the rules themselves nothing is read but their index.
    let asked = Arc::new(AtomicUsize::new(0));
    let rules = Arc::new(Counted(golden().0.to_bytes(), Arc::clone(&asked)));
    let set = Collection::open(rules).unwrap().link(&LinkOptions::default()).rules;
    let before = asked.load(Ordering::Relaxed);
    assert_eq!(set.print(), self::set(None).0.print(), "parsed or kept, they are the same rules");
    set.keep_compiled(Some(Arc::new(bytes.clone()))).unwrap();
    assert_eq!(matches(&set), *wanted);
    assert_eq!(asked.load(Ordering::Relaxed), before);
    assert!(set.compiled().is_none(), "nothing new");
}

#[test]
fn what_is_new_is_added_to_what_was_kept() {
    let (wanted, bytes) = compiled();
    // A run that sees one event only, and the next, which sees all.
    let (first, _) = set(None);
    first.matches(&golden().1[0], &mut first.scratch(), &mut |_| {});
    let part = first.compiled().unwrap();
    assert!(part.len() < bytes.len() / 2);
    let (second, _) = set(Some(part));
    assert_eq!(matches(&second), *wanted);
    assert!(second.compiled().unwrap() == *bytes, "the same, whatever the order in which it was compiled");
}

#[test]
fn compiled_rules_are_those_of_the_same_rules_in_the_same_order() {
    let bytes = &compiled().1;
    let with = |change: &dyn Fn(&mut Collection)| {
        let mut all = golden().0.clone();
        change(&mut all);
        let set = all.link(&LinkOptions::default()).rules;
        set.keep_compiled(Some(Arc::new(bytes.clone())))
    };
    assert_eq!(with(&|_| ()), Ok(()));
    assert_eq!(with(&|all| all.rules.swap(0, 1)), Err(CacheError::OtherRules));
    assert_eq!(with(&|all| drop(all.rules.remove(7))), Err(CacheError::OtherRules));
    assert_eq!(with(&|all| all.rules[0].log_source.service = "other".into()), Err(CacheError::OtherRules));
    // What rules say of themselves is not compiled.
    assert_eq!(with(&|all| all.rules[0].title = "other".to_owned()), Ok(()));
}

const TWO_RULES: &str = r"
title: One
logsource: {product: p}
detection:
  a: {EventID: 1, Image|endswith: ['\vssadmin.exe', '\wmic?exe'], CommandLine|re|i: 'delete\s+shadows'}
  b: {Address|cidr: 10.0.0.0/8, Size|gte: 5.5}
  condition: a and not b
---
title: Two
logsource: {product: p}
detection: {a: {EventID: [1, 2], Note|contains: [évasion, x]}, b: [word], condition: a or b}
";

/// Whatever happens to the bytes, the same is found, and what is damaged is compiled anew.
#[test]
fn every_cut_and_every_changed_byte_is_seen() {
    let rules = Collection::parse(TWO_RULES, "two.yml").unwrap();
    let events: Vec<LogRecord> = [
        r#"{"EventID": 1, "Image": "C:\\vssadmin.exe", "CommandLine": "Delete  shadows"}"#,
        r#"{"EventID": 2, "Note": "Évasion"}"#,
        r#"{"EventID": 3, "Other": "a word"}"#,
        r#"{"EventID": 1, "Image": "C:\\vssadmin.exe", "CommandLine": "Delete  shadows", "Address": "10.1.1.1", "Size": 6}"#,
    ]
    .iter()
    .map(|line| event(line, &rules.rules[0].log_source))
    .collect();
    let run = |earlier: Option<Vec<u8>>| {
        let set = rules.clone().link(&LinkOptions::default()).rules;
        let used = set.keep_compiled(earlier.map(|bytes| Arc::new(bytes) as _)).is_ok();
        let mut scratch = set.scratch();
        let mut found = Vec::new();
        for (number, event) in events.iter().enumerate() {
            set.matches(event, &mut scratch, &mut |rule| found.push((number, rule)));
        }
        (found, used, set.compiled())
    };
    let (wanted, _, bytes) = run(None);
    assert_eq!(wanted, [(0, 0), (1, 1), (2, 1)]);
    let bytes = bytes.unwrap();
    assert_eq!(run(Some(bytes.clone())), (wanted.clone(), true, None));
    for length in 0..bytes.len() {
        let cut = bytes[..length].to_vec();
        assert_eq!(run(Some(cut)), (wanted.clone(), false, Some(bytes.clone())), "cut to {length} bytes");
    }
    for at in 0..bytes.len() {
        for by in [0x01, 0x80] {
            let mut changed = bytes.clone();
            changed[at] ^= by;
            let (found, _, anew) = run(Some(changed));
            assert_eq!((found, anew), (wanted.clone(), Some(bytes.clone())), "byte {at}");
        }
    }
}

/// The bytes with a table that fits them.
fn sealed(mut bytes: Vec<u8>) -> Vec<u8> {
    let digest = |bytes: &[u8]| {
        let mut hasher = FixedState::with_seed(0).build_hasher();
        hasher.write(bytes);
        hasher.finish().to_le_bytes()
    };
    let table = table(&bytes);
    let mut next = table.end;
    for entry in (table.start + 4..table.end).step_by(12) {
        let length = u32::from_le_bytes(bytes[entry..entry + 4].try_into().unwrap()) as usize;
        let digest = digest(&bytes[next..next + length]);
        bytes[entry + 4..entry + 12].copy_from_slice(&digest);
        next += length;
    }
    let digest = digest(&bytes[table.clone()]);
    bytes[table.start - 8..table.start].copy_from_slice(&digest);
    bytes
}

/// Where the table lies, with the number of its entries.
fn table(bytes: &[u8]) -> Range<usize> {
    let start = bytes.iter().position(|b| *b == b'\n').unwrap() + 1 + 8;
    let count = u32::from_le_bytes(bytes[start..start + 4].try_into().unwrap()) as usize;
    start..start + 4 + 12 * count
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    /// Changed bytes under right digests may match what they want, but every event comes to an end.
    #[test]
    fn changed_bytes_do_no_harm(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let mut bytes = compiled().1.clone();
        let start = table(&bytes).end;
        for (at, value) in changes {
            let at = start + at.index(bytes.len() - start);
            bytes[at] = value;
        }
        let (set, _) = set(Some(sealed(bytes)));
        let found = matches(&set);
        prop_assert!(found.iter().all(|found| found.is_sorted_by(|a, b| a < b)));
    }
}
