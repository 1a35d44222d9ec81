//! Devices as other rooms see them.

use serde::{Deserialize, Serialize};
use sqlx::Row;
use utoipa::ToSchema;
use wardline_event::Timestamp;

use crate::db::{DbRow, Pool, Sql};
use crate::scope::{OrganisationId, Reach, Scope};
use crate::store::StoreError;
use crate::within;

/// How often an agent says that it is alive, in seconds; told in Welcome.
pub const HEARTBEAT_S: u32 = 10;

/// After this long without a word a device counts as silent: three missed heartbeats.
pub const SILENT_AFTER_MS: i64 = 3 * 1000 * HEARTBEAT_S as i64;

/// Whether a device can be heard.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
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
    /// The organisation it belongs to.
    pub organisation: String,
    /// That organisation's name.
    pub organisation_name: String,
    /// The name it gives itself; not an identity.
    pub hostname: String,
    /// For people: "Debian GNU/Linux 12 (bookworm)".
    pub os: String,
    /// What it is for; empty if unknown.
    pub role: String,
    /// `workstation`, `server` or `clinical`, as policy says.
    pub class: String,
    /// The hospital, practice or building where it stands; empty if not known.
    pub site: String,
    /// The ward or department; empty if not known.
    pub ward: String,
    /// What it is: "CT scanner", "ward PC"; empty if not known.
    pub device_type: String,
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

fn device(row: &DbRow, now: Timestamp) -> DeviceSummary {
    let last_seen_ms: Option<i64> = row.get("last_seen_ms");
    let revoked = row.get::<Option<i64>, _>("revoked_ms").is_some();
    DeviceSummary {
        id: row.get("id"),
        organisation: row.get("organisation"),
        organisation_name: row.get("organisation_name"),
        hostname: row.get("hostname"),
        os: row.get("os"),
        role: row.get("role"),
        class: row.get("class"),
        site: row.get("site"),
        ward: row.get("ward"),
        device_type: row.get("device_type"),
        simulated: row.get::<i64, _>("simulated") != 0,
        presence: Presence::judge(last_seen_ms, revoked, now),
        last_seen_ms,
        mode: row.get("mode"),
        mode_in_force: row.get("mode_in_force"),
        isolated_until_ms: row.get("isolated_until_ms"),
        lost: row.get("lost"),
    }
}

/// In which order devices are listed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum DeviceOrder {
    /// By name.
    #[default]
    Name,
    /// Those first that have not been heard for longest; those never heard before all others.
    Silence,
}

/// The place of a device in a list, to go on from: what it is ordered by, and its id.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum DevicePlace {
    /// By name.
    Name(String, String),
    /// By when it was last heard, in milliseconds; 0 for never.
    Silence(i64, String),
}

impl DevicePlace {
    /// Reads the text form of a list in this order.
    pub fn parse(order: DeviceOrder, text: &str) -> Option<Self> {
        let (id, key) = text.split_once('-')?;
        let plain = id.len() == 32 && id.bytes().all(|b| b.is_ascii_hexdigit());
        let id = plain.then(|| id.to_owned())?;
        Some(match order {
            DeviceOrder::Name => Self::Name(key.to_owned(), id),
            DeviceOrder::Silence => Self::Silence(key.parse().ok()?, id),
        })
    }

    fn of(order: DeviceOrder, row: &DbRow) -> Self {
        match order {
            DeviceOrder::Name => Self::Name(row.get("sort_name"), row.get("id")),
            DeviceOrder::Silence => Self::Silence(row.get("heard_ms"), row.get("id")),
        }
    }
}

/// `ID-KEY`: the id has no dash.
impl std::fmt::Display for DevicePlace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Name(key, id) => write!(f, "{id}-{key}"),
            Self::Silence(key, id) => write!(f, "{id}-{key}"),
        }
    }
}

