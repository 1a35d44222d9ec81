//! A correlation as written.

use crate::correlation::boolean::Expression;
use crate::correlation::threshold::{Threshold, can_hold};
use crate::correlation::timespan::Timespan;
use crate::error::{Fault, Pos};
use crate::language::attributes::Attributes;
use crate::limits;

/// One Sigma correlation rule. [`Correlations`](super::Correlations) joins it to its rules,
/// [`CorrelationState`](super::CorrelationState) evaluates it.
///
/// # What the specification leaves open, and what holds here
///
/// **Windows.** Two events lie in one window if they are at most `timespan` apart, both edges included. Windows
/// slide: nothing is cut at full minutes or hours.
///
/// **When a condition is looked at.** With only lower bounds (`gt`, `gte`), and for `value_avg`, `value_median`,
/// `value_percentile`, `value_min` and `value_max` with any bound, it is looked at with each event, over the window
/// that ends there. Counts and sums with an upper bound (`lt`, `lte`, `eq`, `neq`, ranges) and conditions with
/// `not` would hold as soon as a window begins, so they are looked at when the window is over: it begins with the
/// group's first event and the next one begins with the first event after its end. A window without any event
/// does not exist; a condition that only such a window could meet is refused.
///
/// **One match for each incident.** After a match, the same group is reported again at the earliest with an event
/// more than `timespan` later, so that no event is in two reports of a group. A correlation over others sees them as
/// they are reported, except `temporal` and `temporal_ordered`, which see every moment at which an inner condition
/// holds: a login just after a long attack still follows it.
///
/// **Groups.** Values are compared exactly, as text. A field that is missing or null is a value of its own, as in
/// `GROUP BY` of SQL: events without a user are one group, apart from those with an empty one. Without `group-by` all
/// events are one group. A list is one value; a null in it is left out.
///
/// **Values.** Each element of a list is a value. `value_count` with several fields counts combinations, in which a
/// list is one value; those with a missing part do not count. Text that spells a number (also hexadecimal, `0x1f`) is
/// a number for the metrics; what is none, or is past 1e290, is left out, and a window without a number never matches. Percentiles are interpolated linearly
/// between the two nearest values, so that the 50th is the median; `percentile` must be given.
///
/// **Several rules.** `event_count` counts an event once, however many of the rules it matches. In
/// `temporal_ordered` the order is that of the events' times; equal times are in order either way, and one event that
/// matches two rules stands for both. Without a condition every rule must be there.
///
/// **Chains.** A match of an inner correlation has the time of the event that completed it (or the end of its
/// window), its own `group-by` fields, and for any other field the value of its last event.
///
/// **Silence.** A rule or correlation that another one refers to is not reported by itself, unless one of those that
/// refer to it says `generate: true`.
#[derive(Clone, Debug)]
pub struct Correlation {
    /// What it says of itself. Without a `level` of its own it takes the highest of those it refers to when it is
    /// linked.
    pub attributes: Attributes,
    /// What it looks at.
    pub kind: CorrelationType,
    /// The rules and correlations that it refers to, by id or name, in the order written.
    pub rules: Vec<String>,
    /// The fields, or aliases of fields, whose values keep events apart; may be empty.
    pub group_by: Vec<String>,
    /// How far apart events of one window may lie.
    pub timespan: Timespan,
    /// Names for fields that are called differently in the events of different rules.
    pub aliases: Vec<Alias>,
    /// When it matches.
    pub condition: CorrelationCondition,
    /// Whether the rules that it refers to are reported by themselves too.
    pub generate: bool,
    /// Whether `level` was written.
    pub(crate) has_level: bool,
    /// Where its `correlation` stands, for messages.
    pub(crate) at: Pos,
}

/// The types of correlations.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum CorrelationType {
    /// The number of events.
    EventCount,
    /// The number of different values of a field.
    ValueCount,
    /// Which rules matched, in any order.
    Temporal,
    /// Which rules matched, in the order of the rules.
    TemporalOrdered,
    /// The sum of a field's values.
    ValueSum,
    /// Their mean.
    ValueAvg,
    /// A percentile of them.
    ValuePercentile,
    /// Their median.
    ValueMedian,
    /// The smallest.
    ValueMin,
    /// The largest.
    ValueMax,
}

impl CorrelationType {
    /// All of them and Sigma's words for them.
    pub const ALL: [(&'static str, Self); 10] = [
        ("event_count", Self::EventCount),
        ("value_count", Self::ValueCount),
        ("temporal", Self::Temporal),
        ("temporal_ordered", Self::TemporalOrdered),
        ("value_sum", Self::ValueSum),
        ("value_avg", Self::ValueAvg),
        ("value_percentile", Self::ValuePercentile),
        ("value_median", Self::ValueMedian),
        ("value_min", Self::ValueMin),
        ("value_max", Self::ValueMax),
    ];

    /// Sigma's word for it.
    pub fn as_str(self) -> &'static str {
        Self::ALL.iter().find(|(_, kind)| *kind == self).map_or("", |(word, _)| word)
    }

    /// Whether it looks at which rules matched.
    pub fn is_temporal(self) -> bool {
        matches!(self, Self::Temporal | Self::TemporalOrdered)
    }

    /// Whether it looks at values of a field.
    pub fn is_of_values(self) -> bool {
        !self.is_temporal() && self != Self::EventCount
    }
}

