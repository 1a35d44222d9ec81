//! Containment with nftables: tables of our own, each put in place, replaced and removed in one transaction.
//!
//! Three base chains at priority −310, before connection tracking (−200) and before the `raw`
//! chains of others (−300). The rules look at single packets and keep no state; therefore connections that were
//! established before are cut as well. An accept here ends nothing: the host's own rules still see the packet.
//!
//! The tables have no `owner` flag, with which they would vanish together with the agent.
//!
//! Not covered, because such packets never pass these hooks: frames that a bridge of this host passes on between
//! virtual machines and the network, containers with a network card of their own (macvlan, SR-IOV), forwarded flows
//! that a `flowtable` of the host already handles, and raw packet sockets, which need root. A fragment of a packet that
//! is not its first has no port: an isolation drops it, also of a kept flow, unless the host puts fragments together.
//!
//! To look at them: `nft list table inet wardline_isolate`, `nft list table inet wardline_east_west`. The counters show
//! what was cut.

mod rule;
mod tables;

use std::time::Instant;

use super::netlink::{ACK, APPEND, CREATE, DUMP, Malformed, Message, Writer, attributes};
use super::socket::{self, Kernel, Wire};
use crate::measure::{ContainError, Contained, EastWestSpec, IsolationSpec};
use rule::{encode, userdata};
use tables::{CHAINS, Table};
pub use tables::{EAST_WEST, ISOLATION};

/// Before connection tracking and `raw`.
const PRIORITY: i32 = -310;

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
    pub const GET_RULE: u16 = NFT | 7;
    /// `NFNL_MSG_BATCH_BEGIN`
    pub const BATCH_BEGIN: u16 = 16;
    /// `NFNL_MSG_BATCH_END`
    pub const BATCH_END: u16 = 17;
}

/// `NFPROTO_INET`
const INET: u8 = 1;

/// Puts the isolation in place of whatever isolation there was.
pub fn isolate(spec: &IsolationSpec) -> Result<Contained, ContainError> {
    put(&tables::isolation(spec)?)
}

/// Cuts SMB, RDP, SSH and WinRM, in place of whatever cut there was.
pub fn cut_east_west(spec: &EastWestSpec) -> Result<Contained, ContainError> {
    put(&tables::east_west(spec)?)
}

/// True if the isolation is there as [`isolate`] would make it, and awake.
pub fn is_isolated(spec: &IsolationSpec) -> Result<bool, ContainError> {
    is_whole(&tables::isolation(spec)?)
}

/// True if the cut is there as [`cut_east_west`] would make it, and awake.
pub fn is_east_west_cut(spec: &EastWestSpec) -> Result<bool, ContainError> {
    is_whole(&tables::east_west(spec)?)
}

fn put(table: &Table) -> Result<Contained, ContainError> {
    let began = Instant::now();
    let mut wire = Kernel::open()?;
    let replaced = flags(&mut wire, table.name)?.is_some();
    let (batch, acknowledged) = batch(table);
    socket::commit(&mut wire, &batch, acknowledged, "putting the table in place")?;
    Ok(Contained { replaced, took: began.elapsed(), notes: Vec::new() })
}

/// Removes a table of ours, [`ISOLATION`] or [`EAST_WEST`]; true if it was there. A kernel without nftables has none.
pub fn remove(name: &'static str) -> Result<bool, ContainError> {
    let mut wire = Kernel::open()?;
    let was_there = match flags(&mut wire, name) {
        Err(ContainError::NoNfTables) => return Ok(false),
        found => found?.is_some(),
    };
    let mut batch = Writer::default();
    begin(&mut batch);
    delete_table(&mut batch, name, "about to be removed", ACK);
    let acknowledged = batch.sequence();
    end(&mut batch);
    socket::commit(&mut wire, &batch, acknowledged, "removing the table")?;
    Ok(was_there)
}

fn is_whole(table: &Table) -> Result<bool, ContainError> {
    match is_whole_over(&mut Kernel::open()?, table) {
        Err(ContainError::NoNfTables) => Ok(false),
        answer => answer,
    }
}

