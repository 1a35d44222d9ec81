//! The list of devices.

use askama::Template;
use serde::Deserialize;
use wardline_event::Timestamp;
use wardline_kernel::page::{Ago, Tag, Tone, address, filters, grouped};
use wardline_kernel::views::{
    DeviceCounts, DeviceOrder, DevicePage, DevicePlace, DeviceQuery, DeviceSummary, Presence,
};

/// A device in the list.
#[derive(Clone, Debug)]
#[allow(clippy::struct_excessive_bools)] // What the template asks, yes or no.
pub struct Row {
    /// Its id.
    pub id: String,
    /// What people call it.
    pub name: String,
    /// The organisation that it belongs to: id and name.
    pub organisation: (String, String),
    /// What it is for.
    pub role: String,
    /// Ward and site, as far as they are known.
    pub at: String,
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

/// The filters, as the form sends them and the page shows them again. Empty: all, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Filter {
    /// How the name begins.
    #[serde(default)]
    pub name: String,
    /// `live`, `silent`, `never_connected`, `revoked`; `isolated`.
    #[serde(default)]
    pub state: String,
    /// `workstation`, `server`, `clinical`.
    #[serde(default)]
    pub class: String,
    /// `silence`; anything else is by name.
    #[serde(default)]
    pub order: String,
    /// An organisation's id: only its devices and those below it.
    #[serde(default)]
    pub organisation: String,
    /// The place where the page begins.
    #[serde(default)]
    pub after: String,
}

impl Filter {
    /// What is asked of the store, `limit` at a time.
    pub fn query(&self, limit: u32) -> DeviceQuery {
        let order = if self.order == "silence" { DeviceOrder::Silence } else { DeviceOrder::Name };
        let presence = [Presence::Live, Presence::Silent, Presence::NeverConnected, Presence::Revoked];
        DeviceQuery {
            name: Some(self.name.trim().to_owned()).filter(|name| !name.is_empty()),
            presence: presence.into_iter().find(|presence| presence.as_str() == self.state),
            class: Some(self.class.clone()).filter(|class| !class.is_empty()),
            isolated: self.state == "isolated",
            order,
            after: DevicePlace::parse(order, &self.after),
            limit,
        }
    }

    /// True if everything is shown.
    pub fn is_empty(&self) -> bool {
        [&self.name, &self.state, &self.class, &self.organisation].iter().all(|text| text.is_empty())
    }

    /// This list as an address, from another place.
    pub fn address(&self, path: &str, after: &str) -> String {
        let pairs = [
            ("name", self.name.as_str()),
            ("state", &self.state),
            ("class", &self.class),
            ("order", &self.order),
            ("organisation", &self.organisation),
            ("after", after),
        ];
        address(path, &pairs)
    }
}

/// The page.
#[derive(Template)]
#[template(path = "devices.html")]
pub struct ListPage {
    /// One sentence with the denominator.
    pub summary: String,
    /// The devices.
    pub rows: Vec<Row>,
    /// By what they were filtered.
    pub filter: Filter,
    /// The name of the organisation that they were narrowed to; empty if they were not.
    pub of_organisation: String,
    /// True if they may belong to different organisations.
    pub many: bool,
    /// Where the next page begins, if there is one.
    pub next: Option<String>,
}

impl ListPage {
    /// Puts a page of devices into a page.
    pub fn of(page: &DevicePage, counts: &DeviceCounts, filter: Filter, many: bool, now: Timestamp) -> Self {
        Self {
            summary: summary(counts),
            rows: page.devices.iter().map(|d| row(d, now)).collect(),
            filter,
            of_organisation: String::new(),
            many,
            next: page.next.clone(),
        }
    }

    /// This page's own address, for its live updates.
    fn here(&self) -> String {
        self.filter.address("/devices", &self.filter.after)
    }
}

fn summary(counts: &DeviceCounts) -> String {
    let number = |n: i64| grouped(u64::try_from(n).unwrap_or(0));
    let mut parts = vec![format!("{} online", number(counts.live))];
    for (count, word) in [
        (counts.silent, "silent"),
        (counts.never_connected, "never seen"),
        (counts.revoked, "revoked"),
        (counts.isolated, "isolated"),
    ] {
        if count > 0 {
            parts.push(format!("{} {word}", number(count)));
        }
    }
    match counts.all {
        0 => "No devices.".to_owned(),
        1 => format!("1 device: {}.", parts.join(", ")),
        n => format!("{} devices: {}.", number(n), parts.join(", ")),
    }
}

fn row(device: &DeviceSummary, now: Timestamp) -> Row {
    let lost = device.lost.map(|n| u64::try_from(n).unwrap_or(0));
    Row {
        id: device.id.clone(),
        name: if device.hostname.is_empty() { "no name" } else { &device.hostname }.to_owned(),
        organisation: (device.organisation.clone(), device.organisation_name.clone()),
        role: device.role.clone(),
        at: [device.ward.as_str(), device.site.as_str()]
            .into_iter()
            .filter(|word| !word.is_empty())
            .collect::<Vec<_>>()
            .join(", "),
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
