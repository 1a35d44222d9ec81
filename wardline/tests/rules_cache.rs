//! Parsed rules are kept between runs, and only what can be trusted is used.

#![allow(clippy::unwrap_used, reason = "a test stops where it fails")]

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::thread::sleep;
use std::time::Duration;

/// Above the number of files from which on rules are kept, in more than one piece.
const RULES: usize = 600;

/// A folder with rules in `rules`, one of them broken, and the caches in `cache`.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let rules = folder.path().join("rules");
    fs::create_dir(&rules).unwrap();
    for n in 0..RULES {
        fs::write(rules.join(format!("{n:03}.yml")), rule(&format!("Rule {n}"))).unwrap();
    }
    fs::write(rules.join("broken.yml"), "title: broken\n").unwrap();
    settle();
    folder
}

fn rule(title: &str) -> String {
    format!(
        "title: {title}\nlogsource: {{product: windows}}\ndetection:\n  a:\n    Image|re: 'x+{title}'\n  condition: a\n"
    )
}

/// Waits until the rule files are old enough for a cache to be written.
fn settle() {
    sleep(Duration::from_millis(60));
}

fn command(folder: &Path, rules: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wardline"));
    command
        .args(["rules", "list", "--rules", rules])
        .current_dir(folder)
        .env("XDG_CACHE_HOME", folder.join("cache"))
        .env("WARDLINE_LOG", "wardline=debug");
    command
}

fn list(folder: &Path, args: &[&str]) -> Output {
    command(folder, "rules").args(args).output().expect("the binary starts")
}

/// What a run printed, and what it said of the cache.
fn run(folder: &Path, args: &[&str]) -> (String, String) {
    let output = list(folder, args);
    let err = String::from_utf8(output.stderr).unwrap();
    let (log, said): (Vec<&str>, Vec<&str>) = err.lines().partition(|line| line.contains("DEBUG"));
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(said[0].contains("broken.yml") && output.status.code() == Some(1), "{said:?}");
    (String::from_utf8(output.stdout).unwrap(), log.join("\n"))
}

fn caches(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder.join("cache/wardline")).unwrap();
    entries.map(|e| e.unwrap().path()).collect()
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

const USED: &str = "rules from the cache";
const WRITTEN: &str = ".rules was written";

#[test]
fn the_second_run_takes_the_rules_from_the_cache() {
    let folder = folder();
    let folder = folder.path();
    let (without, log) = run(folder, &["--no-cache"]);
    assert!(without.ends_with(&format!("{RULES} rules\n")) && log.is_empty(), "{log}");
    assert!(!folder.join("cache").exists(), "--no-cache writes none");

    let (first, log) = run(folder, &[]);
    assert!(log.contains(WRITTEN) && !log.contains(USED), "{log}");
    let (second, log) = run(folder, &[]);
    assert!(log.contains(USED) && !log.contains(WRITTEN), "{log}");
    assert_eq!((&first, &second), (&without, &without));

    let [cache] = &caches(folder)[..] else { panic!("{:?}", caches(folder)) };
    assert_eq!((mode(cache), mode(&folder.join("cache/wardline"))), (0o600, 0o700));
    // Without the rules' text there is nothing to take the rules from but the cache.
    let shown = Command::new(env!("CARGO_BIN_EXE_wardline"))
        .args(["rules", "show", "Rule 17", "--rules", "rules"])
        .current_dir(folder)
        .env("XDG_CACHE_HOME", folder.join("cache"))
        .output()
        .unwrap();
    assert!(String::from_utf8(shown.stdout).unwrap().contains(&rule("Rule 17")));
}

#[test]
fn a_changed_rule_is_read_again() {
    let folder = folder();
    let folder = folder.path();
    run(folder, &[]);
    // Of the same size and, as far as that can be set, time.
    let path = folder.join("rules/042.yml");
    let time = fs::metadata(&path).unwrap().modified().unwrap();
    fs::write(&path, rule("Lure 42")).unwrap();
    fs::File::options().write(true).open(&path).unwrap().set_modified(time).unwrap();
    settle();
    let (out, log) = run(folder, &[]);
    assert!(out.contains("Lure 42") && !out.contains("Rule 42 "), "{out}");
    assert!(log.contains(WRITTEN), "{log}");
    assert!(run(folder, &[]).1.contains(USED));

    assert_eq!(caches(folder).len(), 1, "there is one for one folder");

    // A file less, and one more.
    fs::rename(&path, folder.join("rules/new.yml")).unwrap();
    settle();
    let (out, log) = run(folder, &[]);
    assert!(out.contains("Lure 42") && log.contains(WRITTEN), "{log}");

    // Of all folders only the newest are kept.
    for n in 0..5 {
        let link = format!("rules{n}");
        symlink("rules", folder.join(&link)).unwrap();
        let output = command(folder, &link).output().expect("the binary starts");
        assert!(String::from_utf8(output.stderr).unwrap().contains(WRITTEN));
    }
    assert_eq!(caches(folder).len(), 4);
}

