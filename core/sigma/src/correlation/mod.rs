//! Correlations: rules over the matches of rules, evaluated as a stream within bounded memory.
//!
//! A [`Correlation`] is read by [`Collection`](crate::Collection), linked to the rules that it names by
//! [`Correlations::link`], and evaluated by [`CorrelationState`], which is told of every event that matched a
//! rule. Time is that of the events; there is no clock.
//!
//! # What the specification leaves open, and what holds here
//!
//! **Windows.** Two events lie in one window if they are at most `timespan` apart, both edges included. Windows
//! slide: nothing is cut at full minutes or hours.
//!
//! **When a condition is looked at.** With only lower bounds (`gt`, `gte`), and for `value_avg`, `value_median`,
//! `value_percentile`, `value_min` and `value_max` with any bound, it is looked at with each event, over the window
//! that ends there. Counts and sums with an upper bound (`lt`, `lte`, `eq`, `neq`, ranges) and conditions with
//! `not` would hold as soon as a window begins, so they are looked at when the window is over: it begins with the
//! group's first event and the next one begins with the first event after its end. A window without any event
//! does not exist; a condition that only such a window could meet is refused.
//!
//! **One match for each incident.** After a match, the same group is reported again at the earliest with an event
//! more than `timespan` later, so that no event is in two reports of a group. A correlation over others sees them as
//! they are reported, except `temporal` and `temporal_ordered`, which see every moment at which an inner condition
//! holds: a login just after a long attack still follows it.
//!
//! **Groups.** Values are compared exactly, as text. A field that is missing or null is a value of its own, as in
//! `GROUP BY` of SQL: events without a user are one group, apart from those with an empty one. Without `group-by` all
//! events are one group. A list is one value.
//!
//! **Values.** Each element of a list is a value. `value_count` with several fields counts combinations; those with
//! a missing part do not count. Text that spells a number (also hexadecimal, `0x1f`) is a number for the metrics;
//! what is none is left out, and a window without a number never matches. Percentiles are interpolated linearly
//! between the two nearest values, so that the 50th is the median; `percentile` must be given.
//!
//! **Several rules.** `event_count` counts an event once, however many of the rules it matches. In
//! `temporal_ordered` the order is that of the events' times; equal times are in order either way, and one event that
//! matches two rules stands for both. Without a condition every rule must be there.
//!
//! **Chains.** A match of an inner correlation has the time of the event that completed it (or the end of its
//! window), its own `group-by` fields, and for any other field the value of its last event.
//!
//! **Silence.** A rule or correlation that another one refers to is not reported by itself, unless one of those that
//! refer to it says `generate: true`.

mod bag;
mod boolean;
mod capture;
mod engine;
mod evidence;
mod explain;
mod groups;
mod hits;
mod link;
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

pub use capture::Hit;
pub use hits::Hits;
pub use link::Correlations;
pub(crate) use parse::parse;
pub use rule::{Alias, Correlation, CorrelationCondition, CorrelationType, RuleExpression};
pub use state::{CorrelationSettings, CorrelationState, CorrelationStats, Match};
pub use threshold::{Operator, Threshold};
pub use timespan::Timespan;
