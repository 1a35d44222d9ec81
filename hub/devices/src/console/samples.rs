//! Pages rendered with sample data, among it text that an attacker chose.

use askama::Template;
use serde_json::json;
use wardline_event::{DeviceId, Timestamp};
use wardline_kernel::page::{Frame, Section, Theme, action_row};
use wardline_kernel::views::{
    ActionSummary, DeviceCounts, DevicePage, DeviceSummary, FindingSummary, Presence,
};

use super::list::{Filter, ListPage};
use super::page::{Account, DevicePage as OnePage};
use crate::domain::{Accounting, ContainmentRow, DeviceDetail, SensorRow};

const NOW: Timestamp = Timestamp(1_795_450_800_000);

fn framed(title: &str, body: &impl Template) -> String {
    let frame = Frame {
        title,
        section: Section::Devices,
        person: Some("administrator"),
        organisation: "Northfield Hospitals",
        theme: Theme::System,
        here: "/devices",
        notice: None,
    };
    let html = frame.render(body).unwrap();
    // For a look without a hub: `WARDLINE_PAGES=DIR cargo test` writes each page there.
    if let Some(folder) = std::env::var_os("WARDLINE_PAGES") {
        std::fs::write(std::path::Path::new(&folder).join(format!("{title}.html")), &html).unwrap();
    }
    html
}

fn summary(id: u128, name: &str, role: &str, class: &str, presence: Presence) -> DeviceSummary {
    DeviceSummary {
        id: DeviceId(id).to_string(),
        organisation: "o1".into(),
        organisation_name: "Northfield Hospitals".into(),
        hostname: name.into(),
        os: "Windows 11 Enterprise".into(),
        role: role.into(),
        class: class.into(),
        site: "Northfield General".into(),
        ward: "Ward 7".into(),
        device_type: "ward PC".into(),
        simulated: true,
        presence,
        last_seen_ms: (presence != Presence::NeverConnected).then_some(NOW.0 - 4_000),
        mode: "protect".into(),
        mode_in_force: (presence != Presence::NeverConnected).then(|| "protect".into()),
        isolated_until_ms: None,
        lost: (presence != Presence::NeverConnected).then_some(id as i64 % 3 * 17),
    }
}

fn accounting() -> Accounting {
    Accounting {
        produced: 1_204_311,
        kernel_lost: 12,
        decode_lost: 0,
        kept_local: 903_112,
        spooled: 301_187,
        spool_dropped: 40,
        waiting: 120,
        findings: 3,
        correlation_lost: 2,
    }
}

fn detail(summary: DeviceSummary) -> DeviceDetail {
    let sensor = |kind: &str, state: &str, reason: &str, produced| SensorRow {
        kind: kind.into(),
        state: state.into(),
        reason: reason.into(),
        produced,
        lost: 12,
    };
    DeviceDetail {
        summary,
        kernel: "6.1.0-18-amd64".into(),
        agent_version: "0.1.0".into(),
        enrolled_ms: NOW.0 - 86_400_000,
        certificate_until_ms: NOW.0 + 30 * 86_400_000,
        policy: json!({}),
        policy_confirmed: Some(true),
        heartbeat_ms: Some(NOW.0 - 4_000),
        clock_ahead_ms: Some(-40_000),
        isolation_action: None,
        isolated_since_ms: None,
        rules_loaded: Some(44),
        rss_bytes: Some(31_000_000),
        containments: vec![ContainmentRow {
            rung: "east-west".into(),
            action: "a".into(),
            since_ms: NOW.0,
            expires_ms: NOW.0 + 3_600_000,
            by: "administrator".into(),
            reason: "It spreads".into(),
        }],
        sensors: vec![
            sensor("linux_ebpf", "live", "", 1_204_000),
            sensor("linux_proc_connector", "off", "Not needed while eBPF works.", 0),
            sensor("linux_proc", "degraded", "3 processes ended while they were read.", 311),
        ],
        accounting: Some(accounting()),
        stored: 301_027,
        events: 301_027,
        missing: 40,
        unreadable: 0,
    }
}

