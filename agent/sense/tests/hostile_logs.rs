//! Readers of logs against bytes that somebody made to hurt them: no panic, an end, and limits kept.

use std::io::Cursor;
use std::ops::ControlFlow;
use std::path::Path;

use proptest::prelude::*;
use wardline_event::{Fields, LogRecord, Value};
use wardline_sense::log::{Fault, Format, Place, ReadError, detect, read};

fn read_all(format: Format, bytes: &[u8]) -> (Vec<LogRecord>, Vec<ReadError>) {
    let (mut records, mut errors) = (Vec::new(), Vec::new());
    read(Path::new("log"), format, Cursor::new(bytes), &mut |item| {
        match item {
            Ok(record) => records.push(record.clone()),
            Err(e) => errors.push(e),
        }
        ControlFlow::Continue(())
    });
    (records, errors)
}

const TEXT_FORMATS: [Format; 5] =
    [Format::JsonLines, Format::JsonValues, Format::Xml, Format::Auditd, Format::Syslog];

/// One good log of each text format, as seeds that are then damaged.
const SEEDS: [&str; 5] = [
    "{\"EventID\":1,\"Channel\":\"Security\",\"a\":[1,{\"b\":\"\\u00e9\"}]}\n{\"Payload\":\"{\\\"EventData\\\":{}}\"}\n",
    "[{\"Event\":{\"System\":{\"EventID\":4688},\"EventData\":{\"Data\":[{\"@Name\":\"x\",\"#text\":1}]}}},\n{}]",
    "<Events><Event xmlns='x'><System><EventID Qualifiers='1'>1</EventID></System><EventData><Data Name='a'>&lt;&#65;\
     </Data><Data>b</Data></EventData><UserData><X><Y>1</Y></X></UserData></Event></Events>",
    "type=SYSCALL msg=audit(1.2:3): arch=c000003e syscall=59 a0=1 exe=\"/x\" key=6101\n\
     type=EXECVE msg=audit(1.2:3): argc=2 a0=\"x\" a1[0]=6162 a1[1]=63\ntype=SOCKADDR msg=audit(1.2:3): saddr=0A000050\n\
     type=PATH msg=audit(1.2:3): name=\"a\" nametype=CREATE\ntype=USER_CMD msg=audit(1.2:4): msg='cmd=6162 res=\"1\"'\n",
    "Nov  1 00:00:00 h sysmon: <Event><System/><EventData><Data Name=\"a\">1</Data></EventData></Event>\n\
     Nov  1 00:00:00 h kernel: audit: type=1300 audit(1.002:3): exe=\"/x\"\n",
];

