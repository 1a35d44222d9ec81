//! The Sigma rule engine: parse, compile, match.
#![warn(missing_docs)]

mod affix;
mod ast;
mod class;
mod condition;
mod detection;
mod encoding;
#[cfg(test)]
mod equivalence;
mod error;
mod eval;
mod index;
mod limits;
mod literal;
mod matching;
mod modifiers;
mod pattern;
mod rule;
mod ruleset;
mod yaml;

pub use error::RuleError;
pub use matching::Scratch;
pub use rule::Rule;
pub use ruleset::RuleSet;
