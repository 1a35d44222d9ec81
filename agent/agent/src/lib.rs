//! The agent: the detection loop, the spool, enrolment, and the stream to the hub.
//!
//! Two halves that share nothing but the [`outbox`] and a queue of commands:
//!
//! - the [`guard`] sees, decides and acts. It opens no socket and goes on alone when the hub is gone;
//! - the [`courier`] talks to the hub. It touches neither processes nor the packet filter.

pub mod clock;
pub mod courier;
pub mod enrol;
pub mod guard;
pub mod known_hubs;
pub mod outbox;
pub mod running;
pub mod spool;
pub mod state;
mod tls;

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
