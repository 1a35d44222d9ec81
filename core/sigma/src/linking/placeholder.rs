//! Placeholders: names in a rule that mean something else in each organisation, `%Administrators%`.

use std::borrow::Cow;
use std::collections::BTreeMap;

use crate::error::{Fault, Pos, RuleError};
use crate::language::ast::{Detection, Expand, Node};
use crate::language::attributes::texts;
use crate::language::modifiers::FieldKey;
use crate::language::rule::Rule;
use crate::language::yaml::{self, Kind};
use crate::limits;

/// What each placeholder stands for.
///
/// ```
/// use wardline_sigma::{Collection, LinkOptions, Placeholders};
///
/// let mut collection = Collection::parse(
///     r"
/// title: Administrator at a workstation
/// logsource: {product: windows, service: security}
/// detection:
///   selection: {TargetUserName|expand: '%Administrators%'}
///   condition: selection
/// ",
///     "administrators.yml",
/// )?;
/// let mut options = LinkOptions::default();
/// options.placeholders = Placeholders::parse("Administrators: [adm_*, root]", "placeholders.yml")?;
/// assert!(collection.link(&options).faults.is_empty());
/// # Ok::<(), wardline_sigma::RuleError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Placeholders {
    values: BTreeMap<String, Vec<String>>,
}

impl Placeholders {
    /// Reads a file of placeholders: YAML, `name: value` or `name: [value, value]`. The values are Sigma strings: they
    /// may hold wildcards.
    ///
    /// # Errors
    /// The first fault, with its place.
    pub fn parse(text: &str, origin: &str) -> Result<Self, RuleError> {
        Self::read(text).map_err(|fault| fault.at(origin))
    }

    fn read(text: &str) -> Result<Self, Fault> {
        let mut out = Self::default();
        for document in yaml::parse(text.strip_prefix('\u{feff}').unwrap_or(text))? {
            let Kind::Mapping(pairs) = &document.root.kind else {
                return Err(Fault::new(
                    "S003",
                    document.root.pos,
                    "a file of placeholders is a mapping of names to values",
                    "write `name: [value, value]`",
                ));
            };
            for (key, value) in pairs {
                if name_at(&format!("{}%", key.text)) != Some(key.text.as_str()) {
                    return Err(Fault::new(
                        "S011",
                        key.pos,
                        format!("`{}` is not the name of a placeholder", key.text),
                        "names have letters, digits, `_`, `-` and `.`; leave the percent signs out",
                    ));
                }
                let values = texts(&document.root, &key.text)?;
                if values.is_empty() {
                    return Err(Fault::new(
                        "S011",
                        value.pos,
                        format!("the placeholder `{}` has no value", key.text),
                        "give at least one",
                    ));
                }
                out.insert(&key.text, values);
            }
        }
        Ok(out)
    }

    /// Adds values to a placeholder.
    pub fn insert(&mut self, name: &str, values: impl IntoIterator<Item = String>) {
        self.values.entry(name.to_owned()).or_default().extend(values);
    }

    /// What a placeholder stands for; empty if it has no value.
    pub fn get(&self, name: &str) -> &[String] {
        self.values.get(name).map_or(&[], Vec::as_slice)
    }
}

/// A part of a value.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Segment<'a> {
    /// A Sigma string.
    Text(Cow<'a, str>),
    /// The name of a placeholder.
    Name(&'a str),
}

/// Takes a value with `expand` apart. `\%` is a plain percent sign, as is one that begins no name; a backslash before a
/// placeholder is written `\\`.
pub(crate) fn segments(text: &str) -> Vec<Segment<'_>> {
    let mut out = Vec::new();
    let mut plain = String::new();
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let mut next = c.len_utf8();
        if let Some(name) = rest.strip_prefix('%').and_then(name_at) {
            if !plain.is_empty() {
                out.push(Segment::Text(Cow::Owned(std::mem::take(&mut plain))));
            }
            out.push(Segment::Name(name));
            next = name.len() + 2;
        } else if rest.starts_with(r"\\") {
            plain.push_str(r"\\");
            next = 2;
        } else if rest.starts_with(r"\%") {
            plain.push('%');
            next = 2;
        } else {
            plain.push(c);
        }
        rest = &rest[next..];
    }
    if !plain.is_empty() || out.is_empty() {
        out.push(Segment::Text(Cow::Owned(plain)));
    }
    out
}

/// The name with which the text begins, if a percent sign follows it.
fn name_at(text: &str) -> Option<&str> {
    let end = text.find(|c: char| !(c.is_alphanumeric() || matches!(c, '_' | '-' | '.')))?;
    (end > 0 && text[end..].starts_with('%')).then(|| &text[..end])
}

