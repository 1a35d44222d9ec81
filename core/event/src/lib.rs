//! The event: what happened on a device, in OCSF 1.8 terms, readable under Sigma's field names.
//!
//! Everything here is pure: no IO, no clock, no randomness. Times and random bytes come in as arguments.
//!
//! - [`Event`] is one thing a sensor saw; its [`Body`] is an OCSF class (process, file, network activity).
//! - [`LogRecord`] is one record read from somebody else's log, with its fields as they were written.
//! - Both implement [`Fields`], so one rule language reads every source.
//! - [`Finding`] is what a detector concluded (OCSF Detection Finding).
//! - [`ocsf`] turns events and findings into OCSF JSON and back.

pub mod action;
pub mod activity;
pub mod audit;
pub mod cell;
pub mod fields;
pub mod fill;
pub mod finding;
pub mod hex;
pub mod identity;
pub mod ids;
pub mod layouts;
pub mod log;
pub mod log_record;
pub mod ocsf;
pub mod sensor;
pub mod time;

pub use action::{ActionState, ActionUpdate};
pub use activity::{
    Body, CallActivity, DnsActivity, Event, FileActivity, FileOp, Launch, NetworkActivity, NetworkOp,
    Process, ProcessActivity, ProcessOp, SensorLoss, Stopped, User, process_creation_fields,
};
pub use audit::AuditView;
pub use cell::Cell;
pub use fields::{ByName, Fields, Layout, LogSource, Value};
pub use fill::Fill;
pub use finding::{ActionTaken, Disposition, Finding, MatchedField, RuleRef, Severity, Technique};
pub use hex::{hex, unhex};
pub use identity::{Digests, Identity, Known, Owner};
pub use ids::{BootId, DeviceId, EventId, ProcessKey};
pub use layouts::{LayoutId, Layouts};
pub use log::{LogActivity, Login, ServiceView};
pub use log_record::LogRecord;
pub use sensor::{SensorKind, SensorState, SensorStatus};
pub use time::Timestamp;
