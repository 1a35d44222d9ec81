//! Rules about actions. Pure.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use wardline_event::{ActionState, ProcessKey};
use wardline_kernel::views::ActionSummary;
use wardline_policy::{Order, Rung};
use wardline_wire::proto::command::Kind;
use wardline_wire::proto::{Contain, Isolate, KillProcess, Lift, QuarantineFile, Release, RestoreFile};

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
    /// Contain by another rung of the ladder.
    Contain {
        /// `east-west` (SMB, RDP, SSH, WinRM), `logons`, `process/KEY` (a process tree's network) or `isolation`.
        #[schema(value_type = String)]
        rung: Rung,
        /// For how long, in seconds.
        for_s: u64,
    },
    /// Undo a containment.
    Lift {
        /// Which, as for `contain`.
        #[schema(value_type = String)]
        rung: Rung,
    },
    /// Move a file into quarantine on the device.
    QuarantineFile {
        /// Its full path.
        path: String,
    },
    /// Give a file back from quarantine.
    RestoreFile {
        /// By which the device's quarantine knows it; in the answer to the order that took it.
        id: String,
    },
}

/// The longest path and the longest id that an order may name, in bytes.
const LONGEST_PATH: usize = 4096;

impl Wish {
    /// What makes no sense about it; none if it can be ordered.
    pub fn fault(&self) -> Option<&'static str> {
        match self {
            Self::QuarantineFile { path } => {
                (!path.starts_with('/') || path.len() > LONGEST_PATH || path.contains('\0'))
                    .then_some("the file's path must be a full path of at most 4,096 bytes")
            }
            Self::RestoreFile { id } => (id.len() != 16 || !id.bytes().all(|b| b.is_ascii_hexdigit()))
                .then_some("the quarantined file's id has 16 hexadecimal digits"),
            _ => None,
        }
    }

    /// The order that policy judges.
    pub fn order(&self) -> Order {
        match self {
            Self::KillProcess { .. } => Order::KillProcess,
            Self::Isolate { for_s } | Self::Contain { rung: Rung::Isolation, for_s } => {
                Order::Isolate { for_s: *for_s }
            }
            Self::Release | Self::Lift { rung: Rung::Isolation } => Order::Release,
            Self::Contain { rung, for_s } => Order::Contain { rung: *rung, for_s: *for_s },
            Self::Lift { rung } => Order::Lift { rung: *rung },
            Self::QuarantineFile { .. } => Order::Quarantine,
            Self::RestoreFile { .. } => Order::Restore,
        }
    }

    /// The command that is signed. An isolation is ordered by the command that every agent knows.
    pub fn command(&self) -> Kind {
        match self {
            Self::KillProcess { process_key } => {
                Kind::KillProcess(KillProcess { process_key: process_key.to_string() })
            }
            Self::Isolate { for_s } | Self::Contain { rung: Rung::Isolation, for_s } => {
                Kind::Isolate(Isolate { for_s: *for_s })
            }
            Self::Release | Self::Lift { rung: Rung::Isolation } => Kind::Release(Release {}),
            Self::Contain { rung, for_s } => Kind::Contain(Contain { rung: rung.to_string(), for_s: *for_s }),
            Self::Lift { rung } => Kind::Lift(Lift { rung: rung.to_string() }),
            Self::QuarantineFile { path } => {
                Kind::QuarantineFile(QuarantineFile { path: path.clone().into() })
            }
            Self::RestoreFile { id } => Kind::RestoreFile(RestoreFile { id: id.clone() }),
        }
    }

    /// Its name as stored: `kill_process`, `isolate`, `release`, `contain`, `lift`, `quarantine_file`, `restore_file`.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::KillProcess { .. } => "kill_process",
            Self::Isolate { .. } | Self::Contain { rung: Rung::Isolation, .. } => "isolate",
            Self::Release | Self::Lift { rung: Rung::Isolation } => "release",
            Self::Contain { .. } => "contain",
            Self::Lift { .. } => "lift",
            Self::QuarantineFile { .. } => "quarantine_file",
            Self::RestoreFile { .. } => "restore_file",
        }
    }

    /// Reads what [`Wish::kind`] and [`Wish::target`] stored.
    pub fn stored(kind: &str, target: &str) -> Option<Self> {
        let (first, seconds) = target.split_once(' ').unwrap_or((target, ""));
        Some(match kind {
            "kill_process" => Self::KillProcess { process_key: target.parse().ok()? },
            "isolate" => Self::Isolate { for_s: target.parse().ok()? },
            "release" => Self::Release,
            "contain" => Self::Contain { rung: first.parse().ok()?, for_s: seconds.parse().ok()? },
            "lift" => Self::Lift { rung: target.parse().ok()? },
            "quarantine_file" => Self::QuarantineFile { path: target.to_owned() },
            "restore_file" => Self::RestoreFile { id: target.to_owned() },
            _ => return None,
        })
    }

    /// The order that undoes this one; `detail` is the device's answer to it. None if nothing can.
    pub fn undo(&self, detail: &str) -> Option<Self> {
        Some(match self {
            Self::Isolate { .. } | Self::Contain { rung: Rung::Isolation, .. } => Self::Release,
            Self::Contain { rung, .. } => Self::Lift { rung: *rung },
            Self::QuarantineFile { .. } => {
                // The path before it may hold anything; the id is the last one.
                let (_, rest) = detail.rsplit_once(" is in quarantine as ")?;
                let undo = Self::RestoreFile { id: rest.get(..16)?.to_owned() };
                return undo.fault().is_none().then_some(undo);
            }
            Self::KillProcess { .. } | Self::Release | Self::Lift { .. } | Self::RestoreFile { .. } => {
                return None;
            }
        })
    }

    /// What it is about, as stored: the process key, the seconds, the rung (with the seconds), the path, the id, or nothing.
    pub fn target(&self) -> String {
        match self {
            Self::KillProcess { process_key } => process_key.to_string(),
            Self::Isolate { for_s } | Self::Contain { rung: Rung::Isolation, for_s } => for_s.to_string(),
            Self::Release | Self::Lift { rung: Rung::Isolation } => String::new(),
            Self::Contain { rung, for_s } => format!("{rung} {for_s}"),
            Self::Lift { rung } => rung.to_string(),
            Self::QuarantineFile { path } => path.clone(),
            Self::RestoreFile { id } => id.clone(),
        }
    }
}

