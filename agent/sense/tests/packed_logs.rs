//! Logs packed in every way give the same records as plain ones, and bombs end.

#![allow(clippy::unwrap_used, reason = "a test stops where it fails")]

use std::fs;
use std::io::{Cursor, Write};
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::atomic::Ordering;

use flate2::Compression;
use flate2::write::{DeflateEncoder, GzEncoder};
use ruzstd::encoding::{CompressionLevel, compress_to_vec};
use wardline_event::LogRecord;
use wardline_sense::log::{Options, Pieces, Workspace};

/// The records, each behind its file's name, and the errors.
fn read_all(pieces: Pieces<'_>) -> (Vec<(String, LogRecord)>, Vec<String>) {
    let (mut records, mut errors) = (Vec::new(), Vec::new());
    let mut workspace = Workspace::default();
    for piece in pieces {
        let name = piece.path().file_name().unwrap().to_string_lossy().into_owned();
        let _ = piece.read(&mut workspace, &mut |item| {
            match item {
                Ok(record) => records.push((name.clone(), record.clone())),
                Err(e) => errors.push(e.to_string()),
            }
            ControlFlow::Continue(())
        });
    }
    (records, errors)
}

fn stream(bytes: &[u8]) -> (Vec<(String, LogRecord)>, Vec<String>) {
    read_all(Pieces::new(Path::new("log"), Cursor::new(bytes), &Options::default()))
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut out = GzEncoder::new(Vec::new(), Compression::fast());
    out.write_all(bytes).unwrap();
    out.finish().unwrap()
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    compress_to_vec(bytes, CompressionLevel::Fastest)
}

fn deflate(bytes: &[u8]) -> Vec<u8> {
    let mut out = DeflateEncoder::new(Vec::new(), Compression::fast());
    out.write_all(bytes).unwrap();
    out.finish().unwrap()
}

/// A member as APPNOTE 4.3.7 and 4.3.12 lay it out: name, flags, method, packed bytes, checksum and size.
struct Member<'a>(&'a str, u16, u16, Vec<u8>, &'a [u8]);

