//! Parsed rules as bytes: what is read is what was written, and no bytes do harm.

#![allow(clippy::unwrap_used, reason = "a test stops where it fails")]

use std::fs;
use std::hash::{BuildHasher, Hasher};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use foldhash::quality::FixedState;
use proptest::prelude::*;
use wardline_sigma::{CacheError, Collection, LinkOptions};

/// The first line, which is all of it that the format's reader may refuse as another version's.
const FIRST_LINE: &str = "wardline-sigma ";

fn files(folder: &Path, out: &mut Vec<PathBuf>) {
    let mut entries: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            files(&path, out);
        } else if path.extension().is_some_and(|e| e == "yml") {
            out.push(path);
        }
    }
}

/// What of the folder's files can be parsed.
fn parsed(folder: &Path) -> Vec<Collection> {
    let mut paths = Vec::new();
    files(folder, &mut paths);
    let parse =
        |path: &PathBuf| Collection::parse(&fs::read_to_string(path).ok()?, &path.display().to_string()).ok();
    paths.iter().filter_map(parse).collect()
}

fn own(folder: &str) -> Vec<Collection> {
    parsed(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(folder))
}

fn from_bytes(bytes: &[u8]) -> Result<Collection, CacheError> {
    Collection::from_bytes(Arc::new(bytes.to_vec()))
}

/// What is read back looks the same, and also in what its debug form leaves out: it is written as the same bytes.
#[track_caller]
fn comes_back(collection: &Collection) -> Vec<u8> {
    let bytes = collection.to_bytes();
    let back = from_bytes(&bytes).unwrap();
    assert!(back.to_bytes() == bytes, "written again it is another one: {collection:#?}");
    assert!(format!("{back:?}") == format!("{collection:?}"), "{collection:#?}\nis read as\n{back:#?}");
    bytes
}

#[test]
fn every_construct_comes_back() {
    let mut all = Collection::default();
    for (folder, least) in [("golden", 40), ("correlation", 20)] {
        let collections = own(folder);
        assert!(collections.len() >= least, "{folder}: only {} files", collections.len());
        for collection in collections {
            comes_back(&collection);
            all.extend(collection);
        }
    }
    assert!(!all.correlations.is_empty() && !all.filters.is_empty());
    comes_back(&all);
}

#[test]
fn the_public_rules_come_back() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/sigma");
    if !folder.is_dir() {
        println!("skipped: no shared data");
        return;
    }
    let mut all = Collection::default();
    for collection in parsed(&folder) {
        all.extend(collection);
    }
    assert!(all.rules.len() > 3000, "{}", all.rules.len());
    let bytes = comes_back(&all);
    let source: usize = all.rules.iter().map(|rule| rule.source.len()).sum();
    println!("{} rules, {source} bytes of YAML, {} bytes", all.rules.len(), bytes.len());
    // Nothing that is shared is stored, or read, more than once.
    assert!(bytes.len() < 3 * source, "{} bytes for {source} of YAML", bytes.len());
}

#[test]
fn every_cut_and_every_changed_byte_is_seen() {
    let text = r"
title: Backups deleted
logsource: {product: windows, category: process_creation}
custom: {numbers: [1, -2, 0.5], nothing: null}
detection:
  selection:
    Image|endswith: ['\vssadmin.exe', '\wmic?exe']
    CommandLine|re|i: 'delete\s+shadows'
    Address|cidr: [10.0.0.0/8, 'fe80::/10']
    Size|gte: 5.5
  condition: not selection
";
    let bytes = comes_back(&Collection::parse(text, "backups.yml").unwrap());
    for length in 0..bytes.len() {
        assert!(from_bytes(&bytes[..length]).is_err(), "cut to {length} bytes");
    }
    let mut changed = bytes.clone();
    for at in 0..bytes.len() {
        for by in [0x01, 0x80, 0xff] {
            changed[at] ^= by;
            let error = from_bytes(&changed).unwrap_err();
            assert!(matches!(error, CacheError::Version | CacheError::Damaged), "byte {at}: {error}");
            changed[at] ^= by;
        }
    }
    changed.push(0);
    assert_eq!(from_bytes(&changed).unwrap_err(), CacheError::Damaged);
    assert_eq!(from_bytes(b"").unwrap_err(), CacheError::Version);
    assert!(bytes.starts_with(FIRST_LINE.as_bytes()));
}

fn digest(bytes: &[u8]) -> [u8; 8] {
    let mut hasher = FixedState::with_seed(0).build_hasher();
    hasher.write(bytes);
    hasher.finish().to_le_bytes()
}

/// Where the table begins.
fn table(bytes: &[u8]) -> usize {
    bytes.iter().position(|b| *b == b'\n').unwrap() + 1 + 8
}

/// The bytes with a table that fits them.
fn sealed(mut bytes: Vec<u8>) -> Vec<u8> {
    let table = table(&bytes);
    let count = u32::from_le_bytes(bytes[table..table + 4].try_into().unwrap()) as usize;
    let mut next = table + 4 + 12 * count;
    for entry in (0..count).map(|part| table + 4 + 12 * part) {
        let length = u32::from_le_bytes(bytes[entry..entry + 4].try_into().unwrap()) as usize;
        let digest = digest(&bytes[next..next + length]);
        bytes[entry + 4..entry + 12].copy_from_slice(&digest);
        next += length;
    }
    let digest = digest(&bytes[table..table + 4 + 12 * count]);
    bytes[table - 8..table].copy_from_slice(&digest);
    bytes
}

/// Rules that are taken apart one by one as they are needed match, and are shown, like those that were parsed.
#[test]
fn opened_rules_are_the_parsed_ones() {
    let mut all = Collection::default();
    for collection in own("golden") {
        all.extend(collection);
    }
    let opened = Collection::open(Arc::new(all.to_bytes())).unwrap();
    let [parsed, opened] = [all, opened].map(|collection| collection.link(&LinkOptions::default()));
    assert_eq!(parsed.faults, opened.faults);
    let (parsed, opened) = (parsed.rules, opened.rules);
    assert_eq!(parsed.rules().len(), opened.rules().len());
    assert!(!opened.is_damaged());
    assert_eq!(format!("{:?}", parsed.rules()), format!("{:?}", opened.rules()));
    assert!(!opened.is_damaged());
}

proptest! {
    /// Changed bytes under right digests: an error, or a collection that is written as the same bytes.
    #[test]
    fn changed_bytes_are_refused_or_another_collection(
        which in any::<prop::sample::Index>(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let collections = own("correlation");
        let mut bytes = which.get(&collections).to_bytes();
        // Behind the table: what that may lie about is tested apart.
        let start = table(&bytes);
        let count = u32::from_le_bytes(bytes[start..start + 4].try_into().unwrap()) as usize;
        let start = start + 4 + 12 * count;
        for (at, value) in changes {
            let at = start + at.index(bytes.len() - start);
            bytes[at] = value;
        }
        let bytes = sealed(bytes);
        let whole = from_bytes(&bytes);
        if let Ok(collection) = &whole {
            prop_assert!(collection.to_bytes() == bytes);
        }
        // Taken apart one by one: what is refused as a whole is seen to be damaged, or nobody asked for it.
        if let Ok(collection) = Collection::open(Arc::new(bytes)) {
            let set = collection.link(&LinkOptions::default()).rules;
            let _ = format!("{:?}", set.rules());
            prop_assert!(whole.is_err() || !set.is_damaged());
        }
    }
}
