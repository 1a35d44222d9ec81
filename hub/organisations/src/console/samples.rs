//! Pages rendered with sample data, among it text that an attacker chose.

use askama::Template;
use wardline_kernel::page::{Frame, Section, Theme};
use wardline_kernel::tree::{Organisation, OrganisationKind};
use wardline_kernel::views::DeviceCounts;

use super::pages::{Filter, ListPage, OnePage};
use crate::store::{Listed, Page};

fn framed(title: &str, body: &impl Template) -> String {
    let frame = Frame {
        title,
        section: Section::Organisations,
        person: Some("administrator"),
        organisation: "The Nation",
        theme: Theme::System,
        here: "/organisations",
        notice: None,
    };
    let html = frame.render(body).unwrap();
    // For a look without a hub: `WARDLINE_PAGES=DIR cargo test` writes each page there.
    if let Some(folder) = std::env::var_os("WARDLINE_PAGES") {
        std::fs::write(std::path::Path::new(&folder).join(format!("{title}.html")), &html).unwrap();
    }
    html
}

fn listed(name: &str, below: i64) -> Listed {
    Listed {
        id: "a".repeat(32),
        name: name.into(),
        kind: OrganisationKind::Trust,
        ods: Some("RX1".into()),
        town: "Leeds".into(),
        parent: Some("b".repeat(32)),
        parent_name: Some("North".into()),
        below,
        devices: 12_345,
    }
}

fn organisation(name: &str) -> Organisation {
    Organisation {
        id: "a".repeat(32),
        name: name.into(),
        kind: OrganisationKind::Trust,
        ods: None,
        town: String::new(),
        postcode: String::new(),
        parent: None,
    }
}

#[test]
fn the_pages_count_and_lead_on() {
    let page = Page { organisations: vec![listed("Northfield", 1_200)], next: Some("n".into()) };
    let counts = [(OrganisationKind::Trust, 1), (OrganisationKind::GpPractice, 6_200)];
    let html = framed("organisations", &ListPage::of(page.clone(), &counts, Filter::default()));
    for part in [
        "6,201 organisations: 1 trust, 6,200 GP practices.",
        "12,345",
        "1,200",
        "?after=n",
        "organisations.csv",
    ] {
        assert!(html.contains(part), "the page lacks {part}");
    }
    let devices = DeviceCounts { all: 3, live: 2, silent: 1, ..DeviceCounts::default() };
    let path = vec![("x".into(), "The Nation".into()), ("a".into(), "Northfield".into())];
    let one = framed("organisation", &OnePage::of(organisation("Northfield"), path, page, devices, false));
    assert!(one.contains("The Nation</a> ›") && one.contains("Put it under another organisation"));
    let top =
        OnePage::of(organisation("Top"), vec![], Page { organisations: vec![], next: None }, devices, true);
    assert!(!framed("organisation-top", &top).contains("Put it under another organisation"));
}

#[test]
fn hostile_text_stays_text() {
    let evil = "\"><img src=x>\u{202e}";
    let page = Page { organisations: vec![listed(evil, 0)], next: Some(evil.into()) };
    let filter = Filter {
        text: evil.into(),
        kind: evil.into(),
        parent: evil.into(),
        order: evil.into(),
        after: evil.into(),
    };
    let path = vec![("x".into(), evil.into()), ("a".into(), evil.into())];
    let one = OnePage::of(organisation(evil), path, page.clone(), DeviceCounts::default(), false);
    for html in [
        framed("organisations-hostile", &ListPage::of(page, &[], filter)),
        framed("organisation-hostile", &one),
    ] {
        assert!(!html.contains("<img") && !html.contains('\u{202e}'));
    }
}
