//! The hub against real TLS on loopback and real databases: files in temporary folders, and, by the name of
//! `hub_postgres`, a server.
#![allow(clippy::unwrap_used)] // Helpers of tests, which clippy takes for code.

#[path = "../../../../tests/postgres.rs"]
mod postgres;

mod agents;
mod agreement;
mod backup;
mod commands;
mod doors;
mod enrolment;
mod house;
mod ingest;
mod keys;
mod start;
mod tenancy;
mod who;
