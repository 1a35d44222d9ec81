//! Regular expressions of pipelines: written for Python, read here.

use regex::{Regex, RegexBuilder};

use super::SHAPE;
use super::step::Replacement;
use crate::error::Fault;
use crate::language::yaml::Node;
use crate::limits;

/// An expression that is looked for anywhere.
pub(super) fn anywhere(node: &Node) -> Result<Regex, Fault> {
    build(node, &SHAPE.text(node, "a regular expression")?)
}

/// An expression that must match from the beginning on, as Python's `match` asks.
pub(super) fn at_beginning(node: &Node) -> Result<Regex, Fault> {
    let text = SHAPE.text(node, "a regular expression")?;
    // Read alone first, so that a bracket too many is not taken for the end of the group.
    build(node, &text)?;
    build(node, &format!("^(?:{text})"))
}

fn build(node: &Node, text: &str) -> Result<Regex, Fault> {
    RegexBuilder::new(text).size_limit(limits::REGEX_BYTES).build().map_err(|error| {
        let full = error.to_string();
        let what = full.lines().last().unwrap_or_default().trim_start_matches("error: ");
        SHAPE.fault(
            node,
            format!("the regular expression `{text}` cannot be read: {what}"),
            "it can have no look-around and no back-references",
        )
    })
}

/// What is put in the place of a match, in Python's writing: `\1`, `\g<1>`, `\g<name>`, `\\`, `\n`, `\t`.
pub(super) fn replacement(node: &Node, regex: &Regex) -> Result<Vec<Replacement>, Fault> {
    let scalar = SHAPE.scalar(node, "`replacement`")?;
    let wrong = |what: &str| {
        Err(SHAPE.fault(
            node,
            format!("`{}` is not a replacement: {what}", scalar.text),
            r"groups are `\1` and `\g<name>`, a backslash is `\\`",
        ))
    };
    let mut out = Vec::new();
    let mut text = String::new();
    let mut rest = scalar.text.as_str();
    while let Some(c) = rest.chars().next() {
        let tail = &rest[c.len_utf8()..];
        if c != '\\' {
            text.push(c);
            rest = tail;
            continue;
        }
        let Some(next) = tail.chars().next() else { return wrong("it ends in a backslash") };
        let after = &tail[next.len_utf8()..];
        let group = match next {
            '\\' => {
                text.push('\\');
                rest = after;
                continue;
            }
            'n' | 't' | 'r' => {
                text.push(match next {
                    'n' => '\n',
                    't' => '\t',
                    _ => '\r',
                });
                rest = after;
                continue;
            }
            'g' => {
                let Some((name, behind)) = after.strip_prefix('<').and_then(|a| a.split_once('>')) else {
                    return wrong(r"`\g` without `<name>`");
                };
                rest = behind;
                name.parse().map_or_else(|_| Replacement::Named(name.to_owned()), Replacement::Group)
            }
            '0'..='9' => {
                let digits = tail.len() - tail.trim_start_matches(|c: char| c.is_ascii_digit()).len();
                rest = &tail[digits.min(2)..];
                Replacement::Group(tail[..digits.min(2)].parse().unwrap_or(usize::MAX))
            }
            'a'..='z' | 'A'..='Z' => return wrong("a backslash before a letter"),
            other => {
                // Python keeps the backslash before what is no letter.
                text.push('\\');
                text.push(other);
                rest = after;
                continue;
            }
        };
        let known = match &group {
            Replacement::Group(n) => *n < regex.captures_len(),
            Replacement::Named(name) => regex.capture_names().flatten().any(|n| n == name),
            Replacement::Text(_) => true,
        };
        if !known {
            return wrong("it names a group that the expression does not have");
        }
        if !text.is_empty() {
            out.push(Replacement::Text(std::mem::take(&mut text)));
        }
        out.push(group);
    }
    if !text.is_empty() {
        out.push(Replacement::Text(text));
    }
    Ok(out)
}