#[test]
fn what_is_damaged_is_written_anew_and_what_others_can_write_is_not_read() {
    let folder = folder();
    let folder = folder.path();
    let (wanted, _) = run(folder, &[]);
    let cache = caches(folder).remove(0);
    let bytes = fs::read(&cache).unwrap();
    let write = |bytes: &[u8]| fs::write(&cache, bytes).unwrap();
    let used_after = |change: &dyn Fn()| {
        change();
        let (out, log) = run(folder, &[]);
        assert_eq!(out, wanted);
        assert!(log.contains(USED) != log.contains(WRITTEN), "{log}");
        log.contains(USED)
    };
    for at in [0, 30, 60, 90, 150, bytes.len() / 2, bytes.len() - 1] {
        let mut damaged = bytes.clone();
        damaged[at] ^= 0x10;
        assert!(!used_after(&|| write(&damaged)), "changed at {at}");
        assert!(used_after(&|| {}));
        assert!(!used_after(&|| write(&bytes[..at])), "cut to {at}");
    }
    assert!(!used_after(&|| write(&[&bytes[..], b"x"].concat())));
    // Others can write it: it is not read, and the one that takes its place is nobody else's.
    for bits in [0o620, 0o602, 0o666] {
        assert!(!used_after(&|| fs::set_permissions(&cache, Permissions::from_mode(bits)).unwrap()));
        assert_eq!(mode(&cache), 0o600);
    }
    // A link to the same bytes.
    assert!(!used_after(&|| {
        let other = folder.join("elsewhere");
        fs::rename(&cache, &other).unwrap();
        symlink(&other, &cache).unwrap();
    }));
    assert!(used_after(&|| {}));
    // In a folder that others can write nothing is read or written.
    fs::set_permissions(folder.join("cache/wardline"), Permissions::from_mode(0o777)).unwrap();
    let (out, log) = run(folder, &[]);
    assert_eq!(out, wanted);
    assert!(!log.contains(USED) && !log.contains(WRITTEN), "{log}");
}

/// A scan keeps what it compiled, and the next one takes that; whatever happens to the file, the findings are the same.
#[test]
fn compiled_rules_are_kept_and_made_anew_where_they_are_damaged() {
    let folder = folder();
    let folder = folder.path();
    fs::write(
        folder.join("log.jsonl"),
        "{\"EventID\": 1, \"Channel\": \"System\", \"Image\": \"xxRule 42\"}\n",
    )
    .unwrap();
    let scan = || {
        let output = Command::new(env!("CARGO_BIN_EXE_wardline"))
            .args(["scan", "log.jsonl", "--rules", "rules", "--json", "--quiet"])
            .current_dir(folder)
            .env("XDG_CACHE_HOME", folder.join("cache"))
            .env("WARDLINE_LOG", "wardline=debug")
            .output()
            .expect("the binary starts");
        let (out, log) =
            (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
        assert!(out.contains("Rule 42") && out.lines().count() == 2, "{out}\n{log}");
        (out, log.contains(".classes was written"))
    };
    let (wanted, written) = scan();
    assert!(written);
    assert_eq!(scan(), (wanted.clone(), false), "nothing was compiled anew");
    let of_ending = |ending: &str| -> Vec<PathBuf> {
        caches(folder).into_iter().filter(|path| path.extension().is_some_and(|e| e == ending)).collect()
    };
    let ([classes], [rules]) = (&of_ending("classes")[..], &of_ending("rules")[..]) else {
        panic!("{:?}", caches(folder))
    };
    assert_eq!(mode(classes), 0o600);
    let bytes = fs::read(classes).unwrap();
    for at in [0, 40, 60, bytes.len() / 2, bytes.len() - 1] {
        let mut damaged = bytes.clone();
        damaged[at] ^= 0x10;
        fs::write(classes, damaged).unwrap();
        assert_eq!(scan(), (wanted.clone(), true), "changed at {at}");
        assert_eq!(fs::read(classes).unwrap(), bytes);
        fs::write(classes, &bytes[..at]).unwrap();
        assert_eq!(scan(), (wanted.clone(), true), "cut to {at}");
    }
    fs::set_permissions(classes, Permissions::from_mode(0o666)).unwrap();
    assert_eq!(scan(), (wanted.clone(), true), "others could write it");
    assert_eq!(mode(classes), 0o600);

    // A rule that is needed and damaged: the scan says so, and the next one reads the rule files again.
    let mut damaged = fs::read(rules).unwrap();
    let at = damaged.windows(7).position(|part| part == b"Rule 42").unwrap();
    damaged[at] ^= 0x10;
    fs::write(rules, damaged).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_wardline"))
        .args(["scan", "log.jsonl", "--rules", "rules", "--json", "--quiet"])
        .current_dir(folder)
        .env("XDG_CACHE_HOME", folder.join("cache"))
        .output()
        .expect("the binary starts");
    let err = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(1) && err.contains("set aside"), "{err}");
    assert!(!rules.exists());
    assert_eq!(scan(), (wanted, false));
    assert!(rules.exists());
}
