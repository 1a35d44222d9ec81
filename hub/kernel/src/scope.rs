//! Tenancy: every question to the store is asked on behalf of one organisation.

use serde::{Deserialize, Serialize};

/// The organisation whose data a call may see and change.
///
/// A scope is gained by proving something: a session, an API token, an enrolment token or a device certificate.
/// No repository function works without one.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Scope(String);

impl Scope {
    /// The scope of the organisation with this id. For code that has just authenticated somebody, and for jobs.
    pub fn of_organisation(id: impl Into<String>) -> Self {
        Self(id.into())
    }

    /// The organisation's id, as stored.
    pub fn organisation(&self) -> &str {
        &self.0
    }
}
