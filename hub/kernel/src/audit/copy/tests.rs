//! Copies as they are written, and as somebody would bend them.

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::audit::{Act, link};

/// The chain of one organisation with `n` entries.
fn chain(organisation: &str, n: i64) -> Vec<Entry> {
    let mut previous = GENESIS.to_owned();
    (1..=n)
        .map(|number| {
            let act = Act {
                actor: "ann".into(),
                act: "finding.state_changed",
                target: format!("t{number}"),
                detail: json!({"n": number}),
            };
            let entry = link(organisation, number, previous.clone(), Timestamp(number), act);
            previous.clone_from(&entry.hash);
            entry
        })
        .collect()
}

fn signer() -> Signer {
    Signer::from_seed(&[1; 32])
}

/// Two chains, of 5 and 3 entries, with an older checkpoint after the second entry of each.
fn copy_of(chains: &[Vec<Entry>], signer: &Signer) -> Vec<String> {
    let (mut writer, first) = Writer::begin(signer, "hub".into(), "Northfield".into());
    let mut lines = vec![first];
    for chain in chains {
        for entry in chain {
            lines.push(writer.entry(entry.clone()));
            if entry.number == 2 {
                let old = signer.checkpoint(&entry.organisation, 2, &entry.hash, Timestamp(2));
                lines.push(writer.checkpoint(old));
            }
        }
        lines.push(writer.end_chain(Timestamp(9)));
    }
    lines.push(writer.close(Timestamp(9)));
    lines
}

fn copy() -> Vec<String> {
    copy_of(&[chain("o1", 5), chain("o2", 3)], &signer())
}

fn check(lines: &[String], key: Option<String>, earlier: Ends) -> Result<Report, Fault> {
    let mut checker = Checker::new(key, earlier);
    for line in lines {
        checker.push(line.as_bytes())?;
    }
    checker.finish()
}

#[test]
fn a_copy_proves_itself_and_gives_where_its_chains_end() {
    let report = check(&copy(), Some(signer().key()), Ends::new()).unwrap();
    assert_eq!((report.entries, report.checkpoints, report.made_ms), (8, 4, 9));
    assert_eq!(report.ends["o1"].0, 5);
    // A later copy of the same log holds the earlier one; not the other way round.
    let later = copy_of(&[chain("o1", 7), chain("o2", 3)], &signer());
    assert!(check(&later, None, report.ends.clone()).is_ok());
    let ends = check(&later, None, Ends::new()).unwrap().ends;
    let shortened = check(&copy(), None, ends).unwrap_err();
    assert_eq!(shortened, Fault::NotTheSameLog { organisation: "o1".into(), number: 7 });
    let without = copy_of(&[chain("o1", 9)], &signer());
    let gone = check(&without, None, report.ends).unwrap_err();
    assert_eq!(gone, Fault::NotTheSameLog { organisation: "o2".into(), number: 3 });
}

#[test]
fn a_log_written_anew_by_who_lacks_the_key_is_not_genuine() {
    // Every hash fits, the forger signs it all with a key of their own.
    let mut forged = chain("o1", 5);
    let mut previous = forged[1].hash.clone();
    for entry in &mut forged[2..] {
        entry.actor = "eve".into();
        entry.previous.clone_from(&previous);
        entry.hash = crate::audit::hash_of(entry);
        previous.clone_from(&entry.hash);
    }
    let thief = Signer::from_seed(&[2; 32]);
    let lines = copy_of(std::slice::from_ref(&forged), &thief);
    assert!(matches!(check(&lines, Some(signer().key()), Ends::new()), Err(Fault::OtherKey { .. })));
    // Even with the real key at hand later: an earlier copy tells.
    let earlier = check(&copy_of(&[chain("o1", 4)], &signer()), None, Ends::new()).unwrap().ends;
    let anew = check(&copy_of(&[forged], &signer()), None, earlier).unwrap_err();
    assert_eq!(anew, Fault::NotTheSameLog { organisation: "o1".into(), number: 4 });
}

#[test]
fn the_first_entry_that_does_not_fit_is_named() {
    let lines = copy();
    // 0 head; 1, 2 entries; 3 checkpoint; 4, 5, 6 entries; 7 checkpoint; 8, 9 entries; …
    let with = |change: &dyn Fn(&mut Vec<String>)| {
        let mut lines = lines.clone();
        change(&mut lines);
        check(&lines, None, Ends::new()).unwrap_err().to_string()
    };
    for (change, expected) in [
        (
            &(|l: &mut Vec<String>| l[4] = l[4].replace("ann", "eve")) as &dyn Fn(&mut Vec<String>),
            "entry 3 of organisation o1: its content was changed",
        ),
        (&|l| drop(l.remove(4)), "entry 3 of organisation o1: the entry with this number is missing"),
        (&|l| l.swap(4, 5), "entry 3 of organisation o1: the entry with this number is missing"),
        (&|l| drop(l.drain(4..7)), "line 5: the checkpoint of organisation o1 at entry 5 does not fit"),
        (&|l| drop(l.drain(6..8)), "line 7: the chain of organisation o1 ends without a checkpoint"),
        (&|l| l.truncate(6), "the copy breaks off after line 6"),
        (&|l| drop(l.drain(1..8)), "line 7: the closing line does not fit"),
        (&|l| drop(l.remove(3)), "the closing line does not fit"),
        (&|l| l[3] = l[3].replace("\"time_ms\":2", "\"time_ms\":3"), "does not bear the signature"),
        (&|l| l.push(l[1].clone()), "goes on after its closing line"),
        (&|l| l.push("x\n".into()), "goes on after its closing line"),
        (&|l| l[0] = "{}\n".into(), "line 1: this is no line of a copy"),
        (&|l| l[0] = l[0].replace("\"wardline_audit\":1", "\"wardline_audit\":2"), "the copy has version 2"),
        (&|l| l.clear(), "the copy breaks off after line 0"),
    ] {
        let told = with(change);
        assert!(told.contains(expected), "{told}\nshould say: {expected}");
    }
}

proptest! {
    #[test]
    fn no_single_byte_can_be_changed(at in any::<prop::sample::Index>(), flip in 1u8..=255) {
        let mut bytes = copy().concat().into_bytes();
        let at = at.index(bytes.len());
        bytes[at] ^= flip;
        let mut checker = Checker::new(Some(signer().key()), Ends::new());
        let verdict = bytes
            .split_inclusive(|b| *b == b'\n')
            .try_for_each(|line| checker.push(line))
            .and_then(|()| checker.finish().map(drop));
        // The line feed behind the closing line is not signed: it says nothing.
        let last = at == copy().concat().len() - 1;
        prop_assert!(verdict.is_err() || last, "{}", String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn hostile_lines_never_panic(lines in prop::collection::vec(".{0,80}", 0..6)) {
        let _ = check(&lines, None, Ends::new());
    }
}
