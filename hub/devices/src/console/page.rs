//! One device: its state now, what it sees, what it lost, and what can be ordered.

use askama::Template;
use wardline_event::{Disposition, SensorKind, Severity, Timestamp};
use wardline_kernel::page::{
    ActionRow, Ago, ContainForm, Exact, IsolateForm, LiftForm, OrderedList, ReleaseForm, Tag, Tone, absolute,
    ago, containment_in_words, filters,
};
use wardline_kernel::views::{FindingSummary, Presence};
use wardline_policy::{DevicePolicy, KeptFlow};

use super::list::presence_tag;
use crate::domain::{Accounting, ContainmentRow, DeviceDetail, SensorRow};
use crate::whereabouts::Whereabouts;

/// One line of facts.
pub struct Fact {
    name: &'static str,
    text: String,
}

/// One sensor.
pub struct Sensor {
    title: String,
    state: Tag,
    reason: String,
    produced: u64,
    lost: u64,
}

/// A finding in the device's own list.
pub struct FindingRow {
    id: String,
    severity: Tag,
    title: String,
    done: Tag,
    when: Ago,
    simulated: bool,
}

/// One line of the account.
#[derive(Debug, PartialEq, Eq)]
pub struct Line {
    /// What became of these events.
    pub name: &'static str,
    /// What that means.
    pub note: &'static str,
    /// How many.
    pub count: u64,
    /// True if they are lost.
    pub bad: bool,
}

/// Where the events went: lines that add up to `produced`, or a sentence on the difference.
#[derive(Debug, PartialEq, Eq)]
pub struct Account {
    /// All of them.
    pub produced: u64,
    /// By what became of them.
    pub lines: Vec<Line>,
    /// Of them, those that the device takes for acknowledged: the hub must have stored as many.
    pub acknowledged: u64,
    /// What does not add up.
    pub difference: Option<String>,
    /// What correlations gave up; no part of the sum.
    pub correlation_lost: u64,
}

fn count(n: i64) -> u64 {
    u64::try_from(n).unwrap_or(0)
}

impl Account {
    /// Draws up the account of what a device said in its last heartbeat.
    pub fn of(a: &Accounting) -> Self {
        let (spooled, dropped, waiting) = (count(a.spooled), count(a.spool_dropped), count(a.waiting));
        let acknowledged = spooled.saturating_sub(dropped).saturating_sub(waiting);
        let lost = count(a.kernel_lost).saturating_add(count(a.decode_lost));
        let line = |name, note, count, lost: bool| Line { name, note, count, bad: lost && count > 0 };
        let lines = vec![
            line("Acknowledged by this hub", "by the device's own count", acknowledged, false),
            line("Waiting on the device", "sent when the hub can be reached", waiting, false),
            line(
                "Used on the device and not sent",
                "short-lived copies of processes, which only make the tree",
                count(a.kept_local),
                false,
            ),
            line(
                "Lost in the kernel or while reading",
                "came faster than they could be read, or could not be understood",
                lost,
                true,
            ),
            line("Lost from the disk queue", "its space was used up while the hub was away", dropped, true),
        ];
        let produced = count(a.produced);
        let sum: u64 = lines.iter().fold(0, |sum, l| sum.saturating_add(l.count));
        let difference = match produced.checked_sub(sum) {
            Some(0) => None,
            Some(n) => {
                Some(format!("{n} more were on their way between sensor and queue when this was counted."))
            }
            None => Some(format!(
                "{} more are accounted for than were produced: the device did not take all its counts at one moment.",
                sum - produced
            )),
        };
        let correlation_lost = count(a.correlation_lost);
        Self { produced, lines, acknowledged, difference, correlation_lost }
    }
}

/// A containment, in words.
pub struct ContainedRow {
    rung: String,
    what: String,
    until: Exact,
    by: String,
    reason: String,
}

/// The page.
#[derive(Template)]
#[template(path = "device.html")]
#[allow(clippy::struct_excessive_bools)] // What the template asks, yes or no.
pub struct DevicePage {
    id: String,
    here: String,
    name: String,
    role: String,
    presence: Tag,
    now_line: String,
    clinical: bool,
    simulated: bool,
    silent: bool,
    revoked: bool,
    isolated_until: Option<Exact>,
    /// What is contained beside an isolation.
    contained: Vec<ContainedRow>,
    /// What its policy keeps, if the policy is one that this hub understands.
    kept: Option<Vec<KeptFlow>>,
    break_glass: Vec<String>,
    mode: String,
    facts: Vec<Fact>,
    heartbeat: Option<Ago>,
    seen: Option<Ago>,
    sensors: Vec<Sensor>,
    account: Option<Account>,
    events: u64,
    lacking: u64,
    stored: u64,
    missing: u64,
    unreadable: u64,
    actions: Vec<ActionRow>,
    findings: Vec<FindingRow>,
    organisation: (String, String),
    at: Whereabouts,
    /// True if there is another organisation that it could be moved to.
    pub may_move: bool,
}

