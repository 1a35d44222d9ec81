//! What each containment's table holds. Pure.

use std::net::{IpAddr, SocketAddr};

use wardline_policy::{Direction, KeptFlow, Network, Transport};

use super::rule::{ACCEPT, DROP, Header, ICMP, ICMPV6, Rule, TCP, Test, UDP, ipv4, ipv6, loopback, protocol};
use crate::measure::{ContainError, EastWestSpec, IsolationSpec, checked_flows, checked_hubs};

/// A table of ours in family `inet` (IPv4 and IPv6), with a chain on each of [`CHAINS`].
pub(super) struct Table {
    /// Its name.
    pub name: &'static str,
    /// What a person who lists it reads.
    pub comment: &'static str,
    /// What becomes of a packet that no rule names.
    pub policy: u32,
    /// In the order in which they are asked.
    pub rules: Vec<Rule>,
}

/// The chains' names and hooks (`NF_INET_LOCAL_IN`, `NF_INET_FORWARD`, `NF_INET_LOCAL_OUT`).
pub(super) const CHAINS: [(&str, u32); 3] = [("input", 1), ("forward", 2), ("output", 3)];
/// The table of the isolation.
pub const ISOLATION: &str = "wardline_isolate";
/// The table that cuts SMB, RDP, SSH and WinRM.
pub const EAST_WEST: &str = "wardline_east_west";

/// What attackers move along inside a network: protocol, port, name.
const EAST_WEST_PORTS: [(u8, u16, &str); 8] = [
    (TCP, 445, "SMB"),
    (TCP, 139, "SMB over NetBIOS"),
    (TCP, 3389, "RDP"),
    (UDP, 3389, "RDP"),
    (TCP, 22, "SSH"),
    (TCP, 5985, "WinRM"),
    (TCP, 5986, "WinRM over TLS"),
    // Where QUIC carries SMB it has HTTPS' port, which stays open: see the page on responses.
    (UDP, 445, "SMB"),
];

/// Everything is dropped but what the isolation keeps.
pub(super) fn isolation(spec: &IsolationSpec) -> Result<Table, ContainError> {
    let hubs = spec.checked_hubs()?;
    let keep = checked_flows(&spec.keep)?;
    let mut rules = own_machine();
    rules.extend(hubs.iter().flat_map(hub));
    rules.extend(keep.iter().flat_map(kept));
    rules.extend(plumbing());
    if spec.dhcp {
        rules.extend(dhcp());
    }
    rules.extend(CHAINS.map(|(chain, _)| Rule::drop(chain, "cut by the isolation", vec![])));
    let comment = "isolated by Wardline; undo: wardline agent release --local";
    Ok(Table { name: ISOLATION, comment, policy: DROP, rules })
}

/// SMB, RDP, SSH and WinRM are dropped, both ways, but for the hubs and the kept flows.
pub(super) fn east_west(spec: &EastWestSpec) -> Result<Table, ContainError> {
    let keep = checked_flows(&spec.keep)?;
    let mut rules = own_machine();
    rules.extend(checked_hubs(&spec.hubs)?.iter().flat_map(hub));
    rules.extend(keep.iter().flat_map(kept));
    for (chain, _) in CHAINS {
        for (number, port, name) in EAST_WEST_PORTS {
            // The source port and the destination port: packets to the service, and its answers, so that what was
            // established before is cut as well.
            for offset in [0, 2] {
                let tests = vec![
                    protocol(number),
                    Test::Bytes(Header::Transport, offset, port.to_be_bytes().to_vec()),
                ];
                rules.push(Rule::drop(chain, format!("{name} is cut"), tests));
            }
        }
    }
    let comment = "SMB, RDP, SSH and WinRM cut by Wardline; undo: wardline agent release --local";
    Ok(Table { name: EAST_WEST, comment, policy: ACCEPT, rules })
}

const IIF: u32 = 4;
const OIF: u32 = 5;

fn own_machine() -> Vec<Rule> {
    vec![
        Rule::accept("input", "this machine to itself", vec![loopback(IIF)]),
        Rule::accept("output", "this machine to itself", vec![loopback(OIF)]),
    ]
}

/// Where the addresses of a family stand: RFC 791 section 3.1, RFC 8200 section 3.
struct Places {
    family: Test,
    source: u32,
    destination: u32,
}

