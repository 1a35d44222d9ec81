//! OCSF 1.8 JSON: events and findings as other tools read them, and back.
//!
//! Classes: Process Activity 1007, File System Activity 1001, Kernel Activity 1003 (a system call), Network Activity
//! 4001, DNS Activity 4003, Authentication 3002 (who signed in), Base Event 0 (a line of a log), Application Error 6008 (a sensor lost events), Detection Finding 2004
//! (<https://schema.ocsf.io/1.8.0>). What OCSF has no attribute for stands under `unmapped`, as the schema asks.
//! The device that an event happened on is known to the hub, not to the event: [`set_device`] puts it in.

// The types of objects that are written once are named as their fields.
#[allow(non_camel_case_types)]
mod event;
#[allow(non_camel_case_types)]
mod finding;
mod launch;
#[allow(non_camel_case_types)]
mod log;
mod parts;

use serde_json::{Value, json};

pub use event::{EventObject, event_from_json, event_to_json};
pub use finding::{FindingObject, finding_from_json, finding_to_json};

use crate::ids::DeviceId;

/// The OCSF version that is written.
pub const VERSION: &str = "1.8.0";

/// The JSON is not one of our OCSF objects.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum OcsfError {
    /// An attribute is absent or has the wrong type.
    #[error("OCSF attribute `{0}` is missing or has the wrong type")]
    Attribute(&'static str),
    /// A class that this build does not read.
    #[error("OCSF class {0} is not one that Wardline reads")]
    Class(u64),
    /// A class, and an activity in it that this build does not know.
    #[error("OCSF class {class} has no activity {activity} that Wardline reads")]
    Activity {
        /// The class.
        class: u64,
        /// The activity.
        activity: u64,
    },
}

/// Names the device in an event's or a finding's JSON.
pub fn set_device(json: &mut Value, id: DeviceId, hostname: &str) {
    if !json["device"].is_object() {
        json["device"] = json!({"type_id": 0});
    }
    json["device"]["uid"] = json!(id);
    json["device"]["hostname"] = json!(hostname);
}