/// A name for a field that is called differently in the events of different rules.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Alias {
    /// The name, as `group-by` and `condition` use it.
    pub name: String,
    /// For each rule (by name or id) the name of the field in its events.
    pub fields: Vec<(String, String)>,
}

/// When a correlation matches.
#[derive(Clone, PartialEq, Debug)]
pub enum CorrelationCondition {
    /// The count or metric meets every threshold.
    Thresholds {
        /// At least one.
        thresholds: Vec<Threshold>,
        /// The field whose values are looked at; several for a `value_count` of combinations; none for counts of
        /// events and rules.
        fields: Vec<String>,
        /// From 0 to 100; for `value_percentile`.
        percentile: Option<f64>,
    },
    /// An expression over the rules, for temporal correlations.
    Rules(RuleExpression),
}

/// `rule_a and not rule_b`.
#[derive(Clone, PartialEq, Debug)]
pub struct RuleExpression {
    pub(crate) text: String,
    pub(crate) expression: Expression,
}

impl std::fmt::Display for RuleExpression {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

impl Correlation {
    /// Checks what no single attribute shows: that the condition fits the type, that it can ever hold, and that
    /// limits are kept. For correlations that are made, not read, too.
    pub(crate) fn check(self) -> Result<Self, Fault> {
        let word = self.kind.as_str();
        let fault = |code, message: String, hint: &str| Err(Fault::new(code, self.at, message, hint));
        let most = if self.kind.is_temporal() { limits::TEMPORAL_RULES } else { limits::CORRELATED_RULES };
        for (what, count, most) in [
            ("rules", self.rules.len(), most),
            ("group-by fields", self.group_by.len(), limits::GROUP_FIELDS),
        ] {
            if count > most {
                return fault(
                    "S002",
                    format!("`{word}` with {count} {what}, the limit is {most}"),
                    "split it in two and chain them",
                );
            }
        }
        if let Some((i, twice)) = self.rules.iter().enumerate().find(|(i, r)| self.rules[..*i].contains(r)) {
            return fault(
                "S011",
                format!("`rules` names `{twice}` twice, the second time as number {}", i + 1),
                "name it once",
            );
        }
        let (thresholds, fields, percentile) = match &self.condition {
            CorrelationCondition::Thresholds { thresholds, fields, percentile } => {
                (thresholds, fields, percentile)
            }
            CorrelationCondition::Rules(_) if !self.kind.is_temporal() => {
                let message = format!("a condition over rules does not fit `{word}`");
                return fault("S011", message, "write a mapping, for example `gte: 10`");
            }
            CorrelationCondition::Rules(rules) => {
                return match rules.expression.ways(limits::ORDERED_WAYS) {
                    Some(ways) if ways.is_empty() => fault(
                        "S044",
                        "the condition can never hold".to_owned(),
                        "it asks for a rule and for its absence",
                    ),
                    None if self.kind == CorrelationType::TemporalOrdered => {
                        let message =
                            format!("the condition can be met in more than {} ways", limits::ORDERED_WAYS);
                        fault("S002", message, "take an `or` out of it, or chain several correlations")
                    }
                    _ => Ok(self),
                };
            }
        };
        match (self.kind.is_of_values(), fields.len()) {
            (true, 0) => {
                return fault(
                    "S010",
                    format!("`{word}` needs `field` in its condition"),
                    "say whose values it looks at",
                );
            }
            (false, 1..) => {
                return fault(
                    "S011",
                    format!("`{word}` looks at no `field`"),
                    "take it away, or use `value_count`",
                );
            }
            (true, 2..) if self.kind != CorrelationType::ValueCount => {
                return fault("S011", format!("`{word}` looks at one `field`"), "name one");
            }
            (true, n) if n > limits::GROUP_FIELDS => {
                return fault(
                    "S002",
                    format!("{n} fields, the limit is {}", limits::GROUP_FIELDS),
                    "name fewer",
                );
            }
            _ => {}
        }
        match (self.kind == CorrelationType::ValuePercentile, percentile) {
            (true, None) => {
                return fault(
                    "S010",
                    format!("`{word}` needs `percentile` in its condition"),
                    "for example `percentile: 95`",
                );
            }
            (false, Some(_)) => {
                return fault(
                    "S011",
                    format!("`{word}` has no `percentile`"),
                    "take it away, or use `value_percentile`",
                );
            }
            (true, Some(p)) if !(0.0..=100.0).contains(p) => {
                return fault(
                    "S011",
                    format!("`percentile: {p}` lies outside 0 to 100"),
                    "95 means: 95 of 100 values are not above it",
                );
            }
            _ => {}
        }
        let counts_from = match self.kind {
            CorrelationType::EventCount | CorrelationType::Temporal | CorrelationType::TemporalOrdered => {
                Some(1.0)
            }
            CorrelationType::ValueCount => Some(0.0),
            _ => None,
        };
        let too_many = self.kind.is_temporal()
            && !(1..=self.rules.len()).any(|n| thresholds.iter().all(|t| t.holds(n as f64)));
        if too_many || !can_hold(thresholds, counts_from) {
            return fault(
                "S044",
                "the condition can never hold".to_owned(),
                "a window has at least one event, and no more kinds of events than there are rules",
            );
        }
        if counts_from.is_some()
            && let Some(t) = thresholds.iter().find(|t| t.bound > limits::CORRELATED_EVENTS as f64)
        {
            return fault(
                "S002",
                format!("a count of {}, the limit is {}", t.bound, limits::CORRELATED_EVENTS),
                "count fewer events in less time",
            );
        }
        Ok(self)
    }
}
