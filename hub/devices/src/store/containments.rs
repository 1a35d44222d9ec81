//! What is contained on a device, by its own word.

use sqlx::Row;
use wardline_kernel::db::{DbRow, Pool};
use wardline_kernel::{OrganisationId, StoreError, WriteTx};
use wardline_wire::proto::Containment;

use crate::domain::{ContainmentRow, fact};

/// More than this nobody contains on one device; a hostile one must not fill the table.
const MOST: usize = 64;

/// Puts a heartbeat's list in place of the one before.
pub(crate) async fn replace(
    tx: &mut WriteTx,
    organisation: &OrganisationId,
    device: &str,
    told: &[Containment],
) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM device_containment WHERE organisation = $1 AND device = $2")
        .bind(organisation.as_str())
        .bind(device)
        .execute(&mut **tx)
        .await?;
    for containment in told.iter().take(MOST) {
        sqlx::query(
            "INSERT INTO device_containment \
             (organisation, device, rung, action, since_ms, expires_ms, ordered_by, reason) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (device, rung) DO NOTHING",
        )
        .bind(organisation.as_str())
        .bind(device)
        .bind(fact(&containment.rung))
        .bind(fact(&containment.action_id))
        .bind(containment.since_ms)
        .bind(containment.expires_ms)
        .bind(fact(&containment.by))
        .bind(containment.reason.chars().filter(|c| !c.is_control()).take(500).collect::<String>())
        .execute(&mut **tx)
        .await?;
    }
    Ok(())
}

/// The list of a device of this organisation.
pub(crate) async fn of(
    pool: &Pool,
    organisation: &OrganisationId,
    device: &str,
) -> Result<Vec<ContainmentRow>, StoreError> {
    let rows = sqlx::query(
        "SELECT rung, action, since_ms, expires_ms, ordered_by, reason FROM device_containment \
         WHERE organisation = $1 AND device = $2 ORDER BY rung",
    )
    .bind(organisation.as_str())
    .bind(device)
    .fetch_all(pool.within(organisation))
    .await?;
    let row = |row: &DbRow| ContainmentRow {
        rung: row.get("rung"),
        action: row.get("action"),
        since_ms: row.get("since_ms"),
        expires_ms: row.get("expires_ms"),
        by: row.get("ordered_by"),
        reason: row.get("reason"),
    };
    Ok(rows.iter().map(row).collect())
}
