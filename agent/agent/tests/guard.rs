//! The guard against a machine that notes what is done to it: who may kill, who may order, and what is recorded.
#![allow(clippy::unwrap_used)] // Helpers of tests, which clippy takes for code.

mod bench;

use std::sync::atomic::Ordering;
use std::time::Duration;
use wardline_agent::enrol::store_policy;
use wardline_agent::guard::Encryptor;
use wardline_agent::known_hubs::KnownHubs;
use wardline_agent::outbox::Lane;
use wardline_agent::state::StateDir;
use wardline_event::{ActionState, BootId, Disposition, ProcessKey, ProcessOp, Severity, Stopped, Timestamp};
use wardline_policy::{DeviceClass, DevicePolicy, Mode, Rung};
use wardline_respond::Measure;
use wardline_wire::CommandSigner;
use wardline_wire::proto::command::Kind;
use wardline_wire::proto::{
    Authority, Command, Contain, Isolate, KillProcess, Lift, Reach, Release, SetPolicy, SignedCommand,
};

use bench::*;

#[test]
fn a_rule_kills_only_where_policy_says_so_and_always_says_what_it_did() {
    use DeviceClass::{Clinical, Workstation};
    for (mode, class, killed, disposition, words) in [
        (
            Mode::Protect,
            Workstation,
            vec![30, 31],
            Disposition::Stopped,
            "killed 2 processes: /tmp/evil (pid 30)",
        ),
        (Mode::Monitor, Workstation, vec![], Disposition::WouldAct, "would have been killed"),
        (Mode::Protect, Clinical, vec![], Disposition::Withheld, "a person must decide"),
    ] {
        let mut bench = Bench::new(&policy(mode, class));
        bench.process(ProcessOp::Found, 10, 1, "bash");
        bench.process(ProcessOp::Exec, 30, 10, "harmless");
        // A child that was there before the process turned evil belongs to its tree.
        bench.process(ProcessOp::Fork, 31, 30, "");
        bench.process(ProcessOp::Exec, 30, 10, "be evil");
        assert_eq!(bench.hands.0.lock().unwrap().killed, killed);

        let findings = bench.findings();
        assert_eq!(findings.len(), 1, "one finding for one match");
        let finding = &findings[0];
        assert_eq!(finding.action.disposition, disposition);
        assert!(finding.action.detail.contains(words), "{}", finding.action.detail);
        assert_eq!(finding.action.by, "rule Evil runs");
        assert_eq!(finding.ancestors[0].key.pid, 10);
        assert_eq!(finding.matched[0].field, "CommandLine");
        assert!(finding.rule.source.contains("title: Evil runs"));

        let counters = bench.heartbeat().counters.unwrap();
        assert_eq!((counters.kept_local, counters.spooled, counters.findings), (1, 3, 1));
        assert_eq!(bench.drain(Lane::Telemetry).len(), 3, "what is counted as spooled is in the spool");
    }
}

#[test]
fn a_correlation_is_a_finding_of_its_own_and_its_rules_are_none() {
    let mut bench = Bench::new(&policy(Mode::Protect, DeviceClass::Workstation));
    assert_eq!(bench.heartbeat().rules_loaded, 11);
    for pid in [40, 41] {
        bench.process(ProcessOp::Exec, pid, 10, "guess a password");
    }
    // The calendar may be set back; what counts is the time since boot.
    bench.clock.0.store(5, Ordering::Relaxed);
    bench.clock.1.store(-86_400, Ordering::Relaxed);
    assert_eq!(bench.findings(), []);
    for pid in [42, 43] {
        bench.process(ProcessOp::Exec, pid, 10, "guess a password");
    }
    let findings = bench.findings();
    assert_eq!(findings.len(), 1, "once, though the guessing goes on");
    let finding = &findings[0];
    assert_eq!((finding.rule.title.as_str(), finding.event.process().key.pid), ("Guessing", 42));
    assert_eq!(finding.action.disposition, Disposition::Stopped);
    assert_eq!(bench.hands.0.lock().unwrap().killed, [42]);
    let why: Vec<_> = finding.matched.iter().map(|m| (m.selection.as_str(), m.value.as_str())).collect();
    assert_eq!(why, [("event_count", "3"), ("group-by", "/tmp/evil")]);
}

