//! Rules about actions. Pure.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use wardline_event::{ActionState, ProcessKey};
use wardline_kernel::views::ActionSummary;
use wardline_policy::Order;
use wardline_wire::proto::command::Kind;
use wardline_wire::proto::{Isolate, KillProcess, Release};

/// What a person wants a device to do.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Wish {
    /// Kill one process and its tree.
    KillProcess {
        /// The process, as its key.
        #[schema(value_type = String)]
        process_key: ProcessKey,
    },
    /// Cut the network except the hub.
    Isolate {
        /// For how long, in seconds.
        for_s: u64,
    },
    /// Undo an isolation.
    Release,
}

impl Wish {
    /// The order that policy judges.
    pub fn order(&self) -> Order {
        match self {
            Self::KillProcess { .. } => Order::KillProcess,
            Self::Isolate { for_s } => Order::Isolate { for_s: *for_s },
            Self::Release => Order::Release,
        }
    }

    /// The command that is signed.
    pub fn command(&self) -> Kind {
        match self {
            Self::KillProcess { process_key } => {
                Kind::KillProcess(KillProcess { process_key: process_key.to_string() })
            }
            Self::Isolate { for_s } => Kind::Isolate(Isolate { for_s: *for_s }),
            Self::Release => Kind::Release(Release {}),
        }
    }

    /// Its name as stored: `kill_process`, `isolate`, `release`.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::KillProcess { .. } => "kill_process",
            Self::Isolate { .. } => "isolate",
            Self::Release => "release",
        }
    }

    /// What it is about, as stored: the process key, the seconds, or nothing.
    pub fn target(&self) -> String {
        match self {
            Self::KillProcess { process_key } => process_key.to_string(),
            Self::Isolate { for_s } => for_s.to_string(),
            Self::Release => String::new(),
        }
    }
}

/// How long an order waits for its device, in milliseconds. A kill that comes late may no longer be what the
/// person meant; a release is wanted whenever the device comes back.
pub fn expiry_ms(wish: &Wish) -> i64 {
    const MINUTE: i64 = 60 * 1000;
    match wish {
        Wish::KillProcess { .. } => 10 * MINUTE,
        Wish::Isolate { .. } => 60 * MINUTE,
        Wish::Release => 24 * 60 * MINUTE,
    }
}

/// How long after an order's expiry its answer may still be on its way, in milliseconds.
pub(crate) const GRACE_MS: i64 = 30 * 1000;

/// What a device's word makes of an action.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Effect {
    /// The action has this state now.
    Becomes(ActionState),
    /// The state stays; the word is kept in the history. A device that had begun when a person cancelled.
    Noted,
    /// Heard before.
    Nothing,
}

/// Judges a device's word on an action that is in `state`.
pub(crate) fn judge(state: ActionState, word: ActionState) -> Effect {
    if state.may_become(word) {
        Effect::Becomes(word)
    } else if state == ActionState::Cancelled && word != state {
        Effect::Noted
    } else {
        Effect::Nothing
    }
}

/// One step in an action's life.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, ToSchema)]
pub struct Step {
    /// The state that it reached, or that its device reported.
    pub state: String,
    /// Who said so: a person, `device` or `hub`.
    pub source: String,
    /// What was done, or why not.
    pub detail: String,
    /// When, by the hub's clock.
    pub at_ms: i64,
    /// When, by the device's clock, if a device said so.
    pub device_at_ms: Option<i64>,
}

/// An action with its history.
#[derive(Clone, PartialEq, Debug, Serialize, ToSchema)]
pub struct ActionDetail {
    /// What lists show.
    #[serde(flatten)]
    pub summary: ActionSummary,
    /// Its steps, oldest first.
    pub history: Vec<Step>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use ActionState::{Cancelled, Failed, InProgress, Pending, Succeeded, TimedOut};

    #[test]
    fn a_devices_word_counts_once_and_proof_beats_assumption() {
        for (state, word, effect) in [
            (Pending, InProgress, Effect::Becomes(InProgress)),
            (Pending, Succeeded, Effect::Becomes(Succeeded)),
            (InProgress, InProgress, Effect::Nothing),
            (InProgress, Failed, Effect::Becomes(Failed)),
            (TimedOut, Succeeded, Effect::Becomes(Succeeded)),
            (TimedOut, InProgress, Effect::Nothing),
            (Succeeded, Failed, Effect::Nothing),
            (Cancelled, Succeeded, Effect::Noted),
            (Cancelled, Cancelled, Effect::Nothing),
        ] {
            assert_eq!(judge(state, word), effect, "{state:?} and {word:?}");
        }
    }

    #[test]
    fn a_wish_is_read_as_the_api_shows_it() {
        let wish: Wish = serde_json::from_str(r#"{"kind": "isolate", "for_s": 600}"#).unwrap();
        assert_eq!(wish, Wish::Isolate { for_s: 600 });
        assert!(serde_json::from_str::<Wish>(r#"{"kind": "kill_process", "process_key": "1"}"#).is_err());
    }
}
