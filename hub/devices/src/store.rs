//! Devices in the store.

mod containments;
mod places;
mod spools;
mod tokens;
pub(crate) mod whereabouts;

use sqlx::Row;
use wardline_event::{Timestamp, hex};
use wardline_kernel::db::{DbConnection, DbRow, Pool};
use wardline_kernel::{Kernel, OrganisationId, Scope, StoreError, WriteTx, views, within};
use wardline_policy::DevicePolicy;
use wardline_wire::proto::{DeviceFacts, Heartbeat, SignedCommand};

use crate::domain::{Accounting, DeviceDetail, SensorRow, count, fact};
use crate::policy::SignedPolicy;

pub(crate) use places::put_place;
pub(crate) use spools::{advance, high, set_aside};
pub use tokens::tokens;
pub(crate) use tokens::{insert_token, revoke_token, usable_token, use_token};

pub(crate) struct NewDevice {
    pub id: String,
    pub token: String,
    pub role: String,
    pub certificate_until_ms: i64,
}

pub(crate) async fn insert_device(
    tx: &mut WriteTx,
    organisation: &OrganisationId,
    device: &NewDevice,
    facts: &DeviceFacts,
    policy: &DevicePolicy,
    signed: &SignedPolicy,
    now: Timestamp,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO device (id, organisation, hostname, os, kernel, agent_version, role, simulated, \
         enrolled_ms, enrolled_with, certificate_until_ms, class, mode, policy_json, policy_command, \
         policy_signature, policy_digest, sort_name) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, '', '', '', '', '', '', $12)",
    )
    .bind(&device.id)
    .bind(organisation.as_str())
    .bind(fact(&facts.hostname))
    .bind(fact(&facts.os))
    .bind(fact(&facts.kernel))
    .bind(fact(&facts.agent_version))
    .bind(&device.role)
    .bind(i64::from(facts.simulated))
    .bind(now.0)
    .bind(&device.token)
    .bind(device.certificate_until_ms)
    .bind(fact(&facts.hostname).to_lowercase())
    .execute(&mut **tx)
    .await?;
    put_policy(tx, organisation, &device.id, policy, signed).await
}

pub(crate) async fn certificate_renewed(
    tx: &mut WriteTx,
    organisation: &OrganisationId,
    device: &str,
    until_ms: i64,
) -> Result<(), StoreError> {
    sqlx::query("UPDATE device SET certificate_until_ms = $3 WHERE organisation = $1 AND id = $2")
        .bind(organisation.as_str())
        .bind(device)
        .bind(until_ms)
        .execute(&mut **tx)
        .await?;
    Ok(())
}

pub(crate) async fn put_policy(
    tx: &mut WriteTx,
    organisation: &OrganisationId,
    device: &str,
    policy: &DevicePolicy,
    signed: &SignedPolicy,
) -> Result<(), StoreError> {
    let json = String::from_utf8(policy.to_json()).map_err(|_| StoreError::Corrupt { what: "policy" })?;
    sqlx::query(
        "UPDATE device SET class = $3, mode = $4, policy_json = $5, policy_command = $6, \
         policy_signature = $7, policy_digest = $8 WHERE organisation = $1 AND id = $2",
    )
    .bind(organisation.as_str())
    .bind(device)
    .bind(policy.class.as_str())
    .bind(policy.mode.as_str())
    .bind(json)
    .bind(hex(&signed.command.command))
    .bind(hex(&signed.command.signature))
    .bind(hex(&signed.digest))
    .execute(&mut **tx)
    .await?;
    Ok(())
}

pub(crate) async fn policy(
    connection: &mut DbConnection,
    scope: &Scope,
    device: &str,
) -> Result<Option<(OrganisationId, DevicePolicy)>, StoreError> {
    let row: Option<(String, String)> = sqlx::query_as(concat!(
        "SELECT organisation, policy_json FROM device WHERE ",
        within!("device"),
        " AND id = $2"
    ))
    .bind(scope.id())
    .bind(device)
    .fetch_optional(connection)
    .await?;
    row.map(|(organisation, json)| {
        let policy = DevicePolicy::from_json(json.as_bytes());
        let policy = policy.map_err(|_| StoreError::Corrupt { what: "policy" })?;
        Ok((OrganisationId::stored(organisation), policy))
    })
    .transpose()
}

fn unhex(text: &str) -> Result<Vec<u8>, StoreError> {
    let digits = text.as_bytes().chunks(2);
    digits
        .map(|pair| std::str::from_utf8(pair).ok().and_then(|pair| u8::from_str_radix(pair, 16).ok()))
        .collect::<Option<_>>()
        .ok_or(StoreError::Corrupt { what: "hexadecimal text" })
}

pub(crate) async fn policy_command(
    pool: &Pool,
    scope: &Scope,
    device: &str,
) -> Result<Option<SignedPolicy>, StoreError> {
    let row = sqlx::query(concat!(
        "SELECT policy_command, policy_signature, policy_digest FROM device WHERE ",
        within!("device"),
        " AND id = $2"
    ))
    .bind(scope.id())
    .bind(device)
    .fetch_optional(pool.within(scope))
    .await?;
    let Some(row) = row else { return Ok(None) };
    Ok(Some(SignedPolicy {
        command: SignedCommand { command: unhex(row.get(0))?, signature: unhex(row.get(1))? },
        digest: unhex(row.get(2))?,
    }))
}