#[test]
fn a_correlation_whose_time_is_over_is_found_without_another_event() {
    let mut bench = Bench::new(&policy(Mode::Protect, DeviceClass::Workstation));
    bench.process(ProcessOp::Exec, 50, 10, "probe");
    for (seconds, expected) in [(5, vec![]), (11, vec![]), (13, vec![50]), (30, vec![])] {
        bench.clock.0.store(seconds, Ordering::Relaxed);
        bench.guard.tick();
        let pids: Vec<u32> = bench.findings().iter().map(|f| f.event.process().key.pid).collect();
        assert_eq!(pids, expected, "after {seconds} s");
    }
}

#[test]
fn a_rule_that_counts_kills_when_it_has_counted() {
    let mut bench = Bench::new(&policy(Mode::Protect, DeviceClass::Workstation));
    for (pid, killed) in [(40, vec![]), (41, vec![]), (42, vec![42]), (43, vec![42])] {
        bench.process(ProcessOp::Exec, pid, 10, "knock");
        assert_eq!(bench.hands.0.lock().unwrap().killed, killed);
    }
    let titles: Vec<_> = bench.findings().into_iter().map(|f| f.rule.title).collect();
    assert_eq!(titles, ["Counted as Sigma 1 does"]);
}

#[test]
fn what_correlations_give_up_travels_with_the_heartbeat() {
    let mut bench = Bench::new(&policy(Mode::Protect, DeviceClass::Workstation));
    for (seconds, lost) in [(100, 0), (99, 0), (90, 1), (101, 1), (50, 2)] {
        bench.clock.0.store(seconds, Ordering::Relaxed);
        bench.process(ProcessOp::Exec, 50, 10, "probe");
        assert_eq!(bench.heartbeat().counters.unwrap().correlation_lost, lost, "at {seconds} s");
    }
}

/// However much of other correlations lies between the event and the end of its window.
#[test]
fn a_correlation_whose_time_is_over_names_its_process_after_a_flood() {
    let mut bench = Bench::new(&policy(Mode::Protect, DeviceClass::Workstation));
    bench.process(ProcessOp::Exec, 50, 10, "probe");
    for _ in 0..1500 {
        bench.process(ProcessOp::Exec, 60, 10, "guess a password");
    }
    bench.findings();
    bench.clock.0.store(13, Ordering::Relaxed);
    bench.guard.tick();
    let findings = bench.findings();
    assert_eq!(findings.len(), 1);
    let (finding, process) = (&findings[0], findings[0].event.process());
    assert_eq!(finding.rule.title, "A single probe");
    assert_eq!((process.key.pid, process.image.as_str()), (50, "/tmp/evil"));
    assert_eq!((process.command_line.as_str(), finding.event.time), ("probe", Timestamp(NOW)));
}

#[test]
fn an_order_is_carried_out_once_however_often_it_arrives() {
    let mut bench = Bench::new(&policy(Mode::Protect, DeviceClass::Workstation));
    let kind = Kind::Isolate(Isolate { for_s: 600 });
    let updates = bench.order("a1", kind.clone());
    assert_eq!(states(&updates), [ActionState::InProgress, ActionState::Succeeded]);
    assert!(updates[1].detail.contains("only the hub stays reachable"), "{}", updates[1].detail);
    assert_eq!(bench.heartbeat().isolation.unwrap().action_id, "a1");

    // Again, and after a restart: answered, not repeated.
    assert_eq!(states(&bench.order("a1", kind.clone())), [ActionState::Succeeded]);
    bench.restart();
    assert_eq!(states(&bench.order("a1", kind)), [ActionState::Succeeded]);
    assert_eq!(bench.hands.0.lock().unwrap().isolations, 1);

    // A damaged list costs the memory, not the agent.
    let (list, damaged) =
        (bench.dir.path().join("orders.json"), bench.dir.path().join("orders.json.damaged"));
    std::fs::write(&list, "torn").unwrap();
    bench.restart();
    assert!(!list.exists() && std::fs::read(&damaged).unwrap() == b"torn");

    assert_eq!(
        states(&bench.order("a2", Kind::Release(Release {}))),
        [ActionState::InProgress, ActionState::Succeeded]
    );
    assert!(!bench.hands.0.lock().unwrap().isolated);
    assert_eq!(bench.heartbeat().isolation, None);
}

