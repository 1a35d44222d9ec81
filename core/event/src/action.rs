//! Actions: what a person ordered a device to do, and how far it got.

use serde::{Deserialize, Serialize};

use crate::time::Timestamp;

/// The states of an action.
///
/// ```text
/// Pending ──▶ InProgress ──▶ Succeeded | Failed
///    └──────────────┴──────▶ TimedOut | Cancelled
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub enum ActionState {
    /// Ordered; the device has not confirmed that it began.
    Pending,
    /// The device began.
    InProgress,
    /// The device proved that it is done.
    Succeeded,
    /// The device could not do it or refused.
    Failed,
    /// The order expired before the device answered.
    TimedOut,
    /// A person took it back before the device began.
    Cancelled,
}

impl ActionState {
    /// All states.
    pub const ALL: [Self; 6] =
        [Self::Pending, Self::InProgress, Self::Succeeded, Self::Failed, Self::TimedOut, Self::Cancelled];

    /// The name as stored and shown in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "Pending",
            Self::InProgress => "InProgress",
            Self::Succeeded => "Succeeded",
            Self::Failed => "Failed",
            Self::TimedOut => "TimedOut",
            Self::Cancelled => "Cancelled",
        }
    }

    /// Reads [`ActionState::as_str`].
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|s| s.as_str() == text)
    }

    /// True if nothing more will happen.
    pub fn is_final(self) -> bool {
        !matches!(self, Self::Pending | Self::InProgress)
    }

    /// Whether the action may go from this state to `next`.
    ///
    /// A device's late proof beats the hub's assumption: TimedOut may still become Succeeded or Failed.
    pub fn may_become(self, next: Self) -> bool {
        match self {
            Self::Pending => next != Self::Pending,
            Self::InProgress => next.is_final() && next != Self::Cancelled,
            Self::TimedOut => matches!(next, Self::Succeeded | Self::Failed),
            Self::Succeeded | Self::Failed | Self::Cancelled => false,
        }
    }
}

/// A device's word on an action, sent through the spool so that it is never lost.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ActionUpdate {
    /// The action.
    pub action_id: String,
    /// Its state now.
    pub state: ActionState,
    /// When, by the device's clock.
    pub at: Timestamp,
    /// What was done, or why not.
    pub detail: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_life_cycle_only_moves_forward() {
        for from in ActionState::ALL {
            assert_eq!(ActionState::parse(from.as_str()), Some(from));
            assert!(!from.may_become(from));
            for to in ActionState::ALL {
                if from.may_become(to) {
                    assert!(!to.may_become(from), "{from:?} and {to:?} would go round in circles");
                }
            }
        }
        assert!(ActionState::TimedOut.may_become(ActionState::Succeeded));
        assert!(!ActionState::InProgress.may_become(ActionState::Cancelled));
    }
}
