//! The Sigma rule engine: parse, compile, match.
#![warn(missing_docs)]

mod ast;
mod condition;
mod detection;
mod encoding;
mod error;
mod eval;
mod limits;
mod modifiers;
mod pattern;
mod rule;
mod ruleset;
mod yaml;

pub use error::RuleError;
pub use rule::Rule;
pub use ruleset::{RuleSet, Scratch};
