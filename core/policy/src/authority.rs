//! What a role may do, as Cedar policies (`policies/*.cedar`) that people can read, checked against a schema.

use std::fmt;
use std::str::FromStr;
use std::sync::LazyLock;

use cedar_policy::{
    Authorizer, Context, Decision, Entities, Entity, EntityId, EntityTypeName, EntityUid, PolicySet, Request,
    Schema, ValidationMode, Validator,
};
use serde::{Deserialize, Serialize};

/// The policies' schema.
pub const SCHEMA: &str = include_str!("../policies/wardline.cedarschema");
/// What each role may do.
pub const ROLES: &str = include_str!("../policies/roles.cedar");

/// What a person does for an organisation and all below it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Looks at findings and handles them.
    Analyst,
    /// Also orders devices.
    Responder,
    /// Answers for an organisation's devices.
    TrustLead,
    /// Answers for what devices do to patients.
    ClinicalEngineer,
    /// Decides at night.
    OnCallManager,
    /// Reads everything, changes nothing.
    Inspector,
    /// Runs the hub.
    Administrator,
}

/// Something that a policy permits or does not.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Deed {
    /// About oneself: sign out, choose colours.
    Own,
    /// See organisations, devices, findings, actions.
    Look,
    /// Read the audit log.
    ReadAudit,
    /// Acknowledge and close findings.
    HandleFindings,
    /// Order a device to do something.
    Order,
    /// Take an order back, or undo what it did.
    CancelOrder,
    /// Agree to, or refuse, what somebody else ordered.
    Approve,
    /// Act at once where others would have to agree, and answer for it afterwards.
    BreakGlass,
    /// Look into what was done under break-glass.
    ReviewBreakGlass,
    /// Allow an organisation above to act on devices.
    GiveConsent,
    /// Lay down how a device is guarded.
    SetDevicePolicy,
    /// Make tokens with which devices join.
    EnrolDevices,
    /// Forbid a device to connect.
    RevokeDevice,
    /// Move a device to another organisation.
    MoveDevice,
    /// Add, change and move organisations.
    ManageOrganisations,
    /// Make and revoke API tokens.
    ManageTokens,
}

macro_rules! words {
    ($type:ident, $($variant:ident = $word:literal),+ $(,)?) => {
        impl $type {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// Its word, in policies and in the store.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }

            /// Reads its word.
            pub fn parse(text: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|one| one.as_str() == text)
            }
        }
    };
}

words!(
    Role,
    Analyst = "analyst",
    Responder = "responder",
    TrustLead = "trust_lead",
    ClinicalEngineer = "clinical_engineer",
    OnCallManager = "on_call_manager",
    Inspector = "inspector",
    Administrator = "administrator",
);
words!(
    Deed,
    Own = "own",
    Look = "look",
    ReadAudit = "read_audit",
    HandleFindings = "handle_findings",
    Order = "order",
    CancelOrder = "cancel_order",
    Approve = "approve",
    BreakGlass = "break_glass",
    ReviewBreakGlass = "review_break_glass",
    GiveConsent = "give_consent",
    SetDevicePolicy = "set_device_policy",
    EnrolDevices = "enrol_devices",
    RevokeDevice = "revoke_device",
    MoveDevice = "move_device",
    ManageOrganisations = "manage_organisations",
    ManageTokens = "manage_tokens",
);

impl Role {
    /// Its words for people.
    pub fn title(self) -> &'static str {
        match self {
            Self::Analyst => "analyst",
            Self::Responder => "responder",
            Self::TrustLead => "trust lead",
            Self::ClinicalEngineer => "clinical engineer",
            Self::OnCallManager => "on-call manager",
            Self::Inspector => "inspector",
            Self::Administrator => "administrator",
        }
    }
}

/// Policies that do not load.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// Not Cedar.
    #[error("the policies cannot be read: {0}")]
    Parse(String),
    /// Not what the schema allows.
    #[error("the policies do not fit their schema: {0}")]
    Invalid(String),
}

/// Why a deed is refused.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Refused {
    /// In words: a policy's own, or that no role permits it.
    pub because: String,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.because)
    }
}

/// Policies that were read and fit the schema.
pub struct Authority {
    pub(crate) policies: PolicySet,
    pub(crate) schema: Schema,
}

static BUILT_IN: LazyLock<Authority> =
    LazyLock::new(|| Authority::parse(ROLES).expect("the built-in policies are tested"));

pub(crate) fn uid(kind: &str, id: &str) -> EntityUid {
    let kind = EntityTypeName::from_str(kind).expect("a constant of this file");
    EntityUid::from_type_name_and_id(kind, EntityId::new(id))
}

