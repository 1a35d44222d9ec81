//! What a detector concluded: OCSF Detection Finding (class 2004).

use serde::{Deserialize, Serialize};

use crate::activity::{Event, Process};
use crate::ids::EventId;
use crate::time::Timestamp;

/// How bad it is: Sigma's levels, OCSF's severity ids.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// For the record (OCSF 1).
    #[default]
    Informational,
    /// OCSF 2.
    Low,
    /// OCSF 3.
    Medium,
    /// OCSF 4.
    High,
    /// OCSF 5.
    Critical,
}

impl Severity {
    /// All, mildest first.
    pub const ALL: [Self; 5] = [Self::Informational, Self::Low, Self::Medium, Self::High, Self::Critical];

    /// OCSF's `severity_id`.
    pub fn ocsf_id(self) -> u8 {
        self as u8 + 1
    }

    /// The severity with this OCSF `severity_id`.
    pub fn from_ocsf_id(id: u64) -> Option<Self> {
        Self::ALL.into_iter().find(|s| u64::from(s.ocsf_id()) == id)
    }

    /// Sigma's word for it: `informational`, `low`, `medium`, `high`, `critical`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Informational => "informational",
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }

    /// Reads Sigma's word.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|s| s.as_str() == text)
    }
}

/// A MITRE ATT&CK technique or sub-technique, as its id: `T1486`, `T1059.001`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Technique(pub String);

/// The rule behind a finding.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct RuleRef {
    /// The rule's UUID.
    pub id: String,
    /// Its title.
    pub title: String,
    /// What it means, for a person.
    pub description: String,
    /// Its text as written, so that whoever reads the finding sees why it fired, whatever the rule says later.
    pub source: String,
}

/// One reason for a match: this field held this value, which this part of the rule asked for.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct MatchedField {
    /// The rule's selection, for example `selection_img`.
    pub selection: String,
    /// The field's Sigma name; empty for a keyword.
    pub field: String,
    /// What the rule asked for, as written: `endswith '/nc'`.
    pub pattern: String,
    /// What the event held (cut at 1,000 characters).
    pub value: String,
}

/// What policy made of the finding on the device itself.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Disposition {
    /// Recorded; nothing was to be done.
    Recorded,
    /// Policy `monitor`: what would have been done is in [`ActionTaken::detail`].
    WouldAct,
    /// Policy or a safety rule forbade the response.
    Withheld,
    /// Done, and it worked.
    Stopped,
    /// Tried, and it failed.
    Failed,
}

/// What was done, by whom, and how it ended.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ActionTaken {
    /// What came of it.
    pub disposition: Disposition,
    /// `kill process tree`, … ; empty if there was nothing to do.
    pub action: String,
    /// `rule <title>` or a person's name.
    pub by: String,
    /// In words: what was done to what, or why not.
    pub detail: String,
    /// From the event's time to the decision, in microseconds, by the agent's clock.
    pub decided_after_us: u64,
    /// From the event's time to the confirmed end of the action, in microseconds; absent if nothing was done.
    pub done_after_us: Option<u64>,
}

/// A detector's conclusion about one event, with its evidence.
#[derive(Clone, PartialEq, Debug)]
pub struct Finding {
    /// Its id.
    pub id: EventId,
    /// The event's time.
    pub time: Timestamp,
    /// True if the evidence came from the exercise range.
    pub simulated: bool,
    /// How bad it is.
    pub severity: Severity,
    /// The rule that fired.
    pub rule: RuleRef,
    /// The techniques that the rule names.
    pub techniques: Vec<Technique>,
    /// Why it fired.
    pub matched: Vec<MatchedField>,
    /// The event.
    pub event: Event,
    /// The process's ancestors, nearest first, as far as they are known.
    pub ancestors: Vec<Process>,
    /// What was done.
    pub action: ActionTaken,
}
