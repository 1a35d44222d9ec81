//! Harmless encryptors, and how many files of the test's own folder they destroy before they stand still.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]
#![allow(clippy::unwrap_used)] // The lint knows test functions, not their helpers.

mod common;

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, OpenOptions};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use common::{Culprit, Watch, alarm, damage, documents, kill, lost, watch};
use wardline_event::Timestamp;
use wardline_ransomware::{Verdict, canary, judge};
use wardline_respond::copies::Step;
use wardline_respond::linux::copies::Copies;

/// Nobody is to lose more.
const MOST_LOST: usize = 10;
const DOCUMENTS: usize = 400;

/// Runs a program against a folder of documents until it is stopped; kills it; returns how many were lost.
fn attack(name: &str, command: impl FnOnce(&Path) -> Command) -> Option<usize> {
    let mut watch = watch()?;
    let folder = tempfile::tempdir().unwrap();
    let before = documents(folder.path(), DOCUMENTS);
    let mut culprit = Culprit::start(&mut command(folder.path()));
    let Some(alarm) = alarm(&mut watch, &mut culprit) else {
        panic!("{name}: no alarm, {} of {DOCUMENTS} lost", lost(&before));
    };
    let verdict = judge(&alarm.evidence);
    assert!(matches!(verdict, Verdict::Encryptor { .. }), "{name}: {verdict:?} {alarm:?}");
    let report = kill(&mut watch, &alarm);
    assert!(report.succeeded() || report.killed.is_empty(), "{name}: {report:?}");
    let lost = lost(&before);
    println!("{name}: {lost} lost, {} pieces of evidence, {verdict:?}", alarm.evidence.len());
    assert!((1..=MOST_LOST).contains(&lost), "{name}: {lost} of {DOCUMENTS} lost, {alarm:?}");
    give_back(name, &watch, &before);
    Some(lost)
}

/// Gives back what was lost, as `wardline agent undo` does.
fn give_back(name: &str, watch: &Watch, before: &BTreeMap<PathBuf, Vec<u8>>) {
    let lost = damage(before);
    let store = Copies::open(watch.state.path()).unwrap();
    let mut set = store.show("finding").unwrap();
    let done = store.undo(&mut set, "the test", Timestamp(1)).unwrap();
    let still = damage(before);
    let (lost, still): (usize, usize) = (lost.values().sum(), still.values().sum());
    println!("{name}: {} of {lost} bytes given back", lost - still);
    assert_eq!(still, 0, "{name}: {done:#?} {set:#?}");
    // A second time there is nothing to do, and it does no harm.
    let again = store.undo(&mut set, "the test", Timestamp(2)).unwrap();
    assert!(again.iter().all(|done| matches!(done.step, Step::Leave(_))), "{again:#?}");
    assert!(damage(before).is_empty());
}

/// This test's binary as an encryptor.
fn encryptor(how: &str, folder: &Path) -> Command {
    encryptor_in(&std::env::current_exe().unwrap(), how, folder)
}

/// The same as a copy of this test's binary.
fn encryptor_in(program: &Path, how: &str, folder: &Path) -> Command {
    let mut command = Command::new(program);
    // The harness wants arguments in UTF-8; what the kernel calls the process comes from the file's name.
    command.arg0("encryptor");
    command.args(["--exact", "helper_that_encrypts", "--nocapture"]);
    command.env("WARDLINE_ENCRYPT", how).env("WARDLINE_FOLDER", folder);
    command
}

/// Not a test of its own: what the tests run as their encryptor. Four threads, as fast as they can.
#[test]
fn helper_that_encrypts() {
    let (Some(how), Some(folder)) =
        (std::env::var_os("WARDLINE_ENCRYPT"), std::env::var_os("WARDLINE_FOLDER"))
    else {
        return;
    };
    let how = how.into_string().unwrap();
    let mut files: Vec<PathBuf> = Vec::new();
    for ward in fs::read_dir(folder).unwrap() {
        files.extend(fs::read_dir(ward.unwrap().path()).unwrap().map(|e| e.unwrap().path()));
    }
    std::thread::scope(|scope| {
        for part in files.chunks(files.len().div_ceil(4)) {
            scope.spawn(|| part.iter().enumerate().for_each(|(i, path)| encrypt(&how, path, i as u64)));
        }
    });
}

