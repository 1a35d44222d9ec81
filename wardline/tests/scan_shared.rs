//! `wardline scan` over real attacks that others recorded, with rules that others wrote.
//!
//! Skipped where the shared data are not there.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

fn shared() -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data");
    if path.join("evtx").is_dir() && path.join("sigma/rules").is_dir() {
        return Some(path);
    }
    println!("skipped: no shared data");
    None
}

fn scan(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_wardline"))
        .arg("scan")
        .args(args)
        // The user's own caches are none of a test's.
        .env("XDG_CACHE_HOME", env!("CARGO_TARGET_TMPDIR"))
        .output()
        .expect("the binary starts")
}

fn matches(output: &Output) -> Vec<Value> {
    String::from_utf8_lossy(&output.stdout).lines().map(|l| serde_json::from_str(l).expect(l)).collect()
}

/// A file, and a rule that must fire on it: the technique is in the file's name.
const SEEN: &[(&str, &str)] = &[
    ("sysmon_10_11_lsass_memdump.evtx", "LSASS Process Memory Dump Files"),
    ("CA_DCSync_4662.evtx", "Active Directory Replication from Non Machine Account - DcSync Indicator"),
    ("DE_1102_security_log_cleared.evtx", "Security Eventlog Cleared"),
    ("DE_104_system_log_cleared.evtx", "Important Windows Eventlog Cleared"),
    ("sysmon_10_1_memdump_comsvcs_minidump.evtx", "Process Memory Dump Via Comsvcs.DLL"),
    ("sysmon_rdrleakdiag_lsass_dump.evtx", "Process Memory Dump via RdrLeakDiag.EXE"),
    ("CA_keefarce_keepass_credump.evtx", "Remote Thread Created In KeePass.EXE"),
    ("phish_windows_credentials_powershell_scriptblockLog_4104.evtx", "PowerShell Credential Prompt"),
    (
        "System_7045_namedpipe_privesc.evtx",
        "Meterpreter or Cobalt Strike Getsystem Service Installation - System",
    ),
    ("WinDefender_Events_1117_1116_AtomicRedTeam.evtx", "Antivirus - Exploitation Framework Signature"),
];

#[test]
fn known_attacks_are_found_and_every_record_is_read() {
    let Some(shared) = shared() else { return };
    let (evtx, rules) = (shared.join("evtx"), shared.join("sigma/rules"));
    let output = scan(&[evtx.to_str().unwrap(), "--rules", rules.to_str().unwrap(), "--json"]);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{errors}");
    // Counted with another reader of EVTX.
    assert!(errors.contains("\nFiles      276 read\nRecords    8,248 read\n"), "{errors}");
    let found: BTreeSet<(String, String)> = matches(&output)
        .iter()
        .map(|m| {
            let file =
                Path::new(m["file"].as_str().unwrap()).file_name().unwrap().to_string_lossy().into_owned();
            (file, m["rule_title"].as_str().unwrap().to_owned())
        })
        .collect();
    for (file, rule) in SEEN {
        assert!(found.contains(&((*file).to_owned(), (*rule).to_owned())), "{rule} does not fire on {file}");
    }
}

/// Where the attack samples hold a file.
fn find(folder: &Path, name: &str) -> Option<PathBuf> {
    fs::read_dir(folder).ok()?.flatten().find_map(|entry| {
        let path = entry.path();
        if path.is_dir() { find(&path, name) } else { path.ends_with(name).then_some(path) }
    })
}

const ALL: &str = "title: Any event\nid: 1c7a4f0e-3f30-4f43-9d2b-0f3fd6f600aa\nlevel: low\nlogsource:\n  product: windows\n\
    detection:\n  any:\n    EventID|exists: true\n  condition: any\n";

#[test]
fn a_damaged_event_log_gives_its_good_records_and_the_places_of_the_bad() {
    let Some(shared) = shared() else { return };
    let file = find(&shared.join("evtx"), "PanacheSysmon_vs_AtomicRedTeam01.evtx").expect("the sample");
    let whole = fs::read(file).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let rule = folder.path().join("any.yml");
    fs::write(&rule, ALL).unwrap();
    let log = folder.path().join("log.evtx");
    let scan = |bytes: &[u8]| {
        fs::write(&log, bytes).unwrap();
        let output = scan(&[log.to_str().unwrap(), "--rules", rule.to_str().unwrap(), "--json", "-v"]);
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.code(), matches(&output).len(), errors)
    };
    let (code, all, errors) = scan(&whole);
    assert_eq!(code, Some(0), "{errors}");
    assert!(all > 100, "the sample has many records");

    // Cut in the middle of its third chunk: what is before is read.
    let before = scan(&whole[..4096 + 2 * 65536]).1;
    let (code, some, errors) = scan(&whole[..4096 + 2 * 65536 + 30000]);
    assert!(before < some && some < all, "{some} of {all}: those of the cut chunk, too");
    assert_eq!(code, Some(1), "{errors}");
    assert!(
        errors.contains("log.evtx: chunk 2 (byte 135168): the file ends in the middle of the log"),
        "{errors}"
    );

    // Cut between two chunks: the file's header tells.
    let (code, some, errors) = scan(&whole[..4096 + 65536]);
    assert!(0 < some && some < before, "{some} of {before}");
    assert_eq!(code, Some(1), "{errors}");
    assert!(errors.contains("log.evtx: the file: the file ends in the middle of the log"), "{errors}");

    // Bytes changed inside the second chunk: its checksum tells, and the other chunks are whole.
    let mut flipped = whole.clone();
    for at in (4096 + 65536 + 9000..4096 + 65536 + 9400).step_by(7) {
        flipped[at] ^= 0x5A;
    }
    let (code, some, errors) = scan(&flipped);
    assert_eq!(code, Some(1), "{errors}");
    assert!(some > all / 2 && some <= all, "{some} of {all}");
    assert!(
        errors.contains("log.evtx: chunk 1 (byte 69632): its checksum does not match its bytes"),
        "{errors}"
    );

    // A record's beginning overwritten: the reader finds the next record behind it.
    let mut torn = whole.clone();
    torn[4096 + 512..4096 + 520].fill(0xFF);
    let (code, some, errors) = scan(&torn);
    assert_eq!(code, Some(1), "{errors}");
    assert_eq!(some, all - 1, "{errors}");
    assert!(errors.contains("log.evtx: byte 4608: no record can be read here"), "{errors}");

    // A chunk's beginning overwritten.
    let mut headless = whole.clone();
    headless[4096 + 65536..4096 + 65536 + 64].fill(0);
    let (code, some, errors) = scan(&headless);
    assert_eq!(code, Some(1), "{errors}");
    assert!(some > 0 && some < all, "{some} of {all}");
    assert!(errors.contains("log.evtx: chunk 1 (byte 69632): "), "{errors}");

    // Nothing but the header's magic.
    let (code, some, errors) = scan(b"ElfFile\0");
    assert_eq!((code, some), (Some(1), 0), "{errors}");
    assert!(errors.contains("log.evtx: the file: its EVTX header cannot be read"), "{errors}");
}
