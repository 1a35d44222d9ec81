//! Read views: how one capability shows what another one keeps, without either importing the other.
//!
//! Each reads an SQL view (`view_device`, `view_finding`, `view_action`) that the owning capability's migration
//! creates; its columns are the contract.

use serde::Serialize;
use sqlx::sqlite::{SqlitePool, SqliteRow};
use sqlx::{QueryBuilder, Row, Sqlite};
use utoipa::ToSchema;
use wardline_event::Timestamp;

use crate::scope::Scope;
use crate::store::StoreError;

/// How often an agent says that it is alive, in seconds; told in Welcome.
pub const HEARTBEAT_S: u32 = 10;

/// After this long without a word a device counts as silent: three missed heartbeats.
pub const SILENT_AFTER_MS: i64 = 3 * 1000 * HEARTBEAT_S as i64;

/// Whether a device can be heard.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Presence {
    /// It spoke within the last three heartbeats.
    Live,
    /// It has not spoken for longer: off, cut off, or attacked.
    Silent,
    /// It enrolled and never connected.
    NeverConnected,
    /// Its certificate was revoked; it may not connect.
    Revoked,
}

impl Presence {
    /// Judges by when it was last heard.
    pub fn judge(last_seen_ms: Option<i64>, revoked: bool, now: Timestamp) -> Self {
        match last_seen_ms {
            _ if revoked => Self::Revoked,
            None => Self::NeverConnected,
            Some(at) if now.0 - at > SILENT_AFTER_MS => Self::Silent,
            Some(_) => Self::Live,
        }
    }

    /// The word as in the API: `live`, `silent`, `never_connected`, `revoked`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Silent => "silent",
            Self::NeverConnected => "never_connected",
            Self::Revoked => "revoked",
        }
    }
}

/// A device in a list.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct DeviceSummary {
    /// 32 hexadecimal digits.
    pub id: String,
    /// The name it gives itself; not an identity.
    pub hostname: String,
    /// For people: "Debian GNU/Linux 12 (bookworm)".
    pub os: String,
    /// What it is for; empty if unknown.
    pub role: String,
    /// `workstation`, `server` or `clinical`, as policy says.
    pub class: String,
    /// From the exercise range.
    pub simulated: bool,
    /// Whether it can be heard.
    pub presence: Presence,
    /// When it last spoke, by the hub's clock.
    pub last_seen_ms: Option<i64>,
    /// `monitor` or `protect`: what the hub lays down.
    pub mode: String,
    /// What the device says is in force; absent until it has said so.
    pub mode_in_force: Option<String>,
    /// Set while it is isolated: until when, by its clock.
    pub isolated_until_ms: Option<i64>,
    /// Events known to be lost since its agent started, all stages; absent until a heartbeat came.
    pub lost: Option<i64>,
}

fn device(row: &SqliteRow, now: Timestamp) -> DeviceSummary {
    let last_seen_ms: Option<i64> = row.get("last_seen_ms");
    let revoked = row.get::<Option<i64>, _>("revoked_ms").is_some();
    DeviceSummary {
        id: row.get("id"),
        hostname: row.get("hostname"),
        os: row.get("os"),
        role: row.get("role"),
        class: row.get("class"),
        simulated: row.get::<i64, _>("simulated") != 0,
        presence: Presence::judge(last_seen_ms, revoked, now),
        last_seen_ms,
        mode: row.get("mode"),
        mode_in_force: row.get("mode_in_force"),
        isolated_until_ms: row.get("isolated_until_ms"),
        lost: row.get("lost"),
    }
}

const DEVICE: &str = "SELECT id, hostname, os, role, class, simulated, last_seen_ms, revoked_ms, mode, \
     mode_in_force, isolated_until_ms, lost FROM view_device WHERE organisation = ";

/// All devices, by name.
pub async fn devices(
    pool: &SqlitePool,
    scope: &Scope,
    now: Timestamp,
) -> Result<Vec<DeviceSummary>, StoreError> {
    let mut sql = QueryBuilder::<Sqlite>::new(DEVICE);
    sql.push_bind(scope.organisation()).push(" ORDER BY hostname, id");
    Ok(sql.build().fetch_all(pool).await?.iter().map(|row| device(row, now)).collect())
}

/// One device.
pub async fn device_by_id(
    pool: &SqlitePool,
    scope: &Scope,
    id: &str,
    now: Timestamp,
) -> Result<Option<DeviceSummary>, StoreError> {
    let mut sql = QueryBuilder::<Sqlite>::new(DEVICE);
    sql.push_bind(scope.organisation()).push(" AND id = ").push_bind(id);
    Ok(sql.build().fetch_optional(pool).await?.map(|row| device(&row, now)))
}

