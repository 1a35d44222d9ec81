//! Isolation, end to end, between two network namespaces of the test's own. Needs root.
#![allow(clippy::unwrap_used)] // Helpers of tests, which clippy takes for code.

mod common;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use serde_json::json;

use common::up::Up;
use common::{WARDLINE, alone, folder, is_root, said, until};

/// Two namespaces with a wire between them. Dropped, they are removed.
struct Wire {
    ward: String,
    world: String,
}

fn ip(args: &str) {
    said(Command::new("ip").args(args.split(' '))).succeeds();
}

impl Wire {
    fn make() -> Self {
        let id = std::process::id();
        let wire = Self { ward: format!("wl-ward-{id}"), world: format!("wl-world-{id}") };
        let (a, b) = (format!("wla{id}"), format!("wlb{id}"));
        ip(&format!("netns add {}", wire.ward));
        ip(&format!("netns add {}", wire.world));
        ip(&format!("-n {} link add {a} type veth peer name {b} netns {}", wire.ward, wire.world));
        for (ns, end, address) in [(&wire.ward, a, "10.213.77.1/24"), (&wire.world, b, "10.213.77.2/24")] {
            ip(&format!("-n {ns} address add {address} dev {end}"));
            ip(&format!("-n {ns} link set {end} up"));
            ip(&format!("-n {ns} link set lo up"));
        }
        wire
    }

    /// The words that run a command in the ward's namespace. Only the network is another one.
    fn enter(&self) -> Vec<String> {
        vec!["nsenter".into(), format!("--net=/run/netns/{}", self.ward), "--".into()]
    }

    /// Runs something in a thread that is inside one of the namespaces. A socket stays where it was made.
    fn inside<T: Send>(name: &str, run: impl FnOnce() -> T + Send) -> T {
        let namespace = std::fs::File::open(format!("/run/netns/{name}")).unwrap();
        let inside = || {
            move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
            run()
        };
        std::thread::scope(|s| s.spawn(inside).join().unwrap())
    }

    fn nft_tables(&self) -> String {
        let enter = self.enter();
        let mut command = Command::new(&enter[0]);
        said(command.args(&enter[1..]).args(["nft", "list", "tables"])).succeeds().to_owned()
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        for name in [&self.ward, &self.world] {
            let _ = Command::new("ip").args(["netns", "delete", name]).status();
        }
    }
}

/// An echo in the world outside, for as long as the test runs.
fn echo(world: &str) -> SocketAddr {
    let listener = Wire::inside(world, || TcpListener::bind("10.213.77.2:0").unwrap());
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            std::thread::spawn(move || {
                let mut byte = [0];
                while stream.read_exact(&mut byte).is_ok() && stream.write_all(&byte).is_ok() {}
            });
        }
    });
    address
}

/// True if the world answers on this connection.
fn answers(stream: &mut TcpStream) -> bool {
    let mut byte = [0];
    stream.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
    stream.write_all(b"?").is_ok() && stream.read_exact(&mut byte).is_ok()
}

fn connect(ward: &str, to: SocketAddr) -> Option<TcpStream> {
    Wire::inside(ward, || TcpStream::connect_timeout(&to, Duration::from_secs(2)).ok())
}

