//! The list of findings.

use askama::Template;
use wardline_event::{Disposition, Severity, Timestamp};
use wardline_kernel::page::{Ago, Tag, Tone, base_name, filters};
use wardline_kernel::views::{DeviceSummary, FindingSummary};

/// A finding in the list.
#[derive(Clone, Debug)]
pub struct Row {
    /// Its id.
    pub id: String,
    /// How bad it is.
    pub severity: Tag,
    /// The rule's title.
    pub title: String,
    /// What people call the process.
    pub process: String,
    /// Its command line; empty if unknown.
    pub command_line: String,
    /// The device's id.
    pub device: String,
    /// What people call it.
    pub hostname: String,
    /// What it is for; empty if unknown.
    pub role: String,
    /// What was done.
    pub done: Tag,
    /// What follows from it for whoever reads; may be empty.
    pub done_note: &'static str,
    /// Whether a person has looked at it.
    pub state: Tag,
    /// When it happened.
    pub when: Ago,
    /// From the exercise range.
    pub simulated: bool,
}

/// The filters, as the form sends them and the page shows them again. Empty: all.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Deserialize)]
pub struct Filter {
    /// At least this severity.
    #[serde(default)]
    pub severity: String,
    /// `new`, `acknowledged`, `closed`.
    #[serde(default)]
    pub state: String,
    /// A device's id.
    #[serde(default)]
    pub device: String,
    /// `no`: real ones only; `yes`: simulated ones only.
    #[serde(default)]
    pub simulated: String,
    /// The last of the page before, as `TIME_MS-ID`.
    #[serde(default)]
    pub after: String,
}

impl Filter {
    /// True if everything is shown.
    pub fn is_empty(&self) -> bool {
        [&self.severity, &self.state, &self.device, &self.simulated].iter().all(|text| text.is_empty())
    }

    /// True on the first page, which is the one that lives.
    pub fn is_first_page(&self) -> bool {
        self.after.is_empty()
    }

    /// The filters as an address, with or without a place in the list. Only words that the form knows get in.
    pub fn address(&self, after: Option<&str>) -> String {
        let harmless = |text: &str| text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        let pairs = [
            ("severity", self.severity.as_str()),
            ("state", &self.state),
            ("device", &self.device),
            ("simulated", &self.simulated),
            ("after", after.unwrap_or("")),
        ];
        let query: Vec<String> = pairs
            .iter()
            .filter(|(_, value)| !value.is_empty() && harmless(value))
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        if query.is_empty() { "/findings".to_owned() } else { format!("/findings?{}", query.join("&")) }
    }
}

/// The page.
#[derive(Template)]
#[template(path = "findings.html")]
pub struct ListPage {
    /// What is shown.
    pub rows: Vec<Row>,
    /// By what it was filtered.
    pub filter: Filter,
    /// The devices to choose from: id and name. Empty if there are too many for a list.
    pub devices: Vec<(String, String)>,
    /// Where the next page begins, if there is one.
    pub older: Option<String>,
}

impl ListPage {
    /// Puts findings into a page, with the devices that can be chosen in its filter.
    pub fn of(
        findings: &[FindingSummary],
        devices: &[DeviceSummary],
        filter: Filter,
        older: Option<String>,
        now: Timestamp,
    ) -> Self {
        let rows = findings.iter().map(|finding| row(finding, now)).collect();
        let devices = devices.iter().map(|d| (d.id.clone(), d.hostname.clone())).collect();
        Self { rows, filter, devices, older }
    }
}

fn row(finding: &FindingSummary, now: Timestamp) -> Row {
    let severity = Severity::parse(&finding.severity).unwrap_or(Severity::Informational);
    Row {
        id: finding.id.clone(),
        severity: Tag::severity(severity),
        title: finding.rule_title.clone(),
        process: base_name(&finding.image).to_owned(),
        command_line: finding.command_line.clone(),
        device: finding.device.clone(),
        hostname: name_or(&finding.hostname, "unknown device"),
        role: finding.role.clone(),
        done: disposition(&finding.disposition)
            .map_or_else(|| Tag::new(Tone::Plain, "Unknown"), |d| Tag::disposition(d, "kill")),
        done_note: match disposition(&finding.disposition) {
            Some(Disposition::Withheld) => "a person must decide",
            _ => "",
        },
        state: state_tag(&finding.state),
        when: Ago { at: Timestamp(finding.time_ms), now },
        simulated: finding.simulated,
    }
}

/// A name, or what to say where there is none.
pub fn name_or(name: &str, otherwise: &str) -> String {
    if name.is_empty() { otherwise.to_owned() } else { name.to_owned() }
}

/// Reads a disposition's stored word.
pub fn disposition(word: &str) -> Option<Disposition> {
    Some(match word {
        "recorded" => Disposition::Recorded,
        "would_act" => Disposition::WouldAct,
        "withheld" => Disposition::Withheld,
        "stopped" => Disposition::Stopped,
        "failed" => Disposition::Failed,
        _ => return None,
    })
}

/// Whether a person has looked at it.
pub fn state_tag(word: &str) -> Tag {
    match word {
        "new" => Tag::new(Tone::Fresh, "New"),
        "acknowledged" => Tag::new(Tone::Outline, "Acknowledged"),
        "closed" => Tag::new(Tone::Outline, "Closed"),
        other => Tag::new(Tone::Plain, other),
    }
}
