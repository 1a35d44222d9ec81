//! Enrolment tokens in the store.

use sqlx::Row;
use wardline_event::Timestamp;
use wardline_kernel::db::{DbRow, Executor, Pool};
use wardline_kernel::{OrganisationId, Scope, StoreError, WriteTx, within};
use wardline_policy::{DeviceClass, Mode};

use crate::domain::{TokenSpec, TokenSummary, count, fact};
use crate::enrol::EnrolError;

pub(crate) async fn insert_token(
    tx: &mut WriteTx,
    organisation: &OrganisationId,
    id: &str,
    secret_hash: &str,
    by: &str,
    spec: &TokenSpec,
    now: Timestamp,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO enrolment_token (id, organisation, secret_hash, role, class, mode, made_by, created_ms, \
         expires_ms, uses_left) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
    )
    .bind(id)
    .bind(organisation.as_str())
    .bind(secret_hash)
    .bind(fact(&spec.role))
    .bind(spec.class.as_str())
    .bind(spec.mode.as_str())
    .bind(by)
    .bind(now.0)
    .bind(now.0 + count(spec.life_s) * 1000)
    .bind(i64::from(spec.uses))
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// A token that can be used.
pub(crate) struct UsableToken {
    pub organisation: OrganisationId,
    pub id: String,
    pub role: String,
    pub class: DeviceClass,
    pub mode: Mode,
    pub made_by: String,
}

fn class(text: &str) -> Result<DeviceClass, StoreError> {
    [DeviceClass::Workstation, DeviceClass::Server, DeviceClass::Clinical]
        .into_iter()
        .find(|c| c.as_str() == text)
        .ok_or(StoreError::Corrupt { what: "device class" })
}

fn mode(text: &str) -> Result<Mode, StoreError> {
    [Mode::Monitor, Mode::Protect]
        .into_iter()
        .find(|m| m.as_str() == text)
        .ok_or(StoreError::Corrupt { what: "mode" })
}

/// A token that can be used now. Needs no scope: the secret is how a device gains one.
pub(crate) async fn usable_token<'e>(
    database: impl Executor<'e>,
    secret_hash: &str,
    now: Timestamp,
) -> Result<UsableToken, EnrolError> {
    let row = sqlx::query(
        "SELECT id, organisation, role, class, mode, made_by, expires_ms, uses_left, revoked_ms \
         FROM enrolment_token WHERE secret_hash = $1",
    )
    .bind(secret_hash)
    .fetch_optional(database)
    .await
    .map_err(StoreError::from)?
    .ok_or(EnrolError::UnknownToken)?;
    let expires = Timestamp(row.get("expires_ms"));
    if row.get::<Option<i64>, _>("revoked_ms").is_some() {
        return Err(EnrolError::Revoked);
    }
    if expires <= now {
        return Err(EnrolError::Expired { at: expires });
    }
    if row.get::<i64, _>("uses_left") < 1 {
        return Err(EnrolError::UsedUp);
    }
    Ok(UsableToken {
        organisation: OrganisationId::stored(row.get::<String, _>("organisation")),
        id: row.get("id"),
        role: row.get("role"),
        class: class(row.get("class"))?,
        mode: mode(row.get("mode"))?,
        made_by: row.get("made_by"),
    })
}

/// Uses a token once, in the transaction that looked whether it can be used.
pub(crate) async fn use_token(
    tx: &mut WriteTx,
    organisation: &OrganisationId,
    id: &str,
) -> Result<(), StoreError> {
    sqlx::query("UPDATE enrolment_token SET uses_left = uses_left - 1 WHERE organisation = $1 AND id = $2")
        .bind(organisation.as_str())
        .bind(id)
        .execute(&mut **tx)
        .await?;
    Ok(())
}

pub(crate) async fn revoke_token(
    tx: &mut WriteTx,
    scope: &Scope,
    id: &str,
    now: Timestamp,
) -> Result<Option<OrganisationId>, StoreError> {
    let organisation: Option<String> = sqlx::query_scalar(concat!(
        "UPDATE enrolment_token SET revoked_ms = $3 WHERE ",
        within!("enrolment_token"),
        " AND id = $2 AND revoked_ms IS NULL RETURNING organisation"
    ))
    .bind(scope.id())
    .bind(id)
    .bind(now.0)
    .fetch_optional(&mut **tx)
    .await?;
    Ok(organisation.map(OrganisationId::stored))
}

/// All tokens, newest first.
pub async fn tokens(pool: &Pool, scope: &Scope) -> Result<Vec<TokenSummary>, StoreError> {
    let rows = sqlx::query(concat!(
        "SELECT id, organisation, role, class, mode, made_by, created_ms, expires_ms, uses_left, revoked_ms \
         FROM enrolment_token WHERE ",
        within!("enrolment_token"),
        " ORDER BY created_ms DESC, id LIMIT 500"
    ))
    .bind(scope.id())
    .fetch_all(pool.within(scope))
    .await?;
    let summary = |row: &DbRow| TokenSummary {
        id: row.get("id"),
        organisation: row.get("organisation"),
        role: row.get("role"),
        class: row.get("class"),
        mode: row.get("mode"),
        made_by: row.get("made_by"),
        created_ms: row.get("created_ms"),
        expires_ms: row.get("expires_ms"),
        uses_left: row.get("uses_left"),
        revoked_ms: row.get("revoked_ms"),
    };
    Ok(rows.iter().map(summary).collect())
}
