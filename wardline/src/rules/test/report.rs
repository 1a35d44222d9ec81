//! What is told of the outcomes.

use std::io::{self, Write};

use console::{Alignment, Style, pad_str, truncate_str};
use serde_json::json;

use super::{Outcome, TestArgs};
use crate::printable::{printable, printable_json};
use crate::scan::counted;

/// Columns of the table: what stands before the rules, and rules where there is room.
const BEFORE_RULE: usize = 25;
const RULE: usize = 60;

/// Writes a line for each outcome, and the totals. `files` is how many descriptions of tests there are, `bare` how many
/// of them have none.
pub fn write(args: &TestArgs, outcomes: &[Outcome], files: usize, bare: usize) -> io::Result<()> {
    let mut out = io::BufWriter::new(io::stdout().lock());
    // On a narrow terminal a rule and its test have a line all the same.
    let narrow = crate::rules::columns().map(|columns| columns.saturating_sub(BEFORE_RULE));
    let rule = narrow.map_or(RULE, |room| RULE.min(room * 2 / 3));
    let cut = |text: &str, most: Option<usize>| {
        let text = printable(text);
        most.map_or(text.clone(), |most| truncate_str(&text, most, "…").into_owned().into()).into_owned()
    };
    let cell =
        |text: &str| pad_str(&cut(text, narrow.map(|_| rule)), rule, Alignment::Left, None).into_owned();
    if !args.json && !outcomes.is_empty() {
        writeln!(out, "{:<6} {:>8} {:>6}  {} TEST", "RESULT", "EXPECTED", "GOT", cell("RULE"))?;
    }
    for o in outcomes.iter().filter(|o| !args.quiet || !o.passed) {
        if args.json {
            let line = json!({
                "rule_id": o.rule_id, "rule": o.rule, "test": o.test, "path": o.path, "expected": o.expected,
                "got": o.got, "passed": o.passed, "why": o.why,
            });
            writeln!(out, "{}", printable_json(line.to_string()))?;
            continue;
        }
        let (word, style) =
            if o.passed { ("ok", Style::new().green()) } else { ("FAILED", Style::new().red().bold()) };
        let got = o.got.map_or_else(|| "-".to_owned(), |n| n.to_string());
        let expected = match o.expected {
            Some(n) => n.to_string(),
            None if o.rule_id.is_empty() => "-".to_owned(),
            None => "≥ 1".to_owned(),
        };
        let name = if o.rule.is_empty() { &o.rule_id } else { &o.rule };
        writeln!(
            out,
            "{} {expected:>8} {got:>6}  {} {}",
            style.apply_to(format!("{word:<6}")),
            cell(name),
            cut(&o.test, narrow.map(|room| room.saturating_sub(rule + 1)))
        )?;
        if !o.why.is_empty() {
            // What is wrong with an info.yml names its place by itself.
            let path = if o.why.starts_with(&o.path) { String::new() } else { format!("{}: ", o.path) };
            writeln!(out, "       {}{}", printable(&path), printable(&o.why))?;
        }
    }
    out.flush()?;
    let total = total(outcomes, files, bare);
    if args.json {
        writeln!(io::stderr(), "{total}")
    } else {
        writeln!(out, "{total}").and_then(|()| out.flush())
    }
}

fn total(outcomes: &[Outcome], files: usize, bare: usize) -> String {
    let count = |f: &dyn Fn(&Outcome) -> bool| outcomes.iter().filter(|o| f(o)).count();
    let (passed, broken) = (count(&|o| o.passed), count(&|o| !o.passed && o.got.is_none()));
    let (failed, more) = (outcomes.len() - passed - broken, count(&|o| o.passed && o.has_more()));
    let more = if more > 0 { format!("; {more} with more matches than expected") } else { String::new() };
    let bare =
        if bare > 0 { format!("; {} without a test", counted(bare as u64, "file")) } else { String::new() };
    let files = counted(files as u64, "file");
    format!("{files}: {passed} as expected, {failed} not, {broken} could not be run{more}{bare}")
}
