//! The table: for each computer a heading, then a row for each rule that matched there, worst first.

use std::fmt::Write;

use console::{Alignment, Style, measure_text_width, pad_str, truncate_str};
use wardline_event::Timestamp;

use super::{Page, counted, levels_text, short_level, style_of};
use crate::printable::printable;
use crate::scan::catalog::Catalog;
use crate::scan::histogram::Levels;
use crate::scan::tally::{Computer, Group};

/// Computers that are listed unless all are asked for.
const COMPUTERS: usize = 50;
/// Rules of one computer that are listed unless all are asked for.
const RULES: usize = 25;

const LEVEL: usize = 8;
const TIMES: usize = 6;
/// `2024-11-03 10:01:01`, and without its seconds.
const TIME: usize = 19;
const SHORT_TIME: usize = 16;
/// The last time, which need not repeat what the first one says.
const LAST: usize = 11;
/// How long a group lasted, where there is no room for its last time.
const SPAN: usize = 4;
/// From so many columns on there is room for two times, and for what happened.
const WIDE: usize = 120;

/// The table.
pub fn table(page: Page, computers: &[Computer<'_>], catalog: &Catalog) -> String {
    if computers.is_empty() {
        return String::new();
    }
    let columns = Columns::new(page.width);
    let mut out = columns.heading();
    for computer in computers.iter().take(page.most(COMPUTERS)) {
        let name = match computer.name {
            "" => "(the records name no computer)",
            name => name,
        };
        let levels = levels_text(&computer.levels);
        let room = page.width.saturating_sub(measure_text_width(&levels) + 2);
        let name = truncate_str(name, room, "…");
        let _ = writeln!(out, "\n{}  {levels}", Style::new().bold().apply_to(name));
        let shown = page.most(RULES);
        for (rule, group) in computer.groups.iter().take(shown) {
            out.push_str(&columns.row(catalog, *rule, group));
        }
        let rest = computer.groups.get(shown..).unwrap_or_default();
        if !rest.is_empty() {
            let mut levels = Levels::default();
            for (rule, group) in rest {
                levels[catalog.get(*rule).level as usize] += group.count;
            }
            let rules = counted(rest.len() as u64, "more rule");
            let _ = writeln!(out, "  … {rules}: {} (-v lists all)", levels_text(&levels));
        }
    }
    if computers.len() > page.most(COMPUTERS) {
        let more = counted((computers.len() - COMPUTERS) as u64, "more computer");
        let _ = writeln!(out, "\n… {more} (-v lists all)");
    }
    out
}

/// The columns' widths.
struct Columns {
    wide: bool,
    rule: usize,
    what: usize,
}

impl Columns {
    fn new(width: usize) -> Self {
        let wide = width >= WIDE;
        // Two blanks before the columns, one between each.
        let fixed = 2 + LEVEL + 1 + TIMES + 1;
        let free = width - fixed - if wide { TIME + 1 + LAST + 1 } else { SHORT_TIME + 1 + SPAN + 1 };
        // A rule's title is seldom longer than 60 characters; what happened may be of any length.
        let rule = if wide { (free * 3 / 5).min(64) } else { free };
        Self { wide, rule, what: if wide { free - rule - 1 } else { 0 } }
    }

    fn heading(&self) -> String {
        let text = if self.wide {
            self.line(["LEVEL", " TIMES", "FIRST (UTC)", "LAST", "RULE", "WHAT, THE FIRST TIME"])
        } else {
            self.line(["LEVEL", " TIMES", "FIRST (UTC)", "FOR", "RULE", ""])
        };
        Style::new().dim().apply_to(text).to_string()
    }

    fn row(&self, catalog: &Catalog, rule: u32, group: &Group) -> String {
        let entry = catalog.get(rule);
        let first = group.first.map(|t| t.to_string().replace('T', " ")).unwrap_or_default();
        let width = if self.wide { TIME } else { SHORT_TIME };
        let last = if self.wide { last(group) } else { span(group) };
        self.line([
            &style_of(entry.level).apply_to(short_level(entry.level)).to_string(),
            &format!("{:>TIMES$}", short_count(group.count)),
            first.get(..width).unwrap_or(&first),
            &last,
            &printable(&entry.title),
            &group.what,
        ])
    }

    fn line(&self, cells: [&str; 6]) -> String {
        let time = if self.wide { (TIME, LAST) } else { (SHORT_TIME, SPAN) };
        let widths = [LEVEL, TIMES, time.0, time.1, self.rule, self.what];
        let mut out = String::from(" ");
        for (text, width) in cells.into_iter().zip(widths).filter(|(_, width)| *width > 0) {
            let text = truncate_str(text, width, "…");
            out.push(' ');
            out.push_str(&pad_str(&text, width, Alignment::Left, None));
        }
        out.truncate(out.trim_end().len());
        out.push('\n');
        out
    }
}

fn short_count(n: u64) -> String {
    match n {
        ..=99_999 => n.to_string(),
        100_000..=9_999_999 => format!("{}k", n / 1000),
        n => format!("{}M", n / 1_000_000),
    }
}

/// The last time: the time of day if it is the first one's day, without the year if it is the first one's year.
fn last(group: &Group) -> String {
    let (Some(first), Some(last)) = (group.first, group.last) else { return String::new() };
    if group.count == 1 {
        return String::new();
    }
    let (first, last) = (first.to_string(), last.to_string().replace('T', " "));
    let same = |bytes| first.get(..bytes).is_some_and(|head| last.starts_with(head));
    let part = if same(10) {
        last.get(11..19)
    } else if same(4) {
        last.get(5..16)
    } else {
        last.get(..10)
    };
    part.unwrap_or(&last).to_owned()
}

/// How long from the first to the last: `12s`, `40m`, `5h`, `30d`.
fn span(group: &Group) -> String {
    let (Some(first), Some(last)) = (group.first, group.last) else { return String::new() };
    duration(first, last)
}

fn duration(first: Timestamp, last: Timestamp) -> String {
    let seconds = last.since(first).as_secs();
    match seconds {
        0 => String::new(),
        1..=119 => format!("{seconds}s"),
        120..=7199 => format!("{}m", seconds / 60),
        7200..=172_799 => format!("{}h", seconds / 3600),
        172_800..=86_399_999 => format!("{}d", seconds / 86_400),
        _ => format!("{}y", seconds / 31_557_600),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scan::filter::RuleFilter;
    use crate::scan::hit::Hit;
    use crate::scan::tally::Tally;
    use wardline_event::{LogRecord, LogSource};
    use wardline_sigma::{Correlations, Rule, RuleSet};

    const RULE: &str = "title: A title that is much longer than the column which it stands in, as titles are, even wide\n\
        id: 1c7a4f0e-3f30-4f43-9d2b-0f3fd6f600bb\nlevel: critical\nlogsource:\n  product: windows\n\
        detection:\n  a:\n    EventID: 1\n  condition: a\n";

    #[test]
    fn counts_fit_their_column() {
        assert_eq!([99_999, 100_000, 10_000_000].map(short_count), ["99999", "100k", "10M"]);
        assert_eq!(short_count(99_999_999_999).len(), TIMES);
    }

    #[test]
    fn every_line_fits_the_terminal_whatever_the_record_holds() {
        let (rules, _) = RuleSet::compile_lossy(Rule::parse(RULE, "test").unwrap());
        let catalog = Catalog::new(&rules, &Correlations::default(), &RuleFilter::default());
        for (computer, command) in
            [("WARD-PC-7", "a\u{1b}[31mb\r\n".repeat(90)), (&*"x".repeat(500), "病院".repeat(200))]
        {
            let mut record = LogRecord::new(LogSource::new("", "process_creation", ""));
            record.time = Some(Timestamp(1_730_628_061_123));
            record.set("Computer", computer);
            record.set("CommandLine", &*command);
            let mut tally = Tally::default();
            for _ in 0..99 {
                tally.add(&catalog, 0, Hit::new(0, &record));
            }
            record.time = Some(Timestamp(1_930_628_061_123));
            tally.add(&catalog, 0, Hit::new(0, &record));
            for width in [0, 80, 99, 120, 160, 500] {
                let page = Page::new(width, false);
                let text = table(page, &tally.computers(&catalog), &catalog);
                let lines: Vec<&str> = text.lines().collect();
                assert_eq!(lines.len(), 4, "{text}");
                assert!(lines[3].contains("    100 2024-11-03 10:01"), "{text}");
                assert!(!text.contains('\u{1b}'), "{text}");
                for line in lines {
                    assert!(measure_text_width(line) <= page.width, "{width}: {line}");
                }
            }
        }
    }
}
