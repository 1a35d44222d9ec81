//! Whole chains: followed, sealed with checkpoints, copied.

use std::collections::BTreeMap;

use sqlx::Row;
use wardline_event::Timestamp;

use super::copy::Writer;
use super::seal::{Checkpoint, Signer};
use super::store::{columns, entry};
use super::{Broken, Entry, GENESIS, follow};
use crate::db::{DbConnection, DbRow, Pool, Snapshot, WriteTx};
use crate::scope::Scope;
use crate::store::{Store, StoreError};

/// Entries that are read at a time.
const STEP: i64 = 1000;

/// The organisations within a scope that have a chain.
async fn chains(snapshot: &mut DbConnection, scope: &Scope) -> Result<Vec<String>, StoreError> {
    Ok(sqlx::query_scalar(
        "SELECT b.below FROM organisation_below b WHERE b.above = $1 \
         AND (EXISTS (SELECT 1 FROM audit_head h WHERE h.organisation = b.below) \
              OR EXISTS (SELECT 1 FROM audit a WHERE a.organisation = b.below)) ORDER BY b.below",
    )
    .bind(scope.id())
    .fetch_all(&mut *snapshot)
    .await?)
}

/// The entries of one chain that follow `number`.
async fn next(
    snapshot: &mut DbConnection,
    organisation: &str,
    number: i64,
) -> Result<Vec<Entry>, StoreError> {
    let rows = sqlx::query(concat!(
        "SELECT ",
        columns!(),
        " FROM audit WHERE organisation = $1 AND number > $2 ORDER BY number LIMIT $3"
    ))
    .bind(organisation)
    .bind(number)
    .bind(STEP)
    .fetch_all(&mut *snapshot)
    .await?;
    Ok(rows.iter().map(entry).collect())
}

/// The checkpoints of one chain by the entry they seal.
async fn checkpoints(
    snapshot: &mut DbConnection,
    organisation: &str,
) -> Result<BTreeMap<i64, Checkpoint>, StoreError> {
    let rows = sqlx::query(
        "SELECT organisation, number, hash, time_ms, signed_by, signature FROM audit_checkpoint \
         WHERE organisation = $1 ORDER BY number",
    )
    .bind(organisation)
    .fetch_all(&mut *snapshot)
    .await?;
    Ok(rows.iter().map(|row| (row.get("number"), checkpoint(row))).collect())
}

fn checkpoint(row: &DbRow) -> Checkpoint {
    Checkpoint {
        organisation: row.get("organisation"),
        number: row.get("number"),
        hash: row.get("hash"),
        time_ms: row.get("time_ms"),
        key: row.get("signed_by"),
        signature: row.get("signature"),
    }
}

/// Follows every chain within a scope. `Ok(Ok(n))`: all `n` entries are as they were written, and as the hub has signed
/// them. `key` is the hub's audit key; without it checkpoints are held against the key they name.
pub async fn verify(
    pool: &Pool,
    scope: &Scope,
    key: Option<&str>,
) -> Result<Result<i64, Broken>, StoreError> {
    // Heads and entries must be of one moment, or an entry appended in between would look like a fault.
    let mut snapshot = pool.snapshot(scope).await?;
    let mut entries = 0;
    for organisation in chains(&mut snapshot, scope).await? {
        match verify_chain(&mut snapshot, &organisation, key).await? {
            Ok(count) => entries += count,
            Err(broken) => return Ok(Err(broken)),
        }
    }
    Ok(Ok(entries))
}

