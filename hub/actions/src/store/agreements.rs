//! Who agreed to orders, and orders that wait for it.

use sqlx::Row;
use wardline_event::{Timestamp, hex};
use wardline_kernel::db::{DbConnection, DbRow, Pool, Sql};
use wardline_kernel::{OrganisationId, Scope, StoreError, WriteTx, views, within};
use wardline_policy::{Basis, Need, Party, Role};
use wardline_wire::proto::SignedCommand;

use super::read_state;
use crate::domain::{Agreed, Wish};
use crate::person::Person;

/// An order as it was asked for.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub organisation: OrganisationId,
    pub id: String,
    pub device: String,
    pub state: wardline_event::ActionState,
    pub reason: String,
    pub requested_by: String,
    pub together: String,
    pub answerable: String,
    pub role: Role,
    pub from_above: bool,
    pub basis: Basis,
    pub rests_on: String,
    pub needs: Vec<Need>,
    pub wish: Option<Wish>,
    pub detail: String,
}

const ASKED: &str = "SELECT organisation, id, device, state, reason, requested_by, together, answerable, role, from_above, basis, \
     rests_on, needs, wish, kind, target, detail FROM action WHERE ";

fn asked(row: &DbRow) -> Result<Asked, StoreError> {
    let corrupt = |what| StoreError::Corrupt { what };
    let (state, role, basis): (String, String, String) =
        (row.get("state"), row.get("role"), row.get("basis"));
    let wish: String = row.get("wish");
    Ok(Asked {
        organisation: OrganisationId::stored(row.get::<String, _>("organisation")),
        id: row.get("id"),
        device: row.get("device"),
        state: read_state(&state)?,
        reason: row.get("reason"),
        requested_by: row.get("requested_by"),
        together: row.get("together"),
        answerable: row.get("answerable"),
        // Orders of before there were roles were an administrator's.
        role: if role.is_empty() {
            Role::Administrator
        } else {
            Role::parse(&role).ok_or(corrupt("role"))?
        },
        from_above: row.get::<i64, _>("from_above") != 0,
        basis: Basis::parse(&basis).ok_or(corrupt("basis"))?,
        rests_on: row.get("rests_on"),
        needs: views::needs(row.get("needs")),
        wish: serde_json::from_str(&wish).ok().or_else(|| Wish::stored(row.get("kind"), row.get("target"))),
        detail: row.get("detail"),
    })
}

/// One order.
pub(crate) async fn one(
    database: &mut DbConnection,
    scope: &Scope,
    id: &str,
) -> Result<Option<Asked>, StoreError> {
    let mut sql = Sql::new(ASKED);
    scope.filter(&mut sql, "action", wardline_kernel::Reach::Many);
    sql.push(" AND id = ").push_bind(id);
    sql.build().fetch_optional(database).await?.as_ref().map(asked).transpose()
}

/// The orders that were asked for at once and still wait for agreement.
pub(crate) async fn waiting_together(
    database: &mut DbConnection,
    scope: &Scope,
    together: &str,
) -> Result<Vec<Asked>, StoreError> {
    let mut sql = Sql::new(ASKED);
    scope.filter(&mut sql, "action", wardline_kernel::Reach::Many);
    sql.push(" AND state = 'Pending' AND needs <> '' AND together = ").push_bind(together);
    sql.push(" ORDER BY id LIMIT 500");
    sql.build().fetch_all(database).await?.iter().map(asked).collect()
}

/// Those who have agreed to an order so far.
pub(crate) async fn parties(
    database: &mut DbConnection,
    organisation: &OrganisationId,
    action: &str,
) -> Result<Vec<Party>, StoreError> {
    let rows: Vec<(String, String, i64)> = sqlx::query_as(
        "SELECT answerable, role, from_above FROM action_agreement \
         WHERE organisation = $1 AND action = $2 AND agreed = 1 ORDER BY number",
    )
    .bind(organisation.as_str())
    .bind(action)
    .fetch_all(database)
    .await?;
    rows.into_iter()
        .map(|(name, role, from_above)| {
            let role = Role::parse(&role).ok_or(StoreError::Corrupt { what: "role" })?;
            Ok(Party { name, role, from_above: from_above != 0 })
        })
        .collect()
}

/// Notes that somebody agreed to an order, or refused it.
pub(crate) async fn insert(
    tx: &mut WriteTx,
    asked: &Asked,
    (person, from_above): (&Person, bool),
    agreed: bool,
    reason: &str,
    now: Timestamp,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO action_agreement (organisation, action, number, person, answerable, role, from_above, agreed, \
         reason, at_ms) SELECT $1, $2, CAST(COUNT(*) AS BIGINT) + 1, $3, $4, $5, $6, $7, $8, $9 \
         FROM action_agreement WHERE organisation = $1 AND action = $2",
    )
    .bind(asked.organisation.as_str())
    .bind(&asked.id)
    .bind(&person.name)
    .bind(&person.answerable)
    .bind(person.role.as_str())
    .bind(i64::from(from_above))
    .bind(i64::from(agreed))
    .bind(reason)
    .bind(now.0)
    .execute(&mut **tx)
    .await?;
    if agreed {
        sqlx::query(
            "UPDATE action SET approved_by = CASE WHEN approved_by = '' THEN $3 ELSE approved_by || ', ' || $3 END \
             WHERE organisation = $1 AND id = $2",
        )
        .bind(asked.organisation.as_str())
        .bind(&asked.id)
        .bind(&person.name)
        .execute(&mut **tx)
        .await?;
    }
    Ok(())
}

/// What an order still waits for, and on what it rests.
pub(crate) async fn put_needs(
    tx: &mut WriteTx,
    asked: &Asked,
    needs: &str,
    basis: Basis,
    rests_on: &str,
    now: Timestamp,
) -> Result<(), StoreError> {
    sqlx::query(
        "UPDATE action SET needs = $3, basis = $4, rests_on = $5, updated_ms = $6 \
         WHERE organisation = $1 AND id = $2",
    )
    .bind(asked.organisation.as_str())
    .bind(&asked.id)
    .bind(needs)
    .bind(basis.as_str())
    .bind(rests_on)
    .bind(now.0)
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Gives an order the command that everybody agreed to.
pub(crate) async fn put_command(
    tx: &mut WriteTx,
    asked: &Asked,
    signed: &SignedCommand,
    expires_ms: i64,
) -> Result<(), StoreError> {
    sqlx::query(
        "UPDATE action SET command = $3, signature = $4, expires_ms = $5 WHERE organisation = $1 AND id = $2",
    )
    .bind(asked.organisation.as_str())
    .bind(&asked.id)
    .bind(hex(&signed.command))
    .bind(hex(&signed.signature))
    .bind(expires_ms)
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Who agreed to an order or refused it, oldest first.
pub(crate) async fn of(pool: &Pool, scope: &Scope, action: &str) -> Result<Vec<Agreed>, StoreError> {
    let rows: Vec<(String, String, i64, String, i64)> = sqlx::query_as(concat!(
        "SELECT g.person, g.role, g.agreed, g.reason, g.at_ms FROM action_agreement g WHERE ",
        within!("g"),
        " AND g.action = $2 ORDER BY g.number"
    ))
    .bind(scope.id())
    .bind(action)
    .fetch_all(pool.within(scope))
    .await?;
    let agreed =
        |(person, role, agreed, reason, at_ms)| Agreed { person, role, agreed: agreed != 0, reason, at_ms };
    Ok(rows.into_iter().map(agreed).collect())
}