fn zip(members: &[Member<'_>]) -> Vec<u8> {
    let (mut out, mut directory) = (Vec::new(), Vec::new());
    for Member(name, flags, method, packed, plain) in members {
        let at = out.len() as u32;
        let mut common = Vec::new();
        for half in [20, *flags, *method, 0, 0x21] {
            common.extend_from_slice(&half.to_le_bytes());
        }
        for word in [crc(plain), packed.len() as u32, plain.len() as u32] {
            common.extend_from_slice(&word.to_le_bytes());
        }
        common.extend_from_slice(&(name.len() as u16).to_le_bytes());
        common.extend_from_slice(&[0, 0]);
        out.extend_from_slice(b"PK\x03\x04");
        out.extend_from_slice(&common);
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(packed);
        directory.extend_from_slice(b"PK\x01\x02\x14\0");
        directory.extend_from_slice(&common);
        directory.extend_from_slice(&[0; 10]);
        directory.extend_from_slice(&at.to_le_bytes());
        directory.extend_from_slice(name.as_bytes());
    }
    let count = (members.len() as u16).to_le_bytes();
    let (at, size) = (out.len() as u32, directory.len() as u32);
    out.extend_from_slice(&directory);
    out.extend_from_slice(b"PK\x05\x06\0\0\0\0");
    out.extend_from_slice(&[count, count].concat());
    out.extend_from_slice(&size.to_le_bytes());
    out.extend_from_slice(&at.to_le_bytes());
    out.extend_from_slice(&[0, 0]);
    out
}

fn crc(bytes: &[u8]) -> u32 {
    let mut crc = flate2::Crc::new();
    crc.update(bytes);
    crc.sum()
}

fn lines(from: u32, count: u32) -> String {
    let line = |i| format!("{{\"EventID\":{i},\"text\":\"line {i}\"}}\n");
    (from..from + count).map(line).collect::<Vec<_>>().concat()
}

#[test]
fn packed_streams_give_the_records_of_plain_ones() {
    // More than one piece.
    let plain = lines(0, 60_000);
    let wanted = stream(plain.as_bytes());
    assert_eq!((wanted.0.len(), wanted.1.len()), (60_000, 0));
    assert_eq!(wanted.0.last().unwrap().1.record_id, 60_000, "the lines are counted over all pieces");
    let (a, b) = plain.split_at(plain.len() / 2);
    let skippable = [&[0x5A, 0x2A, 0x4D, 0x18, 3, 0, 0, 0, 1, 2, 3][..], &zstd(plain.as_bytes())].concat();
    let packings = [
        gzip(plain.as_bytes()),
        [gzip(a.as_bytes()), gzip(b.as_bytes())].concat(),
        zstd(plain.as_bytes()),
        [zstd(a.as_bytes()), zstd(b.as_bytes())].concat(),
        skippable,
        gzip(&zstd(plain.as_bytes())),
    ];
    for (way, packed) in packings.iter().enumerate() {
        let read = stream(packed);
        assert!(read == wanted, "{way}: {} records, {:?}", read.0.len(), read.1);
    }
    let whole = gzip(plain.as_bytes());
    let (records, errors) = stream(&whole[..whole.len() / 2]);
    assert!(!records.is_empty() && records.len() < 60_000, "what is there is read");
    assert_eq!(errors.len(), 1, "{errors:?}");
    let errors = stream(&gzip(&gzip(&gzip(&gzip(&gzip(b"{}")))))).1;
    assert_eq!(errors, ["log: the file: it is packed too many times over; unpack it first"]);
    assert!(stream(&zip(&[])).1[0].contains("can be read from a file only"));
}

#[test]
fn the_logs_of_an_archive_follow_each_other_under_their_names() {
    let (one, two, text) = (lines(1, 3), lines(4, 2), "nothing for us");
    let (packed, inner) = (gzip(two.as_bytes()), zip(&[]));
    let members = [
        Member("a/one.jsonl", 0, 8, deflate(one.as_bytes()), one.as_bytes()),
        Member("readme.txt", 0, 0, text.into(), text.as_bytes()),
        Member("notes.log", 0, 0, text.into(), text.as_bytes()),
        Member("two.json.gz", 0, 0, packed.clone(), &packed),
        Member("secret.evtx", 1, 8, vec![0; 40], text.as_bytes()),
        Member("odd.evtx", 0, 14, vec![0; 40], text.as_bytes()),
        Member("inner.zip", 0, 0, inner.clone(), &inner),
    ];
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("logs.zip");
    fs::write(&path, zip(&members)).unwrap();
    let options = Options::default();
    let (records, errors) = read_all(Pieces::open(&path, &options));
    let seen: Vec<_> =
        records.iter().map(|(file, r)| (&**file, r.record_id, r.text("text").unwrap())).collect();
    assert_eq!(
        seen,
        [
            ("one.jsonl", 1, "line 1"),
            ("one.jsonl", 2, "line 2"),
            ("one.jsonl", 3, "line 3"),
            ("two.json.gz", 1, "line 4"),
            ("two.json.gz", 2, "line 5"),
        ]
    );
    assert_eq!(errors.len(), 3, "{errors:?}");
    assert!(errors[0].contains("logs.zip/secret.evtx: the file: it is encrypted"), "{errors:?}");
    assert!(
        errors[1].contains("logs.zip/odd.evtx: the file: it is packed in a way that is not read"),
        "{errors:?}"
    );
    assert!(
        errors[2].contains("logs.zip/inner.zip: the file: a zip archive can be read from a file only"),
        "{errors:?}"
    );
    assert!(options.bytes_read.load(Ordering::Relaxed) > 0);

    fs::write(&path, zip(&[Member("readme.txt", 0, 0, text.into(), text.as_bytes())])).unwrap();
    assert!(read_all(Pieces::open(&path, &options)).1[0].contains("not a log that can be read"));
    fs::write(&path, &zip(&members)[..200]).unwrap();
    assert!(read_all(Pieces::open(&path, &options)).1[0].contains("the archive cannot be read"));
}

/// An event log need not be a file: from a stream it is read chunk by chunk.
#[test]
fn a_packed_event_log_is_read_as_it_comes() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../../shared/data/evtx/attack-samples/Execution/exec_sysmon_1_lolbin_pcalua.evtx");
    let Ok(plain) = fs::read(&path) else {
        println!("skipped: no shared data");
        return;
    };
    let records = |(records, errors): (Vec<(String, LogRecord)>, Vec<String>)| {
        assert!(errors.is_empty(), "{errors:?}");
        records.into_iter().map(|(_, record)| record).collect::<Vec<_>>()
    };
    let wanted = records(read_all(Pieces::open(&path, &Options::default())));
    assert!(!wanted.is_empty());
    assert!(records(stream(&gzip(&plain))) == wanted);
    assert!(records(stream(&zstd(&plain))) == wanted);
}