/// The fault of a rule with a placeholder that has no value.
pub(crate) fn missing(rule: &Rule) -> Option<RuleError> {
    let expand = rule.detection.placeholder()?;
    let name = segments(&expand.text).into_iter().find_map(|s| match s {
        Segment::Name(name) => Some(name.to_owned()),
        Segment::Text(_) => None,
    });
    Some(without_value(&name.unwrap_or_default(), expand.span.pos()).at(&rule.origin))
}

fn without_value(name: &str, at: Pos) -> Fault {
    Fault::new(
        "S033",
        at,
        format!("the placeholder `%{name}%` has no value"),
        format!("give it one: `{name}: [value, value]` in a file of placeholders"),
    )
}

fn too_many(at: Pos) -> Fault {
    Fault::new(
        "S002",
        at,
        format!("with this value, placeholders add more than {} bytes to the rules", limits::LINK_BYTES),
        "give them fewer values; long lists of indicators belong in an indicator feed",
    )
}

/// Puts the tests of their values in the place of all placeholders. `budget` is how many bytes that may take.
pub(crate) fn expand(
    detection: &mut Detection,
    values: &Placeholders,
    budget: &mut usize,
) -> Result<(), Fault> {
    detection.selections.iter_mut().try_for_each(|s| expand_node(&mut s.body, values, budget))
}

fn expand_node(node: &mut Node, values: &Placeholders, budget: &mut usize) -> Result<(), Fault> {
    match node {
        Node::And(parts) | Node::Or(parts) => {
            parts.iter_mut().try_for_each(|p| expand_node(p, values, budget))
        }
        Node::Test(_) => Ok(()),
        Node::Expand(value) => {
            *node = tests(value, values, budget)?;
            Ok(())
        }
    }
}

/// One test for each way to put values in the place of the placeholders; one of them is enough.
fn tests(value: &Expand, values: &Placeholders, budget: &mut usize) -> Result<Node, Fault> {
    let at = value.span.pos();
    let key = FieldKey::parse((*value.item).clone(), value.item.span.pos())?;
    let segments = segments(&value.text);
    let mut choices: Vec<&[String]> = Vec::new();
    for segment in &segments {
        let Segment::Name(name) = segment else { continue };
        match values.get(name) {
            [] => return Err(without_value(name, at)),
            found => choices.push(found),
        }
    }
    let count = choices.iter().fold(1, |n: usize, found| n.saturating_mul(found.len()));
    if key.is_regex() && count > limits::RULE_REGEXES {
        return Err(Fault::new(
            "S002",
            at,
            format!("with this value, the rule has more than {} regular expressions", limits::RULE_REGEXES),
            "give the placeholder fewer values, or do without `re`",
        ));
    }
    let spend = |budget: &mut usize, bytes: usize| {
        *budget = budget.checked_sub(bytes).ok_or_else(|| too_many(at))?;
        Ok(())
    };
    spend(budget, count.saturating_mul(limits::LINK_TEST))?;
    let mut parts = Vec::with_capacity(count);
    for mut number in 0..count {
        let chosen: Vec<&str> = choices
            .iter()
            .map(|found| {
                let value = &found[number % found.len()];
                number /= found.len();
                value.as_str()
            })
            .collect();
        spend(budget, 2 * chosen.iter().map(|value| value.len()).sum::<usize>())?;
        parts.push(key.expanded(&segments, &chosen, value.span)?);
    }
    Ok(if key.negated { Node::And(parts) } else { Node::Or(parts) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        segments(text)
            .iter()
            .map(|segment| match segment {
                Segment::Text(text) => format!("[{text}]"),
                Segment::Name(name) => format!("<{name}>"),
            })
            .collect()
    }

    #[test]
    fn a_value_is_taken_apart_at_its_placeholders() {
        for (text, wanted) in [
            ("%name%", "<name>"),
            ("a%b%c%d%", "[a]<b>[c]<d>"),
            ("%a%%b%", "<a><b>"),
            (r"\%plain%name%", "[%plain]<name>"),
            (r"\%name%", "[%name%]"),
            (r"C:\\%name%", r"[C:\\]<name>"),
            (r"C:\Users\%name%", r"[C:\Users%name%]"),
            ("100%", "[100%]"),
            ("5% of 10% x", "[5% of 10% x]"),
            ("%%", "[%%]"),
            ("%é-1.x_y%", "<é-1.x_y>"),
            ("", "[]"),
        ] {
            assert_eq!(shown(text), wanted, "{text}");
        }
    }
}
