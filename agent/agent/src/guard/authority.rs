//! Under what authority an order came, judged by the same policies as at the hub.

use wardline_policy::{
    Basis, DeviceClass, LastOfType, Order, Party, Reach, Role, Verdict, Warrant, judge, needs_in_words,
};
use wardline_wire::proto::{self, Command};

/// A warrant as a hub of before gave it: none. One person of some role, and nobody agreed.
fn unsaid(command: &Command) -> Warrant {
    let name = command.requested_by.clone();
    Warrant {
        organisation: String::new(),
        requester: Party { name, role: Role::Responder, from_above: false },
        basis: Basis::Role,
        approvals: Vec::new(),
        reach: Reach { devices: 1, ..Reach::default() },
    }
}

fn party(party: &proto::Party) -> Result<Party, String> {
    let role = Role::parse(&party.role).ok_or_else(|| {
        let role: String = party.role.chars().filter(|c| !c.is_control()).take(40).collect();
        format!("`{role}` is no role that this agent knows; is the hub newer?")
    })?;
    Ok(Party { name: party.name.clone(), role, from_above: party.from_above })
}

fn warrant(said: &proto::Authority) -> Result<Warrant, String> {
    let requester = said.requester.as_ref().ok_or("the order does not say who asked")?;
    let reach = said.reach.clone().unwrap_or_default();
    let unknown = || "the order says what this agent does not know; is the hub newer?".to_owned();
    let last_of_type = match reach.last_of_type.as_str() {
        "" => LastOfType::No,
        word => LastOfType::parse(word).ok_or_else(unknown)?,
    };
    Ok(Warrant {
        organisation: said.organisation.clone(),
        requester: party(requester)?,
        basis: Basis::parse(&said.basis).ok_or_else(unknown)?,
        approvals: said.approvals.iter().map(party).collect::<Result<_, _>>()?,
        reach: Reach {
            devices: reach.devices,
            of_ward: reach.of_ward,
            of_site: reach.of_site,
            of_organisation: reach.of_organisation,
            of_type: reach.of_type,
            last_of_type,
        },
    })
}

/// Whether the order's authority is enough for this device; the refusal in words if it is not.
pub(super) fn enough(command: &Command, order: &Order, class: DeviceClass) -> Result<(), String> {
    let warrant = match &command.authority {
        Some(said) => warrant(said)?,
        None => unsaid(command),
    };
    match judge(order, class, &warrant) {
        Verdict::Go => Ok(()),
        Verdict::Refused(no) => Err(no.because),
        Verdict::Needs(needs) => {
            let unsaid = if command.authority.is_none() { "; the hub did not say who agreed" } else { "" };
            Err(format!("by this device's own policies the order {}{unsaid}", needs_in_words(&needs)))
        }
    }
}
