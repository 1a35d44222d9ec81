//! Findings: what was detected, why, and what was done about it.

pub mod api;
pub mod console;
mod domain;
mod store;
mod story;

use wardline_kernel::Migration;

pub use console::console;
pub use domain::{FindingState, NodeRole, ProcessNode, grow_tree};
pub use store::{FindingRecord, counts, record, store_finding};
pub use story::{ChangeError, set_state, timeline, tree};

/// This room's tables.
pub const MIGRATIONS: &[Migration] = &[
    Migration {
        capability: "incidents",
        version: 1,
        name: "findings",
        sql: include_str!("../migrations/0001_findings.sql"),
    },
    Migration {
        capability: "incidents",
        version: 2,
        name: "by id and time",
        sql: include_str!("../migrations/0002_by_id_and_time.sql"),
    },
    Migration {
        capability: "incidents",
        version: 3,
        name: "an id is taken once",
        sql: include_str!("../migrations/0003_an_id_is_taken_once.sql"),
    },
];

/// This room's part of the API.
pub fn api() -> utoipa_axum::router::OpenApiRouter<wardline_kernel::Kernel> {
    api::api()
}
