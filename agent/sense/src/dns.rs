//! Messages of DNS (RFC 1035, 3596), as far as they tell who asked for what and what the answer was.
//!
//! The bytes come from the network, so everything is bounded: names by 255 bytes and by pointers that only go back,
//! answers by [`MAX_ANSWERS`]. A message that ends too early is told as far as it goes.

use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Answers of one message that are told.
pub const MAX_ANSWERS: usize = 64;
/// Bytes of a name as it travels, RFC 1035 section 2.3.4.
const MAX_NAME: usize = 255;
const HEADER: usize = 12;

/// One question, and the answers to it, if it is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// It is an answer.
    pub response: bool,
    /// How it ended: 0 no error, 2 server failed, 3 no such name, 5 refused.
    pub status: u8,
    /// The name asked for, without the dot at its end. Bytes that no host's name has are escaped as `\DDD`.
    pub name: String,
    /// What kind of record was asked for: 1 A, 28 AAAA, 16 TXT.
    pub kind: u16,
    /// Records of the answer, in their order.
    pub answers: Vec<Answer>,
    /// There are more answers than are told.
    pub cut: bool,
}

/// One record of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Seconds that it may be kept.
    pub ttl: u32,
    /// What it says.
    pub data: Data,
}

/// What a record says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Data {
    /// An address.
    Address(IpAddr),
    /// Another name, of a CNAME, NS, PTR, MX or SRV record.
    Name(String),
    /// The first text of a TXT record.
    Text(String),
    /// Anything else.
    Other,
}

/// Bytes that are no message with one question.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum DnsError {
    /// It ends before its question does.
    #[error("the message of {0} bytes ends within its header or question")]
    Short(usize),
    /// Something that is not asked for by programs.
    #[error("the message is no question with one name (operation {operation}, {questions} questions)")]
    NoQuestion {
        /// 0 is a question.
        operation: u8,
        /// How many.
        questions: u16,
    },
    /// A name that is longer than names can be, or points forward or at itself.
    #[error("a name in the message is malformed")]
    Name,
}

/// The name of a kind of record.
pub fn kind_name(kind: u16) -> String {
    let known = match kind {
        1 => "A",
        2 => "NS",
        5 => "CNAME",
        6 => "SOA",
        10 => "NULL",
        12 => "PTR",
        15 => "MX",
        16 => "TXT",
        28 => "AAAA",
        33 => "SRV",
        64 => "SVCB",
        65 => "HTTPS",
        252 => "AXFR",
        255 => "ANY",
        other => return format!("TYPE{other}"),
    };
    known.to_owned()
}

/// Reads a message.
pub fn parse(bytes: &[u8]) -> Result<Message, DnsError> {
    let short = || DnsError::Short(bytes.len());
    let flags = u16_at(bytes, 2).ok_or_else(short)?;
    let (questions, records) = (u16_at(bytes, 4).ok_or_else(short)?, u16_at(bytes, 6).ok_or_else(short)?);
    let operation = (flags >> 11 & 0xf) as u8;
    if operation != 0 || questions != 1 {
        return Err(DnsError::NoQuestion { operation, questions });
    }
    let (name, mut at) = name_at(bytes, HEADER)?;
    let kind = u16_at(bytes, at).ok_or_else(short)?;
    // Its class, which is always the internet's.
    u16_at(bytes, at + 2).ok_or_else(short)?;
    at += 4;
    let mut answers = Vec::new();
    let response = flags & 0x8000 != 0;
    let told = if response { usize::from(records) } else { 0 };
    while answers.len() < told.min(MAX_ANSWERS) {
        let Some((answer, next)) = answer_at(bytes, at) else { break };
        answers.push(answer);
        at = next;
    }
    let cut = answers.len() < told;
    Ok(Message { response, status: (flags & 0xf) as u8, name, kind, answers, cut })
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..at + 2)?.try_into().ok().map(u16::from_be_bytes)
}

