//! The hub against real TLS on loopback and real databases in temporary folders.

mod agents;
mod commands;
mod doors;
mod enrolment;
mod house;
mod ingest;
mod start;