/// The policy that the hub lays down for a device, as JSON; `None` if there is no such device.
pub async fn device_policy(pool: &SqlitePool, scope: &Scope, id: &str) -> Result<Option<String>, StoreError> {
    Ok(sqlx::query_scalar("SELECT policy_json FROM view_device WHERE organisation = $1 AND id = $2")
        .bind(scope.organisation())
        .bind(id)
        .fetch_optional(pool)
        .await?)
}

/// A finding in a list.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct FindingSummary {
    /// 32 hexadecimal digits.
    pub id: String,
    /// The device it was made on.
    pub device: String,
    /// That device's name; empty if the device is unknown.
    pub hostname: String,
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

fn finding(row: &SqliteRow) -> FindingSummary {
    FindingSummary {
        id: row.get("id"),
        device: row.get("device"),
        hostname: row.get("hostname"),
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

const FINDING: &str = "SELECT f.id, f.device, COALESCE(d.hostname, '') AS hostname, f.time_ms, f.severity, \
     f.rule_id, f.rule_title, f.techniques, f.process_key, f.image, f.command_line, f.disposition, f.state, \
     f.simulated FROM view_finding f LEFT JOIN view_device d \
     ON d.organisation = f.organisation AND d.id = f.device WHERE f.organisation = ";

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
    pool: &SqlitePool,
    scope: &Scope,
    query: &FindingQuery,
) -> Result<Vec<FindingSummary>, StoreError> {
    let mut sql = QueryBuilder::<Sqlite>::new(FINDING);
    sql.push_bind(scope.organisation());
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
    Ok(sql.build().fetch_all(pool).await?.iter().map(finding).collect())
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
}

fn action(row: &SqliteRow) -> ActionSummary {
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
    }
}

const ACTION: &str = "SELECT a.id, a.device, COALESCE(d.hostname, '') AS hostname, a.kind, a.target, \
     a.reason, a.requested_by, a.state, a.detail, a.created_ms, a.expires_ms, a.updated_ms, \
     COALESCE(d.simulated, 0) AS simulated FROM view_action a LEFT JOIN view_device d \
     ON d.organisation = a.organisation AND d.id = a.device WHERE a.organisation = ";

/// Which actions to list, newest first. Empty: all.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct ActionQuery {
    /// Only of this device.
    pub device: Option<String>,
    /// Only about this process.
    pub process_key: Option<String>,
    /// Only in this state.
    pub state: Option<String>,
    /// Only those after this one in the list: the last of the page before, as (created_ms, id).
    pub after: Option<(i64, String)>,
    /// At most this many, 1 to 500.
    pub limit: u32,
}

/// Actions, newest first.
pub async fn actions(
    pool: &SqlitePool,
    scope: &Scope,
    query: &ActionQuery,
) -> Result<Vec<ActionSummary>, StoreError> {
    let mut sql = QueryBuilder::<Sqlite>::new(ACTION);
    sql.push_bind(scope.organisation());
    if let Some(device) = &query.device {
        sql.push(" AND a.device = ").push_bind(device.as_str());
    }
    if let Some(key) = &query.process_key {
        sql.push(" AND a.kind = 'kill_process' AND a.target = ").push_bind(key.as_str());
    }
    if let Some(state) = &query.state {
        sql.push(" AND a.state = ").push_bind(state.as_str());
    }
    if let Some((created_ms, id)) = &query.after {
        sql.push(" AND (a.created_ms < ").push_bind(*created_ms);
        sql.push(" OR (a.created_ms = ").push_bind(*created_ms);
        sql.push(" AND a.id < ").push_bind(id.as_str()).push("))");
    }
    sql.push(" ORDER BY a.created_ms DESC, a.id DESC LIMIT ").push_bind(i64::from(query.limit.clamp(1, 500)));
    Ok(sql.build().fetch_all(pool).await?.iter().map(action).collect())
}

/// One action.
pub async fn action_by_id(
    pool: &SqlitePool,
    scope: &Scope,
    id: &str,
) -> Result<Option<ActionSummary>, StoreError> {
    let mut sql = QueryBuilder::<Sqlite>::new(ACTION);
    sql.push_bind(scope.organisation()).push(" AND a.id = ").push_bind(id);
    Ok(sql.build().fetch_optional(pool).await?.map(|row| action(&row)))
}