/// Which devices to list. Empty: all, by name.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct DeviceQuery {
    /// Only those whose name begins with this, in any case.
    pub name: Option<String>,
    /// Only those that can, or cannot, be heard.
    pub presence: Option<Presence>,
    /// Only of this class.
    pub class: Option<String>,
    /// Only isolated ones.
    pub isolated: bool,
    /// The order.
    pub order: DeviceOrder,
    /// Only those after this one.
    pub after: Option<DevicePlace>,
    /// At most this many, 1 to 500.
    pub limit: u32,
}

/// A page of devices.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct DevicePage {
    /// The devices.
    pub devices: Vec<DeviceSummary>,
    /// Send as `after` for the next page; absent on the last.
    pub next: Option<String>,
}

const COLUMNS: &str = "SELECT d.id, d.organisation, o.name AS organisation_name, d.hostname, d.sort_name, d.heard_ms, d.os, d.role, d.class, d.site, d.ward, d.device_type, \
     d.simulated, d.last_seen_ms, d.revoked_ms, d.mode, d.mode_in_force, d.isolated_until_ms, d.lost \
     FROM view_device d JOIN organisation o ON o.id = d.organisation WHERE ";

/// What stands behind every text that begins with another one.
fn beyond(prefix: &str) -> String {
    format!("{prefix}\u{10ffff}")
}

fn narrow(sql: &mut Sql, query: &DeviceQuery, now: Timestamp) {
    if let Some(name) = &query.name {
        let name = name.to_lowercase();
        sql.push(" AND d.sort_name >= ").push_bind(name.clone());
        sql.push(" AND d.sort_name < ").push_bind(beyond(&name));
    }
    let silent = now.0 - SILENT_AFTER_MS;
    match query.presence {
        None => {}
        Some(Presence::Revoked) => {
            sql.push(" AND d.revoked_ms IS NOT NULL");
        }
        Some(Presence::NeverConnected) => {
            sql.push(" AND d.revoked_ms IS NULL AND d.last_seen_ms IS NULL");
        }
        Some(Presence::Silent) => {
            sql.push(" AND d.revoked_ms IS NULL AND d.last_seen_ms < ").push_bind(silent);
        }
        Some(Presence::Live) => {
            sql.push(" AND d.revoked_ms IS NULL AND d.last_seen_ms >= ").push_bind(silent);
        }
    }
    if let Some(class) = &query.class {
        sql.push(" AND d.class = ").push_bind(class.as_str());
    }
    if query.isolated {
        sql.push(" AND d.isolated_until_ms IS NOT NULL");
    }
}

/// Devices, page by page.
pub async fn devices(
    pool: &Pool,
    scope: &Scope,
    query: &DeviceQuery,
    now: Timestamp,
) -> Result<DevicePage, StoreError> {
    let limit = query.limit.clamp(1, 500);
    let reach = scope.reach(pool).await?;
    let mut sql = Sql::new(COLUMNS);
    scope.filter(&mut sql, "d", reach);
    narrow(&mut sql, query, now);
    match &query.after {
        None => {}
        Some(DevicePlace::Name(name, id)) => {
            sql.push(" AND (d.sort_name, d.id) > (").push_bind(name.as_str());
            sql.push(", ").push_bind(id.as_str()).push(")");
        }
        Some(DevicePlace::Silence(at, id)) => {
            sql.push(" AND (d.heard_ms, d.id) > (").push_bind(*at);
            sql.push(", ").push_bind(id.as_str()).push(")");
        }
    }
    sql.push(match query.order {
        DeviceOrder::Name => " ORDER BY d.sort_name, d.id LIMIT ",
        DeviceOrder::Silence => " ORDER BY d.heard_ms, d.id LIMIT ",
    });
    sql.push_bind(i64::from(limit) + 1);
    let mut rows = sql.build().fetch_all(pool.within(scope)).await?;
    let more = rows.len() > limit as usize;
    rows.truncate(limit as usize);
    let last = rows.last().filter(|_| more);
    let next = last.map(|last| DevicePlace::of(query.order, last).to_string());
    Ok(DevicePage { devices: rows.iter().map(|row| device(row, now)).collect(), next })
}

