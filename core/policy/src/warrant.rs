//! Under what authority an order is given, and whether that is enough. Hub and agent ask the same policies.

use std::sync::LazyLock;

use cedar_policy::{Authorizer, Context, Decision, Entity, Request, RestrictedExpression};
use serde::{Deserialize, Serialize};

use crate::authority::{Authority, Deed, Refused, Role, uid};
use crate::device::DeviceClass;
use crate::order::Order;
use crate::reach::Reach;
use crate::rung::Rung;

/// Which orders need whose agreement.
pub const ORDERS: &str = include_str!("../policies/orders.cedar");

static BUILT_IN: LazyLock<Authority> =
    LazyLock::new(|| Authority::parse(ORDERS).expect("the built-in policies are tested"));

/// Somebody who asked for an order or agreed to it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Party {
    /// Who, as in the audit log.
    pub name: String,
    /// What they are.
    pub role: Role,
    /// True if they work in an organisation above the one that is accountable for the device.
    pub from_above: bool,
}

/// Why an order needs less agreement than others.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Basis {
    /// It does not.
    #[default]
    Role,
    /// The device's organisation has given standing consent to the one above.
    Consent,
    /// Somebody broke the glass.
    BreakGlass,
}

impl Basis {
    /// `role`, `consent` or `break_glass`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Role => "role",
            Self::Consent => "consent",
            Self::BreakGlass => "break_glass",
        }
    }

    /// Reads [`Basis::as_str`].
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Role, Self::Consent, Self::BreakGlass].into_iter().find(|one| one.as_str() == text)
    }
}

/// Under what authority an order to one device is given.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Warrant {
    /// The device's organisation.
    pub organisation: String,
    /// Who asked.
    pub requester: Party,
    /// Why it needs less agreement.
    pub basis: Basis,
    /// Who agreed.
    pub approvals: Vec<Party>,
    /// How far it reaches.
    pub reach: Reach,
}

/// Whose agreement is missing.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Agreement {
    /// Anybody else whose role may approve there.
    SecondPerson,
    /// A clinical engineer.
    Clinician,
    /// Somebody of the device's own organisation.
    OwnPerson,
}

impl Agreement {
    /// The end of the sentence "needs approval by …".
    pub fn whose(self) -> &'static str {
        match self {
            Self::SecondPerson => "a second person",
            Self::Clinician => "a clinical engineer",
            Self::OwnPerson => "somebody of the device's own organisation",
        }
    }

    fn parse(word: &str) -> Option<Self> {
        Some(match word {
            "second_person" => Self::SecondPerson,
            "clinician" => Self::Clinician,
            "own_person" => Self::OwnPerson,
            _ => return None,
        })
    }
}

/// An agreement that is missing, and why it is needed.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct Need {
    /// Whose.
    pub of: Agreement,
    /// Why, in the policy's own words.
    pub because: String,
}

/// Whether an order may be given under a warrant.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// It may.
    Go,
    /// When others agree. Sorted, never empty.
    Needs(Vec<Need>),
    /// It may not, whoever agrees.
    Refused(Refused),
}

/// Missing agreements in one line: `needs approval by a second person (patients depend on this device)`.
pub fn needs_in_words(needs: &[Need]) -> String {
    let parts: Vec<String> =
        needs.iter().map(|need| format!("{} ({})", need.of.whose(), need.because)).collect();
    format!("needs approval by {}", parts.join(" and "))
}

impl Order {
    /// The action that policies know it by; `None` for what is no order to a device.
    pub fn action(&self) -> Option<&'static str> {
        Some(match self {
            Self::KillProcess => "kill_process",
            Self::Isolate { .. } | Self::Contain { rung: Rung::Isolation, .. } => "isolate",
            Self::Contain { rung: Rung::EastWest, .. } => "cut_east_west",
            Self::Contain { rung: Rung::Logons, .. } => "suspend_logons",
            Self::Contain { rung: Rung::Process(_), .. } => "cut_process",
            Self::Release => "release",
            Self::Lift { .. } => "lift",
            Self::Quarantine => "quarantine_file",
            Self::Restore => "restore_file",
            Self::SetPolicy => return None,
        })
    }

    /// True if it undoes another one.
    pub fn undoes(&self) -> bool {
        matches!(self, Self::Release | Self::Lift { .. } | Self::Restore)
    }

    /// True if it contains the whole device: what the blast radius counts.
    pub fn contains_device(&self) -> bool {
        match self {
            Self::Isolate { .. } => true,
            Self::Contain { rung, .. } => !matches!(rung, Rung::Process(_)),
            _ => false,
        }
    }
}

