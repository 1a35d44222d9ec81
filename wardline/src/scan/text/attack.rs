//! ATT&CK as text: a line or more for each tactic.

use std::fmt::Write;

use console::{Style, measure_text_width};

use super::{Page, heading, thousands};
use crate::printable::printable;
use crate::scan::tally::Cell;

/// Lines of one tactic unless all are asked for.
const LINES: usize = 2;

/// Tactics in the order of an attack, each with its techniques, most matches first.
pub fn attack(page: Page, cells: &[Cell]) -> String {
    let Some(widest) = cells.iter().map(|c| title(c).len()).max() else { return String::new() };
    let mut out = heading("ATT&CK tactics and techniques, with matches, as the rules' tags name them");
    for tactic in cells.chunk_by(|a, b| a.tactic == b.tactic) {
        let texts: Vec<String> = tactic
            .iter()
            .map(|cell| match cell.technique.as_str() {
                "" => format!("no technique {}", thousands(cell.count)),
                technique => format!("{} {}", printable(technique), thousands(cell.count)),
            })
            .collect();
        // Room for the words that say how many are left out.
        let lines = wrap(&texts, page.width - widest - 4 - "  … and 100 more".len());
        for (i, line) in lines.iter().take(page.most(LINES)).enumerate() {
            let name = if i == 0 { title(&tactic[0]) } else { "" };
            let _ = write!(
                out,
                "  {}  {}",
                Style::new().bold().apply_to(format!("{name:<widest$}")),
                line.join("  ")
            );
            let shown: usize = lines.iter().take(i + 1).map(Vec::len).sum();
            if i + 1 == page.most(LINES) && shown < texts.len() {
                let _ = write!(out, "  … and {} more", texts.len() - shown);
            }
            out.push('\n');
        }
    }
    out
}

fn title(cell: &Cell) -> &str {
    if cell.tactic.is_empty() { "no tactic" } else { &cell.tactic }
}

/// The texts in lines of so many columns, two blanks between.
fn wrap(texts: &[String], width: usize) -> Vec<Vec<&str>> {
    let mut lines: Vec<Vec<&str>> = Vec::new();
    let mut used = 0;
    for text in texts {
        let own = measure_text_width(text) + 2;
        match lines.last_mut() {
            Some(line) if used + own <= width => {
                used += own;
                line.push(text);
            }
            _ => {
                used = own;
                lines.push(vec![text]);
            }
        }
    }
    lines
}
