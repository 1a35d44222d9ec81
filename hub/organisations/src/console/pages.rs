//! The list of organisations, and one of them.

use askama::Template;
use serde::Deserialize;
use wardline_kernel::page::{address, filters, grouped};
use wardline_kernel::tree::{Organisation, OrganisationKind};
use wardline_kernel::views::DeviceCounts;

use crate::store::{Listed, Order, Page, Place, Query};

/// The filters, as the form sends them and the page shows them again. Empty: all, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Filter {
    /// How the name begins, or the code.
    #[serde(default)]
    pub text: String,
    /// A kind's word.
    #[serde(default)]
    pub kind: String,
    /// An organisation's id: only those directly below it.
    #[serde(default)]
    pub parent: String,
    /// `ods`; anything else is by name.
    #[serde(default)]
    pub order: String,
    /// The place where the page begins.
    #[serde(default)]
    pub after: String,
}

impl Filter {
    /// What is asked of the store, `limit` at a time.
    pub fn query(&self, limit: u32) -> Query {
        let some = |text: &str| Some(text.trim().to_owned()).filter(|text| !text.is_empty());
        Query {
            text: some(&self.text),
            kind: OrganisationKind::parse(&self.kind),
            parent: some(&self.parent),
            order: if self.order == "ods" { Order::Ods } else { Order::Name },
            after: Place::parse(&self.after),
            limit,
        }
    }

    /// True if everything is shown.
    pub fn is_empty(&self) -> bool {
        self.text.is_empty() && self.kind.is_empty() && self.parent.is_empty()
    }

    /// This list as an address, from another place.
    pub fn address(&self, path: &str, after: &str) -> String {
        let pairs = [
            ("text", self.text.as_str()),
            ("kind", &self.kind),
            ("parent", &self.parent),
            ("order", &self.order),
            ("after", after),
        ];
        address(path, &pairs)
    }
}

/// One row.
#[derive(Clone, Debug)]
pub struct Row {
    listed: Listed,
    below: String,
    devices: String,
}

impl Row {
    fn of(listed: Listed) -> Self {
        let number = |n: i64| grouped(u64::try_from(n).unwrap_or(0));
        Self { below: number(listed.below), devices: number(listed.devices), listed }
    }
}

/// The list.
#[derive(Template)]
#[template(path = "organisations.html")]
pub struct ListPage {
    summary: String,
    kinds: [OrganisationKind; 7],
    rows: Vec<Row>,
    filter: Filter,
    next: Option<String>,
}

impl ListPage {
    /// Puts a page of organisations into a page.
    pub fn of(page: Page, counts: &[(OrganisationKind, i64)], filter: Filter) -> Self {
        Self {
            summary: summary(counts),
            kinds: OrganisationKind::ALL,
            rows: page.organisations.into_iter().map(Row::of).collect(),
            filter,
            next: page.next,
        }
    }

    fn here(&self) -> String {
        self.filter.address("/organisations", &self.filter.after)
    }
}

/// What several of a kind are called.
fn several(kind: OrganisationKind) -> &'static str {
    match kind {
        OrganisationKind::Nation => "nations",
        OrganisationKind::Region => "regions",
        OrganisationKind::Trust => "trusts",
        OrganisationKind::GpPractice => "GP practices",
        OrganisationKind::Pharmacy => "pharmacies",
        OrganisationKind::Supplier => "suppliers",
        OrganisationKind::Other => "others",
    }
}

fn summary(counts: &[(OrganisationKind, i64)]) -> String {
    let number = |n: i64| grouped(u64::try_from(n).unwrap_or(0));
    let all: i64 = counts.iter().map(|(_, n)| n).sum();
    let parts: Vec<String> = counts
        .iter()
        .filter(|(_, n)| *n > 0)
        .map(|(kind, n)| {
            let word = if *n == 1 { kind.title().to_owned() } else { several(*kind).to_owned() };
            let word = if word.starts_with("GP") { word } else { word.to_lowercase() };
            format!("{} {word}", number(*n))
        })
        .collect();
    let noun = if all == 1 { "organisation" } else { "organisations" };
    format!("{} {noun}: {}.", number(all), parts.join(", "))
}

/// One organisation.
#[derive(Template)]
#[template(path = "organisation.html")]
pub struct OnePage {
    organisation: Organisation,
    path: Vec<(String, String)>,
    below: Vec<Row>,
    more_below: bool,
    devices: DeviceCounts,
    is_top: bool,
    kinds: [OrganisationKind; 7],
}

impl OnePage {
    /// Puts an organisation into a page. `path`: from the top of what may be seen down to it, itself included.
    pub fn of(
        organisation: Organisation,
        mut path: Vec<(String, String)>,
        below: Page,
        devices: DeviceCounts,
        is_top: bool,
    ) -> Self {
        path.pop();
        Self {
            organisation,
            path,
            more_below: below.next.is_some(),
            below: below.organisations.into_iter().map(Row::of).collect(),
            devices,
            is_top,
            kinds: OrganisationKind::ALL,
        }
    }

    /// What people call it.
    pub fn name(&self) -> &str {
        &self.organisation.name
    }

    fn count(&self, which: &str) -> String {
        let n = match which {
            "live" => self.devices.live,
            "silent" => self.devices.silent,
            "never_connected" => self.devices.never_connected,
            "revoked" => self.devices.revoked,
            "isolated" => self.devices.isolated,
            _ => self.devices.all,
        };
        grouped(u64::try_from(n).unwrap_or(0))
    }
}
