//! Cuts SMB, RDP, SSH and WinRM, and keeps clinical flows, in network namespaces that the test itself made.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)] // The lint knows test functions, not their helpers.

mod common;

use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use common::net::{Estate, Link, Net, SILENCE, refuses};
use common::root;
use wardline_policy::{Direction, KeptFlow, Transport};
use wardline_respond::linux::nft;
use wardline_respond::{EastWestSpec, IsolationSpec};

const PORTS: [u16; 6] = [445, 139, 3389, 22, 5985, 5986];

fn flow(name: &str, direction: Direction, protocol: Transport, peer: &str, ports: &str) -> KeptFlow {
    let (peer, ports) = (peer.parse().unwrap(), ports.parse().unwrap());
    KeptFlow { name: name.into(), reason: "patients".into(), direction, protocol, peer, ports }
}

/// A server in `to` and a connection to it from `from`.
fn link(from: &Net, to: &Net, address: &str) -> Link {
    let listener = to.inside(|| TcpListener::bind(address).unwrap());
    let mut link = Link::make(from, listener);
    link.talks();
    link
}

/// True if a datagram from one arrives at the other.
fn datagram_passes(from: &Net, to: &Net, from_address: &str, to_address: &str) -> bool {
    let there = to.inside(|| UdpSocket::bind(to_address).unwrap());
    let here = from.inside(|| UdpSocket::bind(from_address).unwrap());
    let _ = here.send_to(b"?", to_address);
    there.set_read_timeout(Some(SILENCE)).unwrap();
    there.recv(&mut [0; 8]).is_ok()
}

#[test]
fn what_attackers_move_along_is_cut_and_nothing_else() {
    if !root() {
        return;
    }
    let estate = Estate::new();
    let Estate { ward, world, pod } = &estate;
    ward.nft("add table inet hospital");
    ward.nft("add chain inet hospital in { type filter hook input priority 0 ; policy accept ; }");
    ward.nft("add rule inet hospital in tcp dport 23 counter drop");
    let before = ward.nft("-j list ruleset");
    // Established before: out, in, and forwarded from a container, over IPv4 and IPv6.
    let mut cut: Vec<Link> = Vec::new();
    for port in PORTS {
        cut.push(link(ward, world, &format!("10.9.0.2:{port}")));
        cut.push(link(ward, world, &format!("[fd09::2]:{port}")));
        cut.push(link(world, ward, &format!("10.9.0.1:{port}")));
        cut.push(link(world, ward, &format!("[fd09::1]:{port}")));
    }
    cut.push(link(pod, world, "10.9.0.3:445"));
    cut.push(link(pod, world, "[fd09::3]:3389"));
    // The hub listens where SSH would; an admin's jump host and a file server are kept.
    let keep = vec![
        flow("Jump host", Direction::In, Transport::Tcp, "10.9.0.3", "22"),
        flow("Reports", Direction::Out, Transport::Tcp, "fd09::3/64".replace("3/64", "/64").as_str(), "5986"),
    ];
    let hub: SocketAddr = "10.9.0.3:5985".parse().unwrap();
    let mut hub_link = link(ward, world, "10.9.0.3:5985");
    let mut others = [
        link(ward, world, "10.9.0.2:443"),
        link(world, ward, "[fd09::1]:8080"),
        link(pod, world, "10.9.0.3:443"),
        link(ward, ward, "127.0.0.1:2222"),
        // A machine may always talk to itself.
        link(ward, ward, "127.0.0.1:445"),
    ];
    let kept = cut.iter().position(|l| l.listener.local_addr().unwrap() == "[fd09::2]:5986".parse().unwrap());
    let mut kept = cut.swap_remove(kept.unwrap());

    let spec = EastWestSpec { hubs: vec![hub], keep };
    let done = ward.inside(|| nft::cut_east_west(&spec)).unwrap();
    assert!(!done.replaced && ward.inside(|| nft::is_east_west_cut(&spec)).unwrap());
    for link in &mut cut {
        link.send_both_ways();
    }
    thread::scope(|scope| {
        for port in PORTS {
            scope.spawn(move || refuses(ward, SocketAddr::from(([10, 9, 0, 2], port))));
            scope.spawn(move || refuses(world, SocketAddr::from(([10, 9, 0, 1], port))));
        }
        scope.spawn(|| refuses(pod, "10.9.0.3:445".parse().unwrap()));
        thread::sleep(SILENCE);
    });
    for link in &mut cut {
        link.heard_nothing();
    }
    for link in others.iter_mut().chain([&mut hub_link, &mut kept]) {
        link.talks();
    }
    let again = hub_link.listener.try_clone().unwrap();
    Link::make(ward, again).talks();
    // RDP has a UDP side; other datagrams pass.
    assert!(!datagram_passes(ward, world, "10.9.0.1:0", "10.9.0.2:3389"));
    assert!(!datagram_passes(world, ward, "10.9.0.2:0", "10.9.0.1:3389"));
    assert!(datagram_passes(ward, world, "10.9.0.1:0", "10.9.0.2:53"));

    // The jump host is let in, from its address only.
    let ssh =
        cut.iter().find(|l| l.listener.local_addr().unwrap() == "10.9.0.1:22".parse().unwrap()).unwrap();
    let (from, to) = ("10.9.0.3:40022", "10.9.0.1:22");
    world.inside(|| common::net::connect_from(from, to)).unwrap();
    assert!(world.inside(|| common::net::connect_from("10.9.0.2:40022", to)).is_err());
    let _ = ssh;

    // What others have in the packet filter is as it was, byte for byte.
    assert_eq!(without(&ward.nft("-j list ruleset"), nft::EAST_WEST), before);
    assert!(ward.inside(|| nft::remove(nft::EAST_WEST)).unwrap());
    assert_eq!(ward.nft("-j list ruleset"), before);
    for link in &mut cut {
        link.resumes();
    }
    assert!(!ward.inside(|| nft::remove(nft::EAST_WEST)).unwrap(), "once more is fine");
}

