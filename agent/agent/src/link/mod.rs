//! What guard and courier say to each other, and nothing else.
//!
//! The two need not share a process: they speak over a Unix socket that one of them inherits. The courier may be in the
//! hands of whoever attacked it through the network, so the guard takes none of its words for more than they are: a
//! command is verified again, an acknowledgement only frees what was sent, addresses must carry the hub's port.
//!
//! A frame is `length: u32 LE` and as many bytes: one for the kind of message, then its fields. Numbers are little-endian,
//! texts and byte strings have their length before them, lists their count. A frame that is too long, does not end where
//! its fields do, or holds a value beyond its limit is [`Malformed`], and ends the conversation. Both ends are the same
//! build ([`VERSION`] is checked all the same): there is nothing to be compatible with.

mod codec;
mod frames;

use std::net::SocketAddr;

use wardline_event::{BootId, DeviceId};
use wardline_wire::proto::SignedCommand;

pub use codec::Malformed;
pub use frames::Frames;

use crate::outbox::Lane;

/// The version of this language.
pub const VERSION: u16 = 1;
/// The longest frame that a guard takes.
pub const MOST_TO_GUARD: usize = 128 << 10;
/// The longest frame that a courier takes: a batch, or one record that is larger.
pub const MOST_TO_COURIER: usize = 4 << 20;
/// The longest command; one holds a policy at most.
pub const MOST_COMMAND: usize = 64 << 10;
/// The longest key or certificate.
pub const MOST_DER: usize = 16 << 10;
/// Addresses of one hub.
pub const MOST_ADDRESSES: usize = 16;
/// The longest text for a person, in bytes.
pub const MOST_TEXT: usize = 2048;

/// From the courier.
#[derive(Clone, Debug, PartialEq)]
pub enum ToGuard {
    /// The first word.
    Hello {
        /// [`VERSION`].
        version: u16,
        /// What is missing of the courier's confinement, for a person; empty if nothing.
        unconfined: String,
    },
    /// Asks for records from this number on; answered by [`ToCourier::Records`] or [`ToCourier::Nothing`].
    Read {
        /// Of this lane.
        lane: Lane,
        /// The first number wanted.
        from: u64,
    },
    /// The hub has all records of this spool up to this number.
    Ack {
        /// The spool.
        spool: [u8; 16],
        /// The last number.
        up_to: u64,
    },
    /// Asks how the device is; answered by [`ToCourier::Heartbeat`].
    Beat,
    /// A command from the hub, to be verified.
    Command(SignedCommand),
    /// Where the hub is, the surest address first.
    Hubs(Vec<SocketAddr>),
    /// A renewed certificate with its key, to be kept; answered by [`ToCourier::Stored`].
    Certificate {
        /// PKCS #8.
        key_der: Vec<u8>,
        /// X.509.
        certificate_der: Vec<u8>,
    },
    /// Whether the hub listens.
    Connected(bool),
    /// What only the courier can know.
    About {
        /// When the certificate expires, in milliseconds since 1970; 0 if it cannot be read.
        certificate_until_ms: i64,
        /// How far this machine's clock is ahead of the hub's, in milliseconds.
        clock_ahead_ms: i64,
    },
    /// The answer to [`ToCourier::Enrol`].
    Enrolled(Box<Enrolled>),
    /// The other answer to it: why not, for a person.
    NotEnrolled(String),
}

/// From the guard.
#[derive(Clone, Debug, PartialEq)]
pub enum ToCourier {
    /// The answer to [`ToGuard::Hello`].
    Setup(Box<Setup>),
    /// Asks to enrol; instead of a setup.
    Enrol(Enrol),
    /// Records as asked for.
    Records {
        /// Of this lane.
        lane: Lane,
        /// Its spool.
        spool: [u8; 16],
        /// Number of the first.
        first_seq: u64,
        /// Kind and body.
        records: Vec<(u8, Vec<u8>)>,
    },
    /// The lane holds no such records; [`ToCourier::Wake`] says when one may.
    Nothing {
        /// The lane.
        lane: Lane,
    },
    /// A `Heartbeat`, encoded.
    Heartbeat(Vec<u8>),
    /// Whether the certificate was kept.
    Stored(bool),
    /// There is something new in some lane.
    Wake,
    /// The agent stops as it should; the courier has nobody to mourn.
    Stop,
}

/// All that a courier needs to know.
#[derive(Clone, Debug, PartialEq)]
pub struct Setup {
    /// [`VERSION`].
    pub version: u16,
    /// This device.
    pub device: DeviceId,
    /// This boot.
    pub boot: BootId,
    /// The hub's address, `host:port`.
    pub hub: String,
    /// PKCS #8.
    pub key_der: Vec<u8>,
    /// X.509.
    pub certificate_der: Vec<u8>,
    /// X.509.
    pub authority_der: Vec<u8>,
    /// `DeviceFacts`, encoded.
    pub facts: Vec<u8>,
    /// Where the hub was before.
    pub hubs: Vec<SocketAddr>,
}

/// What enrolling takes.
#[derive(Clone, PartialEq)]
pub struct Enrol {
    /// The hub's address, `host:port`.
    pub hub: String,
    /// The token's secret.
    pub secret: String,
    /// Fingerprint of the hub's authority.
    pub authority: [u8; 32],
    /// `DeviceFacts`, encoded.
    pub facts: Vec<u8>,
}

impl std::fmt::Debug for Enrol {
    /// The secret stays out of logs.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Enrol").field("hub", &self.hub).finish_non_exhaustive()
    }
}

/// What a hub gave to a device that it enrolled.
#[derive(Clone, Debug, PartialEq)]
pub struct Enrolled {
    /// The device's id.
    pub device: DeviceId,
    /// The key that signs the hub's commands.
    pub command_key: [u8; 32],
    /// PKCS #8.
    pub key_der: Vec<u8>,
    /// X.509.
    pub certificate_der: Vec<u8>,
    /// X.509.
    pub authority_der: Vec<u8>,
    /// The first policy.
    pub policy: SignedCommand,
}

/// A text of the other side, cut to what a log or a terminal can bear.
pub fn printable(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(500).collect()
}
