//! The pages about standing consent and broken glass.

use askama::Template;
use axum::Router;
use axum::extract::{Form, Path};
use axum::response::Response;
use axum::routing::{get, post};
use serde::Deserialize;
use wardline_event::Timestamp;
use wardline_kernel::page::{Ago, Exact, Section, Tag, Tone, Visit, filters};
use wardline_kernel::{ApiError, Kernel, csv, tree};
use wardline_policy::{Deed, Role};

use crate::consent::{self, CLASSES, Consent, KINDS, NewConsent};
use crate::glass::{self, Glass, NewGlass};
use crate::person::Person;
use crate::store;

pub(super) fn console() -> Router<Kernel> {
    Router::new()
        .route("/consents", get(consents).post(give))
        .route("/consents.csv", get(consents_csv))
        .route("/consents/{id}/revoke", post(revoke))
        .route("/break-glass", get(glasses).post(break_it))
        .route("/break-glass.csv", get(glasses_csv))
        .route("/break-glass/{id}/end", post(end))
        .route("/break-glass/{id}/review", post(review))
}

/// A consent as people read it.
pub(crate) struct ConsentRow {
    id: String,
    of: String,
    to: String,
    kinds: String,
    classes: String,
    reason: String,
    by: String,
    state: Tag,
    holds: bool,
    until: Exact,
    given: Ago,
}

impl ConsentRow {
    pub(crate) fn of(consent: &Consent, now: Timestamp) -> Self {
        let words = |kind: &String| {
            KINDS
                .iter()
                .find(|(known, _)| known == kind)
                .map_or(kind.as_str(), |(_, words)| *words)
                .to_owned()
        };
        let state = if consent.revoked_ms.is_some() {
            Tag::new(Tone::Plain, "Taken back")
        } else if consent.holds(now) {
            Tag::new(Tone::Good, "Holds")
        } else {
            Tag::new(Tone::Plain, "Expired")
        };
        Self {
            id: consent.id.clone(),
            of: consent.organisation_name.clone(),
            to: consent.given_to_name.clone(),
            kinds: consent.kinds.iter().map(words).collect::<Vec<_>>().join(", "),
            classes: consent.classes.join(", "),
            reason: consent.reason.clone(),
            by: consent.given_by.clone(),
            state,
            holds: consent.holds(now),
            until: Exact(Timestamp(consent.expires_ms)),
            given: Ago { at: Timestamp(consent.given_ms), now },
        }
    }
}

/// The page about standing consent.
#[derive(Template)]
#[template(path = "consents.html")]
pub(crate) struct ConsentsPage {
    pub rows: Vec<ConsentRow>,
    /// The organisations above, to which consent can be given: id and name. Empty: there is none, or one may not.
    pub above: Vec<(String, String)>,
    pub may_give: bool,
}

async fn consents(visit: Visit) -> Response {
    let result = async {
        let (pool, scope) = (visit.kernel.store().read(), &visit.session.scope);
        let rows = store::consents::list(pool, scope, visit.now).await?;
        let may_give = visit.session.may(Deed::GiveConsent).is_ok();
        let above = if may_give {
            tree::above(pool, &tree::accountable(pool, scope.root()).await?).await?
        } else {
            Vec::new()
        };
        let rows = rows.iter().map(|consent| ConsentRow::of(consent, visit.now)).collect();
        Ok(visit.page(Section::Actions, "Standing consent", &ConsentsPage { rows, above, may_give }))
    };
    visit.answer(Section::Actions, result.await)
}

async fn consents_csv(visit: Visit) -> Response {
    let header = [
        "id",
        "organisation",
        "given_to",
        "kinds",
        "classes",
        "reason",
        "given_by",
        "given_ms",
        "expires_ms",
        "revoked_ms",
        "revoked_by",
    ];
    csv::download("attachment; filename=\"consents.csv\"", &header, move |sender| async move {
        let pool = visit.kernel.store().read();
        let mut text = String::new();
        for c in store::consents::list(pool, &visit.session.scope, visit.now).await? {
            let revoked = c.revoked_ms.map_or_else(String::new, |ms| ms.to_string());
            csv::write(
                &mut text,
                &[
                    &c.id,
                    &c.organisation_name,
                    &c.given_to_name,
                    &c.kinds.join(" "),
                    &c.classes.join(" "),
                    &c.reason,
                    &c.given_by,
                    &c.given_ms.to_string(),
                    &c.expires_ms.to_string(),
                    &revoked,
                    &c.revoked_by,
                ],
            );
        }
        let _ = sender.send(Ok(text)).await;
        Ok(())
    })
}

async fn give(visit: Visit, Form(pairs): Form<Vec<(String, String)>>) -> Response {
    let result = async {
        let all = |name: &str| -> Vec<String> {
            pairs.iter().filter(|(n, _)| n == name).map(|(_, value)| value.clone()).collect()
        };
        let one = |name: &str| all(name).into_iter().next().unwrap_or_default();
        let days =
            one("days").parse().map_err(|_| ApiError::invalid("no duration was chosen", "choose one"))?;
        let wish = NewConsent {
            organisation: None,
            to: one("to"),
            kinds: all("kind"),
            classes: all("class"),
            days,
            reason: one("reason"),
        };
        let person = Person::of(&visit.kernel, &visit.session).await?;
        consent::give(&visit.kernel, &person, &wish).await?;
        Ok(visit.done("/consents", "consent"))
    };
    visit.answer(Section::Actions, result.await)
}

