//! Takes files of the test's own into a quarantine in a temporary folder, and gives them back.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)] // The lint knows test functions, not their helpers.

mod common;

use std::ffi::OsStr;
use std::fs::{self, File, Permissions};
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use common::root;
use rustix::fs::XattrFlags;
use tempfile::TempDir;
use wardline_event::Timestamp;
use wardline_respond::linux::quarantine::{LIMIT, Refusal, Step, Store, Taken};

const NOW: Timestamp = Timestamp(1_800_000_000_000);

/// An agent's folder, and one with somebody's files.
struct Place {
    state: TempDir,
    files: TempDir,
}

impl Place {
    fn new() -> Self {
        Self { state: tempfile::tempdir().unwrap(), files: tempfile::tempdir().unwrap() }
    }

    fn store(&self) -> Store {
        Store::open(self.state.path(), LIMIT).unwrap()
    }

    fn file(&self, name: impl AsRef<OsStr>, content: &[u8]) -> PathBuf {
        let path = self.files.path().join(name.as_ref());
        fs::write(&path, content).unwrap();
        path
    }

    fn take(&self, path: &Path) -> Result<Taken, Refusal> {
        self.store().take(path, "alice", "malware", NOW)
    }

    /// Everything below both folders, for "nothing is left".
    fn everything(&self) -> Vec<PathBuf> {
        let of = |dir: &Path| {
            let entries = fs::read_dir(dir).into_iter().flatten().flatten();
            entries
                .map(|e| e.path())
                .filter(|p| p.file_name() != Some(OsStr::new("lock")))
                .collect::<Vec<_>>()
        };
        let mut all = of(self.files.path());
        all.extend(of(&self.state.path().join("quarantine")));
        all.sort_unstable();
        all
    }
}

/// All that makes a file what it is, but its inode.
#[derive(Debug, PartialEq)]
struct Whole {
    content: Vec<u8>,
    owner: (u32, u32),
    mode: u32,
    modified: (i64, i64),
    attribute: Option<Vec<u8>>,
}

fn whole(path: &Path) -> Whole {
    let meta = fs::metadata(path).unwrap();
    let mut value = [0; 100];
    let attribute = rustix::fs::getxattr(path, "user.origin", &mut value[..]).ok();
    Whole {
        owner: (meta.uid(), meta.gid()),
        mode: meta.mode(),
        modified: (meta.mtime(), meta.mtime_nsec()),
        attribute: attribute.map(|n| value[..n].to_vec()),
        content: fs::read(path).unwrap(),
    }
}

/// Runs as whoever it is; owners other than oneself need root.
#[test]
fn a_file_is_taken_inert_and_comes_back_as_it_was() {
    let place = Place::new();
    for (size, mode) in [(0, 0o644), (70_000, 0o4755), (131_072, 0o600)] {
        let content: Vec<u8> = (0..size).map(|i| (i % 251) as u8).collect();
        let path = place.file("payload", &content);
        rustix::fs::setxattr(&path, "user.origin", b"http://evil.example", XattrFlags::empty()).unwrap();
        if rustix::process::geteuid().is_root() {
            std::os::unix::fs::chown(&path, Some(12_345), Some(54_321)).unwrap();
        }
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        let times = SystemTime::UNIX_EPOCH + Duration::new(1_500_000_000, 123_456_789);
        File::options().write(true).open(&path).unwrap().set_modified(times).unwrap();
        let before = whole(&path);
        let taken = place.take(&path).unwrap();
        assert!(!path.exists() && taken.holders.is_empty());
        let manifest = place.store().show(&taken.manifest.id).unwrap();
        assert_eq!(manifest, taken.manifest);
        assert_eq!(
            (manifest.by.as_str(), manifest.reason.as_str(), manifest.size),
            ("alice", "malware", size)
        );
        let sealed = place.state.path().join(format!("quarantine/{}.sealed", manifest.id));
        assert_eq!(fs::metadata(&sealed).unwrap().permissions().mode() & 0o7777, 0);
        assert_eq!(fs::metadata(sealed.parent().unwrap()).unwrap().permissions().mode() & 0o7777, 0o700);
        if rustix::process::geteuid().is_root() && size > 300 {
            let bytes = fs::read(&sealed).unwrap();
            assert!(!bytes.windows(64).any(|w| w == &content[100..164]), "the content can be recognised");
            assert_eq!(place.store().restore(&manifest.id, None).unwrap(), path.canonicalize().unwrap());
        } else {
            place.store().restore(&manifest.id, None).unwrap();
        }
        assert_eq!(whole(&path), before);
        assert!(matches!(place.store().show(&manifest.id), Err(Refusal::Unknown(_))));
        assert_eq!(place.everything(), std::slice::from_ref(&path));
        fs::remove_file(path).unwrap();
    }
}

