//! The network sensor against real sockets of a child.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::io::Read;
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::process::{Command, Stdio};

use common::{bodies, boot, options, proc_key, role, root, table};
use wardline_event::{Body, NetworkActivity, NetworkOp, SensorKind, SensorState};
use wardline_sense_linux::{EbpfSensor, Watches};

/// Not a test: a process that listens, connects, is refused and sends; it prints with which addresses, then waits.
#[test]
#[ignore = "a role that another test plays"]
fn talk() {
    for address in ["127.0.0.1:0", "[::1]:0"] {
        let Ok(listener) = TcpListener::bind(address) else { continue };
        let server = listener.local_addr().unwrap();
        let client = TcpStream::connect(server).unwrap();
        let (accepted, peer) = listener.accept().unwrap();
        assert_eq!(peer, client.local_addr().unwrap());
        println!("listen {server} {server}");
        println!("connect {peer} {server}");
        println!("accept {peer} {server}");
        drop((accepted, client, listener));
        assert!(TcpStream::connect(server).is_err());
        println!("refuse - {server}");

        let socket = UdpSocket::bind(address).unwrap();
        let other = UdpSocket::bind(address).unwrap().local_addr().unwrap();
        for _ in 0..3 {
            let _ = socket.send_to(b"x", other);
        }
        println!("send {} {other}", socket.local_addr().unwrap());
    }
    // An IPv4 address in a socket of IPv6 is one of IPv4.
    if let Ok(listener) = TcpListener::bind("[::]:0") {
        let port = listener.local_addr().unwrap().port();
        let client = TcpStream::connect(("127.0.0.1", port)).unwrap();
        let (accepted, _) = listener.accept().unwrap();
        println!("listen [::]:{port} [::]:{port}");
        println!("accept {} 127.0.0.1:{port}", client.local_addr().unwrap());
        drop(accepted);
    }
    println!("end - -");
    let _ = std::io::stdin().read(&mut [0]);
}

fn describe(n: &NetworkActivity) -> (String, &'static str, String, String) {
    let end = |ip: &str, port: u16| match ip {
        "" => "-".to_owned(),
        ip => SocketAddr::new(ip.parse().unwrap(), port).to_string(),
    };
    let what = match (n.op, n.initiated, &*n.protocol) {
        (NetworkOp::Listen, false, "tcp") => "listen",
        (NetworkOp::Open, true, "tcp") => "connect",
        (NetworkOp::Open, false, "tcp") => "accept",
        (NetworkOp::Open, true, "udp") => "send",
        (NetworkOp::Refuse, true, "tcp") => "refuse",
        other => panic!("{other:?}"),
    };
    (n.actor.image.clone(), what, end(&n.src_ip, n.src_port), end(&n.dst_ip, n.dst_port))
}

#[test]
fn what_a_process_does_on_the_network_is_told_with_both_ends() {
    if !root() {
        return;
    }
    let mut sensor = EbpfSensor::open(&options(4 << 20, Watches::none()), table()).unwrap();
    assert_eq!(common::status(&sensor, SensorKind::LinuxNetwork).state, SensorState::Live);
    let folder = tempfile::tempdir().unwrap();
    let words = role(folder.path(), "talk");
    let mut child = Command::new(&words[0])
        .args(&words[1..])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let pid = child.id();
    let key = proc_key(boot(), pid);
    let mut said = Vec::new();
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(child.stdout.take().unwrap()));
    loop {
        let line = lines.next().unwrap().unwrap();
        let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        match &words[..] {
            [what, from, to]
                if what.as_str() != "end" && ["-", "["].iter().any(|c| from.starts_with(c))
                    || from.starts_with("127") =>
            {
                said.push((what.clone(), from.clone(), to.clone()));
            }
            [what, ..] if what == "end" => break,
            _ => {}
        }
    }
    common::end(child);
    let events = bodies(
        &mut sensor,
        |body| matches!(body, Body::Process(p) if p.process.key == key && p.op == wardline_event::ProcessOp::Exit),
    );
    let seen: Vec<&NetworkActivity> = events
        .iter()
        .filter_map(|body| match body {
            Body::Network(n) if n.actor.key == key => Some(n),
            _ => None,
        })
        .collect();
    let image = folder.path().canonicalize().unwrap().join("role");
    let mut told: Vec<(String, String, String)> = Vec::new();
    for network in seen {
        let (actor, what, from, to) = describe(network);
        assert_eq!(actor, image.to_str().unwrap());
        assert_eq!(network.actor.user.name, "root");
        told.push((what.to_owned(), from, to));
    }
    // A listener has one end; a refused socket may have had a port of its own for a moment.
    for (what, from, to) in said.iter_mut().chain(&mut told) {
        match what.as_str() {
            "listen" => "-".clone_into(to),
            "refuse" => "-".clone_into(from),
            _ => {}
        }
    }
    assert!(said.len() >= 5, "{said:?}");
    for one in &said {
        let times = told.iter().filter(|t| *t == one).count();
        assert_eq!(times, 1, "{one:?} in {told:#?}");
    }
    assert!(
        told.len() <= said.len() + 1,
        "only the connection to the wildcard listener is told besides: {told:#?}"
    );
}