#[test]
fn an_isolation_keeps_the_hub_where_it_is_now_and_is_refused_where_nobody_knows() {
    let mut bench = Bench::new(&policy(Mode::Protect, DeviceClass::Workstation));
    // It has moved since the start.
    let (before, now) = (([192, 0, 2, 1], 8701).into(), ([192, 0, 2, 9], 8701).into());
    bench.hubs.reached(now);
    bench.order("a1", Kind::Isolate(Isolate { for_s: 600 }));
    assert_eq!(bench.hands.0.lock().unwrap().hubs, [now, before]);

    bench.hubs = KnownHubs::default();
    bench.restart();
    let updates = bench.order("a2", Kind::Isolate(Isolate { for_s: 600 }));
    assert_eq!(states(&updates), [ActionState::InProgress, ActionState::Failed]);
    assert!(updates[1].detail.contains("no address of the hub is known"), "{}", updates[1].detail);
    assert_eq!(bench.hands.0.lock().unwrap().isolations, 1);
}

#[test]
fn an_isolation_survives_a_reboot_and_ends_in_time() {
    let mut bench = Bench::new(&policy(Mode::Protect, DeviceClass::Workstation));
    bench.order("a1", Kind::Isolate(Isolate { for_s: 600 }));
    // A reboot empties the kernel's tables.
    bench.hands.0.lock().unwrap().isolated = false;
    bench.restart();
    assert!(bench.hands.0.lock().unwrap().isolated, "isolated again at the start");
    bench.clock.0.fetch_add(599, Ordering::Relaxed);
    bench.guard.tick();
    assert!(bench.hands.0.lock().unwrap().isolated);
    bench.clock.0.fetch_add(10, Ordering::Relaxed);
    bench.guard.tick();
    assert!(!bench.hands.0.lock().unwrap().isolated, "the hub need not be there for it to end");
}

#[test]
fn what_may_not_be_obeyed_is_refused_and_said() {
    let mut bench = Bench::new(&policy(Mode::Protect, DeviceClass::Workstation));
    let isolate = Kind::Isolate(Isolate { for_s: 600 });

    let updates = bench.order("long", Kind::Isolate(Isolate { for_s: 7200 }));
    assert_eq!(states(&updates), [ActionState::Failed]);
    assert!(
        updates[0].detail.contains("longer than this device's policy allows (3600 s)"),
        "{}",
        updates[0].detail
    );

    let expired = Command { issued_ms: NOW - 9000, ..command("late", NOW - 1, isolate.clone()) };
    bench.guard.on_command(&bench.signer.sign(&expired));
    let updates = bench.updates();
    assert_eq!((updates[0].action_id.as_str(), updates[0].state), ("late", ActionState::Failed));
    assert!(updates[0].detail.contains("expired at"), "{}", updates[0].detail);

    let other_hub =
        CommandSigner::from_seed(&[8; 32]).sign(&command("forged", NOW + 600_000, isolate.clone()));
    bench.guard.on_command(&other_hub);
    let other_device = Command { device_id: vec![9; 16], ..command("astray", NOW + 600_000, isolate) };
    bench.guard.on_command(&bench.signer.sign(&other_device));
    bench.guard.on_command(&SignedCommand::default());
    assert_eq!(bench.updates(), [], "a stranger gets no answer");
    assert_eq!(bench.hands.0.lock().unwrap().isolations, 0);
}