#[test]
fn isolation_cuts_all_but_the_hub_lasts_and_is_undone_at_the_machine() {
    if !is_root() {
        return;
    }
    let (_lock, dir, wire) = (alone(), folder("isolation"), Wire::make());
    let (data, world) = (dir.path().join("data"), echo(&wire.world));
    let up = Up::start(&data, &wire.enter(), &["--monitor"]);
    let hub = up.client();
    let mut talk = connect(&wire.ward, world).expect("the world is reachable before");
    assert!(answers(&mut talk));

    let device = hub.device()["id"].clone();
    // A lower rung first: the world's port is none of those that it cuts.
    let order = |kind: &str| {
        let id = hub.order(
            &json!({"device": device, "kind": kind, "rung": "east-west", "for_s": 600, "reason": "a drill"}),
        );
        let action = hub.ended(&id);
        assert_eq!(action["state"], "Succeeded", "{action}");
        id
    };
    let status = || {
        let enter = wire.enter();
        let mut command = Command::new(&enter[0]);
        let told = said(
            command.args(&enter[1..]).args([WARDLINE, "agent", "status", "--json", "--data"]).arg(&data),
        );
        serde_json::from_str::<serde_json::Value>(told.succeeds()).unwrap()
    };
    let id = order("contain");
    assert!(wire.nft_tables().contains("wardline_east_west") && answers(&mut talk));
    let told = &status()["containments"];
    assert_eq!((&told[0]["rung"], &told[0]["in_force"]), (&json!("east-west"), &json!(true)), "{told}");
    until("the hub hears of it", || (hub.device()["containments"][0]["action"] == id.as_str()).then_some(()));
    order("lift");
    assert!(!wire.nft_tables().contains("wardline_east_west"));
    assert_eq!(status()["containments"], json!([]));
    until("the hub hears of it", || (hub.device()["containments"] == json!([])).then_some(()));

    let id = hub.order(&json!({"device": device, "kind": "isolate", "for_s": 600, "reason": "a drill"}));
    let action = hub.ended(&id);
    assert_eq!(action["state"], "Succeeded", "{action}");
    assert!(!answers(&mut talk), "an established connection must be cut");
    assert!(connect(&wire.ward, world).is_none(), "no new connection may be made");
    assert!(wire.nft_tables().contains("wardline_isolate"), "{}", wire.nft_tables());
    // It went no further than the namespace.
    let outside = said(Command::new("nft").args(["list", "tables"]));
    assert!(!outside.succeeds().contains("wardline_isolate"), "{}", outside.out);

    // The agent dies; the isolation does not, and the next start knows of it.
    let mut up = up;
    let parts = up.parts();
    common::process::signal(&up.running.child, Signal::KILL);
    up.running.child.wait().unwrap();
    Up::have_ended(&parts);
    drop(up);
    assert!(connect(&wire.ward, world).is_none());
    let mut up = Up::start(&data, &wire.enter(), &["--monitor"]);
    let client = up.client();
    let device = client.device();
    assert!(device["isolated_until_ms"].is_i64(), "{device}");
    assert_eq!(device["isolation_action"], id.as_str());
    assert!(wire.nft_tables().contains("wardline_isolate"));
    assert!(connect(&wire.ward, world).is_none());

    // At the machine, while the agent runs. The wrong folder does not last, and that is said.
    let enter = wire.enter();
    let release = |data: &[&str]| {
        let mut command = Command::new(&enter[0]);
        said(command.args(&enter[1..]).args([WARDLINE, "agent", "release", "--local"]).args(data))
    };
    let other = folder("elsewhere");
    let elsewhere = other.path().to_str().unwrap();
    let agent = data.join("agent");
    release(&["--data", elsewhere]).refuses(&["no isolation record in", elsewhere, agent.to_str().unwrap()]);
    until("the agent isolates again", || wire.nft_tables().contains("wardline_isolate").then_some(()));
    // Without a folder it is the one of the agent that isolated: its checks, every five seconds, change nothing.
    assert!(release(&[]).succeeds().contains("the network is open again"));
    let released = Instant::now();
    while released.elapsed() < Duration::from_secs(11) {
        assert!(!wire.nft_tables().contains("wardline_isolate"), "isolated again by the running agent");
        std::thread::sleep(Duration::from_millis(200));
    }
    assert!(answers(&mut connect(&wire.ward, world).expect("reachable again")));
    until("the hub hears of it", || client.device()["isolated_until_ms"].is_null().then_some(()));

    let id =
        client.order(&json!({"device": device["id"], "kind": "isolate", "for_s": 600, "reason": "again"}));
    assert_eq!(client.ended(&id)["state"], "Succeeded");
    assert_eq!(up.running.interrupt().code(), Some(0));
    assert!(connect(&wire.ward, world).is_none(), "stopping the agent must not open the network");

    // At the machine, without hub and network; the folder may be the one of `wardline up`.
    let release = || release(&["--data", data.to_str().unwrap()]).succeeds().to_owned();
    assert!(release().contains("the network is open again"));
    assert!(!wire.nft_tables().contains("wardline_isolate"));
    assert!(answers(&mut connect(&wire.ward, world).expect("reachable again")));
    assert!(release().contains("was not isolated"), "once more changes nothing");

    // And it stays released: the next agent does not take the isolation up again.
    let up = Up::start(&data, &enter, &["--monitor"]);
    assert!(up.client().device()["isolated_until_ms"].is_null());
    assert!(answers(&mut connect(&wire.ward, world).expect("still reachable")));
}
