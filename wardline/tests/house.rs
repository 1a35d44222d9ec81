//! The house rules that a program can check: levels, licences, big crates once, sizes of files.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use cargo_metadata::{DependencyKind, Metadata, MetadataCommand};

/// The level of each room; a crate depends on lower levels only. `docs/architecture.md` shows the same table.
const LEVELS: &[(u32, &[&str])] = &[
    (0, &["wardline-event"]),
    (1, &["wardline-sigma", "wardline-policy", "wardline-wire", "wardline-content", "wardline-bpf"]),
    (2, &["wardline-sense", "wardline-respond", "wardline-kernel"]),
    (
        3,
        &[
            "wardline-sense-linux",
            "wardline-ransomware",
            "wardline-agent",
            "wardline-devices",
            "wardline-organisations",
            "wardline-incidents",
            "wardline-actions",
        ],
    ),
    (4, &["wardline-hub"]),
    (5, &["wardline-range"]),
    (6, &["wardline"]),
    (7, &["wardline-fuzz"]),
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn metadata() -> Metadata {
    MetadataCommand::new().manifest_path(root().join("Cargo.toml")).exec().expect("cargo metadata")
}

#[test]
fn rooms_depend_on_lower_levels_only() {
    let level: BTreeMap<&str, u32> =
        LEVELS.iter().flat_map(|(level, rooms)| rooms.iter().map(|room| (*room, *level))).collect();
    let metadata = metadata();
    for package in metadata.workspace_packages() {
        let name = package.name.as_str();
        let own = level.get(name).unwrap_or_else(|| panic!("{name} has no level: add it to the table"));
        for dependency in package.dependencies.iter().filter(|d| d.kind == DependencyKind::Normal) {
            if let Some(theirs) = level.get(dependency.name.as_str()) {
                assert!(theirs < own, "{name} (level {own}) depends on {} (level {theirs})", dependency.name);
            }
        }
    }
}

/// Core crates do no IO and know no time: they may not even link what would let them.
#[test]
fn core_is_pure() {
    const FORBIDDEN: &[&str] =
        &["tokio", "libc", "rustix", "nix", "getrandom", "rand", "tracing", "sqlx", "axum"];
    let metadata = metadata();
    for package in metadata.workspace_packages() {
        if !package.manifest_path.as_str().contains("/core/") {
            continue;
        }
        for dependency in package.dependencies.iter().filter(|d| d.kind == DependencyKind::Normal) {
            assert!(
                !FORBIDDEN.contains(&dependency.name.as_str()),
                "{} depends on {}",
                package.name,
                dependency.name
            );
        }
        let sources = package.manifest_path.parent().expect("a folder").join("src");
        for file in source_files(sources.as_std_path(), &["rs"]) {
            let text = fs::read_to_string(&file).expect("source");
            for call in ["SystemTime::now", "Instant::now", "std::fs::", "std::net::Tcp", "std::env::var"] {
                assert!(!text.contains(call), "{} uses {call}; core is pure", file.display());
            }
        }
    }
}

#[test]
fn every_linked_licence_is_allowed() {
    let deny = fs::read_to_string(root().join("deny.toml")).expect("deny.toml");
    let list = deny.split_once("allow = [").and_then(|(_, rest)| rest.split_once(']')).expect("allow list").0;
    let allowed: BTreeSet<&str> =
        list.split(',').map(|l| l.trim().trim_matches('"')).filter(|l| !l.is_empty()).collect();
    let ok = |licence: &str| {
        // Older packages write `MIT/Apache-2.0` for OR.
        licence.replace('/', " OR ").split(" OR ").any(|choice| {
            let choice = choice.trim().trim_matches(['(', ')']);
            choice.split(" AND ").all(|part| allowed.contains(part.trim().trim_matches(['(', ')'])))
        })
    };
    for package in metadata().packages {
        let licence = package.license.clone().unwrap_or_default();
        assert!(ok(&licence), "{} {} has the licence `{licence}`", package.name, package.version);
    }
}

/// Two copies of one of these would cost a minute of everybody's build.
#[test]
fn big_crates_exist_once() {
    const BIG: &[&str] =
        &["tokio", "axum", "tonic", "prost", "rustls", "sqlx-core", "hyper", "regex", "ring", "x509-parser"];
    let mut versions: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for package in metadata().packages {
        if BIG.contains(&package.name.as_str()) {
            versions.entry(package.name.to_string()).or_default().insert(package.version.to_string());
        }
    }
    for (name, versions) in versions {
        assert_eq!(versions.len(), 1, "{name} is built more than once: {versions:?}");
    }
}

/// A file past 600 lines asks to be two.
#[test]
fn files_have_one_purpose() {
    for folder in ["core", "agent", "hub", "content", "range", "wardline"] {
        for file in source_files(&root().join(folder), &["rs", "c", "h"]) {
            let lines = fs::read_to_string(&file).expect("source").lines().count();
            assert!(lines <= 600, "{} has {lines} lines", file.display());
        }
    }
}

/// The files below a folder whose names have one of these endings.
fn source_files(folder: &Path, endings: &[&str]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() && !path.ends_with("node_modules") && !path.ends_with("target") {
            found.extend(source_files(&path, endings));
        } else if path.extension().is_some_and(|e| endings.iter().any(|ending| e == *ending)) {
            found.push(path);
        }
    }
    found
}
