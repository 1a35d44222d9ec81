//! Values that are compared as text: wildcards, emptiness, one value that covers another.

use std::collections::HashMap;

use super::items::{Item, Value};
use super::report::{Report, Span};
use crate::language::pattern::{Token, fold, glob, tokens};
use crate::language::yaml::{Scalar, Typed};

/// Values of one list that are compared with each other.
const COMPARED: usize = 400;

pub(super) fn check(item: &Item<'_>, report: &mut Report<'_>) {
    if item.is_text() && !item.has("expand") {
        for value in &item.values {
            wildcards(item, value, report);
            escaped(item, value, report);
            short(item, value, report);
            emptiness(item, value, report);
        }
    }
    repeated(item, report);
    if item.is_text() && !item.is_encoded() && !item.has("expand") {
        covered(item, report);
    }
}

/// What the item asks a text for, its case as written.
pub(super) fn pattern(item: &Item<'_>, value: &Value<'_>) -> Vec<Token> {
    let mut out = written(value.scalar);
    let anywhere = item.has("contains") || item.field.is_empty();
    if (anywhere || item.has("endswith")) && out.first() != Some(&Token::Many) {
        out.insert(0, Token::Many);
    }
    if (anywhere || item.has("startswith")) && out.last() != Some(&Token::Many) {
        out.push(Token::Many);
    }
    out
}

fn written(scalar: &Scalar) -> Vec<Token> {
    match scalar.typed() {
        Typed::Str(text) => tokens(text),
        _ => vec![Token::Lit(scalar.text.clone())],
    }
}

fn wildcards(item: &Item<'_>, value: &Value<'_>, report: &mut Report<'_>) {
    let tokens = written(value.scalar);
    let (first, last) = (tokens.first() == Some(&Token::Many), tokens.last() == Some(&Token::Many));
    if !first && !last {
        return;
    }
    let at = Span::of_node(value.node);
    let (anywhere, start, end) = (item.has("contains"), item.has("startswith"), item.has("endswith"));
    if tokens.len() == 1 {
        if item.field.is_empty() || anywhere || start || end {
            let message = "this value matches everything";
            let help = "ask for something; or for `exists: true`, if the field only has to be there";
            report.add("S138", at, message, help);
        }
        // `Field: '*'` is how Sigma 1 said that there is a value.
        return;
    }
    if item.field.is_empty() && (first || last) || anywhere || start && last || end && first {
        let what = if anywhere || item.field.is_empty() { "found anywhere" } else { "open at this end" };
        let message = format!("the wildcard changes nothing: the value is {what} already");
        return report.add("S135", at, message, "remove the wildcard");
    }
    if start || end || !item.modifiers.iter().all(|m| matches!(*m, "all" | "cased" | "neq")) {
        return;
    }
    let inner = tokens.len() - usize::from(first) - usize::from(last);
    if inner == 1 && !tokens.contains(&Token::One) {
        let modifier = match (first, last) {
            (true, true) => "contains",
            (true, false) => "endswith",
            _ => "startswith",
        };
        let help = format!("write `{}|{modifier}` and the value without wildcards", item.field);
        report.add("S134", at, format!("`{modifier}` says what these wildcards say"), help);
    }
}

/// `C:\Temp\*`: the backslash makes the star a plain star.
fn escaped(item: &Item<'_>, value: &Value<'_>, report: &mut Report<'_>) {
    let text = value.scalar.text.as_str();
    let Typed::Str(_) = value.scalar.typed() else { return };
    // Only where other backslashes divide folders, and the last one stands before a star at the end.
    let Some(before) = text.strip_suffix(r"\*") else { return };
    let odd = (before.len() - before.trim_end_matches('\\').len()).is_multiple_of(2);
    let meant = before.contains(r"\*") || before.contains(r"\?");
    if odd && before.contains('\\') && !meant && !item.is_encoded() {
        let help = format!(r"for anything below that folder write `startswith` and `{before}\`");
        let message = r"`\*` is a star itself, not a wildcard after a backslash";
        report.add("S139", Span::of_node(value.node), message, help);
    }
}

