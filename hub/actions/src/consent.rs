//! Standing consent: what an organisation allows one above it to do to its devices without asking.

use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;
use wardline_event::Timestamp;
use wardline_kernel::audit::{self, Act};
use wardline_kernel::{
    ApiError, Kernel, OrganisationId, ReasonTooLong, StoreError, Topic, fit_reason, random_id, tree,
};

use crate::person::Person;
use crate::store::consents as store;
use crate::survey;

/// What may be consented to, as policies call it, and in words.
pub const KINDS: &[(&str, &str)] = &[
    ("kill_process", "kill a process"),
    ("cut_process", "cut a process's network"),
    ("quarantine_file", "quarantine a file"),
    ("cut_east_west", "cut SMB, RDP, SSH and WinRM"),
    ("isolate", "isolate"),
    ("suspend_logons", "suspend logons"),
];
/// The classes of devices.
pub const CLASSES: &[&str] = &["workstation", "server", "clinical"];
/// Days that a consent holds at most. Longer is given anew, which is a decision of its own.
pub const LONGEST_DAYS: u16 = 366;
const DAY_MS: i64 = 24 * 60 * 60 * 1000;

/// A wish to give consent.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewConsent {
    /// The organisation whose devices, and those of all below it; yours if not said.
    pub organisation: Option<String>,
    /// The organisation above it whose people may act.
    pub to: String,
    /// What they may do: `kill_process`, `cut_process`, `quarantine_file`, `cut_east_west`, `isolate`, `suspend_logons`.
    /// They may undo it as well.
    pub kinds: Vec<String>,
    /// On which classes of devices: `workstation`, `server`, `clinical`.
    pub classes: Vec<String>,
    /// For how many days, 1 to 366.
    pub days: u16,
    /// Why.
    pub reason: String,
}

/// A consent in a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Consent {
    /// By which it is taken back.
    pub id: String,
    /// Whose devices.
    pub organisation: String,
    /// That organisation's name.
    pub organisation_name: String,
    /// Whose people may act.
    pub given_to: String,
    /// That organisation's name.
    pub given_to_name: String,
    /// What they may do.
    pub kinds: Vec<String>,
    /// On which classes of devices.
    pub classes: Vec<String>,
    /// Why.
    pub reason: String,
    /// Who gave it.
    pub given_by: String,
    /// When.
    pub given_ms: i64,
    /// Until when it holds.
    pub expires_ms: i64,
    /// When it was taken back, if it was.
    pub revoked_ms: Option<i64>,
    /// Who took it back; empty if nobody did.
    pub revoked_by: String,
}

impl Consent {
    /// Whether it holds now.
    pub fn holds(&self, now: Timestamp) -> bool {
        self.revoked_ms.is_none() && self.expires_ms > now.0
    }
}

/// Why a consent was not given or taken back.
#[derive(Debug, thiserror::Error)]
pub enum ConsentError {
    /// There is no such organisation.
    #[error("there is no organisation `{0}` within yours")]
    NoOrganisation(String),
    /// There is no such consent that holds.
    #[error("there is no consent `{0}` that holds")]
    NoConsent(String),
    /// Nobody above gives it for those below.
    #[error(
        "only the organisation that is accountable for the devices gives consent for them or takes it back"
    )]
    FromAbove,
    /// It is not an organisation above.
    #[error("consent is given to an organisation above; `{0}` is none")]
    NotAbove(String),
    /// Something in it cannot be kept.
    #[error("{0}")]
    Nonsense(String),
    /// The reason is too long.
    #[error(transparent)]
    Reason(#[from] ReasonTooLong),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<ConsentError> for ApiError {
    fn from(error: ConsentError) -> Self {
        let detail = error.to_string();
        match error {
            ConsentError::NoOrganisation(id) => Self::not_found("organisation", &id),
            ConsentError::NoConsent(id) => Self::not_found("consent that holds", &id),
            ConsentError::FromAbove => {
                Self::forbidden(detail, "ask a trust lead or an administrator of that organisation")
            }
            ConsentError::NotAbove(_) | ConsentError::Nonsense(_) => {
                Self::invalid(detail, "correct it and send it again")
            }
            ConsentError::Reason(error) => error.into(),
            ConsentError::Store(error) => error.into(),
        }
    }
}

