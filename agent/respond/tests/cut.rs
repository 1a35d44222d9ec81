//! Cuts the network of process trees that the test itself started, in cgroups, network namespaces and a bpffs of its own.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)] // The lint knows test functions, not their helpers.

mod common;

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use common::net::{Estate, Net, SILENCE, SOON, connect_from, run};
use common::{Den, root, until};
use wardline_event::{BootId, ProcessKey};
use wardline_respond::linux::cgroup::Freezer;
use wardline_respond::linux::cut::Cutter;
use wardline_respond::linux::logons::Logons;
use wardline_respond::{Holds, LinuxResponder, Measure, ProcessSpec, Protected, Responder, Rung};

/// Where the world listens for what the ward's processes say. UDP and TCP of each address.
const WORLD: [&str; 2] = ["10.9.0.2", "[fd09::2]"];

/// A cgroup and a bpffs of the test's own. Dropped, they are removed.
struct Ground {
    group: PathBuf,
    bpffs: tempfile::TempDir,
    /// Somebody older than all talkers: the cgroup is not theirs alone.
    elder: Option<Den>,
}

impl Ground {
    /// `home` is shared, as a person's session is; else it is whose who comes first, as a service's is.
    fn new(shared: bool) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let group =
            Freezer::detect().unwrap().mount().join(format!("wl-cut-{}-{number}", std::process::id()));
        fs::create_dir(&group).unwrap();
        fs::create_dir(group.join("home")).unwrap();
        let bpffs = tempfile::tempdir().unwrap();
        run("mount", &format!("-t bpf bpf {}", bpffs.path().display()));
        let script = format!("echo $$ > {} && exec sleep 600", group.join("home/cgroup.procs").display());
        let elder = shared.then(|| Den::start(&script));
        if shared {
            until("the elder is at home", || {
                fs::read_to_string(group.join("home/cgroup.procs")).is_ok_and(|pids| !pids.is_empty())
            });
        }
        Self { group, bpffs, elder }
    }

    /// An agent that has just been started.
    fn responder(&self) -> LinuxResponder {
        let pins = self.bpffs.path().join("wardline");
        let cutter = Cutter::below(&Freezer::detect().unwrap(), &self.group, &pins);
        LinuxResponder::new(Protected::default()).unwrap().with(cutter, Logons::default())
    }

    fn pins(&self) -> Vec<String> {
        let pins = fs::read_dir(self.bpffs.path().join("wardline")).into_iter().flatten().flatten();
        let mut names: Vec<String> = pins.map(|e| e.file_name().to_string_lossy().into_owned()).collect();
        names.sort_unstable();
        names
    }

    /// Starts this very program as somebody who talks, in the ward and in the cgroup `home`.
    fn talker(&self, ward: &Net, port: u16, orders: &Path) -> Den {
        let own = std::env::current_exe().unwrap();
        let home = self.group.join("home/cgroup.procs");
        let script = format!(
            "echo $$ > {} && exec {} --exact helper_that_talks --nocapture",
            home.display(),
            own.display()
        );
        ward.inside(|| {
            let mut command = Command::new("/bin/sh");
            command
                .args(["-c", &script])
                .env("WARDLINE_TALK", port.to_string())
                .env("WARDLINE_ORDERS", orders);
            Den::run(&mut command)
        })
    }

    fn group_of(pid: u32) -> String {
        let text = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
        text.lines().find_map(|line| line.strip_prefix("0::")).unwrap().to_owned()
    }
}

impl Drop for Ground {
    fn drop(&mut self) {
        self.elder = None;
        let _ = Command::new("umount").arg(self.bpffs.path()).status();
        for part in ["wardline", "home", ""] {
            let _ = fs::remove_dir(self.group.join(part));
        }
    }
}

/// When the world last heard something, by flow.
#[derive(Default)]
struct Heard {
    flows: Mutex<Vec<(String, Arc<AtomicU64>)>>,
}

impl Heard {
    fn flow(&self, name: String) -> Arc<AtomicU64> {
        let last = Arc::new(AtomicU64::new(0));
        self.flows.lock().unwrap().push((name, Arc::clone(&last)));
        last
    }

