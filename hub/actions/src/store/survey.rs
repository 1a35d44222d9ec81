//! What orders are judged by, counted in the store.

use std::collections::BTreeSet;

use wardline_event::Timestamp;
use wardline_kernel::db::DbConnection;
use wardline_kernel::views::SILENT_AFTER_MS;
use wardline_kernel::{OrganisationId, Scope, StoreError, within};
use wardline_policy::{Cell, DeviceClass, WINDOW_MS, Whereabouts};

/// A device that has just confirmed is counted as contained until its next heartbeats say so themselves.
const UNTIL_HEARD_MS: i64 = SILENT_AFTER_MS;

fn narrow(n: i64) -> u32 {
    u32::try_from(n).unwrap_or(if n < 0 { 0 } else { u32::MAX })
}

/// All devices of an organisation that may connect, counted by their whereabouts.
pub(crate) async fn cells(
    database: &mut DbConnection,
    organisation: &OrganisationId,
    now: Timestamp,
) -> Result<Vec<Cell>, StoreError> {
    let rows: Vec<(String, String, String, String, i64, i64, i64)> = sqlx::query_as(
        "SELECT c.site, c.ward, c.device_type, c.class, CAST(COUNT(*) AS BIGINT), \
         CAST(SUM(c.contained) AS BIGINT), CAST(SUM(CASE WHEN c.contained = 0 THEN c.live ELSE 0 END) AS BIGINT) \
         FROM (SELECT d.site, d.ward, d.device_type, d.class, \
         CASE WHEN d.last_seen_ms >= $3 THEN 1 ELSE 0 END AS live, \
         CASE WHEN d.isolated_until_ms > $2 OR d.contained_until_ms > $2 \
         OR EXISTS (SELECT 1 FROM action a WHERE a.organisation = d.organisation AND a.device = d.id \
         AND a.needs = '' AND (a.state IN ('Pending', 'InProgress') OR (a.state = 'Succeeded' AND a.updated_ms > $4)) \
         AND (a.kind = 'isolate' OR (a.kind = 'contain' AND a.target NOT LIKE 'process/%'))) \
         THEN 1 ELSE 0 END AS contained \
         FROM view_device_whereabouts d WHERE d.organisation = $1 AND d.revoked_ms IS NULL) c \
         GROUP BY c.site, c.ward, c.device_type, c.class",
    )
    .bind(organisation.as_str())
    .bind(now.0)
    .bind(now.0 - SILENT_AFTER_MS)
    .bind(now.0 - UNTIL_HEARD_MS)
    .fetch_all(database)
    .await?;
    let cell =
        |(site, ward, device_type, class, devices, contained, standing): (_, _, _, String, _, _, _)| Cell {
            at: Whereabouts {
                site,
                ward,
                device_type,
                class: DeviceClass::parse(&class).unwrap_or_default(),
            },
            devices: narrow(devices),
            contained: narrow(contained),
            standing: narrow(standing),
        };
    Ok(rows.into_iter().map(cell).collect())
}

/// Whether a device is contained, or has been ordered to be.
pub(crate) async fn is_contained(
    database: &mut DbConnection,
    organisation: &OrganisationId,
    device: &str,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let found: Option<i64> = sqlx::query_scalar(
        "SELECT CAST(1 AS BIGINT) FROM view_device_whereabouts d WHERE d.organisation = $1 AND d.id = $2 \
         AND (d.isolated_until_ms > $3 OR d.contained_until_ms > $3 \
         OR EXISTS (SELECT 1 FROM action a WHERE a.organisation = d.organisation AND a.device = d.id \
         AND a.needs = '' AND (a.state IN ('Pending', 'InProgress') OR (a.state = 'Succeeded' AND a.updated_ms > $4)) \
         AND (a.kind = 'isolate' OR (a.kind = 'contain' AND a.target NOT LIKE 'process/%'))))",
    )
    .bind(organisation.as_str())
    .bind(device)
    .bind(now.0)
    .bind(now.0 - UNTIL_HEARD_MS)
    .fetch_optional(database)
    .await?;
    Ok(found.is_some())
}

