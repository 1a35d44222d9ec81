//! The list of devices.

use askama::Template;
use wardline_event::Timestamp;
use wardline_kernel::page::{Ago, Tag, Tone, filters, grouped};
use wardline_kernel::views::{DeviceSummary, Presence};

/// A device in the list.
#[derive(Clone, Debug)]
#[allow(clippy::struct_excessive_bools)] // What the template asks, yes or no.
pub struct Row {
    /// Its id.
    pub id: String,
    /// What people call it.
    pub name: String,
    /// What it is for.
    pub role: String,
    /// Whether it can be heard.
    pub presence: Tag,
    /// Cut off from all but the hub.
    pub isolated: bool,
    /// Patients depend on it directly.
    pub clinical: bool,
    /// When it last spoke.
    pub seen: Option<Ago>,
    /// What it does when it finds an attack.
    pub mode: &'static str,
    /// Events lost, or that nobody knows.
    pub lost: String,
    /// True if some were.
    pub losing: bool,
    /// Its operating system.
    pub os: String,
    /// From the exercise range.
    pub simulated: bool,
}

/// The page.
#[derive(Template)]
#[template(path = "devices.html")]
pub struct ListPage {
    /// One sentence with the denominator.
    pub summary: String,
    /// The devices.
    pub rows: Vec<Row>,
}

impl ListPage {
    /// Puts the devices into a page.
    pub fn of(devices: &[DeviceSummary], now: Timestamp) -> Self {
        Self { summary: summary(devices), rows: devices.iter().map(|d| row(d, now)).collect() }
    }
}

fn summary(devices: &[DeviceSummary]) -> String {
    let count = |presence| devices.iter().filter(|d| d.presence == presence).count();
    let mut parts = vec![format!("{} online", count(Presence::Live))];
    for (presence, word) in [
        (Presence::Silent, "silent"),
        (Presence::NeverConnected, "never seen"),
        (Presence::Revoked, "revoked"),
    ] {
        if count(presence) > 0 {
            parts.push(format!("{} {word}", count(presence)));
        }
    }
    let isolated = devices.iter().filter(|d| d.isolated_until_ms.is_some()).count();
    if isolated > 0 {
        parts.push(format!("{isolated} isolated"));
    }
    match devices.len() {
        0 => "No devices.".to_owned(),
        1 => format!("1 device: {}.", parts.join(", ")),
        n => format!("{} devices: {}.", grouped(n as u64), parts.join(", ")),
    }
}

fn row(device: &DeviceSummary, now: Timestamp) -> Row {
    let lost = device.lost.map(|n| u64::try_from(n).unwrap_or(0));
    Row {
        id: device.id.clone(),
        name: if device.hostname.is_empty() { "no name" } else { &device.hostname }.to_owned(),
        role: device.role.clone(),
        presence: presence_tag(device.presence),
        isolated: device.isolated_until_ms.is_some(),
        clinical: device.class == "clinical",
        seen: device.last_seen_ms.map(|ms| Ago { at: Timestamp(ms), now }),
        mode: mode_words(device.mode_in_force.as_deref(), device.class == "clinical"),
        lost: lost.map_or_else(|| "unknown".to_owned(), grouped),
        losing: lost.is_some_and(|n| n > 0),
        os: device.os.clone(),
        simulated: device.simulated,
    }
}

/// Whether a device can be heard, as a tag.
pub fn presence_tag(presence: Presence) -> Tag {
    match presence {
        Presence::Live => Tag::new(Tone::Good, "Online"),
        Presence::Silent => Tag::new(Tone::Bad, "Silent"),
        Presence::NeverConnected => Tag::new(Tone::Warn, "Never seen"),
        Presence::Revoked => Tag::new(Tone::Plain, "Revoked"),
    }
}

/// What a device does when it finds an attack, by what it says is in force.
pub fn mode_words(mode: Option<&str>, clinical: bool) -> &'static str {
    match mode {
        Some("protect") if clinical => "Only reports it (clinical)",
        Some("protect") => "Stops it",
        Some("monitor") => "Only reports it",
        _ => "Unknown",
    }
}
