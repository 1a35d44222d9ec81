//! Names against a resolver of the test's own, on a loopback address.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::net::{Ipv4Addr, TcpListener, TcpStream, UdpSocket};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use common::{bodies, options, role, root, status, table};
use wardline_event::{Body, DnsActivity, Fields, ProcessOp, SensorKind, SensorState};
use wardline_sense_linux::{EbpfSensor, Watches};

const SERVER: Ipv4Addr = Ipv4Addr::new(127, 83, 83, 84);
/// Where all names lead.
const THERE: Ipv4Addr = Ipv4Addr::new(127, 83, 83, 85);

/// Answers whoever asks for an IPv4 address with [`THERE`], and everybody else with nothing.
fn answer(asked: &[u8]) -> Vec<u8> {
    let end = 12 + asked[12..].iter().position(|b| *b == 0).unwrap() + 5;
    let mut out = asked[..end].to_vec();
    out[2..4].copy_from_slice(&[0x81, 0x80]);
    let is_ipv4 = asked[end - 4..end - 2] == [0, 1];
    out[6..12].copy_from_slice(&[0, u8::from(is_ipv4), 0, 0, 0, 0]);
    if is_ipv4 {
        out.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4]);
        out.extend(THERE.octets());
    }
    out
}

fn question(name: &str) -> Vec<u8> {
    let mut out = b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0".to_vec();
    for label in name.split('.') {
        out.push(label.len() as u8);
        out.extend(label.as_bytes());
    }
    out.extend([0, 0, 1, 0, 1]);
    out
}

/// Not a test: a process that asks by a connected socket, and connects to what it is answered; then asks by an
/// unconnected one.
#[test]
#[ignore = "a role that another test plays"]
fn ask() {
    let port: u16 = std::env::var("WARDLINE_TEST_PORT").unwrap().parse().unwrap();
    let mut buffer = [0; 512];
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.connect((SERVER, 53)).unwrap();
    socket.send(&question("files.ward.example")).unwrap();
    socket.recv(&mut buffer).unwrap();
    TcpStream::connect((THERE, port)).unwrap();
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.send_to(&question("second.ward.example"), (SERVER, 53)).unwrap();
    socket.recv_from(&mut buffer).unwrap();
}

fn describe(d: &DnsActivity) -> String {
    let what = if d.response { "answer" } else { "question" };
    format!("{what} {} {} [{}] {}:{}", d.kind, d.name, d.answers.join(" "), d.server_ip, d.server_port)
}

#[test]
fn who_asks_for_what_is_told_and_connections_have_names() {
    if !root() {
        return;
    }
    let server = UdpSocket::bind((SERVER, 53)).unwrap();
    server.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = Arc::clone(&stop);
    let serving = std::thread::spawn(move || {
        let mut buffer = [0; 512];
        while !stopped.load(Ordering::Relaxed) {
            if let Ok((len, from)) = server.recv_from(&mut buffer) {
                server.send_to(&answer(&buffer[..len]), from).unwrap();
            }
        }
    });
    let listener = TcpListener::bind((THERE, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut sensor = EbpfSensor::open(&options(4 << 20, Watches::none()), table()).unwrap();
    assert_eq!(status(&sensor, SensorKind::LinuxDns).state, SensorState::Live);

    let folder = tempfile::tempdir().unwrap();
    let words = role(folder.path(), "ask");
    let mut child = Command::new(&words[0])
        .args(&words[1..])
        .env("WARDLINE_TEST_PORT", port.to_string())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let pid = child.id();
    assert!(child.wait().unwrap().success());
    let ended = |pid| move |body: &Body| matches!(body, Body::Process(p) if p.process.key.pid == pid && p.op == ProcessOp::Exit);
    let events = bodies(&mut sensor, ended(pid));
    let told: Vec<String> = events
        .iter()
        .filter_map(|body| match body {
            Body::Dns(d) if d.actor.key.pid == pid => Some(describe(d)),
            _ => None,
        })
        .collect();
    assert_eq!(
        told,
        [
            "question A files.ward.example [] 127.83.83.84:53",
            "answer A files.ward.example [127.83.83.85] 127.83.83.84:53",
            "question A second.ward.example [] 127.83.83.84:53",
            "answer A second.ward.example [127.83.83.85] 127.83.83.84:53",
        ]
    );
    let connected = events.iter().find_map(|body| match body {
        Body::Network(n) if n.actor.key.pid == pid && n.dst_port == port => Some(n.clone()),
        _ => None,
    });
    let connected = connected.expect("the connection is told");
    assert_eq!(connected.dst_host, "files.ward.example");

    // As programs do it that know nothing of this: the C library's resolver, in a mount namespace of its own.
    let conf = folder.path().join("resolv.conf");
    std::fs::write(&conf, format!("nameserver {SERVER}\noptions timeout:5\n")).unwrap();
    let script = "mount --bind \"$0\" /etc/resolv.conf && exec getent ahosts library.ward.example";
    let mut child = Command::new("unshare")
        .args(["-m", "--propagation", "private", "sh", "-c", script])
        .arg(&conf)
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let pid = child.id();
    assert!(child.wait().unwrap().success());
    let events = bodies(&mut sensor, ended(pid));
    let mut told: Vec<String> = Vec::new();
    for body in &events {
        let Body::Dns(d) = body else { continue };
        if d.actor.key.pid == pid {
            assert!(d.actor.image.ends_with("/getent"), "{d:?}");
            told.push(describe(d));
        }
    }
    for expected in [
        "question A library.ward.example [] 127.83.83.84:53",
        "question AAAA library.ward.example [] 127.83.83.84:53",
        "answer A library.ward.example [127.83.83.85] 127.83.83.84:53",
        "answer AAAA library.ward.example [] 127.83.83.84:53",
    ] {
        assert_eq!(told.iter().filter(|t| *t == expected).count(), 1, "{expected} in {told:#?}");
    }
    stop.store(true, Ordering::Relaxed);
    serving.join().unwrap();
}

#[test]
fn rules_find_names_under_the_names_of_sysmon_and_sigma() {
    let event = wardline_event::Event {
        id: wardline_event::EventId(1),
        time: wardline_event::Timestamp(0),
        product: "linux".into(),
        simulated: false,
        body: Body::Dns(DnsActivity {
            response: true,
            actor: wardline_event::Process::default(),
            name: "pool.example".into(),
            kind: "A".into(),
            status: 0,
            answers: vec!["192.0.2.7".into(), "192.0.2.8".into()],
            server_ip: String::new(),
            server_port: 53,
        }),
    };
    let text = |name: &str| event.field(name).and_then(|v| v.as_text().map(std::borrow::Cow::into_owned));
    assert_eq!(text("QueryName").as_deref(), Some("pool.example"));
    assert_eq!(text("QueryResults").as_deref(), Some("192.0.2.7;192.0.2.8"));
    assert_eq!((text("QueryStatus").as_deref(), text("DestinationIp")), (Some("0"), None));
    assert_eq!((event.category(), event.also()), ("dns_query", ["dns"].as_slice()));
}
