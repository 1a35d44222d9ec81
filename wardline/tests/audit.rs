//! A copy of the audit log, made and checked by the command line.
#![allow(clippy::unwrap_used)] // Helpers of tests, which clippy takes for code.

mod common;

use std::fs;

use common::up::Hub;
use common::{folder, wardline};

/// Exit code 1, and the verdict on standard output.
#[track_caller]
fn tampered(arguments: &[&str], words: &str) {
    let said = wardline(arguments);
    assert_eq!(said.code, Some(1), "{}{}", said.out, said.err);
    assert!(said.out.contains(words), "`{words}` is not in: {}{}", said.out, said.err);
}

#[test]
fn a_copy_is_checked_without_the_hub_and_names_what_was_bent() {
    let dir = folder("audit");
    let (data, at) =
        (dir.path().join("hub"), |name: &str| dir.path().join(name).to_str().unwrap().to_owned());
    let hub = Hub::start(&data, "127.0.0.1:0");
    let data = data.to_str().unwrap();
    hub.token();
    let june = at("june.jsonl");
    // Beside the running hub.
    wardline(&["hub", "audit", "export", &june, "--data", data]).succeeds();
    hub.token();
    drop(hub);
    let december = at("december.jsonl");
    wardline(&["hub", "audit", "export", &december, "--data", data]).succeeds();
    wardline(&["hub", "audit", "export", &december, "--data", data]).refuses(&["not there yet"]);

    let key = wardline(&["hub", "audit", "key", "--data", data]).succeeds().trim().to_owned();
    for arguments in [
        vec!["verify", "audit", "--data", data],
        vec!["verify", "audit", &june],
        vec!["verify", "audit", &december, "--key", &key, "--earlier", &june],
    ] {
        let said = wardline(&arguments);
        let told = said.succeeds();
        assert!(told.contains("the audit log is whole"), "{arguments:?}: {told}");
    }

    let text = fs::read_to_string(&december).unwrap();
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    let bent = at("bent.jsonl");
    let swapped = [&[lines[0], lines[2], lines[1]], &lines[3..]].concat().concat();
    for (content, words) in [
        (text.replacen("enrolment_token.made", "enrolment_token.lost", 1), "its content was changed"),
        (lines.iter().enumerate().filter(|(i, _)| *i != 1).map(|(_, l)| *l).collect(), "entry 1 of"),
        (swapped, "entry 1 of"),
        (lines[..lines.len() - 1].concat(), "breaks off"),
        (String::new(), "breaks off"),
    ] {
        fs::write(&bent, content).unwrap();
        tampered(&["verify", "audit", &bent], words);
    }
    // The earlier copy against the later one: as if everything since had been taken out.
    tampered(&["verify", "audit", &june, "--earlier", &december], "shortened or written anew");
    tampered(&["verify", "audit", &june, "--key", &"0".repeat(64)], "not genuine");
    wardline(&["verify", "audit", &june, "--key", "abc"]).refuses(&["64 hexadecimal digits"]);
    wardline(&["verify", "audit", &at("nowhere")]).refuses(&["cannot read"]);
}
