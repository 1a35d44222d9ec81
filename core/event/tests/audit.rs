//! Events in the terms of the audit system.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use wardline_event::{
    AuditView, Body, CallActivity, Event, EventId, Fields, FileActivity, FileOp, Launch, NetworkActivity,
    NetworkOp, Process, ProcessActivity, ProcessOp, SensorKind, SensorLoss, Timestamp, User,
};

fn process() -> Process {
    Process {
        image: "/usr/bin/python3.11-with-a-long-name".into(),
        command_line: "python3 ./x.py a".into(),
        cwd: "/home/alice".into(),
        user: User { uid: "33".into(), name: "www-data".into() },
        ..Process::default()
    }
}

fn event(body: Body) -> Event {
    Event { id: EventId(1), time: Timestamp(0), product: "linux".into(), simulated: false, body }
}

fn exec() -> Event {
    let launch = Launch {
        args: vec!["python3".into(), "./x.py".into(), "a b".into()],
        script: Some("./x.py".into()),
        real_uid: "1000".into(),
        login_uid: Some("1001".into()),
        ..Launch::default()
    };
    event(Body::Process(ProcessActivity {
        op: ProcessOp::Exec,
        process: process(),
        parent: Some(Process::default()),
        exit_code: None,
        launch: Some(Box::new(launch)),
    }))
}

fn file(op: FileOp, old: Option<&str>, detail: &str) -> Event {
    let old_path = old.map(str::to_owned);
    event(Body::File(FileActivity {
        op,
        path: "/etc/x".into(),
        old_path,
        detail: detail.into(),
        actor: process(),
    }))
}

fn call(call: &'static str, args: Vec<u64>, result: i64, detail: &str) -> Event {
    event(Body::Call(CallActivity {
        call: call.into(),
        args,
        result,
        detail: detail.into(),
        actor: process(),
    }))
}

fn connect(op: NetworkOp, initiated: bool) -> Event {
    event(Body::Network(NetworkActivity {
        op,
        actor: process(),
        protocol: "tcp".into(),
        initiated,
        src_ip: String::new(),
        src_port: 0,
        dst_ip: "192.0.2.1".into(),
        dst_port: 443,
        dst_host: String::new(),
    }))
}

/// What a field holds: values of a list with `|` between them.
fn shown(event: &Event, name: &str) -> String {
    let view = AuditView::of(event).unwrap();
    let value = view.field(name);
    match value {
        Some(wardline_event::Value::List(items)) => {
            items.iter().map(|i| i.as_text().unwrap().into_owned()).collect::<Vec<_>>().join("|")
        }
        value => value.and_then(|v| v.as_text().map(std::borrow::Cow::into_owned)).unwrap_or("-".into()),
    }
}

#[test]
fn events_answer_to_the_names_of_the_audit_system() {
    let execve = exec();
    let renamed = file(FileOp::Rename, Some("/etc/y"), "");
    let cases: &[(&Event, &[(&str, &str)])] = &[
        (
            &execve,
            &[
                ("type", "SYSCALL|EXECVE|CWD|PATH|PROCTITLE"),
                ("SYSCALL", "execve"),
                ("a0", "python3"),
                ("a2", "a b"),
                ("a3", "-"),
                ("argc", "3"),
                ("comm", "x.py"),
                ("exe", "/usr/bin/python3.11-with-a-long-name"),
                ("name", "./x.py|/usr/bin/python3.11-with-a-long-name"),
                ("nametype", "NORMAL"),
                ("uid", "1000"),
                ("euid", "33"),
                ("auid", "1001"),
                ("cwd", "/home/alice"),
                ("ppid", "0"),
                ("success", "yes"),
                ("key", "-"),
                ("CommandLine", "-"),
            ],
        ),
        (
            &renamed,
            &[
                ("type", "SYSCALL|CWD|PATH|PROCTITLE"),
                ("SYSCALL", "renameat2"),
                ("name", "/etc/y|/etc/x"),
                ("nametype", "DELETE|CREATE"),
                ("comm", "python3.11-with"),
                ("a0", "-"),
            ],
        ),
        (&file(FileOp::Create, None, ""), &[("SYSCALL", "openat"), ("nametype", "CREATE")]),
        (&file(FileOp::Create, None, "mode 020666"), &[("SYSCALL", "mknod"), ("nametype", "CREATE")]),
        (
            &file(FileOp::Link, Some("/a"), "symbolic link"),
            &[("SYSCALL", "symlinkat"), ("nametype", "NORMAL|CREATE")],
        ),
        (&file(FileOp::Change, None, "owner 0"), &[("SYSCALL", "fchownat"), ("nametype", "NORMAL")]),
        (&connect(NetworkOp::Refuse, true), &[("SYSCALL", "connect"), ("success", "no"), ("name", "-")]),
        (&connect(NetworkOp::Open, false), &[("SYSCALL", "accept4"), ("type", "SYSCALL|SOCKADDR|PROCTITLE")]),
        (
            &call("personality", vec![0x40000, 0xffff_ffff_ffff, 0, 0, 7], 0, ""),
            &[("SYSCALL", "personality"), ("a0", "40000"), ("a1", "ffffffffffff"), ("a4", "-")],
        ),
        (
            &call("finit_module", vec![3], -8, "/tmp/x.ko"),
            &[("exit", "-8"), ("success", "no"), ("name", "/tmp/x.ko"), ("type", "SYSCALL|PATH|PROCTITLE")],
        ),
    ];
    for (event, fields) in cases {
        for (name, expected) in *fields {
            assert_eq!(shown(event, name), *expected, "{name} of {event:?}");
        }
    }
}

#[test]
fn every_field_that_is_visited_is_the_one_that_is_asked_for() {
    for event in [exec(), file(FileOp::Rename, Some("/y"), ""), call("ptrace", vec![16, 1], 0, "")] {
        let view = AuditView::of(&event).unwrap();
        let mut names = Vec::new();
        view.each_field(&mut |name, value| {
            assert_eq!(view.field(name), Some(value), "{name}");
            names.push(name.to_owned());
        });
        assert!(names.iter().any(|n| n == "a1") || matches!(event.body, Body::File(_)), "{names:?}");
        assert_eq!(view.log_source().service, "auditd");
    }
}

#[test]
fn what_the_audit_system_has_no_word_for_has_no_view() {
    let mut other = exec();
    other.product = "windows".into();
    assert!(AuditView::of(&other).is_none());
    let loss = SensorLoss { sensor: SensorKind::LinuxEbpf, lost: 1, total: 1, agent: process() };
    assert!(AuditView::of(&event(Body::Loss(loss))).is_none());
    let Body::Process(mut ended) = exec().body else { unreachable!() };
    ended.op = ProcessOp::Exit;
    assert!(AuditView::of(&event(Body::Process(ended))).is_none());
}
