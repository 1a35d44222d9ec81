//! Who may do what to which device, decided the same way at the agent and at the hub. Pure.
//!
//! - [`DevicePolicy`] is what a hub lays down for one device; the agent keeps it and obeys it when the hub is gone.
//! - [`decide`] answers a rule's wish to respond.
//! - [`Authority`] says what a role may do, by Cedar policies that people can read (`policies/`).
//! - [`judge`] says whose agreement an order needs; [`measure`] counts how far it reaches.
//! - [`permit`] answers a person's order. The hub asks before it signs; the agent asks again before it acts.

mod authority;
mod device;
mod flow;
mod order;
mod reach;
mod response;
mod rung;
mod warrant;

pub use authority::{Authority, AuthorityError, Deed, Refused, Role};
pub use device::{DeviceClass, DevicePolicy, MAX_ISOLATION_S, Mode, PolicyError};
pub use flow::{Direction, KeptFlow, MAX_KEPT_FLOWS, Network, NetworkError, Ports, PortsError, Transport};
pub use order::{Order, Prohibition, permit};
pub use reach::{Cell, LastOfType, Reach, Target, WINDOW_MS, Whereabouts, measure};
pub use response::{Decision, Response, decide};
pub use rung::{Rung, RungError};
pub use warrant::{Agreement, Basis, Need, ORDERS, Party, Verdict, Warrant, judge, needs_in_words};