/// The devices that somebody has had contained within the window without anybody's agreement. What was taken back counts
/// as well: its command had been signed.
pub(crate) async fn contained_by(
    database: &mut DbConnection,
    scope: &Scope,
    answerable: &str,
    now: Timestamp,
) -> Result<BTreeSet<String>, StoreError> {
    let devices: Vec<String> = sqlx::query_scalar(concat!(
        "SELECT DISTINCT a.device FROM action a WHERE ",
        within!("a"),
        " AND a.answerable = $2 AND a.created_ms > $3 AND a.needs = '' AND a.approved_by = '' \
         AND (a.kind = 'isolate' OR (a.kind = 'contain' AND a.target NOT LIKE 'process/%'))"
    ))
    .bind(scope.id())
    .bind(answerable)
    .bind(now.0 - WINDOW_MS)
    .fetch_all(database)
    .await?;
    Ok(devices.into_iter().collect())
}

/// A standing consent by which those of `centre` may do this to devices of `organisation` and of this class.
pub(crate) async fn consent(
    database: &mut DbConnection,
    centre: &OrganisationId,
    organisation: &OrganisationId,
    (action, undoes, class): (&str, bool, DeviceClass),
    now: Timestamp,
) -> Result<Option<String>, StoreError> {
    let rows: Vec<(String, String, String)> = sqlx::query_as(
        "SELECT c.id, c.kinds, c.classes FROM consent c \
         JOIN organisation_below b ON b.above = c.organisation AND b.below = $1 \
         WHERE c.given_to = $2 AND c.revoked_ms IS NULL AND c.expires_ms > $3 ORDER BY c.given_ms, c.id",
    )
    .bind(organisation.as_str())
    .bind(centre.as_str())
    .bind(now.0)
    .fetch_all(database)
    .await?;
    let has = |list: &str, word: &str| list.split(' ').any(|one| one == word);
    let fits = |(_, kinds, classes): &&(String, String, String)| {
        (undoes || has(kinds, action)) && has(classes, class.as_str())
    };
    Ok(rows.iter().find(fits).map(|(id, ..)| id.clone()))
}

/// The glass that somebody has broken where this organisation is, if it has not been mended.
pub(crate) async fn glass(
    database: &mut DbConnection,
    answerable: &str,
    organisation: &OrganisationId,
    now: Timestamp,
) -> Result<Option<String>, StoreError> {
    Ok(sqlx::query_scalar(
        "SELECT g.id FROM break_glass g JOIN organisation_below b ON b.above = g.organisation AND b.below = $1 \
         WHERE g.answerable = $2 AND g.ended_ms IS NULL AND g.expires_ms > $3 ORDER BY g.begun_ms LIMIT 1",
    )
    .bind(organisation.as_str())
    .bind(answerable)
    .bind(now.0)
    .fetch_optional(database)
    .await?)
}

/// Whether a consent or a broken glass that an order rests on still holds.
pub(crate) async fn still_rests(
    database: &mut DbConnection,
    organisation: &OrganisationId,
    id: &str,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let found: Option<i64> = sqlx::query_scalar(
        "SELECT CAST(1 AS BIGINT) FROM consent c \
         JOIN organisation_below b ON b.above = c.organisation AND b.below = $1 \
         WHERE c.id = $2 AND c.revoked_ms IS NULL AND c.expires_ms > $3 \
         UNION ALL SELECT CAST(1 AS BIGINT) FROM break_glass g \
         JOIN organisation_below b ON b.above = g.organisation AND b.below = $1 \
         WHERE g.id = $2 AND g.ended_ms IS NULL AND g.expires_ms > $3",
    )
    .bind(organisation.as_str())
    .bind(id)
    .bind(now.0)
    .fetch_optional(database)
    .await?;
    Ok(found.is_some())
}
