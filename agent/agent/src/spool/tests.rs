//! The spool against a model: whatever happens to the disk, what is read is what was appended, in order, and every
//! number that is missing was counted or acknowledged.

use std::collections::BTreeMap;
use std::fs;

use proptest::prelude::*;

use super::*;

fn all(spool: &mut Spool) -> BTreeMap<u64, Vec<u8>> {
    let (mut out, mut from) = (BTreeMap::new(), 0);
    while let Some(run) = spool.read(from, 100).unwrap() {
        from = run.first_seq + run.records.len() as u64;
        for (i, (_, body)) in run.records.into_iter().enumerate() {
            assert!(out.insert(run.first_seq + i as u64, body).is_none());
        }
    }
    out
}

#[derive(Debug, Clone)]
enum Step {
    Append(Vec<u8>),
    Ack(prop::sample::Index),
    Reopen,
    Tear(u8),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => prop::collection::vec(any::<u8>(), 0..60).prop_map(Step::Append),
        2 => any::<prop::sample::Index>().prop_map(Step::Ack),
        1 => Just(Step::Reopen),
        1 => (1u8..40).prop_map(Step::Tear),
    ]
}

fn newest_segment(dir: &Path) -> Option<PathBuf> {
    let segments = fs::read_dir(dir).unwrap().map(|e| e.unwrap().path());
    segments.filter(|p| p.extension().is_some_and(|e| e == "seg")).max()
}

proptest! {
    // Each case syncs to a real disk many times.
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn behaves_like_its_model(steps in prop::collection::vec(step(), 0..60)) {
        let dir = tempfile::tempdir().unwrap();
        let open = |id| Spool::open(dir.path(), 1 << 20, [id; 16]).unwrap().0;
        let mut spool = open(1);
        let (mut model, mut acked, mut last) = (BTreeMap::new(), 0, 0);
        for step in steps {
            match step {
                Step::Append(body) => {
                    let seq = spool.append(1, &body).unwrap();
                    prop_assert!(seq > last);
                    last = seq;
                    model.insert(seq, body);
                }
                Step::Ack(index) if last > 0 => {
                    let seq = index.index(usize::try_from(last).unwrap()) as u64 + 1;
                    spool.ack(seq).unwrap();
                    acked = acked.max(seq);
                }
                Step::Ack(_) => {}
                Step::Reopen => {
                    drop(spool);
                    spool = open(2);
                    prop_assert_eq!(spool.id(), [1; 16], "the id is the spool's, not the opener's");
                }
                Step::Tear(bytes) => {
                    drop(spool);
                    if let Some(path) = newest_segment(dir.path()) {
                        let length = fs::metadata(&path).unwrap().len();
                        let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
                        file.set_len(length.saturating_sub(u64::from(bytes))).unwrap();
                    }
                    spool = open(2);
                    // A power cut may take the newest records, and only those.
                    let kept = all(&mut spool);
                    let newest = kept.keys().next_back().copied().unwrap_or(acked).max(acked);
                    model.retain(|seq, _| *seq <= newest);
                    last = last.min(newest);
                }
            }
            model.retain(|seq, _| *seq > acked);
            prop_assert_eq!(&all(&mut spool), &model);
            prop_assert_eq!(spool.waiting(), model.len() as u64);
        }
    }

    #[test]
    fn one_damaged_byte_loses_no_more_than_its_segment(at in any::<prop::sample::Index>(), flip in 1u8..) {
        let dir = tempfile::tempdir().unwrap();
        let mut spool = Spool::open(dir.path(), 64 << 10, [1; 16]).unwrap().0;
        for n in 0..300u32 {
            spool.append(1, &[n.to_le_bytes(), [7; 4]].concat().repeat(8)).unwrap();
        }
        let before = all(&mut spool);
        drop(spool);
        let mut paths: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().path())
            .filter(|p| p.extension().is_some_and(|e| e == "seg")).collect();
        paths.sort();
        prop_assert!(paths.len() > 2, "the case needs several segments");
        let mut bytes = fs::read(&paths[0]).unwrap();
        let at = at.index(bytes.len());
        bytes[at] ^= flip;
        fs::write(&paths[0], bytes).unwrap();

        let (mut spool, report) = Spool::open(dir.path(), 64 << 10, [2; 16]).unwrap();
        prop_assert_eq!(report.set_aside.len(), 1);
        let after = all(&mut spool);
        let second = segment::first_seq_of(&paths[1]).unwrap();
        for (seq, body) in &before {
            match after.get(seq) {
                Some(kept) => prop_assert_eq!(kept, body),
                None => prop_assert!(*seq < second, "record {} of an undamaged segment is gone", seq),
            }
        }
        prop_assert_eq!(spool.append(1, b"next").unwrap(), 301);
    }
}

#[test]
fn the_oldest_records_go_first_when_the_budget_is_spent_and_are_counted() {
    let dir = tempfile::tempdir().unwrap();
    let mut spool = Spool::open(dir.path(), 64 << 10, [1; 16]).unwrap().0;
    for _ in 0..2000 {
        spool.append(1, &[0; 100]).unwrap();
    }
    let kept = all(&mut spool);
    assert!(kept.len() > 400, "most of the budget is used, not {} records", kept.len());
    assert_eq!(kept.keys().next_back(), Some(&2000));
    assert_eq!(spool.dropped() + kept.len() as u64, 2000);
}

#[test]
fn a_record_that_cannot_be_written_is_counted_and_keeps_its_number() {
    let dir = tempfile::tempdir().unwrap();
    let mut spool = Spool::open(dir.path(), 8 << 20, [1; 16]).unwrap().0;
    assert_eq!(spool.append(1, b"one").unwrap(), 1);
    assert!(spool.append(1, &vec![0; 2 << 20]).unwrap_err().to_string().starts_with("spool: writing"));
    assert_eq!(spool.append(1, b"three").unwrap(), 3);
    assert_eq!(spool.dropped(), 1);
    assert_eq!(all(&mut spool).into_keys().collect::<Vec<_>>(), [1, 3]);
}

#[test]
fn a_newer_spool_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    drop(Spool::open(dir.path(), 1 << 20, [1; 16]).unwrap());
    fs::write(dir.path().join("spool.id"), "2 00\n").unwrap();
    let error = Spool::open(dir.path(), 1 << 20, [1; 16]).unwrap_err().to_string();
    assert!(error.contains("newer version of Wardline"), "{error}");
}

#[test]
fn room_is_made_of_what_the_hub_has_and_no_number_is_given_twice() {
    let dir = tempfile::tempdir().unwrap();
    let open = || Spool::open(dir.path(), 8 << 20, [1; 16]).unwrap().0;
    let mut spool = open();
    for n in 1..=3 {
        assert_eq!(spool.append(1, b"record").unwrap(), n);
    }
    spool.ack(2).unwrap();
    assert!(!spool.make_room(), "one still waits");
    spool.ack(3).unwrap();
    assert!(spool.make_room() && newest_segment(dir.path()).is_none());
    // As if the machine had lost its power here.
    std::mem::forget(spool);
    let mut spool = open();
    assert_eq!(spool.append(1, b"four").unwrap(), 4);

    // A segment that cannot be written on goes as soon as the hub has it.
    spool.append(1, &vec![0; 2 << 20]).unwrap_err();
    spool.ack(4).unwrap();
    assert!(newest_segment(dir.path()).is_none());
    std::mem::forget(spool);
    assert!(open().append(1, b"next").unwrap() > 4);
}
