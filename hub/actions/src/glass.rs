//! Break-glass: acting at once where others would have to agree, told to everybody, and looked into afterwards.

use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;
use wardline_event::Timestamp;
use wardline_kernel::audit::{self, Act};
use wardline_kernel::page::clock_time;
use wardline_kernel::{
    ApiError, Kernel, ReasonTooLong, StoreError, Topic, fit_reason, notices, random_id, tree,
};

use crate::person::Person;
use crate::store::glass as store;

/// Minutes that the glass stays broken at most.
pub const LONGEST_MINUTES: u16 = 240;
/// A notice stays until somebody has looked into it, or for so long.
const NOTICE_MS: i64 = 30 * 24 * 60 * 60 * 1000;

/// A wish to break the glass.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewGlass {
    /// The organisation whose devices, and those of all below it; yours if not said.
    pub organisation: Option<String>,
    /// For how many minutes, 5 to 240.
    pub minutes: u16,
    /// Why.
    pub reason: String,
}

/// Broken glass in a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Glass {
    /// Its id.
    pub id: String,
    /// Whose devices.
    pub organisation: String,
    /// That organisation's name.
    pub organisation_name: String,
    /// Who broke it.
    pub person: String,
    /// What they are.
    pub role: String,
    /// Why.
    pub reason: String,
    /// When.
    pub begun_ms: i64,
    /// Until when at most.
    pub expires_ms: i64,
    /// When it was ended before, if it was.
    pub ended_ms: Option<i64>,
    /// Orders that rest on it.
    pub orders: i64,
    /// When somebody looked into it; absent until somebody has.
    pub reviewed_ms: Option<i64>,
    /// Who did.
    pub reviewed_by: String,
    /// What they found.
    pub review: String,
}

impl Glass {
    /// Whether it is broken now.
    pub fn holds(&self, now: Timestamp) -> bool {
        self.ended_ms.is_none() && self.expires_ms > now.0
    }
}

/// Why it was not done.
#[derive(Debug, thiserror::Error)]
pub enum GlassError {
    /// There is no such organisation.
    #[error("there is no organisation `{0}` within yours")]
    NoOrganisation(String),
    /// There is none with this id, or not in this state.
    #[error("there is no broken glass `{0}` for which this can be done")]
    NoGlass(String),
    /// Programs break nothing.
    #[error("a program cannot break the glass")]
    Program,
    /// Whoever broke it looks into nothing.
    #[error("somebody else must look into what was done under break-glass")]
    OwnReview,
    /// Something in it cannot be kept.
    #[error("{0}")]
    Nonsense(&'static str),
    /// The reason is too long.
    #[error(transparent)]
    Reason(#[from] ReasonTooLong),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<GlassError> for ApiError {
    fn from(error: GlassError) -> Self {
        let detail = error.to_string();
        match error {
            GlassError::NoOrganisation(id) => Self::not_found("organisation", &id),
            GlassError::NoGlass(id) => Self::not_found("broken glass", &id),
            GlassError::Program => Self::forbidden(detail, "sign in to the console and do it there"),
            GlassError::OwnReview => Self::forbidden(detail, "ask a trust lead or an administrator"),
            GlassError::Nonsense(_) => Self::invalid(detail, "correct it and send it again"),
            GlassError::Reason(error) => error.into(),
            GlassError::Store(error) => error.into(),
        }
    }
}

/// Breaks the glass; gives its id. Everybody who sees the organisation is told.
pub async fn break_it(kernel: &Kernel, person: &Person, wish: &NewGlass) -> Result<String, GlassError> {
    let (now, reason) = (kernel.now(), fit_reason(&wish.reason)?);
    if person.program {
        return Err(GlassError::Program);
    }
    if reason.is_empty() {
        return Err(GlassError::Nonsense("breaking the glass needs a reason that others can read later"));
    }
    if !(5..=LONGEST_MINUTES).contains(&wish.minutes) {
        return Err(GlassError::Nonsense("the glass stays broken for 5 to 240 minutes"));
    }
    let mut tx = kernel.store().write(&person.scope).await?;
    let organisation = match &wish.organisation {
        None => person.scope.root().clone(),
        Some(id) => tree::find(&mut *tx, &person.scope, id)
            .await?
            .ok_or_else(|| GlassError::NoOrganisation(id.clone()))?,
    };
    let (id, until) = (random_id(), Timestamp(now.0 + i64::from(wish.minutes) * 60_000));
    store::insert(&mut tx, &organisation, &id, person, &reason, (now, until)).await?;
    let text = format!(
        "{} ({}) broke the glass at {} for {} minutes: “{reason}”. Nobody has looked into it yet.",
        person.name,
        person.role.title(),
        clock_time(now),
        wish.minutes
    );
    let end = Timestamp(now.0 + NOTICE_MS);
    notices::put(&mut tx, &organisation, &notice(&id), (&text, "/break-glass"), end, now).await?;
    let act = Act {
        actor: person.name.clone(),
        act: "break_glass.begun",
        target: id.clone(),
        detail: json!({"reason": reason, "expires_ms": until, "role": person.role}),
    };
    audit::append(&mut tx, &organisation, now, act).await?;
    tx.commit().await.map_err(StoreError::from)?;
    kernel.bus().tell(&organisation, Topic::NoticesChanged);
    Ok(id)
}

fn notice(id: &str) -> String {
    format!("break-glass-{id}")
}

/// Ends it before its time. Whoever may break it may mend what others broke.
pub async fn end(kernel: &Kernel, person: &Person, id: &str) -> Result<(), GlassError> {
    let now = kernel.now();
    let mut tx = kernel.store().write(&person.scope).await?;
    let no_glass = || GlassError::NoGlass(id.to_owned());
    let organisation = store::end(&mut tx, &person.scope, id, now).await?.ok_or_else(no_glass)?;
    let act = Act {
        actor: person.name.clone(),
        act: "break_glass.ended",
        target: id.to_owned(),
        detail: json!({}),
    };
    audit::append(&mut tx, &organisation, now, act).await?;
    tx.commit().await.map_err(StoreError::from)?;
    kernel.bus().tell(&organisation, Topic::NoticesChanged);
    Ok(())
}

/// Notes what somebody else found who looked into it. It is over then.
pub async fn review(kernel: &Kernel, person: &Person, id: &str, found: &str) -> Result<(), GlassError> {
    let (now, found) = (kernel.now(), fit_reason(found)?);
    if person.program {
        return Err(GlassError::Program);
    }
    if found.is_empty() {
        return Err(GlassError::Nonsense("a review says what was found"));
    }
    let mut tx = kernel.store().write(&person.scope).await?;
    let no_glass = || GlassError::NoGlass(id.to_owned());
    let (organisation, answerable) =
        store::unreviewed(&mut tx, &person.scope, id).await?.ok_or_else(no_glass)?;
    if answerable == person.answerable {
        return Err(GlassError::OwnReview);
    }
    store::put_review(&mut tx, &organisation, id, (&person.name, &found), now).await?;
    notices::end(&mut tx, &organisation, &notice(id)).await?;
    let act = Act {
        actor: person.name.clone(),
        act: "break_glass.reviewed",
        target: id.to_owned(),
        detail: json!({"review": found, "role": person.role}),
    };
    audit::append(&mut tx, &organisation, now, act).await?;
    tx.commit().await.map_err(StoreError::from)?;
    kernel.bus().tell(&organisation, Topic::NoticesChanged);
    Ok(())
}
