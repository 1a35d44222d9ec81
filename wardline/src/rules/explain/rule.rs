//! Why a detection rule matches a record or not.

use std::fmt::Write;

use console::Style;
use serde_json::{Value, json};
use wardline_event::{Fields, LogRecord, LogSource};
use wardline_sigma::{Explanation, Rule};

use super::{Reader, shown, source_json, tree};
use crate::printable::printable;

/// The record that comes nearest to a match, and what the rule makes of it.
pub struct Nearest {
    number: u64,
    log_source: LogSource<'static>,
    /// The record did not say what it is, so it is taken for what the rule is for.
    assumed: bool,
    /// It is not another kind of event than the rule asks for.
    right_id: bool,
    explanation: Explanation,
}

impl Nearest {
    /// Keeps of two records the one that comes nearer; of equal ones the first.
    pub fn take(best: &mut Option<Self>, rule: &Rule, record: &mut LogRecord, number: u64) {
        let assumed = record.source == LogSource::default();
        if assumed {
            record.source = rule.log_source.clone();
        }
        let explanation = rule.explanation(&*record);
        let id = record.field("EventID").and_then(|id| id.as_text().and_then(|id| id.parse().ok()));
        let right_id = id.is_none_or(|id| rule.may_match_event(Some(id)));
        let found = Self { number, log_source: record.source.clone(), assumed, right_id, explanation };
        if assumed {
            record.source = LogSource::default();
        }
        if best.as_ref().is_none_or(|best| found.rank() > best.rank()) {
            *best = Some(found);
        }
    }

    fn rank(&self) -> (bool, bool, bool, bool, usize) {
        let condition = &self.explanation.condition;
        let (sees, holds) = (self.explanation.sees, condition.holds());
        (self.explanation.matches(), sees, self.right_id, holds, tree::held(condition))
    }

    pub fn json(&self, rule: &Rule) -> Value {
        json!({
            "record": self.number, "matches": self.explanation.matches(),
            "log_source_fits": self.explanation.sees, "log_source_assumed": self.assumed,
            "event_log_source": source_json(&self.log_source), "rule_log_source": source_json(&rule.log_source),
            "condition": tree::json(&self.explanation.condition),
        })
    }

    /// Log source and condition, a line for each part. `records` is how many there are.
    pub fn text(&self, title: &str, rule: &Rule, records: u64) -> String {
        let mut out = String::new();
        let (word, style) = if self.explanation.matches() {
            ("matches", Style::new().green().bold())
        } else {
            ("does not match", Style::new().red().bold())
        };
        let which =
            if records > 1 { format!("record {} of {records}", self.number) } else { "the event".to_owned() };
        let _ = writeln!(out, "{} {} {which}", printable(title), style.apply_to(word));
        let mark = tree::mark(self.explanation.sees);
        let note = if self.assumed { ", taken for what the rule is for, since it does not say" } else { "" };
        let _ = writeln!(out, "{mark} log source: the event is {}{note}", shown(&self.log_source));
        if !self.explanation.sees {
            let _ = writeln!(out, "    the rule is for {}", shown(&rule.log_source));
        }
        out.push_str(&tree::text(&self.explanation.condition));
        out
    }
}

/// Whether the rule matches, and the explanation.
pub fn explain(rule: &Rule, reader: &Reader<'_>) -> Result<(bool, String), String> {
    let mut best: Option<Nearest> = None;
    let records = reader.each(&mut |number, record| Nearest::take(&mut best, rule, record, number))?;
    let best = best.ok_or("there is no record to explain")?;
    let text = if reader.args.json {
        let mut line = json!({"rule_id": rule.id, "rule": rule.title, "records": records});
        if let (Some(line), Value::Object(more)) = (line.as_object_mut(), best.json(rule)) {
            line.extend(more);
        }
        line.to_string()
    } else {
        best.text(&rule.title, rule, records)
    };
    Ok((best.explanation.matches(), text))
}
