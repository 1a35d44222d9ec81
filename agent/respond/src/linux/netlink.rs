//! Netlink messages as bytes: written for nftables, and read with suspicion. Pure.
//!
//! Formats: netlink(7); `include/uapi/linux/netlink.h`, `netfilter/nfnetlink.h`, `netfilter/nf_tables.h`. Netlink's
//! own headers are in the machine's byte order, nftables' numbers in network order.

/// `NLM_F_REQUEST`: set on every message to the kernel.
pub const REQUEST: u16 = 0x1;
/// `NLM_F_ACK`: the kernel says when it is done.
pub const ACK: u16 = 0x4;
/// `NLM_F_CREATE`: make it if it is not there.
pub const CREATE: u16 = 0x400;
/// `NLM_F_APPEND`: add it at the end.
pub const APPEND: u16 = 0x800;
/// `NLM_F_DUMP`: all objects, one message each.
pub const DUMP: u16 = 0x300;
/// `NLMSG_DONE`: the last message of a dump.
pub const DONE: u16 = 3;
/// `NLMSG_ERROR`, which is also the acknowledgement (error 0).
pub const ERROR: u16 = 2;
/// `NLA_F_NESTED`.
const NESTED: u16 = 0x8000;
/// What is left of an attribute's type without its flags (`NLA_TYPE_MASK`).
const TYPE_MASK: u16 = 0x3fff;
/// `struct nlmsghdr`: length, type, flags, sequence number, port.
const HEADER: usize = 16;
/// `struct nfgenmsg`: family, version, resource.
const NFGEN: usize = 4;

/// Messages being written, one after the other.
#[derive(Debug, Default)]
pub struct Writer {
    bytes: Vec<u8>,
    sequence: u32,
}

impl Writer {
    /// The messages so far.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The sequence number of the last message; the first has 1.
    pub fn sequence(&self) -> u32 {
        self.sequence
    }

    /// Writes one message with its netfilter header; `body` writes its attributes.
    pub fn message(
        &mut self,
        kind: u16,
        flags: u16,
        family: u8,
        resource: u16,
        body: impl FnOnce(&mut Attributes<'_>),
    ) {
        self.sequence += 1;
        let start = self.bytes.len();
        self.bytes.extend([0; 4]);
        self.bytes.extend(kind.to_ne_bytes());
        self.bytes.extend((flags | REQUEST).to_ne_bytes());
        self.bytes.extend(self.sequence.to_ne_bytes());
        // The port: 0, the kernel fills in ours.
        self.bytes.extend([0; 4]);
        self.bytes.extend([family, 0]);
        self.bytes.extend(resource.to_be_bytes());
        body(&mut Attributes { bytes: &mut self.bytes });
        let length =
            u32::try_from(self.bytes.len() - start).expect("a message of ours is a few hundred bytes");
        self.bytes[start..start + 4].copy_from_slice(&length.to_ne_bytes());
    }
}

/// Attributes being written.
pub struct Attributes<'a> {
    bytes: &'a mut Vec<u8>,
}