    /// When those who talk on this port were heard last.
    fn last(&self, port: u16) -> u64 {
        let flows = self.flows.lock().unwrap();
        let theirs = flows.iter().filter(|(name, _)| name.ends_with(&format!(":{port}")));
        theirs.map(|(_, last)| last.load(Ordering::Relaxed)).max().unwrap_or(0)
    }

    /// The flows of those who talk on this port and have been heard since `then`.
    fn since(&self, port: u16, then: u64) -> Vec<String> {
        let flows = self.flows.lock().unwrap();
        let talks = |(name, last): &&(String, Arc<AtomicU64>)| {
            name.ends_with(&format!(":{port}")) && last.load(Ordering::Relaxed) > then
        };
        flows.iter().filter(talks).map(|(name, _)| name.clone()).collect()
    }
}

fn now() -> u64 {
    static BEGAN: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
    BEGAN.get_or_init(Instant::now).elapsed().as_nanos() as u64
}

/// The world listens on a port, for as long as the test program runs.
fn listen(world: &Net, heard: &Arc<Heard>, port: u16) {
    for address in WORLD {
        let place = format!("{address}:{port}");
        let (tcp, udp) =
            world.inside(|| (TcpListener::bind(&place).unwrap(), UdpSocket::bind(&place).unwrap()));
        let (to_tcp, last) = (Arc::clone(heard), heard.flow(format!("udp {place}")));
        thread::spawn(move || {
            for mut stream in tcp.incoming().flatten() {
                let last = to_tcp.flow(format!("tcp {place}"));
                thread::spawn(move || {
                    while matches!(stream.read(&mut [0; 64]), Ok(n) if n > 0) {
                        last.store(now(), Ordering::Relaxed);
                    }
                    // The end of a stream is something heard, too.
                    last.store(now(), Ordering::Relaxed);
                });
            }
        });
        thread::spawn(move || {
            while udp.recv(&mut [0; 64]).is_ok() {
                last.store(now(), Ordering::Relaxed);
            }
        });
    }
}

/// Not a test of its own: somebody who talks to the world over all that there is, starts a child that does too, and one
/// more, with a listening socket, when told.
#[test]
fn helper_that_talks() {
    let Some(port) = std::env::var("WARDLINE_TALK").ok().and_then(|p| p.parse::<u16>().ok()) else { return };
    let orders = PathBuf::from(std::env::var_os("WARDLINE_ORDERS").unwrap());
    let generation: u16 = std::env::var("WARDLINE_GENERATION").map_or(0, |g| g.parse().unwrap());
    let child = |generation: u16| {
        Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "helper_that_talks", "--nocapture"])
            .env("WARDLINE_GENERATION", generation.to_string())
            .spawn()
            .unwrap()
    };
    // Connections come to it, and nobody accepts them.
    let _door = TcpListener::bind((Ipv4Addr::UNSPECIFIED, port + 1000 + generation)).unwrap();
    let udp: Vec<(UdpSocket, &str)> = WORLD
        .iter()
        .zip(["0.0.0.0:0", "[::]:0"])
        .map(|(to, own)| (UdpSocket::bind(own).unwrap(), *to))
        .collect();
    let mut tcp: Vec<TcpStream> = Vec::new();
    if generation < 2 {
        tcp = WORLD.iter().map(|to| TcpStream::connect(format!("{to}:{port}")).unwrap()).collect();
        for stream in &tcp {
            stream.set_nonblocking(true).unwrap();
        }
    } else {
        // Nobody answers: it must not wait.
        for to in WORLD {
            let to: SocketAddr = format!("{to}:{port}").parse().unwrap();
            thread::spawn(move || TcpStream::connect_timeout(&to, Duration::from_mins(1)));
        }
    }
    let mut children = Vec::new();
    if generation == 0 {
        children.push(child(1));
    }
    loop {
        for stream in &mut tcp {
            let _ = stream.write(b"x");
        }
        for (socket, to) in &udp {
            let _ = socket.send_to(b"x", format!("{to}:{port}"));
        }
        if generation == 0 && children.len() == 1 && orders.join("late").exists() {
            children.push(child(2));
        }
        thread::sleep(Duration::from_millis(2));
    }
}

