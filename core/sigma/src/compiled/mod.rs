//! Many rules compiled together, and events matched against them.

pub(crate) mod admission;
pub(crate) mod affix;
pub(crate) mod class;
pub(crate) mod commonness;
pub(crate) mod compile;
pub(crate) mod discriminator;
pub(crate) mod draft;
#[cfg(test)]
mod equivalence;
pub(crate) mod family;
pub(crate) mod gate;
pub(crate) mod index;
pub(crate) mod matching;
pub(crate) mod memo;
pub(crate) mod plan;
pub(crate) mod ruleset;
pub(crate) mod scratch;
pub(crate) mod seen;
pub(crate) mod settle;
pub(crate) mod text;
pub(crate) mod window;
pub(crate) mod witness;
