//! Modifiers that do nothing, or not what they seem to.

use std::net::IpAddr;

use super::items::Item;
use super::report::{Report, Span};
use crate::language::yaml::Key;

pub(super) fn check(item: &Item<'_>, report: &mut Report<'_>) {
    let Some(key) = item.key else { return };
    let at = |modifier: &str| {
        item.place_of(modifier).map_or(Span::of_key(key), |(from, n)| Span::in_key(key, from, n))
    };
    if item.has("all") && item.values.len() == 1 {
        let help = "remove `all`, or give the other values";
        report.add("S140", at("all"), "`all` needs several values, and this is one", help);
    }
    encodings(item, key, report);
    let has_dash = |text: &str| text.contains(['-', '/', '\u{2013}', '\u{2014}', '\u{2015}']);
    if item.has("windash") && !item.values.iter().any(|v| has_dash(&v.scalar.text)) {
        report.add(
            "S142",
            at("windash"),
            "no value has a dash that `windash` could vary",
            "remove `windash`",
        );
    }
    if item.has("cidr") {
        networks(item, report);
    }
    if item.has("fieldref") {
        for value in item.values.iter().filter(|v| v.scalar.text == item.field) {
            let message = format!("`{}` is compared with itself", item.field);
            report.add("S144", Span::of_node(value.node), message, "name another field");
        }
    }
}

fn encodings(item: &Item<'_>, key: &Key, report: &mut Report<'_>) {
    let offset = |m: &str| item.modifiers.iter().position(|x| *x == m);
    let at = |modifier: &str| {
        item.place_of(modifier).map_or(Span::of_key(key), |(from, n)| Span::in_key(key, from, n))
    };
    if item.has("base64offset") && !item.has("contains") {
        let message = "`base64offset` is for a text somewhere inside the encoded one";
        report.add("S141", at("base64offset"), message, "add `contains` after it");
    }
    for wide in ["wide", "utf16", "utf16le", "utf16be"] {
        let Some(place) = offset(wide) else { continue };
        let then = [offset("base64"), offset("base64offset")];
        if !then.iter().flatten().any(|base64| *base64 > place) {
            let message = format!("`{wide}` makes bytes that no field holds as text");
            report.add("S141", at(wide), message, "add `base64` or `base64offset|contains` after it");
        }
    }
}

fn networks(item: &Item<'_>, report: &mut Report<'_>) {
    for value in &item.values {
        let Some((base, prefix)) = value.scalar.text.split_once('/') else { continue };
        let (Ok(base), Ok(prefix)) = (base.parse::<IpAddr>(), prefix.parse::<u32>()) else { continue };
        let network = match base {
            IpAddr::V4(base) if prefix <= 32 => {
                IpAddr::V4((u32::from(base) & u32::MAX.checked_shl(32 - prefix).unwrap_or(0)).into())
            }
            IpAddr::V6(base) if prefix <= 128 => {
                IpAddr::V6((u128::from(base) & u128::MAX.checked_shl(128 - prefix).unwrap_or(0)).into())
            }
            _ => continue,
        };
        if network != base {
            let message = format!("the network of `{}` begins at {network}", value.scalar.text);
            report.add("S143", Span::of_node(value.node), message, format!("write {network}/{prefix}"));
        }
    }
}
