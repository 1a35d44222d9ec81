//! The report as one page that needs nothing else: no request, no script or style but its own.

mod charts;
mod escape;
mod tables;
mod worst;

use std::fmt::Write;
use std::sync::Arc;
use std::time::SystemTime;

use ring::digest::{SHA256, digest};
use wardline_event::{Severity, Timestamp};

use super::catalog::Catalog;
use super::tally::{self, Tally};
use super::text::thousands;
use escape::escaped;
pub use worst::Worst;

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

/// Places that a page lists of those that could not be read, and rules of those that did not load.
pub const UNREADABLE: usize = 200;

/// What the page shows.
pub struct Page<'a> {
    /// The rules.
    pub catalog: &'a Catalog,
    /// The sums.
    pub tally: &'a Tally,
    /// The matches that are shown one by one.
    pub worst: &'a Worst,
    /// The names of the logs.
    pub logs: &'a [Arc<str>],
    /// What the scan was asked to do, each with its name.
    pub asked: &'a [(&'static str, String)],
    /// Rules that did not load, and what is doubtful in others.
    pub not_loaded: &'a [String],
    pub doubtful: &'a [String],
    /// The first places that could not be read, and how many there are.
    pub unreadable: &'a [String],
    pub unreadable_places: u64,
    /// The counts of the scan, each with its name.
    pub counts: &'a [(&'static str, String)],
}

/// The page.
pub fn page(page: &Page<'_>) -> String {
    let tally = page.tally;
    let computers = tally.computers(page.catalog);
    let mut out = String::with_capacity(256 * 1024);
    let _ = write!(
        out,
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src '{}'; script-src '{}'; \
         base-uri 'none'; form-action 'none'\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"referrer\" content=\"no-referrer\">\n<meta name=\"color-scheme\" content=\"light dark\">\n\
         <title>{} matches – Wardline scan</title>\n<style>{STYLE}</style>\n</head>\n<body>\n",
        hash(STYLE),
        hash(SCRIPT),
        thousands(tally.total())
    );
    out += "<a class=\"skip\" href=\"#findings\">To the findings</a>\n<header><h1>Wardline scan</h1>";
    let _ = write!(out, "<p>{}</p>", escaped(&lead(tally, computers.len())));
    out += "<nav aria-label=\"Parts\"><a href=\"#overview\">Overview</a> <a href=\"#attack\">ATT&amp;CK</a> \
            <a href=\"#findings\">Findings</a> <a href=\"#matches\">Matches</a> <a href=\"#rules\">Rules</a> \
            <a href=\"#scan\">The scan</a></nav></header>\n<main>\n";

    out += "<section id=\"overview\"><h2>Overview</h2><div class=\"grid\">";
    let techniques = charts::techniques(&tally.rules_by_level(page.catalog), page.catalog);
    for (class, title, chart) in [
        ("wide", "Levels", charts::levels(&tally.levels)),
        ("wide", "Timeline", charts::timeline(&tally.histogram)),
        ("", "Computers", charts::computers(&computers)),
        ("", "Techniques", techniques),
    ] {
        let _ = write!(out, "<section class=\"card {class}\"><h3>{title}</h3>{chart}</section>");
    }
    out += "</div></section>\n<section id=\"attack\"><h2>ATT&amp;CK</h2>\
            <p class=\"note\">Tactics and techniques with their matches, as the rules' tags name them.</p>";
    out += &charts::attack(&tally::attack(tally, page.catalog));
    out += "</section>\n<section id=\"findings\"><h2>Findings</h2>\
            <p class=\"note\">One line for each rule on each computer. Open one for its first record.</p>";
    out += &filter_form();
    out += &tables::findings(page);
    out += "</section>\n<section id=\"matches\"><h2>Matches</h2>\
            <p class=\"note\">One by one, in the order of time. The filter above holds here too.</p>";
    out += &tables::matches(page);
    out += "</section>\n<section id=\"rules\"><h2>Rules</h2>";
    out += &tables::rules(page);
    out += "</section>\n<section id=\"scan\"><h2>The scan</h2><dl>";
    for (name, text) in page.asked.iter().chain(page.counts) {
        let _ = write!(out, "<dt>{name}</dt><dd>{}</dd>", escaped(text));
    }
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |d| d.as_millis() as i64);
    let _ = write!(
        out,
        "<dt>Written</dt><dd>{} by wardline {}</dd></dl>",
        Timestamp(now),
        env!("CARGO_PKG_VERSION")
    );
    faults(&mut out, "Could not be read", page.unreadable, page.unreadable_places);
    faults(&mut out, "Rules that did not load", page.not_loaded, page.not_loaded.len() as u64);
    faults(&mut out, "Doubtful in the rules", page.doubtful, page.doubtful.len() as u64);
    let _ = write!(out, "</section>\n</main>\n<script>{SCRIPT}</script>\n</body>\n</html>\n");
    out
}