#[test]
fn the_device_asks_its_own_policies_and_tells_what_it_refused() {
    let mut bench = Bench::new(&policy(Mode::Protect, DeviceClass::Clinical));
    let isolate = Kind::Isolate(Isolate { for_s: 600 });
    let own = |approved_by| authority(approved_by);
    let changed = |change: &dyn Fn(&mut Authority)| {
        let mut authority = own(Some("clinical_engineer"));
        change(&mut authority);
        Some(authority)
    };
    let glass = |a: &mut Authority| {
        (a.basis, a.approvals) = ("break_glass".into(), Vec::new());
        a.requester.as_mut().unwrap().role = "on_call_manager".into();
    };
    let last = |a: &mut Authority| a.reach = Some(Reach { last_of_type: "yes".into(), ..Reach::default() });
    for (n, (given, refusal)) in [
        (None, "needs approval by a second person (patients depend on this device); the hub did not say who agreed"),
        (Some(own(None)), "needs approval by a second person"),
        (Some(own(Some("responder"))), "needs approval by a second person"),
        (changed(&|a| a.approvals[0].name = "A. Analyst".into()), "needs approval by a second person"),
        (changed(&|a| a.requester = None), "does not say who asked"),
        (changed(&|a| a.requester.as_mut().unwrap().role = "analyst".into()), "do not permit you, as analyst"),
        (changed(&|a| a.requester.as_mut().unwrap().role = "wizard".into()), "`wizard` is no role"),
        (changed(&|a| a.basis = "magic".into()), "is the hub newer?"),
        (changed(&|a| { a.requester.as_mut().unwrap().from_above = true; a.approvals[0].from_above = true; }), "own organisation"),
        (changed(&|a| { last(a); a.approvals[0].role = "trust_lead".into(); }), "a clinical engineer"),
        (changed(&|a| { glass(a); last(a); }), "a clinical engineer"),
        (changed(&|a| { glass(a); a.requester.as_mut().unwrap().role = "responder".into(); }), "as responder, to break glass"),
        (changed(&last), ""),
        (changed(&glass), ""),
    ]
    .into_iter()
    .enumerate()
    {
        let order = Command { authority: given, ..command(&format!("a{n}"), NOW + 600_000, isolate.clone()) };
        bench.guard.on_command(&bench.signer.sign(&order));
        let updates = bench.updates();
        if refusal.is_empty() {
            assert_eq!(states(&updates), [ActionState::InProgress, ActionState::Succeeded], "{n}: {updates:?}");
        } else {
            assert_eq!(states(&updates), [ActionState::Failed], "{n}");
            let detail = &updates[0].detail;
            assert!(detail.starts_with("refused: ") && detail.contains(refusal), "{n}: {detail}");
        }
    }
    assert_eq!(bench.hands.0.lock().unwrap().isolations, 2);
    // Whoever was contained is released without anybody's agreement, by a hub of before too.
    let release = Command { authority: None, ..command("r", NOW + 600_000, Kind::Release(Release {})) };
    bench.guard.on_command(&bench.signer.sign(&release));
    assert_eq!(states(&bench.updates()), [ActionState::InProgress, ActionState::Succeeded]);
}

#[test]
fn the_next_key_is_learnt_kept_and_the_one_before_refused_in_time() {
    let mut bench = Bench::new(&policy(Mode::Protect, DeviceClass::Workstation));
    let (first, second) = (bench.signer.key(), CommandSigner::from_seed(&[5; 32]));
    assert_eq!(bench.heartbeat().command_key, first.0);
    let forged =
        CommandSigner::from_seed(&[8; 32]).name_next(second.key(), Timestamp(NOW + 60_000), Timestamp(NOW));
    bench.guard.on_command(&forged);
    assert_eq!(bench.heartbeat().command_key, first.0, "named by a stranger");
    let told = bench.signer.name_next(second.key(), Timestamp(NOW + 60_000), Timestamp(NOW));
    bench.guard.on_command(&told);
    assert_eq!(bench.heartbeat().command_key, second.key().0);
    // It is kept, and the policy that the first one signed is still in force.
    bench.restart();
    assert_eq!(bench.heartbeat().command_key, second.key().0);
    assert_eq!(bench.guard.policy().mode, Mode::Protect);
    let release =
        |id: &str, by: &CommandSigner| by.sign(&command(id, NOW + 600_000, Kind::Release(Release {})));
    for (id, by) in [("new", &second), ("old", &bench.signer)] {
        bench.guard.on_command(&release(id, by));
        assert_eq!(states(&bench.updates()), [ActionState::InProgress, ActionState::Succeeded], "{id}");
    }
    bench.clock.0.fetch_add(61, Ordering::Relaxed);
    bench.guard.on_command(&release("late", &bench.signer));
    let updates = bench.updates();
    assert_eq!(states(&updates), [ActionState::Failed]);
    assert!(updates[0].detail.contains("signed with a key that this hub replaced"), "{}", updates[0].detail);
    bench.guard.on_command(&told);
    assert_eq!(bench.heartbeat().command_key, second.key().0, "told again");
    bench.guard.on_command(&release("new2", &second));
    assert_eq!(states(&bench.updates()), [ActionState::InProgress, ActionState::Succeeded]);
}

