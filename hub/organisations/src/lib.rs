//! Organisations: the tree that shares a hub, with ODS codes.
//!
//! - [`plan`] reads what people send (JSON or CSV) and says, line by line, what is wrong with it; [`import`] carries a
//!   plan out.
//! - [`manage`] adds, changes and moves one organisation. The tree itself is the kernel's: it decides what a scope covers.

pub mod api;
pub mod console;
mod domain;
mod import;
pub mod manage;
mod store;

pub use console::console;
pub use domain::{Fault, Format, Plan, PlanError, Row, plan};
pub use import::{ImportError, Imported, import};
pub use store::{Listed, Order, Page, Place, Query, list};

/// This room's part of the API.
pub fn api() -> utoipa_axum::router::OpenApiRouter<wardline_kernel::Kernel> {
    api::api()
}
