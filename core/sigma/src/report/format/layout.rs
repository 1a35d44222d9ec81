//! Lines into their places: indentation, order, blank lines.

use super::ORDER;

/// A level of nesting: its indentation before and after. Items of a list lie deeper than a key in the same column.
#[derive(Clone, Copy)]
struct Level {
    old: usize,
    new: usize,
}

/// Lays out the lines of a file. `opaque` lines belong to the value that began before them.
pub(super) fn lay_out(lines: &[String], opaque: &[bool]) -> String {
    let mut out = String::new();
    let mut start = 0;
    for end in 0..=lines.len() {
        let is_divider = |line: &String| !opaque[end] && (line == "---" || line.starts_with("--- "));
        if end < lines.len() && !is_divider(&lines[end]) {
            continue;
        }
        document(&lines[start..end], &opaque[start..end], &mut out);
        if let Some(divider) = lines.get(end) {
            out.push_str(divider.trim_end());
            out.push('\n');
        }
        start = end + 1;
    }
    out
}

/// A top-level attribute with the comments above it.
struct Block {
    rank: usize,
    lines: Vec<String>,
}

fn document(lines: &[String], opaque: &[bool], out: &mut String) {
    let mut header: Vec<String> = Vec::new();
    let mut blocks: Vec<Block> = Vec::new();
    // Comments that belong to whatever comes next.
    let mut waiting: Vec<String> = Vec::new();
    for (text, inner) in indented(lines, opaque) {
        if inner || text.starts_with(' ') {
            let target = blocks.last_mut().map_or(&mut header, |b| &mut b.lines);
            target.append(&mut waiting);
            target.push(text);
        } else if text.is_empty() || text.starts_with('#') {
            waiting.push(text);
        } else {
            let key = text.split(':').next().unwrap_or_default().trim_matches(['\'', '"']);
            let rank = ORDER.iter().position(|name| *name == key).unwrap_or(ORDER.len());
            if blocks.is_empty() {
                header.append(&mut waiting);
            }
            let mut own = std::mem::take(&mut waiting);
            own.push(dashed(key, &text));
            blocks.push(Block { rank, lines: own });
        }
    }
    blocks.sort_by_key(|b| b.rank);
    let mut last_blank = true;
    let body = blocks.into_iter().flat_map(|b| b.lines);
    for line in header.into_iter().chain(body).chain(waiting) {
        if !(line.is_empty() && last_blank) {
            out.push_str(&line);
            out.push('\n');
        }
        last_blank = line.is_empty();
    }
    while out.ends_with("\n\n") {
        out.pop();
    }
}

/// `date: 2026/01/31` with dashes.
fn dashed(key: &str, line: &str) -> String {
    let digits = line.split_once(':').map_or("", |(_, value)| value.trim().trim_matches(['\'', '"']));
    let form: String = digits.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
    if matches!(key, "date" | "modified") && form == "0000/00/00" {
        line.replace('/', "-")
    } else {
        line.to_owned()
    }
}

/// The lines with two spaces for each level, and whether each belongs to a value of more than one line.
fn indented(lines: &[String], opaque: &[bool]) -> Vec<(String, bool)> {
    let mut out: Vec<(String, bool)> = Vec::with_capacity(lines.len());
    let mut levels = vec![Level { old: 0, new: 0 }];
    // How far the lines of the present value move, once its first line is seen.
    let mut shift: Option<isize> = None;
    // Comments and blank lines before the next line of content.
    let mut pending = 0;
    for (line, inner) in lines.iter().zip(opaque) {
        let content = line.trim_start_matches(' ');
        let indent = line.len() - content.len();
        if *inner {
            let to = levels.last().map_or(0, |l| l.new) + 2;
            if content.trim().is_empty() {
                out.push((String::new(), true));
                continue;
            }
            let by = *shift.get_or_insert(to as isize - indent as isize);
            let indent = (indent as isize + by).max(0) as usize;
            out.push((format!("{}{content}", " ".repeat(indent)), true));
            continue;
        }
        shift = None;
        let content = content.trim_end();
        if content.is_empty() || content.starts_with('#') {
            out.push((content.to_owned(), false));
            pending += 1;
            continue;
        }
        let new = place(&mut levels, indent, content);
        // Comments stand as deep as what they are about.
        let from = out.len() - pending;
        for (comment, _) in &mut out[from..] {
            if !comment.is_empty() {
                *comment = format!("{}{comment}", " ".repeat(new));
            }
        }
        pending = 0;
        out.push((format!("{}{}", " ".repeat(new), dashes(content)), false));
    }
    out
}

/// The new indentation of a line of content; the levels are then those of what it may hold.
fn place(levels: &mut Vec<Level>, indent: usize, content: &str) -> usize {
    let is_item = |text: &str| text == "-" || text.starts_with("- ");
    let mut enter = |old: usize| {
        while levels.len() > 1 && levels.last().is_some_and(|l| l.old > old) {
            levels.pop();
        }
        let top = *levels.last().unwrap_or(&Level { old: 0, new: 0 });
        if top.old < old {
            levels.push(Level { old, new: top.new + 2 });
        }
        levels.last().map_or(0, |l| l.new)
    };
    let new = enter(2 * indent + usize::from(is_item(content)));
    let (mut rest, mut column) = (content, indent);
    while is_item(rest) {
        let inner = rest[1..].trim_start_matches(' ');
        column += rest.len() - inner.len();
        rest = inner;
        if !rest.is_empty() {
            enter(2 * column + usize::from(is_item(rest)));
        }
    }
    new
}

/// One space after the dash of an item.
fn dashes(content: &str) -> String {
    match content.strip_prefix("- ") {
        Some(rest) => format!("- {}", dashes(rest.trim_start_matches(' '))),
        None => content.to_owned(),
    }
}
