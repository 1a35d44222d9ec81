//! The page rendered with sample data, among it text that an attacker chose; and the forms that come in.

use wardline_event::Timestamp;
use wardline_kernel::page::{Frame, Section, Theme};
use wardline_kernel::views::ActionSummary;

use super::list::{Filter, ListPage};
use super::look::OrderForm;
use crate::domain::Wish;

const NOW: Timestamp = Timestamp(1_795_450_800_000);

fn framed(title: &str, body: &ListPage) -> String {
    let frame = Frame {
        title,
        section: Section::Actions,
        person: Some("administrator"),
        organisation: "Northfield Hospitals",
        theme: Theme::System,
        here: "/actions",
        notice: None,
    };
    let html = frame.render(body).unwrap();
    // For a look without a hub: `WARDLINE_PAGES=DIR cargo test` writes each page there.
    if let Some(folder) = std::env::var_os("WARDLINE_PAGES") {
        std::fs::write(std::path::Path::new(&folder).join(format!("{title}.html")), &html).unwrap();
    }
    html
}

fn action(kind: &str, target: &str, state: &str, detail: &str) -> ActionSummary {
    ActionSummary {
        id: format!("{:032x}", kind.len()),
        device: "00000000000000000000000000000005".into(),
        hostname: "WARD7-PC3".into(),
        kind: kind.into(),
        target: target.into(),
        reason: "Ransomware was stopped here; keep it from spreading".into(),
        requested_by: "administrator".into(),
        state: state.into(),
        detail: detail.into(),
        created_ms: NOW.0 - 61_000,
        expires_ms: NOW.0 + 600_000,
        updated_ms: NOW.0,
        simulated: true,
        basis: "role".into(),
        needs: Vec::new(),
        approved_by: String::new(),
        together: String::new(),
    }
}

#[test]
fn actions_are_told_in_words_with_their_states() {
    let key = "00000000000000000000000000000007-3a98-5304";
    let rows = [
        action("release", "", "Pending", ""),
        action("isolate", "3600", "InProgress", ""),
        action("isolate", "900", "Succeeded", "isolated until 16:40; 1 connection to the hub is kept"),
        action("kill_process", key, "Failed", "the process had ended already"),
        action(
            "kill_process",
            key,
            "TimedOut",
            "the order expired before the device confirmed that it began",
        ),
        action("isolate", "86400", "Cancelled", ""),
        action("contain", "east-west 3600", "Succeeded", ""),
        action("contain", &format!("process/{key} 900"), "Succeeded", ""),
        action("lift", "logons", "Succeeded", ""),
        action("quarantine_file", "/tmp/payload", "Succeeded", ""),
    ];
    let html = framed("actions", &ListPage::of(&rows, Filter::default(), false, NOW));
    for part in [
        "Release from isolation",
        "Isolate for 1 hour",
        "Isolate for 15 minutes",
        "Isolate for 24 hours",
        "Kill process 5304 and what it started",
        "Cut SMB, RDP, SSH and WinRM for 1 hour",
        "Cut the network of process 5304 and what it started for 15 minutes",
        "Let everybody log on again",
        "Quarantine /tmp/payload",
        "Waiting for device",
        "Confirmed by device",
        "No answer in time",
        "Take it back",
    ] {
        assert!(html.contains(part), "the page lacks: {part}");
    }
    let evil = format!("</td><script>alert(1)</script>\u{202e}{}", "C".repeat(10_240));
    let mut hostile = action(&evil, &evil, &evil, &evil);
    (hostile.hostname, hostile.reason, hostile.requested_by) = (evil.clone(), evil.clone(), evil.clone());
    let filter = Filter { state: evil.clone(), after: evil };
    let html = framed("actions-hostile", &ListPage::of(&[hostile], filter, true, NOW));
    assert!(!html.contains("<script>alert") && !html.contains('\u{202e}'));
    assert!(
        framed("actions-empty", &ListPage::of(&[], Filter::default(), false, NOW))
            .contains("Nobody has ordered")
    );
}

#[test]
fn a_form_becomes_a_wish_or_a_sentence() {
    let form = |kind: &str, minutes: &str, process_key: &str| OrderForm {
        kind: kind.into(),
        process_key: process_key.into(),
        minutes: minutes.into(),
        ..OrderForm::default()
    };
    assert_eq!(form("isolate", "60", "").wish().unwrap(), Wish::Isolate { for_s: 3600 });
    assert_eq!(form("release", "", "").wish().unwrap(), Wish::Release);
    let cut = OrderForm { rung: "east-west".into(), ..form("contain", "60", "") };
    assert_eq!(cut.wish().unwrap(), Wish::Contain { rung: wardline_policy::Rung::EastWest, for_s: 3600 });
    let key = "00000000000000000000000000000007-3a98-5304";
    assert!(matches!(form("kill_process", "", key).wish(), Ok(Wish::KillProcess { .. })));
    for (kind, minutes, key, says) in [
        ("isolate", "", "", "no duration"),
        ("isolate", "99999999999", "", "no duration"),
        ("kill_process", "", "1", "no process"),
        ("contain", "60", "", "no containment"),
        ("lift", "", "", "no containment"),
        ("reboot", "", "", "no order"),
    ] {
        assert!(form(kind, minutes, key).wish().unwrap_err().problem.detail.contains(says), "{kind}");
    }
}
