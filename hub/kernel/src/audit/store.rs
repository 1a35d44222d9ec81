//! The audit log's tables.

use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqlitePool};
use wardline_event::Timestamp;

use super::{Act, Broken, Entry, GENESIS, follow, link};
use crate::scope::Scope;
use crate::store::{StoreError, WriteTx};

/// Appends an entry in the transaction of the act itself: neither is ever stored without the other.
pub async fn append(tx: &mut WriteTx, scope: &Scope, now: Timestamp, act: Act) -> Result<Entry, StoreError> {
    let organisation = scope.organisation();
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

fn entry(row: &SqliteRow) -> Entry {
    Entry {
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

/// The newest entries below `before`, newest first, at most `limit`.
pub async fn list(
    pool: &SqlitePool,
    scope: &Scope,
    before: Option<i64>,
    limit: i64,
) -> Result<Vec<Entry>, StoreError> {
    let rows = sqlx::query(
        "SELECT number, time_ms, actor, act, target, detail, previous, hash FROM audit \
         WHERE organisation = $1 AND ($2 IS NULL OR number < $2) ORDER BY number DESC LIMIT $3",
    )
    .bind(scope.organisation())
    .bind(before)
    .bind(limit)
    .fetch_all(pool)
    .await?;
    Ok(rows.iter().map(entry).collect())
}

/// Follows the whole chain. `Ok(Ok(n))`: all `n` entries are as they were written.
pub async fn verify(pool: &SqlitePool, scope: &Scope) -> Result<Result<i64, Broken>, StoreError> {
    let organisation = scope.organisation();
    // Head and entries must be of one moment, or an entry appended in between would look like a fault.
    let mut snapshot = pool.begin().await?;
    let head: Option<(i64, String)> =
        sqlx::query_as("SELECT number, hash FROM audit_head WHERE organisation = $1")
            .bind(organisation)
            .fetch_optional(&mut *snapshot)
            .await?;
    let (mut number, mut previous) = (0, GENESIS.to_owned());
    loop {
        let rows = sqlx::query(
            "SELECT number, time_ms, actor, act, target, detail, previous, hash FROM audit \
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
            match follow(organisation, number + 1, &previous, &entry(row)) {
                Ok(hash) => previous = hash,
                Err(broken) => return Ok(Err(broken)),
            }
            number += 1;
        }
    }
    if head.unwrap_or((0, GENESIS.to_owned())) == (number, previous) {
        return Ok(Ok(number));
    }
    Ok(Err(Broken { at: number + 1, because: "the newest entries were removed".to_owned() }))
}