/// Nothing is heard of who talks on this port, once what was on its way has been read: on a busy machine that takes time.
fn is_silent(heard: &Heard, port: u16) -> bool {
    thread::sleep(SILENCE);
    let then = now();
    thread::sleep(SILENCE);
    heard.since(port, then).is_empty()
}

fn measure(process: ProcessKey) -> Measure {
    Measure::Process(ProcessSpec { process, descendants: Vec::new() })
}

/// What both processes of a talker say: two TCP connections each, and datagrams.
const ALL: usize = 6;

#[test]
fn a_tree_is_cut_with_its_old_and_new_sockets_and_nobody_else() {
    if !root() {
        return;
    }
    let (ground, estate, heard) = (Ground::new(true), Estate::new(), Arc::new(Heard::default()));
    let Estate { ward, world, .. } = &estate;
    listen(world, &heard, 5000);
    listen(world, &heard, 6000);
    let orders = tempfile::tempdir().unwrap();
    let evil = ground.talker(ward, 5000, orders.path());
    let _neighbour = ground.talker(ward, 6000, orders.path());
    let firewall = ward.nft("-j list ruleset");
    for port in [5000, 6000] {
        until("everybody is heard", || heard.since(port, 0).len() == ALL);
    }
    // Waits to be accepted when the cut comes.
    let mut waiting = world.inside(|| TcpStream::connect("10.9.0.1:6000")).unwrap();
    let measure = measure(evil.root());
    let mut responder = ground.responder();
    assert_eq!(responder.holds(&measure).unwrap(), Holds::No);

    let ordered = now();
    let contained = responder.contain(&measure).unwrap();
    assert!(!contained.replaced && contained.notes.is_empty(), "{contained:?}");
    assert_eq!(responder.holds(&measure).unwrap(), Holds::Yes);
    assert_eq!(responder.cut_processes(), [evil.root()]);
    for pid in evil.wait_for(2).iter().map(|key| key.pid) {
        assert!(Ground::group_of(pid).contains("/wardline/cut-"), "{}", Ground::group_of(pid));
    }
    // What is born in it, and what is accepted by it, is cut too.
    fs::write(orders.path().join("late"), "").unwrap();
    evil.wait_for(3);
    for door in ["10.9.0.1:6000", "10.9.0.1:6001", "10.9.0.1:6002"] {
        assert!(world.inside(|| connect_from("10.9.0.2:0", door)).is_err(), "{door} is reachable");
    }
    waiting.set_read_timeout(Some(SILENCE)).unwrap();
    waiting.write_all(b"knock").unwrap();
    let answer = waiting.read(&mut [0; 8]);
    assert!(answer.is_err(), "a connection that waited heard {answer:?}");
    let before = now();
    thread::sleep(SILENCE);
    let last = heard.last(5000).saturating_sub(ordered) as f64 / 1e6;
    println!("last stray packet {last:.3} ms after the order, which took {:?}", contained.took);
    assert_eq!(heard.since(5000, before), Vec::<String>::new());
    let neighbours = heard.since(6000, before);
    assert!(neighbours.len() >= ALL, "of the neighbour, in the same cgroup, only {neighbours:?} is heard");
    assert_eq!(ward.nft("-j list ruleset"), firewall);

    // The agent ends; the next one finds it as it was.
    drop(responder);
    let mut responder = ground.responder();
    assert_eq!(responder.holds(&measure).unwrap(), Holds::Yes);
    assert!(responder.contain(&measure).map(|c| c.replaced).unwrap());
    assert!(is_silent(&heard, 5000));

    let again = now();
    assert!(responder.release(&Rung::Process(evil.root())).unwrap());
    until("all is heard again", || heard.since(5000, again).len() >= ALL);
    for key in evil.alive() {
        assert!(Ground::group_of(key.pid).ends_with("/home"), "{}", Ground::group_of(key.pid));
    }
    assert_eq!((ground.pins(), responder.cut_processes()), (vec![], vec![]));
    assert!(!responder.release(&Rung::Process(evil.root())).unwrap(), "once more is fine");
    assert_eq!(responder.holds(&measure).unwrap(), Holds::No);
    until("the doors are open", || world.inside(|| connect_from("10.9.0.2:0", "10.9.0.1:6002")).is_ok());
}

