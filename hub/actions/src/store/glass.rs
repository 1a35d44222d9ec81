//! Broken glass in the store.

use sqlx::Row;
use wardline_event::Timestamp;
use wardline_kernel::db::{DbRow, Pool};
use wardline_kernel::{OrganisationId, Scope, StoreError, WriteTx, within};

use crate::glass::Glass;
use crate::person::Person;

pub(crate) async fn insert(
    tx: &mut WriteTx,
    organisation: &OrganisationId,
    id: &str,
    person: &Person,
    reason: &str,
    (now, until): (Timestamp, Timestamp),
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO break_glass (organisation, id, person, answerable, role, reason, begun_ms, expires_ms) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
    )
    .bind(organisation.as_str())
    .bind(id)
    .bind(&person.name)
    .bind(&person.answerable)
    .bind(person.role.as_str())
    .bind(reason)
    .bind(now.0)
    .bind(until.0)
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Ends one that is broken; gives its organisation if there was one.
pub(crate) async fn end(
    tx: &mut WriteTx,
    scope: &Scope,
    id: &str,
    now: Timestamp,
) -> Result<Option<OrganisationId>, StoreError> {
    let ended: Option<String> = sqlx::query_scalar(concat!(
        "UPDATE break_glass SET ended_ms = $3 WHERE ",
        within!("break_glass"),
        " AND id = $2 AND ended_ms IS NULL AND expires_ms > $3 RETURNING organisation"
    ))
    .bind(scope.id())
    .bind(id)
    .bind(now.0)
    .fetch_optional(&mut **tx)
    .await?;
    Ok(ended.map(OrganisationId::stored))
}

/// The organisation, and who answers for one that nobody has looked into.
pub(crate) async fn unreviewed(
    tx: &mut WriteTx,
    scope: &Scope,
    id: &str,
) -> Result<Option<(OrganisationId, String)>, StoreError> {
    let row: Option<(String, String)> = sqlx::query_as(concat!(
        "SELECT g.organisation, g.answerable FROM break_glass g WHERE ",
        within!("g"),
        " AND g.id = $2 AND g.reviewed_ms IS NULL"
    ))
    .bind(scope.id())
    .bind(id)
    .fetch_optional(&mut **tx)
    .await?;
    Ok(row.map(|(organisation, answerable)| (OrganisationId::stored(organisation), answerable)))
}

pub(crate) async fn put_review(
    tx: &mut WriteTx,
    organisation: &OrganisationId,
    id: &str,
    (by, found): (&str, &str),
    now: Timestamp,
) -> Result<(), StoreError> {
    sqlx::query(
        "UPDATE break_glass SET reviewed_ms = $3, reviewed_by = $4, review = $5, \
         ended_ms = CASE WHEN ended_ms IS NULL AND expires_ms > $3 THEN $3 ELSE ended_ms END \
         WHERE organisation = $1 AND id = $2",
    )
    .bind(organisation.as_str())
    .bind(id)
    .bind(now.0)
    .bind(by)
    .bind(found)
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// All within the scope: those that nobody has looked into first, then the newest.
pub(crate) async fn list(pool: &Pool, scope: &Scope) -> Result<Vec<Glass>, StoreError> {
    let rows = sqlx::query(concat!(
        "SELECT g.organisation, o.name AS organisation_name, g.id, g.person, g.role, g.reason, g.begun_ms, \
         g.expires_ms, g.ended_ms, g.reviewed_ms, g.reviewed_by, g.review, \
         (SELECT CAST(COUNT(*) AS BIGINT) FROM action a JOIN organisation_below b ON b.below = a.organisation \
         WHERE b.above = g.organisation AND a.rests_on = g.id) AS orders FROM break_glass g JOIN organisation o ON o.id = g.organisation WHERE ",
        within!("g"),
        " ORDER BY CASE WHEN g.reviewed_ms IS NULL THEN 0 ELSE 1 END, g.begun_ms DESC, g.id LIMIT 1000"
    ))
    .bind(scope.id())
    .fetch_all(pool.within(scope))
    .await?;
    let glass = |row: &DbRow| Glass {
        id: row.get("id"),
        organisation: row.get("organisation"),
        organisation_name: row.get("organisation_name"),
        person: row.get("person"),
        role: row.get("role"),
        reason: row.get("reason"),
        begun_ms: row.get("begun_ms"),
        expires_ms: row.get("expires_ms"),
        ended_ms: row.get("ended_ms"),
        orders: row.get("orders"),
        reviewed_ms: row.get("reviewed_ms"),
        reviewed_by: row.get("reviewed_by"),
        review: row.get("review"),
    };
    Ok(rows.iter().map(glass).collect())
}