impl DevicePage {
    /// Puts a device into a page.
    pub fn of(
        device: &DeviceDetail,
        findings: &[FindingSummary],
        actions: Vec<ActionRow>,
        now: Timestamp,
    ) -> Self {
        let s = &device.summary;
        let silent = s.presence != Presence::Live;
        let account = device.accounting.as_ref().map(Account::of);
        let policy = DevicePolicy::from_json(device.policy.to_string().as_bytes()).ok();
        let contained = device.containments.iter().filter(|row| row.rung != "isolation");
        let (events, unreadable) = (count(device.events), count(device.unreadable));
        // The device counts since its agent started, the hub over all the device's life: only too few say anything.
        let lacking =
            account.as_ref().map_or(0, |a| a.acknowledged.saturating_sub(events.saturating_add(unreadable)));
        Self {
            here: format!("/devices/{}", s.id),
            id: s.id.clone(),
            name: if s.hostname.is_empty() { "no name" } else { &s.hostname }.to_owned(),
            role: capitalised(&s.role),
            presence: presence_tag(s.presence),
            now_line: now_line(device, now),
            clinical: s.class == "clinical",
            simulated: s.simulated,
            silent,
            revoked: s.presence == Presence::Revoked,
            isolated_until: s.isolated_until_ms.map(|ms| Exact(Timestamp(ms))),
            contained: contained.map(contained_row).collect(),
            break_glass: policy.as_ref().map(|p| p.break_glass.clone()).unwrap_or_default(),
            kept: policy.map(|p| p.keep_flows),
            mode: s.mode.clone(),
            facts: facts(device),
            heartbeat: device.heartbeat_ms.map(|ms| Ago { at: Timestamp(ms), now }),
            seen: s.last_seen_ms.map(|ms| Ago { at: Timestamp(ms), now }),
            sensors: device.sensors.iter().map(sensor).collect(),
            account,
            events,
            lacking,
            stored: count(device.stored),
            missing: count(device.missing),
            unreadable,
            actions,
            findings: findings.iter().map(|f| finding(f, now)).collect(),
            organisation: (s.organisation.clone(), s.organisation_name.clone()),
            at: Whereabouts {
                site: s.site.clone(),
                ward: s.ward.clone(),
                device_type: s.device_type.clone(),
            },
            may_move: false,
        }
    }

    fn isolate_form(&self) -> IsolateForm<'_> {
        IsolateForm {
            device: &self.id,
            hostname: &self.name,
            clinical: self.clinical,
            silent: self.silent,
            kept: self.kept.as_deref(),
            back: &self.here,
        }
    }

    fn contain_form(&self, rung: &str) -> ContainForm<'_> {
        ContainForm {
            device: &self.id,
            hostname: &self.name,
            rung: rung.to_owned(),
            process: "",
            clinical: self.clinical,
            kept: self.kept.as_deref(),
            break_glass: &self.break_glass,
            back: &self.here,
        }
    }

    fn lift_form<'a>(&'a self, row: &'a ContainedRow) -> LiftForm<'a> {
        LiftForm { device: &self.id, rung: &row.rung, back: &self.here }
    }

    fn release_form(&self) -> ReleaseForm<'_> {
        ReleaseForm { device: &self.id, hostname: &self.name, back: &self.here }
    }

    fn ordered(&self) -> OrderedList<'_> {
        OrderedList { actions: &self.actions, back: &self.here }
    }
}

fn contained_row(row: &ContainmentRow) -> ContainedRow {
    ContainedRow {
        rung: row.rung.clone(),
        what: capitalised(&containment_in_words(&row.rung)),
        until: Exact(Timestamp(row.expires_ms)),
        by: row.by.clone(),
        reason: row.reason.clone(),
    }
}

fn capitalised(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
}

