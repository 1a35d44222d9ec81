//! Network namespaces of a test, and cables between them.

use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// How long something that must happen may take.
pub const SOON: Duration = Duration::from_secs(20);
/// How long to listen for what must not come. Too short can only hide a fault, never invent one.
pub const SILENCE: Duration = Duration::from_millis(400);

pub fn run(program: &str, args: &str) -> String {
    let out = Command::new(program).args(args.split_whitespace()).output().unwrap();
    assert!(out.status.success(), "{program} {args}: {}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8(out.stdout).unwrap()
}

/// A network namespace; goes with the value.
pub struct Net(pub String);

impl Net {
    pub fn new(name: &str) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let net = Self(format!("wl-{}-{}-{name}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed)));
        run("ip", &format!("netns add {}", net.0));
        net.ip("link set lo up");
        net
    }

    pub fn ip(&self, args: &str) {
        run("ip", &format!("-n {} {args}", self.0));
    }

    pub fn nft(&self, args: &str) -> String {
        run("ip", &format!("netns exec {} nft {args}", self.0))
    }

    /// Runs something on a thread inside.
    pub fn inside<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
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

/// A cable between two namespaces, with these addresses at its ends.
pub fn cable(a: &Net, a_addresses: &[&str], b: &Net, b_addresses: &[&str], name: &str) {
    run("ip", &format!("link add {name} netns {} type veth peer name {name} netns {}", a.0, b.0));
    for (net, addresses) in [(a, a_addresses), (b, b_addresses)] {
        for address in addresses {
            let nodad = if address.contains(':') { "nodad" } else { "" };
            net.ip(&format!("addr add {address} dev {name} {nodad}"));
        }
        net.ip(&format!("link set {name} up"));
    }
}

/// `ward` is to be contained. `world` holds the hub and everything else. `pod` reaches `world` through `ward`, over a
/// bridge, as a container does.
pub struct Estate {
    pub ward: Net,
    pub world: Net,
    pub pod: Net,
}

impl Estate {
    pub fn new() -> Self {
        let estate = Self { ward: Net::new("ward"), world: Net::new("world"), pod: Net::new("pod") };
        let Self { ward, world, pod } = &estate;
        let world_addresses = ["10.9.0.2/24", "10.9.0.3/24", "fd09::2/64", "fd09::3/64"];
        cable(ward, &["10.9.0.1/24", "fd09::1/64"], world, &world_addresses, "out");
        cable(ward, &[], pod, &["10.8.0.2/24", "fd08::2/64"], "pods");
        ward.ip("link add bridge type bridge");
        ward.ip("link set pods master bridge");
        ward.ip("addr add 10.8.0.1/24 dev bridge");
        ward.ip("addr add fd08::1/64 dev bridge nodad");
        ward.ip("link set bridge up");
        pod.ip("route add default via 10.8.0.1");
        pod.ip("-6 route add default via fd08::1");
        world.ip("route add 10.8.0.0/24 via 10.9.0.1");
        world.ip("-6 route add fd08::/64 via fd09::1");
        ward.inside(|| {
            std::fs::write("/proc/sys/net/ipv4/ip_forward", "1").unwrap();
            std::fs::write("/proc/sys/net/ipv6/conf/all/forwarding", "1").unwrap();
        });
        estate
    }

    /// A server in `world` that can be connected to from `from`, and both ends of one connection to it.
    pub fn connect(&self, from: &Net, address: &str) -> Link {
        let listener = self.world.inside(|| TcpListener::bind(address).unwrap());
        let mut link = Link::make(from, listener);
        link.talks();
        link
    }
}

/// A TCP connection, both ends in hand.
pub struct Link {
    pub listener: TcpListener,
    pub near: TcpStream,
    pub far: TcpStream,
}

impl Link {
    pub fn make(from: &Net, listener: TcpListener) -> Self {
        let address = listener.local_addr().unwrap();
        let near = from.inside(|| TcpStream::connect_timeout(&address, SOON)).unwrap();
        let far = listener.accept().unwrap().0;
        Self { listener, near, far }
    }

    /// Both directions carry data.
    pub fn talks(&mut self) {
        exchange(&mut self.near, &mut self.far);
        exchange(&mut self.far, &mut self.near);
    }

    pub fn send_both_ways(&mut self) {
        self.near.write_all(b"from the ward").unwrap();
        self.far.write_all(b"to the ward").unwrap();
    }

    /// Nothing has arrived.
    pub fn heard_nothing(&mut self) {
        for end in [&mut self.near, &mut self.far] {
            end.set_nonblocking(true).unwrap();
            let heard = end.read(&mut [0; 64]);
            let nothing = heard.as_ref().is_err_and(|e| e.kind() == ErrorKind::WouldBlock);
            assert!(nothing, "{:?} heard {heard:?}", end.local_addr());
            end.set_nonblocking(false).unwrap();
        }
    }

    /// What was sent while the connection was cut arrives now: it was the isolation that held it up.
    pub fn resumes(&mut self) {
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

pub fn exchange(from: &mut TcpStream, to: &mut TcpStream) {
    from.write_all(b"hello").unwrap();
    to.set_read_timeout(Some(SOON)).unwrap();
    let mut heard = [0; 5];
    to.read_exact(&mut heard).unwrap();
    assert_eq!(&heard, b"hello");
}

pub fn refuses(from: &Net, to: SocketAddr) {
    let answer = from.inside(|| TcpStream::connect_timeout(&to, SILENCE));
    // A full answer queue at the sender's own filter shows as EPERM on some kernels, silence as a time-out.
    let cut = |e: &std::io::Error| matches!(e.kind(), ErrorKind::TimedOut | ErrorKind::PermissionDenied);
    assert!(answer.as_ref().is_err_and(cut), "{to}: {answer:?}");
}

/// Connects from an address and port of one's own choice.
pub fn connect_from(from: &str, to: &str) -> std::io::Result<TcpStream> {
    use rustix::net::{AddressFamily, SocketType, bind, connect, socket, sockopt};
    let address = |a: &str| a.parse::<SocketAddr>().unwrap();
    let socket = socket(AddressFamily::INET, SocketType::STREAM, None)?;
    sockopt::set_socket_timeout(&socket, sockopt::Timeout::Send, Some(SILENCE))?;
    bind(&socket, &address(from))?;
    connect(&socket, &address(to))?;
    Ok(socket.into())
}
