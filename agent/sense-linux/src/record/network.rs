//! Records of the network.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::{Bytes, HEADER, RecordError};

/// `AF_INET` and `AF_INET6`.
const IPV4: u16 = 2;
const IPV6: u16 = 10;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum NetworkWhat {
    Connect,
    Accept,
    Listen,
    /// A datagram to an address.
    Send,
}

#[derive(PartialEq, Eq, Debug)]
pub(crate) struct Network {
    pub what: NetworkWhat,
    /// As IP numbers them: 6 TCP, 17 UDP.
    pub protocol: u16,
    /// The result of the system call: 0 or a negative error number.
    pub result: i32,
    /// An address of zeros is not known yet.
    pub local: SocketAddr,
    pub remote: SocketAddr,
}

pub(super) fn decode(at: Bytes<'_>) -> Result<Network, RecordError> {
    let what = match at.u16(HEADER)? {
        0 => NetworkWhat::Connect,
        1 => NetworkWhat::Accept,
        2 => NetworkWhat::Listen,
        3 => NetworkWhat::Send,
        other => return Err(RecordError::Value { what: "kind of network event", value: other.into() }),
    };
    let family = at.u16(HEADER + 2)?;
    let address = |offset: usize| -> Result<IpAddr, RecordError> {
        match family {
            IPV4 => Ok(Ipv4Addr::from(at.array::<4>(offset)?).into()),
            // An address of IPv4 in a socket of IPv6 is one of IPv4.
            IPV6 => Ok(Ipv6Addr::from(at.array::<16>(offset)?).to_canonical()),
            other => Err(RecordError::Value { what: "address family", value: other.into() }),
        }
    };
    Ok(Network {
        what,
        protocol: at.u16(HEADER + 4)?,
        result: at.u32(HEADER + 12)?.cast_signed(),
        local: SocketAddr::new(address(HEADER + 16)?, at.u16(HEADER + 6)?),
        remote: SocketAddr::new(address(HEADER + 32)?, at.u16(HEADER + 8)?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::written::Written;
    use crate::record::{What, decode};

    fn written(op: u16, family: u16, local: [u8; 16], remote: [u8; 16]) -> Vec<u8> {
        let mut out = Written::new(3);
        out.u16(op).u16(family).u16(6).u16(4000).u16(443).u16(0).u32(-111i32 as u32);
        out.bytes(&local).bytes(&remote).at(96).end()
    }

    #[test]
    fn both_ends_are_read() {
        let mut v4 = [0; 16];
        v4[..4].copy_from_slice(&[192, 0, 2, 7]);
        let mapped = Ipv4Addr::new(192, 0, 2, 9).to_ipv6_mapped().octets();
        let v6: Ipv6Addr = "2001:db8::5".parse().unwrap();
        let cases = [
            (0, IPV4, v4, v4, Ok((NetworkWhat::Connect, "192.0.2.7:4000", "192.0.2.7:443"))),
            (1, IPV6, mapped, v6.octets(), Ok((NetworkWhat::Accept, "192.0.2.9:4000", "[2001:db8::5]:443"))),
            (9, IPV4, v4, v4, Err("kind of network event")),
            (2, 1, v4, v4, Err("address family")),
        ];
        for (op, family, local, remote, expected) in cases {
            let read = decode(&written(op, family, local, remote));
            match (read, expected) {
                (Ok(record), Ok((what, local, remote))) => {
                    let What::Network(n) = record.what else { panic!("{record:?}") };
                    assert_eq!(
                        (n.what, n.local.to_string(), n.remote.to_string()),
                        (what, local.into(), remote.into())
                    );
                    assert_eq!((n.protocol, n.result), (6, -111));
                }
                (Err(RecordError::Value { what, .. }), Err(wrong)) => assert_eq!(what, wrong),
                (read, expected) => panic!("{read:?} instead of {expected:?}"),
            }
        }
    }

    #[test]
    fn a_short_record_is_refused() {
        let whole = written(0, IPV6, [1; 16], [2; 16]);
        for len in 8..whole.len() {
            let mut cut = whole[..len].to_vec();
            cut[4..8].copy_from_slice(&(len as u32).to_ne_bytes());
            assert_eq!(decode(&cut), Err(RecordError::Short(len)));
        }
    }
}