fn array<const N: usize>(bytes: &[u8]) -> Option<[u8; N]> {
    bytes.try_into().ok()
}

/// A record, and where the next one begins; nothing if it is not all there.
fn answer_at(bytes: &[u8], at: usize) -> Option<(Answer, usize)> {
    let (_, at) = name_at(bytes, at).ok()?;
    let kind = u16_at(bytes, at)?;
    let ttl = u32::from_be_bytes(array(bytes.get(at + 4..at + 8)?)?);
    let from = at + 10;
    let next = from + usize::from(u16_at(bytes, at + 8)?);
    let data = bytes.get(from..next)?;
    // A name may point out of its record, to what stood before.
    let name =
        |skipped: usize| name_at(bytes, from + skipped).map_or(Data::Other, |(name, _)| Data::Name(name));
    let data = match kind {
        1 => array::<4>(data).map_or(Data::Other, |ip| Data::Address(Ipv4Addr::from(ip).into())),
        28 => array::<16>(data).map_or(Data::Other, |ip| Data::Address(Ipv6Addr::from(ip).to_canonical())),
        2 | 5 | 12 => name(0),
        15 => name(2),
        33 => name(6),
        16 => {
            let len = usize::from(*data.first().unwrap_or(&0));
            data.get(1..=len).map_or(Data::Other, |text| Data::Text(escaped(text)))
        }
        _ => Data::Other,
    };
    Some((Answer { ttl, data }, next))
}

/// A name, and where what follows it begins.
fn name_at(bytes: &[u8], mut at: usize) -> Result<(String, usize), DnsError> {
    let short = || DnsError::Short(bytes.len());
    let (mut name, mut length) = (String::new(), 0);
    // Behind the first pointer stands what follows; each pointer must lead further back than the one before.
    let (mut end, mut before) = (None, at);
    loop {
        let len = *bytes.get(at).ok_or_else(short)?;
        match len >> 6 {
            0 if len == 0 => return Ok((name, end.unwrap_or(at + 1))),
            0 => {
                let label = bytes.get(at + 1..at + 1 + usize::from(len)).ok_or_else(short)?;
                length += label.len() + 1;
                if length > MAX_NAME {
                    return Err(DnsError::Name);
                }
                if !name.is_empty() {
                    name.push('.');
                }
                // A dot within a label is none between labels.
                name += &escaped(label).replace('.', "\\046");
                at += 1 + usize::from(len);
            }
            3 => {
                let to = usize::from(u16_at(bytes, at).ok_or_else(short)? & 0x3fff);
                if to >= before {
                    return Err(DnsError::Name);
                }
                end = end.or(Some(at + 2));
                (at, before) = (to, to);
            }
            _ => return Err(DnsError::Name),
        }
    }
}

