//! Actions: commands to devices, signed, expiring, tracked until confirmed.
//!
//! - [`preview`] says what an order would do; [`order`] stores it and signs it, unless the policies name others who must
//!   [`agree`]; [`cancel`] takes back what no device has begun; [`undo`] ends what an action did.
//! - [`consent`] and [`glass`] are the two reasons for which fewer people must agree.
//! - [`pending`] is what a connected device is sent, again and again until it answers.
//! - [`apply`] takes a device's answer; [`expire`] gives up on those that never came.

mod agree;
pub mod api;
pub mod consent;
pub mod console;
mod domain;
pub mod glass;
mod order;
mod person;
mod store;
mod survey;

use wardline_kernel::Migration;

pub use agree::agree;
pub use console::console;
pub use domain::{ActionDetail, Agreed, Step, Wish, expiry_ms};
pub use order::{OrderError, Ordered, apply, cancel, expire, order, undo};
pub use person::Person;
pub use store::{PendingCommand, counts, detail, pending};
pub use survey::{Effect, MOST_AT_ONCE, Preview, preview};

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
    Migration {
        capability: "actions",
        version: 3,
        name: "agreement",
        sql: include_str!("../migrations/0003_agreement.sql"),
    },
];

/// This room's part of the API.
pub fn api() -> utoipa_axum::router::OpenApiRouter<wardline_kernel::Kernel> {
    api::api()
}
