//! Rules of nftables as data, and their form in netlink messages. Pure.

use super::super::netlink::Attributes;

/// `NF_DROP`
pub(super) const DROP: u32 = 0;
/// `NF_ACCEPT`
pub(super) const ACCEPT: u32 = 1;
/// `NFT_REG_1`, 16 bytes wide: an IPv6 address fits.
const REGISTER: u32 = 1;
/// Longer comments the kernel would take, and `nft` would not.
const LONGEST_COMMENT: usize = 120;

pub(super) const ICMP: u8 = 1;
pub(super) const TCP: u8 = 6;
pub(super) const UDP: u8 = 17;
pub(super) const ICMPV6: u8 = 58;

/// One condition of a rule, in the terms of nftables' expressions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Test {
    /// `meta`: something that the kernel knows about the packet (`NFT_META_*`).
    Meta(u32, Vec<u8>),
    /// `payload`: bytes of a header, from an offset.
    Bytes(Header, u32, Vec<u8>),
    /// `payload`: bytes of a header, from an offset, between two values inclusive, in network order.
    Between(Header, u32, Vec<u8>, Vec<u8>),
    /// `payload`, `bitwise`: bytes which, under a mask, are these.
    Masked(Header, u32, Vec<u8>, Vec<u8>),
    /// `payload`, `bitwise`: one byte which, under this mask, is not this.
    MaskedNot(Header, u32, u8, u8),
}

/// `NFT_PAYLOAD_NETWORK_HEADER`, `NFT_PAYLOAD_TRANSPORT_HEADER`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Header {
    Network = 1,
    Transport = 2,
}

/// One rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Rule {
    pub chain: &'static str,
    pub tests: Vec<Test>,
    pub verdict: u32,
    pub comment: String,
}

impl Rule {
    pub fn accept(chain: &'static str, comment: impl Into<String>, tests: Vec<Test>) -> Self {
        Self { chain, tests, verdict: ACCEPT, comment: comment.into() }
    }

    pub fn drop(chain: &'static str, comment: impl Into<String>, tests: Vec<Test>) -> Self {
        Self { chain, tests, verdict: DROP, comment: comment.into() }
    }

    /// The comment as the kernel keeps it.
    pub fn userdata(&self) -> Vec<u8> {
        userdata(&self.comment)
    }
}

/// `NFT_META_IIF`, `NFT_META_OIF`: the interface is `lo`, whose index is 1 in every network namespace.
pub(super) fn loopback(meta: u32) -> Test {
    Test::Meta(meta, 1u32.to_ne_bytes().to_vec())
}

/// `NFT_META_NFPROTO`
pub(super) fn ipv4() -> Test {
    Test::Meta(15, vec![2])
}

/// `NFT_META_NFPROTO`
pub(super) fn ipv6() -> Test {
    Test::Meta(15, vec![10])
}

/// `NFT_META_L4PROTO`
pub(super) fn protocol(number: u8) -> Test {
    Test::Meta(16, vec![number])
}

/// A comment as the `nft` program keeps it: type 0, length with the final zero byte, text.
pub(super) fn userdata(text: &str) -> Vec<u8> {
    let end =
        (0..=LONGEST_COMMENT.min(text.len())).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    let length = u8::try_from(end + 1).expect("at most LONGEST_COMMENT");
    [&[0, length], &text.as_bytes()[..end], &[0]].concat()
}

/// Writes a rule's expressions.
pub(super) fn encode(a: &mut Attributes<'_>, rule: &Rule) {
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
                load(a, *header, *offset, low.len());
                compare(a, EQUAL, low);
            }
            Test::Between(header, offset, low, high) => {
                load(a, *header, *offset, low.len());
                compare(a, AT_LEAST, low);
                compare(a, AT_MOST, high);
            }
            Test::Masked(header, offset, mask, value) => {
                load(a, *header, *offset, mask.len());
                under(a, mask);
                compare(a, EQUAL, value);
            }
            Test::MaskedNot(header, offset, mask, value) => {
                load(a, *header, *offset, 1);
                under(a, &[*mask]);
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

/// Leaves the bits of the register that the mask has.
fn under(a: &mut Attributes<'_>, mask: &[u8]) {
    expression(a, "bitwise", |a| {
        a.number(1, REGISTER);
        a.number(2, REGISTER);
        a.number(3, mask.len() as u32);
        a.nest(4, |a| a.raw(1, mask));
        a.nest(5, |a| a.raw(1, &vec![0; mask.len()]));
    });
}

fn compare(a: &mut Attributes<'_>, how: u32, value: &[u8]) {
    expression(a, "cmp", |a| {
        a.number(1, REGISTER);
        a.number(2, how);
        a.nest(3, |a| a.raw(1, value));
    });
}
