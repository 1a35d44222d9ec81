//! Where devices stand and what they are.

use wardline_kernel::{OrganisationId, Scope, StoreError, WriteTx, within};

use crate::whereabouts::Whereabouts;

/// A device's organisation and whereabouts, in the transaction that changes them.
pub(crate) async fn of(
    tx: &mut WriteTx,
    scope: &Scope,
    device: &str,
) -> Result<Option<(OrganisationId, Whereabouts)>, StoreError> {
    let row: Option<(String, String, String, String)> = sqlx::query_as(concat!(
        "SELECT organisation, site, ward, device_type FROM device WHERE ",
        within!("device"),
        " AND id = $2"
    ))
    .bind(scope.id())
    .bind(device)
    .fetch_optional(&mut **tx)
    .await?;
    Ok(row.map(|(organisation, site, ward, device_type)| {
        (OrganisationId::stored(organisation), Whereabouts { site, ward, device_type })
    }))
}

/// The devices within a scope that have this name, at most two: one is meant, two are too many.
pub(crate) async fn named(tx: &mut WriteTx, scope: &Scope, name: &str) -> Result<Vec<String>, StoreError> {
    Ok(sqlx::query_scalar(concat!(
        "SELECT id FROM device WHERE ",
        within!("device"),
        " AND sort_name = $2 AND revoked_ms IS NULL LIMIT 2"
    ))
    .bind(scope.id())
    .bind(name.to_lowercase())
    .fetch_all(&mut **tx)
    .await?)
}

/// Puts a device's whereabouts in place of those of before.
pub(crate) async fn put(
    tx: &mut WriteTx,
    organisation: &OrganisationId,
    device: &str,
    at: &Whereabouts,
) -> Result<(), StoreError> {
    sqlx::query(
        "UPDATE device SET site = $3, ward = $4, device_type = $5 WHERE organisation = $1 AND id = $2",
    )
    .bind(organisation.as_str())
    .bind(device)
    .bind(&at.site)
    .bind(&at.ward)
    .bind(&at.device_type)
    .execute(&mut **tx)
    .await?;
    Ok(())
}
