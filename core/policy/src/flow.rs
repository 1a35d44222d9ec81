//! Flows that a containment keeps open, because patients depend on them: each named, with a reason, and narrow.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The most flows that one device's policy may keep.
pub const MAX_KEPT_FLOWS: usize = 64;
/// The widest networks that a flow may name. Whoever keeps more open than this cuts nothing.
const WIDEST: (u8, u8) = (16, 48);
/// The most ports that one flow may name.
const MOST_PORTS: u16 = 1000;
/// Characters of a name and of a reason.
const LONGEST: (usize, usize) = (80, 300);

/// Who opens the connection.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// This device, to the peer's port.
    Out,
    /// The peer, to this device's port.
    In,
}

/// What carries it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Transport {
    /// TCP
    Tcp,
    /// UDP
    Udp,
}

/// One flow that stays open: `out tcp 10.1.2.3 port 104`, called "Images to the archive".
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct KeptFlow {
    /// What people call it.
    pub name: String,
    /// Why it must stay open.
    pub reason: String,
    /// Who opens it.
    pub direction: Direction,
    /// What carries it.
    pub protocol: Transport,
    /// The other side.
    pub peer: Network,
    /// The ports of whoever is connected to: the peer's for [`Direction::Out`], else this device's.
    pub ports: Ports,
}

impl KeptFlow {
    /// What is wrong with it; none if it may be kept.
    pub fn fault(&self) -> Option<String> {
        let bad = |text: &str, most: usize| text.trim().is_empty() || text.chars().count() > most;
        if bad(&self.name, LONGEST.0) {
            return Some(format!("its name must have 1 to {} characters", LONGEST.0));
        }
        if bad(&self.reason, LONGEST.1) {
            return Some(format!("its reason must have 1 to {} characters", LONGEST.1));
        }
        if [&self.name, &self.reason].iter().any(|text| text.chars().any(char::is_control)) {
            return Some("its name or reason holds a control character".to_owned());
        }
        let (address, widest) = match self.peer.address {
            IpAddr::V4(_) => (self.peer.address, WIDEST.0),
            IpAddr::V6(_) => (self.peer.address, WIDEST.1),
        };
        if self.peer.prefix < widest {
            return Some(format!("{} is wider than /{widest}: it would keep more than it cuts", self.peer));
        }
        let broadcast = matches!(address, IpAddr::V4(v4) if v4.is_broadcast());
        if address.is_unspecified() || address.is_multicast() || address.is_loopback() || broadcast {
            return Some(format!("{} is not the address of other machines", self.peer));
        }
        None
    }
}

impl fmt::Display for KeptFlow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let protocol = match self.protocol {
            Transport::Tcp => "tcp",
            Transport::Udp => "udp",
        };
        match self.direction {
            Direction::Out => write!(f, "to {} {protocol} port {}", self.peer, self.ports),
            Direction::In => write!(f, "from {} to this device's {protocol} port {}", self.peer, self.ports),
        }
    }
}

/// An address, or a network in CIDR form. Names are not taken: nobody can resolve them on a contained machine.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Network {
    address: IpAddr,
    prefix: u8,
}

impl Network {
    /// Its first address; the bits after the prefix are zero.
    pub fn address(&self) -> IpAddr {
        self.address
    }

    /// How many bits all its addresses share.
    pub fn prefix(&self) -> u8 {
        self.prefix
    }

    /// True if it is one machine's address.
    pub fn is_host(&self) -> bool {
        self.prefix == bits(self.address)
    }

    /// Whether an address lies in it.
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        bits(address) == bits(self.address) && masked(address, self.prefix) == self.address
    }
}

fn bits(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

/// The address without the bits after the prefix.
fn masked(address: IpAddr, prefix: u8) -> IpAddr {
    match address {
        IpAddr::V4(v4) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0);
            IpAddr::V4((v4.to_bits() & mask).into())
        }
        IpAddr::V6(v6) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or(0);
            IpAddr::V6((v6.to_bits() & mask).into())
        }
    }
}

/// Text that is no address and no network.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum NetworkError {
    /// Not an address.
    #[error(
        "`{0}` is neither an IP address nor a network such as 10.1.2.0/24; names cannot be used, because nobody resolves them on a contained machine"
    )]
    Address(String),
    /// The prefix is no number, or too long for the address.
    #[error("`{0}`: the prefix length must be 0 to 32 for IPv4 and 0 to 128 for IPv6")]
    Prefix(String),
    /// Bits after the prefix.
    #[error(
        "`{given}` names an address inside a network: write {network} for the network, or the address alone"
    )]
    HostBits {
        /// What was given.
        given: String,
        /// What was probably meant.
        network: String,
    },
}

impl FromStr for Network {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Self, NetworkError> {
        let (address, prefix) = text.split_once('/').map_or((text, None), |(a, p)| (a, Some(p)));
        let address: IpAddr = address.parse().map_err(|_| NetworkError::Address(text.to_owned()))?;
        // IPv4 in IPv6's clothes is IPv4 on the wire; with a prefix nobody could say what is meant.
        let plain = address.to_canonical();
        let prefix = match prefix {
            None => bits(plain),
            Some(_) if plain != address => return Err(NetworkError::Address(text.to_owned())),
            Some(p) if p.bytes().all(|b| b.is_ascii_digit()) => p
                .parse()
                .ok()
                .filter(|p| *p <= bits(plain))
                .ok_or_else(|| NetworkError::Prefix(text.to_owned()))?,
            Some(_) => return Err(NetworkError::Prefix(text.to_owned())),
        };
        let network = Self { address: masked(plain, prefix), prefix };
        if network.address != plain {
            return Err(NetworkError::HostBits { given: text.to_owned(), network: network.to_string() });
        }
        Ok(network)
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_host() { self.address.fmt(f) } else { write!(f, "{}/{}", self.address, self.prefix) }
    }
}