fn encrypt(how: &str, path: &Path, seed: u64) {
    let Ok(plain) = fs::read(path) else { return };
    // xorshift64*: not a cipher, but it looks like one.
    let mut state = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let secret: Vec<u8> = plain
        .iter()
        .map(|b| {
            state ^= state >> 12;
            state ^= state << 25;
            state ^= state >> 27;
            b ^ (state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 56) as u8
        })
        .collect();
    let locked = path.with_extension("pdf.id-7.[a@b.example].locked");
    match how {
        "in place" => {
            OpenOptions::new().write(true).open(path).unwrap().write_all_at(&secret, 0).unwrap();
        }
        "truncated" => fs::write(path, &secret).unwrap(),
        "removed" => {
            fs::write(&locked, &secret).unwrap();
            fs::remove_file(path).unwrap();
        }
        "renamed" => {
            fs::write(&locked, &secret).unwrap();
            fs::rename(&locked, path).unwrap();
        }
        // The kernel copies it over.
        "copied" => {
            fs::write(&locked, &secret).unwrap();
            fs::copy(&locked, path).unwrap();
            fs::remove_file(&locked).unwrap();
        }
        // The beginning stays as it is, and every second block after it.
        "parts" => {
            let file = OpenOptions::new().write(true).open(path).unwrap();
            for at in (512..secret.len().saturating_sub(512)).step_by(1024) {
                file.write_all_at(&secret[at..at + 512], at as u64).unwrap();
            }
        }
        // In pieces, each in its place: what a large file is destroyed by.
        "chunks" => {
            let file = OpenOptions::new().write(true).open(path).unwrap();
            for (i, chunk) in secret.chunks(10_000).enumerate() {
                file.write_all_at(chunk, i as u64 * 10_000).unwrap();
            }
        }
        // A header too short to judge before the rest.
        "header" => {
            use std::io::Write;
            let mut file = fs::File::create(path).unwrap();
            file.write_all(b"LOCKED01").unwrap();
            file.write_all(&secret).unwrap();
        }
        other => panic!("unknown way {other}"),
    }
}

#[test]
fn four_threads_that_overwrite_in_place() {
    attack("in place", |folder| encryptor("in place", folder));
}

#[test]
fn four_threads_that_overwrite_piece_by_piece() {
    attack("chunks", |folder| encryptor("chunks", folder));
}

#[test]
fn four_threads_that_truncate_and_write_anew() {
    attack("truncated", |folder| encryptor("truncated", folder));
}

#[test]
fn four_threads_that_write_beside_and_remove() {
    attack("removed", |folder| encryptor("removed", folder));
}

#[test]
fn four_threads_that_rename_over() {
    attack("renamed", |folder| encryptor("renamed", folder));
}

#[test]
fn four_threads_that_let_the_kernel_copy() {
    attack("copied", |folder| encryptor("copied", folder));
}

#[test]
fn four_threads_that_write_a_header_first() {
    attack("header", |folder| encryptor("header", folder));
}

#[test]
fn four_threads_that_encrypt_every_second_block() {
    attack("parts", |folder| encryptor("parts", folder));
}

/// Through shared memory, one file after the other.
#[test]
fn a_program_that_maps_files() {
    const SCRIPT: &str = "import glob, mmap, os, sys\n\
        for p in sorted(glob.glob(sys.argv[1] + '/*/*')):\n\
        \x20   f = open(p, 'r+b'); f.read(64)\n\
        \x20   m = mmap.mmap(f.fileno(), 0); m[:] = os.urandom(len(m)); m.flush(); m.close(); f.close()\n";
    if has("python3") {
        attack("mapped", |folder| {
            let mut command = Command::new("python3");
            command.args(["-c", SCRIPT]).arg(folder);
            command
        });
    }
}

fn has(program: &str) -> bool {
    let has = Command::new(program).arg("--version").output().is_ok_and(|o| o.status.success());
    if !has {
        println!("skipped: needs {program}");
    }
    has
}

/// A worker per twenty files, all at once; each worker's count would be its own, were it not for the family.
#[test]
fn many_forked_workers() {
    const SCRIPT: &str = "my @f = glob(\"$ARGV[0]/*/*\"); while (my @part = splice(@f, 0, 20)) { next if fork; \
        for my $p (@part) { open(my $h, '+<', $p) or next; local $/; my $d = <$h>; open(my $r, '<', '/dev/urandom'); \
        my $s; read($r, $s, length $d); seek($h, 0, 0); print $h $s; close $h; } exit } 1 while wait > 0;";
    if has("perl") {
        attack("forked", |folder| {
            let mut command = Command::new("perl");
            command.args(["-e", SCRIPT]).arg(folder);
            command
        });
    }
}