/// How long an order waits for its device, in milliseconds. A kill that comes late may no longer be what the
/// person meant; a release is wanted whenever the device comes back.
pub fn expiry_ms(wish: &Wish) -> i64 {
    const MINUTE: i64 = 60 * 1000;
    match wish {
        Wish::KillProcess { .. }
        | Wish::Contain { rung: Rung::Process(_), .. }
        | Wish::QuarantineFile { .. } => 10 * MINUTE,
        Wish::Isolate { .. } | Wish::Contain { .. } => 60 * MINUTE,
        Wish::Release | Wish::Lift { .. } | Wish::RestoreFile { .. } => 24 * 60 * MINUTE,
    }
}

/// How long an order waits for the agreement of others, in milliseconds. What was right an hour ago is asked anew.
pub const AGREE_WITHIN_MS: i64 = 60 * 60 * 1000;

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

/// Somebody who agreed to an order, or refused it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, ToSchema)]
pub struct Agreed {
    /// Who.
    pub person: String,
    /// What they are.
    pub role: String,
    /// False if they refused.
    pub agreed: bool,
    /// Why.
    pub reason: String,
    /// When, by the hub's clock.
    pub at_ms: i64,
}

/// An action with its history.
#[derive(Clone, PartialEq, Debug, Serialize, ToSchema)]
pub struct ActionDetail {
    /// What lists show.
    #[serde(flatten)]
    pub summary: ActionSummary,
    /// Who agreed to it or refused it, oldest first.
    pub agreements: Vec<Agreed>,
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
    fn a_wish_reads_back_from_the_store_and_knows_what_undoes_it() {
        let key = "00000000000000000000000000000007-3a98-5304";
        let rung = |text: &str| text.parse::<Rung>().unwrap();
        let taken = "/tmp/a is in quarantine as 1 (3 bytes) is in quarantine as 0123456789abcdef; still open";
        let process = rung(&format!("process/{key}"));
        for (wish, undo) in [
            (Wish::KillProcess { process_key: key.parse().unwrap() }, None),
            (Wish::Isolate { for_s: 600 }, Some(Wish::Release)),
            (Wish::Contain { rung: process, for_s: 60 }, Some(Wish::Lift { rung: process })),
            (Wish::Contain { rung: Rung::Logons, for_s: 60 }, Some(Wish::Lift { rung: Rung::Logons })),
            (
                Wish::QuarantineFile { path: "/tmp/a b".into() },
                Some(Wish::RestoreFile { id: "0123456789abcdef".into() }),
            ),
            (Wish::Lift { rung: Rung::EastWest }, None),
            (Wish::Release, None),
            (Wish::RestoreFile { id: "0123456789abcdef".into() }, None),
        ] {
            assert_eq!(Wish::stored(wish.kind(), &wish.target()), Some(wish.clone()));
            assert_eq!(wish.undo(taken), undo, "{wish:?}");
        }
        assert_eq!(Wish::stored("reboot", ""), None);
        let file = Wish::QuarantineFile { path: "/x".into() };
        for detail in ["", "/x is in quarantine as", "/x is in quarantine as ../../../../../etc"] {
            assert_eq!(file.undo(detail), None, "{detail}");
        }
    }

    #[test]
    fn a_wish_is_read_as_the_api_shows_it() {
        let wish: Wish = serde_json::from_str(r#"{"kind": "isolate", "for_s": 600}"#).unwrap();
        assert_eq!(wish, Wish::Isolate { for_s: 600 });
        assert!(serde_json::from_str::<Wish>(r#"{"kind": "kill_process", "process_key": "1"}"#).is_err());
        let read = |json: &str| serde_json::from_str::<Wish>(json).unwrap();
        let wish = read(r#"{"kind": "contain", "rung": "east-west", "for_s": 600}"#);
        assert_eq!((wish.kind(), wish.target().as_str()), ("contain", "east-west 600"));
        assert_eq!(wish.order(), Order::Contain { rung: Rung::EastWest, for_s: 600 });
        // One thing has one form: agents of before know it.
        let isolate = read(r#"{"kind": "contain", "rung": "isolation", "for_s": 600}"#);
        assert_eq!((isolate.kind(), isolate.target().as_str()), ("isolate", "600"));
        assert!(matches!(isolate.command(), Kind::Isolate(Isolate { for_s: 600 })));
        assert!(matches!(read(r#"{"kind": "lift", "rung": "isolation"}"#).command(), Kind::Release(_)));
        assert!(serde_json::from_str::<Wish>(r#"{"kind": "lift", "rung": "coffee"}"#).is_err());
        for (path, good) in [("/tmp/x", true), ("x", false), ("", false), ("/\0", false)] {
            assert_eq!(Wish::QuarantineFile { path: path.into() }.fault().is_none(), good, "{path}");
        }
        assert!(Wish::RestoreFile { id: "../../x".into() }.fault().is_some());
        assert!(Wish::RestoreFile { id: "0123456789abcdef".into() }.fault().is_none());
    }
}
