//! Messages as bytes.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use wardline_event::{BootId, DeviceId};
use wardline_wire::proto::SignedCommand;

use super::{
    Enrol, Enrolled, MOST_ADDRESSES, MOST_COMMAND, MOST_DER, MOST_TEXT, MOST_TO_COURIER, Setup, ToCourier,
    ToGuard,
};
use crate::outbox::Lane;

/// Bytes that are no message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a message between guard and courier: {0}")]
pub struct Malformed(pub(super) &'static str);

/// An Ed25519 signature has 64 bytes; what is longer is none.
const MOST_SIGNATURE: usize = 64;

struct Writer(Vec<u8>);

impl Writer {
    /// Leaves room for the length.
    fn new(kind: u8) -> Self {
        Self(vec![0, 0, 0, 0, kind])
    }

    fn u8(mut self, value: u8) -> Self {
        self.0.push(value);
        self
    }

    fn fixed(mut self, value: &[u8]) -> Self {
        self.0.extend_from_slice(value);
        self
    }

    fn u64(self, value: u64) -> Self {
        self.fixed(&value.to_le_bytes())
    }

    fn bytes(self, value: &[u8]) -> Self {
        self.fixed(&(value.len() as u32).to_le_bytes()).fixed(value)
    }

    /// Cut at the limit: texts are for people.
    fn text(self, value: &str) -> Self {
        let mut end = value.len().min(MOST_TEXT);
        while !value.is_char_boundary(end) {
            end -= 1;
        }
        self.bytes(&value.as_bytes()[..end])
    }

    fn command(self, signed: &SignedCommand) -> Self {
        self.bytes(&signed.command).bytes(&signed.signature)
    }

    fn addresses(mut self, addresses: &[SocketAddr]) -> Self {
        let addresses = &addresses[..addresses.len().min(MOST_ADDRESSES)];
        self = self.u8(addresses.len() as u8);
        for address in addresses {
            self = match address.ip() {
                IpAddr::V4(ip) => self.u8(4).fixed(&ip.octets()),
                IpAddr::V6(ip) => self.u8(6).fixed(&ip.octets()),
            };
            self = self.fixed(&address.port().to_le_bytes());
        }
        self
    }

    /// The frame.
    fn end(mut self) -> Vec<u8> {
        let length = (self.0.len() - 4) as u32;
        self.0[..4].copy_from_slice(&length.to_le_bytes());
        self.0
    }
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, n: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.0.split_at_checked(n).ok_or(Malformed("it ends too early"))?;
        self.0 = rest;
        Ok(taken)
    }

    fn fixed<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        self.take(N)?.try_into().map_err(|_| Malformed("it ends too early"))
    }

    fn u8(&mut self) -> Result<u8, Malformed> {
        Ok(self.fixed::<1>()?[0])
    }

    fn u16(&mut self) -> Result<u16, Malformed> {
        Ok(u16::from_le_bytes(self.fixed()?))
    }

    fn u64(&mut self) -> Result<u64, Malformed> {
        Ok(u64::from_le_bytes(self.fixed()?))
    }

    fn flag(&mut self) -> Result<bool, Malformed> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(Malformed("a flag that is neither set nor unset")),
        }
    }

    fn bytes(&mut self, most: usize) -> Result<Vec<u8>, Malformed> {
        let length = u32::from_le_bytes(self.fixed()?) as usize;
        if length > most {
            return Err(Malformed("a field longer than allowed"));
        }
        Ok(self.take(length)?.to_vec())
    }

    fn text(&mut self) -> Result<String, Malformed> {
        String::from_utf8(self.bytes(MOST_TEXT)?).map_err(|_| Malformed("a text that is not UTF-8"))
    }

    fn lane(&mut self) -> Result<Lane, Malformed> {
        Lane::ALL.get(usize::from(self.u8()?)).copied().ok_or(Malformed("no such lane"))
    }

    fn command(&mut self) -> Result<SignedCommand, Malformed> {
        Ok(SignedCommand { command: self.bytes(MOST_COMMAND)?, signature: self.bytes(MOST_SIGNATURE)? })
    }

    fn addresses(&mut self) -> Result<Vec<SocketAddr>, Malformed> {
        let count = usize::from(self.u8()?);
        if count > MOST_ADDRESSES {
            return Err(Malformed("more addresses than allowed"));
        }
        let mut addresses = Vec::with_capacity(count);
        for _ in 0..count {
            let ip: IpAddr = match self.u8()? {
                4 => Ipv4Addr::from(self.fixed::<4>()?).into(),
                6 => Ipv6Addr::from(self.fixed::<16>()?).into(),
                _ => return Err(Malformed("an address of no known family")),
            };
            addresses.push(SocketAddr::new(ip, self.u16()?));
        }
        Ok(addresses)
    }

    fn end<T>(self, message: T) -> Result<T, Malformed> {
        if self.0.is_empty() { Ok(message) } else { Err(Malformed("bytes after its end")) }
    }
}

