//! The audit log as a page.

use askama::Template;
use axum::extract::Query;
use axum::response::Response;
use serde::Deserialize;
use serde_json::Value;
use wardline_event::Timestamp;

use super::{Exact, Section, Visit, deed_in_words, filters};
use crate::audit::{self, Broken, Entry, Place};
use crate::error::ApiError;

/// Entries on one page.
const PER_PAGE: i64 = 100;

#[derive(Debug, Default, Deserialize)]
pub(super) struct Asked {
    after: Option<String>,
    check: Option<String>,
}

/// One entry as it is shown.
pub(super) struct Row {
    number: i64,
    when: Exact,
    actor: String,
    act: String,
    target: String,
    /// The page about the target, if there is one.
    href: Option<String>,
    details: Vec<(String, String)>,
}

#[derive(Template)]
#[template(path = "audit.html")]
pub(super) struct AuditPage {
    entries: Vec<Row>,
    older: Option<String>,
    paged: bool,
    chain: Option<Result<u64, Broken>>,
}

impl AuditPage {
    pub(super) fn of(entries: Vec<Entry>, paged: bool, chain: Option<Result<u64, Broken>>) -> Self {
        let full = entries.len() as i64 == PER_PAGE;
        let older = entries.last().filter(|_| full).map(|last| Place::of(last).to_string());
        Self { entries: entries.into_iter().map(row).collect(), older, paged, chain }
    }
}

fn row(entry: Entry) -> Row {
    Row {
        number: entry.number,
        when: Exact(Timestamp(entry.time_ms)),
        act: deed(&entry),
        href: href(&entry),
        details: details(&entry.detail),
        actor: entry.actor,
        target: entry.target,
    }
}

/// An act's dotted name in words; what is not in the list is shown as it is.
fn deed(entry: &Entry) -> String {
    let order = || {
        let detail: Value = serde_json::from_str(&entry.detail).ok()?;
        Some(format!("Ordered: {}", deed_in_words(detail["kind"].as_str()?, detail["target"].as_str()?)))
    };
    let words = match entry.act.as_str() {
        "action.ordered" => return order().unwrap_or_else(|| "Ordered an action".to_owned()),
        "sign_in_link.made" => "Made a sign-in link",
        "session.begun" => "Signed in",
        "session.ended" => "Signed out",
        "api_token.made" => "Made an API token",
        "api_token.revoked" => "Revoked an API token",
        "enrolment_token.made" => "Made an enrolment token",
        "enrolment_token.revoked" => "Revoked an enrolment token",
        "device.enrolled" => "A device joined",
        "device.certificate_renewed" => "A device renewed its certificate",
        "device.revoked" => "Revoked a device",
        "device.moved" => "Moved a device to another organisation",
        "device.arrived" => "A device came from another organisation",
        "organisation.added" => "Added an organisation",
        "organisation.changed" => "Changed an organisation",
        "organisation.moved" => "Moved an organisation in the tree",
        "device.policy_changed" => "Changed a device's policy",
        "action.cancelled" => "Took back an action",
        "action.ended" => "A device answered an order",
        "action.timed_out" => "Gave up waiting for a device",
        "finding.state_changed" => "Changed a finding's state",
        other => other,
    };
    words.to_owned()
}

/// The page about what an entry is about.
fn href(entry: &Entry) -> Option<String> {
    let id = entry.target.len() == 32 && entry.target.bytes().all(|b| b.is_ascii_hexdigit());
    let room = match entry.act.split('.').next()? {
        "device" => "devices",
        "organisation" => "organisations",
        "finding" => "findings",
        _ => return None,
    };
    id.then(|| format!("/{room}/{}", entry.target))
}

