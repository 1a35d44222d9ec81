//! The hub: puts the capabilities together and serves agents, the API and the console.
//!
//! [`start`] opens the data folder, binds both ports and returns a [`RunningHub`]. A new capability is one line
//! in [`rooms`], and its routes are lines of [`ACCESS`].

mod access;
mod agents;
mod api;
mod beside;
mod config;
mod jobs;
mod rooms;
mod running;
mod stats;
mod upkeep;

pub use access::ACCESS;
pub use beside::{
    BesideError, Invited, audit_key, export_audit, import_organisations, list_organisations,
    make_enrolment_token, make_link, rotate_command_key, verify_audit,
};
pub use config::HubConfig;
pub use rooms::{migrations, openapi};
pub use running::{RunningHub, StartError, start};
pub use stats::AgentStats;
pub use upkeep::{Look, UpkeepError, back_up, check_backup, lacking, look, migrate, restore};
pub use wardline_devices::TokenSpec;
pub use wardline_kernel::audit::copy as audit_copy;
pub use wardline_kernel::db::Kind;
pub use wardline_organisations as organisations;
