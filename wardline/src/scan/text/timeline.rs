//! Matches over time as bars of text.

use std::fmt::Write;

use console::Style;
use wardline_event::Severity;

use super::{Page, heading, style_of, thousands};
use crate::scan::histogram::{Bar, Histogram};

/// Bars unless all are asked for, and even then.
const BARS: usize = 40;
const MOST_BARS: usize = 400;
/// Columns of the longest bar.
const LONGEST: usize = 60;

/// A bar for each hour, day, month or year that has matches: the finest of which there are few enough.
pub fn timeline(page: Page, histogram: &Histogram, untimed: u64) -> String {
    let Some((width, bars)) = histogram.bars(if page.all { MOST_BARS } else { BARS }) else {
        return String::new();
    };
    let mut out = heading(&format!("Matches by {} (UTC)", width.as_str()));
    let most = bars.iter().map(Bar::total).max().unwrap_or(1);
    let columns = page.width.saturating_sub(44).min(LONGEST);
    for bar in &bars {
        if bar.gap > 0 {
            let word = width.as_str();
            let plural = if bar.gap == 1 { "" } else { "s" };
            let text = format!("  ⋮ {} {word}{plural} without", thousands(bar.gap));
            let _ = writeln!(out, "{}", Style::new().dim().apply_to(text));
        }
        let worst = Severity::ALL.into_iter().rev().find(|level| bar.levels[*level as usize] > 0);
        let worst = worst.map_or(String::new(), |level| {
            format!("{} {}", style_of(level).apply_to(level.as_str()), thousands(bar.levels[level as usize]))
        });
        let (blocks, drawn) = blocks(bar, most, columns);
        let pad = " ".repeat(columns - drawn);
        let _ = writeln!(out, "  {}  {blocks}{pad} {:>7}  {worst}", bar.label, thousands(bar.total()));
    }
    if untimed > 0 {
        let say = if untimed == 1 { "says" } else { "say" };
        let _ = writeln!(out, "  {} more {say} no time", thousands(untimed));
    }
    out
}

/// The bar in its levels' colours, worst first, and its columns.
fn blocks(bar: &Bar, most: u64, columns: usize) -> (String, usize) {
    let scale = |n: u64| ((n as f64 / most as f64) * columns as f64).ceil() as usize;
    let (mut out, mut sum, mut drawn) = (String::new(), 0, 0);
    for level in Severity::ALL.into_iter().rev() {
        sum += bar.levels[level as usize];
        let to = scale(sum).min(columns);
        let _ = write!(out, "{}", style_of(level).apply_to("█".repeat(to.saturating_sub(drawn))));
        drawn = drawn.max(to);
    }
    (out, drawn)
}
