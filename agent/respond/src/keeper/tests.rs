use std::collections::BTreeMap;
use std::fs;

use super::*;
use crate::kill::{KillError, KillReport};
use crate::measure::{EastWestSpec, IsolationSpec, LogonSpec, Measure, ProcessSpec};
use crate::record::{Released, load, mark_released, save};
use proptest::prelude::*;
use wardline_event::{BootId, ProcessKey};

/// A machine that is nothing but contained or not.
#[derive(Default)]
struct Switch {
    on: BTreeMap<Rung, Measure>,
    switched: usize,
}

impl Switch {
    fn isolated() -> Self {
        Self { on: BTreeMap::from([(Rung::Isolation, record().measure)]), switched: 0 }
    }

    fn is_isolated(&self) -> bool {
        self.on.contains_key(&Rung::Isolation)
    }
}

impl Responder for Switch {
    fn never_kill(&mut self, _: Vec<String>) {}

    fn kill_tree(&mut self, target: &ProcessKey, _: &[ProcessKey]) -> Result<KillReport, KillError> {
        Err(KillError::Gone(*target))
    }

    fn contain(&mut self, measure: &Measure) -> Result<Contained, ContainError> {
        if let Measure::Isolation(spec) = measure {
            spec.checked_hubs()?;
        }
        self.switched += 1;
        let replaced = self.on.insert(measure.rung(), measure.clone()).is_some();
        Ok(Contained { replaced, ..Contained::default() })
    }

    fn release(&mut self, rung: &Rung) -> Result<bool, ContainError> {
        self.switched += 1;
        Ok(self.on.remove(rung).is_some())
    }

    fn holds(&mut self, measure: &Measure) -> Result<Holds, ContainError> {
        Ok(if self.on.get(&measure.rung()) == Some(measure) { Holds::Yes } else { Holds::No })
    }

    fn cut_processes(&mut self) -> Vec<ProcessKey> {
        let key = |rung: &Rung| if let Rung::Process(key) = rung { Some(*key) } else { None };
        self.on.keys().filter_map(key).collect()
    }
}

const ISOLATION: Rung = Rung::Isolation;

fn reconcile(
    machine: &mut dyn Responder,
    dir: &Path,
    now: Timestamp,
    elapsed: Duration,
) -> Result<Reconciled, ReconcileError> {
    super::reconcile(machine, dir, &ISOLATION, now, elapsed)
}

fn file(dir: &Path) -> PathBuf {
    dir.join("isolation.json")
}

const HOUR: i64 = 3_600_000;

/// An isolation from 1:00 to 2:00.
fn record() -> Record {
    let spec =
        IsolationSpec::to_hubs(["10.0.0.1:8443".parse().unwrap(), "[2001:db8::1]:8443".parse().unwrap()]);
    Record::new(Timestamp(HOUR), Timestamp(2 * HOUR), Measure::Isolation(spec)).ordered(
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
        (Record { served_ms: HOUR as u64 - 1, ..record() }, -HOUR, Due::Keep),
        (Record { served_ms: HOUR as u64, ..record() }, -HOUR, Due::Release),
        (Record { released, ..record() }, HOUR + 6, Due::Release),
        // Ends before it begins.
        (Record { expires: Timestamp(0), ..record() }, -1, Due::Release),
    ] {
        assert_eq!(due(&record, Timestamp(now)), expected, "{record:?} at {now}");
    }
}

#[test]
fn what_is_saved_is_loaded_and_replaces_what_was() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(load(dir.path(), &ISOLATION).unwrap(), None);
    save(dir.path(), &Record { reason: "first".into(), ..record() }).unwrap();
    // What a crash in the middle of a write leaves behind.
    fs::write(dir.path().join("isolation.json.new"), "{\"ver").unwrap();
    save(dir.path(), &record()).unwrap();
    assert_eq!(load(dir.path(), &ISOLATION).unwrap(), Some(record()));
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "nothing but the record is left");
}

/// A record as version 1 first wrote it: must stay readable.
#[test]
fn the_first_format_stays_readable() {
    let dir = tempfile::tempdir().unwrap();
    let text = r#"{"version":1,"since":3600000,"expires":7200000,"by":"alice","reason":"ransomware on ward 3",
        "action_id":"a-17","hubs":["10.0.0.1:8443","[2001:db8::1]:8443"]}"#;
    fs::write(file(dir.path()), text).unwrap();
    assert_eq!(load(dir.path(), &ISOLATION).unwrap(), Some(record()));
}

