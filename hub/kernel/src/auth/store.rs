//! Links, sessions and tokens in the store. Only hashes of secrets are kept.
//!
//! These are the calls that need no scope, because proving something is how a scope is gained.

use serde_json::json;
use sqlx::Row;
use wardline_event::{Timestamp, hex};
use wardline_policy::Role;

use super::routes::ApiTokenSummary;
use super::{LINK_LIFE_MS, Proof, SESSION_LIFE_MS, Session};
use crate::audit::{self, Act};
use crate::clock::{random_bytes, random_id, sha256_hex};
use crate::db::{DbRow, Pool};
use crate::scope::{OrganisationId, Scope};
use crate::store::{Store, StoreError};
use crate::within;

/// Makes a one-time sign-in code for a person; it goes into a link `/signin/CODE`.
pub async fn make_link(
    store: &Store,
    organisation: &OrganisationId,
    person: &str,
    role: Role,
    now: Timestamp,
) -> Result<String, StoreError> {
    let code = hex(&random_bytes::<20>());
    let mut tx = store.write(organisation).await?;
    sqlx::query(
        "INSERT INTO sign_in_link (code_hash, organisation, person, created_ms, expires_ms, role) \
         VALUES ($1, $2, $3, $4, $5, $6)",
    )
    .bind(sha256_hex(code.as_bytes()))
    .bind(organisation.as_str())
    .bind(person)
    .bind(now.0)
    .bind(now.0 + LINK_LIFE_MS)
    .bind(role.as_str())
    .execute(&mut *tx)
    .await?;
    let act = Act {
        actor: "hub".into(),
        act: "sign_in_link.made",
        target: person.into(),
        detail: json!({"expires_ms": now.0 + LINK_LIFE_MS, "role": role}),
    };
    audit::append(&mut tx, organisation, now, act).await?;
    tx.commit().await?;
    Ok(code)
}

/// Trades a sign-in code for a session; gives the session's secret id, which goes into the cookie. `None` if
/// the code is unknown, used or too old: which of these is not said.
pub async fn sign_in(store: &Store, code: &str, now: Timestamp) -> Result<Option<String>, StoreError> {
    let mut tx = store.write_everywhere().await?;
    let row = sqlx::query(
        "UPDATE sign_in_link SET used_ms = $2 WHERE code_hash = $1 AND used_ms IS NULL AND expires_ms > $2 \
         RETURNING organisation, person, role",
    )
    .bind(sha256_hex(code.as_bytes()))
    .bind(now.0)
    .fetch_optional(&mut *tx)
    .await?;
    let Some(row) = row else { return Ok(None) };
    let (organisation, person) = (OrganisationId::stored(row.get::<String, _>(0)), row.get::<String, _>(1));
    let (id, role) = (hex(&random_bytes::<32>()), row.get::<String, _>(2));
    sqlx::query(
        "INSERT INTO session (id_hash, organisation, person, created_ms, expires_ms, role) \
         VALUES ($1, $2, $3, $4, $5, $6)",
    )
    .bind(sha256_hex(id.as_bytes()))
    .bind(organisation.as_str())
    .bind(&person)
    .bind(now.0)
    .bind(now.0 + SESSION_LIFE_MS)
    .bind(&role)
    .execute(&mut *tx)
    .await?;
    let act = Act {
        actor: person.clone(),
        act: "session.begun",
        target: person,
        detail: json!({"by": "link", "role": role}),
    };
    audit::append(&mut tx, &organisation, now, act).await?;
    tx.commit().await?;
    Ok(Some(id))
}

/// A role as it was stored. One that this build does not know opens nothing.
fn role(word: &str) -> Result<Role, StoreError> {
    Role::parse(word).ok_or(StoreError::Corrupt { what: "role" })
}

/// The session behind a cookie's value.
pub(crate) async fn session(pool: &Pool, id: &str, now: Timestamp) -> Result<Option<Session>, StoreError> {
    let hash = sha256_hex(id.as_bytes());
    let row = sqlx::query(
        "SELECT s.organisation, s.person, o.name, s.role FROM session s JOIN organisation o ON o.id = s.organisation \
         WHERE s.id_hash = $1 AND s.ended_ms IS NULL AND s.expires_ms > $2",
    )
    .bind(&hash)
    .bind(now.0)
    .fetch_optional(pool.everywhere())
    .await?;
    let Some(row) = row else { return Ok(None) };
    Ok(Some(Session {
        scope: Scope::within(OrganisationId::stored(row.get::<String, _>(0))),
        organisation: row.get(2),
        role: role(row.get(3))?,
        person: row.get(1),
        proof: Proof::Session,
        id: hash,
    }))
}

/// Ends a session.
pub(crate) async fn sign_out(store: &Store, session: &Session, now: Timestamp) -> Result<(), StoreError> {
    let mut tx = store.write(&session.scope).await?;
    let ended = sqlx::query(
        "UPDATE session SET ended_ms = $3 WHERE organisation = $1 AND id_hash = $2 AND ended_ms IS NULL",
    )
    .bind(session.scope.id())
    .bind(&session.id)
    .bind(now.0)
    .execute(&mut *tx)
    .await?;
    if ended.rows_affected() > 0 {
        let person = session.person.clone();
        let act = Act { actor: person.clone(), act: "session.ended", target: person, detail: json!({}) };
        audit::append(&mut tx, session.scope.root(), now, act).await?;
    }
    Ok(tx.commit().await?)
}