/// A program per file, started by a script: a family each, and one above them all.
#[test]
fn a_script_with_a_program_per_file() {
    const SCRIPT: &str = "for f in \"$0\"/*/*; do openssl enc -aes-256-ctr -nosalt -k k -pbkdf2 -iter 1 \
        -in \"$f\" -out \"$f.enc\" 2>/dev/null && rm \"$f\"; done";
    if Command::new("openssl").arg("version").output().is_ok_and(|o| o.status.success()) {
        attack("script", |folder| {
            let mut command = Command::new("sh");
            command.args(["-c", SCRIPT]).arg(folder);
            command
        });
    } else {
        println!("skipped: needs openssl");
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Caught,
    LetGo,
    Unheard,
}

/// Ways of touching a canary `$c`. The first ones: as text; beside it, under a name that has nothing to do with its own; without having read it.
const WAYS: [(&str, Fate); 6] = [
    ("open F, '+<', $c; read F, $d, 9000; seek F, 0, 0; print F unpack('H*', $d)", Fate::Caught),
    (
        "open F, '<', $c; read F, $d, 9000; open R, '<', '/dev/urandom'; read R, $r, 9000; $n = $c; \
          $n =~ s{[^/]*$}{qqq}; open G, '>', $n; syswrite G, $r; unlink $c",
        Fate::Caught,
    ),
    ("open R, '<', '/dev/urandom'; read R, $r, 9000; open G, '>', $c; syswrite G, $r", Fate::Caught),
    ("open F, '<', $c; read F, $d, 99999; open G, '>', \"$c.bak\"; print G $d", Fate::Unheard),
    (
        "use File::Copy; copy($c, '/dev/shm/wl-canary-'.$$); copy('/dev/shm/wl-canary-'.$$, $c); \
          unlink '/dev/shm/wl-canary-'.$$",
        Fate::LetGo,
    ),
    ("unlink $c", Fate::Unheard),
];

/// Whoever touches a canary is stopped at the first, whatever it makes of it; who reads it, or puts it back, is not.
#[test]
fn a_canary_is_enough() {
    if !has("perl") {
        return;
    }
    for (way, fate) in WAYS {
        let Some(mut watch) = watch() else { return };
        let folder = tempfile::tempdir().unwrap();
        let (all, changed) = canary::plant(watch.state.path(), &[folder.path().to_str().unwrap().to_owned()]);
        assert_eq!(changed.planted, 2, "{changed:?}");
        assert_eq!(watch.guard.watch_canaries(&all).unwrap(), 2);
        let script = format!("$c = $ARGV[0]; {way}");
        let mut culprit = Culprit::start(Command::new("perl").args(["-e", &script]).arg(all[0].path()));
        let alarm = alarm(&mut watch, &mut culprit);
        assert_eq!(alarm.is_some(), fate != Fate::Unheard, "{way}: {alarm:?}");
        let Some(alarm) = alarm else { continue };
        assert_eq!(alarm.evidence.len(), 1);
        assert_eq!(canary::were_put_back(&alarm.evidence, &all), fate == Fate::LetGo, "{way}");
        assert!(matches!(judge(&alarm.evidence), Verdict::Encryptor { .. }), "{way}");
        kill(&mut watch, &alarm);
    }
}

/// Who was stopped and let go goes on, and is stopped later the next time.
#[test]
fn who_is_let_go_goes_on() {
    let Some(mut watch) = watch() else { return };
    let folder = tempfile::tempdir().unwrap();
    let before = documents(folder.path(), 40);
    let mut culprit = Culprit::start(&mut encryptor("in place", folder.path()));
    let mut alarms = 0;
    while let Some(alarm) = alarm(&mut watch, &mut culprit) {
        alarms += 1;
        watch.guard.release(alarm.family).unwrap();
    }
    assert!(culprit.0.wait().unwrap().success(), "it came to its end");
    assert_eq!(lost(&before), 40);
    assert!((2..=4).contains(&alarms), "{alarms} alarms: 4, 8, 16 files, in threads that are not yet still");
}

/// Dropping the guard sets everybody free, also one whose name is no UTF-8: the kernel cuts names at 15 bytes.
#[test]
fn nobody_is_left_standing() {
    let Some(mut watch) = watch() else { return };
    let (folder, programs) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    documents(folder.path(), 40);
    let program = programs.path().join(OsStr::from_bytes(b"b\xfcro) Z 1"));
    fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
    let mut culprit = Culprit::start(&mut encryptor_in(&program, "in place", folder.path()));
    alarm(&mut watch, &mut culprit).expect("an alarm");
    assert!(!culprit.ended());
    drop(watch);
    assert!(culprit.0.wait().unwrap().success());
}
