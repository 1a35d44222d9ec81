//! Actions: commands to devices, signed, expiring, tracked until confirmed.
//!
//! - [`order`] signs and stores; [`cancel`] takes back what no device has begun.
//! - [`pending`] is what a connected device is sent, again and again until it answers.
//! - [`apply`] takes a device's answer; [`expire`] gives up on those that never came.

pub mod api;
pub mod console;
mod domain;
mod order;
mod store;

use wardline_kernel::Migration;

pub use console::console;
pub use domain::{ActionDetail, Step, Wish, expiry_ms};
pub use order::{OrderError, apply, cancel, expire, order};
pub use store::{PendingCommand, counts, detail, pending};

/// This room's tables.
pub const MIGRATIONS: &[Migration] = &[
    Migration {
        capability: "actions",
        version: 1,
        name: "actions",
        sql: include_str!("../migrations/0001_actions.sql"),
    },
    Migration {
        capability: "actions",
        version: 2,
        name: "by id and time",
        sql: include_str!("../migrations/0002_by_id_and_time.sql"),
    },
];

/// This room's part of the API.
pub fn api() -> utoipa_axum::router::OpenApiRouter<wardline_kernel::Kernel> {
    api::api()
}
