//! How far each spool of a device is stored.

use wardline_event::{Timestamp, hex};
use wardline_kernel::db::storable;
use wardline_kernel::{OrganisationId, StoreError, WriteTx};
use wardline_wire::proto::Record;

use crate::domain::{Placement, count};

pub(crate) async fn high(
    tx: &mut WriteTx,
    organisation: &OrganisationId,
    device: &str,
    spool: &str,
) -> Result<Option<u64>, StoreError> {
    let high: Option<i64> =
        sqlx::query_scalar("SELECT high FROM spool WHERE organisation = $1 AND device = $2 AND spool = $3")
            .bind(organisation.as_str())
            .bind(device)
            .bind(spool)
            .fetch_optional(&mut **tx)
            .await?;
    Ok(high.map(|h| u64::try_from(h).unwrap_or(0)))
}

#[allow(clippy::too_many_arguments)] // One row's columns; a struct would only repeat them.
pub(crate) async fn advance(
    tx: &mut WriteTx,
    organisation: &OrganisationId,
    device: &str,
    spool: &str,
    high: u64,
    placement: &Placement,
    records: u64,
    now: Timestamp,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO spool (organisation, device, spool, high, stored, missing, unreadable, first_ms, last_ms) \
         VALUES ($1, $2, $3, $4, $5, $6, 0, $7, $7) ON CONFLICT (device, spool) DO UPDATE SET \
         high = excluded.high, stored = spool.stored + excluded.stored, \
         missing = spool.missing + excluded.missing, last_ms = excluded.last_ms",
    )
    .bind(organisation.as_str())
    .bind(device)
    .bind(spool)
    .bind(count(high))
    .bind(count(records - placement.skip))
    .bind(count(placement.missing))
    .bind(now.0)
    .execute(&mut **tx)
    .await?;
    sqlx::query("UPDATE device SET last_seen_ms = $3 WHERE organisation = $1 AND id = $2")
        .bind(organisation.as_str())
        .bind(device)
        .bind(now.0)
        .execute(&mut **tx)
        .await?;
    Ok(())
}

/// How many unreadable records of one device are kept to look at. Further ones are only counted, or a hostile
/// device could fill the disk with them.
const KEPT_UNREADABLE: i64 = 1000;

pub(crate) async fn set_aside(
    tx: &mut WriteTx,
    organisation: &OrganisationId,
    device: &str,
    (spool, seq): (&str, u64),
    record: &Record,
    reason: &str,
    now: Timestamp,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO unreadable_record (organisation, device, spool, seq, received_ms, kind, reason, body) \
         SELECT $1, $2, $3, $4, $5, $6, $7, $8 \
         WHERE (SELECT COUNT(*) FROM unreadable_record WHERE device = $2) < $9 \
         ON CONFLICT (device, spool, seq) DO NOTHING",
    )
    .bind(organisation.as_str())
    .bind(device)
    .bind(spool)
    .bind(count(seq))
    .bind(now.0)
    .bind(i64::from(record.kind))
    .bind(storable(reason))
    .bind(hex(&record.body))
    .bind(KEPT_UNREADABLE)
    .execute(&mut **tx)
    .await?;
    sqlx::query(
        "UPDATE spool SET unreadable = unreadable + 1, stored = stored - 1 \
         WHERE organisation = $1 AND device = $2 AND spool = $3",
    )
    .bind(organisation.as_str())
    .bind(device)
    .bind(spool)
    .execute(&mut **tx)
    .await?;
    Ok(())
}
