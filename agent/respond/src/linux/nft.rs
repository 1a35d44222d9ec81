//! Isolation with nftables: a table of our own, put in place, replaced and removed in one transaction each.
//!
//! Three base chains with policy drop at priority −310, before connection tracking (−200) and before the `raw`
//! chains of others (−300). The rules look at single packets and keep no state; therefore connections that were
//! established before are cut as well. An accept here ends nothing: the host's own rules still see the packet.
//!
//! The table has no `owner` flag, with which it would vanish together with the agent.
//!
//! Not covered, because such packets never pass these hooks: frames that a bridge of this host passes on between
//! virtual machines and the network, containers with a network card of their own (macvlan, SR-IOV), forwarded flows
//! that a `flowtable` of the host already handles, and raw packet sockets, which need root.
//!
//! To look at it: `nft list table inet wardline_isolate`. The counters at the end of each chain show what was cut.

use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use super::netlink::{ACK, APPEND, Attributes, CREATE, Malformed, Message, Writer, attributes};
use super::socket::{self, Kernel, Wire};
use crate::isolation::{IsolateError, IsolationReport, IsolationSpec, ReleaseReport};

/// The table's name, in family `inet` (IPv4 and IPv6).
pub const TABLE: &str = "wardline_isolate";
/// What a person who lists the table reads.
const TABLE_COMMENT: &str = "isolated by Wardline; undo: wardline agent release --local";
/// Before connection tracking and `raw`.
const PRIORITY: i32 = -310;
/// The chains' names and hooks (`NF_INET_LOCAL_IN`, `NF_INET_FORWARD`, `NF_INET_LOCAL_OUT`).
const CHAINS: [(&str, u32); 3] = [("input", 1), ("forward", 2), ("output", 3)];

/// Message types: subsystem `NFNL_SUBSYS_NFTABLES` in the upper byte, `NFT_MSG_*` in the lower.
mod kind {
    pub const SUBSYSTEM: u16 = 10;
    const NFT: u16 = SUBSYSTEM << 8;
    pub const NEW_TABLE: u16 = NFT;
    pub const GET_TABLE: u16 = NFT | 1;
    pub const DELETE_TABLE: u16 = NFT | 2;
    pub const NEW_CHAIN: u16 = NFT | 3;
    pub const GET_CHAIN: u16 = NFT | 4;
    pub const NEW_RULE: u16 = NFT | 6;
    /// `NFNL_MSG_BATCH_BEGIN`
    pub const BATCH_BEGIN: u16 = 16;
    /// `NFNL_MSG_BATCH_END`
    pub const BATCH_END: u16 = 17;
}

/// `NFPROTO_INET`
const INET: u8 = 1;
/// `NF_DROP`
const DROP: u32 = 0;
/// `NF_ACCEPT`
const ACCEPT: u32 = 1;
/// `NFT_REG_1`, 16 bytes wide: an IPv6 address fits.
const REGISTER: u32 = 1;

/// One condition of a rule, in the terms of nftables' expressions.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Test {
    /// `meta`: something that the kernel knows about the packet (`NFT_META_*`).
    Meta(u32, Vec<u8>),
    /// `payload`: bytes of a header, from an offset.
    Bytes(Header, u32, Vec<u8>),
    /// `payload`: one byte, between two values inclusive.
    Between(Header, u32, u8, u8),
    /// `payload`, `bitwise`: one byte which, under this mask, is not this.
    MaskedNot(Header, u32, u8, u8),
}

/// `NFT_PAYLOAD_NETWORK_HEADER`, `NFT_PAYLOAD_TRANSPORT_HEADER`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Header {
    Network = 1,
    Transport = 2,
}

/// One rule.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Rule {
    chain: &'static str,
    tests: Vec<Test>,
    verdict: u32,
    comment: &'static str,
}

fn accept(chain: &'static str, comment: &'static str, tests: Vec<Test>) -> Rule {
    Rule { chain, tests, verdict: ACCEPT, comment }
}

