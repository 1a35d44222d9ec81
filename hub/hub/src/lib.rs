//! The hub: puts the capabilities together and serves agents, the API and the console.
//!
//! [`start`] opens the data folder, binds both ports and returns a [`RunningHub`]. A new capability is one line
//! in [`rooms`].

mod agents;
mod api;
mod beside;
mod config;
mod jobs;
mod rooms;
mod running;
mod stats;

pub use beside::{
    BesideError, import_organisations, list_organisations, make_enrolment_token, make_link, verify_audit,
};
pub use config::HubConfig;
pub use rooms::{console_routes, migrations, openapi};
pub use running::{RunningHub, StartError, start};
pub use stats::AgentStats;
pub use wardline_devices::TokenSpec;
pub use wardline_organisations as organisations;
