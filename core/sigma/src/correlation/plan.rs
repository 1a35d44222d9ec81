//! A correlation as it is evaluated.

use crate::correlation::boolean::Expression;
use crate::correlation::rule::{Correlation, CorrelationCondition, CorrelationType};
use crate::correlation::threshold::{Operator, Threshold};
use crate::limits;

/// What the evaluation of one correlation needs to know.
#[derive(Debug)]
pub(crate) struct Plan {
    pub kind: CorrelationType,
    pub test: Test,
    /// Whether the condition is looked at when a window is over, not with each event.
    pub closing: bool,
    /// Milliseconds that a window spans.
    pub span: i64,
    /// From 0 to 100.
    pub percentile: f64,
    /// Rules that it refers to.
    pub rules: usize,
    /// The orders of rules that an ordered correlation asks for.
    pub orders: Vec<Order>,
    /// Events (or values) that a window must be able to hold for the condition to be decided.
    pub needs: usize,
    /// Fields that correlations over this one ask for: of the group (its position there and the field) …
    pub exposes: Box<[(usize, u32)]>,
    /// … and of the last event.
    pub carries: Box<[u32]>,
    /// Place in an order in which inner correlations stand before outer ones.
    pub rank: u32,
    /// Only others look at its matches.
    pub silent: bool,
    /// A correlation over this one asks for every moment at which the condition holds.
    pub every_moment: bool,
}

/// When a window meets the condition.
#[derive(Debug)]
pub(crate) enum Test {
    Thresholds(Vec<Threshold>),
    Expression(Expression),
}

/// Rules (by their bits) that must come one after another.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Order {
    pub steps: Vec<u8>,
    /// Rules that must not come.
    pub absent: u64,
    /// Only all steps together count; otherwise the longest run of them does.
    pub whole: bool,
}

impl Plan {
    /// Plans a correlation that was checked.
    pub fn new(correlation: &Correlation) -> Self {
        let kind = correlation.kind;
        let rules = correlation.rules.len();
        let ordered = kind == CorrelationType::TemporalOrdered;
        let mut orders = Vec::new();
        let (test, closing, percentile) = match &correlation.condition {
            CorrelationCondition::Rules(rules) => {
                let ways = rules.expression.ways(limits::ORDERED_WAYS);
                if ordered {
                    for way in ways.iter().flatten() {
                        let steps = (0..64).filter(|bit| way.there & (1 << bit) != 0).collect();
                        orders.push(Order { steps, absent: way.absent, whole: true });
                    }
                }
                // Past that many ways it is not known that none needs an absence, so that waiting is the safe side.
                let closing = ways.is_none_or(|ways| ways.iter().any(|way| way.absent != 0));
                (Test::Expression(rules.expression.clone()), closing, 0.0)
            }
            CorrelationCondition::Thresholds { thresholds, percentile, .. } => {
                let mut thresholds = thresholds.clone();
                if kind.is_temporal() {
                    drop_void(&mut thresholds, rules as f64);
                }
                if ordered {
                    let whole = !(1..rules).any(|n| thresholds.iter().all(|t| t.holds(n as f64)));
                    orders.push(Order { steps: (0..rules as u8).collect(), absent: 0, whole });
                }
                let grows = kind.is_temporal()
                    || matches!(
                        kind,
                        CorrelationType::EventCount | CorrelationType::ValueCount | CorrelationType::ValueSum
                    );
                let closing = grows && thresholds.iter().any(|t| t.limits_above());
                (Test::Thresholds(thresholds), closing, percentile.unwrap_or(50.0))
            }
        };
        let needs = match &test {
            Test::Thresholds(thresholds)
                if matches!(kind, CorrelationType::EventCount | CorrelationType::ValueCount) =>
            {
                // One more than the highest count decides every comparison.
                thresholds.iter().map(|t| t.bound.max(0.0).ceil() as usize + 1).max().unwrap_or(1)
            }
            _ => 1,
        };
        Self {
            kind,
            test,
            closing,
            span: correlation.timespan.millis(),
            percentile: match kind {
                CorrelationType::ValueMin => 0.0,
                CorrelationType::ValueMax => 100.0,
                CorrelationType::ValueMedian => 50.0,
                _ => percentile,
            },
            rules,
            orders,
            needs,
            exposes: Box::default(),
            carries: Box::default(),
            rank: 0,
            silent: false,
            every_moment: false,
        }
    }

    /// How far a count or metric is from the condition; 0 if it meets it.
    pub fn missing(&self, value: f64) -> f64 {
        let Test::Thresholds(thresholds) = &self.test else { return 0.0 };
        // What must be more than a bound misses it by more than nothing when it is the bound.
        let missing = |t: &&Threshold| (value - t.bound).abs().max(f64::MIN_POSITIVE);
        thresholds.iter().filter(|t| !t.holds(value)).map(|t| missing(&t)).sum()
    }

    /// Whether a count or metric meets the condition.
    pub fn holds(&self, value: f64) -> bool {
        match &self.test {
            Test::Thresholds(thresholds) => thresholds.iter().all(|t| t.holds(value)),
            Test::Expression(_) => false,
        }
    }
}

/// Takes away upper bounds that a count of rules cannot exceed, so that no window waits for its end in vain.
#[allow(clippy::float_cmp, reason = "compares whole numbers")]
fn drop_void(thresholds: &mut Vec<Threshold>, most: f64) {
    for threshold in thresholds.iter_mut() {
        if threshold.operator == Operator::Equal && threshold.bound == most {
            threshold.operator = Operator::GreaterOrEqual;
        }
    }
    thresholds.retain(|t| match t.operator {
        Operator::Less => t.bound <= most,
        Operator::LessOrEqual => t.bound < most,
        Operator::NotEqual => t.bound.fract() == 0.0 && (1.0..=most).contains(&t.bound),
        _ => true,
    });
}