#[test]
fn an_isolation_lasts_through_restart_and_reboot_and_then_expires_once() {
    let dir = tempfile::tempdir().unwrap();
    let mut machine = Switch::default();
    let at = |machine: &mut Switch, now, elapsed| {
        reconcile(machine, dir.path(), Timestamp(now), Duration::from_millis(elapsed)).unwrap()
    };
    assert_eq!(at(&mut machine, HOUR, 0), Reconciled::Unchanged { in_force: false });
    save(dir.path(), &record()).unwrap();
    assert!(matches!(at(&mut machine, HOUR, 0), Reconciled::Contained(_)));
    // The agent starts again; the kernel still has the table.
    assert_eq!(at(&mut machine, HOUR + 1, 0), Reconciled::Unchanged { in_force: true });
    // The machine starts again; the kernel has nothing.
    machine = Switch::default();
    assert!(matches!(at(&mut machine, HOUR + 2, 0), Reconciled::Contained(_)));
    assert_eq!(at(&mut machine, HOUR + 60_002, 60_000), Reconciled::Unchanged { in_force: true });
    assert_eq!(load(dir.path(), &ISOLATION).unwrap().unwrap().served_ms, 60_000);
    assert_eq!(at(&mut machine, 2 * HOUR, 0), Reconciled::Released);
    assert_eq!(load(dir.path(), &ISOLATION).unwrap().unwrap().released.unwrap().by, "expiry");
    // Set back, the clock does not begin it anew.
    assert_eq!(at(&mut machine, HOUR, 0), Reconciled::Unchanged { in_force: false });
    assert!(!machine.is_isolated());
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
        fn contain(&mut self, _: &Measure) -> Result<Contained, ContainError> {
            Err(ContainError::NoHub)
        }
        fn release(&mut self, _: &Rung) -> Result<bool, ContainError> {
            Ok(std::mem::take(&mut self.0))
        }
        fn holds(&mut self, _: &Measure) -> Result<Holds, ContainError> {
            Ok(Holds::No)
        }
        fn cut_processes(&mut self) -> Vec<ProcessKey> {
            Vec::new()
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
        assert!(machine.is_isolated());
    }
    let last = reconcile(&mut machine, dir.path(), Timestamp(0), Duration::from_mins(1)).unwrap();
    assert_eq!((last, machine.is_isolated()), (Reconciled::Released, false));
}

#[test]
fn an_isolation_without_a_record_is_released() {
    let dir = tempfile::tempdir().unwrap();
    let mut machine = Switch::isolated();
    assert_eq!(
        reconcile(&mut machine, dir.path(), Timestamp(0), Duration::ZERO).unwrap(),
        Reconciled::Released
    );
}

#[test]
fn a_release_at_the_machine_lasts() {
    let dir = tempfile::tempdir().unwrap();
    let mut machine = Switch::default();
    mark_released(dir.path(), &ISOLATION, Timestamp(HOUR), "root").unwrap();
    save(dir.path(), &record()).unwrap();
    reconcile(&mut machine, dir.path(), Timestamp(HOUR), Duration::ZERO).unwrap();
    mark_released(dir.path(), &ISOLATION, Timestamp(HOUR + 1), "root").unwrap();
    machine.release(&ISOLATION).unwrap();
    for now in [HOUR + 2, HOUR + 3] {
        let done = reconcile(&mut machine, dir.path(), Timestamp(now), Duration::ZERO).unwrap();
        assert_eq!(done, Reconciled::Unchanged { in_force: false });
    }
    let kept = load(dir.path(), &ISOLATION).unwrap().unwrap().released;
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
        let path = file(dir.path());
        fs::write(&path, text).unwrap();
        let mut machine = Switch::isolated();
        let error =
            reconcile(&mut machine, dir.path(), Timestamp(0), Duration::ZERO).unwrap_err().to_string();
        assert!(error.contains(says) && error.contains(path.to_str().unwrap()), "{error}");
        assert_eq!((machine.is_isolated(), machine.switched), (true, 0));
        assert!(mark_released(dir.path(), &ISOLATION, Timestamp(0), "root").is_err(), "a person hears of it");
        assert_eq!(fs::read_to_string(dir.path().join("isolation.json.damaged")).unwrap(), text);
        assert_eq!(load(dir.path(), &ISOLATION).unwrap(), None);
    }
}

