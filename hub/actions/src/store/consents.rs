//! Standing consents in the store.

use sqlx::Row;
use wardline_event::Timestamp;
use wardline_kernel::db::{DbRow, Pool};
use wardline_kernel::{OrganisationId, Scope, StoreError, WriteTx, within};

use crate::consent::Consent;

pub(crate) struct NewConsent<'a> {
    pub id: &'a str,
    pub to: &'a OrganisationId,
    pub to_name: &'a str,
    pub kinds: &'a [String],
    pub classes: &'a [String],
    pub reason: &'a str,
    pub expires_ms: i64,
}

pub(crate) async fn insert(
    tx: &mut WriteTx,
    organisation: &OrganisationId,
    new: &NewConsent<'_>,
    by: &str,
    now: Timestamp,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO consent (organisation, id, given_to, kinds, classes, reason, given_by, given_ms, expires_ms, \
         given_to_name) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
    )
    .bind(organisation.as_str())
    .bind(new.id)
    .bind(new.to.as_str())
    .bind(new.kinds.join(" "))
    .bind(new.classes.join(" "))
    .bind(new.reason)
    .bind(by)
    .bind(now.0)
    .bind(new.expires_ms)
    .bind(new.to_name)
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Whose consent it is.
pub(crate) async fn organisation_of(
    tx: &mut WriteTx,
    scope: &Scope,
    id: &str,
) -> Result<Option<OrganisationId>, StoreError> {
    let found: Option<String> = sqlx::query_scalar(concat!(
        "SELECT c.organisation FROM consent c WHERE ",
        within!("c"),
        " AND c.id = $2"
    ))
    .bind(scope.id())
    .bind(id)
    .fetch_optional(&mut **tx)
    .await?;
    Ok(found.map(OrganisationId::stored))
}

/// Takes a consent back; false if it holds no longer.
pub(crate) async fn revoke(
    tx: &mut WriteTx,
    organisation: &OrganisationId,
    id: &str,
    by: &str,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let done = sqlx::query(
        "UPDATE consent SET revoked_ms = $3, revoked_by = $4 \
         WHERE organisation = $1 AND id = $2 AND revoked_ms IS NULL AND expires_ms > $3",
    )
    .bind(organisation.as_str())
    .bind(id)
    .bind(now.0)
    .bind(by)
    .execute(&mut **tx)
    .await?;
    Ok(done.rows_affected() > 0)
}

/// Consents that organisations within the scope gave, those that hold first, then the newest.
pub(crate) async fn list(pool: &Pool, scope: &Scope, now: Timestamp) -> Result<Vec<Consent>, StoreError> {
    let rows = sqlx::query(concat!(
        "SELECT c.organisation, c.id, c.given_to, c.kinds, c.classes, c.reason, c.given_by, c.given_ms, c.expires_ms, \
         c.revoked_ms, c.revoked_by, c.given_to_name, o.name AS organisation_name FROM consent c \
         JOIN organisation o ON o.id = c.organisation WHERE ",
        within!("c"),
        " ORDER BY CASE WHEN c.revoked_ms IS NULL AND c.expires_ms > $2 THEN 0 ELSE 1 END, c.given_ms DESC, c.id \
         LIMIT 1000"
    ))
    .bind(scope.id())
    .bind(now.0)
    .fetch_all(pool.within(scope))
    .await?;
    let words = |row: &DbRow, name: &str| -> Vec<String> {
        row.get::<String, _>(name).split_whitespace().map(str::to_owned).collect()
    };
    let consent = |row: &DbRow| Consent {
        id: row.get("id"),
        organisation: row.get("organisation"),
        organisation_name: row.get("organisation_name"),
        given_to: row.get("given_to"),
        given_to_name: row.get("given_to_name"),
        kinds: words(row, "kinds"),
        classes: words(row, "classes"),
        reason: row.get("reason"),
        given_by: row.get("given_by"),
        given_ms: row.get("given_ms"),
        expires_ms: row.get("expires_ms"),
        revoked_ms: row.get("revoked_ms"),
        revoked_by: row.get("revoked_by"),
    };
    Ok(rows.iter().map(consent).collect())
}
