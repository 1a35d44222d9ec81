//! The agent: the detection loop, the spool, enrolment, and the stream to the hub.
//!
//! Two halves that share nothing but a [`link`] with few words:
//!
//! - the [`guard`] sees, decides, acts and keeps the records. It opens no socket to the network, reads nothing that came
//!   from there but signed commands, and goes on alone when the courier or the hub is gone;
//! - the [`courier`] talks to the hub. It needs neither rights nor files, and runs as a process that has none.
//!
//! The [`desk`] is where the guard serves the courier; the [`keeper`] starts the courier again when it ends.

mod bell;
pub mod ceilings;
pub mod clock;
pub mod courier;
pub mod desk;
pub mod enrol;
pub mod guard;
pub mod keeper;
mod keys;
pub mod known_hubs;
pub mod link;
pub mod outbox;
pub mod pulse;
pub mod running;
pub mod service;
pub mod spool;
pub mod state;
mod tls;
pub mod trial;

/// An error and its causes in one line, for people.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut at = error.source();
    while let Some(cause) = at {
        text += ": ";
        text += &cause.to_string();
        at = cause.source();
    }
    text
}
