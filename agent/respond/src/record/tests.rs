use super::*;
use crate::isolation::ReleaseReport;
use crate::kill::{KillError, KillReport};
use proptest::prelude::*;
use wardline_event::ProcessKey;

/// A machine that is nothing but isolated or not.
#[derive(Default)]
struct Switch {
    on: bool,
    switched: usize,
}

impl Responder for Switch {
    fn never_kill(&mut self, _: Vec<String>) {}

    fn kill_tree(&mut self, target: &ProcessKey, _: &[ProcessKey]) -> Result<KillReport, KillError> {
        Err(KillError::Gone(*target))
    }

    fn isolate(&mut self, spec: &IsolationSpec) -> Result<IsolationReport, IsolateError> {
        let hubs = spec.checked_hubs()?;
        self.switched += 1;
        Ok(IsolationReport { hubs, replaced: std::mem::replace(&mut self.on, true), took: Duration::ZERO })
    }

    fn release(&mut self) -> Result<ReleaseReport, IsolateError> {
        self.switched += 1;
        Ok(ReleaseReport { was_isolated: std::mem::take(&mut self.on) })
    }

    fn is_isolated(&mut self) -> Result<bool, IsolateError> {
        Ok(self.on)
    }
}

const HOUR: i64 = 3_600_000;

/// An isolation from 1:00 to 2:00.
fn record() -> IsolationRecord {
    let spec =
        IsolationSpec::to_hubs(["10.0.0.1:8443".parse().unwrap(), "[2001:db8::1]:8443".parse().unwrap()]);
    IsolationRecord::new(Timestamp(HOUR), Timestamp(2 * HOUR), spec).ordered(
        "alice",
        "ransomware on ward 3",
        "a-17",
    )
}

#[test]
fn when_an_isolation_is_due() {
    let released = Some(Released { at: Timestamp(HOUR + 5), by: "bob".into() });
    for (record, now, expected) in [
        (record(), HOUR, Due::Keep),
        (record(), 2 * HOUR - 1, Due::Keep),
        (record(), 2 * HOUR, Due::Release),
        (record(), 99 * HOUR, Due::Release),
        // The clock was set back: what it has served still counts.
        (record(), -HOUR, Due::Keep),
        (IsolationRecord { served_ms: HOUR as u64 - 1, ..record() }, -HOUR, Due::Keep),
        (IsolationRecord { served_ms: HOUR as u64, ..record() }, -HOUR, Due::Release),
        (IsolationRecord { released, ..record() }, HOUR + 6, Due::Release),
        // Ends before it begins.
        (IsolationRecord { expires: Timestamp(0), ..record() }, -1, Due::Release),
    ] {
        assert_eq!(due(&record, Timestamp(now)), expected, "{record:?} at {now}");
    }
}

#[test]
fn what_is_saved_is_loaded_and_replaces_what_was() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(load(dir.path()).unwrap(), None);
    save(dir.path(), &IsolationRecord { reason: "first".into(), ..record() }).unwrap();
    // What a crash in the middle of a write leaves behind.
    fs::write(dir.path().join("isolation.json.new"), "{\"ver").unwrap();
    save(dir.path(), &record()).unwrap();
    assert_eq!(load(dir.path()).unwrap(), Some(record()));
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "nothing but the record is left");
}

/// A record as version 1 first wrote it: must stay readable.
#[test]
fn the_first_format_stays_readable() {
    let dir = tempfile::tempdir().unwrap();
    let text = r#"{"version":1,"since":3600000,"expires":7200000,"by":"alice","reason":"ransomware on ward 3",
        "action_id":"a-17","hubs":["10.0.0.1:8443","[2001:db8::1]:8443"]}"#;
    fs::write(dir.path().join(FILE), text).unwrap();
    assert_eq!(load(dir.path()).unwrap(), Some(record()));
}

#[test]
fn an_isolation_lasts_through_restart_and_reboot_and_then_expires_once() {
    let dir = tempfile::tempdir().unwrap();
    let mut machine = Switch::default();
    let at = |machine: &mut Switch, now, elapsed| {
        reconcile(machine, dir.path(), Timestamp(now), Duration::from_millis(elapsed)).unwrap()
    };
    assert_eq!(at(&mut machine, HOUR, 0), Reconciled::Unchanged { isolated: false });
    save(dir.path(), &record()).unwrap();
    assert!(matches!(at(&mut machine, HOUR, 0), Reconciled::Isolated(r) if r.hubs == record().hubs));
    // The agent starts again; the kernel still has the table.
    assert_eq!(at(&mut machine, HOUR + 1, 0), Reconciled::Unchanged { isolated: true });
    // The machine starts again; the kernel has nothing.
    machine = Switch::default();
    assert!(matches!(at(&mut machine, HOUR + 2, 0), Reconciled::Isolated(_)));
    assert_eq!(at(&mut machine, HOUR + 60_002, 60_000), Reconciled::Unchanged { isolated: true });
    assert_eq!(load(dir.path()).unwrap().unwrap().served_ms, 60_000);
    assert_eq!(at(&mut machine, 2 * HOUR, 0), Reconciled::Released);
    assert_eq!(load(dir.path()).unwrap().unwrap().released.unwrap().by, "expiry");
    // Set back, the clock does not begin it anew.
    assert_eq!(at(&mut machine, HOUR, 0), Reconciled::Unchanged { isolated: false });
    assert!(!machine.on);
}