fn places(address: IpAddr) -> Places {
    match address {
        IpAddr::V4(_) => Places { family: ipv4(), source: 12, destination: 16 },
        IpAddr::V6(_) => Places { family: ipv6(), source: 8, destination: 24 },
    }
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    }
}

/// Answers only: without this, whoever forges the other side's address and port could open connections. SYN without ACK is
/// the first packet of a connection (RFC 9293 section 3.5).
fn no_first_packet() -> Test {
    Test::MaskedNot(Header::Transport, 13, 0x12, 0x02)
}

fn hub(hub: &SocketAddr) -> [Rule; 2] {
    use Header::{Network, Transport};
    let Places { family, source, destination } = places(hub.ip());
    let (address, port) = (octets(hub.ip()), hub.port().to_be_bytes().to_vec());
    let to = vec![
        family.clone(),
        protocol(TCP),
        Test::Bytes(Network, destination, address.clone()),
        Test::Bytes(Transport, 2, port.clone()),
    ];
    let from = vec![
        family,
        protocol(TCP),
        Test::Bytes(Network, source, address),
        Test::Bytes(Transport, 0, port),
        no_first_packet(),
    ];
    [Rule::accept("output", "to the hub", to), Rule::accept("input", "from the hub, answers only", from)]
}

/// An address, or the bits that a network's addresses share.
fn within(network: &Network, offset: u32) -> Test {
    let address = octets(network.address());
    if network.is_host() {
        return Test::Bytes(Header::Network, offset, address);
    }
    let bit = |i: usize| u8::from(i < usize::from(network.prefix()));
    let mask = (0..address.len()).map(|byte| (0..8).fold(0, |m, i| m << 1 | bit(byte * 8 + i))).collect();
    Test::Masked(Header::Network, offset, mask, address)
}

/// The service's port is the destination in packets to it, the source in its answers.
fn kept(flow: &KeptFlow) -> [Rule; 2] {
    let Places { family, source, destination } = places(flow.peer.address());
    let (first, last) = flow.ports.range();
    let ports = |offset| {
        Test::Between(Header::Transport, offset, first.to_be_bytes().to_vec(), last.to_be_bytes().to_vec())
    };
    let number = match flow.protocol {
        Transport::Tcp => TCP,
        Transport::Udp => UDP,
    };
    let comment = format!("kept: {}", flow.name);
    let (to_service, answers) = match flow.direction {
        Direction::Out => (("output", destination), ("input", source)),
        Direction::In => (("input", source), ("output", destination)),
    };
    let rule = |(chain, address), port, answer: bool| {
        let mut tests = vec![family.clone(), protocol(number), within(&flow.peer, address), ports(port)];
        if answer && number == TCP {
            tests.push(no_first_packet());
        }
        Rule::accept(chain, comment.clone(), tests)
    };
    [rule(to_service, 2, false), rule(answers, 0, true)]
}

/// Without which no hub could be reached.
fn plumbing() -> Vec<Rule> {
    use Header::{Network, Transport};
    let mut rules = Vec::new();
    // IPv6 finds neighbours and routers by ICMPv6 133–136 (RFC 4861), valid only with the hop limit at 255, that is,
    // from the local link. IPv4's ARP does not pass these chains.
    for chain in ["input", "output"] {
        let tests = vec![
            ipv6(),
            protocol(ICMPV6),
            Test::Bytes(Network, 7, vec![255]),
            Test::Between(Transport, 0, vec![133], vec![136]),
        ];
        rules.push(Rule::accept(chain, "neighbour discovery", tests));
    }
    // Switches that watch multicast pass neighbour solicitations only to those who reported (RFC 3810, RFC 4541).
    for (chain, from, to) in [("input", 130, 130), ("output", 131, 132), ("output", 143, 143)] {
        let tests = vec![
            ipv6(),
            protocol(ICMPV6),
            Test::Bytes(Network, 7, vec![1]),
            Test::Between(Transport, 0, vec![from], vec![to]),
        ];
        rules.push(Rule::accept(chain, "multicast listener discovery", tests));
    }
    // "Too big": without it a hub behind a narrower path is reached with small packets only (RFC 1191, RFC 8201).
    let too_big = [
        vec![ipv4(), protocol(ICMP), Test::Bytes(Transport, 0, vec![3, 4])],
        vec![ipv6(), protocol(ICMPV6), Test::Bytes(Transport, 0, vec![2])],
    ];
    rules.extend(too_big.map(|tests| Rule::accept("input", "path MTU", tests)));
    rules
}

