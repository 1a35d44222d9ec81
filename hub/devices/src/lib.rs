//! Devices: enrolment, certificates, heartbeats, sensors and losses.
//!
//! - [`enrol`] trades a token for a certificate; [`renew`] a certificate for a fresh one.
//! - [`link`] keeps what a connected device says: its facts, heartbeats, and how far its spools are stored.
//! - [`policy`] lays down each device's policy as a signed command.

pub mod api;
pub mod console;
mod domain;
mod enrol;
pub mod link;
pub mod place;
pub mod policy;
mod store;
pub mod whereabouts;

use wardline_kernel::Migration;

pub use console::console;
pub use domain::{Accounting, DeviceDetail, Placement, SensorRow, TokenSpec, TokenSummary};
pub use enrol::{EnrolError, enrol, make_token, renew, revoke_token};
pub use store::{detail, tokens};

/// This room's tables.
pub const MIGRATIONS: &[Migration] = &[
    Migration {
        capability: "devices",
        version: 1,
        name: "devices",
        sql: include_str!("../migrations/0001_devices.sql"),
    },
    Migration {
        capability: "devices",
        version: 2,
        name: "correlation_lost",
        sql: include_str!("../migrations/0002_correlation_lost.sql"),
    },
    Migration {
        capability: "devices",
        version: 3,
        name: "organisations are a tree",
        sql: include_str!("../migrations/0003_organisations.sql"),
    },
    Migration {
        capability: "devices",
        version: 4,
        name: "what is contained",
        sql: include_str!("../migrations/0004_containments.sql"),
    },
    Migration {
        capability: "devices",
        version: 5,
        name: "whereabouts",
        sql: include_str!("../migrations/0005_whereabouts.sql"),
    },
];

/// This room's part of the API.
pub fn api() -> utoipa_axum::router::OpenApiRouter<wardline_kernel::Kernel> {
    api::api()
}