/// What an archive says that it holds, and what it holds, need not be the same.
#[test]
fn a_wrong_checksum_is_told_after_what_can_be_read() {
    let (right, wrong) = (lines(1, 3), lines(1, 4));
    let xml = "<Events><Event><System><EventID>1</EventID></System></Event></Events>";
    // More than one piece, of which the last is the shorter.
    let long = lines(0, 60_000);
    let cases = [
        ("right.jsonl", deflate(right.as_bytes()), right.as_bytes(), 3, 0),
        ("changed.jsonl", deflate(right.as_bytes()), wrong.as_bytes(), 3, 1),
        ("stored.jsonl", right.clone().into_bytes(), wrong.as_bytes(), 3, 1),
        ("long.jsonl", deflate(long.as_bytes()), &long.as_bytes()[1..], 60_000, 1),
        ("right.xml", deflate(xml.as_bytes()), xml.as_bytes(), 1, 0),
        ("changed.xml", deflate(xml.as_bytes()), right.as_bytes(), 1, 1),
        ("empty.evtx", Vec::new(), &[], 0, 1),
        ("empty.jsonl", Vec::new(), &[], 0, 0),
    ];
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("logs.zip");
    for (name, packed, plain, records, errors) in cases {
        let method = if packed.as_slice() == plain || name == "stored.jsonl" { 0 } else { 8 };
        fs::write(&path, zip(&[Member(name, 0, method, packed, plain)])).unwrap();
        let (found, told) = read_all(Pieces::open(&path, &Options::default()));
        assert_eq!((found.len(), told.len()), (records, errors), "{name}: {told:?}");
        if let Some(told) = told.first() {
            let why = if plain.is_empty() { "it is empty" } else { "its checksum does not match its bytes" };
            assert!(told.contains(&format!("logs.zip/{name}: the file: {why}")), "{told}");
        }
    }
}

/// Even of a short log that was cut off, and so fails before it is one piece.
#[test]
fn what_came_before_the_end_of_a_packed_log_is_read() {
    let plain = lines(0, 5_000);
    let whole = gzip(plain.as_bytes());
    let (records, errors) = stream(&whole[..whole.len() * 2 / 3]);
    assert!(records.len() > 1_000 && records.len() < 5_000, "{}", records.len());
    assert!(records.iter().zip(1..).all(|((_, r), line)| r.record_id == line), "whole lines");
    assert_eq!(errors.len(), 1, "{errors:?}");
    assert!(errors[0].contains(&format!("line {}: reading failed", records.len() + 1)), "{errors:?}");
}

#[test]
fn deleted_records_are_found_if_that_is_asked() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/evtx");
    if !root.is_dir() {
        println!("skipped: no shared data");
        return;
    }
    let read =
        |path: &Path, recover| read_all(Pieces::open(path, &Options { recover, ..Options::default() })).0;
    let mut recovered = 0;
    for path in event_logs(&root).iter().step_by(3) {
        let (plain, all) = (read(path, false), read(path, true));
        let (found, live): (Vec<_>, Vec<_>) =
            all.into_iter().partition(|(_, record)| record.text("Recovered").is_some());
        assert!(live == plain, "{}: the records of the log stay the same", path.display());
        recovered += found.len();
    }
    println!("{recovered} deleted records");
    assert!(recovered > 0);
}

fn event_logs(folder: &Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(event_logs(&path));
        } else if path.extension().is_some_and(|e| e == "evtx") {
            found.push(path);
        }
    }
    found.sort();
    found
}
