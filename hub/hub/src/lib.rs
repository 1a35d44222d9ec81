//! The hub: puts the capabilities together and serves agents, the API and the console.
//!
//! [`start`] opens the data folder, binds both ports and returns a [`RunningHub`]. A new capability is one line
//! in [`rooms`].

mod agents;
mod api;
mod config;
mod jobs;
mod rooms;
mod running;
mod stats;

pub use config::HubConfig;
pub use rooms::{console_routes, migrations, openapi};
pub use running::{RunningHub, StartError, make_link, start};
pub use stats::AgentStats;
pub use wardline_devices::TokenSpec;