impl Warrant {
    /// Those who agreed and count: people other than the one who asked, whose role may approve.
    fn counting(&self) -> impl Iterator<Item = &Party> {
        let may = |party: &&Party| {
            let approve =
                Authority::built_in().decide(&party.name, &[party.role], Deed::Approve, &self.organisation);
            party.name != self.requester.name && approve.is_ok()
        };
        self.approvals.iter().filter(may)
    }

    fn circumstances(&self) -> [(String, RestrictedExpression); 11] {
        let second_person = self.counting().next().is_some();
        let clinician = self.counting().any(|party| party.role == Role::ClinicalEngineer);
        let own_person = !self.requester.from_above || self.counting().any(|party| !party.from_above);
        let (yes, number) =
            (RestrictedExpression::new_bool, |n: u32| RestrictedExpression::new_long(n.into()));
        let text = |text: &str| RestrictedExpression::new_string(text.to_owned());
        [
            ("basis", text(self.basis.as_str())),
            ("from_above", yes(self.requester.from_above)),
            ("second_person", yes(second_person)),
            ("clinician", yes(clinician)),
            ("own_person", yes(own_person)),
            ("devices", number(self.reach.devices)),
            ("of_ward", number(self.reach.of_ward)),
            ("of_site", number(self.reach.of_site)),
            ("of_organisation", number(self.reach.of_organisation)),
            ("of_type", number(self.reach.of_type)),
            ("last_of_type", text(self.reach.last_of_type.as_str())),
        ]
        .map(|(name, value)| (name.to_owned(), value))
    }
}

/// Whether an order may be given to a device of this class under a warrant.
pub fn judge(order: &Order, class: DeviceClass, warrant: &Warrant) -> Verdict {
    judge_by(&BUILT_IN, order, class, warrant)
}

fn judge_by(authority: &Authority, order: &Order, class: DeviceClass, warrant: &Warrant) -> Verdict {
    let refused = |because: String| Verdict::Refused(Refused { because });
    let failed = |what: &str| refused(format!("the policies could not be asked ({what})"));
    let Some(action) = order.action() else { return failed("no order to a device") };
    let Party { name, role, .. } = &warrant.requester;
    let may = |deed| Authority::built_in().decide(name, &[*role], deed, &warrant.organisation);
    // Whoever may take orders back may undo what they did.
    let allowed =
        may(Deed::Order).or_else(|no| if order.undoes() { may(Deed::CancelOrder) } else { Err(no) });
    if let Err(no) = allowed {
        return Verdict::Refused(no);
    }
    if warrant.basis == Basis::BreakGlass
        && let Err(no) = may(Deed::BreakGlass)
    {
        return Verdict::Refused(no);
    }
    let ask = || -> Result<_, String> {
        let text = |e: &dyn ToString| e.to_string();
        let (who, device) = (uid("Wardline::Actor", name), uid("Wardline::Device", "this"));
        let class = RestrictedExpression::new_string(class.as_str().to_owned());
        let device_entity = Entity::new(device.clone(), [("class".to_owned(), class)].into(), [].into())
            .map_err(|e| text(&e))?;
        // The schema says in which groups the actions are.
        let groups = authority.schema.action_entities().map_err(|e| text(&e))?;
        let entities = groups
            .add_entities([Entity::with_uid(who.clone()), device_entity], None)
            .map_err(|e| text(&e))?;
        let context = Context::from_pairs(warrant.circumstances()).map_err(|e| text(&e))?;
        let request = Request::new(who, uid("Wardline::Action", action), device, context, None)
            .map_err(|e| text(&e))?;
        Ok(Authorizer::new().is_authorized(&request, &authority.policies, &entities))
    };
    let answer = match ask() {
        Ok(answer) => answer,
        Err(what) => return failed(&what),
    };
    // A policy that failed might have been a prohibition.
    if answer.diagnostics().errors().next().is_some() {
        return failed("evaluation");
    }
    if answer.decision() == Decision::Allow {
        return Verdict::Go;
    }
    let mut needs = Vec::new();
    for policy in answer.diagnostics().reason() {
        let said = |key| authority.policies.annotation(policy, key);
        let because = said("because").unwrap_or("a policy forbids it").to_owned();
        match said("needs").and_then(Agreement::parse) {
            Some(of) => needs.push(Need { of, because }),
            None => return refused(because),
        }
    }
    if needs.is_empty() {
        return refused("no policy permits it".to_owned());
    }
    needs.sort();
    needs.dedup();
    Verdict::Needs(needs)
}

#[cfg(test)]
mod tests;
