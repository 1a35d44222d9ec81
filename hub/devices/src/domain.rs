//! Rules about devices. Pure.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;
use wardline_kernel::views::DeviceSummary;
use wardline_policy::{DeviceClass, Mode};

/// What a token gives to the devices that enrol with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenSpec {
    /// What the devices are for: "ward PC". Empty: as the device says.
    pub role: String,
    /// What kind of device, as far as safety cares.
    pub class: DeviceClass,
    /// Whether rules may act there.
    pub mode: Mode,
    /// How many devices may use it.
    pub uses: u32,
    /// How long it can be used, in seconds.
    pub life_s: u64,
}

impl Default for TokenSpec {
    /// One workstation within a day, monitored only.
    fn default() -> Self {
        Self {
            role: String::new(),
            class: DeviceClass::Workstation,
            mode: Mode::Monitor,
            uses: 1,
            life_s: 24 * 60 * 60,
        }
    }
}

/// The longest life of an enrolment token: 30 days.
const MAX_TOKEN_LIFE_S: u64 = 30 * 24 * 60 * 60;

impl TokenSpec {
    /// Whether such a token may be made; says what is wrong.
    pub fn check(&self) -> Result<(), String> {
        if !(1..=10_000).contains(&self.uses) {
            return Err(format!("a token is for 1 to 10,000 devices, not {}", self.uses));
        }
        if !(60..=MAX_TOKEN_LIFE_S).contains(&self.life_s) {
            return Err(format!("a token lives 60 s to 30 days, not {} s", self.life_s));
        }
        Ok(())
    }
}

/// A token in a list; never its secret.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct TokenSummary {
    /// By which it is revoked.
    pub id: String,
    /// The organisation that the devices join.
    pub organisation: String,
    /// What the devices are for.
    pub role: String,
    /// `workstation`, `server` or `clinical`.
    pub class: String,
    /// `monitor` or `protect`.
    pub mode: String,
    /// Who made it.
    pub made_by: String,
    /// When.
    pub created_ms: i64,
    /// Until when it can be used.
    pub expires_ms: i64,
    /// How many more devices may use it.
    pub uses_left: i64,
    /// When it was revoked, if it was.
    pub revoked_ms: Option<i64>,
}

/// Where a batch belongs, given how far its spool is stored.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Placement {
    /// How many records at its front are stored already.
    pub skip: u64,
    /// How many numbers before it never arrived and never will: the device dropped them.
    pub missing: u64,
}

/// Places a batch `first..=last` after what is stored up to `high`. Sequence numbers of a spool begin at 1.
pub(crate) fn place(high: Option<u64>, first: u64, last: u64) -> Placement {
    let expected = high.unwrap_or(0) + 1;
    if first >= expected {
        // A spool whose first number is 0 lacks nothing.
        return Placement { skip: 0, missing: first - expected };
    }
    let stored_already = high.map_or(0, |high| (high.min(last) + 1).saturating_sub(first));
    Placement { skip: stored_already, missing: 0 }
}

/// A name or a fact from a device, fit to be shown: printable, and not endless.
pub(crate) fn fact(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(200).collect::<String>().trim().to_owned()
}

/// A count as SQL stores it.
pub(crate) fn count(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

/// A sensor as its device describes it.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct SensorRow {
    /// `linux_ebpf`, …
    pub kind: String,
    /// `live`, `degraded` or `off`; anything else is `unknown`.
    pub state: String,
    /// What is missing and why.
    pub reason: String,
    /// Events it produced since the agent started, lost ones included.
    pub produced: i64,
    /// Of those, lost before they reached the spool.
    pub lost: i64,
}

/// What is contained on a device, by its last heartbeat.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct ContainmentRow {
    /// `isolation`, `east-west`, `logons` or `process/KEY`.
    pub rung: String,
    /// The action that ordered it.
    pub action: String,
    /// Since when, by the device's clock.
    pub since_ms: i64,
    /// When it ends by itself, by the device's clock.
    pub expires_ms: i64,
    /// Who ordered it.
    pub by: String,
    /// Why.
    pub reason: String,
}

/// Where a device's events went since its agent started: produced = spooled + kept local + lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Accounting {
    /// Seen by the sensors.
    pub produced: i64,
    /// Lost in the kernel's buffer.
    pub kernel_lost: i64,
    /// Delivered, and not decodable, as far as it is told apart; else within `kernel_lost`.
    pub decode_lost: i64,
    /// Used on the device and not sent.
    pub kept_local: i64,
    /// Put into the spool.
    pub spooled: i64,
    /// Dropped from the spool because its space was used up.
    pub spool_dropped: i64,
    /// In the spool, not yet stored here.
    pub waiting: i64,
    /// Findings made.
    pub findings: i64,
    /// Given up by correlations: groups and events for want of room, events that came too late, and findings whose event
    /// was no longer at hand. Not a part of the sum.
    pub correlation_lost: i64,
}

/// One device with everything the hub knows of it.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct DeviceDetail {
    /// What lists show.
    #[serde(flatten)]
    pub summary: DeviceSummary,
    /// `uname -r`.
    pub kernel: String,
    /// The agent's version.
    pub agent_version: String,
    /// When it enrolled.
    pub enrolled_ms: i64,
    /// Until when its certificate is valid.
    pub certificate_until_ms: i64,
    /// The policy that the hub lays down.
    #[schema(value_type = Object)]
    pub policy: Value,
    /// Whether the device says that this policy is in force; absent until it has said anything.
    pub policy_confirmed: Option<bool>,
    /// When its last heartbeat came, by the hub's clock; everything below is absent before the first.
    pub heartbeat_ms: Option<i64>,
    /// How far its clock is ahead of the hub's, in milliseconds (heartbeat's travel time included).
    pub clock_ahead_ms: Option<i64>,
    /// The action that isolated it, while it is isolated.
    pub isolation_action: Option<String>,
    /// Since when it is isolated, by its clock.
    pub isolated_since_ms: Option<i64>,
    /// How many rules it has loaded.
    pub rules_loaded: Option<i64>,
    /// Resident memory of its agent.
    pub rss_bytes: Option<i64>,
    /// What is contained on it.
    pub containments: Vec<ContainmentRow>,
    /// Its sensors.
    pub sensors: Vec<SensorRow>,
    /// Where its events went.
    pub accounting: Option<Accounting>,
    /// Records of it that the hub has stored, over all its spools.
    pub stored: i64,
    /// Events of it that the hub's event store holds now, over all its life: the hub's own count.
    pub events: i64,
    /// Sequence numbers that never arrived, over all its spools.
    pub missing: i64,
    /// Records that arrived whole and could not be read; kept as they came.
    pub unreadable: i64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_are_placed_after_what_is_stored() {
        for (high, first, last, skip, missing) in [
            // A new spool.
            (None, 1, 10, 0, 0),
            (None, 4, 10, 0, 3),
            (None, 0, 3, 0, 0),
            // The next batch.
            (Some(10), 11, 20, 0, 0),
            // Sent again, whole or in part.
            (Some(10), 1, 10, 10, 0),
            (Some(10), 6, 15, 5, 0),
            (Some(30), 6, 15, 10, 0),
            // The device dropped 11 to 14.
            (Some(10), 15, 20, 0, 4),
        ] {
            assert_eq!(place(high, first, last), Placement { skip, missing }, "{high:?} {first}..={last}");
        }
    }

    #[test]
    fn facts_are_made_fit_to_be_shown() {
        assert_eq!(fact(" ward\u{1b}[31m-pc\n"), "ward[31m-pc");
        assert_eq!(fact(&"x".repeat(1000)).len(), 200);
    }
}
