//! The audit log as a page.

use askama::Template;
use axum::extract::Query;
use axum::response::Response;
use serde::Deserialize;
use serde_json::Value;
use wardline_event::Timestamp;

use super::{Exact, Section, Visit, filters};
use crate::audit::{self, Broken, Entry};
use crate::error::ApiError;

/// Entries on one page.
const PER_PAGE: i64 = 100;

#[derive(Debug, Default, Deserialize)]
pub(super) struct Asked {
    before: Option<i64>,
    check: Option<String>,
}

/// One entry as it is shown.
pub(super) struct Row {
    number: i64,
    when: Exact,
    actor: String,
    act: String,
    target: String,
    details: Vec<(String, String)>,
}

#[derive(Template)]
#[template(path = "audit.html")]
pub(super) struct AuditPage {
    entries: Vec<Row>,
    older: Option<i64>,
    paged: bool,
    chain: Option<Result<u64, Broken>>,
}

impl AuditPage {
    pub(super) fn of(entries: Vec<Entry>, paged: bool, chain: Option<Result<u64, Broken>>) -> Self {
        let full = entries.len() as i64 == PER_PAGE;
        let older = entries.last().filter(|last| full && last.number > 1).map(|last| last.number);
        Self { entries: entries.into_iter().map(row).collect(), older, paged, chain }
    }
}

fn row(entry: Entry) -> Row {
    Row {
        number: entry.number,
        when: Exact(Timestamp(entry.time_ms)),
        details: details(&entry.detail),
        act: deed(&entry.act),
        actor: entry.actor,
        target: entry.target,
    }
}

/// An act's dotted name in words; what is not in the list is shown as it is.
fn deed(act: &str) -> String {
    let words = match act {
        "sign_in_link.made" => "Made a sign-in link",
        "session.begun" => "Signed in",
        "session.ended" => "Signed out",
        "api_token.made" => "Made an API token",
        "api_token.revoked" => "Revoked an API token",
        "enrolment_token.made" => "Made an enrolment token",
        "device.enrolled" => "Enrolled a device",
        "device.renewed" => "Renewed a device's certificate",
        "device.revoked" => "Revoked a device",
        "device.policy_set" | "policy.set" | "policy.changed" | "device.policy_changed" => {
            "Changed a device's policy"
        }
        "action.ordered" => "Ordered an action",
        "action.cancelled" => "Took back an action",
        "action.updated" | "action.changed" => "An action changed its state",
        "finding.acknowledged" => "Acknowledged a finding",
        "finding.closed" => "Closed a finding",
        "finding.reopened" => "Reopened a finding",
        "finding.changed" => "Changed a finding's state",
        _ => return act.to_owned(),
    };
    words.to_owned()
}

/// The members of the detail's JSON object, as name and text.
fn details(json: &str) -> Vec<(String, String)> {
    match serde_json::from_str(json) {
        Ok(Value::Object(map)) => map
            .into_iter()
            .filter(|(_, value)| !value.is_null())
            .map(|(name, value)| {
                let time = value.as_i64().filter(|_| name.ends_with("_ms"));
                let text = match (time, value) {
                    (Some(ms), _) => super::absolute(Timestamp(ms)),
                    (None, Value::String(text)) => text,
                    (None, other) => other.to_string(),
                };
                (name.trim_end_matches("_ms").replace('_', " "), text)
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
    let entries = audit::list(pool, scope, asked.before, PER_PAGE).await?;
    let chain = match &asked.check {
        Some(_) => Some(audit::verify(pool, scope).await?.map(|n| u64::try_from(n).unwrap_or(0))),
        None => None,
    };
    Ok(AuditPage::of(entries, asked.before.is_some(), chain))
}
