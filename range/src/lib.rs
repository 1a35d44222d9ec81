//! The exercise range: a simulated estate, scripted attacks, and the very same agents and hub that defend real
//! machines.
//!
//! Simulated are the machines ([`machine`]): their processes, their network, what an attacker does to them
//! ([`script`]). Real are the detectors, the policy, the spool, TLS, the hub, and every figure that is reported.
//! Whatever comes from here carries the mark `simulated`.

pub mod estate;
pub mod exercise;
pub mod machine;
pub mod script;
pub mod summary;
