//! Where a device belongs, and where it was before.

use wardline_event::Timestamp;
use wardline_kernel::{OrganisationId, StoreError, WriteTx};

/// Puts a device from one organisation into another and remembers the first. What it saw there stays there.
pub(crate) async fn put_place(
    tx: &mut WriteTx,
    device: &str,
    (from, to): (&OrganisationId, &OrganisationId),
    (by, reason): (&str, &str),
    now: Timestamp,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO device_move (device, number, left_organisation, joined_organisation, hostname, at_ms, by_person, \
         reason) SELECT d.id, (SELECT CAST(COUNT(*) AS BIGINT) + 1 FROM device_move m WHERE m.device = d.id), \
         $1, $3, d.hostname, $4, $5, $6 FROM device d WHERE d.organisation = $1 AND d.id = $2",
    )
    .bind(from.as_str())
    .bind(device)
    .bind(to.as_str())
    .bind(now.0)
    .bind(by)
    .bind(reason)
    .execute(&mut **tx)
    .await?;
    for sql in [
        // Another organisation's sites and wards are others.
        "UPDATE device SET organisation = $3, site = '', ward = '' WHERE organisation = $1 AND id = $2",
        "UPDATE device_containment SET organisation = $3 WHERE organisation = $1 AND device = $2",
        "UPDATE device_sensor SET organisation = $3 WHERE organisation = $1 AND device = $2",
        "UPDATE spool SET organisation = $3 WHERE organisation = $1 AND device = $2",
    ] {
        sqlx::query(sql).bind(from.as_str()).bind(device).bind(to.as_str()).execute(&mut **tx).await?;
    }
    Ok(())
}