#[test]
fn a_person_kills_a_process_and_the_rule_obeys_a_new_policy_at_once() {
    let mut bench = Bench::new(&policy(Mode::Monitor, DeviceClass::Workstation));
    bench.process(ProcessOp::Exec, 30, 10, "be evil");
    let finding = bench.findings().remove(0);
    let kill = Kind::KillProcess(KillProcess { process_key: finding.event.process().key.to_string() });
    let updates = bench.order("k1", kill);
    assert_eq!(states(&updates), [ActionState::InProgress, ActionState::Succeeded]);
    assert_eq!(bench.hands.0.lock().unwrap().killed, [30]);

    let protect = DevicePolicy {
        never_kill: vec!["/opt/pacs/viewer".into()],
        ..policy(Mode::Protect, DeviceClass::Server)
    };
    let set = Kind::SetPolicy(SetPolicy { policy_json: protect.to_json() });
    bench.guard.on_command(&bench.signer.sign(&command("p1", 0, set)));
    assert_eq!(states(&bench.updates()), [ActionState::Succeeded]);
    assert_eq!(bench.hands.0.lock().unwrap().never_kill, ["/opt/pacs/viewer"]);
    bench.process(ProcessOp::Exec, 40, 10, "be evil again");
    assert_eq!(bench.findings()[0].action.disposition, Disposition::Stopped);

    // It holds after a restart, without the hub, even if the clock has lost years meanwhile.
    for later_s in [0, -10 * 365 * 86_400] {
        bench.clock.1.store(later_s, Ordering::Relaxed);
        bench.restart();
        assert_eq!(bench.guard.policy(), &protect);
    }
    // Whose it is, is still checked.
    let set = Kind::SetPolicy(SetPolicy { policy_json: protect.to_json() });
    let forged = CommandSigner::from_seed(&[8; 32]).sign(&command("", 0, set.clone()));
    let astray = bench.signer.sign(&Command { device_id: vec![9; 16], ..command("", 0, set) });
    for stranger in [forged, astray] {
        store_policy(&StateDir::open(bench.dir.path()).unwrap(), &stranger).unwrap();
        bench.restart();
        assert_eq!(bench.guard.policy().mode, Mode::Monitor);
    }
}

#[test]
fn the_account_of_events_is_about_events() {
    let mut bench = Bench::new(&policy(Mode::Protect, DeviceClass::Workstation));
    bench.process(ProcessOp::Exec, 30, 10, "be evil");
    let account = |bench: &Bench| {
        let c = bench.heartbeat().counters.unwrap();
        (c.spooled, c.spool_dropped, c.waiting, c.findings)
    };
    // In memory, on disk, and with the hub; the finding is none of it.
    assert_eq!(account(&bench), (1, 0, 1, 1));
    bench.outbox.write(Duration::ZERO);
    assert_eq!(account(&bench), (1, 0, 1, 1));
    bench.drain(Lane::Telemetry);
    assert_eq!(account(&bench), (1, 0, 0, 1));
    assert!(bench.outbox.waiting() > 0, "the finding still waits");

    // More than the queue holds: what is too much is dropped, at once and after it was written.
    for _ in 0..20_000 {
        bench.process(ProcessOp::Exec, 31, 10, "harmless");
    }
    let queued = account(&bench);
    bench.outbox.write(Duration::ZERO);
    assert_eq!(account(&bench), queued);
    let (spooled, dropped, waiting, _) = queued;
    assert!(dropped > 0 && spooled == 1 + dropped + waiting, "{queued:?}");
}