#[test]
fn hostile_names_come_back() {
    let place = Place::new();
    let mut names: Vec<Vec<u8>> =
        vec![b"a\nb\x1b[31m".to_vec(), b"\xff\xfe not utf-8".to_vec(), vec![b'x'; 255], b"-rf *".to_vec()];
    names.push("\u{202e}fdp.exe".as_bytes().to_vec());
    for name in names {
        let path = place.file(OsStr::from_bytes(&name), b"x");
        let taken = place.take(&path).unwrap();
        assert_eq!(taken.manifest.path, path.canonicalize().unwrap_or(path.clone()).as_os_str().as_bytes());
        place.store().restore(&taken.manifest.id, None).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"x");
        fs::remove_file(path).unwrap();
    }
    // A path of nearly 4 KB.
    let deep = (0..15).fold(place.files.path().to_owned(), |path, _| path.join("d".repeat(250)));
    fs::create_dir_all(&deep).unwrap();
    fs::write(deep.join("x"), "deep").unwrap();
    let taken = place.take(&deep.join("x")).unwrap();
    assert!(taken.manifest.path.len() > 3700);
    place.store().restore(&taken.manifest.id, None).unwrap();
    assert_eq!(fs::read(deep.join("x")).unwrap(), b"deep");
}

#[test]
fn what_is_no_file_of_one_name_is_refused_and_said() {
    let place = Place::new();
    let at = |name: &str| place.files.path().join(name);
    let file = place.file("file", b"x");
    fs::create_dir(at("folder")).unwrap();
    symlink(&file, at("link")).unwrap();
    assert!(Command::new("mkfifo").arg(at("pipe")).status().unwrap().success());
    let _socket = std::os::unix::net::UnixListener::bind(at("socket")).unwrap();
    assert!(fs::metadata("/dev/null").unwrap().file_type().is_char_device());
    for (path, says) in [
        (at("folder"), "a folder"),
        (at("link"), "a symbolic link"),
        (at("pipe"), "a pipe"),
        (at("socket"), "a socket"),
        (PathBuf::from("/dev/null"), "a device"),
        (PathBuf::from("relative"), "full path"),
        (PathBuf::from("/"), "does not name a file"),
        (place.files.path().join("file/"), "does not name a file"),
        (at("missing"), "looking at the file failed"),
        (at("missing/file"), "finding the folder failed"),
        (PathBuf::from(format!("/{}", "x".repeat(5000))), "4,096 bytes"),
        (place.state.path().join("quarantine/lock"), "own folder"),
    ] {
        let said = place.take(&path).unwrap_err().to_string();
        assert!(said.contains(says), "{}: {said}", path.display());
    }
    assert_eq!(place.store().list().len(), 0);
    assert_eq!(fs::read(&file).unwrap(), b"x");
    // Through a folder that is a link, the file itself is meant.
    symlink(place.files.path(), at("way")).unwrap();
    let taken = place.take(&at("way/file")).unwrap();
    assert_eq!(taken.manifest.path, file.canonicalize().unwrap_or(file).as_os_str().as_bytes());
    // Its other names stay.
    let first = place.file("first", b"y");
    fs::hard_link(&first, at("second")).unwrap();
    let taken = place.take(&first).unwrap();
    assert_eq!((taken.manifest.other_names, fs::read(at("second")).unwrap()), (1, b"y".to_vec()));
}