impl ToGuard {
    /// The message as a frame, its length included.
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Self::Hello { version, unconfined } => {
                Writer::new(1).fixed(&version.to_le_bytes()).text(unconfined)
            }
            Self::Read { lane, from } => Writer::new(2).u8(*lane as u8).u64(*from),
            Self::Ack { spool, up_to } => Writer::new(3).fixed(spool).u64(*up_to),
            Self::Beat => Writer::new(4),
            Self::Command(signed) => Writer::new(5).command(signed),
            Self::Hubs(addresses) => Writer::new(6).addresses(addresses),
            Self::Certificate { key_der, certificate_der } => {
                Writer::new(7).bytes(key_der).bytes(certificate_der)
            }
            Self::Connected(yes) => Writer::new(8).u8(u8::from(*yes)),
            Self::Enrolled(enrolled) => {
                let Enrolled { device, command_key, key_der, certificate_der, authority_der, policy } =
                    &**enrolled;
                Writer::new(9)
                    .fixed(&device.0.to_le_bytes())
                    .fixed(command_key)
                    .bytes(key_der)
                    .bytes(certificate_der)
                    .bytes(authority_der)
                    .command(policy)
            }
            Self::NotEnrolled(why) => Writer::new(10).text(why),
            Self::About { certificate_until_ms, clock_ahead_ms } => {
                Writer::new(11).u64(certificate_until_ms.cast_unsigned()).u64(clock_ahead_ms.cast_unsigned())
            }
        }
        .end()
    }

    /// Reads a frame's bytes, without its length.
    pub fn decode(frame: &[u8]) -> Result<Self, Malformed> {
        let mut r = Reader(frame);
        let message = match r.u8()? {
            1 => Self::Hello { version: r.u16()?, unconfined: r.text()? },
            2 => Self::Read { lane: r.lane()?, from: r.u64()? },
            3 => Self::Ack { spool: r.fixed()?, up_to: r.u64()? },
            4 => Self::Beat,
            5 => Self::Command(r.command()?),
            6 => Self::Hubs(r.addresses()?),
            7 => Self::Certificate { key_der: r.bytes(MOST_DER)?, certificate_der: r.bytes(MOST_DER)? },
            8 => Self::Connected(r.flag()?),
            9 => Self::Enrolled(Box::new(Enrolled {
                device: DeviceId(u128::from_le_bytes(r.fixed()?)),
                command_key: r.fixed()?,
                key_der: r.bytes(MOST_DER)?,
                certificate_der: r.bytes(MOST_DER)?,
                authority_der: r.bytes(MOST_DER)?,
                policy: r.command()?,
            })),
            10 => Self::NotEnrolled(r.text()?),
            11 => Self::About {
                certificate_until_ms: r.u64()?.cast_signed(),
                clock_ahead_ms: r.u64()?.cast_signed(),
            },
            _ => return Err(Malformed("a kind of message that does not exist")),
        };
        r.end(message)
    }
}

