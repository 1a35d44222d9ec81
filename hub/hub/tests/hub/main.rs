//! The hub against real TLS on loopback and real databases in temporary folders.
#![allow(clippy::unwrap_used)] // Helpers of tests, which clippy takes for code.

mod agents;
mod agreement;
mod commands;
mod doors;
mod enrolment;
mod house;
mod ingest;
mod keys;
mod start;
mod tenancy;
mod who;
