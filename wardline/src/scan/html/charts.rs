//! Charts as inline SVG: shapes only, so that they stretch; words stand beside them as text.

use std::fmt::Write;

use wardline_event::Severity;

use super::escape::escaped;
use crate::scan::catalog::Catalog;
use crate::scan::histogram::{Bar, Histogram, Levels};
use crate::scan::tally::{Cell, Computer};
use crate::scan::text::{counted, thousands};

/// Slots of the timeline.
const SLOTS: usize = 180;
/// Bars of the other charts.
const ROWS: usize = 10;
/// Techniques of one tactic that are shown at once.
const CELLS: usize = 8;

/// Rectangles from left to right, worst level first; `most` is as wide as the chart.
fn stacked(levels: &Levels, most: u64) -> String {
    let (mut out, mut x) = (String::new(), 0.0);
    for level in Severity::ALL.into_iter().rev() {
        let width = levels[level as usize] as f64 / most.max(1) as f64 * 1000.0;
        if width > 0.0 {
            let class = level.as_str();
            let _ = write!(out, r#"<rect class="{class}" x="{x:.1}" y="0" width="{width:.1}" height="10"/>"#);
            x += width;
        }
    }
    out
}

/// All levels as one bar, and what each colour means.
pub fn levels(levels: &Levels) -> String {
    let total: u64 = levels.iter().sum();
    let mut out = format!(
        r#"<svg class="strip" viewBox="0 0 1000 10" preserveAspectRatio="none" aria-hidden="true">{}</svg><ul class="legend">"#,
        stacked(levels, total)
    );
    for level in Severity::ALL.into_iter().rev() {
        let (word, n) = (level.as_str(), thousands(levels[level as usize]));
        let _ = write!(out, r#"<li><i class="{word}"></i><b>{n}</b> {word}</li>"#);
    }
    out + "</ul>"
}

/// One named bar; choosing it fills the filter with its name.
fn row(out: &mut String, name: &str, wanted: &str, levels: &Levels, most: u64) {
    let total: u64 = levels.iter().sum();
    let _ = write!(
        out,
        r##"<li><a href="#findings" data-find="{}"><span class="name">{}</span><span class="n">{}</span>
<svg class="strip thin" viewBox="0 0 1000 10" preserveAspectRatio="none" aria-hidden="true">{}</svg></a></li>"##,
        escaped(wanted),
        escaped(name),
        thousands(total),
        stacked(levels, most)
    );
}

/// The computers with the worst matches.
pub fn computers(computers: &[Computer<'_>]) -> String {
    let total = |c: &Computer<'_>| c.levels.iter().sum::<u64>();
    let most = computers.iter().take(ROWS).map(total).max().unwrap_or(1);
    let mut out = String::from("<ol class=\"bars\">");
    for computer in computers.iter().take(ROWS) {
        let name = if computer.name.is_empty() { "(not named)" } else { computer.name };
        row(&mut out, name, computer.name, &computer.levels, most);
    }
    out += "</ol>";
    if computers.len() > ROWS {
        let _ = write!(out, "<p class=\"note\">and {} more</p>", thousands((computers.len() - ROWS) as u64));
    }
    out
}

/// The techniques with most matches.
pub fn techniques(rules: &[(u32, u64)], catalog: &Catalog) -> String {
    let mut found: Vec<(&str, Levels)> = Vec::new();
    for (rule, n) in rules {
        let entry = catalog.get(*rule);
        for technique in &entry.techniques {
            let at = found.iter().position(|(name, _)| name == technique).unwrap_or_else(|| {
                found.push((technique, Levels::default()));
                found.len() - 1
            });
            found[at].1[entry.level as usize] += n;
        }
    }
    found.sort_by_key(|(name, levels)| (std::cmp::Reverse(levels.iter().sum::<u64>()), *name));
    if found.is_empty() {
        return "<p class=\"note\">No rule that matched names a technique.</p>".to_owned();
    }
    let most = found[0].1.iter().sum();
    let mut out = String::from("<ol class=\"bars\">");
    for (name, levels) in found.iter().take(ROWS) {
        row(&mut out, name, &format!("attack.{}", name.to_lowercase()), levels, most);
    }
    out += "</ol>";
    if found.len() > ROWS {
        let _ = write!(out, "<p class=\"note\">and {} more</p>", thousands((found.len() - ROWS) as u64));
    }
    out
}

/// Matches over time, on an axis without leaps.
pub fn timeline(histogram: &Histogram) -> String {
    let Some((width, bars)) = histogram.axis(SLOTS) else {
        return "<p class=\"note\">No record that matched says when it was written.</p>".to_owned();
    };
    let slots: u64 = bars.iter().map(|b| b.gap + 1).sum();
    let most = bars.iter().map(Bar::total).max().unwrap_or(1);
    // A short time is drawn as wide as twelve slots, so that one bar does not fill the page.
    let slot = 1000.0 / slots.max(12) as f64;
    let mut out = format!(
        r#"<div class="plot"><span class="max">{}</span><svg viewBox="0 0 1000 100" preserveAspectRatio="none" role="img" aria-label="Matches by {}: {} at most, from {} to {}">"#,
        thousands(most),
        width.as_str(),
        thousands(most),
        escaped(&bars[0].label),
        escaped(&bars[bars.len() - 1].label),
    );
    let mut at = 0;
    for bar in &bars {
        at += bar.gap;
        let x = at as f64 * slot;
        let mut y = 100.0;
        let _ = write!(out, "<g><title>{}: {}", escaped(&bar.label), thousands(bar.total()));
        for level in Severity::ALL.into_iter().rev().filter(|l| bar.levels[*l as usize] > 0) {
            let _ = write!(out, ", {} {}", level.as_str(), thousands(bar.levels[level as usize]));
        }
        out += "</title>";
        for level in Severity::ALL.into_iter().rev() {
            let height = bar.levels[level as usize] as f64 / most as f64 * 100.0;
            if height > 0.0 {
                y -= height;
                let class = level.as_str();
                let wide = (slot * 0.9).max(1.5);
                let _ = write!(
                    out,
                    r#"<rect class="{class}" x="{x:.1}" y="{y:.2}" width="{wide:.1}" height="{height:.2}"/>"#
                );
            }
        }
        out += "</g>";
        at += 1;
    }
    out += "</svg></div><div class=\"axis\">";
    let _ = write!(out, "<span>{}</span>", escaped(&bars[0].label));
    if slots >= 12 {
        let _ = write!(out, "<span>{}</span>", escaped(&bars[bars.len() - 1].label));
    }
    let _ = write!(out, "</div><p class=\"note\">One bar for each {} (UTC).</p>", width.as_str());
    out
}

/// Tactics in the order of an attack, each with its techniques.
pub fn attack(cells: &[Cell]) -> String {
    if cells.is_empty() {
        return "<p class=\"note\">No rule that matched names a tactic or technique.</p>".to_owned();
    }
    let most = cells.iter().map(|c| c.count).max().unwrap_or(1);
    let mut out = String::from("<div class=\"matrix\">");
    for tactic in cells.chunk_by(|a, b| a.tactic == b.tactic) {
        let name = if tactic[0].tactic.is_empty() { "no tactic" } else { &tactic[0].tactic };
        let _ = write!(out, "<section><h3>{}</h3><ul>", escaped(&name.replace('-', " ")));
        for (i, cell) in tactic.iter().enumerate() {
            if i == CELLS {
                let more = tactic.len() - CELLS;
                let _ = write!(out, "</ul><details><summary>{more} more</summary><ul>");
            }
            // Five steps on a logarithmic scale: one noisy rule must not pale all others.
            let step = 1 + ((cell.count as f64).ln() / (most as f64 + 1.0).ln() * 5.0) as u64;
            let (name, wanted) = match cell.technique.as_str() {
                "" => ("no technique", format!("attack.{}", cell.tactic)),
                name => (name, format!("attack.{}", name.to_lowercase())),
            };
            let _ = write!(
                out,
                r##"<li class="s{}"><a href="#findings" data-find="{}" title="{}">{} <b>{}</b></a></li>"##,
                step.min(5),
                escaped(&wanted),
                counted(cell.rules, "rule"),
                escaped(name),
                thousands(cell.count)
            );
        }
        out += if tactic.len() > CELLS { "</ul></details></section>" } else { "</ul></section>" };
    }
    out + "</div>"
}
