//! A condition and its outcome as a tree of ticks and crosses.

use std::fmt::Write;

use console::{Style, StyledObject};
use serde_json::{Value, json};
use wardline_sigma::{Outcome, Step};

use crate::printable::printable;

/// Tests of a list that are shown where none of them holds.
const SHOWN: usize = 5;
/// Characters of a value that are shown.
const VALUE_CHARS: usize = 160;

/// A green tick or a red cross.
pub fn mark(holds: bool) -> StyledObject<&'static str> {
    if holds { Style::new().green().apply_to("✓") } else { Style::new().red().apply_to("✗") }
}

/// How many tests and selections hold.
pub fn held(step: &Step) -> usize {
    let inner = match step {
        Step::And(_, parts) | Step::Or(_, parts) => parts.iter().map(held).sum(),
        Step::Selection(_, _, body) => held(body),
        // What must not be there is no step towards a match.
        Step::Not(..) | Step::Test(_) => 0,
    };
    inner + usize::from(step.holds())
}

/// The tree, a line for each part.
pub fn text(step: &Step) -> String {
    let mut out = String::new();
    write(step, 0, &mut out);
    out
}

fn line(holds: bool, depth: usize, what: &str, out: &mut String) {
    let _ = writeln!(out, "{}{} {what}", "  ".repeat(depth), mark(holds));
}

fn write(step: &Step, depth: usize, out: &mut String) {
    match step {
        Step::And(holds, parts) => {
            line(*holds, depth, "all of", out);
            for part in parts {
                write(part, depth + 1, out);
            }
        }
        Step::Or(holds, parts) => {
            line(*holds, depth, "one of", out);
            // The ones that hold are the reason; if none does, a few show what was asked for.
            let (hits, misses): (Vec<&Step>, Vec<&Step>) = parts.iter().partition(|part| part.holds());
            let shown = if hits.is_empty() { SHOWN } else { 0 };
            let many = misses.iter().all(|part| matches!(part, Step::Test(_)));
            let shown = if many { shown } else { misses.len() };
            for part in hits.iter().chain(misses.iter().take(shown)) {
                write(part, depth + 1, out);
            }
            if misses.len() > shown {
                let n = misses.len() - shown;
                let _ = writeln!(out, "{}  … and {n} more that do not hold", "  ".repeat(depth));
            }
        }
        Step::Not(holds, part) => {
            line(*holds, depth, "not", out);
            write(part, depth + 1, out);
        }
        Step::Selection(holds, name, body) => {
            line(*holds, depth, &printable(name), out);
            write(body, depth + 1, out);
        }
        Step::Test(outcome) => line(outcome.holds, depth, &test(outcome), out),
    }
}

fn test(outcome: &Outcome) -> String {
    let asked = printable(&outcome.asked);
    let value = outcome.value.as_deref().map(|value| {
        let cut = value.char_indices().nth(VALUE_CHARS).map_or(value.len(), |(i, _)| i);
        let dots = if cut < value.len() { "…" } else { "" };
        format!("{}{dots}", printable(&value[..cut]))
    });
    match (outcome.field.is_empty(), value) {
        (true, Some(value)) => format!("any field holds {asked}: {value}"),
        (true, None) => format!("no field holds {asked}"),
        (false, Some(value)) => format!("{} {asked}: the event has {value}", printable(&outcome.field)),
        (false, None) => format!("{} {asked}: the event has no such field", printable(&outcome.field)),
    }
}

/// The tree as JSON.
pub fn json(step: &Step) -> Value {
    let parts = |parts: &[Step]| parts.iter().map(json).collect::<Vec<_>>();
    match step {
        Step::And(holds, inner) => json!({"all_of": parts(inner), "holds": holds}),
        Step::Or(holds, inner) => json!({"one_of": parts(inner), "holds": holds}),
        Step::Not(holds, inner) => json!({"not": json(inner), "holds": holds}),
        Step::Selection(holds, name, body) => json!({"selection": name, "body": json(body), "holds": holds}),
        Step::Test(o) => json!({"field": o.field, "asked": o.asked, "value": o.value, "holds": o.holds}),
    }
}
