//! The tree of organisations in the store. `organisation_below` holds every pair of one above and one below.

use std::collections::BTreeSet;

use sqlx::Row;
use wardline_event::Timestamp;

use super::{DEEPEST, Facts, Organisation, OrganisationKind, TreeError};
use crate::clock::random_id;
use crate::db::{DbConnection, DbRow, Executor, Pool, WriteTx};
use crate::scope::{OrganisationId, Scope};
use crate::store::StoreError;

/// An id that nothing has yet.
pub fn new_id() -> OrganisationId {
    OrganisationId::stored(random_id())
}

fn read(row: &DbRow) -> Result<Organisation, StoreError> {
    let kind: String = row.get("kind");
    Ok(Organisation {
        id: row.get("id"),
        name: row.get("name"),
        kind: OrganisationKind::parse(&kind).ok_or(StoreError::Corrupt { what: "kind of organisation" })?,
        ods: row.get("ods"),
        town: row.get("town"),
        postcode: row.get("postcode"),
        parent: row.get("parent"),
    })
}

/// One organisation within a scope.
pub async fn organisation(pool: &Pool, scope: &Scope, id: &str) -> Result<Option<Organisation>, StoreError> {
    let row = sqlx::query(
        "SELECT o.id, o.name, o.kind, o.ods, o.town, o.postcode, o.parent FROM organisation o \
         JOIN organisation_below b ON b.below = o.id WHERE b.above = $1 AND o.id = $2",
    )
    .bind(scope.id())
    .bind(id)
    .fetch_optional(pool.within(scope))
    .await?;
    row.as_ref().map(read).transpose()
}

/// The id of an organisation within a scope: what somebody sent becomes an id only here.
pub async fn find<'e>(
    database: impl Executor<'e>,
    scope: &Scope,
    id: &str,
) -> Result<Option<OrganisationId>, StoreError> {
    let found: Option<String> =
        sqlx::query_scalar("SELECT below FROM organisation_below WHERE above = $1 AND below = $2")
            .bind(scope.id())
            .bind(id)
            .fetch_optional(database)
            .await?;
    Ok(found.map(OrganisationId::stored))
}

/// Whether an organisation lies within a scope.
pub async fn is_within(pool: &Pool, scope: &Scope, id: &OrganisationId) -> Result<bool, StoreError> {
    Ok(find(pool.within(scope), scope, id.as_str()).await?.is_some())
}

/// The scope of an organisation that lies within another scope.
pub async fn within(pool: &Pool, scope: &Scope, id: &str) -> Result<Option<Scope>, StoreError> {
    Ok(find(pool.within(scope), scope, id).await?.map(Scope::within))
}

/// The organisation within a scope that has this code.
pub async fn by_ods<'e>(
    database: impl Executor<'e>,
    scope: &Scope,
    ods: &str,
) -> Result<Option<OrganisationId>, StoreError> {
    let found: Option<String> = sqlx::query_scalar(
        "SELECT o.id FROM organisation o JOIN organisation_below b ON b.below = o.id \
         WHERE b.above = $1 AND o.ods = $2",
    )
    .bind(scope.id())
    .bind(ods)
    .fetch_optional(database)
    .await?;
    Ok(found.map(OrganisationId::stored))
}

/// Every code within a scope: for an import, which asks for thousands.
pub async fn codes(pool: &Pool, scope: &Scope) -> Result<BTreeSet<String>, StoreError> {
    let codes: Vec<String> = sqlx::query_scalar(
        "SELECT o.ods FROM organisation o JOIN organisation_below b ON b.below = o.id \
         WHERE b.above = $1 AND o.ods IS NOT NULL",
    )
    .bind(scope.id())
    .fetch_all(pool.within(scope))
    .await?;
    Ok(codes.into_iter().collect())
}