#[test]
fn what_cannot_be_written_is_said_and_the_old_record_stays() {
    let dir = tempfile::tempdir().unwrap();
    save(dir.path(), &record()).unwrap();
    // A folder in the way of the temporary file: fails for root too.
    fs::create_dir(dir.path().join("isolation.json.new")).unwrap();
    let error = save(dir.path(), &Record { reason: "other".into(), ..record() }).unwrap_err();
    assert!(error.to_string().contains("check the disk's space"), "{error}");
    assert_eq!(load(dir.path(), &ISOLATION).unwrap(), Some(record()));
    // And the release still has its effect.
    mark_released(dir.path(), &ISOLATION, Timestamp(HOUR), "root").unwrap();
    assert_eq!(load(dir.path(), &ISOLATION).unwrap(), None);
}

proptest! {
    #[test]
    fn hostile_files_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let dir = tempfile::tempdir().unwrap();
        fs::write(file(dir.path()), bytes).unwrap();
        let _ = load(dir.path(), &ISOLATION);
        let _ = mark_released(dir.path(), &ISOLATION, Timestamp(0), "root");
        prop_assert!(load(dir.path(), &ISOLATION).unwrap().is_none_or(|r| r.released.is_some()));
    }
}

fn process(pid: u32) -> ProcessKey {
    ProcessKey { boot: BootId(1), start_ticks: 9, pid }
}

fn measure(choice: u8) -> Measure {
    match choice % 5 {
        0 => record().measure,
        1 => Measure::EastWest(EastWestSpec::default()),
        2 => Measure::Logons(LogonSpec { except: vec!["oncall".into()] }),
        pid => Measure::Process(ProcessSpec { process: process(u32::from(pid)), descendants: vec![] }),
    }
}

#[test]
fn each_containment_has_a_file_of_its_own_that_only_it_can_fill() {
    let dir = tempfile::tempdir().unwrap();
    let mut all: Vec<Rung> = (0..5).map(|choice| measure(choice).rung()).collect();
    for choice in 0..5 {
        save(dir.path(), &Record { measure: measure(choice), ..record() }).unwrap();
    }
    all.sort_unstable();
    assert_eq!(record::recorded(dir.path()), all);
    assert_eq!(record::going_on(dir.path(), Timestamp(HOUR)).len(), 5);
    for rung in &all {
        let read = load(dir.path(), rung).unwrap().unwrap();
        assert_eq!((read.rung(), &read.reason), (*rung, &record().reason));
    }
    fs::copy(file(dir.path()), dir.path().join("east-west.json")).unwrap();
    assert!(load(dir.path(), &Rung::EastWest).unwrap_err().to_string().contains("damaged"));
    // What was done about a process is not kept for ever.
    for pid in [3, 4] {
        mark_released(dir.path(), &Rung::Process(process(pid)), Timestamp(HOUR), "bob").unwrap();
    }
    assert_eq!(record::recorded(dir.path()).len(), 3);
}

/// Whatever was contained is no more: the record ends, and says why.
#[test]
fn a_containment_of_what_is_gone_ends() {
    struct Gone(usize);
    impl Responder for Gone {
        fn never_kill(&mut self, _: Vec<String>) {}
        fn kill_tree(&mut self, target: &ProcessKey, _: &[ProcessKey]) -> Result<KillReport, KillError> {
            Err(KillError::Gone(*target))
        }
        fn contain(&mut self, _: &Measure) -> Result<Contained, ContainError> {
            panic!("there is nothing to contain");
        }
        fn release(&mut self, _: &Rung) -> Result<bool, ContainError> {
            self.0 += 1;
            Ok(false)
        }
        fn holds(&mut self, _: &Measure) -> Result<Holds, ContainError> {
            Ok(Holds::Over("it has ended".into()))
        }
        fn cut_processes(&mut self) -> Vec<ProcessKey> {
            Vec::new()
        }
    }
    let dir = tempfile::tempdir().unwrap();
    save(dir.path(), &Record { measure: measure(3), ..record() }).unwrap();
    let (mut machine, mut keeper) = (Gone(0), Keeper::new(dir.path()));
    let done = keeper.check(&mut machine, Timestamp(HOUR + 1), 0);
    assert!(done.iter().any(|(_, done)| matches!(done, Ok(Reconciled::Released))), "{done:?}");
    assert!(machine.0 > 0, "remains are removed");
    assert_eq!(record::recorded(dir.path()), []);
}

