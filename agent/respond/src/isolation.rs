//! What isolation is: the order, its limits, its report.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The most hubs that one isolation may leave reachable.
pub const MAX_HUBS: usize = 64;

/// What stays reachable. Everything else is dropped, established connections too: loopback is always kept, and so
/// are IPv6 neighbour discovery on the local link and the messages of path MTU discovery, without which a hub
/// could not be reached.
///
/// Names are not resolved while a machine is isolated: whoever isolates must know the hub's addresses.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IsolationSpec {
    /// The hubs: TCP, connections from this machine to them.
    pub hubs: Vec<SocketAddr>,
    /// Also keep DHCP, for machines whose lease is shorter than the isolation.
    #[serde(default)]
    pub dhcp: bool,
}

impl IsolationSpec {
    /// An isolation that keeps these hubs and nothing else.
    pub fn to_hubs(hubs: impl IntoIterator<Item = SocketAddr>) -> Self {
        Self { hubs: hubs.into_iter().collect(), dhcp: false }
    }

    /// The hubs, each once, in order, IPv4 addresses in IPv6's clothes undressed. An isolation with nothing to
    /// reach is refused: nobody could undo it from afar.
    pub fn checked_hubs(&self) -> Result<Vec<SocketAddr>, IsolateError> {
        let mut hubs = BTreeSet::new();
        for hub in &self.hubs {
            let ip = hub.ip().to_canonical();
            let broadcast = matches!(ip, IpAddr::V4(v4) if v4.is_broadcast());
            let what = if hub.port() == 0 {
                "its port is 0"
            } else if ip.is_unspecified() || ip.is_multicast() || broadcast {
                "it is not the address of one machine"
            } else {
                hubs.insert(SocketAddr::new(ip, hub.port()));
                continue;
            };
            return Err(IsolateError::BadHub { hub: *hub, what });
        }
        match hubs.len() {
            0 => Err(IsolateError::NoHub),
            n if n > MAX_HUBS => Err(IsolateError::TooManyHubs(n)),
            _ => Ok(hubs.into_iter().collect()),
        }
    }
}

/// An isolation is in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IsolationReport {
    /// What stays reachable, as checked.
    pub hubs: Vec<SocketAddr>,
    /// True if it replaced an isolation that was in force.
    pub replaced: bool,
    /// From the order until the kernel had switched.
    pub took: Duration,
}

/// There is no isolation (any more).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReleaseReport {
    /// True if there was one.
    pub was_isolated: bool,
}

/// The isolation is as it was before.
#[derive(Debug, thiserror::Error)]
pub enum IsolateError {
    /// Nothing would be reachable.
    #[error("isolation needs at least one hub address, or nobody could release the machine from afar")]
    NoHub,
    /// An address that cannot be a hub's.
    #[error("{hub} cannot be a hub: {what}")]
    BadHub {
        /// The address.
        hub: SocketAddr,
        /// What is wrong with it.
        what: &'static str,
    },
    /// More than [`MAX_HUBS`].
    #[error("{0} hub addresses are too many: isolation keeps at most {MAX_HUBS}")]
    TooManyHubs(usize),
    /// The caller lacks the right.
    #[error("not allowed to change the packet filter: run this as root (it needs CAP_NET_ADMIN)")]
    NotPermitted,
    /// The kernel has no nftables, or not for IPv4 and IPv6 together.
    #[error(
        "this kernel has no nf_tables (`inet` family): load it with `modprobe nf_tables`, or use a kernel with it"
    )]
    NoNfTables,
    /// The kernel refused.
    #[error("{doing} failed")]
    Os {
        /// What was being tried.
        doing: &'static str,
        /// What the system answered.
        #[source]
        source: std::io::Error,
    },
    /// The kernel's answer could not be understood.
    #[error("the kernel's answer to {doing} makes no sense: {what}")]
    Answer {
        /// What was being tried.
        doing: &'static str,
        /// What is wrong with it.
        what: &'static str,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hubs_are_checked_and_brought_into_one_form() {
        let check =
            |hubs: &[&str]| IsolationSpec::to_hubs(hubs.iter().map(|h| h.parse().unwrap())).checked_hubs();
        let said = |hubs: &[&str]| check(hubs).unwrap_err().to_string();
        let good =
            check(&["[2001:db8::1]:8443", "10.0.0.1:8443", "[::ffff:10.0.0.1]:8443", "127.0.0.1:1"]).unwrap();
        let good: Vec<String> = good.iter().map(ToString::to_string).collect();
        assert_eq!(good, ["10.0.0.1:8443", "127.0.0.1:1", "[2001:db8::1]:8443"]);
        assert!(said(&[]).contains("at least one hub"));
        assert!(said(&["10.0.0.1:0"]).contains("port is 0"));
        for bad in
            ["0.0.0.0:1", "[::]:1", "224.0.0.1:1", "[ff02::1]:1", "255.255.255.255:1", "[::ffff:0.0.0.0]:1"]
        {
            assert!(said(&[bad]).contains("not the address of one machine"), "{bad}");
        }
        let many: Vec<SocketAddr> = (1..=65).map(|port| SocketAddr::from(([10, 0, 0, 1], port))).collect();
        assert!(IsolationSpec::to_hubs(many).checked_hubs().unwrap_err().to_string().contains("65"));
    }
}