#[test]
fn the_time_served_counts_at_once_and_is_noted_once_a_minute() {
    let mut bench = Bench::new(&policy(Mode::Protect, DeviceClass::Workstation));
    bench.clock.0.fetch_add(300, Ordering::Relaxed);
    bench.guard.tick();
    bench.order("a1", Kind::Isolate(Isolate { for_s: 100 }));
    let served = |bench: &Bench| {
        let record = wardline_respond::record::load(bench.dir.path(), &Rung::Isolation);
        record.unwrap().unwrap().served_ms
    };
    // The calendar is set back again and again: it will never say that the time is over.
    for (seconds, noted, isolated) in
        [(30, 0, true), (25, 0, true), (5, 60_000, true), (35, 60_000, true), (5, 60_000, false)]
    {
        bench.clock.0.fetch_add(seconds, Ordering::Relaxed);
        bench.clock.1.fetch_sub(seconds as i64, Ordering::Relaxed);
        bench.guard.tick();
        assert_eq!(served(&bench), noted, "after {seconds} s more");
        assert_eq!(bench.hands.0.lock().unwrap().isolated, isolated);
    }
}

#[test]
fn an_encryptor_is_killed_only_where_policy_says_so() {
    use DeviceClass::{Clinical, Workstation};
    for (mode, class, killed, disposition) in [
        (Mode::Protect, Workstation, vec![30, 77], Disposition::Stopped),
        (Mode::Monitor, Workstation, vec![], Disposition::WouldAct),
        (Mode::Protect, Clinical, vec![], Disposition::Withheld),
    ] {
        let mut bench = Bench::new(&policy(mode, class));
        bench.process(ProcessOp::Exec, 30, 10, "be quiet");
        let key = |pid| ProcessKey::new(BootId(1), u64::from(pid) * 1_000_000_000, pid);
        let case = Encryptor {
            root: key(30),
            others: vec![key(77)],
            signs: vec!["4 files replaced".into()],
            files: vec!["/home/a/x.docx".into()],
            boot_ns: 0,
            copies: 1,
        };
        assert_eq!(bench.guard.may_kill(), !killed.is_empty());
        let judged = bench.guard.on_encryptor(&case);
        assert_eq!(judged.killed, !killed.is_empty(), "{mode:?} {class:?}");
        assert_eq!(bench.hands.0.lock().unwrap().killed, killed);
        let findings = bench.findings();
        assert_eq!(findings.len(), 1);
        assert_eq!((findings[0].action.disposition, findings[0].severity), (disposition, Severity::Critical));
        assert_eq!(findings[0].event.process().key, key(30));
        let said: Vec<&str> = findings[0].matched.iter().map(|m| m.value.as_str()).collect();
        let undo = format!("1 files; give them back with: sudo wardline agent undo {}", judged.finding);
        assert_eq!(said, ["4 files replaced", "/home/a/x.docx", undo.as_str()]);
        assert_eq!(findings[0].id.to_string(), judged.finding);
    }
}

/// Each rung, ordered and undone: by policy, with its end, told in the heartbeat, in force again after a reboot.
#[test]
fn each_rung_is_ordered_kept_told_and_undone() {
    let flow = serde_json::json!({"name": "Images", "reason": "reporting", "direction": "out", "protocol": "tcp",
                                  "peer": "10.1.2.3", "ports": "104"});
    let laid_down = DevicePolicy {
        keep_flows: vec![serde_json::from_value(flow).unwrap()],
        break_glass: vec!["oncall".into()],
        ..policy(Mode::Protect, DeviceClass::Clinical)
    };
    let mut bench = Bench::new(&laid_down);
    bench.process(ProcessOp::Exec, 30, 10, "be quiet");
    bench.process(ProcessOp::Exec, 31, 30, "be quiet");
    let key = ProcessKey::new(BootId(1), 30_000_000_000, 30);
    for (n, (rung, says)) in [
        (Rung::EastWest, "SMB, RDP, SSH and WinRM are cut, but for the hub and what is kept (Images)"),
        (Rung::Logons, "new logons are refused; root can log on"),
        (Rung::Process(key), "process 30 and what it starts have no network"),
    ]
    .into_iter()
    .enumerate()
    {
        let contain = |for_s| Kind::Contain(Contain { rung: rung.to_string(), for_s });
        let long = bench.order(&format!("long{n}"), contain(3601));
        assert_eq!(states(&long), [ActionState::Failed]);
        assert!(long[0].detail.contains("longer than this device's policy allows"), "{}", long[0].detail);

        let on = bench.order(&format!("on{n}"), contain(600));
        assert_eq!(states(&on), [ActionState::InProgress, ActionState::Succeeded], "{}", on[1].detail);
        assert!(on[1].detail.contains(says), "{}", on[1].detail);
        let told = bench.heartbeat().containments;
        assert_eq!((told.len(), told[0].rung.clone()), (1, rung.to_string()));
        assert_eq!((told[0].action_id.clone(), told[0].by.as_str()), (format!("on{n}"), "A. Analyst"));
        assert_eq!((told[0].expires_ms - told[0].since_ms, told[0].reason.as_str()), (600_000, "it spreads"));

        // A reboot; of a simulated machine that keeps its processes.
        let measure = bench.hands.0.lock().unwrap().contained.remove(&rung).unwrap();
        match &measure {
            Measure::Process(spec) => assert_eq!(spec.descendants.len(), 1),
            Measure::Logons(spec) => assert_eq!(spec.except, ["oncall"]),
            other => assert_eq!(other.kept(), laid_down.keep_flows),
        }
        bench.restart();
        assert_eq!(bench.hands.0.lock().unwrap().contained.get(&rung), Some(&measure));

        let off = bench.order(&format!("off{n}"), Kind::Lift(Lift { rung: rung.to_string() }));
        assert_eq!((off[1].state, off[1].detail.as_str()), (ActionState::Succeeded, "released"));
        assert!(bench.hands.0.lock().unwrap().contained.is_empty());
        assert_eq!(bench.heartbeat().containments, []);
    }
    let odd = bench.order("odd", Kind::Contain(Contain { rung: "coffee".into(), for_s: 600 }));
    assert!(odd[0].detail.contains("`coffee` is no containment"), "{}", odd[0].detail);
}