impl Attributes<'_> {
    /// Raw bytes.
    pub fn raw(&mut self, kind: u16, value: &[u8]) {
        self.with_header(kind, |a| a.bytes.extend(value));
    }

    /// Text, ended by a zero byte.
    pub fn text(&mut self, kind: u16, value: &str) {
        self.with_header(kind, |a| {
            a.bytes.extend(value.as_bytes());
            a.bytes.push(0);
        });
    }

    /// A number in network order.
    pub fn number(&mut self, kind: u16, value: u32) {
        self.raw(kind, &value.to_be_bytes());
    }

    /// Attributes inside an attribute.
    pub fn nest(&mut self, kind: u16, body: impl FnOnce(&mut Attributes<'_>)) {
        self.with_header(kind | NESTED, body);
    }

    fn with_header(&mut self, kind: u16, body: impl FnOnce(&mut Attributes<'_>)) {
        let start = self.bytes.len();
        self.bytes.extend([0; 2]);
        self.bytes.extend(kind.to_ne_bytes());
        body(&mut Attributes { bytes: self.bytes });
        // The length is that of header and value; the padding that follows is not counted.
        let length =
            u16::try_from(self.bytes.len() - start).expect("an attribute of ours is a few hundred bytes");
        self.bytes[start..start + 2].copy_from_slice(&length.to_ne_bytes());
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

/// Bytes that are no netlink messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// A length points past the end.
    #[error("a message is cut short")]
    Short,
    /// A length is less than its own header's.
    #[error("a message claims an impossible length")]
    Length,
}

/// One message from the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message<'a> {
    /// `nlmsg_type`.
    pub kind: u16,
    /// The number of the request that it answers.
    pub sequence: u32,
    /// What follows the netlink header.
    pub body: &'a [u8],
}

impl<'a> Message<'a> {
    /// The system's error number if this is `NLMSG_ERROR`; 0 is an acknowledgement.
    pub fn error(&self) -> Option<Result<i32, Malformed>> {
        (self.kind == ERROR).then(|| {
            let number = self.body.first_chunk().ok_or(Malformed::Short)?;
            // The kernel sends it negated.
            Ok(i32::from_ne_bytes(*number).saturating_neg())
        })
    }

    /// The attributes after the netfilter header.
    pub fn attributes(&self) -> impl Iterator<Item = Result<(u16, &'a [u8]), Malformed>> + use<'a> {
        attributes(self.body.get(NFGEN..).unwrap_or_default())
    }
}

/// Reads the messages of one datagram. Ends after the first that is malformed.
pub fn messages(mut rest: &[u8]) -> impl Iterator<Item = Result<Message<'_>, Malformed>> {
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let read = || {
            let header = rest.get(..HEADER).ok_or(Malformed::Short)?;
            let length = u32::from_ne_bytes(*header.first_chunk().ok_or(Malformed::Short)?) as usize;
            if length < HEADER {
                return Err(Malformed::Length);
            }
            let body = rest.get(HEADER..length).ok_or(Malformed::Short)?;
            let kind = u16::from_ne_bytes([header[4], header[5]]);
            let sequence = u32::from_ne_bytes([header[8], header[9], header[10], header[11]]);
            Ok((Message { kind, sequence, body }, length))
        };
        let read = read();
        rest = match &read {
            Ok((_, length)) => rest.get(length.next_multiple_of(4)..).unwrap_or_default(),
            Err(_) => &[],
        };
        Some(read.map(|(message, _)| message))
    })
}

