//! Who asks for an order, agrees to it or refuses it.

use wardline_kernel::auth::{self, Proof};
use wardline_kernel::{Kernel, Scope, Session, StoreError};
use wardline_policy::{Party, Role};

/// Somebody who was let in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Person {
    /// Where they may act.
    pub scope: Scope,
    /// Their name, as the console and the audit log show it.
    pub name: String,
    /// Who answers for them: themselves, or whoever made the program's token.
    pub answerable: String,
    /// What they are there.
    pub role: Role,
    /// True for a program with an API token: it may ask, and is nobody's second person.
    pub program: bool,
}

impl Person {
    /// Whoever a session is.
    pub async fn of(kernel: &Kernel, session: &Session) -> Result<Self, StoreError> {
        Ok(Self {
            scope: session.scope.clone(),
            name: session.person.clone(),
            answerable: auth::answerable(kernel.store().read(), session).await?,
            role: session.role,
            program: session.proof == Proof::Token,
        })
    }

    /// As the policies know them.
    pub(crate) fn party(&self, from_above: bool) -> Party {
        Party { name: self.answerable.clone(), role: self.role, from_above }
    }
}
