//! Agreeing to what somebody else ordered, or refusing it.

use serde_json::json;
use wardline_event::ActionState;
use wardline_kernel::audit::{self, Act};
use wardline_kernel::{Kernel, StoreError, Topic, WriteTx, fit_reason};
use wardline_policy::{Basis, Party, Reach, Verdict, Warrant, judge, needs_in_words, permit};

use crate::domain::{Step, expiry_ms};
use crate::order::{Issue, OrderError, Ordered};
use crate::person::Person;
use crate::store::{self, agreements::Asked};
use crate::survey::{self, Seen};

/// Agrees to an order, or refuses it; with `whole` also to what was ordered with it. Gives what each waits for now. Once
/// nothing is missing, the command is signed and sent.
pub async fn agree(
    kernel: &Kernel,
    person: &Person,
    id: &str,
    whole: bool,
    agreed: bool,
    reason: &str,
) -> Result<Vec<Ordered>, OrderError> {
    let reason = fit_reason(reason)?;
    if reason.is_empty() && !agreed {
        return Err(OrderError::Nonsense("refusing needs a reason that whoever asked can read"));
    }
    if person.program {
        return Err(OrderError::Program);
    }
    let mut tx = kernel.store().write(&person.scope).await?;
    let first = store::agreements::one(&mut tx, &person.scope, id)
        .await?
        .ok_or_else(|| OrderError::NoAction(id.to_owned()))?;
    if first.state != ActionState::Pending || first.needs.is_empty() {
        return Err(OrderError::NotWaiting);
    }
    if agreed && first.answerable == person.answerable {
        return Err(OrderError::OwnRequest);
    }
    let all = if whole && !first.together.is_empty() {
        store::agreements::waiting_together(&mut tx, &person.scope, &first.together).await?
    } else {
        vec![first]
    };
    let mut after = Vec::with_capacity(all.len());
    if agreed {
        // Measured together, as it was asked for, and by what is so now.
        let devices: Vec<String> = all.iter().map(|asked| asked.device.clone()).collect();
        let wish = all[0].wish.as_ref().ok_or(StoreError::Corrupt { what: "action" })?;
        let devices = survey::see(kernel, &person.scope, &devices).await?;
        let (answerable, now) = (&all[0].answerable, kernel.now());
        let reaches = survey::reach(&mut tx, &person.scope, answerable, &wish.order(), &devices, now).await?;
        for asked in &all {
            let found = devices.iter().zip(&reaches).find(|(seen, _)| seen.summary.id == asked.device);
            let (device, reach) = found.ok_or_else(|| OrderError::NoDevice(asked.device.clone()))?;
            after.push(approve(kernel, &mut tx, person, asked, (device, *reach), &reason).await?);
        }
    } else {
        for asked in &all {
            after.push(refuse(kernel, &mut tx, person, asked, &reason).await?);
        }
    }
    // Among what was ordered together some may need others; that nobody is helped is told.
    if agreed && after.iter().all(|(_, helped)| !helped) {
        return Err(OrderError::OtherAgreement(needs_in_words(&after[0].0.needs)));
    }
    tx.commit().await.map_err(StoreError::from)?;
    for (asked, (ordered, _)) in all.iter().zip(&after) {
        let (id, device) = (asked.id.clone(), asked.device.clone());
        kernel.bus().tell(&asked.organisation, Topic::ActionChanged { id, device: device.clone() });
        if agreed && ordered.needs.is_empty() {
            kernel.bus().tell(&asked.organisation, Topic::CommandReady { device });
        }
    }
    Ok(after.into_iter().map(|(ordered, _)| ordered).collect())
}

