//! Ordering, cancelling, answering, giving up.

use serde::Serialize;
use serde_json::json;
use utoipa::ToSchema;
use wardline_event::{ActionState, ActionUpdate, DeviceId, Timestamp};
use wardline_kernel::audit::{self, Act};
use wardline_kernel::{
    Kernel, OrganisationId, ReasonTooLong, Scope, StoreError, Topic, WriteTx, fit_reason, random_id,
};
use wardline_policy::{Need, Prohibition, Verdict, Warrant, permit};
use wardline_wire::proto::{Command, SignedCommand};

use crate::domain::{AGREE_WITHIN_MS, Effect, GRACE_MS, Step, Wish, expiry_ms, judge};
use crate::person::Person;
use crate::store::{self, NewAction, Standing};
use crate::survey::{self, Preview};

/// Why an order was not given, or not taken back.
#[derive(Debug, thiserror::Error)]
pub enum OrderError {
    /// There is no such device.
    #[error("there is no device `{0}` in this organisation")]
    NoDevice(String),
    /// The device may not connect, so nothing can be ordered.
    #[error("the device's certificate is revoked: it cannot be reached any more")]
    Revoked,
    /// What is ordered makes no sense.
    #[error("{0}")]
    Nonsense(&'static str),
    /// Policy forbids it.
    #[error(transparent)]
    Prohibited(#[from] Prohibition),
    /// The reason is too long.
    #[error(transparent)]
    Reason(#[from] ReasonTooLong),
    /// There is no such action.
    #[error("there is no action `{0}` in this organisation")]
    NoAction(String),
    /// Too late.
    #[error("the action is {0} and can no longer be cancelled")]
    TooLate(&'static str),
    /// The policies refuse it, whoever agrees.
    #[error("{0}")]
    Refused(String),
    /// It is not what was shown before.
    #[error("what this would do has changed since it was shown")]
    Changed,
    /// Nothing undoes it.
    #[error("this action cannot be undone")]
    NoUndo,
    /// It waits for nobody's agreement.
    #[error("this action waits for nobody's approval")]
    NotWaiting,
    /// Whoever asked cannot agree as well.
    #[error("whoever asked for an action cannot approve it as well")]
    OwnRequest,
    /// A program is nobody's second person.
    #[error("a program cannot approve what a person must")]
    Program,
    /// Their agreement is not what is missing.
    #[error("this action {0}; your approval would not help")]
    OtherAgreement(String),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// An order that was given, or that waits for others to agree.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Ordered {
    /// The action's id; its state is at `/api/v1/actions/{id}`.
    pub id: String,
    /// The device.
    pub device: String,
    /// Whose agreement it waits for; empty if the device is asked at once.
    #[schema(value_type = Vec<Object>)]
    pub needs: Vec<Need>,
}

/// Orders devices to do something; gives the action for each. Each is sent at once if its device is connected, else when it
/// connects, or once everybody agrees whom the policies name. All are ordered or none. With `seen`, only what that preview
/// has shown.
pub async fn order(
    kernel: &Kernel,
    person: &Person,
    devices: &[String],
    wish: &Wish,
    reason: &str,
    seen: Option<&str>,
) -> Result<Vec<Ordered>, OrderError> {
    if let Some(fault) = wish.fault() {
        return Err(OrderError::Nonsense(fault));
    }
    let (now, reason) = (kernel.now(), fit_reason(reason)?);
    let devices = survey::see(kernel, &person.scope, devices).await?;
    for device in &devices {
        permit(&wish.order(), &reason, &device.policy)?;
    }
    // Counted in the transaction that orders, so that two orders at once cannot both be below a limit.
    let mut tx = kernel.store().write(&person.scope).await?;
    let judged = survey::assess(kernel, &mut tx, person, wish, devices, now).await?;
    if let Some(seen) = seen
        && Preview::of(wish, &reason, &judged).seen != seen
    {
        return Err(OrderError::Changed);
    }
    let together = random_id();
    let mut ordered = Vec::with_capacity(judged.len());
    for one in &judged {
        let (id, device) = (random_id(), &one.seen.summary.id);
        let needs = match &one.verdict {
            Verdict::Go => Vec::new(),
            Verdict::Needs(needs) => needs.clone(),
            Verdict::Refused(no) => return Err(OrderError::Refused(no.because.clone())),
        };
        let expires_ms = now.0 + if needs.is_empty() { expiry_ms(wish) } else { AGREE_WITHIN_MS };
        let issue = Issue { id: &id, device: one.seen.id, wish, by: &person.name, reason: &reason };
        let signed =
            needs.is_empty().then(|| issue.sign(kernel, &one.warrant, &one.rests_on, (now, expires_ms)));
        let needs_json = if needs.is_empty() { String::new() } else { store::to_json(&needs) };
        let new = NewAction {
            id: &id,
            device,
            wish,
            reason: &reason,
            by: person,
            from_above: one.warrant.requester.from_above,
            basis: one.warrant.basis,
            rests_on: &one.rests_on,
            needs: &needs_json,
            reach: &one.warrant.reach,
            together: &together,
            expires_ms,
            signed: signed.as_ref(),
        };
        store::insert(&mut tx, &one.seen.organisation, &new, now).await?;
        let act = Act {
            actor: person.name.clone(),
            act: if needs.is_empty() { "action.ordered" } else { "action.asked" },
            target: id.clone(),
            detail: json!({
                "device": device, "kind": wish.kind(), "target": wish.target(), "reason": reason, "role": person.role,
                "basis": one.warrant.basis, "rests_on": one.rests_on, "needs": needs, "reach": one.warrant.reach,
                "together": together,
            }),
        };
        audit::append(&mut tx, &one.seen.organisation, now, act).await?;
        ordered.push(Ordered { id, device: device.clone(), needs });
    }
    tx.commit().await.map_err(StoreError::from)?;
    for (one, Ordered { id, device, needs }) in judged.iter().zip(&ordered) {
        let organisation = &one.seen.organisation;
        kernel.bus().tell(organisation, Topic::ActionChanged { id: id.clone(), device: device.clone() });
        if needs.is_empty() {
            kernel.bus().tell(organisation, Topic::CommandReady { device: device.clone() });
        }
    }
    Ok(ordered)
}

/// What is signed once nobody's agreement is missing.
pub(crate) struct Issue<'a> {
    pub id: &'a str,
    pub device: DeviceId,
    pub wish: &'a Wish,
    pub by: &'a str,
    pub reason: &'a str,
}

impl Issue<'_> {
    pub(crate) fn sign(
        &self,
        kernel: &Kernel,
        warrant: &Warrant,
        rests_on: &str,
        (now, expires_ms): (Timestamp, i64),
    ) -> SignedCommand {
        kernel.keys().signer().sign(&Command {
            action_id: self.id.to_owned(),
            device_id: self.device.0.to_be_bytes().to_vec(),
            issued_ms: now.0,
            expires_ms,
            requested_by: self.by.to_owned(),
            reason: self.reason.to_owned(),
            kind: Some(self.wish.command()),
            authority: Some(survey::on_the_wire(warrant, rests_on)),
        })
    }
}

/// Undoes what an action did with one order more, or takes it back if its device has not begun; gives the order's action.
pub async fn undo(
    kernel: &Kernel,
    person: &Person,
    id: &str,
    reason: &str,
) -> Result<Option<Ordered>, OrderError> {
    let mut reading = kernel.store().read().snapshot(&person.scope).await?;
    let asked = store::agreements::one(&mut reading, &person.scope, id).await?;
    drop(reading);
    let asked = asked.ok_or_else(|| OrderError::NoAction(id.to_owned()))?;
    if asked.state == ActionState::Pending {
        cancel(kernel, &person.scope, &person.name, id).await?;
        return Ok(None);
    }
    let undo = asked.wish.and_then(|wish| wish.undo(&asked.detail)).ok_or(OrderError::NoUndo)?;
    let ordered = order(kernel, person, &[asked.device], &undo, reason, None).await?;
    Ok(ordered.into_iter().next())
}

/// Takes an action back that its device has not begun. If the device has it already and acts, its word is noted.
pub async fn cancel(kernel: &Kernel, scope: &Scope, by: &str, id: &str) -> Result<(), OrderError> {
    let now = kernel.now();
    let mut tx = kernel.store().write(scope).await?;
    let Standing { organisation, device, state, .. } =
        store::state(&mut tx, scope, id).await?.ok_or_else(|| OrderError::NoAction(id.to_owned()))?;
    if !state.may_become(ActionState::Cancelled) {
        return Err(OrderError::TooLate(state.as_str()));
    }
    let step = Step {
        state: ActionState::Cancelled.as_str().to_owned(),
        source: by.to_owned(),
        detail: "cancelled before the device confirmed that it began".to_owned(),
        at_ms: now.0,
        device_at_ms: None,
    };
    store::put_state(&mut tx, &organisation, id, ActionState::Cancelled, &step).await?;
    let act = Act {
        actor: by.to_owned(),
        act: "action.cancelled",
        target: id.to_owned(),
        detail: json!({"device": device}),
    };
    audit::append(&mut tx, &organisation, now, act).await?;
    tx.commit().await.map_err(StoreError::from)?;
    kernel.bus().tell(&organisation, Topic::ActionChanged { id: id.to_owned(), device });
    Ok(())
}

/// Takes a device's word on an action, in the transaction that stores its batch. True if something changed;
/// tell the bus then, after the commit. A word on an action of another device, or of none, changes nothing: a
/// policy's command has no action here.
pub async fn apply(
    tx: &mut WriteTx,
    kernel: &Kernel,
    organisation: &OrganisationId,
    device: &str,
    update: &ActionUpdate,
) -> Result<bool, StoreError> {
    let now = kernel.now();
    let scope = Scope::within(organisation.clone());
    if update.action_id.contains('\0') {
        return Ok(false);
    }
    let Some(Standing { device: owner, state, .. }) = store::state(tx, &scope, &update.action_id).await?
    else {
        return Ok(false);
    };
    if owner != device {
        return Ok(false);
    }
    let effect = judge(state, update.state);
    let mut detail: String = update.detail.chars().filter(|c| !c.is_control()).take(2000).collect();
    if effect == Effect::Noted {
        detail = format!("cancelled too late, the device reports {}: {detail}", update.state.as_str());
    }
    let step = Step {
        state: update.state.as_str().to_owned(),
        source: "device".to_owned(),
        detail,
        at_ms: now.0,
        device_at_ms: Some(update.at.0),
    };
    let next = match effect {
        Effect::Becomes(next) => next,
        Effect::Noted
            if store::last_step(tx, organisation, &update.action_id).await? != Some(step.state.clone()) =>
        {
            state
        }
        Effect::Noted | Effect::Nothing => return Ok(false),
    };
    store::put_state(tx, organisation, &update.action_id, next, &step).await?;
    if next.is_final() {
        let act = Act {
            actor: format!("device {device}"),
            act: "action.ended",
            target: update.action_id.clone(),
            detail: json!({"state": update.state.as_str(), "detail": step.detail}),
        };
        audit::append(tx, organisation, now, act).await?;
    }
    Ok(true)
}

/// Gives up on actions whose order has expired without an answer; says how many.
pub async fn expire(kernel: &Kernel, scope: &Scope) -> Result<usize, StoreError> {
    let now = kernel.now();
    // Looks before it locks: nearly always there is nothing to do.
    if store::overdue(kernel.store().read().within(scope), scope, now.0 - GRACE_MS, now.0).await?.is_empty() {
        return Ok(0);
    }
    let mut tx = kernel.store().write(scope).await?;
    let overdue = store::overdue(&mut *tx, scope, now.0 - GRACE_MS, now.0).await?;
    for (Standing { organisation, id, device, state }, waited) in &overdue {
        let detail = match state {
            _ if *waited => "nobody approved it before the request expired; ask again if it is still needed",
            ActionState::Pending => "the order expired before the device confirmed that it began",
            _ => "the device began and did not report an end before the order expired",
        };
        let step = Step {
            state: ActionState::TimedOut.as_str().to_owned(),
            source: "hub".to_owned(),
            detail: detail.to_owned(),
            at_ms: now.0,
            device_at_ms: None,
        };
        store::put_state(&mut tx, organisation, id, ActionState::TimedOut, &step).await?;
        let act = Act {
            actor: "hub".to_owned(),
            act: "action.timed_out",
            target: id.clone(),
            detail: json!({"device": device}),
        };
        audit::append(&mut tx, organisation, now, act).await?;
    }
    tx.commit().await?;
    for (Standing { organisation, id, device, .. }, _) in &overdue {
        kernel.bus().tell(organisation, Topic::ActionChanged { id: id.clone(), device: device.clone() });
    }
    Ok(overdue.len())
}
