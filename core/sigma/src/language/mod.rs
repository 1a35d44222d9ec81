//! What rules say: from YAML to a parsed rule, and what that means, told plainly.

pub(crate) mod action;
pub(crate) mod aggregation;
pub(crate) mod ast;
pub(crate) mod attributes;
pub(crate) mod collection;
pub(crate) mod condition;
pub(crate) mod detection;
pub(crate) mod encoding;
pub(crate) mod eval;
pub(crate) mod literal;
pub(crate) mod modifiers;
pub(crate) mod pattern;
pub(crate) mod regexp;
pub(crate) mod rule;
pub(crate) mod shape;
pub(crate) mod time_part;
pub(crate) mod used;
pub(crate) mod value;
pub(crate) mod words;
pub(crate) mod yaml;