/// Whether a device may connect with a certificate that names this organisation: the one in which it is, or was. Gives
/// where it is now, and whether it is simulated. Needs no scope: the certificate is how a device gains one.
pub(crate) async fn admitted(
    pool: &Pool,
    named: &OrganisationId,
    device: &str,
) -> Result<Option<(OrganisationId, bool)>, StoreError> {
    let row: Option<(String, i64)> = sqlx::query_as(
        "SELECT d.organisation, d.simulated FROM device d WHERE d.id = $2 AND d.revoked_ms IS NULL \
         AND EXISTS (SELECT 1 FROM view_device_place p WHERE p.device = d.id AND p.organisation = $1)",
    )
    .bind(named.as_str())
    .bind(device)
    .fetch_optional(pool.everywhere())
    .await?;
    Ok(row.map(|(organisation, flag)| (OrganisationId::stored(organisation), flag != 0)))
}

/// Whether a device still is where its connection found it, in the transaction that stores what it sent.
pub(crate) async fn is_in(
    tx: &mut WriteTx,
    organisation: &OrganisationId,
    device: &str,
) -> Result<bool, StoreError> {
    let found: Option<i64> = sqlx::query_scalar("SELECT 1 FROM device WHERE organisation = $1 AND id = $2")
        .bind(organisation.as_str())
        .bind(device)
        .fetch_optional(&mut **tx)
        .await?;
    Ok(found.is_some())
}

/// Revokes a device; gives its organisation if there was one to revoke.
pub(crate) async fn revoke(
    tx: &mut WriteTx,
    scope: &Scope,
    device: &str,
    now: Timestamp,
) -> Result<Option<OrganisationId>, StoreError> {
    let organisation: Option<String> = sqlx::query_scalar(concat!(
        "UPDATE device SET revoked_ms = $3 WHERE ",
        within!("device"),
        " AND id = $2 AND revoked_ms IS NULL RETURNING organisation"
    ))
    .bind(scope.id())
    .bind(device)
    .bind(now.0)
    .fetch_optional(&mut **tx)
    .await?;
    Ok(organisation.map(OrganisationId::stored))
}

/// What the device says it is. Whether it is simulated was settled at enrolment.
pub(crate) async fn hello(
    tx: &mut WriteTx,
    organisation: &OrganisationId,
    device: &str,
    facts: &DeviceFacts,
    boot: &str,
    now: Timestamp,
) -> Result<(), StoreError> {
    sqlx::query(
        "UPDATE device SET hostname = $3, os = $4, kernel = $5, agent_version = $6, boot_id = $7, \
         last_seen_ms = $8, heard_ms = $8, sort_name = $9 WHERE organisation = $1 AND id = $2",
    )
    .bind(organisation.as_str())
    .bind(device)
    .bind(fact(&facts.hostname))
    .bind(fact(&facts.os))
    .bind(fact(&facts.kernel))
    .bind(fact(&facts.agent_version))
    .bind(boot)
    .bind(now.0)
    .bind(fact(&facts.hostname).to_lowercase())
    .execute(&mut **tx)
    .await?;
    Ok(())
}

pub(crate) async fn heartbeat(
    tx: &mut WriteTx,
    organisation: &OrganisationId,
    device: &str,
    beat: &Heartbeat,
    now: Timestamp,
) -> Result<(), StoreError> {
    let counters = beat.counters.as_ref();
    let number = |of: fn(&wardline_wire::proto::Counters) -> u64| counters.map(|c| count(of(c)));
    let isolation = beat.isolation.as_ref();
    let mode = Some(beat.mode.as_str()).filter(|m| matches!(*m, "monitor" | "protect"));
    sqlx::query(
        "UPDATE device SET last_seen_ms = $3, heard_ms = $3, heartbeat_ms = $3, device_time_ms = $4, mode_in_force = $5, \
         digest_in_force = $6, isolation_action = $7, isolation_since_ms = $8, isolation_expires_ms = $9, \
         rules_loaded = $10, rss_bytes = $11, produced = $12, kernel_lost = $13, decode_lost = $14, \
         kept_local = $15, spooled = $16, spool_dropped = $17, waiting = $18, findings = $19, \
         correlation_lost = $20 \
         WHERE organisation = $1 AND id = $2",
    )
    .bind(organisation.as_str())
    .bind(device)
    .bind(now.0)
    .bind(beat.time_ms)
    .bind(mode)
    .bind(hex(&beat.policy_digest))
    .bind(isolation.map(|i| fact(&i.action_id)))
    .bind(isolation.map(|i| i.since_ms))
    .bind(isolation.map(|i| i.expires_ms))
    .bind(count(beat.rules_loaded))
    .bind(count(beat.rss_bytes))
    .bind(number(|c| c.produced))
    .bind(number(|c| c.kernel_lost))
    .bind(number(|c| c.decode_lost))
    .bind(number(|c| c.kept_local))
    .bind(number(|c| c.spooled))
    .bind(number(|c| c.spool_dropped))
    .bind(number(|c| c.waiting))
    .bind(number(|c| c.findings))
    .bind(number(|c| c.correlation_lost))
    .execute(&mut **tx)
    .await?;
    sqlx::query("DELETE FROM device_sensor WHERE organisation = $1 AND device = $2")
        .bind(organisation.as_str())
        .bind(device)
        .execute(&mut **tx)
        .await?;
    // More sensors than this nobody has; a hostile device must not fill the table.
    for sensor in beat.sensors.iter().take(32) {
        let state = match sensor.state.as_str() {
            state @ ("live" | "degraded" | "off") => state,
            _ => "unknown",
        };
        sqlx::query(
            "INSERT INTO device_sensor (organisation, device, kind, state, reason, produced, lost) \
             VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (device, kind) DO NOTHING",
        )
        .bind(organisation.as_str())
        .bind(device)
        .bind(fact(&sensor.kind))
        .bind(state)
        .bind(sensor.reason.chars().filter(|c| !c.is_control()).take(1000).collect::<String>())
        .bind(count(sensor.produced))
        .bind(count(sensor.lost))
        .execute(&mut **tx)
        .await?;
    }
    containments::replace(tx, organisation, device, &beat.containments).await
}