#[test]
fn the_kernel_follows_rules_only_while_policy_lets_them_kill() {
    let mut bench = Bench::new(&policy(Mode::Monitor, DeviceClass::Workstation));
    let mut expected = vec![None];
    for (mode, class, follows) in [
        (Mode::Protect, DeviceClass::Server, true),
        (Mode::Protect, DeviceClass::Clinical, false),
        (Mode::Protect, DeviceClass::Server, true),
        (Mode::Monitor, DeviceClass::Server, false),
    ] {
        let set = Kind::SetPolicy(SetPolicy { policy_json: policy(mode, class).to_json() });
        bench.guard.on_command(&bench.signer.sign(&command("p", 0, set)));
        // That it follows none is in force when the policy is; tables are made first, once.
        if follows && expected.len() == 1 {
            expected.push(None);
        }
        expected.push(follows.then_some(wardline_sigma::verdict::TABLE_BYTES));
        let told = || bench.hands.0.lock().unwrap().tables.clone();
        let until = std::time::Instant::now() + Duration::from_mins(1);
        while follows && told() != expected && std::time::Instant::now() < until {
            std::thread::yield_now();
        }
        assert_eq!(told(), expected, "{mode:?} {class:?}");
    }
    bench.restart();
    expected.push(None);
    assert_eq!(bench.hands.0.lock().unwrap().tables, expected);
}

/// Also where the rule does not match, which no table lets happen: nothing is done silently.
#[test]
fn what_the_kernel_stopped_is_a_finding_that_says_so() {
    for (command_line, refused, killed, words) in [
        (
            "be evil",
            false,
            vec![30, 31],
            "stopped by the kernel before it ran; decided in 8 µs; killed 2 processes",
        ),
        ("be evil", true, vec![], "refused by the kernel: it did not run; decided in 8 µs"),
        ("harmless", true, vec![], "refused by the kernel"),
    ] {
        // What was killed under one policy is told under the next.
        let mut bench = Bench::new(&policy(Mode::Monitor, DeviceClass::Workstation));
        bench.process(ProcessOp::Exec, 30, 10, "quiet");
        bench.process(ProcessOp::Fork, 31, 30, "");
        bench.stopped(30, command_line, Stopped { refused, rule: 0, after_ns: 7_100 });
        assert_eq!(bench.hands.0.lock().unwrap().killed, killed);
        let findings = bench.findings();
        assert_eq!(findings.len(), 1);
        let action = &findings[0].action;
        assert_eq!((action.disposition, action.decided_after_us), (Disposition::Stopped, 7));
        assert!(action.detail.starts_with(words), "{}", action.detail);
        assert_eq!(findings[0].rule.title, "Evil runs");
    }
}
