//! What a person may order.

use crate::device::{DeviceClass, DevicePolicy};
use crate::rung::Rung;

/// An order that a person gives to a device.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Order {
    /// Kill one process and its tree.
    KillProcess,
    /// Cut the network except the hub.
    Isolate {
        /// For how long, in seconds.
        for_s: u64,
    },
    /// Undo an isolation.
    Release,
    /// Contain by another rung than isolation.
    Contain {
        /// What is contained.
        rung: Rung,
        /// For how long, in seconds.
        for_s: u64,
    },
    /// Undo a containment.
    Lift {
        /// What is contained.
        rung: Rung,
    },
    /// Move a file into quarantine.
    Quarantine,
    /// Give a file back from quarantine.
    Restore,
    /// Lay down another policy.
    SetPolicy,
}

/// Why an order is not allowed.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Prohibition {
    /// Every action carries the reason for which it was ordered.
    #[error("an order needs a reason that others can read later")]
    NoReason,
    /// Too long.
    #[error("containment for {asked_s} s is longer than this device's policy allows ({max_s} s)")]
    TooLong {
        /// What was asked.
        asked_s: u64,
        /// What the policy allows.
        max_s: u64,
    },
    /// Too short to be meant.
    #[error("containment must last at least 60 s")]
    TooShort,
    /// Nobody could use the device.
    #[error(
        "patients may depend on this device: logons cannot be suspended before its policy names a break-glass account"
    )]
    NoBreakGlass,
}

/// Whether an order may be given to a device with this policy.
pub fn permit(order: &Order, reason: &str, policy: &DevicePolicy) -> Result<(), Prohibition> {
    if reason.trim().is_empty() {
        return Err(Prohibition::NoReason);
    }
    match order {
        Order::Isolate { for_s } | Order::Contain { for_s, .. } if *for_s < 60 => Err(Prohibition::TooShort),
        Order::Isolate { for_s } | Order::Contain { for_s, .. } if *for_s > policy.max_isolation_s => {
            Err(Prohibition::TooLong { asked_s: *for_s, max_s: policy.max_isolation_s })
        }
        Order::Contain { rung: Rung::Logons, .. }
            if policy.class == DeviceClass::Clinical && policy.break_glass.is_empty() =>
        {
            Err(Prohibition::NoBreakGlass)
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_containment_always_ends_within_the_policy(for_s: u64, max_isolation_s in 60u64..=86_400) {
            let policy = DevicePolicy { max_isolation_s, ..DevicePolicy::default() };
            for order in [Order::Isolate { for_s }, Order::Contain { rung: Rung::EastWest, for_s }] {
                let allowed = permit(&order, "spreading", &policy).is_ok();
                prop_assert_eq!(allowed, (60..=max_isolation_s).contains(&for_s));
            }
        }
    }

    #[test]
    fn nothing_is_done_without_a_reason() {
        let policy = DevicePolicy::default();
        let rung = Rung::Logons;
        for order in [
            Order::KillProcess,
            Order::Isolate { for_s: 60 },
            Order::Release,
            Order::Contain { rung, for_s: 60 },
            Order::Lift { rung },
            Order::Quarantine,
            Order::Restore,
            Order::SetPolicy,
        ] {
            assert_eq!(permit(&order, "  ", &policy), Err(Prohibition::NoReason));
            assert_eq!(permit(&order, "because", &policy), Ok(()));
        }
    }

    #[test]
    fn a_clinical_device_never_refuses_everybody() {
        let order = Order::Contain { rung: Rung::Logons, for_s: 60 };
        let mut policy = DevicePolicy { class: DeviceClass::Clinical, ..DevicePolicy::default() };
        assert_eq!(permit(&order, "stolen password", &policy), Err(Prohibition::NoBreakGlass));
        policy.break_glass = vec!["oncall".into()];
        assert_eq!(permit(&order, "stolen password", &policy), Ok(()));
        let lift = Order::Lift { rung: Rung::Logons };
        assert_eq!(permit(&lift, "over", &DevicePolicy { break_glass: vec![], ..policy }), Ok(()));
    }
}
