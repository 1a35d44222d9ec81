//! Isolates network namespaces that the test itself made: real connections over virtual cables.
//!
//! `nft` serves as a second reader of what the kernel holds.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)] // The lint knows test functions, not their helpers.

use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsFd;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use wardline_event::Timestamp;
use wardline_respond::linux::{nft, release_local};
use wardline_respond::{
    IsolateError, IsolationRecord, IsolationSpec, LinuxResponder, Protected, Reconciled, record,
};

/// How long something that must happen may take.
const SOON: Duration = Duration::from_secs(20);
/// How long to listen for what must not come. Too short can only hide a fault, never invent one.
const SILENCE: Duration = Duration::from_millis(400);

fn root() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        assert!(std::env::var_os("CI").is_none(), "CI must run this as root");
        println!("skipped: needs root");
    }
    root
}

fn run(program: &str, args: &str) -> String {
    let out = Command::new(program).args(args.split_whitespace()).output().unwrap();
    assert!(out.status.success(), "{program} {args}: {}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8(out.stdout).unwrap()
}

/// A network namespace; goes with the value.
struct Net(String);

impl Net {
    fn new(name: &str) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let net = Self(format!("wl-{}-{}-{name}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed)));
        run("ip", &format!("netns add {}", net.0));
        net.ip("link set lo up");
        net
    }

    fn ip(&self, args: &str) {
        run("ip", &format!("-n {} {args}", self.0));
    }

    fn nft(&self, args: &str) -> String {
        run("ip", &format!("netns exec {} nft {args}", self.0))
    }

    /// Runs something on a thread inside.
    fn inside<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        thread::scope(|scope| {
            let inside = scope.spawn(|| {
                let namespace = File::open(format!("/run/netns/{}", self.0)).unwrap();
                move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
                work()
            });
            inside.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["netns", "del", &self.0]).status();
    }
}

/// `ward` is to be isolated. `world` holds the hub and everything else. `pod` reaches `world` through `ward`, as a
/// container does.
struct Estate {
    ward: Net,
    world: Net,
    pod: Net,
}

const HUB4: &str = "10.9.0.2:8443";
const HUB6: &str = "[fd09::2]:8443";
/// A hub at which nobody listens.
const SILENT_HUB: &str = "10.9.0.3:7777";
/// The hub's machine, another port; and another machine, the hub's port.
const OTHERS: [&str; 4] = ["10.9.0.2:445", "[fd09::2]:445", "10.9.0.3:8443", "[fd09::3]:8443"];

impl Estate {
    fn new() -> Self {
        let estate = Self { ward: Net::new("ward"), world: Net::new("world"), pod: Net::new("pod") };
        let cable = |a: &Net, a_addresses: &[&str], b: &Net, b_addresses: &[&str], name: &str| {
            run("ip", &format!("link add {name} netns {} type veth peer name {name} netns {}", a.0, b.0));
            for (net, addresses) in [(a, a_addresses), (b, b_addresses)] {
                for address in addresses {
                    let nodad = if address.contains(':') { "nodad" } else { "" };
                    net.ip(&format!("addr add {address} dev {name} {nodad}"));
                }
                net.ip(&format!("link set {name} up"));
            }
        };
        let Self { ward, world, pod } = &estate;
        let world_addresses = ["10.9.0.2/24", "10.9.0.3/24", "fd09::2/64", "fd09::3/64"];
        cable(ward, &["10.9.0.1/24", "fd09::1/64"], world, &world_addresses, "out");
        cable(ward, &["10.8.0.1/24"], pod, &["10.8.0.2/24"], "pods");
        pod.ip("route add default via 10.8.0.1");
        world.ip("route add 10.8.0.0/24 via 10.9.0.1");
        ward.inside(|| std::fs::write("/proc/sys/net/ipv4/ip_forward", "1").unwrap());
        estate
    }

    /// A server in `world` that can be connected to from `from`, and both ends of one connection to it.
    fn connect(&self, from: &Net, address: &str) -> Link {
        let listener = self.world.inside(|| TcpListener::bind(address).unwrap());
        let mut link = Link::make(from, listener);
        link.talks();
        link
    }

    fn isolate(&self, hubs: &[&str]) {
        let spec = IsolationSpec::to_hubs(hubs.iter().map(|h| h.parse().unwrap()));
        self.ward.inside(|| nft::isolate(&spec)).unwrap();
    }

    fn is_isolated(&self) -> bool {
        self.ward.inside(nft::is_isolated).unwrap()
    }
}

/// A TCP connection, both ends in hand.
struct Link {
    listener: TcpListener,
    near: TcpStream,
    far: TcpStream,
}

impl Link {
    fn make(from: &Net, listener: TcpListener) -> Self {
        let address = listener.local_addr().unwrap();
        let near = from.inside(|| TcpStream::connect_timeout(&address, SOON)).unwrap();
        let far = listener.accept().unwrap().0;
        Self { listener, near, far }
    }

    /// Both directions carry data.
    fn talks(&mut self) {
        exchange(&mut self.near, &mut self.far);
        exchange(&mut self.far, &mut self.near);
    }

    fn send_both_ways(&mut self) {
        self.near.write_all(b"from the ward").unwrap();
        self.far.write_all(b"to the ward").unwrap();
    }

    /// Nothing has arrived.
    fn heard_nothing(&mut self) {
        for end in [&mut self.near, &mut self.far] {
            end.set_nonblocking(true).unwrap();
            let heard = end.read(&mut [0; 64]);
            let nothing = heard.as_ref().is_err_and(|e| e.kind() == ErrorKind::WouldBlock);
            assert!(nothing, "{:?} heard {heard:?}", end.local_addr());
            end.set_nonblocking(false).unwrap();
        }
    }

    /// What was sent while the connection was cut arrives now: it was the isolation that held it up.
    fn resumes(&mut self) {
        for (end, expected) in
            [(&mut self.far, b"from the ward".as_slice()), (&mut self.near, b"to the ward")]
        {
            end.set_read_timeout(Some(SOON)).unwrap();
            let mut heard = vec![0; expected.len()];
            end.read_exact(&mut heard).unwrap();
            assert_eq!(heard, expected);
        }
        self.talks();
    }
}

fn exchange(from: &mut TcpStream, to: &mut TcpStream) {
    from.write_all(b"hello").unwrap();
    to.set_read_timeout(Some(SOON)).unwrap();
    let mut heard = [0; 5];
    to.read_exact(&mut heard).unwrap();
    assert_eq!(&heard, b"hello");
}

fn refuses(from: &Net, to: SocketAddr) {
    let answer = from.inside(|| TcpStream::connect_timeout(&to, SILENCE));
    // A full answer queue at the sender's own filter shows as EPERM on some kernels, silence as a time-out.
    let cut = |e: &std::io::Error| matches!(e.kind(), ErrorKind::TimedOut | ErrorKind::PermissionDenied);
    assert!(answer.as_ref().is_err_and(cut), "{to}: {answer:?}");
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

    assert!(!estate.is_isolated());
    estate.isolate(&[HUB4, HUB6, SILENT_HUB]);
    assert!(estate.is_isolated());

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

    assert!(ward.inside(nft::release).unwrap().was_isolated);
    assert!(!estate.is_isolated());
    for link in others.iter_mut().chain([&mut forwarded, &mut inward]) {
        link.resumes();
    }
    from_hub().unwrap();
    assert!(!ward.inside(nft::release).unwrap().was_isolated, "once more is fine");
}

/// Connects from an address and port of one's own choice.
fn connect_from(from: &str, to: &str) -> std::io::Result<TcpStream> {
    use rustix::net::{AddressFamily, SocketType, bind, connect, socket, sockopt};
    let address = |a: &str| a.parse::<SocketAddr>().unwrap();
    let socket = socket(AddressFamily::INET, SocketType::STREAM, None)?;
    sockopt::set_socket_timeout(&socket, sockopt::Timeout::Send, Some(SILENCE))?;
    bind(&socket, &address(from))?;
    connect(&socket, &address(to))?;
    Ok(socket.into())
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
            let spec = IsolationSpec { hubs: vec![HUB6.parse().unwrap()], dhcp: true };
            assert!(ward.inside(|| nft::isolate(&spec)).unwrap().replaced);
            let during = ward.nft("list ruleset");
            assert!(during.contains("fd09::2") && !during.contains("10.9.0.2"), "{during}");
            assert_eq!(during.matches("table inet wardline_isolate").count(), 1);
            assert!(during.contains("udp sport 68 udp dport 67"), "{during}");
        }
        ward.inside(nft::release).unwrap();
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
    let spec = IsolationSpec { hubs: vec![HUB4.parse().unwrap(), HUB6.parse().unwrap()], dhcp: true };
    estate.ward.inside(|| nft::isolate(&spec)).unwrap();
    let list = || estate.ward.nft("-s list table inet wardline_isolate");
    let listing = list();
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), &listing).unwrap();
    estate.ward.inside(nft::release).unwrap();
    estate.ward.nft(&format!("-f {}", file.path().display()));
    assert_eq!(list(), listing);
    assert!(estate.is_isolated(), "restored by hand, it counts");
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
    ] {
        estate.isolate(&[HUB4]);
        assert!(estate.is_isolated());
        if weaken.starts_with("delete") {
            estate.ward.nft("flush chain inet wardline_isolate forward");
        }
        estate.ward.nft(weaken);
        assert!(!estate.is_isolated(), "{weaken}");
    }
    estate.isolate(&[HUB4]);
    assert!(estate.is_isolated());
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
    let isolation =
        IsolationRecord::new(now, now.plus(Duration::from_hours(1)), spec).ordered("alice", "drill", "a-1");
    record::save(state.path(), &isolation).unwrap();
    // Each call is an agent that has just been started.
    let start = |now: Timestamp| {
        estate.ward.inside(|| {
            let mut responder = LinuxResponder::new(Protected::default()).unwrap();
            wardline_respond::reconcile(&mut responder, state.path(), now, Duration::ZERO).unwrap()
        })
    };
    assert!(matches!(start(now), Reconciled::Isolated(_)));
    assert_eq!(start(now), Reconciled::Unchanged { isolated: true });
    // A reboot: the kernel forgets, the record does not.
    estate.ward.nft("delete table inet wardline_isolate");
    assert!(matches!(start(now), Reconciled::Isolated(_)));

    let released = estate.ward.inside(|| release_local(state.path(), now, "root at the machine")).unwrap();
    assert!(released.was_isolated && !estate.is_isolated());
    assert_eq!(start(now), Reconciled::Unchanged { isolated: false });
    let again = estate.ward.inside(|| release_local(state.path(), now, "root at the machine")).unwrap();
    assert!(!again.was_isolated);

    // Expiry, seen by an agent that was not running then.
    record::save(state.path(), &isolation).unwrap();
    assert!(matches!(start(now), Reconciled::Isolated(_)));
    assert_eq!(start(isolation.expires), Reconciled::Released);
    assert!(!estate.is_isolated());

    // Whatever is wrong with the record, the machine is released.
    estate.isolate(&[HUB4]);
    std::fs::write(state.path().join(record::FILE), "torn").unwrap();
    let said = estate.ward.inside(|| release_local(state.path(), now, "root")).unwrap_err();
    assert!(said.to_string().contains("damaged"), "{said}");
    assert!(!estate.is_isolated());
    assert_eq!(start(now), Reconciled::Unchanged { isolated: false });
}

#[test]
fn the_largest_isolation_is_accepted_by_the_kernel() {
    if !root() {
        return;
    }
    let net = Net::new("many");
    let hubs = (1..=64u16).map(|i| SocketAddr::from(([0xfd09, 0, 0, 0, 0, 0, 0, i], 8443)));
    let spec = IsolationSpec { hubs: hubs.collect(), dhcp: true };
    let report = net.inside(|| nft::isolate(&spec)).unwrap();
    assert_eq!(report.hubs.len(), 64);
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
    let say = |e: IsolateError| println!("{e}");
    nft::isolate(&IsolationSpec::to_hubs([HUB4.parse().unwrap()])).map_or_else(say, |_| println!("isolated"));
    nft::release().map_or_else(say, |_| println!("released"));
    nft::is_isolated().map_or_else(say, |_| println!("answered"));
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
