//! Read views: how one capability shows what another one keeps, without either importing the other.
//!
//! Each reads an SQL view (`view_device`, `view_finding`, `view_action`) that the owning capability's migration
//! creates; its columns are the contract.

mod devices;

use serde::Serialize;
use sqlx::Row;
use utoipa::ToSchema;
use wardline_policy::{Agreement, Need};

use crate::db::{DbRow, Executor, Pool, Sql};
use crate::scope::{Reach, Scope};
use crate::store::StoreError;
use crate::within;

pub use devices::{
    DeviceCounts, DeviceOrder, DevicePage, DevicePlace, DeviceQuery, DeviceSummary, HEARTBEAT_S, Presence,
    SILENT_AFTER_MS, device_by_id, device_counts, device_policy, devices, heard_between,
};

/// A finding in a list.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct FindingSummary {
    /// 32 hexadecimal digits.
    pub id: String,
    /// The device it was made on.
    pub device: String,
    /// That device's name; empty if the device is unknown.
    pub hostname: String,
    /// What that device is for; empty if unknown.
    pub role: String,
    /// The event's time, by the device's clock.
    pub time_ms: i64,
    /// `informational` … `critical`.
    pub severity: String,
    /// The rule's UUID.
    pub rule_id: String,
    /// The rule's title.
    pub rule_title: String,
    /// ATT&CK techniques, separated by single spaces.
    pub techniques: String,
    /// The process it is about.
    pub process_key: String,
    /// That process's executable.
    pub image: String,
    /// That process's command line.
    pub command_line: String,
    /// What the device did: `recorded`, `would_act`, `withheld`, `stopped`, `failed`.
    pub disposition: String,
    /// `new`, `acknowledged` or `closed`.
    pub state: String,
    /// From the exercise range.
    pub simulated: bool,
}

fn finding(row: &DbRow) -> FindingSummary {
    FindingSummary {
        id: row.get("id"),
        device: row.get("device"),
        hostname: row.get("hostname"),
        role: row.get("role"),
        time_ms: row.get("time_ms"),
        severity: row.get("severity"),
        rule_id: row.get("rule_id"),
        rule_title: row.get("rule_title"),
        techniques: row.get("techniques"),
        process_key: row.get("process_key"),
        image: row.get("image"),
        command_line: row.get("command_line"),
        disposition: row.get("disposition"),
        state: row.get("state"),
        simulated: row.get::<i64, _>("simulated") != 0,
    }
}

/// The device of a finding or an action as its organisation knows, or knew, it: it may have moved on.
const FINDING: &str = "SELECT f.id, f.device, COALESCE(d.hostname, (SELECT p.hostname FROM view_device_place p \
     WHERE p.device = f.device AND p.organisation = f.organisation LIMIT 1), '') AS hostname, \
     COALESCE(d.role, '') AS role, f.time_ms, f.severity, \
     f.rule_id, f.rule_title, f.techniques, f.process_key, f.image, f.command_line, f.disposition, f.state, \
     f.simulated FROM view_finding f LEFT JOIN view_device d \
     ON d.organisation = f.organisation AND d.id = f.device WHERE ";

/// Which findings to list, newest first. Empty: all.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct FindingQuery {
    /// Only of this device.
    pub device: Option<String>,
    /// Only of this severity or worse (OCSF `severity_id`).
    pub at_least: Option<u8>,
    /// Only in this state.
    pub state: Option<String>,
    /// Only real (false) or only simulated (true) ones.
    pub simulated: Option<bool>,
    /// Only those after this one in the list: the last of the page before, as (time_ms, id).
    pub after: Option<(i64, String)>,
    /// At most this many, 1 to 500.
    pub limit: u32,
}

/// Findings, newest first.
pub async fn findings(
    pool: &Pool,
    scope: &Scope,
    query: &FindingQuery,
) -> Result<Vec<FindingSummary>, StoreError> {
    let reach = scope.reach(pool).await?;
    let mut sql = Sql::new(FINDING);
    scope.filter(&mut sql, "f", reach);
    if let Some(device) = &query.device {
        sql.push(" AND f.device = ").push_bind(device.as_str());
    }
    if let Some(id) = query.at_least {
        sql.push(" AND f.severity_id >= ").push_bind(i64::from(id));
    }
    if let Some(state) = &query.state {
        sql.push(" AND f.state = ").push_bind(state.as_str());
    }
    if let Some(simulated) = query.simulated {
        sql.push(" AND f.simulated = ").push_bind(i64::from(simulated));
    }
    if let Some((time_ms, id)) = &query.after {
        sql.push(" AND (f.time_ms < ").push_bind(*time_ms);
        sql.push(" OR (f.time_ms = ").push_bind(*time_ms);
        sql.push(" AND f.id < ").push_bind(id.as_str()).push("))");
    }
    sql.push(" ORDER BY f.time_ms DESC, f.id DESC LIMIT ").push_bind(i64::from(query.limit.clamp(1, 500)));
    Ok(sql.build().fetch_all(pool.within(scope)).await?.iter().map(finding).collect())
}