async fn revoke(visit: Visit, Path(id): Path<String>) -> Response {
    let result = async {
        let person = Person::of(&visit.kernel, &visit.session).await?;
        consent::revoke(&visit.kernel, &person, &id).await?;
        Ok(visit.done("/consents", "revoked"))
    };
    visit.answer(Section::Actions, result.await)
}

/// Broken glass as people read it.
pub(crate) struct GlassRow {
    id: String,
    of: String,
    by: String,
    role: &'static str,
    reason: String,
    begun: Ago,
    until: Exact,
    state: Tag,
    holds: bool,
    orders: i64,
    own: bool,
    reviewed: bool,
    review: String,
    reviewed_by: String,
}

impl GlassRow {
    pub(crate) fn of(glass: &Glass, person: &str, now: Timestamp) -> Self {
        let state = match (glass.holds(now), glass.reviewed_ms) {
            (true, _) => Tag::new(Tone::Bad, "Broken now"),
            (false, None) => Tag::new(Tone::Warn, "To be looked into"),
            (false, Some(_)) => Tag::new(Tone::Plain, "Looked into"),
        };
        Self {
            id: glass.id.clone(),
            of: glass.organisation_name.clone(),
            by: glass.person.clone(),
            role: Role::parse(&glass.role).map_or("", Role::title),
            reason: glass.reason.clone(),
            begun: Ago { at: Timestamp(glass.begun_ms), now },
            until: Exact(Timestamp(glass.ended_ms.unwrap_or(glass.expires_ms))),
            state,
            holds: glass.holds(now),
            orders: glass.orders,
            own: glass.person == person,
            reviewed: glass.reviewed_ms.is_some(),
            review: glass.review.clone(),
            reviewed_by: glass.reviewed_by.clone(),
        }
    }
}

/// The page about broken glass.
#[derive(Template)]
#[template(path = "break_glass.html")]
pub(crate) struct GlassPage {
    pub rows: Vec<GlassRow>,
    pub organisation: String,
    pub may_break: bool,
    pub may_review: bool,
}

async fn glasses(visit: Visit) -> Response {
    let result = async {
        let session = &visit.session;
        let rows = store::glass::list(visit.kernel.store().read(), &session.scope).await?;
        let page = GlassPage {
            rows: rows.iter().map(|glass| GlassRow::of(glass, &session.person, visit.now)).collect(),
            organisation: session.organisation.clone(),
            may_break: session.may(Deed::BreakGlass).is_ok(),
            may_review: session.may(Deed::ReviewBreakGlass).is_ok(),
        };
        Ok(visit.page(Section::Actions, "Break-glass", &page))
    };
    visit.answer(Section::Actions, result.await)
}

async fn glasses_csv(visit: Visit) -> Response {
    let header = [
        "id",
        "organisation",
        "person",
        "role",
        "reason",
        "begun_ms",
        "expires_ms",
        "ended_ms",
        "orders",
        "reviewed_ms",
        "reviewed_by",
        "review",
    ];
    csv::download("attachment; filename=\"break-glass.csv\"", &header, move |sender| async move {
        let mut text = String::new();
        let number = |n: Option<i64>| n.map_or_else(String::new, |n| n.to_string());
        for g in store::glass::list(visit.kernel.store().read(), &visit.session.scope).await? {
            csv::write(
                &mut text,
                &[
                    &g.id,
                    &g.organisation_name,
                    &g.person,
                    &g.role,
                    &g.reason,
                    &g.begun_ms.to_string(),
                    &g.expires_ms.to_string(),
                    &number(g.ended_ms),
                    &g.orders.to_string(),
                    &number(g.reviewed_ms),
                    &g.reviewed_by,
                    &g.review,
                ],
            );
        }
        let _ = sender.send(Ok(text)).await;
        Ok(())
    })
}

/// What the form sends.
#[derive(Debug, Deserialize)]
struct Breaking {
    #[serde(default)]
    minutes: String,
    #[serde(default)]
    reason: String,
}

async fn break_it(visit: Visit, Form(form): Form<Breaking>) -> Response {
    let result = async {
        let minutes =
            form.minutes.parse().map_err(|_| ApiError::invalid("no duration was chosen", "choose one"))?;
        let wish = NewGlass { organisation: None, minutes, reason: form.reason };
        let person = Person::of(&visit.kernel, &visit.session).await?;
        glass::break_it(&visit.kernel, &person, &wish).await?;
        Ok(visit.done("/break-glass", "glass"))
    };
    visit.answer(Section::Actions, result.await)
}

async fn end(visit: Visit, Path(id): Path<String>) -> Response {
    let result = async {
        glass::end(&visit.kernel, &Person::of(&visit.kernel, &visit.session).await?, &id).await?;
        Ok(visit.done("/break-glass", "glass_ended"))
    };
    visit.answer(Section::Actions, result.await)
}

/// What the form sends.
#[derive(Debug, Deserialize)]
struct Found {
    #[serde(default)]
    review: String,
}

async fn review(visit: Visit, Path(id): Path<String>, Form(found): Form<Found>) -> Response {
    let result = async {
        let person = Person::of(&visit.kernel, &visit.session).await?;
        glass::review(&visit.kernel, &person, &id, &found.review).await?;
        Ok(visit.done("/break-glass", "reviewed"))
    };
    visit.answer(Section::Actions, result.await)
}