/// The words of a list that are known, in the order in which they are known, once each.
fn known(what: &str, given: &[String], all: &[&str]) -> Result<Vec<String>, ConsentError> {
    let strange = given.iter().find(|word| !all.contains(&word.as_str()));
    if let Some(word) = strange {
        let shown: String = word.chars().filter(|c| !c.is_control()).take(40).collect();
        return Err(ConsentError::Nonsense(format!("`{shown}` is no {what}; use {}", all.join(", "))));
    }
    let kept: Vec<String> =
        all.iter().filter(|word| given.iter().any(|g| g == *word)).map(|w| (*w).to_owned()).collect();
    if kept.is_empty() {
        return Err(ConsentError::Nonsense(format!("no {what} was chosen; use {}", all.join(", "))));
    }
    Ok(kept)
}

/// Gives consent; gives its id.
pub async fn give(kernel: &Kernel, person: &Person, wish: &NewConsent) -> Result<String, ConsentError> {
    let (now, reason) = (kernel.now(), fit_reason(&wish.reason)?);
    if reason.is_empty() {
        return Err(ConsentError::Nonsense("consent needs a reason that others can read later".to_owned()));
    }
    if !(1..=LONGEST_DAYS).contains(&wish.days) {
        return Err(ConsentError::Nonsense(format!("consent holds for 1 to {LONGEST_DAYS} days")));
    }
    let kinds: Vec<&str> = KINDS.iter().map(|(kind, _)| *kind).collect();
    let (kinds, classes) = (known("action", &wish.kinds, &kinds)?, known("class", &wish.classes, CLASSES)?);
    let pool = kernel.store().read();
    let mut tx = kernel.store().write(&person.scope).await?;
    let organisation = match &wish.organisation {
        None => person.scope.root().clone(),
        Some(id) => tree::find(&mut *tx, &person.scope, id)
            .await?
            .ok_or_else(|| ConsentError::NoOrganisation(id.clone()))?,
    };
    if survey::is_from_above(kernel, &person.scope, &organisation).await? {
        return Err(ConsentError::FromAbove);
    }
    let accountable = tree::accountable(pool, &organisation).await?;
    let above = tree::above(pool, &accountable).await?;
    let Some((_, to_name)) = above.iter().find(|(id, _)| *id == wish.to) else {
        let shown: String = wish.to.chars().filter(|c| !c.is_control()).take(40).collect();
        return Err(ConsentError::NotAbove(shown));
    };
    let to = OrganisationId::stored(wish.to.clone());
    let (id, expires_ms) = (random_id(), now.0 + i64::from(wish.days) * DAY_MS);
    let given = store::NewConsent {
        id: &id,
        to: &to,
        to_name,
        kinds: &kinds,
        classes: &classes,
        reason: &reason,
        expires_ms,
    };
    store::insert(&mut tx, &organisation, &given, &person.name, now).await?;
    let act = Act {
        actor: person.name.clone(),
        act: "consent.given",
        target: id.clone(),
        detail: json!({"to": to, "kinds": kinds, "classes": classes, "expires_ms": expires_ms, "reason": reason}),
    };
    audit::append(&mut tx, &organisation, now, act).await?;
    tx.commit().await.map_err(StoreError::from)?;
    kernel.bus().tell(&organisation, Topic::NoticesChanged);
    Ok(id)
}

/// Takes consent back; it holds no longer from now on.
pub async fn revoke(kernel: &Kernel, person: &Person, id: &str) -> Result<(), ConsentError> {
    let now = kernel.now();
    let mut tx = kernel.store().write(&person.scope).await?;
    let no_consent = || ConsentError::NoConsent(id.to_owned());
    let organisation = store::organisation_of(&mut tx, &person.scope, id).await?.ok_or_else(no_consent)?;
    if survey::is_from_above(kernel, &person.scope, &organisation).await? {
        return Err(ConsentError::FromAbove);
    }
    if !store::revoke(&mut tx, &organisation, id, &person.name, now).await? {
        return Err(no_consent());
    }
    let act =
        Act { actor: person.name.clone(), act: "consent.revoked", target: id.to_owned(), detail: json!({}) };
    audit::append(&mut tx, &organisation, now, act).await?;
    tx.commit().await.map_err(StoreError::from)?;
    kernel.bus().tell(&organisation, Topic::NoticesChanged);
    Ok(())
}