/// `NFT_META_IIF`, `NFT_META_OIF`: the interface is `lo`, whose index is 1 in every network namespace.
fn loopback(meta: u32) -> Test {
    Test::Meta(meta, 1u32.to_ne_bytes().to_vec())
}

/// `NFT_META_NFPROTO`
fn ipv4() -> Test {
    Test::Meta(15, vec![2])
}

/// `NFT_META_NFPROTO`
fn ipv6() -> Test {
    Test::Meta(15, vec![10])
}

/// `NFT_META_L4PROTO`
fn protocol(number: u8) -> Test {
    Test::Meta(16, vec![number])
}

const ICMP: u8 = 1;
const TCP: u8 = 6;
const UDP: u8 = 17;
const ICMPV6: u8 = 58;

/// The rules, in the order in which they are asked.
fn rules(hubs: &[SocketAddr], dhcp: bool) -> Vec<Rule> {
    use Header::{Network, Transport};
    const IIF: u32 = 4;
    const OIF: u32 = 5;
    let mut rules = vec![
        accept("input", "this machine to itself", vec![loopback(IIF)]),
        accept("output", "this machine to itself", vec![loopback(OIF)]),
    ];
    for hub in hubs {
        // Where the addresses stand: RFC 791 section 3.1, RFC 8200 section 3.
        let (family, source, destination, address) = match hub.ip() {
            IpAddr::V4(ip) => (ipv4(), 12, 16, ip.octets().to_vec()),
            IpAddr::V6(ip) => (ipv6(), 8, 24, ip.octets().to_vec()),
        };
        let port = hub.port().to_be_bytes().to_vec();
        rules.push(accept(
            "output",
            "to the hub",
            vec![
                family.clone(),
                protocol(TCP),
                Test::Bytes(Network, destination, address.clone()),
                Test::Bytes(Transport, 2, port.clone()),
            ],
        ));
        // Answers only: without the last condition, whoever forges the hub's address and port could open
        // connections to this machine. SYN without ACK is the first packet of a connection (RFC 9293 section 3.5).
        rules.push(accept(
            "input",
            "from the hub, answers only",
            vec![
                family,
                protocol(TCP),
                Test::Bytes(Network, source, address),
                Test::Bytes(Transport, 0, port),
                Test::MaskedNot(Transport, 13, 0x12, 0x02),
            ],
        ));
    }
    // IPv6 finds neighbours and routers by ICMPv6 133–136 (RFC 4861), valid only with the hop limit at 255, that is,
    // from the local link. IPv4's ARP does not pass these chains.
    for chain in ["input", "output"] {
        rules.push(accept(
            chain,
            "neighbour discovery",
            vec![
                ipv6(),
                protocol(ICMPV6),
                Test::Bytes(Network, 7, vec![255]),
                Test::Between(Transport, 0, 133, 136),
            ],
        ));
    }
    // Switches that watch multicast pass neighbour solicitations only to those who reported (RFC 3810, RFC 4541).
    for (chain, from, to) in [("input", 130, 130), ("output", 131, 132), ("output", 143, 143)] {
        rules.push(accept(
            chain,
            "multicast listener discovery",
            vec![
                ipv6(),
                protocol(ICMPV6),
                Test::Bytes(Network, 7, vec![1]),
                Test::Between(Transport, 0, from, to),
            ],
        ));
    }
    // "Too big": without it a hub behind a narrower path is reached with small packets only (RFC 1191, RFC 8201).
    rules.push(accept(
        "input",
        "path MTU",
        vec![ipv4(), protocol(ICMP), Test::Bytes(Transport, 0, vec![3, 4])],
    ));
    rules.push(accept(
        "input",
        "path MTU",
        vec![ipv6(), protocol(ICMPV6), Test::Bytes(Transport, 0, vec![2])],
    ));
    if dhcp {
        // Client and server ports: RFC 2131 section 4.1, RFC 8415 section 7.2.
        for (family, client, server) in [(ipv4(), 68u16, 67u16), (ipv6(), 546, 547)] {
            for (chain, from, to) in [("output", client, server), ("input", server, client)] {
                let ports = [from.to_be_bytes(), to.to_be_bytes()].concat();
                let tests = vec![family.clone(), protocol(UDP), Test::Bytes(Transport, 0, ports)];
                rules.push(accept(chain, "DHCP", tests));
            }
        }
    }
    for (chain, _) in CHAINS {
        rules.push(Rule { chain, tests: vec![], verdict: DROP, comment: "cut by the isolation" });
    }
    rules
}

