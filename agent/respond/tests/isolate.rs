//! Isolates network namespaces that the test itself made: real connections over virtual cables.
//!
//! `nft` serves as a second reader of what the kernel holds.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)] // The lint knows test functions, not their helpers.

mod common;

use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use common::net::{Estate, Link, Net, SILENCE, connect_from, refuses};
use common::root;
use wardline_event::Timestamp;
use wardline_respond::linux::{nft, release_local};
use wardline_respond::{
    ContainError, IsolationSpec, Keeper, LinuxResponder, Measure, Protected, Reconciled, Record, Rung, record,
};

const HUB4: &str = "10.9.0.2:8443";
const HUB6: &str = "[fd09::2]:8443";
/// A hub at which nobody listens.
const SILENT_HUB: &str = "10.9.0.3:7777";
/// The hub's machine, another port; and another machine, the hub's port.
const OTHERS: [&str; 4] = ["10.9.0.2:445", "[fd09::2]:445", "10.9.0.3:8443", "[fd09::3]:8443"];

impl Estate {
    fn isolate(&self, hubs: &[&str]) {
        let spec = IsolationSpec::to_hubs(hubs.iter().map(|h| h.parse().unwrap()));
        self.ward.inside(|| nft::isolate(&spec)).unwrap();
    }

    /// Whether exactly this isolation is in force.
    fn is_isolated(&self, hubs: &[&str]) -> bool {
        self.is_isolated_as(&IsolationSpec::to_hubs(hubs.iter().map(|h| h.parse().unwrap())))
    }

    fn is_isolated_as(&self, spec: &IsolationSpec) -> bool {
        self.ward.inside(|| nft::is_isolated(spec)).unwrap()
    }
}

#[test]
fn everything_is_cut_but_the_hub_and_the_machine_itself_and_a_release_restores_it() {
    if !root() {
        return;
    }
    let estate = Estate::new();
    let Estate { ward, world, pod } = &estate;
    let mut hubs = [HUB4, HUB6].map(|a| estate.connect(ward, a));
    let mut others = OTHERS.map(|a| estate.connect(ward, a));
    let mut forwarded = estate.connect(pod, "10.9.0.3:5000");
    let inward = ward.inside(|| TcpListener::bind("10.9.0.1:22").unwrap());
    let mut inward = Link::make(world, inward);
    let own = ward.inside(|| TcpListener::bind("10.9.0.1:9000").unwrap());
    let mut own = Link::make(ward, own);
    let own6 = ward.inside(|| TcpListener::bind("[::1]:9000").unwrap());
    let mut own6 = Link::make(ward, own6);

    let all = [HUB4, HUB6, SILENT_HUB];
    assert!(!estate.is_isolated(&all));
    estate.isolate(&all);
    assert!(estate.is_isolated(&all) && !estate.is_isolated(&[HUB4]));

    let mut cut: Vec<&mut Link> = others.iter_mut().chain([&mut forwarded, &mut inward]).collect();
    for link in &mut cut {
        link.send_both_ways();
    }
    thread::scope(|scope| {
        for address in OTHERS {
            scope.spawn(|| refuses(ward, address.parse().unwrap()));
        }
        scope.spawn(|| refuses(pod, "10.9.0.3:5000".parse().unwrap()));
        scope.spawn(|| refuses(world, "10.9.0.1:22".parse().unwrap()));
        thread::sleep(SILENCE);
    });
    for link in &mut cut {
        link.heard_nothing();
    }
    own.talks();
    own6.talks();

    // Neighbours are found anew, by ARP and by neighbour discovery.
    for net in [ward, world] {
        net.ip("neigh flush all");
    }
    for link in &mut hubs {
        link.talks();
        let again = link.listener.try_clone().unwrap();
        Link::make(ward, again).talks();
    }

    // The hub's port is no way in: only its answers pass.
    let from_hub = || world.inside(|| connect_from(SILENT_HUB, "10.9.0.1:22"));
    assert!(from_hub().is_err(), "a hub opened a connection");

    let datagram = world.inside(|| UdpSocket::bind("10.9.0.3:53").unwrap());
    datagram.set_read_timeout(Some(SILENCE)).unwrap();
    let sender = ward.inside(|| UdpSocket::bind("10.9.0.1:0").unwrap());
    let _ = sender.send_to(b"query", "10.9.0.3:53");
    assert!(datagram.recv(&mut [0; 16]).is_err(), "no name is looked up");

    let listing = ward.nft("-y list table inet wardline_isolate");
    for expected in [
        "wardline agent release --local",
        "hook input priority -310; policy drop;",
        "hook forward priority -310; policy drop;",
        "hook output priority -310; policy drop;",
        "ip daddr 10.9.0.2 tcp dport 8443",
        "ip6 saddr fd09::2 tcp sport 8443",
        "iif \"lo\"",
    ] {
        assert!(listing.contains(expected), "{expected} is not in\n{listing}");
    }

    assert!(ward.inside(|| nft::remove(nft::ISOLATION)).unwrap());
    assert!(!estate.is_isolated(&all));
    for link in others.iter_mut().chain([&mut forwarded, &mut inward]) {
        link.resumes();
    }
    from_hub().unwrap();
    assert!(!ward.inside(|| nft::remove(nft::ISOLATION)).unwrap(), "once more is fine");
}

