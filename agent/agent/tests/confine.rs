//! What a confined courier can still do, tried out by a process that confines itself.
#![allow(clippy::unwrap_used)] // Helpers of tests, which clippy takes for code.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::unix::process::CommandExt;
use std::process::Command;

use rustix::net::{AddressFamily, SocketType, socket};
use rustix::process::{Pid, Signal, geteuid, kill_process};
use rustix::thread::set_no_new_privs;
use wardline_agent::courier::confine::{Wish, confine};

/// Names this test's own child.
const PORT: &str = "WARDLINE_TEST_CONFINED";
const USER: u32 = 65_519;

/// Tries everything and prints what became of it, a line each.
#[test]
#[ignore = "the test below runs it in a process of its own"]
fn attempts() {
    let Ok(ports) = std::env::var(PORT) else { return };
    let (hub, other) = ports.split_once(',').unwrap();
    let (hub, other): (u16, u16) = (hub.parse().unwrap(), other.parse().unwrap());
    let parent = Pid::from_raw(std::os::unix::process::parent_id().cast_signed()).unwrap();
    let user = geteuid().is_root().then_some((USER, USER));
    let missing = confine(Wish { user, port: Some(hub) }).unwrap();
    println!("\nconfined: {}", missing.join("; "));
    let say = |what: &str, result: io::Result<()>| match result {
        Ok(()) => println!("{what}: done"),
        Err(error) => println!("{what}: {}", error.raw_os_error().unwrap_or(-1)),
    };
    let tcp = |port: u16| TcpStream::connect(("127.0.0.1", port)).map(drop);
    say("connect to the hub", tcp(hub));
    say("connect elsewhere", tcp(other));
    say("find an address", std::net::ToSocketAddrs::to_socket_addrs("localhost:1").map(drop));
    say("ask a name server", UdpSocket::bind("127.0.0.1:0").map(drop));
    say("listen", TcpListener::bind("127.0.0.1:0").map(drop));
    let raw = |family, kind| socket(family, kind, None).map(drop).map_err(io::Error::from);
    say("raw socket", raw(AddressFamily::INET, SocketType::RAW));
    say("packet socket", raw(AddressFamily::PACKET, SocketType::RAW));
    say("netlink socket", raw(AddressFamily::NETLINK, SocketType::RAW));
    say("read /etc/hosts", fs::read("/etc/hosts").map(drop));
    say("read /etc/shadow", fs::read("/etc/shadow").map(drop));
    say("read /proc/1/environ", fs::read("/proc/1/environ").map(drop));
    say(
        "read a file of its own folder",
        fs::read(env!("CARGO_MANIFEST_DIR").to_owned() + "/Cargo.toml").map(drop),
    );
    say("write to /tmp", fs::write("/tmp/wardline-test-confined", b"x"));
    say("signal its parent", kill_process(parent, Signal::CONT).map_err(io::Error::from));
    say("run a program", Err(Command::new("/bin/true").exec()));
    say("thread", std::thread::Builder::new().spawn(|| ()).map(drop));
    say(
        "change its user back",
        rustix::thread::set_thread_uid(rustix::thread::Uid::ROOT).map_err(io::Error::from),
    );
    say("new privileges", set_no_new_privs(false).map_err(io::Error::from));
}

#[test]
fn a_confined_courier_reaches_the_hub_and_nothing_else() {
    let listeners = [0, 0].map(|_| TcpListener::bind("127.0.0.1:0").unwrap());
    let [hub, other] = listeners.each_ref().map(|l| l.local_addr().unwrap().port());
    let run = |as_user: Option<u32>| -> BTreeMap<String, String> {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "attempts", "--ignored", "--nocapture"]).env(PORT, format!("{hub},{other}"));
        if let Some(uid) = as_user {
            command.uid(uid).gid(uid);
        }
        let out = command.output().unwrap();
        let text = String::from_utf8(out.stdout).unwrap();
        let lines = text.lines().filter_map(|line| line.split_once(": "));
        lines.map(|(what, became)| (what.to_owned(), became.to_owned())).collect()
    };
    let mut found = vec![run(None)];
    if geteuid().is_root() {
        found.push(run(Some(65_518)));
    } else {
        assert!(std::env::var_os("CI").is_none(), "CI must run this test as root");
        eprintln!("skipped in part: needs root to start as root");
    }
    let (eperm, eacces) = ("1", "13");
    for found in found {
        let Some(missing) = found.get("confined") else { panic!("it did not confine itself: {found:?}") };
        for (what, expected) in [
            ("connect to the hub", "done"),
            ("find an address", "done"),
            ("read /etc/hosts", "done"),
            ("thread", "done"),
            ("read /etc/shadow", eacces),
            ("listen", eperm),
            ("raw socket", eperm),
            ("packet socket", eperm),
            ("netlink socket", eperm),
            ("signal its parent", eperm),
            ("run a program", eperm),
            ("change its user back", eperm),
            ("new privileges", eperm),
        ] {
            assert_eq!(found[what], expected, "{what}");
        }
        for denied in
            ["read /proc/1/environ", "read a file of its own folder", "write to /tmp", "connect elsewhere"]
        {
            if missing.contains("Landlock") {
                eprintln!("skipped: {denied}: {missing}");
            } else {
                assert_eq!(found[denied], eacces, "{denied}");
            }
        }
    }
}

#[test]
fn a_courier_that_would_stay_root_does_not_start() {
    if !geteuid().is_root() {
        assert!(std::env::var_os("CI").is_none(), "CI must run this test as root");
        eprintln!("skipped: needs root");
        return;
    }
    for user in [None, Some((0, 1)), Some((1, 0))] {
        let refused = std::thread::spawn(move || confine(Wish { user, port: None })).join().unwrap();
        assert!(refused.unwrap_err().to_string().contains("it is root"), "{user:?}");
    }
}