/// What can happen between two looks at the records.
#[derive(Clone, Debug)]
enum Happens {
    /// Somebody orders, for so many seconds.
    Order(u8, u16),
    Lift(u8),
    /// At the machine, without the agent: the record is marked, then the kernel changed.
    Local(u8),
    /// Somebody takes it out of the kernel.
    Tamper(u8),
    /// The agent starts anew; the machine does, too.
    Restart,
    Reboot,
    /// Time goes on; the calendar is set.
    Pass(u16),
    SetClock(i32),
}

fn happens() -> impl Strategy<Value = Happens> {
    prop_oneof![
        4 => (any::<u8>(), 60u16..7200).prop_map(|(what, s)| Happens::Order(what, s)),
        2 => any::<u8>().prop_map(Happens::Lift),
        1 => any::<u8>().prop_map(Happens::Local),
        1 => any::<u8>().prop_map(Happens::Tamper),
        1 => Just(Happens::Restart),
        1 => Just(Happens::Reboot),
        8 => (0u16..1000).prop_map(Happens::Pass),
        1 => (-100_000i32..100_000).prop_map(Happens::SetClock),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// After each look the kernel is what the records say; and nothing lasts longer than it was ordered for, a look apart
    /// and what each restart may forget, whatever becomes of the calendar.
    #[test]
    fn the_kernel_follows_the_records_and_everything_ends(script in proptest::collection::vec(happens(), 1..30)) {
        let dir = tempfile::tempdir().unwrap();
        let (mut machine, mut keeper) = (Switch::default(), Keeper::new(dir.path()));
        let (mut boot_s, mut calendar_s, mut starts) = (0u64, 1_000_000i64, 0u64);
        // By rung: when it began by the clock that nobody sets, how long it may last, how many starts there had been.
        let mut ordered: BTreeMap<Rung, (u64, u64, u64)> = BTreeMap::new();
        for event in script {
            let now = Timestamp(calendar_s * 1000);
            match event {
                Happens::Order(what, for_s) => {
                    let measure = measure(what);
                    ordered.insert(measure.rung(), (boot_s, u64::from(for_s), starts));
                    let record = Record::new(now, now.plus(Duration::from_secs(for_s.into())), measure);
                    keeper.contain(&mut machine, &record, boot_s * 1_000_000_000).unwrap();
                }
                Happens::Lift(what) => {
                    let rung = measure(what).rung();
                    keeper.lift(&mut machine, &rung, now, "bob").unwrap();
                    prop_assert!(!machine.on.contains_key(&rung));
                    ordered.remove(&rung);
                }
                Happens::Local(what) => {
                    let rung = measure(what).rung();
                    mark_released(dir.path(), &rung, now, "root").unwrap();
                    machine.release(&rung).unwrap();
                    ordered.remove(&rung);
                }
                Happens::Tamper(what) => {
                    machine.on.remove(&measure(what).rung());
                }
                Happens::Restart => {
                    keeper = Keeper::new(dir.path());
                    starts += 1;
                }
                Happens::Reboot => {
                    (machine, keeper) = (Switch::default(), Keeper::new(dir.path()));
                    starts += 1;
                }
                Happens::Pass(s) => {
                    // Looks come every few seconds; here every thirty.
                    for _ in 0..s / 30 {
                        (boot_s, calendar_s) = (boot_s + 30, calendar_s + 30);
                        let done = keeper.check(&mut machine, Timestamp(calendar_s * 1000), boot_s * 1_000_000_000);
                        prop_assert!(done.iter().all(|(_, done)| done.is_ok()));
                    }
                }
                Happens::SetClock(s) => calendar_s += i64::from(s),
            }
            let done = keeper.check(&mut machine, Timestamp(calendar_s * 1000), boot_s * 1_000_000_000);
            prop_assert!(done.iter().all(|(_, done)| done.is_ok()));
            let recorded: BTreeMap<Rung, Measure> = record::going_on(dir.path(), Timestamp(calendar_s * 1000))
                .into_iter()
                .map(|r| (r.rung(), r.measure))
                .collect();
            prop_assert_eq!(&machine.on, &recorded);
            for rung in machine.on.keys() {
                let (since, term, before) = ordered[rung];
                let forgotten = (starts - before + 1) * (SAVE_EVERY.as_secs() + 60);
                prop_assert!(boot_s - since <= term + forgotten, "{} lasts {} s of {}", rung, boot_s - since, term);
            }
        }
    }
}