/// What `nft -j list ruleset` says, without what belongs to a table: each entry names its table, or is it.
fn without(ruleset: &str, table: &str) -> String {
    let (head, rest) = ruleset.trim_end().split_once("\"nftables\": [").unwrap();
    let entries = rest.strip_suffix("]}").unwrap();
    let mut kept = Vec::new();
    let (mut depth, mut start, mut in_text, mut escaped) = (0, 0, false, false);
    for (at, byte) in entries.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_text => escaped = true,
            b'"' => in_text = !in_text,
            b'{' if !in_text => {
                if depth == 0 {
                    start = at;
                }
                depth += 1;
            }
            b'}' if !in_text => {
                depth -= 1;
                if depth == 0 && !entries[start..=at].contains(&format!("\"{table}\"")) {
                    kept.push(&entries[start..=at]);
                }
            }
            _ => {}
        }
    }
    let newline = if ruleset.ends_with('\n') { "\n" } else { "" };
    format!("{head}\"nftables\": [{}]}}{newline}", kept.join(", "))
}

#[test]
fn an_isolation_keeps_the_clinical_flows_and_those_only() {
    if !root() {
        return;
    }
    let estate = Estate::new();
    let Estate { ward, world, .. } = &estate;
    let keep = vec![
        flow("Images to the archive", Direction::Out, Transport::Tcp, "10.9.0.2", "104"),
        flow("Worklist", Direction::Out, Transport::Tcp, "fd09::/64", "11112-11115"),
        flow("Results", Direction::In, Transport::Tcp, "10.9.0.3", "6661"),
        flow("Time", Direction::Out, Transport::Udp, "10.9.0.2", "123"),
    ];
    let mut kept = [
        link(ward, world, "10.9.0.2:104"),
        link(ward, world, "[fd09::2]:11112"),
        link(ward, world, "[fd09::3]:11115"),
    ];
    let mut cut = [
        link(ward, world, "10.9.0.3:104"),
        link(ward, world, "10.9.0.2:105"),
        link(ward, world, "[fd09::2]:11116"),
        // The kept port, the other way round.
        link(world, ward, "10.9.0.1:104"),
    ];
    let results = ward.inside(|| TcpListener::bind("10.9.0.1:6661").unwrap());
    let spec = IsolationSpec { keep, ..IsolationSpec::to_hubs(["10.9.0.9:8443".parse().unwrap()]) };
    ward.inside(|| nft::isolate(&spec)).unwrap();
    assert!(ward.inside(|| nft::is_isolated(&spec)).unwrap());
    for link in &mut cut {
        link.send_both_ways();
    }
    thread::sleep(SILENCE);
    for link in &mut cut {
        link.heard_nothing();
    }
    for link in &mut kept {
        link.talks();
        let again = link.listener.try_clone().unwrap();
        Link::make(ward, again).talks();
    }
    let connect = |from: &str, to: &str| world.inside(|| common::net::connect_from(from, to));
    connect("10.9.0.3:0", "10.9.0.1:6661").unwrap();
    results.accept().unwrap();
    assert!(connect("10.9.0.2:0", "10.9.0.1:6661").is_err(), "another machine");
    // A kept server's port is no way in: only its answers pass.
    assert!(connect("10.9.0.2:7104", "10.9.0.1:6661").is_err());
    let door = ward.inside(|| TcpListener::bind("10.9.0.1:7000").unwrap());
    drop(kept);
    thread::sleep(Duration::from_millis(10));
    assert!(connect("10.9.0.2:11114", "10.9.0.1:7000").is_err());
    drop(door);
    assert!(datagram_passes(ward, world, "10.9.0.1:0", "10.9.0.2:123"));
    assert!(!datagram_passes(ward, world, "10.9.0.1:0", "10.9.0.3:123"));
    assert!(!datagram_passes(world, ward, "10.9.0.2:0", "10.9.0.1:123"));
    let listing = ward.nft("list table inet wardline_isolate");
    assert!(listing.contains("comment \"kept: Images to the archive\""), "{listing}");
    assert!(listing.contains("tcp dport 11112-11115"), "{listing}");
}

/// How long after the order the last packet arrives, while one is sent every 0.2 ms.
#[test]
fn the_last_stray_packet_comes_soon_after_the_order() {
    if !root() {
        return;
    }
    let estate = Estate::new();
    let Estate { ward, world, .. } = &estate;
    let far = world.inside(|| UdpSocket::bind("10.9.0.2:3389").unwrap());
    let near = ward.inside(|| UdpSocket::bind("10.9.0.1:0").unwrap());
    far.set_read_timeout(Some(SILENCE)).unwrap();
    let stop = AtomicBool::new(false);
    let (ordered, last) = thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                let _ = near.send_to(b"stray", "10.9.0.2:3389");
                thread::sleep(Duration::from_micros(200));
            }
        });
        let hearing = scope.spawn(|| {
            let mut last = None;
            while far.recv(&mut [0; 16]).is_ok() {
                last = Some(Instant::now());
            }
            last.expect("something was heard before")
        });
        thread::sleep(Duration::from_millis(300));
        let ordered = Instant::now();
        ward.inside(|| nft::cut_east_west(&EastWestSpec::default())).unwrap();
        let last = hearing.join().unwrap();
        stop.store(true, Ordering::Relaxed);
        (ordered, last)
    });
    let stray = last.saturating_duration_since(ordered);
    println!("last stray packet {stray:?} after the order");
    assert!(stray < Duration::from_secs(1), "{stray:?}");
}
