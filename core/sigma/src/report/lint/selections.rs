//! Selections that ask one field for two things that it cannot be at once.

use super::items::{Item, Selection};
use super::report::{Report, Span};
use crate::language::pattern::{Token, fold, glob};
use crate::language::yaml::Typed;

use super::values::pattern;

/// Pairs of values that are compared in one selection.
const COMPARED: usize = 10_000;

pub(super) fn check(selections: &[Selection<'_>], report: &mut Report<'_>) {
    for group in selections.iter().flat_map(|s| &s.groups) {
        for item in group {
            all_of_several(item, report);
        }
        for (i, exact) in group.iter().enumerate() {
            let Some(texts) = texts(exact) else { continue };
            for (j, other) in group.iter().enumerate() {
                if i != j && (i < j || !is_exact(other)) && other.field == exact.field {
                    contradiction(&texts, exact, other, report);
                }
            }
        }
    }
}

/// Items whose values are texts without wildcards and that need only one of them.
fn texts(item: &Item<'_>) -> Option<Vec<String>> {
    let plain = !item.field.is_empty() && item.modifiers.is_empty();
    let literal =
        |value: &super::items::Value<'_>| match (value.scalar.typed(), pattern(item, value).as_slice()) {
            (Typed::Str(_), []) => Some(String::new()),
            (Typed::Str(_), [Token::Lit(text)]) => Some(fold(text).into_owned()),
            _ => None,
        };
    if !plain || item.values.is_empty() {
        return None;
    }
    item.values.iter().map(literal).collect()
}

fn is_exact(item: &Item<'_>) -> bool {
    texts(item).is_some()
}

/// `Field|all` with two texts that the field would have to be at once.
fn all_of_several(item: &Item<'_>, report: &mut Report<'_>) {
    let ends = ["contains", "startswith", "endswith"];
    if !item.has("all")
        || item.field.is_empty()
        || !item.is_text()
        || item.modifiers.iter().any(|m| ends.contains(m))
    {
        return;
    }
    let literals = item
        .values
        .iter()
        .filter(|v| !pattern(item, v).iter().any(|t| *t == Token::Many || *t == Token::One));
    if literals.count() > 1
        && let Some(key) = item.key
    {
        let message = format!("`{}` would have to be several texts at once", item.field);
        let help =
            "without `all` one of the values is enough; with `contains|all` the field holds all of them";
        report.add("S121", Span::of_key(key), message, help);
    }
}

fn contradiction(texts: &[String], exact: &Item<'_>, other: &Item<'_>, report: &mut Report<'_>) {
    let simple = |m: &&str| matches!(*m, "contains" | "startswith" | "endswith" | "all");
    let Some(key) = other.key.filter(|_| other.modifiers.iter().all(simple)) else { return };
    if texts.len() * other.values.len() > COMPARED || other.values.is_empty() {
        return;
    }
    let fits = |value: &super::items::Value<'_>, text: &str| {
        if !matches!(value.scalar.typed(), Typed::Str(_)) {
            return true;
        }
        let mut tokens = pattern(other, value);
        for token in &mut tokens {
            if let Token::Lit(literal) = token {
                *literal = fold(literal).into_owned();
            }
        }
        glob(&tokens, text)
    };
    let possible = texts.iter().any(|text| {
        if other.has("all") {
            other.values.iter().all(|v| fits(v, text))
        } else {
            other.values.iter().any(|v| fits(v, text))
        }
    });
    if !possible {
        let message =
            format!("no value of `{}` is also one of `{}`", exact.key.map_or("", |k| &k.text), key.text);
        let help = "both must hold: put one of them into a selection of its own, or correct a value";
        report.add("S121", Span::of_key(key), message, help);
    }
}