#[test]
fn the_hosts_own_firewall_is_not_touched() {
    if !root() {
        return;
    }
    let estate = Estate::new();
    let ward = &estate.ward;
    for command in [
        "add table inet hospital",
        "add chain inet hospital in { type filter hook input priority 0 ; policy accept ; }",
        "add rule inet hospital in tcp dport 23 counter drop",
        "add table ip wardline",
        "add set ip wardline allowed { type ipv4_addr ; }",
        "add element ip wardline allowed { 10.1.2.3 }",
    ] {
        ward.nft(command);
    }
    let before = ward.nft("list ruleset");
    for round in 0..2 {
        estate.isolate(&[HUB4]);
        let during = ward.nft("list ruleset");
        assert!(during.starts_with(&before), "{before}\nis not the beginning of\n{during}");
        if round == 0 {
            // Again, with another hub: replaces.
            let spec = IsolationSpec { dhcp: true, ..IsolationSpec::to_hubs([HUB6.parse().unwrap()]) };
            assert!(ward.inside(|| nft::isolate(&spec)).unwrap().replaced);
            let during = ward.nft("list ruleset");
            assert!(during.contains("fd09::2") && !during.contains("10.9.0.2"), "{during}");
            assert_eq!(during.matches("table inet wardline_isolate").count(), 1);
            assert!(during.contains("udp sport 68 udp dport 67"), "{during}");
        }
        ward.inside(|| nft::remove(nft::ISOLATION)).unwrap();
        assert_eq!(ward.nft("list ruleset"), before);
    }
}

/// What `nft` lists can be read back by it, and is the same table again.
#[test]
fn the_table_is_one_that_nft_can_read_back() {
    if !root() {
        return;
    }
    let estate = Estate::new();
    let hubs = [HUB4, HUB6].map(|hub| hub.parse().unwrap());
    let spec = IsolationSpec { dhcp: true, ..IsolationSpec::to_hubs(hubs) };
    estate.ward.inside(|| nft::isolate(&spec)).unwrap();
    let list = || estate.ward.nft("-s list table inet wardline_isolate");
    let listing = list();
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), &listing).unwrap();
    estate.ward.inside(|| nft::remove(nft::ISOLATION)).unwrap();
    estate.ward.nft(&format!("-f {}", file.path().display()));
    assert_eq!(list(), listing);
    assert!(estate.is_isolated_as(&spec), "restored by hand, it counts");
}

#[test]
fn a_weakened_isolation_counts_as_none_and_is_put_right() {
    if !root() {
        return;
    }
    let estate = Estate::new();
    for weaken in [
        "add table inet wardline_isolate { flags dormant ; }",
        "add chain inet wardline_isolate forward { policy accept ; }",
        "delete chain inet wardline_isolate forward",
        "flush chain inet wardline_isolate output",
        "insert rule inet wardline_isolate output accept",
    ] {
        estate.isolate(&[HUB4]);
        assert!(estate.is_isolated(&[HUB4]));
        if weaken.starts_with("delete") {
            estate.ward.nft("flush chain inet wardline_isolate forward");
        }
        estate.ward.nft(weaken);
        assert!(!estate.is_isolated(&[HUB4]), "{weaken}");
    }
    estate.isolate(&[HUB4]);
    assert!(estate.is_isolated(&[HUB4]));
}

