//! Findings in the store.

use serde_json::Value;
use sqlx::Row;
use wardline_event::{Finding, Timestamp};
use wardline_kernel::db::{Pool, Sql, storable};
use wardline_kernel::{OrganisationId, Scope, StoreError, WriteTx, within};

use crate::domain::FindingState;

/// A stored finding with what people made of it.
#[derive(Clone, Debug, PartialEq)]
pub struct FindingRecord {
    /// Its id.
    pub id: String,
    /// The device it was made on.
    pub device: String,
    /// From the exercise range, or from a device of it.
    pub simulated: bool,
    /// When the hub stored it.
    pub received_ms: i64,
    /// What a person made of it.
    pub state: FindingState,
    /// Who did last.
    pub state_by: Option<String>,
    /// When.
    pub state_ms: Option<i64>,
    /// Why.
    pub state_reason: Option<String>,
    /// The finding.
    pub finding: Finding,
    /// The OCSF finding as the device sent it.
    pub ocsf: Value,
}

/// Stores a finding once; false if it is there already. Its id is the device's choice, and nobody takes an id that is
/// in use, in whatever organisation: the first one stays.
///
/// `simulated` is set for every finding of a device of the exercise range, whatever the finding says.
pub async fn store_finding(
    tx: &mut WriteTx,
    organisation: &OrganisationId,
    device: &str,
    simulated: bool,
    finding: &Finding,
    body: &str,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let techniques: Vec<&str> = finding.techniques.iter().map(|t| t.0.as_str()).collect();
    let process = finding.event.process();
    let disposition = serde_json::to_value(finding.action.disposition)
        .ok()
        .and_then(|v| v.as_str().map(str::to_owned))
        .unwrap_or_default();
    let stored = sqlx::query(
        "INSERT INTO finding (organisation, id, device, time_ms, received_ms, severity, severity_id, rule_id, \
         rule_title, techniques, process_key, image, command_line, disposition, simulated, state, body) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, 'new', $16) \
         ON CONFLICT DO NOTHING",
    )
    .bind(organisation.as_str())
    .bind(finding.id.to_string())
    .bind(device)
    .bind(finding.time.0)
    .bind(now.0)
    .bind(finding.severity.as_str())
    .bind(i64::from(finding.severity.ocsf_id()))
    .bind(storable(&finding.rule.id))
    .bind(storable(&finding.rule.title))
    .bind(storable(&techniques.join(" ")))
    .bind(process.key.to_string())
    .bind(storable(&process.image))
    .bind(storable(&process.command_line))
    .bind(disposition)
    .bind(i64::from(simulated || finding.simulated))
    .bind(body)
    .execute(&mut **tx)
    .await?;
    Ok(stored.rows_affected() > 0)
}

/// One finding.
pub async fn record(pool: &Pool, scope: &Scope, id: &str) -> Result<Option<FindingRecord>, StoreError> {
    let row = sqlx::query(concat!(
        "SELECT device, simulated, received_ms, state, state_by, state_ms, state_reason, body FROM finding WHERE ",
        within!("finding"),
        " AND id = $2"
    ))
    .bind(scope.id())
    .bind(id)
    .fetch_optional(pool.within(scope))
    .await?;
    let Some(row) = row else { return Ok(None) };
    let corrupt = || StoreError::Corrupt { what: "finding" };
    let ocsf: Value = serde_json::from_str(row.get("body")).map_err(|_| corrupt())?;
    Ok(Some(FindingRecord {
        id: id.to_owned(),
        device: row.get("device"),
        simulated: row.get::<i64, _>("simulated") != 0,
        received_ms: row.get("received_ms"),
        state: FindingState::parse(row.get("state")).ok_or_else(corrupt)?,
        state_by: row.get("state_by"),
        state_ms: row.get("state_ms"),
        state_reason: row.get("state_reason"),
        finding: wardline_event::ocsf::finding_from_json(&ocsf).map_err(|_| corrupt())?,
        ocsf,
    }))
}

/// The organisation and state of a finding, read in the transaction that may change it.
pub(crate) async fn state(
    tx: &mut WriteTx,
    scope: &Scope,
    id: &str,
) -> Result<Option<(OrganisationId, FindingState)>, StoreError> {
    let row: Option<(String, String)> = sqlx::query_as(concat!(
        "SELECT organisation, state FROM finding WHERE ",
        within!("finding"),
        " AND id = $2"
    ))
    .bind(scope.id())
    .bind(id)
    .fetch_optional(&mut **tx)
    .await?;
    row.map(|(organisation, state)| {
        let state = FindingState::parse(&state).ok_or(StoreError::Corrupt { what: "finding" })?;
        Ok((OrganisationId::stored(organisation), state))
    })
    .transpose()
}

pub(crate) async fn put_state(
    tx: &mut WriteTx,
    organisation: &OrganisationId,
    id: &str,
    state: FindingState,
    (by, reason): (&str, &str),
    now: Timestamp,
) -> Result<(), StoreError> {
    sqlx::query(
        "UPDATE finding SET state = $3, state_by = $4, state_ms = $5, state_reason = $6 \
         WHERE organisation = $1 AND id = $2",
    )
    .bind(organisation.as_str())
    .bind(id)
    .bind(state.as_str())
    .bind(by)
    .bind(now.0)
    .bind(reason)
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// How many findings there are in each state: (state, count).
pub async fn counts(pool: &Pool, scope: &Scope) -> Result<Vec<(String, i64)>, StoreError> {
    let reach = scope.reach(pool).await?;
    let mut sql = Sql::new("SELECT state, CAST(COUNT(*) AS BIGINT) FROM finding WHERE ");
    scope.filter(&mut sql, "finding", reach);
    sql.push(" GROUP BY state");
    Ok(sql.build_query_as().fetch_all(pool.within(scope)).await?)
}
