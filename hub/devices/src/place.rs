//! To which organisation a device belongs.

use serde_json::json;
use wardline_kernel::audit::{self, Act};
use wardline_kernel::{
    ApiError, Kernel, OrganisationId, ReasonTooLong, Scope, StoreError, Topic, fit_reason, tree, views,
};

use crate::store;

/// Why a device was not moved.
#[derive(Debug, thiserror::Error)]
pub enum MoveError {
    /// There is no such device.
    #[error("there is no device `{0}` in this organisation")]
    NoDevice(String),
    /// There is no such organisation.
    #[error("there is no organisation `{0}` within yours")]
    NoOrganisation(String),
    /// Nothing would change.
    #[error("the device belongs to that organisation already")]
    There,
    /// Orders are under way, given by people of the organisation that it would leave.
    #[error("{0} orders to this device have not come to an end")]
    Orders(i64),
    /// Without a reason.
    #[error("moving a device needs a reason that others can read later")]
    NoReason,
    /// The reason is too long.
    #[error(transparent)]
    Reason(#[from] ReasonTooLong),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Moves a device to another organisation; both lie within the scope. It stays connected only as long as it takes to
/// connect again. What it saw stays with the organisation that it leaves; both organisations' logs tell of the move.
pub async fn move_device(
    kernel: &Kernel,
    scope: &Scope,
    by: &str,
    device: &str,
    to: &str,
    reason: &str,
) -> Result<(), MoveError> {
    let reason = fit_reason(reason)?;
    if reason.is_empty() {
        return Err(MoveError::NoReason);
    }
    let now = kernel.now();
    let mut tx = kernel.store().write(scope).await?;
    let (from, _) =
        store::policy(&mut tx, scope, device).await?.ok_or_else(|| MoveError::NoDevice(device.to_owned()))?;
    let to =
        tree::find(&mut *tx, scope, to).await?.ok_or_else(|| MoveError::NoOrganisation(to.to_owned()))?;
    if from == to {
        return Err(MoveError::There);
    }
    let unfinished = views::unfinished_actions(&mut *tx, scope, device).await?;
    if unfinished > 0 {
        return Err(MoveError::Orders(unfinished));
    }
    store::put_place(&mut tx, device, (&from, &to), (by, &reason), now).await?;
    let act = |act: &'static str, other: (&'static str, &OrganisationId)| Act {
        actor: by.to_owned(),
        act,
        target: device.to_owned(),
        detail: json!({other.0: other.1, "reason": reason}),
    };
    audit::append(&mut tx, &from, now, act("device.moved", ("to", &to))).await?;
    audit::append(&mut tx, &to, now, act("device.arrived", ("from", &from))).await?;
    tx.commit().await.map_err(StoreError::from)?;
    for organisation in [&from, &to] {
        kernel.bus().tell(organisation, Topic::DeviceChanged { id: device.to_owned() });
    }
    // Whoever holds its connection looks again where it belongs.
    kernel.bus().tell(&to, Topic::CommandReady { device: device.to_owned() });
    Ok(())
}

impl From<MoveError> for ApiError {
    fn from(error: MoveError) -> Self {
        let detail = error.to_string();
        match error {
            MoveError::NoDevice(id) => Self::not_found("device", &id),
            MoveError::NoOrganisation(id) => Self::not_found("organisation", &id),
            MoveError::There => Self::conflict(detail, "choose another organisation"),
            MoveError::Orders(_) => {
                Self::conflict(detail, "wait until the device has answered, or take the orders back")
            }
            MoveError::NoReason => Self::invalid(detail, "say in `reason` why it moves"),
            MoveError::Reason(error) => error.into(),
            MoveError::Store(error) => error.into(),
        }
    }
}
