//! Ordering, cancelling, answering, giving up.

use prost::Message;
use serde_json::json;
use wardline_event::{ActionState, ActionUpdate, DeviceId};
use wardline_kernel::audit::{self, Act};
use wardline_kernel::views::{self, Presence};
use wardline_kernel::{
    Kernel, OrganisationId, ReasonTooLong, Scope, StoreError, Topic, WriteTx, fit_reason, random_id,
};
use wardline_policy::{DevicePolicy, Prohibition, permit};
use wardline_wire::proto::Command;

use crate::domain::{Effect, GRACE_MS, Step, Wish, expiry_ms, judge};
use crate::store::{self, NewAction, Standing};

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
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Orders an action; gives its id. It is sent at once if the device is connected, else when it connects.
pub async fn order(
    kernel: &Kernel,
    scope: &Scope,
    by: &str,
    device: &str,
    wish: &Wish,
    reason: &str,
) -> Result<String, OrderError> {
    let now = kernel.now();
    let no_device = || OrderError::NoDevice(device.to_owned());
    let device_id: DeviceId = device.parse().map_err(|_| no_device())?;
    let pool = kernel.store().read();
    let known = views::device_by_id(pool, scope, device, now).await?.ok_or_else(no_device)?;
    if known.presence == Presence::Revoked {
        return Err(OrderError::Revoked);
    }
    let policy = views::device_policy(pool, scope, device).await?.ok_or_else(no_device)?;
    let policy =
        DevicePolicy::from_json(policy.as_bytes()).map_err(|_| StoreError::Corrupt { what: "policy" })?;
    if let Some(fault) = wish.fault() {
        return Err(OrderError::Nonsense(fault));
    }
    let reason = fit_reason(reason)?;
    permit(&wish.order(), &reason, &policy)?;

    let command = Command {
        action_id: random_id(),
        device_id: device_id.0.to_be_bytes().to_vec(),
        issued_ms: now.0,
        expires_ms: now.0 + expiry_ms(wish),
        requested_by: by.to_owned(),
        reason: reason.clone(),
        kind: Some(wish.command()),
    };
    let signed = kernel.keys().signer().sign(&command);
    debug_assert_eq!(signed.command, command.encode_to_vec());
    let id = command.action_id;
    let organisation = &OrganisationId::stored(known.organisation);
    let mut tx = kernel.store().write(organisation).await?;
    let new = NewAction { id: &id, device, wish, reason: &reason, by, expires_ms: command.expires_ms };
    store::insert(&mut tx, organisation, &new, &signed, now).await?;
    let act = Act {
        actor: by.to_owned(),
        act: "action.ordered",
        target: id.clone(),
        detail: json!({"device": device, "kind": wish.kind(), "target": wish.target(), "reason": reason}),
    };
    audit::append(&mut tx, organisation, now, act).await?;
    tx.commit().await.map_err(StoreError::from)?;
    kernel.bus().tell(organisation, Topic::ActionChanged { id: id.clone(), device: device.to_owned() });
    kernel.bus().tell(organisation, Topic::CommandReady { device: device.to_owned() });
    Ok(id)
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
    if store::overdue(kernel.store().read().within(scope), scope, now.0 - GRACE_MS).await?.is_empty() {
        return Ok(0);
    }
    let mut tx = kernel.store().write(scope).await?;
    let overdue = store::overdue(&mut *tx, scope, now.0 - GRACE_MS).await?;
    for Standing { organisation, id, device, state } in &overdue {
        let detail = match state {
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
    for Standing { organisation, id, device, .. } in &overdue {
        kernel.bus().tell(organisation, Topic::ActionChanged { id: id.clone(), device: device.clone() });
    }
    Ok(overdue.len())
}