/// Each chain hangs on its hook with its policy, and has its rules, told by their comments, in their order.
fn is_whole_over(wire: &mut dyn Wire, table: &Table) -> Result<bool, ContainError> {
    /// `NFT_TABLE_F_DORMANT`: the chains are there but see nothing.
    const DORMANT: u32 = 1;
    let Some(flags) = flags(wire, table.name)? else { return Ok(false) };
    if flags & DORMANT != 0 {
        return Ok(false);
    }
    for (name, hook) in CHAINS {
        let mut request = Writer::default();
        request.message(kind::GET_CHAIN, 0, INET, 0, |a| {
            a.text(1, table.name);
            a.text(3, name);
        });
        let expected = ChainState { hook: Some(hook), priority: Some(PRIORITY), policy: Some(table.policy) };
        if socket::query(wire, &request, "asking for a chain of the table", ChainState::read)?
            != Some(expected)
        {
            return Ok(false);
        }
        let mut request = Writer::default();
        request.message(kind::GET_RULE, DUMP, INET, 0, |a| {
            a.text(1, table.name);
            a.text(2, name);
        });
        let found = socket::dump(wire, &request, "asking for the rules of a chain", comment_of)?;
        let expected = table.rules.iter().filter(|rule| rule.chain == name).map(rule::Rule::userdata);
        if !expected.eq(found) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// `NFTA_RULE_USERDATA`; empty if the rule has none.
fn comment_of(message: &Message<'_>) -> Result<Vec<u8>, Malformed> {
    let mut found = Vec::new();
    for attribute in message.attributes() {
        if let (7, value) = attribute? {
            found = value.to_vec();
        }
    }
    Ok(found)
}

/// The flags of a table; none if it is not there.
fn flags(wire: &mut dyn Wire, name: &str) -> Result<Option<u32>, ContainError> {
    let mut request = Writer::default();
    request.message(kind::GET_TABLE, 0, INET, 0, |a| a.text(1, name));
    socket::query(wire, &request, "asking for the table", |message| {
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
fn batch(table: &Table) -> (Writer, u32) {
    let mut batch = Writer::default();
    begin(&mut batch);
    delete_table(&mut batch, table.name, table.comment, 0);
    new_table(&mut batch, table.name, table.comment);
    for (name, hook) in CHAINS {
        batch.message(kind::NEW_CHAIN, CREATE, INET, 0, |a| {
            a.text(1, table.name);
            a.text(3, name);
            a.nest(4, |a| {
                a.number(1, hook);
                a.number(2, PRIORITY.cast_unsigned());
            });
            a.number(5, table.policy);
            a.text(7, "filter");
        });
    }
    let last = table.rules.len().saturating_sub(1);
    for (i, rule) in table.rules.iter().enumerate() {
        // Errors are reported for every message, success is asked for once: sixty acknowledgements could
        // overrun the socket's buffer.
        let ack = if i == last { ACK } else { 0 };
        batch.message(kind::NEW_RULE, CREATE | APPEND | ack, INET, 0, |a| {
            a.text(1, table.name);
            a.text(2, rule.chain);
            a.nest(4, |a| encode(a, rule));
            a.raw(7, &rule.userdata());
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

fn new_table(batch: &mut Writer, name: &str, comment: &str) {
    batch.message(kind::NEW_TABLE, CREATE, INET, 0, |a| {
        a.text(1, name);
        a.raw(6, &userdata(comment));
    });
}

/// Deletes a table if there is one. Deleting what is not there would be an error, so it is made first: kernels
/// before 6.3 have no "destroy". An existing table is not changed by this.
fn delete_table(batch: &mut Writer, name: &str, comment: &str, ack: u16) {
    new_table(batch, name, comment);
    batch.message(kind::DELETE_TABLE, ack, INET, 0, |a| a.text(1, name));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::linux::netlink::messages;
    use std::net::SocketAddr;
    use wardline_policy::{Direction, KeptFlow, MAX_KEPT_FLOWS, Transport};

    #[test]
    fn each_batch_is_one_transaction_that_replaces_its_own_table() {
        let hubs: Vec<SocketAddr> =
            ["10.0.0.1:8443", "[2001:db8::1]:8443"].iter().map(|h| h.parse().unwrap()).collect();
        let spec = IsolationSpec { dhcp: true, ..IsolationSpec::to_hubs(hubs.clone()) };
        let east_west = EastWestSpec { hubs, keep: vec![] };
        for table in [tables::isolation(&spec).unwrap(), tables::east_west(&east_west).unwrap()] {
            let (batch, acknowledged) = batch(&table);
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
                assert_eq!((kind, value), (1, [table.name.as_bytes(), b"\0"].concat().as_slice()));
            }
        }
    }

    #[test]
    fn the_largest_batch_fits_a_socket_buffer() {
        let hubs = (0..crate::measure::MAX_HUBS as u16)
            .map(|i| SocketAddr::from(([0x2001, 0xdb8, 0, 0, 0, 0, 0, i], 1)));
        let flow = KeptFlow {
            name: "n".repeat(80),
            reason: "r".into(),
            direction: Direction::In,
            protocol: Transport::Tcp,
            peer: "2001:db8::/50".parse().unwrap(),
            ports: "1-1000".parse().unwrap(),
        };
        let keep = vec![flow; MAX_KEPT_FLOWS];
        let spec = IsolationSpec { dhcp: true, keep, ..IsolationSpec::to_hubs(hubs) };
        let (batch, _) = batch(&tables::isolation(&spec).unwrap());
        assert!(batch.bytes().len() < 200 * 1024, "{}", batch.bytes().len());
    }
}