/// Puts the isolation in place of whatever isolation there was.
pub fn isolate(spec: &IsolationSpec) -> Result<IsolationReport, IsolateError> {
    let began = Instant::now();
    let hubs = spec.checked_hubs()?;
    let mut wire = Kernel::open()?;
    let replaced = table(&mut wire)?.is_some();
    let (batch, acknowledged) = isolate_batch(&rules(&hubs, spec.dhcp));
    socket::commit(&mut wire, &batch, acknowledged, "putting the isolation in place")?;
    Ok(IsolationReport { hubs, replaced, took: began.elapsed() })
}

/// Removes the isolation. A kernel without nftables has none.
pub fn release() -> Result<ReleaseReport, IsolateError> {
    let mut wire = Kernel::open()?;
    let was_isolated = match table(&mut wire) {
        Err(IsolateError::NoNfTables) => return Ok(ReleaseReport { was_isolated: false }),
        found => found?.is_some(),
    };
    let mut batch = Writer::default();
    begin(&mut batch);
    delete_table(&mut batch, ACK);
    let acknowledged = batch.sequence();
    end(&mut batch);
    socket::commit(&mut wire, &batch, acknowledged, "removing the isolation")?;
    Ok(ReleaseReport { was_isolated })
}

/// True if the table is there, awake, and each of its chains hangs on its hook and drops.
pub fn is_isolated() -> Result<bool, IsolateError> {
    match is_isolated_over(&mut Kernel::open()?) {
        Err(IsolateError::NoNfTables) => Ok(false),
        answer => answer,
    }
}

