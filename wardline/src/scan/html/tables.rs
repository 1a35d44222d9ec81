//! The lists: findings by computer and rule, single matches, rules.

use std::fmt::Write;

use wardline_event::{Severity, Timestamp};

use super::escape::{escaped, push};
use super::{Page, worst};
use crate::scan::tally::Group;
use crate::scan::text::thousands;

/// Findings that a page lists.
const FINDINGS: usize = 3_000;

fn when(time: Option<Timestamp>) -> String {
    time.map_or_else(String::new, |t| {
        let text = t.to_string();
        let shown = text.get(..19).unwrap_or(&text).replace('T', " ");
        format!("<time datetime=\"{}\">{}</time>", escaped(&text), escaped(&shown))
    })
}

fn level(level: Severity) -> String {
    format!("<span class=\"level\"><i class=\"{0}\"></i>{0}</span>", level.as_str())
}

fn place(page: &Page<'_>, log: usize, record_id: u64) -> String {
    let file = page.logs.get(log).map_or("", |name| &**name);
    format!("record {record_id} in {}", escaped(file))
}

/// Findings, worst first, each opening to its details.
pub fn findings(page: &Page<'_>) -> String {
    let computers = page.tally.computers(page.catalog);
    let mut rows: Vec<(&str, u32, &Group)> =
        computers.iter().flat_map(|c| c.groups.iter().map(|(rule, group)| (c.name, *rule, *group))).collect();
    // The computers come worst first; the sort is stable.
    rows.sort_by_key(|(_, rule, _)| std::cmp::Reverse(page.catalog.get(*rule).level));
    let mut out = String::from("<div id=\"finding-list\" class=\"list\">");
    for (computer, rule, group) in rows.iter().take(FINDINGS) {
        finding(&mut out, page, computer, *rule, group);
    }
    out += "</div>";
    if rows.len() > FINDINGS {
        let _ = write!(
            out,
            "<p class=\"note\">The worst {} of {}; the other forms of output hold all.</p>",
            thousands(FINDINGS as u64),
            thousands(rows.len() as u64)
        );
    }
    out
}

fn finding(out: &mut String, page: &Page<'_>, computer: &str, rule: u32, group: &Group) {
    let entry = page.catalog.get(rule);
    let ends = if group.count > 1 && group.last != group.first {
        format!(" <span class=\"to\">to {}</span>", when(group.last))
    } else {
        String::new()
    };
    let shown_computer = if computer.is_empty() { "(not named)" } else { computer };
    let _ = write!(
        out,
        "<details data-level=\"{}\" data-time=\"{}\" data-count=\"{}\"><summary>{}<span class=\"n\">{}</span>\
         <span class=\"title\">{}</span><span class=\"host\">{}</span><span class=\"when\">{}{ends}</span>\
         <span class=\"what\">{}</span></summary><div class=\"more\">",
        entry.level as u8,
        group.first.map_or(i64::MAX, |t| t.0),
        group.count,
        level(entry.level),
        thousands(group.count),
        escaped(&entry.title),
        escaped(shown_computer),
        when(group.first),
        escaped(&group.what),
    );
    let _ = write!(
        out,
        "<p>First: {}. <a href=\"#rule-{rule}\">About this rule</a></p>",
        place(page, group.log, group.record_id)
    );
    tags(out, &entry.tags);
    if let Some(fields) = &group.fields {
        *out += "<dl>";
        for (name, value) in fields {
            *out += "<dt>";
            push(out, name);
            *out += "</dt><dd>";
            push(out, value);
            *out += "</dd>";
        }
        *out += "</dl>";
    }
    *out += "</div></details>\n";
}

fn tags(out: &mut String, tags: &[String]) {
    if tags.is_empty() {
        return;
    }
    *out += "<p class=\"tags\">";
    for tag in tags {
        *out += "<code>";
        push(out, tag);
        *out += "</code> ";
    }
    *out += "</p>";
}

/// Single matches, in the order of time.
pub fn matches(page: &Page<'_>) -> String {
    let mut out = String::from(
        "<table id=\"match-list\"><thead><tr><th scope=\"col\">Time (UTC)</th><th scope=\"col\">Level</th>\
         <th scope=\"col\">Computer</th><th scope=\"col\">Rule</th><th scope=\"col\">What</th>\
         <th scope=\"col\">Where</th></tr></thead><tbody>",
    );
    for shown in page.worst.by_time() {
        let entry = page.catalog.get(shown.rule);
        let file = page.logs.get(shown.log).map_or("", |name| &**name);
        let name = file.rsplit(['/', '\\']).next().unwrap_or_default();
        let _ = writeln!(
            out,
            "<tr data-level=\"{}\" data-tags=\"{}\"><td>{}</td><td>{}</td><td>{}</td><td><a href=\"#rule-{}\">{}</a></td>\
             <td class=\"what\">{}</td><td title=\"{}\">{} #{}</td></tr>",
            entry.level as u8,
            escaped(&entry.tags.join(" ")),
            when(shown.time),
            level(entry.level),
            escaped(&shown.computer),
            shown.rule,
            escaped(&entry.title),
            escaped(&shown.what),
            escaped(file),
            escaped(name),
            shown.record_id,
        );
    }
    out += "</tbody></table>";
    if page.worst.is_cut() {
        let most = thousands(worst::MOST as u64);
        let _ = write!(
            out,
            "<p class=\"note\">The worst {most}; <code>--json</code> and <code>--csv</code> write all.</p>"
        );
    }
    out
}

/// The rules that matched, worst first, with what they mean.
pub fn rules(page: &Page<'_>) -> String {
    let mut out = String::from("<div id=\"rule-list\" class=\"list\">");
    for (rule, n) in page.tally.rules_by_level(page.catalog) {
        let entry = page.catalog.get(rule);
        let _ = write!(
            out,
            "<details id=\"rule-{rule}\" data-level=\"{}\"><summary>{}<span class=\"n\">{}</span>\
             <span class=\"title\">{}</span></summary><div class=\"more\">",
            entry.level as u8,
            level(entry.level),
            thousands(n),
            escaped(&entry.title),
        );
        if !entry.description.is_empty() {
            let _ = write!(
                out,
                "<p class=\"prose\">{}</p>",
                escaped(entry.description.trim()).replace("\\n", "<br>")
            );
        }
        tags(&mut out, &entry.tags);
        texts(&mut out, "Harmless things that look the same", &entry.false_positives);
        texts(&mut out, "To read on", &entry.references);
        let _ = writeln!(
            out,
            "<p class=\"note\">{} · {}</p></div></details>",
            escaped(&entry.id),
            escaped(&entry.origin)
        );
    }
    out + "</div>"
}

fn texts(out: &mut String, title: &str, items: &[String]) {
    if items.is_empty() {
        return;
    }
    let _ = write!(out, "<h4>{title}</h4><ul>");
    for item in items {
        let text = escaped(item);
        // Only such are links; a rule may be as hostile as a log.
        let _ = if item.starts_with("https://") || item.starts_with("http://") {
            write!(
                out,
                "<li><a href=\"{text}\" rel=\"noopener noreferrer\" target=\"_blank\">{text}</a></li>"
            )
        } else {
            write!(out, "<li>{text}</li>")
        };
    }
    *out += "</ul>";
}