async fn verify_chain(
    snapshot: &mut DbConnection,
    organisation: &str,
    key: Option<&str>,
) -> Result<Result<i64, Broken>, StoreError> {
    let broken = |at, because: &str| {
        Ok(Err(Broken { organisation: organisation.to_owned(), at, because: because.to_owned() }))
    };
    let head: Option<(i64, String)> =
        sqlx::query_as("SELECT number, hash FROM audit_head WHERE organisation = $1")
            .bind(organisation)
            .fetch_optional(&mut *snapshot)
            .await?;
    let mut sealed = checkpoints(snapshot, organisation).await?;
    let (mut number, mut previous) = (0, GENESIS.to_owned());
    loop {
        let entries = next(snapshot, organisation, number).await?;
        if entries.is_empty() {
            break;
        }
        for entry in &entries {
            match follow(number + 1, &previous, entry) {
                Ok(hash) => previous = hash,
                Err(broken) => return Ok(Err(broken)),
            }
            number += 1;
            let Some(checkpoint) = sealed.remove(&number) else { continue };
            if key.is_some_and(|key| checkpoint.key != key) || !checkpoint.holds() {
                return broken(number, "its checkpoint is not signed by this hub's audit key");
            }
            if checkpoint.hash != previous {
                return broken(number, "it is not the entry that the hub has signed");
            }
        }
    }
    if head.unwrap_or((0, GENESIS.to_owned())) != (number, previous) || !sealed.is_empty() {
        return broken(number + 1, "the newest entries were removed");
    }
    Ok(Ok(number))
}

/// Signs where each chain within a scope ends that has grown since it was last signed; says how many.
pub async fn seal(
    store: &Store,
    scope: &Scope,
    signer: &Signer,
    now: Timestamp,
) -> Result<usize, StoreError> {
    // Looks before it locks: mostly there is nothing to do.
    let mut snapshot = store.read().snapshot(scope).await?;
    if grown(&mut snapshot, scope).await?.is_empty() {
        return Ok(0);
    }
    drop(snapshot);
    let mut tx: WriteTx = store.write(scope).await?;
    let grown = grown(&mut tx, scope).await?;
    for (organisation, number, hash) in &grown {
        let checkpoint = signer.checkpoint(organisation, *number, hash, now);
        sqlx::query(
            "INSERT INTO audit_checkpoint (organisation, number, hash, time_ms, signed_by, signature) \
             VALUES ($1, $2, $3, $4, $5, $6)",
        )
        .bind(&checkpoint.organisation)
        .bind(checkpoint.number)
        .bind(&checkpoint.hash)
        .bind(checkpoint.time_ms)
        .bind(&checkpoint.key)
        .bind(&checkpoint.signature)
        .execute(&mut *tx)
        .await?;
    }
    tx.commit().await?;
    Ok(grown.len())
}

async fn grown(
    connection: &mut DbConnection,
    scope: &Scope,
) -> Result<Vec<(String, i64, String)>, StoreError> {
    Ok(sqlx::query_as(
        "SELECT h.organisation, h.number, h.hash FROM audit_head h \
         JOIN organisation_below b ON b.below = h.organisation AND b.above = $1 WHERE NOT EXISTS \
         (SELECT 1 FROM audit_checkpoint c WHERE c.organisation = h.organisation AND c.number >= h.number) \
         ORDER BY h.organisation",
    )
    .bind(scope.id())
    .fetch_all(&mut *connection)
    .await?)
}

/// Writes a [copy](super::copy) of every chain within a scope, piece by piece, all of one moment. `write` says whether
/// anybody still listens. Gives the number of entries.
pub async fn copy<F>(
    pool: &Pool,
    scope: &Scope,
    mut writer: Writer<'_>,
    now: Timestamp,
    mut write: impl FnMut(String) -> F,
) -> Result<i64, StoreError>
where
    F: Future<Output = bool>,
{
    let mut snapshot: Snapshot = pool.snapshot(scope).await?;
    let mut count = 0;
    for organisation in chains(&mut snapshot, scope).await? {
        let mut sealed = checkpoints(&mut snapshot, &organisation).await?;
        let mut number = 0;
        loop {
            let entries = next(&mut snapshot, &organisation, number).await?;
            let Some(last) = entries.last() else { break };
            number = last.number;
            let mut piece = String::new();
            for entry in entries {
                let here = entry.number;
                piece.push_str(&writer.entry(entry));
                if let Some(checkpoint) = sealed.remove(&here) {
                    piece.push_str(&writer.checkpoint(checkpoint));
                }
                count += 1;
            }
            if !write(piece).await {
                return Ok(count);
            }
        }
        if !write(writer.end_chain(now)).await {
            return Ok(count);
        }
    }
    write(writer.close(now)).await;
    Ok(count)
}