/// Makes an API token; gives its id and its secret, which is shown once and never again.
pub(crate) async fn make_api_token(
    store: &Store,
    session: &Session,
    organisation: &OrganisationId,
    (name, role): (&str, Role),
    life_ms: i64,
    now: Timestamp,
) -> Result<(String, String), StoreError> {
    let (id, secret) = (random_id(), format!("wardline_{}", hex(&random_bytes::<24>())));
    let mut tx = store.write(organisation).await?;
    sqlx::query(
        "INSERT INTO api_token (id, organisation, name, secret_hash, created_by, created_ms, expires_ms, role) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
    )
    .bind(&id)
    .bind(organisation.as_str())
    .bind(name)
    .bind(sha256_hex(secret.as_bytes()))
    .bind(&session.person)
    .bind(now.0)
    .bind(now.0.saturating_add(life_ms))
    .bind(role.as_str())
    .execute(&mut *tx)
    .await?;
    let act = Act {
        actor: session.person.clone(),
        act: "api_token.made",
        target: id.clone(),
        detail: json!({"name": name, "role": role, "expires_ms": now.0.saturating_add(life_ms)}),
    };
    audit::append(&mut tx, organisation, now, act).await?;
    tx.commit().await?;
    Ok((id, secret))
}

/// Revokes an API token; false if there is none with this id that could be used.
pub(crate) async fn revoke_api_token(
    store: &Store,
    session: &Session,
    id: &str,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let mut tx = store.write(&session.scope).await?;
    let revoked: Option<String> = sqlx::query_scalar(concat!(
        "UPDATE api_token SET revoked_ms = $3 WHERE ",
        within!("api_token"),
        " AND id = $2 AND revoked_ms IS NULL RETURNING organisation"
    ))
    .bind(session.scope.id())
    .bind(id)
    .bind(now.0)
    .fetch_optional(&mut *tx)
    .await?;
    let Some(organisation) = revoked.map(OrganisationId::stored) else { return Ok(false) };
    let act = Act {
        actor: session.person.clone(),
        act: "api_token.revoked",
        target: id.to_owned(),
        detail: json!({}),
    };
    audit::append(&mut tx, &organisation, now, act).await?;
    tx.commit().await?;
    Ok(true)
}

/// All API tokens, newest first.
pub(crate) async fn api_tokens(pool: &Pool, scope: &Scope) -> Result<Vec<ApiTokenSummary>, StoreError> {
    let rows = sqlx::query(concat!(
        "SELECT id, organisation, role, name, created_by, created_ms, expires_ms, revoked_ms FROM api_token WHERE ",
        within!("api_token"),
        " ORDER BY created_ms DESC, id LIMIT 500"
    ))
    .bind(scope.id())
    .fetch_all(pool.within(scope))
    .await?;
    let summary = |row: &DbRow| ApiTokenSummary {
        id: row.get("id"),
        organisation: row.get("organisation"),
        role: row.get("role"),
        name: row.get("name"),
        created_by: row.get("created_by"),
        created_ms: row.get("created_ms"),
        expires_ms: row.get("expires_ms"),
        revoked_ms: row.get("revoked_ms"),
    };
    Ok(rows.iter().map(summary).collect())
}

/// The program behind an API token.
pub(crate) async fn bearer(pool: &Pool, secret: &str, now: Timestamp) -> Result<Option<Session>, StoreError> {
    let row = sqlx::query(
        "SELECT t.organisation, t.name, t.id, o.name, t.role FROM api_token t JOIN organisation o ON o.id = t.organisation \
         WHERE t.secret_hash = $1 AND t.revoked_ms IS NULL AND t.expires_ms > $2",
    )
    .bind(sha256_hex(secret.as_bytes()))
    .bind(now.0)
    .fetch_optional(pool.everywhere())
    .await?;
    let Some(row) = row else { return Ok(None) };
    Ok(Some(Session {
        scope: Scope::within(OrganisationId::stored(row.get::<String, _>(0))),
        organisation: row.get(3),
        role: role(row.get(4))?,
        person: format!("API token “{}”", row.get::<String, _>(1)),
        proof: Proof::Token,
        id: row.get(2),
    }))
}

/// The person who answers for what a session does: whoever signed in, or whoever made the program's token. Two sessions
/// of one person are no two persons.
pub async fn answerable(pool: &Pool, session: &Session) -> Result<String, StoreError> {
    if session.proof == Proof::Session {
        return Ok(session.person.clone());
    }
    let maker: Option<String> = sqlx::query_scalar(concat!(
        "SELECT created_by FROM api_token WHERE ",
        within!("api_token"),
        " AND id = $2"
    ))
    .bind(session.scope.id())
    .bind(&session.id)
    .fetch_optional(pool.within(&session.scope))
    .await?;
    maker.ok_or(StoreError::Corrupt { what: "API token" })
}