/// A seed with some bytes replaced, removed and repeated.
fn damaged() -> impl Strategy<Value = Vec<u8>> {
    let edit = (any::<prop::sample::Index>(), any::<u8>(), 0..3_u8);
    (0..SEEDS.len(), prop::collection::vec(edit, 0..12)).prop_map(|(seed, edits)| {
        let mut bytes = SEEDS[seed].as_bytes().to_vec();
        for (at, byte, kind) in edits {
            let at = at.index(bytes.len());
            match kind {
                0 => bytes[at] = byte,
                1 => drop(bytes.drain(at..(at + 3).min(bytes.len() - 1).max(at))),
                _ => bytes
                    .splice(at..at, SEEDS[usize::from(byte) % SEEDS.len()].bytes().take(40))
                    .for_each(drop),
            }
        }
        bytes
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn damaged_text_is_read_or_reported(bytes in damaged()) {
        for format in TEXT_FORMATS {
            let (records, _) = read_all(format, &bytes);
            for record in records {
                // What is read can be asked for.
                record.each_field(&mut |name, value| assert!(record.field(name) == Some(value)));
            }
        }
        let _ = detect(&bytes);
    }

    #[test]
    fn random_bytes_are_read_or_reported(bytes in prop::collection::vec(any::<u8>(), 0..2000)) {
        for format in TEXT_FORMATS.into_iter().chain([Format::Evtx]) {
            read_all(format, &bytes);
        }
        read_all(Format::Evtx, &[b"ElfFile\0", &bytes[..]].concat());
        let _ = detect(&bytes);
    }
}

/// The smallest chunk that a log may hold, filled with bytes of no sense.
#[test]
fn damaged_event_logs_are_read_or_reported() {
    let shared =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/evtx/attack-samples/Execution");
    let Ok(whole) = std::fs::read(shared.join("exec_sysmon_1_lolbin_pcalua.evtx")) else {
        println!("skipped: no shared data");
        return;
    };
    let (records, errors) = read_all(Format::Evtx, &whole);
    assert!(!records.is_empty() && errors.is_empty(), "{errors:?}");
    let config = ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() };
    let edits = prop::collection::vec((0..whole.len().min(80_000), any::<u8>()), 1..60);
    proptest!(config, |(edits in edits, end in 0..whole.len())| {
        let mut bytes = whole.clone();
        for (at, byte) in edits {
            bytes[at] = byte;
        }
        let (all, _) = read_all(Format::Evtx, &bytes);
        prop_assert!(all.len() <= records.len() + 50);
        bytes.truncate(end);
        read_all(Format::Evtx, &bytes);
    });
}

#[test]
fn every_format_is_told_by_its_content() {
    let formats = [Format::JsonLines, Format::JsonValues, Format::Xml, Format::Auditd, Format::Syslog];
    for (seed, format) in SEEDS.into_iter().zip(formats) {
        assert_eq!(detect(seed.as_bytes()), Some(format), "{seed}");
        let utf16: Vec<u8> =
            [0xFEFF].into_iter().chain(seed.encode_utf16()).flat_map(u16::to_le_bytes).collect();
        assert_eq!(detect(&utf16), Some(format), "{seed}");
        let (records, errors) = read_all(format, &utf16);
        assert!(errors.is_empty() && !records.is_empty(), "{seed}: {errors:?}");
    }
    assert_eq!(detect(b"{\n \"a\": 1\n}\n"), Some(Format::JsonValues));
    assert_eq!(detect(b"{\"a\": \n{\"b\": 1}\n"), Some(Format::JsonLines), "a broken line, then a good one");
    assert_eq!(detect(b"ElfFile\0"), Some(Format::Evtx));
    assert_eq!(detect(b" \n"), Some(Format::Empty));
    assert_eq!(detect(b"<html><body>"), None);
    assert_eq!(detect(b"MZ\x90\0"), None);
}

/// Broken UTF-8, and halves of UTF-16 pairs, cost no more than the record that they are in.
#[test]
fn broken_text_costs_at_most_its_record() {
    const SHOWN: &str = "a\u{fffd}b";
    let xml =
        |value: &str| format!("<Event><EventData><Data Name=\"x\">{value}</Data></EventData></Event>\n");
    let json = |value: &str| format!("{{\"x\":\"{value}\"}}\n");
    let audit = |value: &str| format!("type=CWD msg=audit(1.5:{}): x=\"{value}\"\n", value.len());
    let syslog = |value: &str| format!("Nov  1 00:00:00 h sysmon: {}", xml(value));
    for format in TEXT_FORMATS {
        let line = |value: &str| match format {
            Format::Xml => xml(value),
            Format::Auditd => audit(value),
            Format::Syslog => syslog(value),
            _ => json(value),
        };
        let (before, after) = (line("first"), line("last"));
        // A byte that is none of UTF-8, a surrogate in UTF-8, a character that is cut off, and one written too long.
        for broken in [&b"\xFF"[..], b"\xED\xA0\x80", b"\xE2\x82", b"\xC0\xAF"] {
            let (head, tail) =
                (line("a|b").split_once('|').map(|(h, t)| (h.to_owned(), t.to_owned()))).unwrap();
            let log =
                [before.as_bytes(), head.as_bytes(), broken, tail.as_bytes(), after.as_bytes()].concat();
            let (records, errors) = read_all(format, &log);
            let read: Vec<_> = records.iter().filter_map(|r| r.text("x")).collect();
            assert_eq!(read.len() + errors.len(), 3, "{format:?} {broken:?}: {read:?} {errors:?}");
            assert!(read.first() == Some(&"first") && read.last() == Some(&"last"), "{format:?}: {read:?}");
        }
        for mark in [u16::to_le_bytes as fn(u16) -> [u8; 2], u16::to_be_bytes] {
            for half in [0xD800, 0xDC00] {
                let text = format!("{before}{}{after}", line("a|b"));
                let units = text.encode_utf16().map(|unit| if unit == u16::from(b'|') { half } else { unit });
                let log: Vec<u8> = [0xFEFF].into_iter().chain(units).flat_map(mark).collect();
                let (records, errors) = read_all(format, &log);
                let read: Vec<_> = records.iter().filter_map(|r| r.text("x")).collect();
                assert_eq!((read, errors.len()), (vec!["first", SHOWN, "last"], 0), "{format:?}: {errors:?}");
            }
        }
    }
    // JSON's own way to write half of a pair.
    let (records, errors) = read_all(Format::JsonLines, b"{\"x\":\"a\\ud800b\"}\n{\"x\":\"last\"}\n");
    assert_eq!((records.len() + errors.len(), records.last().and_then(|r| r.text("x"))), (2, Some("last")));
}

/// Limits hold, and what comes behind an oversized record is read.
#[test]
fn limits_are_kept_in_every_format() {
    let big = "x".repeat(5 * 1024 * 1024);
    let deep_xml = format!("<Event>{}{}</Event>", "<a>".repeat(100), "</a>".repeat(100));
    let good_xml = "<Event><System><EventID>7</EventID></System></Event>";
    let cases = [
        (Format::JsonLines, format!("{{\"a\":\"{big}\"}}\n{{\"EventID\":7}}\n"), 1, true),
        (Format::JsonValues, format!("[{{\"a\":\"{big}\"}},\n{{\"EventID\":7}}]"), 1, true),
        (Format::Xml, format!("<Event>{big}</Event>\n{good_xml}"), 1, true),
        (Format::Xml, format!("{deep_xml}\n{good_xml}"), 1, false),
        (
            Format::JsonValues,
            format!("{}{}\n{{\"EventID\":7}}", "{\"a\":[".repeat(40), "]}".repeat(40)),
            1,
            false,
        ),
        (Format::Syslog, format!("Nov  1 h x: {big}\nNov  1 h sysmon: {good_xml}"), 1, true),
    ];
    for (format, text, line, too_long) in cases {
        let (records, errors) = read_all(format, text.as_bytes());
        assert_eq!(errors.len(), 1, "{format:?}: {errors:?}");
        assert_eq!(errors[0].place, Place::Line(line), "{format:?}");
        assert_eq!(matches!(errors[0].what, Fault::TooLong), too_long, "{format:?}: {errors:?}");
        assert_eq!(matches!(errors[0].what, Fault::TooDeep), !too_long, "{format:?}: {errors:?}");
        assert_eq!(records.len(), 1, "{format:?}");
        assert_eq!(records[0].field("EventID"), Some(Value::Int(7)), "{format:?}");
    }
}

/// A long name above many fields is a part of each of their names; the text of an object is a part of each one around it.
#[test]
fn nested_objects_do_not_multiply_a_record() {
    let fields: Vec<String> = (0..100_000).map(|n| format!("\"{n}\":1")).collect();
    let wide = format!("{{\"{}\":{{{}}}}}", "k".repeat(1 << 20), fields.join(","));
    let deep = format!("{}\"{}\"{}", "{\"a\":".repeat(30), "x".repeat(1 << 20), "}".repeat(30));
    let fair = format!("{}\"{}\"{}", "{\"a\":".repeat(10), "x".repeat(1 << 20), "}".repeat(10));
    for (text, read) in [(wide, 0), (deep, 0), (fair, 1)] {
        let (records, errors) = read_all(Format::JsonLines, format!("{text}\n{{\"EventID\":7}}").as_bytes());
        assert_eq!((records.len(), errors.len()), (read + 1, 1 - read), "{errors:?}");
        assert!(errors.iter().all(|e| e.to_string().contains("more than 16 MiB")), "{errors:?}");
    }
}

/// Events of which no line says that they are complete are held only in small number.
#[test]
fn interleaved_audit_events_are_joined_and_bounded() {
    let line = |part: &str, key: &str, n: u32| format!("type={part} msg=audit(1.5:{n}): {key}=\"/{n}\"\n");
    let first = (0..50).map(|n| line("SYSCALL", "exe", n));
    let log: String = first.chain((0..50).map(|n| line("CWD", "cwd", n))).collect();
    let (records, errors) = read_all(Format::Auditd, log.as_bytes());
    assert!(errors.is_empty(), "{errors:?}");
    assert_eq!(records.len(), 50);
    for (serial, read) in records.iter().enumerate() {
        let path = format!("/{serial}");
        assert_eq!((read.text("Image"), read.text("cwd")), (Some(&*path), Some(&*path)));
        assert_eq!(read.field("type"), Some(Value::List(["SYSCALL", "CWD"].map(Value::str).to_vec())));
    }
    let huge = format!("type=PATH msg=audit(1.5:9): name=\"{}\"\n", "y".repeat(1024 * 1024)).repeat(5);
    let (records, errors) = read_all(Format::Auditd, huge.as_bytes());
    assert!(records.is_empty());
    assert_eq!(errors[0].to_string(), "log: audit event 9 (line 1): longer than 4 MiB, skipped");
}
