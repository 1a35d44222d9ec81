//! A finding as people read it: what, where, the line itself with the place marked, what to do.

use std::fmt::Write;

use console::{Style, measure_text_width};
use wardline_sigma::lint::{Diagnostic, Level};

use crate::printable::printable;

/// Characters of a line that are shown around the place.
const SHOWN: usize = 150;

/// The finding as text with a line end. `text` is that of the file. Colours are used if standard output is a
/// terminal.
pub fn render(found: &Diagnostic, text: &str) -> String {
    let strong = Style::new().bold();
    let (colour, edge) = (colour(found.level).bold(), Style::new().blue().bold());
    let title = colour.apply_to(format!("{}[{}]", found.level.as_str(), found.code));
    let mut out = format!("{title}{}\n", strong.apply_to(format!(": {}", printable(&found.message))));
    if found.line == 0 {
        return out;
    }
    let number = found.line.to_string();
    let pad = " ".repeat(number.len());
    let place = format!("{}:{}:{}", printable(&found.origin), found.line, found.column);
    let _ = writeln!(out, "{pad}{} {place}", edge.apply_to("-->"));
    if let Some(line) = text.lines().nth(found.line.saturating_sub(1)) {
        let (before, marked, after) = cut(line, found.column, found.width);
        let bar = edge.apply_to("|");
        let _ = writeln!(out, "{pad} {bar}");
        let _ = writeln!(out, "{} {bar} {before}{marked}{after}", edge.apply_to(&number));
        let carets = "^".repeat(measure_text_width(&marked).max(1));
        let indent = " ".repeat(measure_text_width(&before));
        let _ = writeln!(out, "{pad} {bar} {indent}{}", colour.apply_to(carets));
    }
    if !found.help.is_empty() {
        let _ = writeln!(
            out,
            "{pad} {} {} {}",
            edge.apply_to("="),
            strong.apply_to("help:"),
            printable(&found.help)
        );
    }
    out
}

fn colour(level: Level) -> Style {
    match level {
        Level::Error => Style::new().red(),
        Level::Warning => Style::new().yellow(),
        Level::Note => Style::new().cyan(),
    }
}

/// The line before the place, the place, and what follows; of long lines the neighbourhood.
fn cut(line: &str, column: usize, width: usize) -> (String, String, String) {
    let chars: Vec<char> = line.trim_end().chars().map(|c| if c == '\t' { ' ' } else { c }).collect();
    let start = column.saturating_sub(1).min(chars.len());
    let end = (start + width.min(SHOWN)).min(chars.len());
    let from = if end > SHOWN { start.saturating_sub(SHOWN / 3) } else { 0 };
    let to = chars.len().min(end.max(from + SHOWN));
    let text = |a: usize, b: usize| printable(&chars[a..b].iter().collect::<String>()).into_owned();
    let dots = |there: bool| if there { "…" } else { "" };
    (
        format!("{}{}", dots(from > 0), text(from, start)),
        text(start, end),
        format!("{}{}", text(end, to), dots(to < chars.len())),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(line: usize, column: usize, width: usize) -> Diagnostic {
        Diagnostic {
            code: "S030",
            level: Level::Error,
            origin: "a.yml".into(),
            line,
            column,
            width,
            message: "unknown modifier".into(),
            help: "correct it".into(),
        }
    }

    #[test]
    fn the_place_is_marked_whatever_the_line_holds() {
        console::set_colors_enabled(false);
        let text = render(&found(2, 8, 3), "x\n\tImage|con: 'a'\n");
        assert_eq!(
            text,
            "error[S030]: unknown modifier\n --> a.yml:2:8\n  |\n2 |  Image|con: 'a'\n  |        ^^^\n  = help: correct it\n"
        );
        let wide = render(&found(1, 3, 2), "病院ab\u{1b}[0m");
        assert!(wide.contains("1 | 病院ab\\u{1b}[0m\n  |     ^^\n"), "{wide}");
        // Past the end of the line or the text, and a very long line.
        for (line, column) in [(1, 1), (1, 99), (7, 1), (0, 0)] {
            render(&found(line, column, 5), "short");
        }
        let long = render(&found(1, 5001, 9000), &"y".repeat(100_000));
        assert!(long.lines().all(|l| l.chars().count() < 400), "{long}");
        assert!(long.contains("…y") && long.contains("^^^"), "{long}");
    }
}
