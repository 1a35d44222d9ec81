//! Everything around the detection: id, dates, status, references, tags, misspelled names.

use std::collections::HashSet;

use super::report::{Report, Span};
use super::tags;
use crate::language::attributes::DEFINED;
use crate::language::yaml::{Key, Kind, Node, Scalar};
use crate::suggest::nearest;

/// Characters of a title that lists and tables can still show.
const TITLE_CHARS: usize = 110;
/// What the specification lets `status` be.
const STATUSES: &[&str] = &["stable", "test", "experimental", "deprecated", "unsupported"];

pub(super) fn check(root: &Node, report: &mut Report<'_>) {
    let Kind::Mapping(pairs) = &root.kind else { return };
    let whole = pairs.first().map_or(Span { pos: root.pos, width: 1 }, |(key, _)| Span::of_key(key));
    id(root, whole, report);
    dates(root, whole, report);
    if let Some((node, title)) = scalar(root, "title")
        && title.text.chars().count() > TITLE_CHARS
    {
        let n = title.text.chars().count();
        let message = format!("the title has {n} characters; lists show {TITLE_CHARS}");
        report.add("S104", Span::of_node(node), message, "shorten it; the description has room");
    }
    if let Some((node, status)) = scalar(root, "status")
        && !STATUSES.contains(&status.text.as_str())
    {
        let message = format!("`{}` is not a status", status.text);
        report.add("S105", Span::of_node(node), message, format!("statuses: {}", STATUSES.join(", ")));
    }
    // A correlation may take the level of its rules, a filter has none.
    if root.get("level").is_none() && root.get("detection").is_some() {
        let help = "add `level:` with informational, low, medium, high or critical";
        report.add("S106", whole, "the rule has no level", help);
    }
    for (node, reference) in entries(root, "references") {
        if !is_link(&reference.text) {
            let message = "this reference is not a link";
            report.add(
                "S107",
                Span::of_node(node),
                message,
                "give the address of a page, or leave it to the description",
            );
        }
    }
    for (node, tag) in entries(root, "tags") {
        tags::check(&tag.text, Span::of_node(node), report);
    }
    for list in ["tags", "references", "falsepositives", "fields"] {
        let mut seen = HashSet::new();
        for (node, entry) in entries(root, list) {
            if !seen.insert(entry.text.to_lowercase()) {
                let message = format!("`{}` stands twice in `{list}`", entry.text);
                report.add("S111", Span::of_node(node), message, "remove one");
            }
        }
    }
    for (key, _) in pairs {
        misspelled(key, pairs, report);
    }
}

fn scalar<'a>(root: &'a Node, name: &str) -> Option<(&'a Node, &'a Scalar)> {
    match root.get(name) {
        Some(node @ Node { kind: Kind::Scalar(scalar), .. }) => Some((node, scalar)),
        _ => None,
    }
}

/// The scalars of a list, or the only one that stands in its place.
fn entries<'a>(root: &'a Node, name: &str) -> Vec<(&'a Node, &'a Scalar)> {
    let items = match root.get(name) {
        Some(Node { kind: Kind::Sequence(items), .. }) => items.as_slice(),
        Some(node) => std::slice::from_ref(node),
        None => &[],
    };
    let scalars = items.iter().filter_map(|node| match &node.kind {
        Kind::Scalar(scalar) if !scalar.text.is_empty() => Some((node, scalar)),
        _ => None,
    });
    scalars.collect()
}

fn id(root: &Node, whole: Span, report: &mut Report<'_>) {
    let help = "give the rule a UUID of its own (version 4), and keep it when the rule changes";
    match scalar(root, "id") {
        None => report.add("S100", whole, "the rule has no id", help),
        Some((node, id)) if !is_uuid(&id.text) => {
            report.add("S101", Span::of_node(node), format!("`{}` is not a UUID", id.text), help);
        }
        Some(_) => {}
    }
}

fn is_uuid(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(i, b)| match i {
            8 | 13 | 18 | 23 => b == b'-',
            _ => b.is_ascii_hexdigit(),
        })
}

fn dates(root: &Node, whole: Span, report: &mut Report<'_>) {
    if root.get("date").is_none() {
        report.add(
            "S102",
            whole,
            "the rule has no date",
            "add `date:` with the day of its first version, YYYY-MM-DD",
        );
    }
    let mut days = Vec::new();
    for name in ["date", "modified"] {
        let Some((node, text)) = scalar(root, name) else { continue };
        let at = Span::of_node(node);
        match day(&text.text) {
            Some(day) => days.push((day, at)),
            None if day(&text.text.replace('/', "-")).is_some() => {
                let help = format!("write {}", text.text.replace('/', "-"));
                report.add("S103", at, "dates have dashes since Sigma 2.0", help);
            }
            None => {
                let message = format!("`{}` is not a day", text.text);
                report.add("S103", at, message, "write it as YYYY-MM-DD");
            }
        }
    }
    if let [(date, _), (modified, at)] = days.as_slice()
        && modified < date
    {
        report.add(
            "S103",
            *at,
            "the rule was modified before it was written",
            "exchange the dates, or correct one",
        );
    }
}

/// Year, month and day, if there is such a day.
fn day(text: &str) -> Option<(u16, u8, u8)> {
    let b = text.as_bytes();
    let digits = |from: usize, to: usize| {
        text.get(from..to)
            .filter(|t| t.bytes().all(|b| b.is_ascii_digit()))
            .and_then(|t| t.parse::<u16>().ok())
    };
    if b.len() != 10 || b[4] != b'-' || b[7] != b'-' {
        return None;
    }
    let (year, month, day) = (digits(0, 4)?, digits(5, 7)? as u8, digits(8, 10)? as u8);
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let last = match month {
        2 => 28 + u8::from(leap),
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return None,
    };
    (1..=last).contains(&day).then_some((year, month, day))
}

fn is_link(text: &str) -> bool {
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    rest.is_some_and(|rest| rest.contains('.') && !rest.contains(char::is_whitespace))
}

/// An attribute that Sigma does not define is a rule's own business, unless it is nearly one that Sigma does
/// define and that the rule lacks.
fn misspelled(key: &Key, pairs: &[(Key, Node)], report: &mut Report<'_>) {
    let name = key.text.as_str();
    if DEFINED.contains(&name) {
        return;
    }
    let missing = DEFINED.iter().copied().filter(|d| !pairs.iter().any(|(key, _)| key.text == *d));
    let lower = name.to_ascii_lowercase().replace(['_', '-', ' '], "");
    if let Some(meant) = nearest(&lower, missing) {
        let help = format!("write `{meant}:`; other attributes of your own may have any other name");
        report.add("S110", Span::of_key(key), format!("Sigma has no attribute `{name}`"), help);
    }
}
