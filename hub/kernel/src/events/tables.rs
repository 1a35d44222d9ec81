//! Events in the same database as the state.

use async_trait::async_trait;
use sqlx::Row;

use super::{EventCounts, EventQuery, EventStore, NewEvent, StoredEvent};
use crate::db::{DbRow, Pool, Sql, WriteTx};
use crate::scope::{OrganisationId, Scope};
use crate::store::StoreError;
use crate::within;

/// SQLite takes 32,766 bound values in one statement; 10 columns, rounded down.
const ROWS_PER_INSERT: usize = 500;

/// The event store that comes with the hub.
#[derive(Debug)]
pub struct TableEvents {
    read: Pool,
}

impl TableEvents {
    /// Events in this database.
    pub fn new(read: Pool) -> Self {
        Self { read }
    }

    /// The organisations within the scope in which a device is or was: nearly always one. What a device saw stays with
    /// the organisation where it saw it.
    async fn organisations_of(&self, scope: &Scope, device: &str) -> Result<Vec<String>, StoreError> {
        Ok(sqlx::query_scalar(concat!(
            "SELECT DISTINCT p.organisation FROM view_device_place p WHERE p.device = $2 AND ",
            within!("p")
        ))
        .bind(scope.id())
        .bind(device)
        .fetch_all(self.read.within(scope))
        .await?)
    }
}

/// The events of one device within these organisations. One organisation: the index is in the order of time.
fn of_device(sql: &mut Sql, organisations: &[String], device: &str) {
    match organisations {
        [one] => {
            sql.push("organisation = ").push_bind(one.as_str());
        }
        several => {
            sql.push("organisation IN (").push_list(several.iter().map(String::as_str)).push(")");
        }
    }
    sql.push(" AND device = ").push_bind(device);
}

fn stored(row: &DbRow) -> Result<StoredEvent, StoreError> {
    let body: String = row.get("body");
    Ok(StoredEvent {
        device: row.get("device"),
        spool: row.get("spool"),
        seq: row.get("seq"),
        time_ms: row.get("time_ms"),
        class_uid: row.get("class_uid"),
        process_key: row.get("process_key"),
        parent_key: row.get("parent_key"),
        simulated: row.get::<i64, _>("simulated") != 0,
        body: serde_json::from_str(&body).map_err(|_| StoreError::Corrupt { what: "event" })?,
    })
}

#[async_trait]
impl EventStore for TableEvents {
    async fn append(
        &self,
        tx: &mut WriteTx,
        organisation: &OrganisationId,
        device: &str,
        spool: &str,
        events: &[NewEvent],
    ) -> Result<(), StoreError> {
        for chunk in events.chunks(ROWS_PER_INSERT) {
            let mut sql = Sql::new(
                "INSERT INTO event (organisation, device, spool, seq, time_ms, class_uid, process_key, \
                 parent_key, simulated, body) ",
            );
            sql.push_values(chunk, |row, event| {
                row.push_bind(organisation.as_str())
                    .push_bind(device)
                    .push_bind(spool)
                    .push_bind(event.seq as i64)
                    .push_bind(event.time_ms)
                    .push_bind(i64::from(event.class_uid))
                    .push_bind(event.process_key.to_string())
                    .push_bind(event.parent_key.map(|key| key.to_string()))
                    .push_bind(i64::from(event.simulated))
                    .push_bind(event.body.as_str());
            });
            sql.push(" ON CONFLICT (device, spool, seq) DO NOTHING");
            // Only the full size comes often enough to be worth a prepared statement.
            let often = chunk.len() == ROWS_PER_INSERT;
            sql.build().persistent(often).execute(&mut **tx).await?;
        }
        Ok(())
    }

    async fn query(&self, scope: &Scope, query: &EventQuery) -> Result<Vec<StoredEvent>, StoreError> {
        let mut sql = Sql::new(
            "SELECT device, spool, seq, time_ms, class_uid, process_key, parent_key, simulated, body \
             FROM event WHERE ",
        );
        let organisations = self.organisations_of(scope, &query.device).await?;
        of_device(&mut sql, &organisations, &query.device);
        if let Some(from) = query.from_ms {
            sql.push(" AND time_ms >= ").push_bind(from);
        }
        if let Some(until) = query.until_ms {
            sql.push(" AND time_ms < ").push_bind(until);
        }
        if !query.process_keys.is_empty() {
            let keys = query.process_keys.iter().map(String::as_str);
            sql.push(" AND process_key IN (").push_list(keys).push(")");
        }
        if let Some(class) = query.class_uid {
            sql.push(" AND class_uid = ").push_bind(i64::from(class));
        }
        sql.push(" ORDER BY time_ms, spool, seq LIMIT ").push_bind(i64::from(query.limit.clamp(1, 10_000)));
        sql.build().fetch_all(self.read.within(scope)).await?.iter().map(stored).collect()
    }

    async fn children(
        &self,
        scope: &Scope,
        device: &str,
        parents: &[String],
        limit: u32,
    ) -> Result<Vec<StoredEvent>, StoreError> {
        if parents.is_empty() {
            return Ok(Vec::new());
        }
        let mut sql = Sql::new(
            "SELECT device, spool, seq, time_ms, class_uid, process_key, parent_key, simulated, body \
             FROM event WHERE ",
        );
        let organisations = self.organisations_of(scope, device).await?;
        of_device(&mut sql, &organisations, device);
        sql.push(" AND class_uid = 1007 AND parent_key IN (").push_list(parents.iter().map(String::as_str));
        sql.push(") ORDER BY time_ms, spool, seq LIMIT ").push_bind(i64::from(limit.clamp(1, 10_000)));
        sql.build().fetch_all(self.read.within(scope)).await?.iter().map(stored).collect()
    }

    async fn counts(&self, scope: &Scope, device: Option<&str>) -> Result<EventCounts, StoreError> {
        let mut sql = Sql::new(
            "SELECT CAST(COUNT(*) AS BIGINT), CAST(COALESCE(SUM(simulated), 0) AS BIGINT) FROM event WHERE ",
        );
        let organisations = match device {
            Some(device) => self.organisations_of(scope, device).await?,
            None => Vec::new(),
        };
        match device {
            Some(device) => of_device(&mut sql, &organisations, device),
            None => {
                let reach = scope.reach(&self.read).await?;
                scope.filter(&mut sql, "event", reach);
            }
        }
        let row = sql.build().fetch_one(self.read.within(scope)).await?;
        Ok(EventCounts { stored: row.get(0), simulated: row.get(1) })
    }

    async fn stored_of(&self, scope: &Scope, device: &str) -> Result<i64, StoreError> {
        // Answered from the index event_by_time alone.
        let organisations = self.organisations_of(scope, device).await?;
        let mut sql = Sql::new("SELECT CAST(COUNT(*) AS BIGINT) FROM event WHERE ");
        of_device(&mut sql, &organisations, device);
        Ok(sql.build_query_scalar().fetch_one(self.read.within(scope)).await?)
    }
}
