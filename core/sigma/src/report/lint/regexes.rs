//! Regular expressions that say too little, too much, or what a text says better.

use regex_syntax::ParserBuilder;
use regex_syntax::hir::{Hir, HirKind, Look};

use super::items::{Item, Value};
use super::report::{Report, Span};
use crate::language::literal;

/// Repetitions that are counted out, multiplied where they are nested; each is a state of its own.
const REPETITIONS: u64 = 1000;

pub(super) fn check(item: &Item<'_>, report: &mut Report<'_>) {
    if item.has("re") {
        for value in &item.values {
            expression(item, value, report);
        }
    }
}

fn expression(item: &Item<'_>, value: &Value<'_>, report: &mut Report<'_>) {
    let at = Span::of_node(value.node);
    let (any_case, text) = match value.scalar.text.strip_prefix("(?i)") {
        Some(rest) => (true, rest),
        None => (item.has("i"), value.scalar.text.as_str()),
    };
    // Without the flag, so that letters stay letters.
    let Ok(hir) = ParserBuilder::new().nest_limit(100).build().parse(text) else { return };
    let parts = match hir.kind() {
        HirKind::Concat(parts) => parts.as_slice(),
        _ => std::slice::from_ref(&hir),
    };
    let (first, last) = (parts.first().is_some_and(is_anything), parts.last().is_some_and(is_anything));
    let inner = &parts[usize::from(first).min(parts.len())..];
    let inner = &inner[..inner.len() - usize::from(last && !inner.is_empty())];
    if inner.is_empty() {
        let message = "this regular expression matches every text";
        let help = format!("write `{}|exists: true` if the field only has to be there", item.field);
        return report.add("S138", at, message, help);
    }
    if let Some((modifier, literal)) = plain(inner, first, last) {
        let cased = if any_case { "" } else { "|cased" };
        let key =
            if modifier.is_empty() { item.field.to_owned() } else { format!("{}|{modifier}", item.field) };
        let help =
            format!("write `{key}{cased}: '{}'`, which is faster", escaped(&literal).replace('\'', "''"));
        return report.add("S133", at, "this regular expression is plain text", help);
    }
    if first || last {
        let end = if first { "beginning" } else { "end" };
        let message = format!("`.*` at the {end} changes nothing: the expression is searched for anywhere");
        report.add("S131", at, message, "remove it");
    }
    if repetitions(&hir) > REPETITIONS {
        let message = "counted repetitions make this regular expression big";
        report.add("S132", at, message, "use smaller counts, or `+` and `*`");
    } else if literal::required(&hir).any.is_empty() {
        let message = "no text is in every match of this regular expression, so it is tried on every value";
        let help = "add a text that must be there, or one to each alternative";
        report.add("S132", at, message, help);
    }
}

/// The text as a Sigma string that means it.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        let next_is_special = chars.peek().is_some_and(|next| matches!(next, '*' | '?' | '\\'));
        if matches!(c, '*' | '?') || c == '\\' && next_is_special {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

/// `.*`
fn is_anything(hir: &Hir) -> bool {
    let HirKind::Repetition(repetition) = hir.kind() else { return false };
    let any = [Hir::dot(regex_syntax::hir::Dot::AnyChar), Hir::dot(regex_syntax::hir::Dot::AnyCharExceptLF)];
    repetition.min == 0 && repetition.max.is_none() && any.contains(&repetition.sub)
}

/// The modifier and the text, if the expression is a text with anchors at most.
fn plain(parts: &[Hir], open_start: bool, open_end: bool) -> Option<(&'static str, String)> {
    let is =
        |hir: Option<&Hir>, look: Look| matches!(hir.map(Hir::kind), Some(HirKind::Look(l)) if *l == look);
    let start = !open_start && is(parts.first(), Look::Start);
    let end = !open_end && is(parts.last(), Look::End);
    let inner = parts.get(usize::from(start)..parts.len() - usize::from(end))?;
    let [only] = inner else { return None };
    let HirKind::Literal(literal) = only.kind() else { return None };
    let text = std::str::from_utf8(&literal.0).ok()?.to_owned();
    let modifier = match (start, end) {
        (true, true) => "",
        (true, false) => "startswith",
        (false, true) => "endswith",
        (false, false) => "contains",
    };
    Some((modifier, text))
}

/// The largest product of counted repetitions that lie within each other.
fn repetitions(hir: &Hir) -> u64 {
    match hir.kind() {
        HirKind::Repetition(r) => {
            let count = u64::from(r.max.unwrap_or(r.min).max(r.min).max(1));
            count.saturating_mul(repetitions(&r.sub))
        }
        HirKind::Capture(c) => repetitions(&c.sub),
        HirKind::Concat(parts) | HirKind::Alternation(parts) => {
            parts.iter().map(repetitions).max().unwrap_or(1)
        }
        _ => 1,
    }
}