#[test]
fn nothing_is_overwritten_and_damage_is_noticed() {
    let place = Place::new();
    let path = place.file("payload", &vec![7; 100_000]);
    let id = place.take(&path).unwrap().manifest.id;
    fs::write(&path, "somebody's new file").unwrap();
    let said = place.store().restore(&id, None).unwrap_err().to_string();
    assert!(said.contains("nothing is overwritten"), "{said}");
    // A link in the way counts, wherever it leads.
    let dangling = place.files.path().join("dangling");
    symlink("/nowhere/at/all", &dangling).unwrap();
    assert!(matches!(place.store().restore(&id, Some(&dangling)), Err(Refusal::Occupied(_))));
    let sealed = place.state.path().join(format!("quarantine/{id}.sealed"));
    fs::set_permissions(&sealed, Permissions::from_mode(0o600)).unwrap();
    let good = fs::read(&sealed).unwrap();
    let mut bad = good.clone();
    bad[50_000] ^= 1;
    let elsewhere = place.files.path().join("elsewhere");
    for content in [&bad[..], &good[..good.len() - 1], &[]] {
        fs::write(&sealed, content).unwrap();
        let said = place.store().restore(&id, Some(&elsewhere)).unwrap_err().to_string();
        assert!(said.contains("is damaged"), "{said}");
        assert!(!elsewhere.exists());
    }
    fs::write(&sealed, good).unwrap();
    place.store().restore(&id, Some(&elsewhere)).unwrap();
    assert_eq!(fs::read(&elsewhere).unwrap(), vec![7; 100_000]);
    for id in ["../../etc/passwd", "", "0123456789abcdeF", &id] {
        assert!(matches!(place.store().show(id), Err(Refusal::Unknown(_))), "{id}");
    }
}

#[test]
fn a_full_store_refuses_and_purging_makes_room() {
    let place = Place::new();
    let (first, second) = (place.file("first", &[1; 600]), place.file("second", &[2; 600]));
    let store = || Store::open(place.state.path(), 1000).unwrap();
    let id = store().take(&first, "alice", "malware", NOW).unwrap().manifest.id;
    let said = store().take(&second, "alice", "malware", NOW).unwrap_err().to_string();
    assert!(said.contains("of at most 1000 bytes; 600 more do not fit"), "{said}");
    assert!(second.exists());
    store().purge(&id).unwrap();
    store().take(&second, "alice", "malware", NOW).unwrap();
    assert!(!first.exists() && !second.exists());
}

#[test]
fn who_has_it_open_is_named() {
    let place = Place::new();
    let path = place.file("log", b"x");
    let mut child = Command::new("sleep").arg("600").stdin(File::open(&path).unwrap()).spawn().unwrap();
    let taken = place.take(&path).unwrap();
    assert_eq!(taken.holders, [child.id()]);
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn a_file_that_is_written_to_meanwhile_stays() {
    let place = Place::new();
    let path = place.file("log", &vec![0; 8 << 20]);
    let (writer, stop) = (path.clone(), std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false)));
    let stopped = std::sync::Arc::clone(&stop);
    let writing = std::thread::spawn(move || {
        let mut file = File::options().append(true).open(&writer).unwrap();
        while !stopped.load(std::sync::atomic::Ordering::Relaxed) {
            file.write_all(b"more").unwrap();
        }
    });
    let said = place.take(&path).unwrap_err();
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    writing.join().unwrap();
    assert!(matches!(said, Refusal::Changing), "{said}");
    assert!(path.exists());
    assert_eq!(place.everything(), [path]);
}

