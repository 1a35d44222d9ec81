//! `wardline rules fmt`, end to end.

#![allow(clippy::unwrap_used, reason = "a test stops where it fails")]

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

const UNTIDY: &str = "level: low\ntitle: \"A\"\nlogsource:\n    product: windows\ndetection:\n    a:\n        B: c\n    condition: a\n";
const TIDY: &str =
    "title: 'A'\nlogsource:\n  product: windows\ndetection:\n  a:\n    B: c\n  condition: a\nlevel: low\n";

fn fmt(folder: &Path, args: &[&str]) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } = Command::new(env!("CARGO_BIN_EXE_wardline"))
        .args(["rules", "fmt"])
        .args(args)
        .current_dir(folder)
        .output()
        .expect("the binary starts");
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code(), text(stdout), text(stderr))
}

#[test]
fn files_are_checked_shown_and_formatted_in_place() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.yml");
    fs::write(&path, UNTIDY).unwrap();
    fs::write(folder.path().join("tidy.yml"), TIDY).unwrap();
    let (code, out, err) = fmt(folder.path(), &[".", "--check"]);
    assert_eq!((code, out.as_str()), (Some(1), "./a.yml\n"), "{err}");
    let (code, out, _) = fmt(folder.path(), &["a.yml", "--diff"]);
    assert_eq!(code, Some(1));
    assert!(out.starts_with("--- a.yml\n+++ a.yml\n@@ -1 +1 @@\n"), "{out}");
    assert!(out.contains("\n-title: \"A\"\n") && out.contains("\n+title: 'A'\n"), "{out}");
    assert_eq!(fs::read_to_string(&path).unwrap(), UNTIDY, "looking changes nothing");
    let (code, _, err) = fmt(folder.path(), &["."]);
    assert_eq!((code, err.as_str()), (Some(0), "2 files: 1 formatted anew, 0 left as they are\n"));
    assert_eq!(fs::read_to_string(&path).unwrap(), TIDY);
    assert_eq!(fmt(folder.path(), &[".", "--check"]).0, Some(0));
    // A build that checks the wrong folder should not be green.
    fs::create_dir(folder.path().join("none")).unwrap();
    let (code, _, err) = fmt(folder.path(), &["none", "--check"]);
    assert_eq!(
        (code, err.as_str()),
        (Some(2), "wardline rules fmt: there is no .yml or .yaml file at the paths\n")
    );
}

#[test]
fn what_cannot_be_formatted_is_left_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("broken.yml");
    fs::write(&path, "title: [\n").unwrap();
    let (code, _, err) = fmt(folder.path(), &["."]);
    assert_eq!(code, Some(1));
    assert!(err.contains("left as it is: ./broken.yml:"), "{err}");
    assert_eq!(fs::read_to_string(&path).unwrap(), "title: [\n");
}

#[test]
fn standard_input_is_formatted_to_standard_output() {
    let folder = tempfile::tempdir().unwrap();
    let fmt = |args: &[&str], input: &str| {
        let mut child = Command::new(env!("CARGO_BIN_EXE_wardline"))
            .args(["rules", "fmt"])
            .args(args)
            .current_dir(folder.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (output.status.code(), text(output.stdout), text(output.stderr))
    };
    assert_eq!(fmt(&["-"], UNTIDY), (Some(0), TIDY.to_owned(), String::new()));
    assert_eq!(fmt(&["-", "--check"], TIDY), (Some(0), String::new(), String::new()));
    assert_eq!(fmt(&["-", "--check"], UNTIDY).0, Some(1));
    let (code, out, _) = fmt(&["-", "--diff"], UNTIDY);
    assert_eq!(code, Some(1));
    assert!(out.starts_with("--- standard input\n+++ standard input\n@@ -1 +1 @@\n"), "{out}");
    // What is written may take the place of what was read.
    let (code, out, err) = fmt(&["-"], "title: [\n");
    assert_eq!((code, out.as_str()), (Some(1), ""));
    assert!(err.starts_with("wardline rules fmt: standard input:2:1: S001 "), "{err}");
    assert_eq!(fmt(&["-", "."], UNTIDY).0, Some(2));
}
