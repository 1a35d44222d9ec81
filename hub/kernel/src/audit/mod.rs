//! The audit log: append-only, each entry chained to the one before it by its hash.
//!
//! The chain proves that no entry was changed, removed or moved by somebody who does not also rewrite every
//! later entry and the head. Against that stand signed [checkpoints](seal), and [copies](copy) that are kept elsewhere.

pub mod api;
mod chains;
pub mod copy;
pub mod seal;
mod store;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;
use wardline_event::Timestamp;

use crate::clock::sha256_hex;

pub use chains::{copy, seal, verify};
pub use store::{Place, Search, append, list};

/// Something worth remembering: who did what to what.
#[derive(Clone, Debug, PartialEq)]
pub struct Act {
    /// A person's name, `rule …`, or `hub` for what happens by itself.
    pub actor: String,
    /// What was done, as a dotted name: `session.begun`, `action.ordered`.
    pub act: &'static str,
    /// To what: an id, or empty.
    pub target: String,
    /// What else a reader needs. Never a secret.
    pub detail: Value,
}

/// One entry of the log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// The organisation in whose chain it stands: that of what was acted on.
    pub organisation: String,
    /// 1, 2, 3, … within the organisation.
    pub number: i64,
    /// When, in milliseconds since 1970 (UTC).
    pub time_ms: i64,
    /// Who.
    pub actor: String,
    /// What was done.
    pub act: String,
    /// To what.
    pub target: String,
    /// What else a reader needs, as JSON text: exactly the bytes that were hashed.
    pub detail: String,
    /// Hash of the entry before; 64 zeros for the first.
    pub previous: String,
    /// SHA-256 over all of the above.
    pub hash: String,
}

/// Where the chain is broken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Broken {
    /// In whose chain.
    pub organisation: String,
    /// The number of the first entry that does not fit.
    pub at: i64,
    /// In words: what does not fit.
    pub because: String,
}

impl std::fmt::Display for Broken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "entry {} of organisation {}: {}", self.at, self.organisation, self.because)
    }
}

/// What stands before the first entry.
pub(crate) const GENESIS: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// The entry's hash: over the organisation and every column, as a JSON array, which is unambiguous.
pub(crate) fn hash_of(entry: &Entry) -> String {
    let canonical = serde_json::json!([
        entry.previous,
        entry.organisation,
        entry.number,
        entry.time_ms,
        entry.actor,
        entry.act,
        entry.target,
        entry.detail
    ]);
    sha256_hex(canonical.to_string().as_bytes())
}

/// Follows the chain through `entry`; gives the hash that the next one must name.
pub(crate) fn follow(expected_number: i64, previous: &str, entry: &Entry) -> Result<String, Broken> {
    let broken = |because: &str| {
        let organisation = entry.organisation.clone();
        Err(Broken { organisation, at: expected_number, because: because.to_owned() })
    };
    if entry.number != expected_number {
        return broken("the entry with this number is missing");
    }
    if entry.previous != previous {
        return broken("it does not name the entry before it");
    }
    if hash_of(entry) != entry.hash {
        return broken("its content was changed after it was written");
    }
    Ok(entry.hash.clone())
}

/// Fills in an entry's place in the chain.
pub(crate) fn link(organisation: &str, number: i64, previous: String, now: Timestamp, act: Act) -> Entry {
    let mut entry = Entry {
        organisation: organisation.to_owned(),
        number,
        time_ms: now.0,
        actor: act.actor,
        act: act.act.to_owned(),
        target: act.target,
        detail: act.detail.to_string(),
        previous,
        hash: String::new(),
    };
    entry.hash = hash_of(&entry);
    entry
}