/// An action in a list.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct ActionSummary {
    /// 32 hexadecimal digits.
    pub id: String,
    /// The device that is to act.
    pub device: String,
    /// That device's name; empty if the device is unknown.
    pub hostname: String,
    /// `kill_process`, `isolate` or `release`.
    pub kind: String,
    /// The process key for `kill_process`, the seconds for `isolate`, else empty.
    pub target: String,
    /// Why.
    pub reason: String,
    /// Who ordered it.
    pub requested_by: String,
    /// `Pending` … `Cancelled`.
    pub state: String,
    /// The device's last word on it; empty if none.
    pub detail: String,
    /// When it was ordered, by the hub's clock.
    pub created_ms: i64,
    /// When the order expires.
    pub expires_ms: i64,
    /// When its state last changed.
    pub updated_ms: i64,
    /// For a device of the exercise range.
    pub simulated: bool,
    /// `role`, `consent` or `break_glass`: why it needed no more agreement than it has.
    pub basis: String,
    /// Whose agreement it waits for; empty if it waits for nobody's. Nothing is signed before.
    #[schema(value_type = Vec<Object>)]
    pub needs: Vec<Need>,
    /// Who agreed, separated by `, `; empty if nobody had to.
    pub approved_by: String,
    /// What was ordered at once has one id together.
    pub together: String,
}

fn action(row: &DbRow) -> ActionSummary {
    ActionSummary {
        id: row.get("id"),
        device: row.get("device"),
        hostname: row.get("hostname"),
        kind: row.get("kind"),
        target: row.get("target"),
        reason: row.get("reason"),
        requested_by: row.get("requested_by"),
        state: row.get("state"),
        detail: row.get("detail"),
        created_ms: row.get("created_ms"),
        expires_ms: row.get("expires_ms"),
        updated_ms: row.get("updated_ms"),
        simulated: row.get::<i64, _>("simulated") != 0,
        basis: row.get("basis"),
        // Nothing but needs is written there; what cannot be read needs somebody to look.
        needs: needs(row.get("needs")),
        approved_by: row.get("approved_by"),
        together: row.get("together"),
    }
}

/// Needs as they were stored.
pub fn needs(json: &str) -> Vec<Need> {
    if json.is_empty() {
        return Vec::new();
    }
    serde_json::from_str(json).unwrap_or_else(|_| {
        vec![Need { of: Agreement::SecondPerson, because: "what was stored cannot be read".to_owned() }]
    })
}

const ACTION: &str = "SELECT a.basis, a.needs, a.approved_by, a.together, a.id, a.organisation, a.device, COALESCE(d.hostname, \
     (SELECT p.hostname FROM view_device_place p \
     WHERE p.device = a.device AND p.organisation = a.organisation LIMIT 1), '') AS hostname, a.kind, a.target, \
     a.reason, a.requested_by, a.state, a.detail, a.created_ms, a.expires_ms, a.updated_ms, \
     COALESCE(d.simulated, 0) AS simulated FROM view_action a LEFT JOIN view_device d \
     ON d.organisation = a.organisation AND d.id = a.device WHERE ";

/// Which actions to list, newest first. Empty: all.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct ActionQuery {
    /// Only of this device.
    pub device: Option<String>,
    /// Only about this process.
    pub process_key: Option<String>,
    /// Only in this state.
    pub state: Option<String>,
    /// Only those that wait for somebody's agreement.
    pub waiting: bool,
    /// Only those after this one in the list: the last of the page before, as (created_ms, id).
    pub after: Option<(i64, String)>,
    /// At most this many, 1 to 500.
    pub limit: u32,
}

/// Actions, newest first.
pub async fn actions(
    pool: &Pool,
    scope: &Scope,
    query: &ActionQuery,
) -> Result<Vec<ActionSummary>, StoreError> {
    let reach = scope.reach(pool).await?;
    let mut sql = Sql::new(ACTION);
    scope.filter(&mut sql, "a", reach);
    if let Some(device) = &query.device {
        sql.push(" AND a.device = ").push_bind(device.as_str());
    }
    if let Some(key) = &query.process_key {
        sql.push(" AND a.kind = 'kill_process' AND a.target = ").push_bind(key.as_str());
    }
    if let Some(state) = &query.state {
        sql.push(" AND a.state = ").push_bind(state.as_str());
    }
    if query.waiting {
        sql.push(" AND a.state = 'Pending' AND a.needs <> ''");
    }
    if let Some((created_ms, id)) = &query.after {
        sql.push(" AND (a.created_ms < ").push_bind(*created_ms);
        sql.push(" OR (a.created_ms = ").push_bind(*created_ms);
        sql.push(" AND a.id < ").push_bind(id.as_str()).push("))");
    }
    sql.push(" ORDER BY a.created_ms DESC, a.id DESC LIMIT ").push_bind(i64::from(query.limit.clamp(1, 500)));
    Ok(sql.build().fetch_all(pool.within(scope)).await?.iter().map(action).collect())
}

/// How many orders to a device have not come to an end.
pub async fn unfinished_actions<'e>(
    database: impl Executor<'e>,
    scope: &Scope,
    device: &str,
) -> Result<i64, StoreError> {
    Ok(sqlx::query_scalar(concat!(
        "SELECT CAST(COUNT(*) AS BIGINT) FROM view_action a WHERE ",
        within!("a"),
        " AND a.device = $2 AND a.state IN ('Pending', 'InProgress')"
    ))
    .bind(scope.id())
    .bind(device)
    .fetch_one(database)
    .await?)
}

/// One action.
pub async fn action_by_id(pool: &Pool, scope: &Scope, id: &str) -> Result<Option<ActionSummary>, StoreError> {
    let mut sql = Sql::new(ACTION);
    scope.filter(&mut sql, "a", Reach::Many);
    sql.push(" AND a.id = ").push_bind(id);
    Ok(sql.build().fetch_optional(pool.within(scope)).await?.map(|row| action(&row)))
}
