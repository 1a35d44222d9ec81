//! The report as a person reads it on a terminal.

pub mod attack;
pub mod summary;
pub mod table;
pub mod timeline;

use console::{Style, Term};
use wardline_event::Severity;

use super::histogram::Levels;

/// Columns where there is no terminal to ask.
const WITHOUT_TERMINAL: usize = 120;

/// How the report is laid out.
#[derive(Clone, Copy)]
pub struct Page {
    /// Columns.
    pub width: usize,
    /// Everything is listed, not only the worst.
    pub all: bool,
}

impl Page {
    /// As wide as the terminal, within what is readable.
    pub fn of_terminal(all: bool) -> Self {
        let term = Term::stdout();
        let width = if term.is_term() { usize::from(term.size().1) } else { WITHOUT_TERMINAL };
        Self::new(width, all)
    }

    /// For so many columns.
    pub fn new(width: usize, all: bool) -> Self {
        Self { width: width.clamp(80, 240), all }
    }

    /// How many of something are listed.
    pub fn most(self, some: usize) -> usize {
        if self.all { usize::MAX } else { some }
    }
}

/// A level's colour.
pub fn style_of(level: Severity) -> Style {
    match level {
        Severity::Critical => Style::new().red().bold(),
        Severity::High => Style::new().red(),
        Severity::Medium => Style::new().yellow(),
        Severity::Low => Style::new().cyan(),
        Severity::Informational => Style::new().dim(),
    }
}

/// A level's word in a narrow column.
pub fn short_level(level: Severity) -> &'static str {
    if level == Severity::Informational { "info" } else { level.as_str() }
}

/// `critical 2, high 3`: worst first, without those that do not occur.
pub fn levels_text(levels: &Levels) -> String {
    let worst_first = Severity::ALL.iter().rev().filter(|level| levels[**level as usize] > 0);
    let texts: Vec<String> = worst_first
        .map(|level| {
            format!("{} {}", style_of(*level).apply_to(level.as_str()), thousands(levels[*level as usize]))
        })
        .collect();
    texts.join(", ")
}

/// A heading between parts.
pub fn heading(text: &str) -> String {
    format!("\n{}\n", Style::new().bold().apply_to(text))
}

/// `1234567` as `1,234,567`.
pub fn thousands(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::new();
    for (i, c) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(c);
    }
    out
}

/// `1 rule`, `2 rules`, `2 matches`.
pub fn counted(n: u64, noun: &str) -> String {
    let ending = match n {
        1 => "",
        _ if noun.ends_with("ch") => "es",
        _ => "s",
    };
    format!("{} {noun}{ending}", thousands(n))
}
