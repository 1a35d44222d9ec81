//! What the guard makes of what its sensors tell it, and of what they say of themselves.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod bench;

use wardline_agent::outbox::Lane;
use wardline_event::{
    Digests, FileOp, Identity, Known, LogActivity, Login, Owner, SensorKind, SensorState, SensorStatus,
    Severity,
};
use wardline_policy::{DeviceClass, Mode};

use bench::*;

#[test]
fn what_a_sensor_lost_is_told_as_an_event_and_only_once() {
    let mut bench = Bench::new(&policy(Mode::Protect, DeviceClass::Workstation));
    let status = |produced, lost, undecoded| SensorStatus {
        kind: SensorKind::LinuxEbpf,
        state: SensorState::Live,
        produced,
        lost,
        undecoded,
    };
    for (produced, lost, undecoded) in [(10, 0, 0), (20, 4, 1), (30, 4, 1), (40, 7, 2)] {
        bench.guard.note_sensor(status(produced, lost, undecoded));
    }
    let told: Vec<_> =
        bench.drain(Lane::Telemetry).iter().map(|j| (j["count"].clone(), j["message"].clone())).collect();
    assert_eq!(
        told,
        [
            (4.into(), "sensor Linux eBPF lost 4 events".into()),
            (3.into(), "sensor Linux eBPF lost 3 events".into())
        ]
    );
    // The two events are accounted for like any other.
    let counters = bench.heartbeat().counters.unwrap();
    assert_eq!((counters.produced, counters.spooled), (42, 2));
    assert_eq!((counters.kernel_lost, counters.decode_lost), (5, 2));
}

#[test]
fn files_that_no_rule_knows_stay_on_the_device() {
    let mut bench = Bench::new(&policy(Mode::Protect, DeviceClass::Workstation));
    bench.file(FileOp::Create, "/etc/harmless");
    bench.file(FileOp::Delete, "/etc/cron.d/evil");
    bench.file(FileOp::Create, "/etc/cron.d/evil");
    let counters = bench.heartbeat().counters.unwrap();
    assert_eq!((counters.kept_local, counters.findings), (2, 1));
    // A name that came to be by renaming is a file event, too; the same process and rule are one finding.
    bench.file(FileOp::Rename, "/etc/cron.d/evil");
    let paths: Vec<_> = bench
        .drain(Lane::Telemetry)
        .iter()
        .map(|j| (j["activity_id"].clone(), j["file"]["path"].clone()))
        .collect();
    assert_eq!(paths, [(1.into(), "/etc/cron.d/evil".into()), (5.into(), "/tmp/x".into())]);
    assert_eq!(bench.findings().len(), 1);
}

#[test]
fn rules_for_the_audit_log_read_what_the_sensor_saw() {
    let mut bench = Bench::new(&policy(Mode::Protect, DeviceClass::Workstation));
    bench.file(FileOp::Update, "/etc/ld.so.preload");
    assert!(bench.findings().is_empty());
    bench.file(FileOp::Rename, "/etc/ld.so.preload");
    let findings = bench.findings();
    assert_eq!(findings.iter().map(|f| f.rule.title.as_str()).collect::<Vec<_>>(), ["Audited"]);
    let matched: Vec<_> = findings[0].matched.iter().map(|m| (m.field.as_str(), m.value.as_str())).collect();
    assert_eq!(matched, [("type", "PATH"), ("nametype", "CREATE"), ("name", "/etc/ld.so.preload")]);
}

#[test]
fn a_sensor_that_falls_silent_is_a_finding() {
    let mut bench = Bench::new(&policy(Mode::Protect, DeviceClass::Workstation));
    let degraded = |reason: &str| SensorState::Degraded { reason: reason.into() };
    let states = [
        (SensorKind::LinuxProcConnector, degraded("as always")),
        (SensorKind::LinuxFile, SensorState::Live),
        (SensorKind::LinuxFile, degraded("it is silent")),
        (SensorKind::LinuxFile, degraded("it is silent for longer")),
        (SensorKind::LinuxFile, SensorState::Live),
        (SensorKind::LinuxFile, SensorState::Off { reason: "gone".into() }),
    ];
    for (kind, state) in states {
        bench.guard.note_sensor(SensorStatus { kind, state, produced: 0, lost: 0, undecoded: 0 });
    }
    let details: Vec<_> = bench.findings().into_iter().map(|f| (f.severity, f.action.detail)).collect();
    let high = |detail: &str| (Severity::High, detail.to_owned());
    assert_eq!(details, [high("Linux eBPF, files: it is silent"), high("Linux eBPF, files: gone")]);
    assert_eq!(bench.heartbeat().counters.unwrap().findings, 2);
}

