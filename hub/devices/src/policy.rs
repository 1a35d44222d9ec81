//! Each device's policy, as a signed command that holds until the next one.

use ring::digest;
use serde_json::json;
use wardline_event::{DeviceId, Timestamp, hex};
use wardline_kernel::audit::{self, Act};
use wardline_kernel::{Kernel, ReasonTooLong, Scope, StoreError, Topic, fit_reason, random_id};
use wardline_policy::{DeviceClass, DevicePolicy, KeptFlow, Mode, Order, PolicyError, Prohibition, permit};
use wardline_wire::CommandSigner;
use wardline_wire::proto::{Command, SetPolicy, SignedCommand, command::Kind};

use crate::store;

/// A policy, signed for one device.
#[derive(Clone, Debug, PartialEq)]
pub struct SignedPolicy {
    /// What is sent.
    pub command: SignedCommand,
    /// SHA-256 over `command.command`: how hub and device tell each other which policy is in force.
    pub digest: Vec<u8>,
}

/// Why a policy was not changed.
#[derive(Debug, thiserror::Error)]
pub enum ChangeError {
    /// There is no such device.
    #[error("there is no device `{0}` in this organisation")]
    NoDevice(String),
    /// The order is not allowed.
    #[error(transparent)]
    Prohibited(#[from] Prohibition),
    /// No device could use such a policy.
    #[error(transparent)]
    Policy(#[from] PolicyError),
    /// The reason is too long.
    #[error(transparent)]
    Reason(#[from] ReasonTooLong),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Signs a policy for a device.
pub(crate) fn sign(
    signer: &CommandSigner,
    device: DeviceId,
    policy: &DevicePolicy,
    by: &str,
    reason: &str,
    now: Timestamp,
) -> SignedPolicy {
    let command = signer.sign(&Command {
        action_id: random_id(),
        device_id: device.0.to_be_bytes().to_vec(),
        issued_ms: now.0,
        expires_ms: 0,
        requested_by: by.to_owned(),
        reason: reason.to_owned(),
        kind: Some(Kind::SetPolicy(SetPolicy { policy_json: policy.to_json() })),
        authority: None,
    });
    let digest = digest::digest(&digest::SHA256, &command.command).as_ref().to_vec();
    SignedPolicy { command, digest }
}

/// The newest policy of a device.
pub async fn newest(
    kernel: &Kernel,
    scope: &Scope,
    device: &str,
) -> Result<Option<SignedPolicy>, StoreError> {
    store::policy_command(kernel.store().read(), scope, device).await
}

/// What to change of a policy; `None` leaves it as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// Whether rules may act.
    pub mode: Option<Mode>,
    /// What kind of device it is.
    pub class: Option<DeviceClass>,
    /// What stays open when it is contained.
    pub keep_flows: Option<Vec<KeptFlow>>,
    /// Who may log on while logons are suspended.
    pub break_glass: Option<Vec<String>>,
    /// Folders that get canary files.
    pub canary_folders: Option<Vec<String>>,
}

/// Changes a device's policy; the device gets it at once if it is connected, else when it next connects.
pub async fn change(
    kernel: &Kernel,
    scope: &Scope,
    by: &str,
    device: &str,
    change: Change,
    reason: &str,
) -> Result<DevicePolicy, ChangeError> {
    let now = kernel.now();
    let no_device = || ChangeError::NoDevice(device.to_owned());
    let id: DeviceId = device.parse().map_err(|_| no_device())?;
    let reason = &fit_reason(reason)?;
    let mut tx = kernel.store().write(scope).await?;
    let (organisation, before) = store::policy(&mut tx, scope, device).await?.ok_or_else(no_device)?;
    permit(&Order::SetPolicy, reason, &before)?;
    let policy = DevicePolicy {
        mode: change.mode.unwrap_or(before.mode),
        class: change.class.unwrap_or(before.class),
        keep_flows: change.keep_flows.unwrap_or_else(|| before.keep_flows.clone()),
        break_glass: change.break_glass.unwrap_or_else(|| before.break_glass.clone()),
        canary_folders: change.canary_folders.unwrap_or_else(|| before.canary_folders.clone()),
        ..before.clone()
    };
    policy.check()?;
    let signed = sign(&kernel.keys().signer(), id, &policy, by, reason, now);
    store::put_policy(&mut tx, &organisation, device, &policy, &signed).await?;
    let act = Act {
        actor: by.to_owned(),
        act: "device.policy_changed",
        target: device.to_owned(),
        detail: json!({
            "reason": reason,
            "mode": [before.mode, policy.mode],
            "class": [before.class, policy.class],
            "keep_flows": [before.keep_flows, policy.keep_flows],
            "break_glass": [before.break_glass, policy.break_glass],
            "canary_folders": [before.canary_folders, policy.canary_folders],
            "digest": hex(&signed.digest),
        }),
    };
    audit::append(&mut tx, &organisation, now, act).await?;
    tx.commit().await.map_err(StoreError::from)?;
    kernel.bus().tell(&organisation, Topic::DeviceChanged { id: device.to_owned() });
    kernel.bus().tell(&organisation, Topic::CommandReady { device: device.to_owned() });
    Ok(policy)
}
