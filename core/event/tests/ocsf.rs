//! Events and findings survive their JSON form; samples of each written version stay readable.

use proptest::prelude::*;
use serde_json::{Value, json};
use wardline_event::ocsf::{
    OcsfError, event_from_json, event_to_json, finding_from_json, finding_to_json, set_device,
};
use wardline_event::{
    ActionTaken, Body, BootId, CallActivity, DeviceId, Digests, Disposition, DnsActivity, Event, EventId,
    Fields, FileActivity, FileOp, Finding, Identity, Known, Launch, LogActivity, Login, MatchedField,
    NetworkActivity, NetworkOp, Owner, Process, ProcessActivity, ProcessKey, ProcessOp, RuleRef, SensorKind,
    SensorLoss, Severity, Stopped, Technique, Timestamp, User,
};

fn process() -> impl Strategy<Value = Process> {
    let text = || "\\PC{0,20}";
    (any::<(u128, u64, u32, u64, i64)>(), text(), text(), text(), text(), prop::option::of("[0-9a-f]{64}"))
        .prop_map(|((boot, start, pid, cgroup_id, started), image, command_line, cwd, user, container)| {
            Process {
                key: ProcessKey::new(BootId(boot), start, pid),
                image,
                command_line,
                cwd,
                user: User { uid: "1000".into(), name: user },
                container,
                cgroup_id,
                started: Timestamp(started),
            }
        })
}

fn identity() -> impl Strategy<Value = Identity> {
    let digests = prop_oneof![
        Just(Known::Unasked),
        any::<([u8; 32], [u8; 16])>().prop_map(|(sha256, md5)| Known::Is(Digests { sha256, md5 })),
        "\\PC{0,20}".prop_map(|why| Known::Not(why.into())),
    ];
    let owner = prop_oneof![
        Just(Known::Unasked),
        Just(Known::Is(Owner::Nobody)),
        ("\\PC{0,20}", "\\PC{0,20}", any::<Option<bool>>())
            .prop_map(|(name, version, intact)| Known::Is(Owner::Package { name, version, intact })),
        "\\PC{0,20}".prop_map(|why| Known::Not(why.into())),
    ];
    (digests, any::<Option<u64>>(), owner).prop_map(|(digests, size, owner)| Identity {
        digests,
        size,
        owner,
    })
}

fn launch() -> impl Strategy<Value = Box<Launch>> {
    let text = || "\\PC{0,20}";
    (
        prop::option::of(text()),
        any::<(bool, u32, Option<u32>, u64)>(),
        any::<Option<(bool, u64)>>(),
        identity(),
    )
        .prop_map(|(script, (unnamed, real_uid, login_uid, capabilities), stopped, identity)| {
            Box::new(Launch {
                args: Vec::new(),
                script,
                unnamed,
                real_uid: real_uid.to_string(),
                login_uid: login_uid.map(|uid| uid.to_string()),
                capabilities,
                stopped: stopped.map(|(refused, after_ns)| Stopped { refused, rule: 0, after_ns }),
                identity,
            })
        })
}

fn login() -> impl Strategy<Value = Login> {
    (any::<(bool, bool, u16)>(), prop::array::uniform6("\\PC{0,9}")).prop_map(
        |((is_logoff, success, source_port), [user, by, source_ip, terminal, method, command])| Login {
            is_logoff,
            success,
            user,
            by,
            source_ip,
            source_port,
            terminal,
            method,
            command,
        },
    )
}

fn event() -> impl Strategy<Value = Event> {
    use FileOp::{Change, Create, Delete, Link, Read, Rename, Update};
    use NetworkOp::{Listen, Open, Refuse};
    use ProcessOp::{Exec, Exit, Fork, Found};
    let body =
        prop_oneof![
            (
                prop::sample::select(vec![Fork, Exec, Exit, Found]),
                process(),
                prop::option::of(process()),
                any::<Option<i32>>(),
                prop::option::of(launch())
            )
                .prop_map(|(op, process, parent, exit_code, launch)| Body::Process(
                    ProcessActivity { op, process, parent, exit_code, launch }
                )),
            (
                prop::sample::select(vec![Create, Update, Delete, Change, Read]),
                "\\PC{1,20}",
                "\\PC{0,20}",
                process()
            )
                .prop_map(|(op, path, detail, actor)| Body::File(FileActivity {
                    op,
                    path,
                    old_path: None,
                    detail,
                    actor
                })),
            (prop::sample::select(vec![Rename, Link]), "\\PC{1,20}", "\\PC{1,20}", process()).prop_map(
                |(op, path, old, actor)| {
                    let (old_path, detail) = (Some(old), String::new());
                    Body::File(FileActivity { op, path, old_path, detail, actor })
                }
            ),
            (any::<(Vec<u64>, i64)>(), "\\PC{0,20}", process()).prop_map(
                |((args, result), detail, actor)| {
                    Body::Call(CallActivity { call: "ptrace".into(), args, result, detail, actor })
                }
            ),
            (prop::sample::select(vec![Open, Refuse, Listen]), any::<(bool, u16, u16)>(), process())
                .prop_map(|(op, (initiated, src_port, dst_port), actor)| Body::Network(NetworkActivity {
                    op,
                    actor,
                    protocol: "tcp".into(),
                    initiated,
                    src_ip: "10.0.0.7".into(),
                    src_port,
                    dst_ip: "fd00::1".into(),
                    dst_port,
                    dst_host: "files.example".into(),
                })),
            (any::<(bool, u8, u16)>(), "\\PC{0,20}", prop::collection::vec("\\PC{0,20}", 0..3), process())
                .prop_map(|((response, status, server_port), name, answers, actor)| Body::Dns(DnsActivity {
                    response,
                    actor,
                    name,
                    kind: "TXT".into(),
                    status,
                    answers,
                    server_ip: "192.0.2.53".into(),
                    server_port
                })),
            (prop::option::of(login()), any::<(Option<u8>, bool)>(), "\\PC{0,20}", process()).prop_map(
                |(login, (facility, is_vouched), message, actor)| Body::Log(LogActivity {
                    program: "sshd".into(),
                    message,
                    unit: "ssh.service".into(),
                    facility,
                    is_vouched,
                    login,
                    actor
                })
            ),
            (any::<(u64, u64)>(), process()).prop_map(|((lost, total), agent)| {
                Body::Loss(SensorLoss { sensor: SensorKind::LinuxEbpf, lost, total, agent })
            }),
        ];
    (any::<(u128, i64, bool)>(), body).prop_map(|((id, time, simulated), body)| Event {
        id: EventId(id),
        time: Timestamp(time),
        product: "linux".into(),
        simulated,
        body,
    })
}