#[test]
fn what_is_taken_apart_is_put_right_and_what_has_ended_is_over() {
    if !root() {
        return;
    }
    let (ground, estate, heard) = (Ground::new(false), Estate::new(), Arc::new(Heard::default()));
    listen(&estate.world, &heard, 5000);
    let orders = tempfile::tempdir().unwrap();
    let evil = ground.talker(&estate.ward, 5000, orders.path());
    until("it is heard", || heard.since(5000, 0).len() == ALL);
    let (measure, mut responder) = (measure(evil.root()), ground.responder());
    let pins = ground.bpffs.path().join("wardline");
    let pid = evil.root().pid;
    let name = format!("cut-{pid}-{:x}", evil.root().start_ticks);
    for part in [format!("{name}-tree_out"), "root-socket_in".into(), "sockets".into()] {
        responder.contain(&measure).unwrap();
        assert_eq!(responder.holds(&measure).unwrap(), Holds::Yes);
        fs::remove_file(pins.join(&part)).unwrap();
        assert_eq!(responder.holds(&measure).unwrap(), Holds::No, "without {part}");
    }
    assert!(responder.contain(&measure).unwrap().replaced);
    assert!(is_silent(&heard, 5000));

    // Its first process ends; what it started goes on, cut.
    let mut evil = evil;
    evil.child.kill().unwrap();
    evil.child.wait().unwrap();
    evil.wait_for(1);
    assert_eq!(responder.holds(&measure).unwrap(), Holds::Yes);
    assert!(responder.contain(&measure).unwrap().replaced);
    drop(evil);
    until("nobody is left", || matches!(responder.holds(&measure).unwrap(), Holds::Over(_)));
    let Measure::Process(spec) = &measure else { unreachable!() };
    assert!(responder.release(&Rung::Process(spec.process)).unwrap());
    assert_eq!(ground.pins(), Vec::<String>::new());
    assert!(matches!(responder.holds(&measure).unwrap(), Holds::Over(_)));
    let said = responder.contain(&measure).unwrap_err().to_string();
    assert!(said.contains("is gone"), "{said}");
    // Of another boot: whoever has that pid now is left alone.
    let process = ProcessKey { boot: BootId(7), ..common::key(std::process::id()).unwrap() };
    let other = Measure::Process(ProcessSpec { process, descendants: vec![] });
    let Holds::Over(why) = responder.holds(&other).unwrap() else { panic!("of another boot") };
    assert!(why.contains("started anew"), "{why}");
    assert_eq!(ground.pins(), Vec::<String>::new());
}

#[test]
fn two_trees_are_cut_and_released_one_by_one() {
    if !root() {
        return;
    }
    let (ground, estate, heard) = (Ground::new(true), Estate::new(), Arc::new(Heard::default()));
    let orders = tempfile::tempdir().unwrap();
    let trees: Vec<(u16, Den)> = [5000, 6000]
        .into_iter()
        .map(|port| {
            listen(&estate.world, &heard, port);
            (port, ground.talker(&estate.ward, port, orders.path()))
        })
        .collect();
    let mut responder = ground.responder();
    for (port, tree) in &trees {
        until("it is heard", || heard.since(*port, 0).len() == ALL);
        responder.contain(&measure(tree.root())).unwrap();
    }
    for (port, tree) in &trees {
        assert!(is_silent(&heard, *port));
        let then = now();
        assert_eq!(responder.holds(&measure(tree.root())).unwrap(), Holds::Yes);
        assert!(responder.release(&Rung::Process(tree.root())).unwrap());
        let released = Instant::now();
        until("it is heard again", || heard.since(*port, then).len() >= ALL);
        assert!(released.elapsed() < SOON);
    }
    assert_eq!(ground.pins(), Vec::<String>::new());
}

#[test]
fn who_must_not_be_touched_is_not_cut() {
    if !root() {
        return;
    }
    let ground = Ground::new(true);
    let own = common::key(std::process::id()).unwrap();
    let said = ground.responder().contain(&measure(own)).unwrap_err().to_string();
    assert!(said.contains("it is the agent itself"), "{said}");
    assert_eq!(ground.pins(), Vec::<String>::new());
}