/// Wherever a crash comes, the content is in its place or in the store, whole; the next call settles it.
#[test]
fn a_crash_at_any_step_loses_nothing() {
    let content: Vec<u8> = (0..70_000).map(|i| (i % 253) as u8).collect();
    for step in Step::ALL {
        let place = Place::new();
        let path = place.file("payload", &content);
        let before = whole(&path);
        let crashed = place.store().stopping_at(step).take(&path, "alice", "malware", NOW);
        let in_restore = matches!(step, Step::Restored | Step::Forgotten);
        assert_eq!(crashed.is_err(), !in_restore, "{step:?}");
        if let Ok(taken) = crashed {
            let id = taken.manifest.id;
            assert!(place.store().stopping_at(step).restore(&id, None).is_err(), "{step:?}");
        }
        // The next call, whatever it is.
        let held: Vec<_> = place.store().list().into_iter().map(Result::unwrap).collect();
        match (path.exists(), held.as_slice()) {
            // Given back; the store still has it too, if the crash came before it was forgotten.
            (true, held) => {
                assert_eq!(held.len(), usize::from(step == Step::Restored), "{step:?}");
                for manifest in held {
                    assert!(matches!(place.store().restore(&manifest.id, None), Err(Refusal::Occupied(_))));
                    place.store().purge(&manifest.id).unwrap();
                }
            }
            (false, [manifest]) => {
                place.store().restore(&manifest.id, None).unwrap();
            }
            (false, other) => panic!("{step:?} lost the file: {other:?}"),
        }
        assert_eq!(whole(&path), before, "{step:?}");
        assert_eq!(place.everything(), [path], "{step:?}");
    }
}

/// A crash came, and then somebody put another file in the place: that one is not touched.
#[test]
fn what_came_after_a_crash_is_left_alone() {
    for step in [Step::Stored, Step::Aside] {
        let place = Place::new();
        let path = place.file("payload", b"evil");
        assert!(place.store().stopping_at(step).take(&path, "alice", "malware", NOW).is_err());
        if step == Step::Stored {
            fs::remove_file(&path).unwrap();
        }
        fs::write(&path, "innocent").unwrap();
        let held = place.store().list();
        assert_eq!(held.len(), 1);
        assert_eq!(fs::read(&path).unwrap(), b"innocent");
        let id = held[0].as_ref().unwrap().id.clone();
        let elsewhere = path.with_extension("back");
        place.store().restore(&id, Some(&elsewhere)).unwrap();
        assert_eq!(fs::read(&elsewhere).unwrap(), b"evil");
        let mut expected = [path.clone(), elsewhere.clone()];
        expected.sort_unstable();
        assert_eq!(place.everything(), expected);
    }
}

#[test]
fn from_another_file_system_and_back() {
    if !root() {
        return;
    }
    let place = Place::new();
    let mount = tempfile::tempdir().unwrap();
    common::net::run("mount", &format!("-t tmpfs tmpfs {}", mount.path().display()));
    let path = mount.path().join("payload");
    fs::write(&path, "far away").unwrap();
    assert_ne!(fs::metadata(&path).unwrap().dev(), fs::metadata(place.state.path()).unwrap().dev());
    let taken = place.take(&path);
    let back = taken.map(|taken| place.store().restore(&taken.manifest.id, None));
    let read = fs::read(&path);
    common::net::run("umount", &mount.path().display().to_string());
    back.unwrap().unwrap();
    assert_eq!(read.unwrap(), b"far away");
}

/// A file that nobody may remove is reported, and not half taken.
#[test]
fn a_file_that_cannot_be_removed_stays_whole() {
    if !root() {
        return;
    }
    let place = Place::new();
    let path = place.file("payload", b"fixed");
    let chattr = |how: &str| Command::new("chattr").arg(how).arg(&path).status();
    if !chattr("+i").is_ok_and(|status| status.success()) {
        println!("skipped: this file system has no immutable files");
        return;
    }
    let said = place.take(&path).map(drop).unwrap_err().to_string();
    chattr("-i").unwrap();
    assert!(said.contains("moving the file aside failed"), "{said}");
    assert_eq!(place.everything(), [path]);
}
