//! Formats the YAML of rules: one order of attributes, two spaces for each level, plain quotes, dates with dashes.
//! Comments stay. Nothing that a rule says is changed: the result is read again and compared.

mod layout;
mod same;

use saphyr_parser::{Event, Parser, ScalarStyle};

use crate::error::{Fault, Pos, RuleError};
use crate::language::yaml;

/// The order of top-level attributes; others follow in their own order.
const ORDER: &[&str] = &[
    "action",
    "title",
    "id",
    "name",
    "related",
    "taxonomy",
    "status",
    "description",
    "license",
    "references",
    "author",
    "date",
    "modified",
    "tags",
    "scope",
    "logsource",
    "correlation",
    "detection",
    "filter",
    "fields",
    "falsepositives",
    "level",
];

/// Formats a file of rules. `origin` names it in messages.
///
/// # Errors
/// The file is no YAML, or it cannot be formatted without changing what it says; it is then best left as it is.
pub fn format(text: &str, origin: &str) -> Result<String, RuleError> {
    run(text).map_err(|fault| fault.at(origin))
}

fn run(text: &str) -> Result<String, Fault> {
    let out = once(text)?;
    // Odd nesting may move by another step each time.
    if once(&out).as_ref() == Ok(&out) { Ok(out) } else { Err(refusal("formatting would not come to rest")) }
}

fn refusal(what: &str) -> Fault {
    let hint = "format it by hand, or write its multi-line values, anchors or brackets in a simpler way";
    Fault::new("S005", Pos { line: 1, column: 1 }, what, hint)
}

fn once(text: &str) -> Result<String, Fault> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text).replace("\r\n", "\n");
    let before = yaml::parse(&text)?;
    let marks = Marks::of(&text);
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    for (line, from, to) in &marks.quotes {
        requote(&mut lines[*line], *from, *to);
    }
    let out = layout::lay_out(&lines, &marks.opaque);
    let after = yaml::parse(&out).map_err(|_| refusal("the file cannot be formatted safely"))?;
    if !same::documents(&before, &after) {
        return Err(refusal("formatting would change what the file says"));
    }
    if Marks::of(&out).comments(&out) != marks.comments(&text) {
        return Err(refusal("formatting would lose a comment"));
    }
    Ok(out)
}

/// What stands where.
struct Marks {
    /// For each line, whether it is inside a value that began in a line before.
    opaque: Vec<bool>,
    /// Double quotes that can be single ones: line, and the characters of the first and the second.
    quotes: Vec<(usize, usize, usize)>,
}

impl Marks {
    fn of(text: &str) -> Self {
        let lines: Vec<&str> = text.lines().collect();
        let mut marks = Self { opaque: vec![false; lines.len()], quotes: Vec::new() };
        // The lines where brackets were opened; `None` for block collections.
        let mut open: Vec<Option<usize>> = Vec::new();
        let mut parser = Parser::new_from_str(text);
        while let Some(Ok((event, span))) = parser.next_event() {
            let (start, end) = (span.start.line().max(1) - 1, span.end.line().max(1) - 1);
            match event {
                Event::Scalar(_, style, ..) => {
                    let last = if span.end.col() == 0 { end } else { end + 1 };
                    // The place of a block is that of its sign or of its first line.
                    let block = matches!(style, ScalarStyle::Literal | ScalarStyle::Folded);
                    let line = lines.get(start).copied().unwrap_or_default();
                    let sign = is_block_sign(&line.chars().skip(span.start.col()).collect::<String>());
                    marks.hide(start + usize::from(!block || sign), last);
                    if style == ScalarStyle::DoubleQuoted && start == end {
                        marks.quote(line, start, span.start.col());
                    }
                }
                Event::SequenceStart(..) | Event::MappingStart(..) => {
                    let first = lines.get(start).and_then(|line| line.chars().nth(span.start.col()));
                    open.push(matches!(first, Some('[' | '{')).then_some(start));
                }
                Event::SequenceEnd | Event::MappingEnd => {
                    if let Some(Some(start)) = open.pop() {
                        marks.hide(start + 1, end + 1);
                    }
                }
                _ => {}
            }
        }
        marks
    }

    fn hide(&mut self, from: usize, to: usize) {
        let to = to.min(self.opaque.len());
        if from < to {
            self.opaque[from..to].fill(true);
        }
    }

    /// Notes a double-quoted text that means the same in single quotes.
    fn quote(&mut self, line: &str, number: usize, from: usize) {
        let inner: Vec<char> = line.chars().skip(from + 1).collect();
        let Some(length) = inner.iter().position(|c| *c == '"') else { return };
        if inner[..length].iter().all(|c| !matches!(c, '\\' | '\'')) {
            self.quotes.push((number, from, from + 1 + length));
        }
    }

    /// The comments that have lines of their own, sorted: attributes may change their order.
    fn comments<'t>(&self, text: &'t str) -> Vec<&'t str> {
        let own = text.lines().zip(&self.opaque).filter(|(_, opaque)| !**opaque).map(|(line, _)| line.trim());
        let mut out: Vec<&str> = own.filter(|line| line.starts_with('#')).collect();
        out.sort_unstable();
        out
    }
}

/// `|`, `>-`, `|2 # comment`
fn is_block_sign(text: &str) -> bool {
    let is_indicator = |c: char| matches!(c, '+' | '-') || c.is_ascii_digit();
    let rest = text.strip_prefix(['|', '>']).map(|rest| rest.trim_start_matches(is_indicator).trim_start());
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('#'))
}

fn requote(line: &mut String, from: usize, to: usize) {
    *line = line.chars().enumerate().map(|(i, c)| if i == from || i == to { '\'' } else { c }).collect();
}