impl ToCourier {
    /// The message as a frame, its length included.
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Self::Setup(setup) => {
                let Setup {
                    version,
                    device,
                    boot,
                    hub,
                    key_der,
                    certificate_der,
                    authority_der,
                    facts,
                    hubs,
                } = &**setup;
                Writer::new(1)
                    .fixed(&version.to_le_bytes())
                    .fixed(&device.0.to_le_bytes())
                    .fixed(&boot.0.to_le_bytes())
                    .text(hub)
                    .bytes(key_der)
                    .bytes(certificate_der)
                    .bytes(authority_der)
                    .bytes(facts)
                    .addresses(hubs)
            }
            Self::Enrol(Enrol { hub, secret, authority, facts }) => {
                Writer::new(2).text(hub).text(secret).fixed(authority).bytes(facts)
            }
            Self::Records { lane, spool, first_seq, records } => {
                let mut w = Writer::new(3).u8(*lane as u8).fixed(spool).u64(*first_seq);
                w = w.fixed(&(records.len() as u32).to_le_bytes());
                records.iter().fold(w, |w, (kind, body)| w.u8(*kind).bytes(body))
            }
            Self::Nothing { lane } => Writer::new(4).u8(*lane as u8),
            Self::Heartbeat(bytes) => Writer::new(5).bytes(bytes),
            Self::Stored(yes) => Writer::new(6).u8(u8::from(*yes)),
            Self::Wake => Writer::new(7),
            Self::Stop => Writer::new(8),
        }
        .end()
    }

    /// Reads a frame's bytes, without its length.
    pub fn decode(frame: &[u8]) -> Result<Self, Malformed> {
        let mut r = Reader(frame);
        let message = match r.u8()? {
            1 => Self::Setup(Box::new(Setup {
                version: r.u16()?,
                device: DeviceId(u128::from_le_bytes(r.fixed()?)),
                boot: BootId(u128::from_le_bytes(r.fixed()?)),
                hub: r.text()?,
                key_der: r.bytes(MOST_DER)?,
                certificate_der: r.bytes(MOST_DER)?,
                authority_der: r.bytes(MOST_DER)?,
                facts: r.bytes(MOST_DER)?,
                hubs: r.addresses()?,
            })),
            2 => Self::Enrol(Enrol {
                hub: r.text()?,
                secret: r.text()?,
                authority: r.fixed()?,
                facts: r.bytes(MOST_DER)?,
            }),
            3 => {
                let (lane, spool, first_seq) = (r.lane()?, r.fixed()?, r.u64()?);
                let count = u32::from_le_bytes(r.fixed()?);
                let mut records = Vec::new();
                for _ in 0..count {
                    records.push((r.u8()?, r.bytes(MOST_TO_COURIER)?));
                }
                Self::Records { lane, spool, first_seq, records }
            }
            4 => Self::Nothing { lane: r.lane()? },
            5 => Self::Heartbeat(r.bytes(MOST_TO_COURIER)?),
            6 => Self::Stored(r.flag()?),
            7 => Self::Wake,
            8 => Self::Stop,
            _ => return Err(Malformed("a kind of message that does not exist")),
        };
        r.end(message)
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::link::{MOST_TO_GUARD, VERSION};

    fn der() -> impl Strategy<Value = Vec<u8>> {
        vec(any::<u8>(), 0..200)
    }

    fn signed() -> impl Strategy<Value = SignedCommand> {
        (der(), vec(any::<u8>(), 0..=64))
            .prop_map(|(command, signature)| SignedCommand { command, signature })
    }

    fn addresses() -> impl Strategy<Value = Vec<SocketAddr>> {
        vec(any::<(IpAddr, u16)>().prop_map(SocketAddr::from), 0..=MOST_ADDRESSES)
    }

    fn lane() -> impl Strategy<Value = Lane> {
        prop::sample::select(Lane::ALL.to_vec())
    }

    fn to_guard() -> impl Strategy<Value = ToGuard> {
        prop_oneof![
            (any::<u16>(), ".{0,100}")
                .prop_map(|(version, unconfined)| ToGuard::Hello { version, unconfined }),
            (lane(), any::<u64>()).prop_map(|(lane, from)| ToGuard::Read { lane, from }),
            any::<([u8; 16], u64)>().prop_map(|(spool, up_to)| ToGuard::Ack { spool, up_to }),
            Just(ToGuard::Beat),
            signed().prop_map(ToGuard::Command),
            addresses().prop_map(ToGuard::Hubs),
            (der(), der())
                .prop_map(|(key_der, certificate_der)| ToGuard::Certificate { key_der, certificate_der }),
            any::<bool>().prop_map(ToGuard::Connected),
            (any::<(u128, [u8; 32])>(), der(), der(), der(), signed()).prop_map(
                |((device, command_key), key_der, certificate_der, authority_der, policy)| {
                    ToGuard::Enrolled(Box::new(Enrolled {
                        device: DeviceId(device),
                        command_key,
                        key_der,
                        certificate_der,
                        authority_der,
                        policy,
                    }))
                }
            ),
            ".{0,100}".prop_map(ToGuard::NotEnrolled),
            any::<(i64, i64)>().prop_map(|(certificate_until_ms, clock_ahead_ms)| ToGuard::About {
                certificate_until_ms,
                clock_ahead_ms
            }),
        ]
    }

    fn to_courier() -> impl Strategy<Value = ToCourier> {
        prop_oneof![
            (any::<(u16, u128, u128)>(), ".{0,60}", (der(), der(), der(), der()), addresses()).prop_map(
                |((version, device, boot), hub, (key_der, certificate_der, authority_der, facts), hubs)| {
                    ToCourier::Setup(Box::new(Setup {
                        version,
                        device: DeviceId(device),
                        boot: BootId(boot),
                        hub,
                        key_der,
                        certificate_der,
                        authority_der,
                        facts,
                        hubs,
                    }))
                }
            ),
            (".{0,60}", ".{0,60}", any::<[u8; 32]>(), der()).prop_map(|(hub, secret, authority, facts)| {
                ToCourier::Enrol(Enrol { hub, secret, authority, facts })
            }),
            (lane(), any::<[u8; 16]>(), any::<u64>(), vec((any::<u8>(), der()), 0..20)).prop_map(
                |(lane, spool, first_seq, records)| ToCourier::Records { lane, spool, first_seq, records }
            ),
            lane().prop_map(|lane| ToCourier::Nothing { lane }),
            der().prop_map(ToCourier::Heartbeat),
            any::<bool>().prop_map(ToCourier::Stored),
            Just(ToCourier::Wake),
            Just(ToCourier::Stop),
        ]
    }

    proptest! {
        #[test]
        fn what_is_said_is_heard(up in to_guard(), down in to_courier()) {
            prop_assert_eq!(ToGuard::decode(&up.encode()[4..]), Ok(up));
            prop_assert_eq!(ToCourier::decode(&down.encode()[4..]), Ok(down));
        }

        #[test]
        fn a_message_cut_short_or_gone_on_is_refused(up in to_guard(), cut in any::<prop::sample::Index>()) {
            let frame = up.encode();
            let body = &frame[4..];
            prop_assert!(ToGuard::decode(&body[..cut.index(body.len())]).is_err());
            prop_assert!(ToGuard::decode(&[body, &[0]].concat()).is_err());
        }

        #[test]
        fn any_bytes_are_a_message_or_refused(bytes in vec(any::<u8>(), 0..300)) {
            if let Ok(message) = ToGuard::decode(&bytes) {
                prop_assert_eq!(&message.encode()[4..], &bytes[..]);
            }
        }
    }

    #[test]
    fn limits_hold() {
        let long = |n| vec![0u8; n];
        let command =
            |n| ToGuard::Command(SignedCommand { command: long(n), signature: Vec::new() }).encode();
        assert!(ToGuard::decode(&command(MOST_COMMAND)[4..]).is_ok());
        assert!(ToGuard::decode(&command(MOST_COMMAND + 1)[4..]).is_err());
        let certificate = |n| ToGuard::Certificate { key_der: long(n), certificate_der: long(n) }.encode();
        assert!(ToGuard::decode(&certificate(MOST_DER)[4..]).is_ok());
        assert!(ToGuard::decode(&certificate(MOST_DER + 1)[4..]).is_err());
        // A length that nothing follows costs nothing.
        assert!(ToGuard::decode(&[5, 0xff, 0xff, 0xff, 0xff]).is_err());
        assert!(ToCourier::decode(&[[3, 0].as_slice(), &[0; 24], &[0xff; 4]].concat()).is_err());
        // The largest message of an honest courier fits.
        let largest = ToGuard::Enrolled(Box::new(Enrolled {
            device: DeviceId(1),
            command_key: [0; 32],
            key_der: long(MOST_DER),
            certificate_der: long(MOST_DER),
            authority_der: long(MOST_DER),
            policy: SignedCommand { command: long(MOST_COMMAND), signature: long(MOST_SIGNATURE) },
        }));
        assert!(largest.encode().len() <= MOST_TO_GUARD);
        let text = "é".repeat(MOST_TEXT);
        let hello = ToGuard::Hello { version: VERSION, unconfined: text };
        assert!(matches!(ToGuard::decode(&hello.encode()[4..]), Ok(ToGuard::Hello { unconfined, .. })
            if unconfined.len() <= MOST_TEXT && unconfined.starts_with('é')));
    }
}