/// What a program wrote about who signs in is told; other lines only if a rule knows them.
#[test]
fn who_signs_in_is_told_and_other_lines_stay() {
    let mut bench = Bench::new(&policy(Mode::Protect, DeviceClass::Workstation));
    let line = |message: &str, login: Option<Login>| LogActivity {
        program: "sshd".into(),
        message: message.into(),
        is_vouched: true,
        login,
        ..LogActivity::default()
    };
    let login =
        |success, ip: &str| Login { success, user: "alice".into(), source_ip: ip.into(), ..Login::default() };
    bench.log(line("Server listening on 0.0.0.0 port 22.", None));
    bench.log(line("Accepted", Some(login(true, "192.0.2.7"))));
    bench.log(line("Failed", Some(login(false, "192.0.2.7"))));
    // In the name of sshd, by somebody else: no rule for its log believes it.
    let forged = LogActivity { is_vouched: false, ..line("Failed", Some(login(false, "192.0.2.9"))) };
    bench.log(forged);
    let counters = bench.heartbeat().counters.unwrap();
    assert_eq!((counters.kept_local, counters.findings), (1, 1));
    assert_eq!(bench.findings()[0].rule.title, "Refused from outside");
    let told = bench.drain(Lane::Telemetry);
    let ids: Vec<_> = told.iter().map(|j| (j["class_uid"].clone(), j["status_id"].clone())).collect();
    assert_eq!(ids, [(3002.into(), 1.into()), (3002.into(), 2.into()), (3002.into(), 2.into())]);
    assert_eq!(
        (&told[0]["user"]["name"], &told[0]["src_endpoint"]["ip"]),
        (&"alice".into(), &"192.0.2.7".into())
    );
}

/// What is found out later does not delay what needs it not, and comes to those that do with a second look.
#[test]
fn rules_for_hashes_have_a_second_look_when_the_hash_is_known() {
    let mut bench = Bench::new(&policy(Mode::Protect, DeviceClass::Workstation));
    let identity = |byte| Identity {
        digests: Known::Is(Digests { sha256: [byte; 32], md5: [byte; 16] }),
        size: Some(9),
        owner: Known::Is(Owner::Nobody),
    };
    // Killed at once for its command line; only then is it known what it was.
    let at_once = bench.exec(7, "evil", Identity::awaited());
    assert_eq!(bench.hands.0.lock().unwrap().killed, [7]);
    let later = bench.exec(8, "harmless", Identity::awaited());
    let known = bench.exec(9, "harmless", identity(0xbb));
    assert_eq!((bench.drain(Lane::Telemetry).len(), bench.heartbeat().counters.unwrap().waiting), (1, 2));
    assert_eq!(bench.findings().len(), 1);
    bench.guard.on_learned(later, identity(0xaa));
    bench.guard.on_learned(at_once, identity(0xcc));
    bench.guard.on_learned(known, identity(0xaa));
    assert_eq!(bench.hands.0.lock().unwrap().killed, [7, 8]);
    let findings = bench.findings();
    assert_eq!(findings.len(), 1, "no rule fires twice: {findings:?}");
    assert_eq!(findings[0].matched[0].field, "Hashes");
    assert_eq!(findings[0].event.id, later);
    let told = bench.drain(Lane::Telemetry);
    let hashes: Vec<_> = told.iter().map(|e| &e["process"]["file"]["hashes"][1]["value"]).collect();
    assert_eq!(hashes, [&"aa".repeat(32), &"cc".repeat(32)]);

    // Nobody waits for ever.
    bench.exec(10, "harmless", Identity::awaited());
    bench.clock.0.fetch_add(11, std::sync::atomic::Ordering::Relaxed);
    bench.guard.tick();
    let told = bench.drain(Lane::Telemetry);
    assert_eq!(told[0]["unmapped"]["launch"]["not_hashed"], "it took too long");
    bench.exec(11, "harmless", Identity::awaited());
    bench.guard.let_go_of_all();
    assert_eq!((bench.drain(Lane::Telemetry).len(), bench.heartbeat().counters.unwrap().waiting), (1, 0));
}