#[test]
fn remains_of_a_weakened_isolation_go_when_it_expires() {
    /// Somebody has taken the table half apart: it is not whole, but what is left of it still cuts.
    struct Half(bool);
    impl Responder for Half {
        fn never_kill(&mut self, _: Vec<String>) {}

        fn kill_tree(&mut self, target: &ProcessKey, _: &[ProcessKey]) -> Result<KillReport, KillError> {
            Err(KillError::Gone(*target))
        }
        fn isolate(&mut self, _: &IsolationSpec) -> Result<IsolationReport, IsolateError> {
            Err(IsolateError::NoHub)
        }
        fn release(&mut self) -> Result<ReleaseReport, IsolateError> {
            Ok(ReleaseReport { was_isolated: std::mem::take(&mut self.0) })
        }
        fn is_isolated(&mut self) -> Result<bool, IsolateError> {
            Ok(false)
        }
    }
    for saved in [None, Some(record())] {
        let dir = tempfile::tempdir().unwrap();
        if let Some(record) = &saved {
            save(dir.path(), record).unwrap();
        }
        let mut machine = Half(true);
        let done = reconcile(&mut machine, dir.path(), Timestamp(2 * HOUR), Duration::ZERO).unwrap();
        assert_eq!((done, machine.0), (Reconciled::Released, false));
    }
}

#[test]
fn it_also_expires_where_the_clock_stands_still() {
    let dir = tempfile::tempdir().unwrap();
    let mut machine = Switch::default();
    save(dir.path(), &record()).unwrap();
    reconcile(&mut machine, dir.path(), Timestamp(0), Duration::ZERO).unwrap();
    for _ in 0..59 {
        reconcile(&mut machine, dir.path(), Timestamp(0), Duration::from_mins(1)).unwrap();
        assert!(machine.on);
    }
    let last = reconcile(&mut machine, dir.path(), Timestamp(0), Duration::from_mins(1)).unwrap();
    assert_eq!((last, machine.on), (Reconciled::Released, false));
}

#[test]
fn an_isolation_without_a_record_is_released() {
    let dir = tempfile::tempdir().unwrap();
    let mut machine = Switch { on: true, switched: 0 };
    assert_eq!(
        reconcile(&mut machine, dir.path(), Timestamp(0), Duration::ZERO).unwrap(),
        Reconciled::Released
    );
}

#[test]
fn a_release_at_the_machine_lasts() {
    let dir = tempfile::tempdir().unwrap();
    let mut machine = Switch::default();
    mark_released(dir.path(), Timestamp(HOUR), "root").unwrap();
    save(dir.path(), &record()).unwrap();
    reconcile(&mut machine, dir.path(), Timestamp(HOUR), Duration::ZERO).unwrap();
    mark_released(dir.path(), Timestamp(HOUR + 1), "root").unwrap();
    machine.release().unwrap();
    for now in [HOUR + 2, HOUR + 3] {
        let done = reconcile(&mut machine, dir.path(), Timestamp(now), Duration::ZERO).unwrap();
        assert_eq!(done, Reconciled::Unchanged { isolated: false });
    }
    let kept = load(dir.path()).unwrap().unwrap().released;
    assert_eq!(kept, Some(Released { at: Timestamp(HOUR + 1), by: "root".into() }));
}

#[test]
fn bad_records_are_named_change_nothing_and_can_be_released() {
    for (text, says) in [
        ("", "damaged"),
        ("{\"version\":1}", "damaged"),
        ("{\"version\":9,\"new\":true}", "version 9"),
        ("\u{0}\u{0}\u{0}", "damaged"),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(FILE);
        fs::write(&path, text).unwrap();
        let mut machine = Switch { on: true, switched: 0 };
        let error =
            reconcile(&mut machine, dir.path(), Timestamp(0), Duration::ZERO).unwrap_err().to_string();
        assert!(error.contains(says) && error.contains(path.to_str().unwrap()), "{error}");
        assert_eq!((machine.on, machine.switched), (true, 0));
        assert!(mark_released(dir.path(), Timestamp(0), "root").is_err(), "a person hears of it");
        assert_eq!(fs::read_to_string(dir.path().join("isolation.json.damaged")).unwrap(), text);
        assert_eq!(load(dir.path()).unwrap(), None);
    }
}

#[test]
fn what_cannot_be_written_is_said_and_the_old_record_stays() {
    let dir = tempfile::tempdir().unwrap();
    save(dir.path(), &record()).unwrap();
    // A folder in the way of the temporary file: fails for root too.
    fs::create_dir(dir.path().join("isolation.json.new")).unwrap();
    let error = save(dir.path(), &IsolationRecord { reason: "other".into(), ..record() }).unwrap_err();
    assert!(error.to_string().contains("check the disk's space"), "{error}");
    assert_eq!(load(dir.path()).unwrap(), Some(record()));
    // And the release still has its effect.
    mark_released(dir.path(), Timestamp(HOUR), "root").unwrap();
    assert_eq!(load(dir.path()).unwrap(), None);
}

proptest! {
    #[test]
    fn hostile_files_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(FILE), bytes).unwrap();
        let _ = load(dir.path());
        let _ = mark_released(dir.path(), Timestamp(0), "root");
        prop_assert!(load(dir.path()).unwrap().is_none_or(|r| r.released.is_some()));
    }
}