fn action(state: &str) -> ActionSummary {
    ActionSummary {
        id: "a1".into(),
        device: "d".into(),
        hostname: "WARD7-PC3".into(),
        kind: "isolate".into(),
        target: "3600".into(),
        reason: "Stop the spread while we look".into(),
        requested_by: "administrator".into(),
        state: state.into(),
        detail: String::new(),
        created_ms: NOW.0 - 9_000,
        expires_ms: NOW.0 + 300_000,
        updated_ms: NOW.0 - 9_000,
        simulated: true,
        basis: "role".into(),
        needs: Vec::new(),
        approved_by: String::new(),
        together: String::new(),
    }
}

fn finding(title: &str) -> FindingSummary {
    FindingSummary {
        id: "f1".into(),
        device: "d".into(),
        hostname: "WARD7-PC3".into(),
        role: "ward PC".into(),
        time_ms: NOW.0 - 50_000,
        severity: "critical".into(),
        rule_id: "r".into(),
        rule_title: title.into(),
        techniques: "T1490".into(),
        process_key: "k".into(),
        image: "/bin/sh".into(),
        command_line: "sh".into(),
        disposition: "stopped".into(),
        state: "new".into(),
        simulated: true,
    }
}

#[test]
fn the_account_adds_up_or_says_why_not() {
    let whole = Account::of(&accounting());
    assert_eq!(whole.lines.iter().map(|l| l.count).sum::<u64>(), whole.produced);
    assert_eq!(whole.difference, None);
    let short = Account::of(&Accounting { produced: 1_204_316, ..accounting() });
    assert!(short.difference.unwrap().starts_with("5 more were on their way"));
    let over = Account::of(&Accounting { produced: 1_204_308, ..accounting() });
    assert!(over.difference.unwrap().starts_with("3 more are accounted for than were produced"));
    let absurd = Account::of(&Accounting { waiting: i64::MAX, spooled: -5, ..accounting() });
    assert!(absurd.difference.is_some());
}

#[test]
fn events_that_the_hub_should_have_and_has_not_are_said_to_be_missing() {
    // 301,187 queued, 40 dropped, 120 waiting: the device takes 301,027 for acknowledged.
    assert_eq!(Account::of(&accounting()).acknowledged, 301_027);
    for (events, unreadable, lacks) in [
        (301_027, 0, None),
        // Of earlier runs of the agent, or stored since the heartbeat.
        (900_000, 0, None),
        (301_000, 27, None),
        (301_000, 7, Some("20 fewer events than the device takes for acknowledged")),
        (0, 0, Some("301,027 fewer events")),
    ] {
        let mut device = detail(summary(5, "WARD7-PC3", "ward PC", "workstation", Presence::Live));
        (device.events, device.unreadable) = (events, unreadable);
        let html = framed("device-account", &OnePage::of(&device, &[], Vec::new(), NOW));
        assert!(html.contains("Acknowledged by this hub"));
        let counted = format!("{} events of this device", grouped(events));
        assert!(html.contains(&counted), "the page lacks: {counted}");
        match lacks {
            Some(text) => assert!(html.contains(text), "{events}: the page lacks: {text}"),
            None => assert!(!html.contains("fewer events"), "{events}"),
        }
    }
}

fn grouped(n: i64) -> String {
    let digits = n.to_string();
    let groups: Vec<&str> =
        digits.as_bytes().rchunks(3).rev().map(|g| std::str::from_utf8(g).unwrap()).collect();
    groups.join(",")
}

#[test]
fn a_device_shows_its_state_its_sight_and_its_losses() {
    let mut device = detail(summary(5, "WARD7-PC3", "ward PC", "workstation", Presence::Live));
    let mut policy = serde_json::to_value(wardline_policy::DevicePolicy::default()).unwrap();
    policy["keep_flows"] = json!([{"name": "Images to the archive", "reason": "reporting stops", "direction": "out",
                                   "protocol": "tcp", "peer": "10.1.2.3", "ports": "104"}]);
    device.policy = policy;
    let actions = vec![action_row(&action("Pending"), NOW)];
    let html = framed("device", &OnePage::of(&device, &[finding("Shadow copies deleted")], actions, NOW));
    for part in [
        "Ward PC. ",
        "It is online. It stops attacks by itself.",
        "Waiting for device",
        "Take it back",
        "Linux eBPF",
        "3 processes ended while they were read.",
        "1,204,311",
        "Lost in the kernel or while reading",
        "40 seconds behind the hub&#39;s",
        "Clinical flows are cut too unless they are listed here",
        "Images to the archive",
        "to 10.1.2.3 tcp port 104",
        "I have read what stays open",
        "SMB, RDP, SSH and WinRM are cut",
        "by order of administrator: “It spreads”",
        "Undo: SMB, RDP, SSH and WinRM are cut",
        "Suspend logons",
    ] {
        assert!(html.contains(part), "the page lacks: {part}");
    }
}

