//! The audit log's tables: one chain for each organisation.

use sqlx::Row;
use wardline_event::Timestamp;

use super::{Act, Broken, Entry, GENESIS, follow, link};
use crate::db::{DbConnection, DbRow, Pool, Sql, WriteTx};
use crate::scope::{OrganisationId, Reach, Scope};
use crate::store::StoreError;

/// Appends an entry in the transaction of the act itself: neither is ever stored without the other. It stands in the
/// chain of the organisation that was acted on, whoever acted.
pub async fn append(
    tx: &mut WriteTx,
    organisation: &OrganisationId,
    now: Timestamp,
    act: Act,
) -> Result<Entry, StoreError> {
    let organisation = organisation.as_str();
    let head: Option<(i64, String)> =
        sqlx::query_as("SELECT number, hash FROM audit_head WHERE organisation = $1")
            .bind(organisation)
            .fetch_optional(&mut **tx)
            .await?;
    let (number, previous) = head.unwrap_or((0, GENESIS.to_owned()));
    let entry = link(organisation, number + 1, previous, now, act);
    sqlx::query(
        "INSERT INTO audit (organisation, number, time_ms, actor, act, target, detail, previous, hash) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
    )
    .bind(organisation)
    .bind(entry.number)
    .bind(entry.time_ms)
    .bind(&entry.actor)
    .bind(&entry.act)
    .bind(&entry.target)
    .bind(&entry.detail)
    .bind(&entry.previous)
    .bind(&entry.hash)
    .execute(&mut **tx)
    .await?;
    sqlx::query(
        "INSERT INTO audit_head (organisation, number, hash) VALUES ($1, $2, $3) \
         ON CONFLICT (organisation) DO UPDATE SET number = excluded.number, hash = excluded.hash",
    )
    .bind(organisation)
    .bind(entry.number)
    .bind(&entry.hash)
    .execute(&mut **tx)
    .await?;
    Ok(entry)
}

fn entry(row: &DbRow) -> Entry {
    Entry {
        organisation: row.get("organisation"),
        number: row.get("number"),
        time_ms: row.get("time_ms"),
        actor: row.get("actor"),
        act: row.get("act"),
        target: row.get("target"),
        detail: row.get("detail"),
        previous: row.get("previous"),
        hash: row.get("hash"),
    }
}

/// A place in the log of a subtree: the last entry of the page before. As text: `TIME_MS-ORGANISATION-NUMBER`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    time_ms: i64,
    organisation: String,
    number: i64,
}

impl Place {
    /// The place of an entry.
    pub fn of(entry: &Entry) -> Self {
        Self { time_ms: entry.time_ms, organisation: entry.organisation.clone(), number: entry.number }
    }

    /// Reads the text form.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('-');
        let (time, organisation, number) = (parts.next()?, parts.next()?, parts.next()?);
        let plain = organisation.len() <= 32 && organisation.bytes().all(|b| b.is_ascii_alphanumeric());
        (plain && parts.next().is_none()).then_some(Self {
            time_ms: time.parse().ok()?,
            organisation: organisation.to_owned(),
            number: number.parse().ok()?,
        })
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}-{}-{}", self.time_ms, self.organisation, self.number)
    }
}

/// The newest entries after a place, newest first, at most `limit`.
pub async fn list(
    pool: &Pool,
    scope: &Scope,
    after: Option<&Place>,
    limit: i64,
) -> Result<Vec<Entry>, StoreError> {
    let reach = scope.reach(pool).await?;
    let mut sql = Sql::new(
        "SELECT organisation, number, time_ms, actor, act, target, detail, previous, hash FROM audit WHERE ",
    );
    scope.filter(&mut sql, "audit", reach);
    match (reach, after) {
        (_, None) => {}
        (Reach::One, Some(place)) => {
            sql.push(" AND number < ").push_bind(place.number);
        }
        (Reach::Many, Some(place)) => {
            sql.push(" AND (time_ms, organisation, number) < (").push_bind(place.time_ms);
            sql.push(", ").push_bind(place.organisation.as_str());
            sql.push(", ").push_bind(place.number).push(")");
        }
    }
    sql.push(match reach {
        Reach::One => " ORDER BY number DESC LIMIT ",
        Reach::Many => " ORDER BY time_ms DESC, organisation DESC, number DESC LIMIT ",
    });
    sql.push_bind(limit);
    Ok(sql.build().fetch_all(pool.within(scope)).await?.iter().map(entry).collect())
}

/// Follows every chain within a scope. `Ok(Ok(n))`: all `n` entries are as they were written.
pub async fn verify(pool: &Pool, scope: &Scope) -> Result<Result<i64, Broken>, StoreError> {
    // Heads and entries must be of one moment, or an entry appended in between would look like a fault.
    let mut snapshot = pool.snapshot(scope).await?;
    let chains: Vec<String> = sqlx::query_scalar(
        "SELECT b.below FROM organisation_below b WHERE b.above = $1 \
         AND (EXISTS (SELECT 1 FROM audit_head h WHERE h.organisation = b.below) \
              OR EXISTS (SELECT 1 FROM audit a WHERE a.organisation = b.below)) ORDER BY b.below",
    )
    .bind(scope.id())
    .fetch_all(&mut *snapshot)
    .await?;
    let mut entries = 0;
    for organisation in chains {
        match verify_chain(&mut snapshot, &organisation).await? {
            Ok(count) => entries += count,
            Err(broken) => return Ok(Err(broken)),
        }
    }
    Ok(Ok(entries))
}

async fn verify_chain(
    snapshot: &mut DbConnection,
    organisation: &str,
) -> Result<Result<i64, Broken>, StoreError> {
    let head: Option<(i64, String)> =
        sqlx::query_as("SELECT number, hash FROM audit_head WHERE organisation = $1")
            .bind(organisation)
            .fetch_optional(&mut *snapshot)
            .await?;
    let (mut number, mut previous) = (0, GENESIS.to_owned());
    loop {
        let rows = sqlx::query(
            "SELECT organisation, number, time_ms, actor, act, target, detail, previous, hash FROM audit \
             WHERE organisation = $1 AND number > $2 ORDER BY number LIMIT 1000",
        )
        .bind(organisation)
        .bind(number)
        .fetch_all(&mut *snapshot)
        .await?;
        if rows.is_empty() {
            break;
        }
        for row in &rows {
            match follow(number + 1, &previous, &entry(row)) {
                Ok(hash) => previous = hash,
                Err(broken) => return Ok(Err(broken)),
            }
            number += 1;
        }
    }
    if head.unwrap_or((0, GENESIS.to_owned())) == (number, previous) {
        return Ok(Ok(number));
    }
    let because = "the newest entries were removed".to_owned();
    Ok(Err(Broken { organisation: organisation.to_owned(), at: number + 1, because }))
}
