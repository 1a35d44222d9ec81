//! Notices in the store.

use sqlx::Row;
use wardline_event::Timestamp;

use super::Told;
use crate::db::{DbRow, Pool, WriteTx};
use crate::scope::{OrganisationId, Scope};
use crate::store::StoreError;
use crate::within;

/// Tells everybody who sees an organisation something; one with the same id is told anew. Tell the bus after the commit.
pub async fn put(
    tx: &mut WriteTx,
    organisation: &OrganisationId,
    id: &str,
    (text, href): (&str, &str),
    until: Timestamp,
    now: Timestamp,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO notice (organisation, id, text, href, made_ms, until_ms) VALUES ($1, $2, $3, $4, $5, $6) \
         ON CONFLICT (organisation, id) DO UPDATE SET text = $3, href = $4, until_ms = $6",
    )
    .bind(organisation.as_str())
    .bind(id)
    .bind(text)
    .bind(href)
    .bind(now.0)
    .bind(until.0)
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Ends a notice.
pub async fn end(tx: &mut WriteTx, organisation: &OrganisationId, id: &str) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM notice WHERE organisation = $1 AND id = $2")
        .bind(organisation.as_str())
        .bind(id)
        .execute(&mut **tx)
        .await?;
    Ok(())
}

/// What is to be told now to whoever has this scope, newest first: at most five, for more nobody reads.
pub async fn current(pool: &Pool, scope: &Scope, now: Timestamp) -> Result<Vec<Told>, StoreError> {
    let rows = sqlx::query(concat!(
        "SELECT n.organisation, o.name, n.text, n.href, n.until_ms FROM notice n \
         JOIN organisation o ON o.id = n.organisation WHERE ",
        within!("n"),
        " AND n.until_ms > $2 ORDER BY n.made_ms DESC, n.id LIMIT 5"
    ))
    .bind(scope.id())
    .bind(now.0)
    .fetch_all(pool.within(scope))
    .await?;
    let told = |row: &DbRow| Told {
        organisation: row.get(0),
        organisation_name: row.get(1),
        text: row.get(2),
        href: row.get(3),
        until: Timestamp(row.get(4)),
    };
    Ok(rows.iter().map(told).collect())
}
