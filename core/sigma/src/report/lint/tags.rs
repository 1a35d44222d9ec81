//! Tags: `namespace.name`, and what ATT&CK knows.

use super::report::{Report, Span};
use crate::suggest::nearest;

/// ATT&CK's tactics for enterprise, mobile and industrial systems, as tags write them; `defense-evasion` is what
/// `stealth` and `defense-impairment` were in older versions.
const TACTICS: &[&str] = &[
    "collection",
    "command-and-control",
    "credential-access",
    "defense-evasion",
    "defense-impairment",
    "discovery",
    "evasion",
    "execution",
    "exfiltration",
    "impact",
    "impair-process-control",
    "inhibit-response-function",
    "initial-access",
    "lateral-movement",
    "persistence",
    "privilege-escalation",
    "reconnaissance",
    "resource-development",
    "stealth",
];

pub(super) fn check(tag: &str, at: Span, report: &mut Report<'_>) {
    let wrong = |c: char| !(c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '.' | '-' | '_'));
    let (namespace, name) = tag.split_once('.').unwrap_or((tag, ""));
    if name.is_empty() || namespace.is_empty() || tag.contains(wrong) {
        let help = "write it as `namespace.name` with small letters, digits, `-` and `.`";
        return report.add("S108", at, format!("`{tag}` is not a tag"), help);
    }
    let form = match namespace {
        "attack" => return attack(name, at, report),
        "cve" if !dashed(name, &[4..=4, 4..=7]) => "cve.2021-44228",
        "car" if !dashed(name, &[4..=4, 2..=2, 3..=3]) => "car.2016-04-005",
        "tlp" if !matches!(name, "red" | "amber" | "amber-strict" | "green" | "white" | "clear") => {
            "tlp.red, tlp.amber, tlp.amber-strict, tlp.green or tlp.clear"
        }
        _ => return,
    };
    report.add(
        "S108",
        at,
        format!("`{tag}` does not have the form of the namespace `{namespace}`"),
        format!("write it as {form}"),
    );
}

/// Numbers with these counts of digits, divided by dashes.
fn dashed(name: &str, digits: &[std::ops::RangeInclusive<usize>]) -> bool {
    let parts: Vec<&str> = name.split('-').collect();
    let fits = |part: &str, n: &std::ops::RangeInclusive<usize>| {
        n.contains(&part.len()) && part.bytes().all(|b| b.is_ascii_digit())
    };
    parts.len() == digits.len() && parts.iter().zip(digits).all(|(part, n)| fits(part, n))
}

fn attack(name: &str, at: Span, report: &mut Report<'_>) {
    if TACTICS.contains(&name) || is_id(name) {
        return;
    }
    let help = if looks_like_id(name) {
        "ids are written attack.t1059, attack.t1059.001, attack.g0016, attack.s0002".to_owned()
    } else {
        match nearest(&name.replace('_', "-"), TACTICS.iter().copied()) {
            Some(tactic) => format!("did you mean `attack.{tactic}`?"),
            None => format!("tactics: {}", TACTICS.join(", ")),
        }
    };
    report.add("S109", at, format!("ATT&CK has no `{name}`"), help);
}

/// A technique, group, software, campaign, mitigation, asset or data source.
fn is_id(name: &str) -> bool {
    let digits = |text: &str, n: usize| text.len() == n && text.bytes().all(|b| b.is_ascii_digit());
    if let Some(rest) = name.strip_prefix("ta").or_else(|| name.strip_prefix("ds")) {
        return digits(rest, 4);
    }
    if let Some(rest) = name.strip_prefix('t') {
        return match rest.split_once('.') {
            Some((technique, sub)) => digits(technique, 4) && digits(sub, 3),
            None => digits(rest, 4),
        };
    }
    name.strip_prefix(['g', 's', 'c', 'm', 'a']).is_some_and(|rest| digits(rest, 4))
}

fn looks_like_id(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic()) && name[1..].starts_with(|c: char| c.is_ascii_digit())
}