/// The members of the detail's JSON object, as name and text.
fn details(json: &str) -> Vec<(String, String)> {
    match serde_json::from_str(json) {
        Ok(Value::Object(map)) => map
            .into_iter()
            .filter(|(_, value)| !value.is_null() && value.as_str() != Some(""))
            .map(|(name, value)| {
                let time = value.as_i64().filter(|_| name.ends_with("_ms"));
                let text = match (time, value) {
                    (Some(ms), _) => super::absolute(Timestamp(ms)),
                    (None, Value::String(text)) => text,
                    // What it was and what it became.
                    (None, Value::Array(pair)) if pair.len() == 2 && pair.iter().all(Value::is_string) => {
                        let word = |i: usize| pair[i].as_str().unwrap_or_default();
                        if pair[0] == pair[1] {
                            format!("{} as before", word(0))
                        } else {
                            format!("{} → {}", word(0), word(1))
                        }
                    }
                    (None, other) => other.to_string(),
                };
                let text = if name.ends_with("_s") { format!("{text} seconds") } else { text };
                (name.trim_end_matches("_ms").trim_end_matches("_s").replace('_', " "), text)
            })
            .collect(),
        _ => vec![("detail".to_owned(), json.to_owned())],
    }
}

/// `GET /audit`.
pub(super) async fn page(visit: Visit, Query(asked): Query<Asked>) -> Response {
    let result = read(&visit, &asked).await.map(|body| visit.page(Section::Audit, "Audit", &body));
    visit.answer(Section::Audit, result)
}

async fn read(visit: &Visit, asked: &Asked) -> Result<AuditPage, ApiError> {
    let (pool, scope) = (visit.kernel.store().read(), &visit.session.scope);
    let after = asked.after.as_deref().and_then(Place::parse);
    let entries = audit::list(pool, scope, after.as_ref(), PER_PAGE).await?;
    let chain = match &asked.check {
        Some(_) => Some(audit::verify(pool, scope).await?.map(|n| u64::try_from(n).unwrap_or(0))),
        None => None,
    };
    Ok(AuditPage::of(entries, after.is_some(), chain))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::page::{Frame, Theme};
    use wardline_event::Timestamp;

    fn entry(number: i64, act: &str, detail: &str) -> Entry {
        Entry {
            organisation: "o1".into(),
            number,
            time_ms: 1_795_450_800_000 + number * 1000,
            actor: "administrator".into(),
            act: act.into(),
            target: "00000000000000000000000000000005".into(),
            detail: detail.into(),
            previous: String::new(),
            hash: String::new(),
        }
    }

    fn framed(title: &str, body: &impl Template) -> String {
        let frame = Frame {
            title,
            section: Section::Audit,
            person: Some("administrator"),
            organisation: "Northfield Hospitals",
            theme: Theme::System,
            here: "/audit",
            notice: None,
        };
        let html = frame.render(body).unwrap();
        // For a look without a hub: `WARDLINE_PAGES=DIR cargo test` writes each page there.
        if let Some(folder) = std::env::var_os("WARDLINE_PAGES") {
            std::fs::write(std::path::Path::new(&folder).join(format!("{title}.html")), &html).unwrap();
        }
        html
    }

    #[test]
    fn the_log_is_told_in_words_and_says_whether_it_is_whole() {
        let entries = vec![
            entry(3, "action.ordered", r#"{"kind":"isolate","target":"3600","reason":"spread"}"#),
            entry(2, "session.begun", r#"{"by":"link"}"#),
            entry(1, "sign_in_link.made", r#"{"expires_ms":1795450800000}"#),
        ];
        let html = framed("audit", &AuditPage::of(entries, false, Some(Ok(1234))));
        for part in ["Ordered: Isolate for 1 hour", "Made a sign-in link", "All 1,234 entries", "spread"] {
            assert!(html.contains(part), "the page lacks: {part}");
        }
        assert!(html.contains(&crate::page::absolute(Timestamp(1_795_450_800_000))));
        let broken = Broken {
            organisation: "o1".into(),
            at: 2,
            because: "its content was changed after it was written".into(),
        };
        let html = framed("audit-broken", &AuditPage::of(vec![], true, Some(Err(broken))));
        assert!(
            html.contains("tampered with or damaged. Entry 2 of organisation o1: its content was changed")
        );
    }

    #[test]
    fn hostile_text_stays_text() {
        let evil = "<script>alert(1)</script>\u{202e}".repeat(300);
        let mut hostile = entry(1, &evil, &serde_json::json!({ evil.as_str(): evil.as_str() }).to_string());
        (hostile.actor, hostile.target) = (evil.clone(), evil.clone());
        let broken = entry(2, "x", &evil);
        let html = framed("audit-hostile", &AuditPage::of(vec![broken, hostile], false, None));
        assert!(!html.contains("<script>alert") && !html.contains('\u{202e}'));
    }
}
