//! Records of messages of DNS.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use wardline_sense::dns::{Message, parse};

use super::{Bytes, HEADER, RecordError};

/// Bytes of a `dns_record` before its data.
const DNS: usize = 80;

#[derive(PartialEq, Eq, Debug)]
pub(crate) struct Dns {
    /// With whom the process talked. Zeros: not known.
    pub server: SocketAddr,
    pub message: Message,
}

pub(super) fn decode(at: Bytes<'_>) -> Result<Dns, RecordError> {
    let family = at.u16(HEADER + 2)?;
    let ip: IpAddr = match family {
        2 => Ipv4Addr::from(at.array::<4>(HEADER + 16)?).into(),
        10 => Ipv6Addr::from(at.array::<16>(HEADER + 16)?).to_canonical(),
        other => return Err(RecordError::Value { what: "address family", value: other.into() }),
    };
    let [bytes] = at.pieces(DNS, [at.u32(HEADER + 8)?])?;
    Ok(Dns { server: SocketAddr::new(ip, at.u16(HEADER + 4)?), message: parse(bytes)? })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::record::written::Written;
    use crate::record::{What, decode};

    const QUESTION: &[u8] = b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0\x01a\x03org\0\0\x1c\0\x01";

    fn written(family: u16, len: u32, message: &[u8]) -> Vec<u8> {
        let mut out = Written::new(6);
        out.u16(0).u16(family).u16(53).u16(0).u32(len).u32(len);
        out.bytes(&[192, 0, 2, 53, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]).at(DNS).bytes(message).end()
    }

    #[test]
    fn a_question_is_read_with_its_server() {
        let record = decode(&written(2, QUESTION.len() as u32, QUESTION)).unwrap();
        let What::Dns(dns) = record.what else { panic!("{record:?}") };
        assert_eq!((dns.server.to_string(), dns.message.name), ("192.0.2.53:53".into(), "a.org".into()));
        let unknown = RecordError::Value { what: "address family", value: 1 };
        assert_eq!(decode(&written(1, QUESTION.len() as u32, QUESTION)), Err(unknown));
    }

    proptest! {
        #[test]
        fn lengths_beyond_the_record_are_refused(len: u32, small in 0u32..60) {
            for len in [len, small] {
                let read = decode(&written(2, len, QUESTION));
                prop_assert_eq!(read.is_ok(), len as usize == QUESTION.len());
            }
        }
    }
}