fn is_isolated_over(wire: &mut dyn Wire) -> Result<bool, IsolateError> {
    /// `NFT_TABLE_F_DORMANT`: the chains are there but see nothing.
    const DORMANT: u32 = 1;
    let Some(flags) = table(wire)? else { return Ok(false) };
    if flags & DORMANT != 0 {
        return Ok(false);
    }
    for (name, hook) in CHAINS {
        let mut request = Writer::default();
        request.message(kind::GET_CHAIN, 0, INET, 0, |a| {
            a.text(1, TABLE);
            a.text(3, name);
        });
        let expected = ChainState { hook: Some(hook), priority: Some(PRIORITY), policy: Some(DROP) };
        if socket::query(wire, &request, "asking for a chain of the isolation", ChainState::read)?
            != Some(expected)
        {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The flags of our table; none if it is not there.
fn table(wire: &mut dyn Wire) -> Result<Option<u32>, IsolateError> {
    let mut request = Writer::default();
    request.message(kind::GET_TABLE, 0, INET, 0, |a| a.text(1, TABLE));
    socket::query(wire, &request, "asking for the isolation's table", |message| {
        let mut flags = 0;
        for attribute in message.attributes() {
            if let (2, value) = attribute? {
                flags = number(value)?;
            }
        }
        Ok(flags)
    })
}

/// What is needed of a chain (`NFTA_CHAIN_*`, `NFTA_HOOK_*`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct ChainState {
    hook: Option<u32>,
    priority: Option<i32>,
    policy: Option<u32>,
}

impl ChainState {
    fn read(message: &Message<'_>) -> Result<Self, Malformed> {
        let mut chain = Self::default();
        for attribute in message.attributes() {
            match attribute? {
                (4, hook) => {
                    for attribute in attributes(hook) {
                        match attribute? {
                            (1, value) => chain.hook = Some(number(value)?),
                            (2, value) => chain.priority = Some(number(value)?.cast_signed()),
                            _ => {}
                        }
                    }
                }
                (5, value) => chain.policy = Some(number(value)?),
                _ => {}
            }
        }
        Ok(chain)
    }
}

fn number(value: &[u8]) -> Result<u32, Malformed> {
    value.try_into().map(u32::from_be_bytes).map_err(|_| Malformed::Length)
}

/// The batch, and the number of its message that asks for an acknowledgement.
fn isolate_batch(rules: &[Rule]) -> (Writer, u32) {
    let mut batch = Writer::default();
    begin(&mut batch);
    delete_table(&mut batch, 0);
    new_table(&mut batch);
    for (name, hook) in CHAINS {
        batch.message(kind::NEW_CHAIN, CREATE, INET, 0, |a| {
            a.text(1, TABLE);
            a.text(3, name);
            a.nest(4, |a| {
                a.number(1, hook);
                a.number(2, PRIORITY.cast_unsigned());
            });
            a.number(5, DROP);
            a.text(7, "filter");
        });
    }
    let last = rules.len().saturating_sub(1);
    for (i, rule) in rules.iter().enumerate() {
        // Errors are reported for every message, success is asked for once: sixty acknowledgements could
        // overrun the socket's buffer.
        let ack = if i == last { ACK } else { 0 };
        batch.message(kind::NEW_RULE, CREATE | APPEND | ack, INET, 0, |a| {
            a.text(1, TABLE);
            a.text(2, rule.chain);
            a.nest(4, |a| encode(a, rule));
            a.raw(7, &comment(rule.comment));
        });
    }
    let acknowledged = batch.sequence();
    end(&mut batch);
    (batch, acknowledged)
}

fn begin(batch: &mut Writer) {
    batch.message(kind::BATCH_BEGIN, 0, 0, kind::SUBSYSTEM, |_| {});
}

fn end(batch: &mut Writer) {
    batch.message(kind::BATCH_END, 0, 0, kind::SUBSYSTEM, |_| {});
}

fn new_table(batch: &mut Writer) {
    batch.message(kind::NEW_TABLE, CREATE, INET, 0, |a| {
        a.text(1, TABLE);
        a.raw(6, &comment(TABLE_COMMENT));
    });
}

/// Deletes the table if there is one. Deleting what is not there would be an error, so it is made first: kernels
/// before 6.3 have no "destroy". An existing table is not changed by this.
fn delete_table(batch: &mut Writer, ack: u16) {
    new_table(batch);
    batch.message(kind::DELETE_TABLE, ack, INET, 0, |a| a.text(1, TABLE));
}

/// A comment as the `nft` program keeps it: type 0, length with the final zero byte, text.
fn comment(text: &str) -> Vec<u8> {
    let length = u8::try_from(text.len() + 1).expect("comments are constants of less than 128 bytes");
    [&[0, length], text.as_bytes(), &[0]].concat()
}

/// Writes a rule's expressions.
fn encode(a: &mut Attributes<'_>, rule: &Rule) {
    for test in &rule.tests {
        match test {
            Test::Meta(key, value) => {
                expression(a, "meta", |a| {
                    a.number(2, *key);
                    a.number(1, REGISTER);
                });
                compare(a, EQUAL, value);
            }
            Test::Bytes(header, offset, value) => {
                load(a, *header, *offset, value.len());
                compare(a, EQUAL, value);
            }
            Test::Between(header, offset, low, high) if low == high => {
                load(a, *header, *offset, 1);
                compare(a, EQUAL, &[*low]);
            }
            Test::Between(header, offset, low, high) => {
                load(a, *header, *offset, 1);
                compare(a, AT_LEAST, &[*low]);
                compare(a, AT_MOST, &[*high]);
            }
            Test::MaskedNot(header, offset, mask, value) => {
                load(a, *header, *offset, 1);
                expression(a, "bitwise", |a| {
                    a.number(1, REGISTER);
                    a.number(2, REGISTER);
                    a.number(3, 1);
                    a.nest(4, |a| a.raw(1, &[*mask]));
                    a.nest(5, |a| a.raw(1, &[0]));
                });
                compare(a, DIFFERENT, &[*value]);
            }
        }
    }
    expression(a, "counter", |_| {});
    expression(a, "immediate", |a| {
        // `NFT_REG_VERDICT`
        a.number(1, 0);
        a.nest(2, |a| a.nest(2, |a| a.number(1, rule.verdict)));
    });
}

/// `NFT_CMP_EQ`, `NFT_CMP_NEQ`, `NFT_CMP_GTE`, `NFT_CMP_LTE`.
const EQUAL: u32 = 0;
const DIFFERENT: u32 = 1;
const AT_MOST: u32 = 3;
const AT_LEAST: u32 = 5;

fn expression(a: &mut Attributes<'_>, name: &str, body: impl FnOnce(&mut Attributes<'_>)) {
    a.nest(1, |a| {
        a.text(1, name);
        a.nest(2, body);
    });
}

fn load(a: &mut Attributes<'_>, header: Header, offset: u32, length: usize) {
    expression(a, "payload", |a| {
        a.number(1, REGISTER);
        a.number(2, header as u32);
        a.number(3, offset);
        a.number(4, length as u32);
    });
}

fn compare(a: &mut Attributes<'_>, how: u32, value: &[u8]) {
    expression(a, "cmp", |a| {
        a.number(1, REGISTER);
        a.number(2, how);
        a.nest(3, |a| a.raw(1, value));
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::linux::netlink::messages;

    fn hubs(list: &[&str]) -> Vec<SocketAddr> {
        list.iter().map(|h| h.parse().unwrap()).collect()
    }

    #[test]
    fn the_batch_is_one_transaction_that_replaces() {
        let (batch, acknowledged) =
            isolate_batch(&rules(&hubs(&["10.0.0.1:8443", "[2001:db8::1]:8443"]), true));
        let read: Vec<_> = messages(batch.bytes()).collect::<Result<_, _>>().unwrap();
        let kinds: Vec<u16> = read.iter().map(|m| m.kind).collect();
        assert_eq!(
            kinds[..7],
            [
                kind::BATCH_BEGIN,
                kind::NEW_TABLE,
                kind::DELETE_TABLE,
                kind::NEW_TABLE,
                kind::NEW_CHAIN,
                kind::NEW_CHAIN,
                kind::NEW_CHAIN
            ]
        );
        assert_eq!(kinds.last(), Some(&kind::BATCH_END));
        assert!(kinds[7..kinds.len() - 1].iter().all(|k| *k == kind::NEW_RULE));
        assert_eq!(acknowledged as usize, read.len() - 1);
        // Every message but the frame of the batch names our table, and no other.
        for message in &read[1..read.len() - 1] {
            let (kind, value) = message.attributes().next().unwrap().unwrap();
            assert_eq!((kind, value), (1, b"wardline_isolate\0".as_slice()));
        }
    }

    #[test]
    fn every_chain_ends_in_a_drop_and_nothing_is_forwarded() {
        let rules = rules(&hubs(&["10.0.0.1:1"]), true);
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
        let with = |dhcp| rules(&hubs(&["10.0.0.1:1"]), dhcp).iter().filter(|r| r.comment == "DHCP").count();
        assert_eq!((with(false), with(true)), (0, 4));
    }

    #[test]
    fn the_largest_batch_fits_a_socket_buffer() {
        let many: Vec<SocketAddr> = (0..crate::isolation::MAX_HUBS as u16)
            .map(|i| SocketAddr::from(([0x2001, 0xdb8, 0, 0, 0, 0, 0, i], 1)))
            .collect();
        assert!(isolate_batch(&rules(&many, true)).0.bytes().len() < 128 * 1024);
    }
}