/// Printable ASCII as it is, everything else as RFC 1035 section 5.1 writes it.
fn escaped(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len());
    for byte in bytes {
        if byte.is_ascii_graphic() && *byte != b'\\' {
            out.push(char::from(*byte));
        } else {
            let _ = write!(out, "\\{byte:03}");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn name(text: &str) -> Vec<u8> {
        let mut out = Vec::new();
        for label in text.split('.').filter(|l| !l.is_empty()) {
            out.push(label.len() as u8);
            out.extend(label.as_bytes());
        }
        out.push(0);
        out
    }

    /// A message with these records, each (name as bytes, kind, data).
    fn message(flags: u16, question: &str, kind: u16, records: &[(&[u8], u16, &[u8])]) -> Vec<u8> {
        let mut out = vec![0x12, 0x34];
        out.extend(flags.to_be_bytes());
        out.extend([0, 1, 0, records.len() as u8, 0, 0, 0, 0]);
        out.extend(name(question));
        out.extend(kind.to_be_bytes());
        out.extend([0, 1]);
        for (name, kind, data) in records {
            out.extend(*name);
            out.extend(kind.to_be_bytes());
            out.extend([0, 1, 0, 0, 1, 44]);
            out.extend((data.len() as u16).to_be_bytes());
            out.extend(*data);
        }
        out
    }

    #[test]
    fn questions_and_answers_are_read() {
        let asked = parse(&message(0x0100, "www.example.org", 28, &[])).unwrap();
        assert_eq!(
            (asked.response, asked.name.as_str(), kind_name(asked.kind)),
            (false, "www.example.org", "AAAA".into())
        );

        let alias = [&name("cdn")[..4], &[0xc0, 16]].concat();
        let records: &[(&[u8], u16, &[u8])] = &[
            // "cdn" and, by a pointer, "example.org".
            (&[0xc0, 12], 5, &alias),
            (&[0xc0, 12], 1, &[192, 0, 2, 7]),
            (&[0xc0, 12], 28, &Ipv4Addr::new(192, 0, 2, 8).to_ipv6_mapped().octets()),
            (&[0xc0, 12], 16, b"\x05a b\xff."),
            (&[0xc0, 12], 1, &[1, 2, 3]),
            (&[0xc0, 12], 99, &[1, 2, 3]),
        ];
        let answered = parse(&message(0x8180, "www.example.org", 1, records)).unwrap();
        let data: Vec<Data> = answered.answers.iter().map(|a| a.data.clone()).collect();
        let ip = |text: &str| Data::Address(text.parse().unwrap());
        assert_eq!(
            data,
            [
                Data::Name("cdn.example.org".into()),
                ip("192.0.2.7"),
                ip("192.0.2.8"),
                Data::Text("a\\032b\\255.".into()),
                Data::Other,
                Data::Other
            ]
        );
        assert!(answered.response && !answered.cut && answered.answers.iter().all(|a| a.ttl == 300));

        let none = parse(&message(0x8183, "a\u{1}b", 1, &[])).unwrap();
        assert_eq!((none.status, none.name.as_str()), (3, "a\\001b"));
    }

    #[test]
    fn what_is_no_question_is_refused() {
        let good = message(0x8180, "x.org", 1, &[(&[0xc0, 12], 1, &[192, 0, 2, 7])]);
        for len in 0..HEADER + 11 {
            assert_eq!(parse(&good[..len]), Err(DnsError::Short(len)));
        }
        // Cut within the answer: what is there is told.
        let cut = parse(&good[..good.len() - 1]).unwrap();
        assert!(cut.cut && cut.answers.is_empty());
        assert_eq!(
            parse(&message(0x2800, "x", 1, &[])),
            Err(DnsError::NoQuestion { operation: 5, questions: 1 })
        );
        let mut looped = good.clone();
        looped[HEADER..HEADER + 2].copy_from_slice(&[0xc0, HEADER as u8]);
        assert_eq!(parse(&looped), Err(DnsError::Name));
        let long = vec!["a".repeat(63); 5].join(".");
        assert_eq!(parse(&message(0, &long, 1, &[])), Err(DnsError::Name));
    }

    proptest! {
        #[test]
        fn hostile_bytes_never_panic(mut bytes in prop::collection::vec(any::<u8>(), 0..600), shape: bool) {
            if shape && bytes.len() > HEADER {
                // With a header that is believed.
                bytes[2..8].copy_from_slice(&[0x81, 0x80, 0, 1, 0, 200]);
            }
            if let Ok(message) = parse(&bytes) {
                prop_assert!(message.answers.len() <= MAX_ANSWERS);
                // Each byte becomes four at most, and a label's end a dot.
                prop_assert!(message.name.len() <= 4 * MAX_NAME);
                prop_assert!(message.name.is_ascii());
            }
        }

        #[test]
        fn names_survive(labels in prop::collection::vec("[a-z0-9_-]{1,63}", 1..4), kind: u16) {
            let text = labels.join(".");
            let read = parse(&message(0x0100, &text, kind, &[])).unwrap();
            prop_assert_eq!((read.name, read.kind), (text, kind));
        }
    }
}