impl Authority {
    /// The policies that come with this build.
    pub fn built_in() -> &'static Self {
        &BUILT_IN
    }

    /// Reads policies and checks them against the schema.
    pub fn parse(text: &str) -> Result<Self, AuthorityError> {
        let policies = PolicySet::from_str(text).map_err(|e| AuthorityError::Parse(e.to_string()))?;
        let (schema, _) =
            Schema::from_cedarschema_str(SCHEMA).map_err(|e| AuthorityError::Parse(e.to_string()))?;
        let verdict = Validator::new(schema.clone()).validate(&policies, ValidationMode::Strict);
        if let Some(error) = verdict.validation_errors().next() {
            return Err(AuthorityError::Invalid(error.to_string()));
        }
        Ok(Self { policies, schema })
    }

    /// Whether somebody with these roles may do this in an organisation. The roles are those held there: what is held
    /// in an organisation above counts, what is held elsewhere does not.
    pub fn decide(&self, actor: &str, roles: &[Role], deed: Deed, organisation: &str) -> Result<(), Refused> {
        let failed = |what: &str| Refused { because: format!("the policies could not be asked ({what})") };
        let held = roles.iter().map(|role| uid("Wardline::Role", role.as_str()));
        let who = uid("Wardline::Actor", actor);
        let entities =
            held.clone().map(Entity::with_uid).chain([Entity::new_no_attrs(who.clone(), held.collect())]);
        let entities = Entities::from_entities(entities, None).map_err(|_| failed("entities"))?;
        let action = uid("Wardline::Action", deed.as_str());
        let resource = uid("Wardline::Organisation", organisation);
        let request =
            Request::new(who, action, resource, Context::empty(), None).map_err(|_| failed("request"))?;
        let answer = Authorizer::new().is_authorized(&request, &self.policies, &entities);
        // A policy that failed might have been a prohibition.
        if answer.diagnostics().errors().next().is_some() {
            return Err(failed("evaluation"));
        }
        match answer.decision() {
            Decision::Allow => Ok(()),
            Decision::Deny => {
                let because =
                    answer.diagnostics().reason().find_map(|id| self.policies.annotation(id, "because"));
                let because = because.map_or_else(|| not_permitted(roles, deed), str::to_owned);
                Err(Refused { because })
            }
        }
    }
}

fn not_permitted(roles: &[Role], deed: Deed) -> String {
    let what = deed.as_str().replace('_', " ");
    match roles {
        [] => format!("you hold no role here, and none means: not to {what}"),
        roles => {
            let titles: Vec<&str> = roles.iter().map(|role| role.title()).collect();
            format!("the policies do not permit you, as {}, to {what}", titles.join(" and "))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What each role may do beside looking and its own affairs.
    const MAY: &[(Role, &[Deed])] = &[
        (Role::Analyst, &[Deed::ReadAudit, Deed::HandleFindings]),
        (Role::Responder, &[Deed::ReadAudit, Deed::HandleFindings, Deed::Order, Deed::CancelOrder]),
        (
            Role::TrustLead,
            &[
                Deed::ReadAudit,
                Deed::HandleFindings,
                Deed::Order,
                Deed::CancelOrder,
                Deed::Approve,
                Deed::BreakGlass,
                Deed::ReviewBreakGlass,
                Deed::GiveConsent,
                Deed::SetDevicePolicy,
                Deed::EnrolDevices,
                Deed::RevokeDevice,
            ],
        ),
        (Role::ClinicalEngineer, &[Deed::SetDevicePolicy, Deed::Approve, Deed::CancelOrder]),
        (Role::OnCallManager, &[Deed::Order, Deed::CancelOrder, Deed::Approve, Deed::BreakGlass]),
        (Role::Inspector, &[Deed::ReadAudit]),
        (Role::Administrator, Deed::ALL),
    ];

    fn may(roles: &[Role], deed: Deed) -> bool {
        Authority::built_in().decide("ann", roles, deed, "o1").is_ok()
    }

    #[test]
    fn each_role_may_do_what_the_table_says_and_nothing_else() {
        assert_eq!(MAY.len(), Role::ALL.len());
        for (role, deeds) in MAY {
            for deed in Deed::ALL {
                let expected = deeds.contains(deed) || matches!(deed, Deed::Look | Deed::Own);
                assert_eq!(may(&[*role], *deed), expected, "{role:?} {deed:?}");
            }
        }
        assert!(may(&[], Deed::Own) && !may(&[], Deed::Look));
    }

    #[test]
    fn roles_add_up_and_an_inspector_changes_nothing_whatever_else_they_are() {
        assert!(may(&[Role::Analyst, Role::OnCallManager], Deed::Order));
        let both = [Role::Inspector, Role::Administrator];
        let refused = Authority::built_in().decide("ann", &both, Deed::Order, "o1").unwrap_err();
        assert_eq!(refused.because, "an inspector reads and changes nothing");
        assert!(may(&both, Deed::Look));
        let refused =
            Authority::built_in().decide("ann", &[Role::Analyst], Deed::RevokeDevice, "o1").unwrap_err();
        assert_eq!(refused.because, "the policies do not permit you, as analyst, to revoke device");
    }

    #[test]
    fn a_name_is_a_name_and_never_policy() {
        for name in ["", "a\"b", "Wardline::Role::\"administrator\"", "administrator", "\u{202e}\n"] {
            assert!(Authority::built_in().decide(name, &[], Deed::Look, name).is_err(), "{name:?}");
        }
    }

    #[test]
    fn policies_that_do_not_fit_are_refused() {
        for (text, said) in [
            ("permit (", "cannot be read"),
            ("permit (principal, action == Wardline::Action::\"fly\", resource);", "do not fit"),
            ("permit (principal in Wardline::Rolle::\"x\", action, resource);", "do not fit"),
        ] {
            let error = Authority::parse(text).err().expect(text).to_string();
            assert!(error.contains(said), "{error}");
        }
    }

    #[test]
    fn words_survive() {
        for role in Role::ALL {
            assert_eq!(Role::parse(role.as_str()), Some(*role));
        }
        assert_eq!(Role::parse("root"), None);
    }
}