fn short(item: &Item<'_>, value: &Value<'_>, report: &mut Report<'_>) {
    if !(item.has("contains") || item.field.is_empty()) || item.has("all") || item.is_encoded() {
        return;
    }
    // Signs and rare letters are worth a look, common ones alone are not.
    if let [Token::Lit(text)] = written(value.scalar).as_slice()
        && text.len() == 1
        && text.bytes().all(|b| b.is_ascii_alphanumeric())
    {
        let message = format!("`{}` is in nearly every text", value.scalar.text);
        report.add(
            "S130",
            Span::of_node(value.node),
            message,
            "ask for more of the text, or for where it stands",
        );
    }
}

fn emptiness(item: &Item<'_>, value: &Value<'_>, report: &mut Report<'_>) {
    let at = Span::of_node(value.node);
    let Typed::Str(text) = value.scalar.typed() else { return };
    if text.is_empty() {
        if item.field.is_empty() || ["contains", "startswith", "endswith"].iter().any(|m| item.has(m)) {
            let message = "an empty text is in every text: this value matches everything";
            report.add("S138", at, message, "ask for something, or remove the value");
        }
    } else if !value.scalar.plain
        && matches!(text, "null" | "Null" | "NULL")
        && !item.field.is_empty()
        && item.modifiers.is_empty()
    {
        let help = "write null without quotes if the field is to be missing or null";
        report.add("S138", at, "this asks for the word `null`", help);
    }
}

/// The same value twice, or in another case where case does not count.
fn repeated(item: &Item<'_>, report: &mut Report<'_>) {
    let cased = item.has("cased") || !item.is_text() || item.is_encoded();
    let mut seen: HashMap<String, &str> = HashMap::new();
    for value in &item.values {
        let text = value.scalar.text.as_str();
        let key = if cased { text.to_owned() } else { fold(text).into_owned() };
        // `'1'` and `1` are written alike and are not the same.
        let key = format!("{key}\n{}", matches!(value.scalar.typed(), Typed::Str(_)));
        if let Some(first) = seen.insert(key, text) {
            let (message, help) = if first == text {
                (format!("`{text}` stands twice"), "remove one")
            } else {
                (
                    format!("`{text}` differs from `{first}` in case only"),
                    "remove one: case does not count here",
                )
            };
            report.add("S137", Span::of_node(value.node), message, help);
        }
    }
}

/// Of `contains: [abc, bc]` the first never decides anything.
fn covered(item: &Item<'_>, report: &mut Report<'_>) {
    let n = item.values.len();
    if !(2..=COMPARED).contains(&n) {
        return;
    }
    let cased = item.has("cased");
    let patterns: Vec<Vec<Token>> = item
        .values
        .iter()
        .map(|value| {
            let mut tokens = pattern(item, value);
            for token in &mut tokens {
                if let (Token::Lit(text), false) = (token, cased) {
                    *text = fold(text).into_owned();
                }
            }
            tokens
        })
        .collect();
    let texts: Vec<String> = patterns.iter().map(|p| as_text(p)).collect();
    let needs_all = item.has("all");
    for (i, value) in item.values.iter().enumerate() {
        let by = (0..n).find(|&j| {
            let (wide, narrow) = if needs_all { (i, j) } else { (j, i) };
            i != j && patterns[i] != patterns[j] && covers(&patterns[wide], &texts[narrow])
        });
        let Some(by) = by else { continue };
        let (this, other) = (&value.scalar.text, &item.values[by].scalar.text);
        let message = if needs_all {
            format!("whatever holds `{other}` holds `{this}`")
        } else {
            format!("whatever matches `{this}` matches `{other}` too")
        };
        report.add("S136", Span::of_node(value.node), message, "remove it, or make the other narrower");
    }
}

/// Stands for a wildcard in a text; no rule holds it, since it is no character.
const HOLE: char = '\u{10FFFF}';

fn as_text(tokens: &[Token]) -> String {
    let part = |t: &Token| match t {
        Token::Lit(text) => text.clone(),
        _ => HOLE.to_string(),
    };
    tokens.iter().map(part).collect()
}

/// Whether every text that the one pattern matches is matched by the other. Says no where it is not sure: only
/// stars may stand for the other's wildcards, and a `?` in the wide one is never taken for anything.
fn covers(wide: &[Token], narrow: &str) -> bool {
    !wide.contains(&Token::One) && glob(wide, narrow)
}
