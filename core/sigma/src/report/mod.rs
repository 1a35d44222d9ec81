//! What people are told of rules: whether they are right, well formed, can match, and why they do.

pub(crate) mod could;
pub(crate) mod explanation;
pub(crate) mod format;
pub mod lint;
pub(crate) mod regression;