async fn refuse(
    kernel: &Kernel,
    tx: &mut WriteTx,
    person: &Person,
    asked: &Asked,
    reason: &str,
) -> Result<(Ordered, bool), OrderError> {
    let now = kernel.now();
    let from_above = survey::is_from_above(kernel, &person.scope, &asked.organisation).await?;
    store::agreements::insert(tx, asked, (person, from_above), false, reason, now).await?;
    let step = Step {
        state: ActionState::Cancelled.as_str().to_owned(),
        source: person.name.clone(),
        detail: format!("refused by {}: {reason}", person.name),
        at_ms: now.0,
        device_at_ms: None,
    };
    store::put_state(tx, &asked.organisation, &asked.id, ActionState::Cancelled, &step).await?;
    let act = Act {
        actor: person.name.clone(),
        act: "action.refused",
        target: asked.id.clone(),
        detail: json!({"device": asked.device, "reason": reason, "role": person.role}),
    };
    audit::append(tx, &asked.organisation, now, act).await?;
    Ok((Ordered { id: asked.id.clone(), device: asked.device.clone(), needs: asked.needs.clone() }, true))
}

/// Notes an agreement and judges the order anew, by what is so now. Gives what it still waits for, and whether this helped.
async fn approve(
    kernel: &Kernel,
    tx: &mut WriteTx,
    person: &Person,
    asked: &Asked,
    (device, reach): (&Seen, Reach),
    reason: &str,
) -> Result<(Ordered, bool), OrderError> {
    let now = kernel.now();
    let wish = asked.wish.as_ref().ok_or(StoreError::Corrupt { what: "action" })?;
    let order = wish.order();
    permit(&order, &asked.reason, &device.policy)?;
    let from_above = survey::is_from_above(kernel, &person.scope, &asked.organisation).await?;
    let approvals = store::agreements::parties(tx, &asked.organisation, &asked.id).await?;
    // What it rested on may have been taken back meanwhile.
    let rests = asked.basis != Basis::Role
        && store::survey::still_rests(tx, &asked.organisation, &asked.rests_on, now).await?;
    let (basis, rests_on) = if rests { (asked.basis, asked.rests_on.as_str()) } else { (Basis::Role, "") };
    let mut warrant = Warrant {
        organisation: asked.organisation.to_string(),
        requester: Party { name: asked.answerable.clone(), role: asked.role, from_above: asked.from_above },
        basis,
        approvals,
        reach,
    };
    let missing = |warrant: &Warrant| match judge(&order, device.policy.class, warrant) {
        Verdict::Go => Ok(Vec::new()),
        Verdict::Needs(needs) => Ok(needs),
        Verdict::Refused(no) => Err(OrderError::Refused(no.because)),
    };
    let before = missing(&warrant)?;
    warrant.approvals.push(person.party(from_above));
    let needs = missing(&warrant)?;
    // What needed somebody when it was asked for may need nobody by now.
    let helped = needs.len() < before.len() || needs.is_empty();
    if !helped {
        return Ok((Ordered { id: asked.id.clone(), device: asked.device.clone(), needs }, false));
    }
    store::agreements::insert(tx, asked, (person, from_above), true, reason, now).await?;
    let needs_json = if needs.is_empty() { String::new() } else { store::to_json(&needs) };
    store::agreements::put_needs(tx, asked, &needs_json, basis, rests_on, now).await?;
    if needs.is_empty() {
        let expires_ms = now.0 + expiry_ms(wish);
        let issue =
            Issue { id: &asked.id, device: device.id, wish, by: &asked.requested_by, reason: &asked.reason };
        let signed = issue.sign(kernel, &warrant, rests_on, (now, expires_ms));
        store::agreements::put_command(tx, asked, &signed, expires_ms).await?;
    }
    let step = Step {
        state: ActionState::Pending.as_str().to_owned(),
        source: person.name.clone(),
        detail: if reason.is_empty() { "approved".to_owned() } else { format!("approved: {reason}") },
        at_ms: now.0,
        device_at_ms: None,
    };
    store::insert_step(tx, &asked.organisation, &asked.id, &step).await?;
    let act = Act {
        actor: person.name.clone(),
        act: "action.approved",
        target: asked.id.clone(),
        detail: json!({
            "device": asked.device, "reason": reason, "role": person.role, "needs": needs, "reach": warrant.reach,
        }),
    };
    audit::append(tx, &asked.organisation, now, act).await?;
    Ok((Ordered { id: asked.id.clone(), device: asked.device.clone(), needs }, true))
}