/// The organisations from the top of a scope down to this one: id and name.
pub async fn ancestors(pool: &Pool, scope: &Scope, id: &str) -> Result<Vec<(String, String)>, StoreError> {
    Ok(sqlx::query_as(
        "SELECT o.id, o.name FROM organisation_below up JOIN organisation o ON o.id = up.above \
         JOIN organisation_below b ON b.below = up.above AND b.above = $1 \
         WHERE up.below = $2 ORDER BY up.distance DESC",
    )
    .bind(scope.id())
    .bind(id)
    .fetch_all(pool.within(scope))
    .await?)
}

/// The organisation that is accountable for what belongs to `organisation`: itself, or, for a part of one (of the kind
/// "other"), the trust, practice or supplier that it is a part of.
///
/// Looks upwards, beyond what those of the organisation see: who is above them is no secret to them.
pub async fn accountable(pool: &Pool, organisation: &OrganisationId) -> Result<OrganisationId, StoreError> {
    let upwards: Vec<(String, String)> = sqlx::query_as(
        "SELECT o.id, o.kind FROM organisation_below up JOIN organisation o ON o.id = up.above \
         WHERE up.below = $1 ORDER BY up.distance",
    )
    .bind(organisation.as_str())
    .fetch_all(pool.everywhere())
    .await?;
    let mut found = organisation.clone();
    for (id, kind) in upwards {
        match OrganisationKind::parse(&kind) {
            // Nations and regions have parts, and those answer for themselves.
            Some(OrganisationKind::Nation | OrganisationKind::Region) if id != organisation.as_str() => break,
            Some(OrganisationKind::Other) => found = OrganisationId::stored(id),
            _ => return Ok(OrganisationId::stored(id)),
        }
    }
    Ok(found)
}

/// The organisations above one, the nearest first: id and name. They are no secret to those below.
pub async fn above(pool: &Pool, organisation: &OrganisationId) -> Result<Vec<(String, String)>, StoreError> {
    Ok(sqlx::query_as(
        "SELECT o.id, o.name FROM organisation_below up JOIN organisation o ON o.id = up.above \
         WHERE up.below = $1 AND up.distance > 0 ORDER BY up.distance",
    )
    .bind(organisation.as_str())
    .fetch_all(pool.everywhere())
    .await?)
}

/// The root of the tree: the organisation that runs the hub. `None` when the data folder is new.
pub async fn root_of(pool: &Pool) -> Result<Option<(OrganisationId, String)>, StoreError> {
    let row: Option<(String, String)> = sqlx::query_as(
        "SELECT id, name FROM organisation WHERE parent IS NULL ORDER BY created_ms, id LIMIT 1",
    )
    .fetch_optional(pool.everywhere())
    .await?;
    Ok(row.map(|(id, name)| (OrganisationId::stored(id), name)))
}

fn taken(error: sqlx::Error, facts: &Facts) -> TreeError {
    match (&facts.ods, error.as_database_error()) {
        (Some(ods), Some(why)) if why.is_unique_violation() => TreeError::OdsTaken(ods.clone()),
        _ => StoreError::from(error).into(),
    }
}

/// Adds an organisation below another one; without a parent it is the root of a new hub. `facts` are fit.
pub async fn insert(
    tx: &mut WriteTx,
    id: &OrganisationId,
    parent: Option<&OrganisationId>,
    facts: &Facts,
    now: Timestamp,
) -> Result<(), TreeError> {
    if let Some(parent) = parent
        && depth(tx, parent).await? + 1 > DEEPEST
    {
        return Err(TreeError::TooDeep);
    }
    sqlx::query(
        "INSERT INTO organisation (id, name, created_ms, parent, kind, ods, town, postcode, sort_name) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
    )
    .bind(id.as_str())
    .bind(&facts.name)
    .bind(now.0)
    .bind(parent.map(OrganisationId::as_str))
    .bind(facts.kind.as_str())
    .bind(&facts.ods)
    .bind(&facts.town)
    .bind(&facts.postcode)
    .bind(facts.name.to_lowercase())
    .execute(&mut **tx)
    .await
    .map_err(|error| taken(error, facts))?;
    sqlx::query(
        "INSERT INTO organisation_below (above, below, distance) \
         SELECT above, $1, distance + 1 FROM organisation_below WHERE below = $2 UNION ALL SELECT $1, $1, 0",
    )
    .bind(id.as_str())
    .bind(parent.map(OrganisationId::as_str))
    .execute(&mut **tx)
    .await
    .map_err(StoreError::from)?;
    Ok(())
}

