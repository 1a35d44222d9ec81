//! Messages between agent and hub: schema, signatures, sequence numbers. Pure.
//!
//! The schema is `proto/wardline.proto`; its types are in [`proto`]. What must be proved about a message is
//! proved by a type: a [`VerifiedCommand`] can only come from [`CommandKey::verify`], and [`check_batch`] is the
//! only way to the records of a batch that arrived.

mod batch;
mod command;
mod keyring;
mod token;

/// Types generated from `proto/wardline.proto`.
#[allow(clippy::all, clippy::pedantic, missing_docs, unused_qualifications)]
pub mod proto {
    tonic::include_proto!("wardline.v1");
}

pub use batch::{BatchError, MAX_BATCH_BYTES, MAX_RECORD_BYTES, check_batch, make_batch};
pub use command::{CommandKey, CommandSigner, Refusal, VerifiedCommand};
pub use keyring::{KeyRing, Learnt, MOST_RETIRED};
pub use token::{EnrolmentToken, TokenError};

/// The version of the conversation that this build speaks. A hub serves agents of the same version and one older.
pub const PROTOCOL: u32 = 1;

/// The name in every hub's certificate for agents. A hub's authority signs for its own hub only, so the name need
/// not be an address, and a hub that moves needs no new certificate.
pub const HUB_TLS_NAME: &str = "hub.wardline.internal";
