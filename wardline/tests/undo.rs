//! `wardline agent undo` over copies as the agent keeps them.
#![allow(clippy::unwrap_used)] // Helpers of tests, which clippy takes for code.

mod common;

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use common::{folder, wardline};
use serde_json::Value;
use wardline_event::{Timestamp, hex};
use wardline_respond::copies::{Copied, CopySet, Left, VERSION};
use wardline_respond::linux::copies::Copies;
use wardline_respond::quarantine::FileTime;

const FINDING: &str = "0d9c1a52-7c6f-4d1e-9a57-0c4b6a2f8e11";

fn sha256(bytes: &[u8]) -> String {
    hex(ring::digest::digest(&ring::digest::SHA256, bytes).as_ref())
}

/// A file that is 10,000 bytes of `a`; an encryptor left `left` in its place.
fn copied(number: u32, path: &Path, left: Option<&[u8]>, same_file: bool, missing: u64) -> Copied {
    let own = fs::metadata("/proc/self").unwrap();
    let left = left.map(|bytes| Left { size: bytes.len() as u64, sha256: sha256(bytes), same_file });
    Copied {
        number,
        path: path.as_os_str().as_bytes().to_vec(),
        size: 10_000,
        mode: 0o640,
        uid: own.uid(),
        gid: own.gid(),
        modified: FileTime { s: 1_700_000_000, ns: 5 },
        other_names: 0,
        kept: if same_file { vec![(4096, 8192)] } else { vec![(0, 10_000)] },
        missing,
        left,
        given_back: None,
    }
}

fn undo(state: &Path, more: &[&str]) -> (Option<i32>, Value) {
    let args = [&["agent", "undo", "--json", "--data", state.to_str().unwrap()], more].concat();
    let said = wardline(&args);
    (said.code, serde_json::from_str(&said.out).unwrap_or_else(|e| panic!("{e}: {}{}", said.out, said.err)))
}

#[test]
fn what_was_destroyed_comes_back_and_newer_work_stays() {
    let dir = folder("undo");
    let (state, home) = (dir.path().join("state"), dir.path().join("home"));
    fs::create_dir(&home).unwrap();
    let plain = vec![b'a'; 10_000];
    let mut patched = plain.clone();
    patched[4096..8192].fill(b'!');
    let path = |name: &str| home.join(name);
    // Overwritten in its middle; replaced; removed; written anew by a person since; only copied in part.
    let files = [
        copied(0, &path("patched.txt"), Some(&patched), true, 0),
        copied(1, &path("replaced.txt"), Some(b"garbage"), false, 0),
        copied(2, &path("removed.txt"), None, false, 0),
        copied(3, &path("newer.txt"), Some(b"garbage"), false, 0),
        copied(4, &path("part.txt"), Some(b"garbage"), false, 4096),
    ];
    fs::write(path("patched.txt"), &patched).unwrap();
    fs::write(path("replaced.txt"), "garbage").unwrap();
    fs::write(path("newer.txt"), "typed in again").unwrap();
    fs::write(path("part.txt"), "garbage").unwrap();
    let contents: Vec<_> = files.iter().map(|f| dir.path().join(f.number.to_string())).collect();
    for path in &contents {
        fs::write(path, &plain).unwrap();
    }
    let (program, taken) = ("/tmp/evil".to_owned(), Timestamp(1_800_000_000_000));
    let set = CopySet { version: VERSION, id: FINDING.to_owned(), taken, program, files: files.to_vec() };
    Copies::open(&state).unwrap().add(&set, &contents).unwrap();

    let (code, listed) = undo(&state, &["--list"]);
    assert_eq!((code, &listed["sets"][0]["finding"]), (Some(0), &Value::from(FINDING)));
    assert_eq!(listed["sets"][0]["files"][4]["missing"], 4096);

    let (code, planned) = undo(&state, &["--dry-run"]);
    assert_eq!(code, Some(2), "{planned}");
    let steps: Vec<&str> = (0..5).map(|i| planned["files"][i]["step"].as_str().unwrap()).collect();
    assert_eq!(steps, ["replace", "replace", "create", "leave", "leave"]);
    assert_eq!(fs::read(path("replaced.txt")).unwrap(), b"garbage", "looking changes nothing");

    let rescued = dir.path().join("rescued");
    undo(&state, &["--to", rescued.to_str().unwrap()]);
    assert_eq!(fs::read(rescued.join("000-patched.txt")).unwrap(), plain);
    assert!(rescued.join("004-part.txt.incomplete").is_file());

    let (code, done) = undo(&state, &[FINDING]);
    assert_eq!(code, Some(2), "{done}");
    for name in ["patched.txt", "replaced.txt", "removed.txt"] {
        assert_eq!(fs::read(path(name)).unwrap(), plain, "{name}: {done}");
        let of = fs::metadata(path(name)).unwrap();
        assert_eq!((of.permissions().mode() & 0o7777, of.mtime()), (0o640, 1_700_000_000), "{name}");
    }
    assert_eq!(fs::read(path("newer.txt")).unwrap(), b"typed in again");
    assert_eq!(fs::read(path("part.txt")).unwrap(), b"garbage");
    assert!(done["files"][3]["why"].as_str().unwrap().contains("changed since"), "{done}");
    // What lay there can be had again.
    let id = done["files"][1]["quarantined"].as_str().unwrap();
    let (state_arg, again) = (state.to_str().unwrap(), dir.path().join("again"));
    let restore =
        ["agent", "quarantine", "restore", id, "--data", state_arg, "--to", again.to_str().unwrap()];
    assert_eq!(wardline(&restore).code, Some(0));
    assert_eq!(fs::read(again).unwrap(), b"garbage");
    assert_eq!(fs::read_dir(&home).unwrap().count(), 5, "nothing is left beside the files");

    // A second time nothing is left to do, and a person's later work stays.
    fs::write(path("removed.txt"), "edited after the undo").unwrap();
    assert_eq!(undo(&state, &[FINDING]).0, Some(1));
    assert_eq!(fs::read(path("removed.txt")).unwrap(), b"edited after the undo");
    assert_eq!(undo(&state, &[FINDING, "--purge"]).0, Some(0));
    assert_eq!(undo(&state, &["--list"]).1["sets"], Value::from(Vec::<Value>::new()));
}

#[test]
fn damaged_and_unknown_copies_are_told_apart() {
    let dir = folder("undo-bad");
    let data = dir.path().to_str().unwrap();
    let said = wardline(&["agent", "undo", "--data", data]);
    assert_eq!(said.code, Some(1));
    assert!(said.err.contains("no copies in"), "{}", said.err);
    drop(Copies::open(dir.path()).unwrap());
    let said = wardline(&["agent", "undo", "../../etc/passwd", "--data", data]);
    assert!(said.err.contains("there are no copies called"), "{}", said.err);
    fs::write(dir.path().join("copies/bad.json"), "{\"version\": 1").unwrap();
    let (code, listed) = undo(dir.path(), &["--list"]);
    assert_eq!(code, Some(0));
    assert!(listed["faults"][0].as_str().unwrap().contains("damaged"), "{listed}");
}