/// How many devices there are, by whether they can be heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, ToSchema)]
pub struct DeviceCounts {
    /// All.
    pub all: i64,
    /// Heard within the last three heartbeats.
    pub live: i64,
    /// Not heard for longer.
    pub silent: i64,
    /// Never heard.
    pub never_connected: i64,
    /// Not allowed to connect.
    pub revoked: i64,
    /// Isolated, of all.
    pub isolated: i64,
}

/// Counts the devices within a scope.
pub async fn device_counts(pool: &Pool, scope: &Scope, now: Timestamp) -> Result<DeviceCounts, StoreError> {
    let reach = scope.reach(pool).await?;
    let mut sql = Sql::new(
        "SELECT CAST(COUNT(*) AS BIGINT), \
         CAST(COUNT(CASE WHEN revoked_ms IS NULL AND last_seen_ms >= ",
    );
    let silent = now.0 - SILENT_AFTER_MS;
    sql.push_bind(silent).push(
        " THEN 1 END) AS BIGINT), CAST(COUNT(CASE WHEN revoked_ms IS NULL AND last_seen_ms IS NULL THEN 1 END) \
         AS BIGINT), CAST(COUNT(revoked_ms) AS BIGINT), CAST(COUNT(isolated_until_ms) AS BIGINT) \
         FROM view_device_state WHERE ",
    );
    scope.filter(&mut sql, "view_device_state", reach);
    let row = sql.build().fetch_one(pool.within(scope)).await?;
    let (all, live, never_connected, revoked): (i64, i64, i64, i64) =
        (row.get(0), row.get(1), row.get(2), row.get(3));
    Ok(DeviceCounts {
        all,
        live,
        silent: all - live - never_connected - revoked,
        never_connected,
        revoked,
        isolated: row.get(4),
    })
}

/// The devices that were last heard between two times: those that fell silent meanwhile.
pub async fn heard_between(
    pool: &Pool,
    scope: &Scope,
    from_ms: i64,
    until_ms: i64,
) -> Result<Vec<(OrganisationId, String)>, StoreError> {
    let rows: Vec<(String, String)> = sqlx::query_as(concat!(
        "SELECT s.organisation, s.id FROM view_device_state s WHERE ",
        within!("s"),
        " AND s.revoked_ms IS NULL AND s.heard_ms >= $2 AND s.heard_ms < $3 LIMIT 10000"
    ))
    .bind(scope.id())
    .bind(from_ms)
    .bind(until_ms)
    .fetch_all(pool.within(scope))
    .await?;
    Ok(rows.into_iter().map(|(organisation, id)| (OrganisationId::stored(organisation), id)).collect())
}

/// One device.
pub async fn device_by_id(
    pool: &Pool,
    scope: &Scope,
    id: &str,
    now: Timestamp,
) -> Result<Option<DeviceSummary>, StoreError> {
    let mut sql = Sql::new(COLUMNS);
    scope.filter(&mut sql, "d", Reach::Many);
    sql.push(" AND d.id = ").push_bind(id);
    Ok(sql.build().fetch_optional(pool.within(scope)).await?.map(|row| device(&row, now)))
}

/// The policy that the hub lays down for a device, as JSON; `None` if there is no such device.
pub async fn device_policy(pool: &Pool, scope: &Scope, id: &str) -> Result<Option<String>, StoreError> {
    Ok(sqlx::query_scalar(concat!(
        "SELECT d.policy_json FROM view_device d WHERE ",
        within!("d"),
        " AND d.id = $2"
    ))
    .bind(scope.id())
    .bind(id)
    .fetch_optional(pool.within(scope))
    .await?)
}
