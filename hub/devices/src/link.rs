//! What a connected device says, and how far its spools are stored.

use wardline_event::DeviceId;
use wardline_kernel::audit::{self, Act};
use wardline_kernel::{Kernel, OrganisationId, Scope, StoreError, Topic, WriteTx};
use wardline_wire::proto::{DeviceFacts, Heartbeat, Record};

pub use crate::domain::Placement;
use crate::domain::place;
use crate::store;

/// A device that may connect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    /// Where it belonged when it connected.
    pub organisation: OrganisationId,
    /// Its id.
    pub id: DeviceId,
    /// From the exercise range.
    pub simulated: bool,
}

/// Looks up the device that a certificate names, with the organisation that it names; `None` if this hub does not know
/// it there or has revoked it.
pub async fn admit(
    kernel: &Kernel,
    named: &OrganisationId,
    id: DeviceId,
) -> Result<Option<Known>, StoreError> {
    let known = store::admitted(kernel.store().read(), named, &id.to_string()).await?;
    Ok(known.map(|(organisation, simulated)| Known { organisation, id, simulated }))
}

/// Whether the device still belongs where its connection found it. Asked in the transaction that stores what it sent,
/// so that nothing is stored with an organisation that it has left.
pub async fn still_there(tx: &mut WriteTx, device: &Known) -> Result<bool, StoreError> {
    store::is_in(tx, &device.organisation, &device.id.to_string()).await
}

/// A device connected and says what it is.
pub async fn hello(
    kernel: &Kernel,
    device: &Known,
    facts: &DeviceFacts,
    boot: &str,
) -> Result<(), StoreError> {
    let mut tx = kernel.store().write(&device.organisation).await?;
    store::hello(&mut tx, &device.organisation, &device.id.to_string(), facts, boot, kernel.now()).await?;
    tx.commit().await?;
    kernel.bus().tell(&device.organisation, Topic::DeviceChanged { id: device.id.to_string() });
    Ok(())
}

/// A device says how it is.
pub async fn heartbeat(kernel: &Kernel, device: &Known, beat: &Heartbeat) -> Result<(), StoreError> {
    let mut tx = kernel.store().write(&device.organisation).await?;
    store::heartbeat(&mut tx, &device.organisation, &device.id.to_string(), beat, kernel.now()).await?;
    tx.commit().await?;
    kernel.bus().tell(&device.organisation, Topic::DeviceChanged { id: device.id.to_string() });
    Ok(())
}

/// Finds a batch's place and moves the spool's mark to its end, in the transaction that stores its records.
pub async fn take_batch(
    tx: &mut WriteTx,
    kernel: &Kernel,
    device: &Known,
    spool: &str,
    first: u64,
    last: u64,
) -> Result<(Placement, u64), StoreError> {
    let id = device.id.to_string();
    let high = store::high(tx, &device.organisation, &id, spool).await?;
    let placement = place(high, first, last);
    let end = high.unwrap_or(0).max(last);
    store::advance(tx, &device.organisation, &id, spool, end, &placement, last - first + 1, kernel.now())
        .await?;
    Ok((placement, end))
}

/// Sets a record aside that arrived whole and cannot be read.
pub async fn set_aside(
    tx: &mut WriteTx,
    kernel: &Kernel,
    device: &Known,
    (spool, seq): (&str, u64),
    record: &Record,
    reason: &str,
) -> Result<(), StoreError> {
    store::set_aside(
        tx,
        &device.organisation,
        &device.id.to_string(),
        (spool, seq),
        record,
        reason,
        kernel.now(),
    )
    .await
}

/// Forbids a device to connect ever again; false if there is no such device that still may.
pub async fn revoke(
    kernel: &Kernel,
    scope: &Scope,
    by: &str,
    device: &str,
    reason: &str,
) -> Result<bool, StoreError> {
    let now = kernel.now();
    let mut tx = kernel.store().write(scope).await?;
    let Some(organisation) = store::revoke(&mut tx, scope, device, now).await? else { return Ok(false) };
    let act = Act {
        actor: by.to_owned(),
        act: "device.revoked",
        target: device.to_owned(),
        detail: serde_json::json!({"reason": reason}),
    };
    audit::append(&mut tx, &organisation, now, act).await?;
    tx.commit().await?;
    kernel.bus().tell(&organisation, Topic::DeviceChanged { id: device.to_owned() });
    // Whoever holds its connection looks again whether it may stay.
    kernel.bus().tell(&organisation, Topic::CommandReady { device: device.to_owned() });
    Ok(true)
}
