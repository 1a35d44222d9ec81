//! What every hub capability stands on: store, sign-in, audit log, live stream, page layout.
//!
//! A capability gets a [`Kernel`] as its axum state and exports `MIGRATIONS`, `api()` and `console()`. It takes a
//! [`Session`] in each handler, asks the store with the session's [`Scope`], writes an [`audit`] entry in the
//! transaction of what it does, and tells the [`Bus`] after the commit. What it needs of another capability it
//! reads through [`views`].

pub mod api;
pub mod audit;
pub mod auth;
pub mod backup;
pub mod bus;
pub mod clock;
pub mod csv;
pub mod db;
pub mod error;
pub mod events;
pub mod kernel;
pub mod keys;
pub mod live;
pub mod notices;
pub mod page;
pub mod reason;
pub mod scope;
mod sql;
pub mod store;
pub mod tree;
pub mod views;
pub mod web;

pub use auth::Session;
pub use bus::{Bus, Notice, Topic};
pub use clock::{Clock, ManualClock, SystemClock, random_bytes, random_id};
pub use db::WriteTx;
pub use error::{ApiError, Problem};
pub use events::{EventQuery, EventStore, NewEvent, StoredEvent};
pub use kernel::{FIRST_PERSON, Kernel, KernelConfig, OpenError};
pub use keys::{KeyError, Keys, Rotated, rotate_command_key};
pub use reason::{LONGEST_REASON, ReasonTooLong, fit_reason};
pub use scope::{OrganisationId, Reach, Scope};
pub use store::{Migration, Store, StoreError};