#[test]
fn it_lasts_through_a_restart_and_can_be_released_at_the_machine() {
    if !root() {
        return;
    }
    let estate = Estate::new();
    let state = tempfile::tempdir().unwrap();
    let now = Timestamp(1_000_000);
    let spec = IsolationSpec::to_hubs([HUB4.parse().unwrap()]);
    let isolation = Record::new(now, now.plus(Duration::from_hours(1)), Measure::Isolation(spec))
        .ordered("alice", "drill", "a-1");
    record::save(state.path(), &isolation).unwrap();
    let responder = || LinuxResponder::new(Protected::default()).unwrap();
    // Each call is an agent that has just been started.
    let start = |now: Timestamp| {
        estate.ward.inside(|| {
            let mut done = Keeper::new(state.path()).check(&mut responder(), now, 0);
            let isolation = done.iter().position(|(rung, _)| *rung == Rung::Isolation).unwrap();
            done.swap_remove(isolation).1
        })
    };
    let unchanged =
        |done, in_force| matches!(done, Ok(Reconciled::Unchanged { in_force: is }) if is == in_force);
    assert!(matches!(start(now), Ok(Reconciled::Contained(_))));
    assert!(unchanged(start(now), true));
    // A reboot: the kernel forgets, the record does not.
    estate.ward.nft("delete table inet wardline_isolate");
    assert!(matches!(start(now), Ok(Reconciled::Contained(_))));

    let release = || {
        estate.ward.inside(|| {
            let mut done = release_local(
                &mut responder(),
                state.path(),
                now,
                "root at the machine",
                Some(&[Rung::Isolation]),
            );
            assert_eq!(done.len(), 1);
            done.remove(0)
        })
    };
    let released = release();
    assert!(released.was_in_force && released.trouble.is_none() && !estate.is_isolated(&[HUB4]));
    assert!(unchanged(start(now), false));
    assert!(!release().was_in_force);

    // Expiry, seen by an agent that was not running then.
    record::save(state.path(), &isolation).unwrap();
    assert!(matches!(start(now), Ok(Reconciled::Contained(_))));
    assert!(matches!(start(isolation.expires), Ok(Reconciled::Released)));
    assert!(!estate.is_isolated(&[HUB4]));

    // Whatever is wrong with the record, the machine is released.
    estate.isolate(&[HUB4]);
    std::fs::write(state.path().join(record::file_name(&Rung::Isolation)), "torn").unwrap();
    let said = release().trouble.unwrap().to_string();
    assert!(said.contains("damaged"), "{said}");
    assert!(!estate.is_isolated(&[HUB4]));
    assert!(unchanged(start(now), false));
}

#[test]
fn the_largest_isolation_is_accepted_by_the_kernel() {
    if !root() {
        return;
    }
    let net = Net::new("many");
    let hubs = (1..=64u16).map(|i| SocketAddr::from(([0xfd09, 0, 0, 0, 0, 0, 0, i], 8443)));
    let spec = IsolationSpec { dhcp: true, ..IsolationSpec::to_hubs(hubs) };
    net.inside(|| nft::isolate(&spec)).unwrap();
    assert!(net.inside(|| nft::is_isolated(&spec)).unwrap());
    assert_eq!(net.nft("list table inet wardline_isolate").matches("tcp dport 8443").count(), 64);
}

/// Without the right nothing changes and the error says which is missing.
#[test]
fn without_the_right_the_error_says_what_is_needed() {
    if !root() {
        return;
    }
    let net = Net::new("user");
    let folder = tempfile::Builder::new()
        .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o755))
        .tempdir()
        .unwrap();
    let copy = folder.path().join("test");
    std::fs::copy(std::env::current_exe().unwrap(), &copy).unwrap();
    let out = Command::new("ip")
        .args(["netns", "exec", &net.0, "setpriv", "--reuid=65534", "--clear-groups"])
        .arg(&copy)
        .args(["--exact", "helper_that_isolates", "--nocapture"])
        .env("WARDLINE_ISOLATE", &net.0)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&out.stdout);
    assert_eq!(said.matches("CAP_NET_ADMIN").count(), 3, "{said}{}", String::from_utf8_lossy(&out.stderr));
    assert_eq!(net.nft("list ruleset"), "");
}

/// Not a test of its own: what the test above runs as another user, who has no right to succeed.
#[test]
fn helper_that_isolates() {
    if std::env::var_os("WARDLINE_ISOLATE").is_none() || rustix::process::geteuid().is_root() {
        return;
    }
    let say = |e: ContainError| println!("{e}");
    nft::isolate(&IsolationSpec::to_hubs([HUB4.parse().unwrap()])).map_or_else(say, |_| println!("isolated"));
    nft::remove(nft::ISOLATION).map_or_else(say, |_| println!("released"));
    let spec = IsolationSpec::to_hubs([HUB4.parse().unwrap()]);
    nft::is_isolated(&spec).map_or_else(say, |_| println!("answered"));
}

/// While the isolation is replaced again and again, nothing slips out and the hub stays reachable.
#[test]
fn replacing_leaves_no_gap() {
    if !root() {
        return;
    }
    let estate = Estate::new();
    let Estate { ward, world, .. } = &estate;
    let mut hub = estate.connect(ward, HUB4);
    estate.isolate(&[HUB4]);
    let far = world.inside(|| UdpSocket::bind("10.9.0.3:53").unwrap());
    let near = ward.inside(|| UdpSocket::bind("10.9.0.1:0").unwrap());
    near.connect("10.9.0.3:53").unwrap();
    thread::scope(|scope| {
        let replacing = scope.spawn(|| {
            let until = Instant::now() + Duration::from_secs(1);
            let mut rounds = 0;
            while Instant::now() < until {
                estate.isolate(if rounds % 2 == 0 { &[HUB4, HUB6] } else { &[HUB4] });
                rounds += 1;
            }
            rounds
        });
        while !replacing.is_finished() {
            let _ = near.send(b"out");
            hub.talks();
        }
        assert!(replacing.join().unwrap() > 0);
    });
    far.set_nonblocking(true).unwrap();
    assert!(far.recv(&mut [0; 16]).is_err(), "nothing slipped out");
}