/// The state in a sentence or two.
fn now_line(device: &DeviceDetail, now: Timestamp) -> String {
    let s = &device.summary;
    let last = s.last_seen_ms.map(|ms| ago(Timestamp(ms), now));
    let heard = match (s.presence, last) {
        (Presence::Live, _) => "It is online.".to_owned(),
        (Presence::Silent, Some(last)) => format!(
            "It was last heard {last}. It may be off, cut off, or attacked: what happens on it now is unknown here."
        ),
        (Presence::Revoked, _) => "It may no longer connect to this hub.".to_owned(),
        _ => "It joined and has never been heard. Whether it is protected is unknown.".to_owned(),
    };
    let isolated = match s.isolated_until_ms {
        Some(ms) => {
            format!(" It is cut off from everything except this hub until {}.", absolute(Timestamp(ms)))
        }
        None => String::new(),
    };
    let mode = match (s.mode_in_force.as_deref(), s.mode.as_str()) {
        (Some("protect"), "protect") if s.class == "clinical" => {
            " As a clinical device it only reports attacks; rules never kill on it."
        }
        (Some("protect"), "protect") => " It stops attacks by itself.",
        (Some("monitor"), "monitor") => " It reports attacks and stops nothing by itself.",
        (Some(_), "protect") => " It was told to stop attacks by itself and has not confirmed that yet.",
        (Some(_), _) => " It was told to only report attacks and has not confirmed that yet.",
        (None, _) => " It has not said yet whether it stops attacks.",
    };
    format!("{heard}{isolated}{mode}")
}

fn facts(device: &DeviceDetail) -> Vec<Fact> {
    let s = &device.summary;
    let unknown = || "unknown".to_owned();
    let said = |text: &str| if text.is_empty() { unknown() } else { text.to_owned() };
    let confirmed = match device.policy_confirmed {
        Some(true) => "confirmed by the device",
        Some(false) => "not confirmed yet",
        None => "unknown whether in force",
    };
    let clock = device.clock_ahead_ms.map_or_else(unknown, |ms| match ms {
        -2_000..=2_000 => "right".to_owned(),
        ms if ms > 0 => format!("{} seconds ahead of the hub's", ms / 1000),
        ms => format!("{} seconds behind the hub's", -ms / 1000),
    });
    let fact = |name, text| Fact { name, text };
    vec![
        fact("Mode", format!("{} ({confirmed})", s.mode)),
        fact("Class", s.class.clone()),
        fact("Type", said(&s.device_type)),
        fact("Site", said(&s.site)),
        fact("Ward", said(&s.ward)),
        fact("System", said(&s.os)),
        fact("Kernel", said(&device.kernel)),
        fact("Agent", said(&device.agent_version)),
        fact("Rules", device.rules_loaded.map_or_else(unknown, |n| format!("{n} loaded"))),
        fact(
            "Memory",
            device.rss_bytes.map_or_else(unknown, |n| format!("{} MB used by the agent", n / 1_000_000)),
        ),
        fact("Clock", clock),
        fact("Joined", absolute(Timestamp(device.enrolled_ms))),
        fact("Certificate", format!("valid until {}", absolute(Timestamp(device.certificate_until_ms)))),
    ]
}

fn sensor(row: &SensorRow) -> Sensor {
    let kind: Option<SensorKind> = serde_json::from_value(row.kind.clone().into()).ok();
    let state = match row.state.as_str() {
        "live" => Tag::new(Tone::Good, "Live"),
        "degraded" => Tag::new(Tone::Warn, "Degraded"),
        "off" => Tag::new(Tone::Bad, "Off"),
        _ => Tag::new(Tone::Warn, "Unknown"),
    };
    Sensor {
        title: kind.map_or_else(|| row.kind.clone(), |k| capitalised(k.title())),
        state,
        reason: row.reason.clone(),
        produced: count(row.produced),
        lost: count(row.lost),
    }
}

fn finding(f: &FindingSummary, now: Timestamp) -> FindingRow {
    let disposition: Option<Disposition> = serde_json::from_value(f.disposition.clone().into()).ok();
    FindingRow {
        id: f.id.clone(),
        severity: Tag::severity(Severity::parse(&f.severity).unwrap_or(Severity::Informational)),
        title: f.rule_title.clone(),
        done: disposition.map_or_else(|| Tag::new(Tone::Plain, "Unknown"), |d| Tag::disposition(d, "kill")),
        when: Ago { at: Timestamp(f.time_ms), now },
        simulated: f.simulated,
    }
}
