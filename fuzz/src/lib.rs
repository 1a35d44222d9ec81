//! One function for each door through which bytes come in from outside. Each takes any bytes at all and panics if
//! something that must hold for all bytes does not; an ordinary refusal of the bytes is not a fault.
//!
//! The functions serve two masters: coverage-guided fuzzing (`targets/`, see `README.md`), and the replay of the
//! committed corpus on every test run (`tests/replay.rs`).

mod audit;
mod backup;
mod commands;
mod dns;
mod journal;
mod link;
mod logs;
mod netlink;
mod ocsf;
mod packages;
mod policy;
mod sigma;
mod sigma_cache;
mod sigma_files;
mod spool;
mod state;
mod wire;

pub use logs::beginning_of_evtx;
pub use sigma_cache::{classes_seed, rules_seed};

/// Takes one input; panics if a promise is broken.
pub type Target = fn(&[u8]);

/// Every target under the name of its corpus folder and its fuzzing binary.
pub const TARGETS: &[(&str, Target)] = &[
    ("action_update", ocsf::action_update),
    ("audit_copy", audit::copy),
    ("command", commands::verify),
    ("dns", dns::message),
    ("dpkg", packages::database),
    ("enrolment_token", wire::token),
    ("hub_backup", backup::whole),
    ("isolation_record", state::isolation_record),
    ("journal", journal::file),
    ("link", link::to_guard),
    ("log_evtx", logs::evtx),
    ("log_json", logs::json),
    ("log_lines", logs::lines),
    ("log_xml", logs::xml),
    ("netlink", netlink::messages),
    ("ocsf", ocsf::objects),
    ("policy", policy::read),
    ("sigma_cache", sigma_cache::rules),
    ("sigma_classes", sigma_cache::classes),
    ("sigma_condition", sigma::condition),
    ("sigma_files", sigma_files::collection),
    ("sigma_format", sigma::format),
    ("sigma_hits", sigma_files::hits),
    ("sigma_match", sigma::matching),
    ("sigma_pipeline", sigma_files::pipeline),
    ("sigma_rule", sigma::rule),
    ("sigma_sources", sigma_files::sources),
    ("spool", spool::segments),
    ("spool_notes", spool::notes),
    ("state", state::files),
    ("wire_batch", wire::batch),
];

/// Runs the target with this name on one input.
///
/// # Panics
/// If the target finds a broken promise, or there is no such target.
pub fn run(name: &str, data: &[u8]) {
    let found = TARGETS.iter().find(|(known, _)| *known == name);
    let (_, target) = found.unwrap_or_else(|| panic!("there is no target `{name}`"));
    target(data);
}