/// What went wrong, a line each; of very many the first.
fn faults(out: &mut String, title: &str, list: &[String], all: u64) {
    if list.is_empty() {
        return;
    }
    let _ = write!(out, "<h3>{title} ({})</h3><ul class=\"faults\">", thousands(all));
    for fault in list.iter().take(UNREADABLE) {
        let _ = write!(out, "<li>{}</li>", escaped(fault));
    }
    *out += "</ul>";
    if all > list.len().min(UNREADABLE) as u64 {
        let _ = write!(
            out,
            "<p class=\"note\">The first {}; <code>-v</code> tells all on standard error.</p>",
            list.len().min(UNREADABLE)
        );
    }
}

fn lead(tally: &Tally, computers: usize) -> String {
    if tally.total() == 0 {
        return "No rule matched.".to_owned();
    }
    let counted = super::text::counted;
    let mut text = format!(
        "{} by {} on {}",
        counted_matches(tally.total()),
        counted(tally.rules.len() as u64, "rule"),
        counted(computers as u64, "computer")
    );
    if let Some((first, last)) = tally.span {
        let day = |t: Timestamp| t.to_string().get(..16).unwrap_or_default().replace('T', " ");
        let _ = write!(text, ", from {} to {} (UTC)", day(first), day(last));
    }
    text
}

fn counted_matches(n: u64) -> String {
    format!("{} {}", thousands(n), if n == 1 { "match" } else { "matches" })
}

/// Shown by the script only: without it there is nothing to filter with.
fn filter_form() -> String {
    let mut out = String::from(
        "<form id=\"filter\" hidden><p><label for=\"find\">Find</label> <input id=\"find\" type=\"search\" \
         placeholder=\"computer, rule, tag, command line\" autocomplete=\"off\" spellcheck=\"false\"></p>\
         <fieldset><legend>Levels</legend>",
    );
    for level in Severity::ALL.into_iter().rev() {
        let word = level.as_str();
        let _ = write!(
            out,
            "<label><input type=\"checkbox\" name=\"level\" value=\"{}\" checked> <i class=\"{word}\"></i>{word}</label> ",
            level as u8
        );
    }
    out + "</fieldset><p><label for=\"order\">Order</label> <select id=\"order\"><option value=\"worst\">worst first</option>\
           <option value=\"time\">earliest first</option><option value=\"count\">most matches first</option></select> \
           <button type=\"reset\">Show all</button></p><p id=\"shown\" role=\"status\"></p></form>"
}

/// What a content security policy calls an inline style or script.
fn hash(text: &str) -> String {
    format!("sha256-{}", base64(digest(&SHA256, text.as_bytes()).as_ref()))
}

fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for chunk in bytes.chunks(3) {
        let group = chunk.iter().enumerate().fold(0, |n, (i, b)| n | u32::from(*b) << (16 - 8 * i));
        for i in 0..4 {
            let digit = ALPHABET[(group >> (18 - 6 * i) & 63) as usize];
            out.push(if i <= chunk.len() { char::from(digit) } else { '=' });
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_padded() {
        // RFC 4648, section 10.
        for (text, expected) in
            [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")]
        {
            assert_eq!(base64(text.as_bytes()), expected);
        }
    }
}