fn finding(event: Event, ancestors: Vec<Process>) -> Finding {
    Finding {
        id: EventId(5),
        time: event.time,
        simulated: event.simulated,
        severity: Severity::High,
        rule: RuleRef {
            id: "b2a5".into(),
            title: "A title".into(),
            description: "What it means".into(),
            source: "title: A title\n".into(),
        },
        techniques: vec![Technique("T1059.004".into())],
        matched: vec![MatchedField {
            selection: "selection".into(),
            field: "CommandLine".into(),
            pattern: "contains '/dev/tcp/'".into(),
            value: "bash -c …".into(),
        }],
        event,
        ancestors,
        action: ActionTaken {
            disposition: Disposition::Stopped,
            action: "kill process tree".into(),
            by: "rule A title".into(),
            detail: "killed 1 process".into(),
            decided_after_us: 120,
            done_after_us: Some(900),
        },
    }
}

proptest! {
    #[test]
    fn events_survive(event in event()) {
        let text = event_to_json(&event).to_string();
        let json: Value = serde_json::from_str(&text).unwrap();
        prop_assert_eq!(event_from_json(&json), Ok(event));
    }

    #[test]
    fn findings_survive(event in event(), ancestors in prop::collection::vec(process(), 0..3)) {
        let finding = finding(event, ancestors);
        let mut json = finding_to_json(&finding);
        set_device(&mut json, DeviceId(1), "ward-pc");
        prop_assert_eq!(finding_from_json(&json), Ok(finding));
    }

    #[test]
    fn a_missing_attribute_is_an_error_not_a_panic(event in event(), which in any::<prop::sample::Index>()) {
        let mut json = event_to_json(&event);
        let object = json.as_object_mut().unwrap();
        let key = object.keys().nth(which.index(object.len())).unwrap().clone();
        object.insert(key, json!([null]));
        let _ = event_from_json(&json);
    }
}

/// Each file is a record as some version of Wardline wrote it. Never change one; add a new one instead.
#[test]
fn samples_of_written_versions_stay_readable() {
    let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/ocsf");
    let mut read = 0;
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let json: Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
        if json["class_uid"] == 2004 {
            let finding = finding_from_json(&json).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
            assert_eq!(finding_to_json(&finding), json, "{}", path.display());
        } else {
            let event = event_from_json(&json).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
            assert_eq!(event_to_json(&event), json, "{}", path.display());
        }
        read += 1;
    }
    assert!(read >= 2, "samples are missing in {dir}");
}

#[test]
fn the_sample_answers_to_sigma_names() {
    let text = include_str!("ocsf/v1-process-exec.json");
    let event = event_from_json(&serde_json::from_str(text).unwrap()).unwrap();
    let field = |name| event.field(name).and_then(|v| v.as_text().map(std::borrow::Cow::into_owned));
    assert_eq!(field("Image").as_deref(), Some("/usr/bin/bash"));
    assert_eq!(field("ParentImage").as_deref(), Some("/usr/sbin/sshd"));
    assert_eq!(field("User").as_deref(), Some("alice"));
    assert_eq!(field("ProcessId").as_deref(), Some("4242"));
    assert_eq!(field("TargetFilename"), None);
    assert_eq!(event.log_source().category, "process_creation");
}

#[test]
fn a_foreign_class_is_named() {
    let mut json: Value = serde_json::from_str(include_str!("ocsf/v1-process-exec.json")).unwrap();
    json["class_uid"] = json!(3005);
    assert_eq!(event_from_json(&json), Err(OcsfError::Class(3005)));
}