impl TryFrom<String> for Network {
    type Error = NetworkError;

    fn try_from(text: String) -> Result<Self, NetworkError> {
        text.parse()
    }
}

impl From<Network> for String {
    fn from(network: Network) -> Self {
        network.to_string()
    }
}

/// A port, or a range: `104`, `11112-11115`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Ports {
    first: u16,
    last: u16,
}

impl Ports {
    /// The first and the last.
    pub fn range(&self) -> (u16, u16) {
        (self.first, self.last)
    }
}

/// Text that names no ports.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("`{0}` is neither a port (1 to 65535) nor a range of at most {MOST_PORTS} such as 11112-11115")]
pub struct PortsError(String);

impl FromStr for Ports {
    type Err = PortsError;

    fn from_str(text: &str) -> Result<Self, PortsError> {
        let port = |text: &str| {
            let digits = text.bytes().all(|b| b.is_ascii_digit());
            text.parse::<u16>().ok().filter(|port| digits && *port > 0)
        };
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        match (port(first), port(last)) {
            (Some(first), Some(last)) if first <= last && last - first < MOST_PORTS => {
                Ok(Self { first, last })
            }
            _ => Err(PortsError(text.to_owned())),
        }
    }
}

impl fmt::Display for Ports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.first == self.last { self.first.fmt(f) } else { write!(f, "{}-{}", self.first, self.last) }
    }
}

impl TryFrom<String> for Ports {
    type Error = PortsError;

    fn try_from(text: String) -> Result<Self, PortsError> {
        text.parse()
    }
}

impl From<Ports> for String {
    fn from(ports: Ports) -> Self {
        ports.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn networks_and_ports_as_people_write_them() {
        for (text, shown) in [
            ("10.1.2.3", "10.1.2.3"),
            ("10.1.2.3/32", "10.1.2.3"),
            ("10.1.2.0/24", "10.1.2.0/24"),
            ("::ffff:10.1.2.3", "10.1.2.3"),
            ("2001:db8::/48", "2001:db8::/48"),
            ("0.0.0.0/0", "0.0.0.0/0"),
        ] {
            assert_eq!(text.parse::<Network>().unwrap().to_string(), shown);
        }
        for (text, says) in [
            ("10.1.2.3/24", "write 10.1.2.0/24"),
            ("archive.trust.example", "names cannot be used"),
            ("10.1.2.0/33", "prefix length"),
            ("10.1.2.0/+8", "prefix length"),
            ("::ffff:10.0.0.0/104", "neither an IP address"),
            ("", "neither an IP address"),
        ] {
            let said = text.parse::<Network>().unwrap_err().to_string();
            assert!(said.contains(says), "{said}");
        }
        for (text, range) in
            [("104", Some((104, 104))), ("1-1000", Some((1, 1000))), ("1-1001", None), ("0", None)]
        {
            assert_eq!(text.parse::<Ports>().ok().map(|p| p.range()), range, "{text}");
        }
        for text in ["", "-", "104-", "9-8", "+104", "65536", "104,105"] {
            assert!(text.parse::<Ports>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_kept_flow_is_named_reasoned_and_narrow() {
        let flow = KeptFlow {
            name: "Images to the archive".into(),
            reason: "reporting stops without them".into(),
            direction: Direction::Out,
            protocol: Transport::Tcp,
            peer: "10.1.2.3".parse().unwrap(),
            ports: "104".parse().unwrap(),
        };
        assert_eq!(flow.fault(), None);
        let says = |change: &dyn Fn(&mut KeptFlow)| {
            let mut flow = flow.clone();
            change(&mut flow);
            flow.fault().unwrap()
        };
        assert!(says(&|f| f.name = "  ".into()).contains("name"));
        assert!(says(&|f| f.reason = "x".repeat(301)).contains("reason"));
        assert!(says(&|f| f.name = "a\u{1b}[31m".into()).contains("control character"));
        assert!(says(&|f| f.peer = "10.0.0.0/15".parse().unwrap()).contains("wider than /16"));
        assert!(says(&|f| f.peer = "2000::/3".parse().unwrap()).contains("wider than /48"));
        for peer in ["224.0.0.0/16", "127.0.0.1", "255.255.255.255", "ff02::1"] {
            assert!(says(&|f| f.peer = peer.parse().unwrap()).contains("other machines"), "{peer}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(address: IpAddr, prefix in 0u8..=128, first in 1u16.., more in 0u16..1000) {
            let address = address.to_canonical();
            let prefix = prefix.min(bits(address));
            let network = Network { address: masked(address, prefix), prefix };
            prop_assert_eq!(network.to_string().parse::<Network>().unwrap(), network);
            prop_assert!(network.contains(address));
            let ports = Ports { first, last: first.saturating_add(more) };
            prop_assert_eq!(ports.to_string().parse::<Ports>().unwrap(), ports);
        }

        #[test]
        fn a_network_holds_what_shares_its_prefix(a: u32, b: u32, prefix in 0u8..=32) {
            let network = Network { address: masked(IpAddr::V4(a.into()), prefix), prefix };
            let same = prefix == 0 || a >> (32 - prefix) == b >> (32 - prefix);
            prop_assert_eq!(network.contains(IpAddr::V4(b.into())), same);
        }
    }
}
