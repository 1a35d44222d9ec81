//! The event store: what devices saw. Behind a trait, so that a columnar store can take its place.

mod tables;

use async_trait::async_trait;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;
use wardline_event::{Event, ProcessKey};

use crate::db::WriteTx;
use crate::scope::{OrganisationId, Scope};
use crate::store::StoreError;

pub use tables::TableEvents;

/// One event on its way into the store: its OCSF JSON, and what it is looked up by.
#[derive(Clone, Debug, PartialEq)]
pub struct NewEvent {
    /// Its place in its spool.
    pub seq: u64,
    /// When it happened, by the device's clock.
    pub time_ms: i64,
    /// OCSF class: 1007, 1001, 1003, 3002, 4001, 4003, 6008; 0 for a line of a log.
    pub class_uid: u32,
    /// The process it is about.
    pub process_key: ProcessKey,
    /// That process's parent, if the event says.
    pub parent_key: Option<ProcessKey>,
    /// From the exercise range.
    pub simulated: bool,
    /// The OCSF event as the device sent it.
    pub body: String,
}

impl NewEvent {
    /// Takes the columns out of an event that was read from `body`.
    pub fn of(seq: u64, event: &Event, body: String) -> Self {
        use wardline_event::Body;
        let (class_uid, parent_key) = match &event.body {
            Body::Process(p) => (1007, p.parent.as_ref().map(|parent| parent.key)),
            Body::File(_) => (1001, None),
            Body::Call(_) => (1003, None),
            Body::Network(_) => (4001, None),
            Body::Dns(_) => (4003, None),
            Body::Log(l) if l.login.is_some() => (3002, None),
            Body::Log(_) => (0, None),
            Body::Loss(_) => (6008, None),
        };
        Self {
            seq,
            time_ms: event.time.0,
            class_uid,
            process_key: event.process().key,
            parent_key,
            simulated: event.simulated,
            body,
        }
    }
}

/// One stored event.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct StoredEvent {
    /// The device it happened on.
    pub device: String,
    /// The spool it came in.
    pub spool: String,
    /// Its place in that spool.
    pub seq: i64,
    /// When it happened, milliseconds since 1970 (UTC), by the device's clock.
    pub time_ms: i64,
    /// OCSF class.
    pub class_uid: i64,
    /// The process it is about.
    pub process_key: String,
    /// That process's parent.
    pub parent_key: Option<String>,
    /// From the exercise range.
    pub simulated: bool,
    /// The OCSF event.
    #[schema(value_type = Object)]
    pub body: Value,
}

/// Which events of a device to read, oldest first.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct EventQuery {
    /// The device; always one.
    pub device: String,
    /// Not before this time.
    pub from_ms: Option<i64>,
    /// Before this time.
    pub until_ms: Option<i64>,
    /// Only about these processes; empty: about all.
    pub process_keys: Vec<String>,
    /// Only events of this OCSF class.
    pub class_uid: Option<u32>,
    /// At most this many, 1 to 10,000.
    pub limit: u32,
}

/// How many events there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, ToSchema)]
pub struct EventCounts {
    /// Stored.
    pub stored: i64,
    /// Of those, from the exercise range.
    pub simulated: i64,
}

/// Where events live.
#[async_trait]
pub trait EventStore: Send + Sync + 'static {
    /// Stores events of one device and spool. Idempotent by (device, spool, seq): what is already there stays.
    ///
    /// `tx` is the transaction of the batch. A store of its own must have the events on disk before it returns.
    async fn append(
        &self,
        tx: &mut WriteTx,
        organisation: &OrganisationId,
        device: &str,
        spool: &str,
        events: &[NewEvent],
    ) -> Result<(), StoreError>;

    /// Reads events of one device, oldest first.
    async fn query(&self, scope: &Scope, query: &EventQuery) -> Result<Vec<StoredEvent>, StoreError>;

    /// The process events (class 1007) whose process has one of these parents, oldest first.
    async fn children(
        &self,
        scope: &Scope,
        device: &str,
        parents: &[String],
        limit: u32,
    ) -> Result<Vec<StoredEvent>, StoreError>;

    /// How many events there are, of one device or of all.
    async fn counts(&self, scope: &Scope, device: Option<&str>) -> Result<EventCounts, StoreError>;

    /// How many events of one device there are. Cheaper than [`EventStore::counts`]: a page asks it again and again.
    async fn stored_of(&self, scope: &Scope, device: &str) -> Result<i64, StoreError>;
}