/// Changes what is known of an organisation; false if nothing differs. `facts` are fit.
pub async fn edit(tx: &mut WriteTx, scope: &Scope, id: &str, facts: &Facts) -> Result<bool, TreeError> {
    let changed = sqlx::query(concat!(
        "UPDATE organisation SET name = $3, kind = $4, ods = $5, town = $6, postcode = $7, sort_name = $8 ",
        "WHERE id = $2 AND EXISTS (SELECT 1 FROM organisation_below b WHERE b.above = $1 AND b.below = $2) ",
        "AND NOT (name = $3 AND kind = $4 AND COALESCE(ods, '') = COALESCE($5, '') AND town = $6 AND postcode = $7)"
    ))
    .bind(scope.id())
    .bind(id)
    .bind(&facts.name)
    .bind(facts.kind.as_str())
    .bind(&facts.ods)
    .bind(&facts.town)
    .bind(&facts.postcode)
    .bind(facts.name.to_lowercase())
    .execute(&mut **tx)
    .await
    .map_err(|error| taken(error, facts))?;
    Ok(changed.rows_affected() > 0)
}

/// How many levels there are down to an organisation, itself included.
async fn depth(connection: &mut DbConnection, id: &OrganisationId) -> Result<i64, StoreError> {
    Ok(sqlx::query_scalar("SELECT CAST(COUNT(*) AS BIGINT) FROM organisation_below WHERE below = $1")
        .bind(id.as_str())
        .fetch_one(connection)
        .await?)
}

/// Puts an organisation, with all below it, under another one; both lie within the scope. False if it is there already.
pub async fn reparent(
    tx: &mut WriteTx,
    scope: &Scope,
    id: &OrganisationId,
    parent: &OrganisationId,
) -> Result<bool, TreeError> {
    for wanted in [id, parent] {
        if find(&mut **tx, scope, wanted.as_str()).await?.is_none() {
            return Err(TreeError::NoOrganisation(wanted.to_string()));
        }
    }
    if id == scope.root() {
        return Err(TreeError::Top);
    }
    if find(&mut **tx, &Scope::within(id.clone()), parent.as_str()).await?.is_some() {
        return Err(TreeError::Loop);
    }
    let height: i64 = sqlx::query_scalar(
        "SELECT CAST(COALESCE(MAX(distance), 0) AS BIGINT) FROM organisation_below WHERE above = $1",
    )
    .bind(id.as_str())
    .fetch_one(&mut **tx)
    .await
    .map_err(StoreError::from)?;
    if depth(tx, parent).await? + 1 + height > DEEPEST {
        return Err(TreeError::TooDeep);
    }
    let moved = sqlx::query("UPDATE organisation SET parent = $2 WHERE id = $1 AND parent <> $2")
        .bind(id.as_str())
        .bind(parent.as_str())
        .execute(&mut **tx)
        .await
        .map_err(StoreError::from)?;
    if moved.rows_affected() == 0 {
        return Ok(false);
    }
    for sql in [
        "DELETE FROM organisation_below \
         WHERE below IN (SELECT below FROM organisation_below WHERE above = $1) \
         AND above NOT IN (SELECT below FROM organisation_below WHERE above = $1) AND $2 = $2",
        "INSERT INTO organisation_below (above, below, distance) \
         SELECT up.above, down.below, up.distance + down.distance + 1 FROM organisation_below up \
         CROSS JOIN organisation_below down WHERE down.above = $1 AND up.below = $2",
    ] {
        sqlx::query(sql)
            .bind(id.as_str())
            .bind(parent.as_str())
            .execute(&mut **tx)
            .await
            .map_err(StoreError::from)?;
    }
    Ok(true)
}
