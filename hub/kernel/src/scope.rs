//! Tenancy: every question to the store is asked on behalf of one organisation and everything below it.

use serde::{Deserialize, Serialize};

use crate::db::{Pool, Sql};
use crate::store::StoreError;

/// An organisation's id: where a row belongs.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct OrganisationId(String);

impl OrganisationId {
    /// An id as it was stored.
    pub fn stored(id: impl Into<String>) -> Self {
        Self(id.into())
    }

    /// The id as stored.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for OrganisationId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a call may see and change: one organisation and all below it in the tree.
///
/// A scope is gained by proving something: a session, an API token, an enrolment token or a device certificate.
/// No repository function works without one. What is written belongs to exactly one organisation: an
/// [`OrganisationId`].
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Scope(OrganisationId);

/// Says in SQL that a row of this table (or its alias) lies within the scope that is bound to `$1`. For rows that are
/// found by their own key; lists use [`Scope::filter`].
#[macro_export]
macro_rules! within {
    ($table:literal) => {
        concat!(
            "EXISTS (SELECT 1 FROM organisation_below within_scope WHERE within_scope.above = $1 ",
            "AND within_scope.below = ",
            $table,
            ".organisation)"
        )
    };
}

/// How much of the tree a scope covers: what makes a list quick depends on it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reach {
    /// One organisation with nothing below it: an index that begins with the organisation is in the right order.
    One,
    /// Several: the list's own order is walked, and each row asked whether it lies within.
    Many,
}

impl Scope {
    /// An organisation and all below it. For code that has just authenticated somebody, and for jobs.
    pub fn within(root: OrganisationId) -> Self {
        Self(root)
    }

    /// The organisation at the top of this scope.
    pub fn root(&self) -> &OrganisationId {
        &self.0
    }

    /// Its id, to be bound.
    pub fn id(&self) -> &str {
        self.0.as_str()
    }

    /// How much of the tree this is.
    pub async fn reach(&self, pool: &Pool) -> Result<Reach, StoreError> {
        let found: i64 = sqlx::query_scalar(
            "SELECT CAST(COUNT(*) AS BIGINT) FROM \
             (SELECT 1 FROM organisation_below WHERE above = $1 LIMIT 2) at_most_two",
        )
        .bind(self.id())
        .fetch_one(pool.within(self))
        .await?;
        Ok(if found > 1 { Reach::Many } else { Reach::One })
    }

    /// Adds to a statement that `table`'s row lies within this scope.
    pub fn filter(&self, sql: &mut Sql, table: &str, reach: Reach) {
        match reach {
            Reach::One => {
                sql.push(table).push(".organisation = ").push_bind(self.id());
            }
            Reach::Many => {
                // IS TRUE: PostgreSQL would else make a join of it, and sort all that lies within for every page.
                sql.push(
                    "(EXISTS (SELECT 1 FROM organisation_below within_scope WHERE within_scope.above = ",
                )
                .push_bind(self.id())
                .push(" AND within_scope.below = ")
                .push(table)
                .push(".organisation)) IS TRUE");
            }
        }
    }
}