/// Client and server ports: RFC 2131 section 4.1, RFC 8415 section 7.2.
fn dhcp() -> Vec<Rule> {
    let mut rules = Vec::new();
    for (family, client, server) in [(ipv4(), 68u16, 67u16), (ipv6(), 546, 547)] {
        for (chain, from, to) in [("output", client, server), ("input", server, client)] {
            let ports = [from.to_be_bytes(), to.to_be_bytes()].concat();
            let tests = vec![family.clone(), protocol(UDP), Test::Bytes(Header::Transport, 0, ports)];
            rules.push(Rule::accept(chain, "DHCP", tests));
        }
    }
    rules
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn hubs(list: &[&str]) -> Vec<SocketAddr> {
        list.iter().map(|h| h.parse().unwrap()).collect()
    }

    fn flow(direction: Direction, protocol: Transport, peer: &str, ports: &str) -> KeptFlow {
        let (peer, ports) = (peer.parse().unwrap(), ports.parse().unwrap());
        KeptFlow { name: "Images".into(), reason: "reporting".into(), direction, protocol, peer, ports }
    }

    fn isolate(dhcp: bool, keep: Vec<KeptFlow>) -> Vec<Rule> {
        isolation(&IsolationSpec { hubs: hubs(&["10.0.0.1:1"]), dhcp, keep }).unwrap().rules
    }

    #[test]
    fn every_chain_of_an_isolation_ends_in_a_drop_and_nothing_is_forwarded() {
        let rules = isolate(true, vec![flow(Direction::In, Transport::Udp, "10.1.0.0/16", "104")]);
        for (chain, _) in CHAINS {
            assert_eq!(rules.iter().rfind(|r| r.chain == chain).unwrap().verdict, DROP);
        }
        assert!(rules.iter().all(|r| r.chain != "forward" || r.verdict == DROP));
        assert!(
            rules.iter().all(|r| r.verdict == DROP || !r.tests.is_empty()),
            "nothing is accepted unconditionally"
        );
    }

    #[test]
    fn dhcp_is_off_unless_asked_for() {
        let with = |dhcp| isolate(dhcp, vec![]).iter().filter(|r| r.comment == "DHCP").count();
        assert_eq!((with(false), with(true)), (0, 4));
    }

    #[test]
    fn east_west_names_each_port_in_both_directions_on_every_chain_and_drops_nothing_else() {
        let table = east_west(&EastWestSpec::default()).unwrap();
        assert_eq!(table.policy, ACCEPT);
        let drops: Vec<&Rule> = table.rules.iter().filter(|r| r.verdict == DROP).collect();
        assert_eq!(drops.len(), CHAINS.len() * EAST_WEST_PORTS.len() * 2);
        assert!(drops.iter().all(|r| r.tests.len() == 2), "a drop names a protocol and a port");
    }

    #[test]
    fn flows_that_may_not_be_kept_are_refused() {
        let wide = vec![flow(Direction::Out, Transport::Tcp, "0.0.0.0/0", "1")];
        let said = east_west(&EastWestSpec { hubs: vec![], keep: wide.clone() }).err().unwrap().to_string();
        assert!(said.contains("wider than"), "{said}");
        let spec = IsolationSpec { hubs: hubs(&["10.0.0.1:1"]), dhcp: false, keep: wide };
        assert!(isolation(&spec).is_err());
    }

    /// A packet as far as the rules see it.
    #[derive(Clone, Debug)]
    struct Packet {
        chain: &'static str,
        interface_is_lo: bool,
        number: u8,
        source: u32,
        destination: u32,
        ports: (u16, u16),
        flags: u8,
    }

    fn holds(test: &Test, p: &Packet) -> bool {
        let network = {
            let mut h = vec![0; 20];
            h[12..16].copy_from_slice(&p.source.to_be_bytes());
            h[16..20].copy_from_slice(&p.destination.to_be_bytes());
            h
        };
        let transport = {
            let mut h = vec![0; 20];
            h[0..2].copy_from_slice(&p.ports.0.to_be_bytes());
            h[2..4].copy_from_slice(&p.ports.1.to_be_bytes());
            h[13] = p.flags;
            h
        };
        let bytes = |header: &Header, at: u32, n: usize| {
            let h = if *header == Header::Network { &network } else { &transport };
            h[at as usize..at as usize + n].to_vec()
        };
        match test {
            Test::Meta(IIF, _) => p.interface_is_lo && p.chain == "input",
            Test::Meta(OIF, _) => p.interface_is_lo && p.chain == "output",
            Test::Meta(15, family) => family == &[2],
            Test::Meta(_, number) => number == &[p.number],
            Test::Bytes(h, at, v) => bytes(h, *at, v.len()) == *v,
            Test::Between(h, at, low, high) => (low..=high).contains(&&bytes(h, *at, low.len())),
            Test::Masked(h, at, mask, v) => {
                bytes(h, *at, mask.len()).iter().zip(mask).map(|(b, m)| b & m).eq(v.iter().copied())
            }
            Test::MaskedNot(h, at, mask, v) => bytes(h, *at, 1)[0] & mask != *v,
        }
    }

    fn passes(table: &Table, p: &Packet) -> bool {
        let rules = table.rules.iter().filter(|r| r.chain == p.chain);
        let hit = rules.into_iter().find(|r| r.tests.iter().all(|t| holds(t, p)));
        hit.map_or(table.policy, |r| r.verdict) == ACCEPT
    }

    fn packet() -> impl Strategy<Value = Packet> {
        // Few values, so that they meet.
        let address = || prop_oneof![Just(0x0a01_0203), Just(0x0a01_0204), Just(0x0a02_0000), any::<u32>()];
        let port = || {
            prop_oneof![Just(104u16), Just(105), Just(445), Just(22), Just(3389), Just(5985), any::<u16>()]
        };
        let chain = prop_oneof![Just("input"), Just("output"), Just("forward")];
        let number = prop_oneof![Just(TCP), Just(UDP)];
        (
            chain,
            number,
            address(),
            address(),
            (port(), port()),
            prop_oneof![Just(0x02u8), Just(0x12), Just(0x10)],
        )
            .prop_map(|(chain, number, source, destination, ports, flags)| Packet {
                chain,
                interface_is_lo: false,
                number,
                source,
                destination,
                ports,
                flags,
            })
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

        /// The rules against what they are to mean, said without rules.
        #[test]
        fn what_passes_is_what_is_kept(p in packet(), host: bool, out: bool, tcp: bool) {
            let peer = if host { "10.1.2.3" } else { "10.1.0.0/16" };
            let direction = if out { Direction::Out } else { Direction::In };
            let transport = if tcp { Transport::Tcp } else { Transport::Udp };
            let keep = vec![flow(direction, transport, peer, "104-105")];
            let isolated =
                isolation(&IsolationSpec { hubs: hubs(&["192.0.2.1:9"]), dhcp: false, keep: keep.clone() }).unwrap();
            let lateral = east_west(&EastWestSpec { hubs: vec![], keep }).unwrap();

            let peer_is = |a: u32| if host { a == 0x0a01_0203 } else { a >> 16 == 0x0a01 };
            let port_is = |p: u16| (104..=105).contains(&p);
            let (near, far) = if p.chain == "output" { (p.source, p.destination) } else { (p.destination, p.source) };
            let _ = near;
            let to_service = (p.chain == "output") == out;
            let service_port = if to_service { p.ports.1 } else { p.ports.0 };
            let opens = p.flags & 0x12 == 0x02;
            let kept = p.chain != "forward"
                && p.number == if tcp { TCP } else { UDP }
                && peer_is(far)
                && port_is(service_port)
                && (to_service || !tcp || !opens);
            prop_assert_eq!(passes(&isolated, &p), kept);
            let named = |port| EAST_WEST_PORTS.iter().any(|(n, p2, _)| *n == p.number && *p2 == port);
            let cut = named(p.ports.0) || named(p.ports.1);
            prop_assert_eq!(passes(&lateral, &p), kept || !cut);
        }
    }
}
