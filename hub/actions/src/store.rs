//! Actions in the store.

pub(crate) mod agreements;
pub(crate) mod consents;
pub(crate) mod glass;
pub(crate) mod survey;

use sqlx::Row;
use wardline_event::{ActionState, Timestamp, hex};
use wardline_kernel::db::{Db, DbRow, Executor, Pool, Sql};
use wardline_kernel::{OrganisationId, Scope, StoreError, WriteTx, views, within};
use wardline_policy::{Basis, Reach};
use wardline_wire::proto::SignedCommand;

use crate::domain::{ActionDetail, Step, Wish};
use crate::person::Person;

pub(crate) struct NewAction<'a> {
    pub id: &'a str,
    pub device: &'a str,
    pub wish: &'a Wish,
    pub reason: &'a str,
    pub by: &'a Person,
    pub from_above: bool,
    pub basis: Basis,
    pub rests_on: &'a str,
    /// Whose agreement is missing, as JSON; empty if nobody's.
    pub needs: &'a str,
    pub reach: &'a Reach,
    pub together: &'a str,
    pub expires_ms: i64,
    /// The command; none before everybody agrees.
    pub signed: Option<&'a SignedCommand>,
}

pub(crate) async fn insert(
    tx: &mut WriteTx,
    organisation: &OrganisationId,
    new: &NewAction<'_>,
    now: Timestamp,
) -> Result<(), StoreError> {
    let pending = ActionState::Pending.as_str();
    sqlx::query(
        "INSERT INTO action (organisation, id, device, kind, target, reason, requested_by, state, detail, \
         created_ms, expires_ms, updated_ms, command, signature, basis, needs, together, answerable, role, \
         from_above, wish, reach, rests_on) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, '', $9, $10, $9, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, \
         $21)",
    )
    .bind(organisation.as_str())
    .bind(new.id)
    .bind(new.device)
    .bind(new.wish.kind())
    .bind(new.wish.target())
    .bind(new.reason)
    .bind(&new.by.name)
    .bind(pending)
    .bind(now.0)
    .bind(new.expires_ms)
    .bind(new.signed.map_or_else(String::new, |signed| hex(&signed.command)))
    .bind(new.signed.map_or_else(String::new, |signed| hex(&signed.signature)))
    .bind(new.basis.as_str())
    .bind(new.needs)
    .bind(new.together)
    .bind(&new.by.answerable)
    .bind(new.by.role.as_str())
    .bind(i64::from(new.from_above))
    .bind(to_json(new.wish))
    .bind(to_json(new.reach))
    .bind(new.rests_on)
    .execute(&mut **tx)
    .await?;
    let step = Step {
        state: pending.to_owned(),
        source: new.by.name.clone(),
        detail: new.reason.to_owned(),
        at_ms: now.0,
        device_at_ms: None,
    };
    insert_step(tx, organisation, new.id, &step).await
}

/// What has only words and numbers in it, as it is stored.
pub(crate) fn to_json(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).expect("words and numbers can always be written")
}

pub(crate) async fn insert_step(
    tx: &mut WriteTx,
    organisation: &OrganisationId,
    action: &str,
    step: &Step,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO action_step (organisation, action, number, state, source, detail, at_ms, device_at_ms) \
         SELECT $1, $2, CAST(COUNT(*) AS BIGINT) + 1, $3, $4, $5, $6, $7 FROM action_step \
         WHERE organisation = $1 AND action = $2",
    )
    .bind(organisation.as_str())
    .bind(action)
    .bind(&step.state)
    .bind(&step.source)
    .bind(&step.detail)
    .bind(step.at_ms)
    .bind(step.device_at_ms)
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// The state of the last step.
pub(crate) async fn last_step(
    tx: &mut WriteTx,
    organisation: &OrganisationId,
    action: &str,
) -> Result<Option<String>, StoreError> {
    Ok(sqlx::query_scalar(
        "SELECT state FROM action_step WHERE organisation = $1 AND action = $2 ORDER BY number DESC LIMIT 1",
    )
    .bind(organisation.as_str())
    .bind(action)
    .fetch_optional(&mut **tx)
    .await?)
}

fn read_state(text: &str) -> Result<ActionState, StoreError> {
    ActionState::parse(text).ok_or(StoreError::Corrupt { what: "action" })
}

/// Where an action stands.
pub(crate) struct Standing {
    pub organisation: OrganisationId,
    pub id: String,
    pub device: String,
    pub state: ActionState,
}

/// An action's organisation, device and state.
pub(crate) async fn state(tx: &mut WriteTx, scope: &Scope, id: &str) -> Result<Option<Standing>, StoreError> {
    let row: Option<(String, String, String)> = sqlx::query_as(concat!(
        "SELECT organisation, device, state FROM action WHERE ",
        within!("action"),
        " AND id = $2"
    ))
    .bind(scope.id())
    .bind(id)
    .fetch_optional(&mut **tx)
    .await?;
    row.map(|(organisation, device, state)| {
        let organisation = OrganisationId::stored(organisation);
        Ok(Standing { organisation, id: id.to_owned(), device, state: read_state(&state)? })
    })
    .transpose()
}

