//! Why a correlation matched, for people.

use std::fmt::Write as _;

use wardline_event::MatchedField;

use crate::correlation::link::Correlations;
use crate::correlation::rule::{Correlation, CorrelationCondition};
use crate::correlation::state::Match;
use crate::language::aggregation::is_part_of;

impl Correlations {
    /// Why a match came about: what was counted or measured and against which condition, then the values of its
    /// group.
    ///
    /// # Panics
    /// If the match is not one of these correlations.
    pub fn explain(&self, found: &Match) -> Vec<MatchedField> {
        let correlation = &self.correlations()[found.correlation];
        let row = |selection: &str, field: &str, pattern: String, value: String| MatchedField {
            selection: selection.to_owned(),
            field: field.to_owned(),
            pattern,
            value,
        };
        let fields = match &correlation.condition {
            CorrelationCondition::Thresholds { fields, .. } => fields.join(", "),
            CorrelationCondition::Rules(_) => String::new(),
        };
        let value = format!("{}{}", found.value, if found.capped { " or more" } else { "" });
        let mut out = vec![row(correlation.kind.as_str(), &fields, correlation.asked(), value)];
        for (field, value) in correlation.group_by.iter().zip(&found.group) {
            let value = value.clone().unwrap_or_else(|| "(none)".to_owned());
            out.push(row("group-by", field, "the same in all events".to_owned(), value));
        }
        out
    }
}

impl Correlation {
    /// What it asks for: `≥ 10 within 5m`.
    pub fn asked(&self) -> String {
        condition(self)
    }
}

fn condition(correlation: &Correlation) -> String {
    let mut text = match &correlation.condition {
        CorrelationCondition::Rules(expression) => expression.to_string(),
        CorrelationCondition::Thresholds { thresholds, percentile, .. } => {
            let bounds: Vec<String> = thresholds.iter().map(ToString::to_string).collect();
            let percentile = percentile.map_or_else(String::new, |p| format!("percentile {p} "));
            let rules = if correlation.rules.iter().all(|rule| is_part_of(&correlation.attributes, rule)) {
                // Their names are made up.
                String::new()
            } else if correlation.kind.is_temporal() {
                format!(" of {}", correlation.rules.join(", "))
            } else {
                String::new()
            };
            format!("{percentile}{}{rules}", bounds.join(" and "))
        }
    };
    // Writing to a string cannot fail.
    let _ = write!(text, " within {}", correlation.timespan);
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::correlation::tests::correlation;

    #[test]
    fn conditions_read_as_they_were_meant() {
        for (body, expected) in [
            ("type: event_count\nrules: a\ntimespan: 60s\ncondition: {gte: 10}", "≥ 10 within 1m"),
            (
                "type: event_count\nrules: a\ntimespan: 90s\ncondition: {gt: 1, lte: 3}",
                "> 1 and ≤ 3 within 90s",
            ),
            ("type: temporal\nrules: [a, b]\ntimespan: 5m", "≥ 2 of a, b within 5m"),
            ("type: temporal\ntimespan: 1d\ncondition: a and not b", "a and not b within 1d"),
            (
                "type: value_percentile\nrules: a\ntimespan: 1h\ncondition: {field: n, percentile: 95, lt: 0.5}",
                "percentile 95 < 0.5 within 1h",
            ),
        ] {
            assert_eq!(condition(&correlation(body)), expected);
        }
    }
}