/// One device with everything the hub knows of it.
pub async fn detail(kernel: &Kernel, scope: &Scope, id: &str) -> Result<Option<DeviceDetail>, StoreError> {
    let (pool, now) = (kernel.store().read(), kernel.now());
    let Some(summary) = views::device_by_id(pool, scope, id, now).await? else { return Ok(None) };
    let organisation = summary.organisation.as_str();
    let contained = containments::of(pool, &OrganisationId::stored(organisation), id).await?;
    let row = sqlx::query("SELECT * FROM device WHERE organisation = $1 AND id = $2")
        .bind(organisation)
        .bind(id)
        .fetch_one(pool.within(scope))
        .await?;
    let totals = sqlx::query(
        "SELECT CAST(COALESCE(SUM(stored), 0) AS BIGINT), CAST(COALESCE(SUM(missing), 0) AS BIGINT), \
         CAST(COALESCE(SUM(unreadable), 0) AS BIGINT) FROM spool WHERE organisation = $1 AND device = $2",
    )
    .bind(organisation)
    .bind(id)
    .fetch_one(pool.within(scope))
    .await?;
    let sensors = sqlx::query(
        "SELECT kind, state, reason, produced, lost FROM device_sensor \
         WHERE organisation = $1 AND device = $2 ORDER BY kind",
    )
    .bind(organisation)
    .bind(id)
    .fetch_all(pool.within(scope))
    .await?;
    let sensor = |row: &DbRow| SensorRow {
        kind: row.get("kind"),
        state: row.get("state"),
        reason: row.get("reason"),
        produced: row.get("produced"),
        lost: row.get("lost"),
    };
    let heartbeat_ms: Option<i64> = row.get("heartbeat_ms");
    let device_time_ms: Option<i64> = row.get("device_time_ms");
    let policy: String = row.get("policy_json");
    let accounting = row.get::<Option<i64>, _>("produced").map(|produced| Accounting {
        produced,
        kernel_lost: row.get("kernel_lost"),
        decode_lost: row.get("decode_lost"),
        kept_local: row.get("kept_local"),
        spooled: row.get("spooled"),
        spool_dropped: row.get("spool_dropped"),
        waiting: row.get("waiting"),
        findings: row.get("findings"),
        // Written with the heartbeat, and not by a hub of before.
        correlation_lost: row.get::<Option<i64>, _>("correlation_lost").unwrap_or(0),
    });
    Ok(Some(DeviceDetail {
        summary,
        kernel: row.get("kernel"),
        agent_version: row.get("agent_version"),
        enrolled_ms: row.get("enrolled_ms"),
        certificate_until_ms: row.get("certificate_until_ms"),
        policy: serde_json::from_str(&policy).map_err(|_| StoreError::Corrupt { what: "policy" })?,
        policy_confirmed: row
            .get::<Option<String>, _>("digest_in_force")
            .map(|digest| digest == row.get::<String, _>("policy_digest")),
        heartbeat_ms,
        clock_ahead_ms: heartbeat_ms.zip(device_time_ms).map(|(hub, device)| device.saturating_sub(hub)),
        isolation_action: row.get("isolation_action"),
        isolated_since_ms: row.get("isolation_since_ms"),
        rules_loaded: row.get("rules_loaded"),
        rss_bytes: row.get("rss_bytes"),
        containments: contained,
        sensors: sensors.iter().map(sensor).collect(),
        accounting,
        stored: totals.get(0),
        // Counted after the heartbeat was read: what that calls acknowledged must be among these.
        events: kernel.events().stored_of(scope, id).await?,
        missing: totals.get(1),
        unreadable: totals.get(2),
    }))
}