#[test]
fn what_is_unknown_is_said_to_be() {
    let mut device =
        detail(summary(6, "LAB-ANALYSER-2", "pathology analyser's PC", "clinical", Presence::NeverConnected));
    (device.sensors, device.accounting, device.heartbeat_ms) = (Vec::new(), None, None);
    (device.policy_confirmed, device.clock_ahead_ms) = (None, None);
    let html = framed("device-unknown", &OnePage::of(&device, &[], Vec::new(), NOW));
    for part in [
        "has never been heard. Whether it is protected is unknown.",
        "Unknown: this device has not said anything about its sensors yet.",
        "Unknown: this device has not sent a heartbeat yet.",
        "Patients depend on this device.",
        "Rules never kill on a clinical device",
    ] {
        assert!(html.contains(part), "the page lacks: {part}");
    }
    let mut isolated = detail(summary(7, "PACS-01", "PACS server", "server", Presence::Silent));
    isolated.summary.isolated_until_ms = Some(NOW.0 + 3_000_000);
    let html = framed("device-isolated", &OnePage::of(&isolated, &[], Vec::new(), NOW));
    assert!(html.contains(r#"<div data-when-isolated="true"><details"#), "it can be released");
    assert!(html.contains(r#"<div data-when-isolated="false" hidden>"#), "and not isolated again");
    assert!(html.contains("As of its last heartbeat."));
}

#[test]
fn the_list_has_a_denominator_and_hostile_names_stay_text() {
    let evil = format!("<img src=x>\u{202e}{}", "B".repeat(10_240));
    let mut devices: Vec<_> = [
        ("WARD7-PC3", "ward PC", "workstation", Presence::Live),
        ("LAB-ANALYSER-2", "pathology analyser's PC", "clinical", Presence::Live),
        ("PACS-01", "PACS server", "server", Presence::Silent),
        ("RECEPTION-1", "reception PC", "workstation", Presence::NeverConnected),
        ("THEATRE4-ANAES", "anaesthetic record PC", "clinical", Presence::Live),
    ]
    .iter()
    .enumerate()
    .map(|(i, (name, role, class, presence))| summary(i as u128 + 1, name, role, class, *presence))
    .collect();
    devices[0].isolated_until_ms = Some(NOW.0 + 1);
    let counts =
        DeviceCounts { all: 1205, live: 1203, silent: 1, never_connected: 1, revoked: 0, isolated: 1 };
    let (list, filter) = (DevicePage { devices, next: Some("x".into()) }, Filter::default());
    let html = framed("devices", &ListPage::of(&list, &counts, filter.clone(), true, NOW));
    assert!(html.contains("1,205 devices: 1,203 online, 1 silent, 1 never seen, 1 isolated."));
    assert!(html.contains("/devices?after=x") && html.contains("/organisations/o1"));
    let device = summary(9, &evil, &evil, &evil, Presence::Live);
    let mut hostile = detail(device.clone());
    (hostile.kernel, hostile.agent_version) = (evil.clone(), evil.clone());
    hostile.sensors[0].kind = evil.clone();
    hostile.sensors[0].reason = evil.clone();
    let mut ordered = action("Failed");
    (ordered.reason, ordered.detail, ordered.target) = (evil.clone(), evil.clone(), evil.clone());
    let page = OnePage::of(&hostile, &[finding(&evil)], vec![action_row(&ordered, NOW)], NOW);
    let filter_of =
        |text: &str| Filter { name: text.to_owned(), after: text.to_owned(), ..Filter::default() };
    let list = DevicePage { devices: vec![device], next: None };
    let list = ListPage::of(&list, &counts, filter_of("\"><img src=x>\u{202e}"), true, NOW);
    for html in [framed("devices-hostile", &list), framed("device-hostile", &page)] {
        assert!(!html.contains("<img") && !html.contains('\u{202e}') && html.contains("\\u{202e}"));
        assert!(html.len() < 100_000, "{}", html.len());
    }
    let none = DevicePage { devices: vec![], next: None };
    let empty = ListPage::of(&none, &DeviceCounts::default(), filter, false, NOW);
    assert!(framed("devices-empty", &empty).contains("wardline hub token"));
}