/// Reads attributes: type without flags, value. Ends after the first that is malformed.
pub fn attributes(mut rest: &[u8]) -> impl Iterator<Item = Result<(u16, &[u8]), Malformed>> {
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let read = || {
            let header = rest.first_chunk::<4>().ok_or(Malformed::Short)?;
            let length = usize::from(u16::from_ne_bytes([header[0], header[1]]));
            if length < 4 {
                return Err(Malformed::Length);
            }
            let value = rest.get(4..length).ok_or(Malformed::Short)?;
            Ok((u16::from_ne_bytes([header[2], header[3]]) & TYPE_MASK, value, length))
        };
        let read = read();
        rest = match &read {
            Ok((_, _, length)) => rest.get(length.next_multiple_of(4)..).unwrap_or_default(),
            Err(_) => &[],
        };
        Some(read.map(|(kind, value, _)| (kind, value)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A tree of attributes.
    #[derive(Clone, Debug, PartialEq)]
    enum Node {
        Raw(u16, Vec<u8>),
        Nest(u16, Vec<Node>),
    }

    fn node() -> impl Strategy<Value = Node> {
        let raw =
            (0u16..64, proptest::collection::vec(any::<u8>(), 0..40)).prop_map(|(k, v)| Node::Raw(k, v));
        raw.prop_recursive(4, 40, 6, |inner| {
            (0u16..64, proptest::collection::vec(inner, 0..6)).prop_map(|(k, v)| Node::Nest(k, v))
        })
    }

    fn write(a: &mut Attributes<'_>, nodes: &[Node]) {
        for node in nodes {
            match node {
                Node::Raw(kind, value) => a.raw(*kind, value),
                Node::Nest(kind, inner) => a.nest(*kind, |a| write(a, inner)),
            }
        }
    }

    /// A second reader, after netlink(7), that shares nothing with the one above: little-endian or big-endian as the
    /// machine is, everything aligned to 4, every padding byte zero.
    fn decode(bytes: &[u8]) -> Vec<Node> {
        let mut nodes = Vec::new();
        let mut at = 0;
        while at < bytes.len() {
            assert_eq!(at % 4, 0);
            let length = u16::from_ne_bytes(bytes[at..at + 2].try_into().unwrap()) as usize;
            let kind = u16::from_ne_bytes(bytes[at + 2..at + 4].try_into().unwrap());
            let value = &bytes[at + 4..at + length];
            let padded = length.div_ceil(4) * 4;
            assert!(bytes[at + length..at + padded].iter().all(|b| *b == 0));
            nodes.push(if kind & 0x8000 == 0 {
                Node::Raw(kind, value.to_vec())
            } else {
                Node::Nest(kind & 0x7fff, decode(value))
            });
            at += padded;
        }
        nodes
    }

    proptest! {
        #[test]
        fn what_is_written_is_aligned_and_reads_back(
            bodies in proptest::collection::vec(proptest::collection::vec(node(), 0..6), 1..4), kind: u16, resource: u16,
        ) {
            let mut w = Writer::default();
            for body in &bodies {
                w.message(kind, ACK, 1, resource, |a| write(a, body));
            }
            let read: Vec<Message<'_>> = messages(w.bytes()).collect::<Result<_, _>>().unwrap();
            prop_assert_eq!(read.len(), bodies.len());
            let mut total = 0;
            for (i, (message, body)) in read.iter().zip(&bodies).enumerate() {
                prop_assert_eq!(message.kind, kind);
                prop_assert_eq!(message.sequence as usize, i + 1);
                prop_assert_eq!(&message.body[..2], &[1, 0]);
                prop_assert_eq!(&message.body[2..4], resource.to_be_bytes());
                prop_assert_eq!(&decode(&message.body[4..]), body);
                let top: Vec<u16> = message.attributes().map(|a| a.unwrap().0).collect();
                prop_assert_eq!(top.len(), body.len());
                total += 16 + message.body.len();
            }
            prop_assert_eq!(total, w.bytes().len());
        }

        #[test]
        fn hostile_bytes_end_and_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let mut seen = 0;
            for message in messages(&bytes) {
                seen += 1;
                let Ok(message) = message else { continue };
                let _ = message.error();
                prop_assert!(message.attributes().count() <= bytes.len());
            }
            prop_assert!(seen <= bytes.len());
            prop_assert!(attributes(&bytes).count() <= bytes.len());
        }

        #[test]
        fn a_cut_anywhere_is_noticed(body in proptest::collection::vec(node(), 1..5), cut: usize) {
            let mut w = Writer::default();
            w.message(7, 0, 1, 0, |a| write(a, &body));
            let cut = 1 + cut % (w.bytes().len() - 1);
            prop_assert_eq!(messages(&w.bytes()[..cut]).collect::<Vec<_>>(), [Err(Malformed::Short)]);
        }
    }

    #[test]
    fn lengths_that_would_never_advance_are_refused() {
        assert_eq!(messages(&[0; 32]).collect::<Vec<_>>(), [Err(Malformed::Length)]);
        assert_eq!(attributes(&[0; 8]).collect::<Vec<_>>(), [Err(Malformed::Length)]);
        assert_eq!(attributes(&[3, 0, 0, 0]).collect::<Vec<_>>(), [Err(Malformed::Length)]);
    }
}
