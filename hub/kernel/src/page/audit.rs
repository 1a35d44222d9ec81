//! The audit log as a page.

use askama::Template;
use axum::extract::Query;
use axum::response::Response;
use serde::Deserialize;
use serde_json::Value;
use wardline_event::Timestamp;

use super::{Exact, Section, Visit, address, deed_in_words, filters};
use crate::audit::{self, Broken, Entry, Place, Search};
use crate::error::ApiError;

/// Entries on one page.
const PER_PAGE: i64 = 100;

/// What was asked for: every field as it was typed.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Asked {
    actor: String,
    act: String,
    target: String,
    /// Days, `2026-12-01`, both included, in UTC.
    from: String,
    until: String,
    after: String,
    check: String,
}

/// Kinds of acts that can be asked for by name: the beginning of the dotted name, and in words.
const KINDS: &[(&str, &str)] = &[
    ("session", "Signing in and out"),
    ("action", "Orders"),
    ("device", "Devices"),
    ("finding", "Findings"),
    ("organisation", "Organisations"),
    ("enrolment_token", "Enrolment tokens"),
    ("api_token", "API tokens"),
    ("audit", "Exports of the audit log"),
];

const DAY_MS: i64 = 24 * 60 * 60 * 1000;

/// Midnight (UTC) at the beginning of a day as `2026-12-01`.
fn day_ms(text: &str) -> Option<i64> {
    Timestamp::parse_rfc3339(&format!("{text}T00:00:00Z")).map(|at| at.0)
}

impl Asked {
    fn search(&self) -> Search {
        Search {
            actor: self.actor.trim().to_owned(),
            act: self.act.trim().to_owned(),
            target: self.target.trim().to_owned(),
            from_ms: day_ms(&self.from),
            until_ms: day_ms(&self.until).map(|day| day + DAY_MS),
            after: Place::parse(&self.after),
        }
    }

    fn narrows(&self) -> bool {
        [&self.actor, &self.act, &self.target, &self.from, &self.until].iter().any(|t| !t.trim().is_empty())
    }

    /// The address of the page after a place, with the same search.
    fn older(&self, place: &Place) -> String {
        address(
            "/audit",
            &[
                ("actor", &self.actor),
                ("act", &self.act),
                ("target", &self.target),
                ("from", &self.from),
                ("until", &self.until),
                ("after", &place.to_string()),
            ],
        )
    }
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
    asked: Asked,
    kinds: &'static [(&'static str, &'static str)],
    entries: Vec<Row>,
    older: Option<String>,
    chain: Option<Result<u64, Broken>>,
    key: String,
}

impl AuditPage {
    pub(super) fn of(
        asked: Asked,
        entries: Vec<Entry>,
        chain: Option<Result<u64, Broken>>,
        key: String,
    ) -> Self {
        let full = entries.len() as i64 == PER_PAGE;
        let older = entries.last().filter(|_| full).map(|last| asked.older(&Place::of(last)));
        let entries = entries.into_iter().map(row).collect();
        Self { asked, kinds: KINDS, entries, older, chain, key }
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
        "audit.exported" => "Took a copy of the audit log away",
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
    let result = read(&visit, asked).await.map(|body| visit.page(Section::Audit, "Audit", &body));
    visit.answer(Section::Audit, result)
}

async fn read(visit: &Visit, asked: Asked) -> Result<AuditPage, ApiError> {
    let (pool, scope) = (visit.kernel.store().read(), &visit.session.scope);
    let key = visit.kernel.keys().audit().key();
    let entries = audit::list(pool, scope, &asked.search(), PER_PAGE).await?;
    let chain = if asked.check.is_empty() {
        None
    } else {
        Some(audit::verify(pool, scope, Some(&key)).await?.map(|n| u64::try_from(n).unwrap_or(0)))
    };
    Ok(AuditPage::of(asked, entries, chain, key))
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
        let html =
            framed("audit", &AuditPage::of(Asked::default(), entries, Some(Ok(1234)), "ab".repeat(32)));
        for part in ["Ordered: Isolate for 1 hour", "Made a sign-in link", "All 1,234 entries", "spread"] {
            assert!(html.contains(part), "the page lacks: {part}");
        }
        assert!(html.contains(&crate::page::absolute(Timestamp(1_795_450_800_000))));
        let broken = Broken {
            organisation: "o1".into(),
            at: 2,
            because: "its content was changed after it was written".into(),
        };
        let html = framed(
            "audit-broken",
            &AuditPage::of(Asked::default(), vec![], Some(Err(broken)), String::new()),
        );
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
        let html = framed(
            "audit-hostile",
            &AuditPage::of(Asked::default(), vec![broken, hostile], None, String::new()),
        );
        assert!(!html.contains("<script>alert") && !html.contains('\u{202e}'));
    }
}
