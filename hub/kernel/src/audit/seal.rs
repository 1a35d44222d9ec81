//! Signed statements about the audit log: checkpoints of one chain, and what a whole copy holds.
//!
//! The chain alone shows a change only to somebody who knows a later hash. A checkpoint is that knowledge, signed by a
//! key that is not in the database: whoever holds the database and not the key cannot write history anew. Ed25519
//! (RFC 8032) over a context of our own and a JSON array, which is unambiguous.

use ring::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use wardline_event::{Timestamp, hex, unhex};

const CHECKPOINT: &[u8] = b"wardline audit checkpoint v1\0";
const COPY: &[u8] = b"wardline audit copy v1\0";

/// "At this time the chain of this organisation ended with this entry", signed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Checkpoint {
    /// Whose chain.
    pub organisation: String,
    /// The number of its last entry then.
    pub number: i64,
    /// That entry's hash.
    pub hash: String,
    /// When it was signed, in milliseconds since 1970 (UTC).
    pub time_ms: i64,
    /// The public key, 64 hexadecimal digits.
    pub key: String,
    /// The signature, 128 hexadecimal digits.
    pub signature: String,
}

impl Checkpoint {
    fn bytes(&self) -> Vec<u8> {
        statement(
            CHECKPOINT,
            &serde_json::json!([self.organisation, self.number, self.hash, self.time_ms, self.key]),
        )
    }

    /// Whether the signature is that of the key it names.
    pub fn holds(&self) -> bool {
        fits(&self.key, &self.signature, &self.bytes())
    }
}

/// The last line of a copy: what stands before it, signed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Closing {
    /// How many chains.
    pub chains: u64,
    /// How many entries.
    pub entries: u64,
    /// SHA-256 over all lines before this one, their line feeds included.
    pub sha256: String,
    /// When it was signed, in milliseconds since 1970 (UTC).
    pub time_ms: i64,
    /// The signature, 128 hexadecimal digits; the key stands in the first line.
    pub signature: String,
}

impl Closing {
    fn bytes(&self) -> Vec<u8> {
        statement(COPY, &serde_json::json!([self.chains, self.entries, self.sha256, self.time_ms]))
    }

    /// Whether the signature is that of `key`.
    pub fn holds(&self, key: &str) -> bool {
        fits(key, &self.signature, &self.bytes())
    }
}

fn statement(context: &[u8], what: &serde_json::Value) -> Vec<u8> {
    [context, what.to_string().as_bytes()].concat()
}

fn fits(key: &str, signature: &str, bytes: &[u8]) -> bool {
    match (unhex(key), unhex(signature)) {
        (Some(key), Some(signature)) => {
            UnparsedPublicKey::new(&ED25519, key).verify(bytes, &signature).is_ok()
        }
        _ => false,
    }
}

/// Signs checkpoints and copies; its seed is `keys/audit.seed`.
pub struct Signer(Ed25519KeyPair);

impl Signer {
    /// Makes the key pair from 32 random bytes, which are the secret to keep.
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self(Ed25519KeyPair::from_seed_unchecked(seed).expect("ring accepts every seed of 32 bytes"))
    }

    /// The public key, 64 hexadecimal digits.
    pub fn key(&self) -> String {
        hex(self.0.public_key().as_ref())
    }

    fn sign(&self, bytes: &[u8]) -> String {
        hex(self.0.sign(bytes).as_ref())
    }

    /// Signs where a chain ends.
    pub fn checkpoint(&self, organisation: &str, number: i64, hash: &str, now: Timestamp) -> Checkpoint {
        let mut checkpoint = Checkpoint {
            organisation: organisation.to_owned(),
            number,
            hash: hash.to_owned(),
            time_ms: now.0,
            key: self.key(),
            signature: String::new(),
        };
        checkpoint.signature = self.sign(&checkpoint.bytes());
        checkpoint
    }

    /// Signs a whole copy.
    pub(super) fn close(&self, chains: u64, entries: u64, sha256: String, now: Timestamp) -> Closing {
        let mut closing = Closing { chains, entries, sha256, time_ms: now.0, signature: String::new() };
        closing.signature = self.sign(&closing.bytes());
        closing
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statement_holds_as_it_was_signed_and_no_other() {
        let signer = Signer::from_seed(&[7; 32]);
        let good = signer.checkpoint("o1", 5, "abc", Timestamp(1000));
        assert!(good.holds());
        let other = Signer::from_seed(&[8; 32]).key();
        for wrong in [
            Checkpoint { number: 6, ..good.clone() },
            Checkpoint { hash: "abd".into(), ..good.clone() },
            Checkpoint { organisation: "o2".into(), ..good.clone() },
            Checkpoint { time_ms: 1001, ..good.clone() },
            Checkpoint { key: other.clone(), ..good.clone() },
            Checkpoint { key: "xyz".into(), ..good.clone() },
            Checkpoint { signature: String::new(), ..good.clone() },
        ] {
            assert!(!wrong.holds(), "{wrong:?}");
        }
        let closing = signer.close(1, 5, "ff".into(), Timestamp(1000));
        assert!(closing.holds(&signer.key()) && !closing.holds(&other));
        assert!(!Closing { entries: 4, ..closing }.holds(&signer.key()));
    }
}