/// Gives an action a state and its history a step.
pub(crate) async fn put_state(
    tx: &mut WriteTx,
    organisation: &OrganisationId,
    id: &str,
    state: ActionState,
    step: &Step,
) -> Result<(), StoreError> {
    sqlx::query(
        "UPDATE action SET state = $3, detail = $4, updated_ms = $5 WHERE organisation = $1 AND id = $2",
    )
    .bind(organisation.as_str())
    .bind(id)
    .bind(state.as_str())
    .bind(&step.detail)
    .bind(step.at_ms)
    .execute(&mut **tx)
    .await?;
    insert_step(tx, organisation, id, step).await
}

/// Actions that nobody has ended and whose order expired before `limit_ms`, or, if they still waited for somebody's
/// agreement, before `now_ms`; with whether they waited.
pub(crate) async fn overdue<'e>(
    database: impl Executor<'e>,
    scope: &Scope,
    limit_ms: i64,
    now_ms: i64,
) -> Result<Vec<(Standing, bool)>, StoreError> {
    let rows: Vec<(String, String, String, String, String)> = sqlx::query_as::<Db, _>(concat!(
        "SELECT organisation, id, device, state, needs FROM action WHERE ",
        within!("action"),
        " AND state IN ('Pending', 'InProgress') AND (expires_ms < $2 OR (needs <> '' AND expires_ms < $3)) \
         ORDER BY expires_ms LIMIT 500"
    ))
    .bind(scope.id())
    .bind(limit_ms)
    .bind(now_ms)
    .fetch_all(database)
    .await?;
    rows.into_iter()
        .map(|(organisation, id, device, state, needs)| {
            let organisation = OrganisationId::stored(organisation);
            Ok((Standing { organisation, id, device, state: read_state(&state)? }, !needs.is_empty()))
        })
        .collect()
}

/// A signed command that its device has not answered yet.
#[derive(Clone, Debug, PartialEq)]
pub struct PendingCommand {
    /// The action.
    pub action_id: String,
    /// What is sent.
    pub command: SignedCommand,
}

fn unhex(text: &str) -> Result<Vec<u8>, StoreError> {
    text.as_bytes()
        .chunks(2)
        .map(|pair| std::str::from_utf8(pair).ok().and_then(|pair| u8::from_str_radix(pair, 16).ok()))
        .collect::<Option<_>>()
        .ok_or(StoreError::Corrupt { what: "command" })
}

/// The commands that wait for a device, oldest first.
pub async fn pending(
    pool: &Pool,
    organisation: &OrganisationId,
    device: &str,
    now: Timestamp,
) -> Result<Vec<PendingCommand>, StoreError> {
    let rows: Vec<(String, String, String)> = sqlx::query_as(
        "SELECT id, command, signature FROM action WHERE organisation = $1 AND device = $2 \
         AND state = 'Pending' AND needs = '' AND expires_ms > $3 ORDER BY created_ms, id LIMIT 100",
    )
    .bind(organisation.as_str())
    .bind(device)
    .bind(now.0)
    .fetch_all(pool.within(organisation))
    .await?;
    rows.into_iter()
        .map(|(action_id, command, signature)| {
            let command = SignedCommand { command: unhex(&command)?, signature: unhex(&signature)? };
            Ok(PendingCommand { action_id, command })
        })
        .collect()
}

/// One action with its history.
pub async fn detail(pool: &Pool, scope: &Scope, id: &str) -> Result<Option<ActionDetail>, StoreError> {
    let Some(summary) = views::action_by_id(pool, scope, id).await? else { return Ok(None) };
    let rows = sqlx::query(concat!(
        "SELECT state, source, detail, at_ms, device_at_ms FROM action_step WHERE ",
        within!("action_step"),
        " AND action = $2 AND organisation = (SELECT a.organisation FROM action a WHERE a.id = $2) ORDER BY number"
    ))
    .bind(scope.id())
    .bind(id)
    .fetch_all(pool.within(scope))
    .await?;
    let agreements = agreements::of(pool, scope, id).await?;
    let step = |row: &DbRow| Step {
        state: row.get("state"),
        source: row.get("source"),
        detail: row.get("detail"),
        at_ms: row.get("at_ms"),
        device_at_ms: row.get("device_at_ms"),
    };
    Ok(Some(ActionDetail { summary, agreements, history: rows.iter().map(step).collect() }))
}

/// How many actions there are in each state: (state, count).
pub async fn counts(pool: &Pool, scope: &Scope) -> Result<Vec<(String, i64)>, StoreError> {
    let reach = scope.reach(pool).await?;
    let mut sql = Sql::new("SELECT state, CAST(COUNT(*) AS BIGINT) FROM action WHERE ");
    scope.filter(&mut sql, "action", reach);
    sql.push(" GROUP BY state");
    Ok(sql.build_query_as().fetch_all(pool.within(scope)).await?)
}
