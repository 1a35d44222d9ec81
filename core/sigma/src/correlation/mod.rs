//! Correlations: rules over the matches of rules, evaluated as a stream within bounded memory.
//!
//! A [`Correlation`] is read by [`Collection`](crate::Collection), linked to the rules that it names by
//! [`Correlations::link`], and evaluated by [`CorrelationState`], which is told of every event that matched a
//! rule. Time is that of the events; there is no clock.
//!
//! What the specification leaves open is said at [`Correlation`].

mod bag;
mod boolean;
mod capture;
mod engine;
mod evidence;
mod explain;
mod groups;
mod hits;
mod link;
mod looks;
mod ordered;
mod parse;
mod plan;
mod resolve;
mod rule;
mod state;
mod sum;
#[cfg(test)]
mod tests;
mod threshold;
mod timespan;
mod window;

pub(crate) use boolean::Expression;
pub use capture::Hit;
pub use hits::Hits;
pub use link::{Correlations, Reference};
pub use looks::Look;
pub(crate) use parse::{faults, parse};
pub(crate) use resolve::rules_under;
pub use rule::{Alias, Correlation, CorrelationCondition, CorrelationType, RuleExpression};
pub use state::{CorrelationSettings, CorrelationState, CorrelationStats, Match};
pub use threshold::{Operator, Threshold};
pub use timespan::Timespan;
